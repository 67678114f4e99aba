//! Files of this machine that a client brings with his message: read as they are named, and kept beside those that come over channels.
//!
//! Only the daemon's own user and the system's may ask: what is read here they may read themselves.
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use archond_actors::domain::{ENCLOSURES_MAX, Enclosure, EnclosureKind};
use archond_models::media::{AudioKind, ImageKind};

use super::operations::Refusal;
use super::protocol::ErrorCode;
use crate::channels::media::{MEDIA_BYTES_MAX, MediaError, MediaFolder};

/// Keeps files, and says with the message's words what came with it.
pub(super) async fn keep(
    media: &MediaFolder,
    text: String,
    files: Vec<String>,
) -> Result<(String, Vec<Enclosure>), Refusal> {
    if files.is_empty() {
        return Ok((text, Vec::new()));
    }
    if files.len() > ENCLOSURES_MAX {
        return Err(refused(format!("a message brings {ENCLOSURES_MAX} files at most")));
    }
    let media = media.clone();
    let kept = tokio::task::spawn_blocking(move || {
        files.iter().map(|file| keep_one(&media, Path::new(file))).collect::<Result<Vec<_>, _>>()
    });
    let ended =
        |_| Refusal { code: ErrorCode::Failed, message: "the thread that read the files ended".into() };
    let enclosures = kept.await.map_err(ended)??;
    let told = enclosures.iter().map(Enclosure::told);
    let words = Some(text).filter(|text| !text.trim().is_empty());
    Ok((words.into_iter().chain(told).collect::<Vec<_>>().join("\n"), enclosures))
}

fn refused(message: String) -> Refusal {
    Refusal { code: ErrorCode::BadRequest, message }
}

/// Blocks.
fn keep_one(media: &MediaFolder, path: &Path) -> Result<Enclosure, Refusal> {
    let shown = path.display();
    if !path.is_absolute() {
        return Err(refused(format!("`{shown}` is no whole path; begin it with `/`")));
    }
    let bytes = read(path).map_err(|error| refused(format!("`{shown}` cannot be read: {error}")))?;
    let kind = match (ImageKind::of(&bytes), AudioKind::of(&bytes)) {
        (Some(_), _) => EnclosureKind::Picture,
        (None, Some(_)) => EnclosureKind::Recording,
        (None, None) => EnclosureKind::File,
    };
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    media.keep(kind, &name, &bytes).map_err(|error| match error {
        MediaError::TooLarge { .. } => Refusal {
            code: ErrorCode::TooLarge,
            message: format!(
                "`{shown}` is larger than {} MiB; send something smaller",
                MEDIA_BYTES_MAX >> 20
            ),
        },
        MediaError::Io { .. } | MediaError::Changed { .. } => {
            Refusal { code: ErrorCode::Failed, message: error.to_string() }
        }
    })
}

/// One byte more than is kept tells that it is too large. What is no file must not hold up who opens it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(MEDIA_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_kept_as_what_they_are_and_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let media = MediaFolder::new(folder.path().join("media"));
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let files = vec![file("a.txt", b"\x89PNG\r\n\x1a\n"), file("b.png", b"hello")];
        let (text, kept) = keep(&media, "see".into(), files).await.ok().unwrap();
        let picture = "[a picture `a.txt` of 8 bytes came with this]";
        let other = "[a file `b.png` of 5 bytes came with this; you cannot look into it]";
        assert_eq!(text, format!("see\n{picture}\n{other}"));
        assert_eq!(media.read(&kept[0].id).unwrap().unwrap().len(), 8);
        let (text, _) =
            keep(&media, " ".into(), vec![file("a.txt", b"\x89PNG\r\n\x1a\n")]).await.ok().unwrap();
        assert_eq!(text, picture);
        let large = file("large", &vec![0; MEDIA_BYTES_MAX + 1]);
        for (path, why) in [
            ("a.txt", "is no whole path"),
            ("/nowhere", "cannot be read"),
            ("/dev/null", "it is no file"),
            ("/", "it is no file"),
            (large.as_str(), "larger than 20 MiB"),
        ] {
            let refusal = keep(&media, String::new(), vec![path.to_owned()]).await.err().unwrap();
            assert!(refusal.message.contains(why), "{path}: {}", refusal.message);
        }
        assert!(keep(&media, String::new(), vec!["/".into(); 11]).await.is_err());
    }
}
