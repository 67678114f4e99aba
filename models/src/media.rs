//! Which files are pictures and recordings, and how much of them is taken. Pure, and the same for the daemon and its workers.
use std::fmt;

/// Most bytes of one picture or recording: a large photograph as JPEG, 30 seconds of studio sound.
pub const MEDIUM_BYTES_MAX: usize = 6 << 20;
/// Most bytes of all those of one conversation: they travel to the worker in one message.
pub const MEDIA_BYTES_MAX: usize = 24 << 20;
/// Most of them in one conversation: each takes some 260 to 750 tokens of the context.
pub const MEDIA_MAX: usize = 16;

/// A format of pictures that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
    /// GIF, of which the first moment is seen.
    Gif,
}

impl ImageKind {
    /// Tells a picture by its first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::Webp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            _ => None,
        }
    }

    /// The format of a media type, as in `image/png`.
    pub fn named(media_type: &str) -> Option<Self> {
        match media_type.to_ascii_lowercase().as_str() {
            "image/png" => Some(Self::Png),
            "image/jpeg" | "image/jpg" => Some(Self::Jpeg),
            "image/webp" => Some(Self::Webp),
            "image/gif" => Some(Self::Gif),
            _ => None,
        }
    }
}

impl fmt::Display for ImageKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Webp => "WebP",
            Self::Gif => "GIF",
        })
    }
}

/// A format of recordings that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioKind {
    /// WAV.
    Wav,
    /// Opus in an Ogg stream: voice messages.
    Opus,
}

/// Where the first packet of an Ogg stream begins that has one packet on its first page, as those of Opus have.
const OGG_PACKET_BEGINS: usize = 28;

impl AudioKind {
    /// Tells a recording by its first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'O', b'g', b'g', b'S', ..]
                if bytes.get(OGG_PACKET_BEGINS..).is_some_and(|packet| packet.starts_with(b"OpusHead")) =>
            {
                Some(Self::Opus)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let check = |bytes: &[u8], image, audio| {
            assert_eq!((ImageKind::of(bytes), AudioKind::of(bytes)), (image, audio))
        };
        check(b"\x89PNG\r\n\x1a\nrest", Some(ImageKind::Png), None);
        check(b"\xff\xd8\xff\xe0", Some(ImageKind::Jpeg), None);
        check(b"RIFF\0\0\0\0WEBPVP8 ", Some(ImageKind::Webp), None);
        check(b"GIF89a", Some(ImageKind::Gif), None);
        check(b"RIFF\0\0\0\0WAVEfmt ", None, Some(AudioKind::Wav));
        let ogg = |packet: &[u8]| [b"OggS", &[0; 24][..], packet].concat();
        check(&ogg(b"OpusHead\x01"), None, Some(AudioKind::Opus));
        check(&ogg(b"\x01vorbis"), None, None);
        check(b"OggS", None, None);
        for other in [&b""[..], b"RIFF", b"\x89PNG", b"<svg>", b"%PDF-1.7", b"GIF90a", b"ID3"] {
            check(other, None, None);
        }
    }

    #[test]
    fn media_types_name_what_the_bytes_tell() {
        assert_eq!(ImageKind::named("IMAGE/PNG"), Some(ImageKind::Png));
        assert_eq!(ImageKind::named("image/jpg"), ImageKind::named("image/jpeg"));
        assert_eq!(ImageKind::named("image/svg+xml"), None);
    }
}
