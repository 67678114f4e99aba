//! The tool that sends a file: it is opened like one that is read, and described. It goes with the turn's answer, and stays where it is.
use std::fs::File;
use std::io::{self, Read};
use std::path::Component;

use archond_actors::domain::Attachment;
use sha2::{Digest, Sha256};

use super::roots::{FileFault, Place, Roots};
use crate::tools::arguments::SendFile;

/// So much of a file shows what it is.
const HEAD_BYTES: usize = 8 << 10;
/// Longest caption, in characters: what Telegram shows with a file (<https://core.telegram.org/bots/api#sendphoto>).
const CAPTION_CHARS_MAX: usize = 1024;

/// Beginnings of files by which they are known, each with the place where it stands
/// (<https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern> and the sections after it).
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP", "image/webp"),
    (8, b"WAVE", "audio/wave"),
    (8, b"AVI ", "video/avi"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"OggS\0", "application/ogg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/x-gzip"),
];

/// Opens the file, reads it whole, and describes it.
pub(super) fn send(roots: &Roots, wanted: &SendFile, bytes_max: u64) -> Result<String, FileFault> {
    let place = roots.place(&wanted.path)?;
    let path = below(&place)?;
    let file = place.read()?;
    let failed = |source| place.failed(source);
    let too_long =
        |bytes| FileFault::TooLongToSend { path: place.shown().to_owned(), bytes, most: bytes_max };
    // Told before it is read: a large one is refused at once.
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > bytes_max {
        return Err(too_long(bytes));
    }
    let read = describe(file, bytes_max).map_err(failed)?;
    // It may have grown meanwhile.
    let Described { bytes, sha256, media_type } = read.ok_or_else(|| too_long(bytes_max + 1))?;
    let caption = wanted.caption.as_deref().map(one_line).filter(|caption| !caption.is_empty());
    Ok(Attachment { path, bytes, sha256, media_type: media_type.to_owned(), caption }.told())
}

/// Where it is, from the workspace, as it is written down: only what goes straight down.
fn below(place: &Place<'_>) -> Result<String, FileFault> {
    let below = place.in_workspace().ok_or_else(|| FileFault::NotSent(place.shown().to_owned()))?;
    let mut path = Vec::new();
    for part in below.components() {
        match part {
            Component::Normal(name) => path.push(name.to_str()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => path.push(None),
        }
    }
    let parts: Option<Vec<&str>> = path.into_iter().collect();
    let path = parts.map(|parts| parts.join("/")).filter(|path| !path.contains(char::is_control));
    path.ok_or_else(|| FileFault::NotSent(place.shown().to_owned()))
}

struct Described {
    bytes: u64,
    sha256: String,
    media_type: &'static str,
}

/// Reads it to its end; `None` where that does not come within so many bytes.
fn describe(mut file: File, bytes_max: u64) -> io::Result<Option<Described>> {
    let (mut hash, mut bytes, mut head) = (Sha256::new(), 0_u64, Vec::with_capacity(HEAD_BYTES));
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        bytes += read.len() as u64;
        if bytes > bytes_max {
            return Ok(None);
        }
        head.extend_from_slice(read.get(..(HEAD_BYTES - head.len()).min(read.len())).unwrap_or_default());
        hash.update(read);
    }
    let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Described { bytes, sha256, media_type: media_type(&head) }))
}

/// What a file is, by its first bytes.
fn media_type(head: &[u8]) -> &'static str {
    let fits = |(at, magic, _): &&(usize, &[u8], &str)| {
        head.get(*at..).is_some_and(|behind| behind.starts_with(magic))
    };
    if let Some((_, _, known)) = MAGIC.iter().find(fits) {
        return known;
    }
    // A character may be cut at the end of what was looked at.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && head.len() == HEAD_BYTES,
    };
    let is_odd = |byte: &u8| *byte < b' ' && !b"\t\n\r\x0c\x1b".contains(byte);
    if is_text && !head.is_empty() && !head.iter().any(is_odd) {
        return "text/plain";
    }
    "application/octet-stream"
}

fn one_line(text: &str) -> String {
    let line = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|word| !word.is_empty());
    line.collect::<Vec<_>>().join(" ").chars().take(CAPTION_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_bytes() {
        let long = "ä".repeat(HEAD_BYTES);
        let table: [(&[u8], &str); 12] = [
            (b"%PDF-1.7 ...", "application/pdf"),
            (b"\x89PNG\r\n\x1a\n\0\0", "image/png"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wave"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"hello\n", "text/plain"),
            (long.get(..).map(|long| &long.as_bytes()[1..]).unwrap_or_default(), "application/octet-stream"),
            (&long.as_bytes()[..HEAD_BYTES], "text/plain"),
            (b"hello \xff", "application/octet-stream"),
            (b"hello\0", "application/octet-stream"),
            (b"\x89PN", "application/octet-stream"),
            (b"", "application/octet-stream"),
        ];
        for (head, wanted) in table {
            assert_eq!(media_type(head), wanted, "{:?}", head.get(..8));
        }
    }

    #[test]
    fn a_caption_is_one_short_line() {
        assert_eq!(one_line(" a\n\tb \u{1b}[2Jc "), "a b [2Jc");
        assert_eq!(one_line(&"x".repeat(2000)).len(), CAPTION_CHARS_MAX);
        assert_eq!(one_line("\n "), "");
    }
}
