//! A shelf of what came with messages that has no disk, and how long such things are for the engine without a model.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::{Content, Enclosure, EnclosureKind, GenerationRequest, MediaBounds, MediaId};
use crate::ports::{MediaFault, MediaShelf};

/// What each picture and recording takes of a prompt, in tokens.
pub const MEDIUM_TOKENS: u32 = 10;

/// The shelf. Its clones are the same one.
#[derive(Clone, Default)]
pub struct FakeMedia(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    kept: BTreeMap<MediaId, Result<Content, MediaFault>>,
    reads: u32,
}

impl FakeMedia {
    /// Keeps one that differs by its number; a file is no content.
    pub fn keep(&self, kind: EnclosureKind, number: u8) -> Enclosure {
        let id = MediaId::new([number; 32]);
        let bytes: Arc<[u8]> = [number].into();
        let content = match kind {
            EnclosureKind::Picture => Ok(Content::Image(bytes)),
            EnclosureKind::Recording => Ok(Content::Audio(bytes)),
            EnclosureKind::File => Err(MediaFault::Unfit { detail: "it is a file".into() }),
        };
        self.shelf().kept.insert(id.clone(), content);
        Enclosure { id, kind, bytes: 1, name: String::new() }
    }

    /// From now on it is read so.
    pub fn set(&self, id: &MediaId, fault: MediaFault) {
        self.shelf().kept.insert(id.clone(), Err(fault));
    }

    /// How often something was read.
    pub fn reads(&self) -> u32 {
        self.shelf().reads
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MediaShelf for FakeMedia {
    fn bounds(&self) -> MediaBounds {
        MediaBounds { count: 16, medium_bytes: 100, bytes: 1000 }
    }

    async fn read(&self, enclosure: &Enclosure) -> Result<Content, MediaFault> {
        let mut shelf = self.shelf();
        shelf.reads += 1;
        shelf.kept.get(&enclosure.id).cloned().unwrap_or(Err(MediaFault::Gone))
    }
}

/// What the pictures and recordings of a request take of its prompt, in tokens.
pub(super) fn media_tokens(request: &GenerationRequest) -> u32 {
    let content = request.prompt.turns().iter().flat_map(|turn| &turn.content);
    content.map(|content| if let Content::Text(_) = content { 0 } else { MEDIUM_TOKENS }).sum()
}
