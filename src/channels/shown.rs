//! The folder of media as the house's models are shown it: read off the actors' threads, within bounds, and told by its first bytes.
use archond_actors::domain::{Content, Enclosure, EnclosureKind, MediaBounds};
use archond_actors::ports::{MediaFault, MediaShelf};
use archond_models::media::{AudioKind, ImageKind, MEDIA_BYTES_MAX, MEDIA_MAX, MEDIUM_BYTES_MAX};
use async_trait::async_trait;

use super::media::{MediaError, MediaFolder};

#[async_trait]
impl MediaShelf for MediaFolder {
    fn bounds(&self) -> MediaBounds {
        MediaBounds { count: MEDIA_MAX, medium_bytes: MEDIUM_BYTES_MAX as u64, bytes: MEDIA_BYTES_MAX as u64 }
    }

    async fn read(&self, enclosure: &Enclosure) -> Result<Content, MediaFault> {
        let (folder, id, kind) = (self.clone(), enclosure.id.clone(), enclosure.kind);
        let read = tokio::task::spawn_blocking(move || folder.read_within(&id, MEDIUM_BYTES_MAX));
        match read.await {
            Ok(Ok(Some(bytes))) => told_by_its_bytes(bytes, kind),
            Ok(Ok(None)) => Err(MediaFault::Gone),
            Ok(Err(error @ (MediaError::Changed { .. } | MediaError::TooLarge { .. }))) => {
                tracing::warn!(%error, "what came with a message is not shown");
                Err(MediaFault::Unfit { detail: "it is not what it was when it came".to_owned() })
            }
            Ok(Err(error @ MediaError::Io { .. })) => {
                tracing::warn!(%error, "what came with a message could not be read");
                Err(MediaFault::Unreadable { detail: "the disk refused".to_owned() })
            }
            Err(_) => Err(MediaFault::Unreadable { detail: "the thread that read it ended".to_owned() }),
        }
    }
}

fn told_by_its_bytes(bytes: Vec<u8>, kind: EnclosureKind) -> Result<Content, MediaFault> {
    if ImageKind::of(&bytes).is_some() {
        return Ok(Content::Image(bytes.into()));
    }
    if AudioKind::of(&bytes).is_some() {
        return Ok(Content::Audio(bytes.into()));
    }
    let taken = match kind {
        EnclosureKind::Recording => "recordings are taken as WAV and as Opus in Ogg",
        EnclosureKind::Picture | EnclosureKind::File => "pictures are taken as PNG, JPEG, WebP or GIF",
    };
    Err(MediaFault::Unfit { detail: format!("its format is none that can be read; {taken}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_shown_as_what_its_bytes_are() {
        let folder = tempfile::tempdir().unwrap();
        let media = MediaFolder::new(folder.path().join("media"));
        let keep = |kind, bytes: &[u8]| media.keep(kind, "", bytes).unwrap();
        let png = keep(EnclosureKind::Recording, b"\x89PNG\r\n\x1a\nrest");
        assert!(
            matches!(MediaShelf::read(&media, &png).await, Ok(Content::Image(bytes)) if bytes.len() == 12)
        );
        let wav = keep(EnclosureKind::Picture, b"RIFF\0\0\0\0WAVEfmt ");
        assert!(matches!(MediaShelf::read(&media, &wav).await, Ok(Content::Audio(_))));
        let other = MediaShelf::read(&media, &keep(EnclosureKind::Recording, b"ID3 and so on")).await;
        assert!(other.unwrap_err().to_string().contains("taken as WAV"));
        let other = MediaShelf::read(&media, &keep(EnclosureKind::Picture, b"<svg>")).await;
        assert!(other.unwrap_err().to_string().contains("PNG, JPEG"));

        let large = keep(EnclosureKind::Picture, &vec![0; MEDIUM_BYTES_MAX + 1]);
        assert!(matches!(MediaShelf::read(&media, &large).await, Err(MediaFault::Unfit { .. })));
        let name = wav.id.to_string();
        let path = folder.path().join("media").join(&name[..2]).join(&name);
        std::fs::write(&path, b"other").unwrap();
        assert!(matches!(MediaShelf::read(&media, &wav).await, Err(MediaFault::Unfit { .. })));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(MediaShelf::read(&media, &wav).await, Err(MediaFault::Gone));
    }
}
