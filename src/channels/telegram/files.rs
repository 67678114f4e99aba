//! Files on their way: what comes with messages and is fetched, what goes with answers and is sent.
use std::fs::File;
use std::io::Read;
use std::path::Path;

use archond_actors::domain::{Attachment, Enclosure, EnclosureKind};
use futures::StreamExt;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use sha2::{Digest, Sha256};
use teloxide::net::Download;
use teloxide::requests::Requester;
use teloxide::types::{FileId, FileMeta, Message};

use super::fault::Failure;
use super::line::Line;
use crate::channels::media::{MEDIA_BYTES_MAX, MediaFolder};

/// Largest file that bots may send.
const SENT_BYTES_MAX: u64 = 50 << 20;
/// Largest picture that Telegram shows as one.
const PHOTO_BYTES_MAX: u64 = 10 << 20;
/// Too large: what is said of it.
const TOO_LARGE: &str = "it is larger than the 20 MB that Telegram gives to bots";

/// What came with a message, by names that [`fetch`] reads, and what is to be said of what nobody can look at.
pub(super) fn enclosed(message: &Message) -> (Vec<String>, Option<String>) {
    let named = |kind: &str, file: &FileMeta, name: &str| vec![format!("{kind} {} {name}", file.id)];
    if let Some(photo) =
        message.photo().and_then(|sizes| sizes.iter().max_by_key(|size| size.width * size.height))
    {
        return (named("picture", &photo.file, "photo.jpg"), None);
    }
    if let Some(voice) = message.voice() {
        return (named("recording", &voice.file, "voice.ogg"), None);
    }
    if let Some(audio) = message.audio() {
        return (named("recording", &audio.file, audio.file_name.as_deref().unwrap_or("audio")), None);
    }
    // Telegram calls an animation a document, too.
    if message.animation().is_some() {
        return (Vec::new(), Some("[an animation, which I cannot see]".into()));
    }
    if let Some(document) = message.document() {
        let kind = match document.mime_type.as_ref().map(|mime| mime.type_().as_str().to_owned()).as_deref() {
            Some("image") => "picture",
            Some("audio") => "recording",
            _ => "file",
        };
        return (named(kind, &document.file, document.file_name.as_deref().unwrap_or("file")), None);
    }
    (Vec::new(), unseen(message))
}

fn unseen(message: &Message) -> Option<String> {
    if let Some(sticker) = message.sticker() {
        return Some(sticker.emoji.clone().unwrap_or_else(|| "[a sticker]".into()));
    }
    if let Some(location) = message.location() {
        return Some(format!("[a place: {}, {}]", location.latitude, location.longitude));
    }
    let what = match () {
        () if message.video().is_some() || message.video_note().is_some() => "a video, which I cannot see",
        () if message.contact().is_some() => "a contact",
        () if message.poll().is_some() => "a poll",
        () => return None,
    };
    Some(format!("[{what}]"))
}

/// Fetches a file into the folder of media.
pub(super) async fn fetch(line: &Line, media: &MediaFolder, enclosed: &str) -> Result<Enclosure, Failure> {
    let mut words = enclosed.splitn(3, ' ');
    let kind = match words.next() {
        Some("picture") => EnclosureKind::Picture,
        Some("recording") => EnclosureKind::Recording,
        _ => EnclosureKind::File,
    };
    let id = words.next().unwrap_or_default().to_owned();
    let name = words.next().unwrap_or_default().to_owned();
    let too_large = || Failure::Refused(TOO_LARGE.into());
    let file = line.quick.get_file(FileId(id)).await.map_err(|error| match Failure::of(&error) {
        Failure::Refused(words) if words.contains("too big") => too_large(),
        other => other,
    })?;
    if file.size != u32::MAX && file.size as usize > MEDIA_BYTES_MAX {
        return Err(too_large());
    }
    if file.path.starts_with('/') {
        return Err(Failure::Refused(
            "the Bot API server keeps files on its own disk (`--local`) and gives none".into(),
        ));
    }
    let mut bytes = Vec::new();
    let mut stream = std::pin::pin!(line.slow.download_file_stream(&file.path));
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| Failure::of_download(&error.into()))?;
        if bytes.len() + chunk.len() > MEDIA_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    let media = media.clone();
    let kept = tokio::task::spawn_blocking(move || media.keep(kind, &name, &bytes)).await;
    match kept {
        Ok(Ok(enclosure)) => Ok(enclosure),
        Ok(Err(error)) => Err(Failure::Transient(error.to_string())),
        Err(_) => Err(Failure::Transient("a file could not be kept".into())),
    }
}

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Photo,
    Voice,
    Audio,
    Document,
}

/// The form that fits a file.
pub(super) fn form(attachment: &Attachment) -> Form {
    match attachment.media_type.as_str() {
        "image/jpeg" | "image/png" if attachment.bytes <= PHOTO_BYTES_MAX => Form::Photo,
        "audio/ogg" => Form::Voice,
        "audio/mpeg" | "audio/mp4" => Form::Audio,
        _ => Form::Document,
    }
}

/// What a file is called: the last part of its path.
pub(super) fn file_name(attachment: &Attachment) -> String {
    let name = Path::new(&attachment.path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "file".into())
}

/// Reads a file of the workspace as it was when the Archon sent it. An error: why it cannot be sent, in words. Blocks.
pub(super) fn read(workspace: &Path, attachment: &Attachment) -> Result<Vec<u8>, String> {
    let Attachment { path, bytes, sha256, .. } = attachment;
    if *bytes > SENT_BYTES_MAX {
        return Err(format!(
            "I cannot send `{path}` here: it has {bytes} bytes, and Telegram takes 50 MB from bots."
        ));
    }
    let gone = |_| format!("I wanted to send `{path}`, but it is not there any more.");
    let folder = openat(CWD, workspace, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(gone)?;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // What is no file by now must not hold up who opens it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat2(&folder, path.as_str(), flags, Mode::empty(), how).map_err(gone)?);
    let changed = || format!("I wanted to send `{path}`, but it was changed since.");
    if !file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == *bytes) {
        return Err(changed());
    }
    let mut read = Vec::new();
    file.take(bytes + 1).read_to_end(&mut read).map_err(|_| changed())?;
    let hash: String = Sha256::digest(&read).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash.eq_ignore_ascii_case(sha256) { Ok(read) } else { Err(changed()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(path: &str, text: &str, media_type: &str) -> Attachment {
        Attachment {
            path: path.into(),
            bytes: text.len() as u64,
            sha256: Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
            media_type: media_type.into(),
            caption: None,
        }
    }

    #[test]
    fn only_the_file_that_was_sent_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = folder.path().join("workspace");
        std::fs::create_dir(&workspace).unwrap();
        std::fs::write(workspace.join("a.txt"), "milk").unwrap();
        std::fs::write(folder.path().join("secret"), "milk").unwrap();
        std::os::unix::fs::symlink("../secret", workspace.join("link")).unwrap();
        let read = |path: &str, text: &str| read(&workspace, &attachment(path, text, "text/plain"));
        assert_eq!(read("a.txt", "milk").unwrap(), b"milk");
        for (path, text, said) in [
            ("b.txt", "milk", "not there any more"),
            ("a.txt", "MILK", "changed since"),
            ("a.txt", "milk!", "changed since"),
            ("link", "milk", "not there any more"),
            ("../secret", "milk", "not there any more"),
            (".", "", "changed since"),
        ] {
            let error = read(path, text).unwrap_err();
            assert!(error.contains(said), "{path}: {error}");
        }
    }

    #[test]
    fn each_file_has_its_form() {
        for (media_type, expected) in [
            ("image/png", Form::Photo),
            ("image/gif", Form::Document),
            ("audio/ogg", Form::Voice),
            ("audio/mpeg", Form::Audio),
            ("application/pdf", Form::Document),
        ] {
            assert_eq!(form(&attachment("x/a", "x", media_type)), expected, "{media_type}");
        }
        let large = Attachment { bytes: 11 << 20, ..attachment("x/y.png", "x", "image/png") };
        assert_eq!((form(&large), file_name(&large).as_str()), (Form::Document, "y.png"));
    }
}
