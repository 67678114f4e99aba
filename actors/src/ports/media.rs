//! The port to what came with messages: the house knows it by its reference alone, and reads it when a model is to be shown it.
use async_trait::async_trait;

use crate::domain::{Content, Enclosure, MediaBounds};

/// Why something that came with a message cannot be shown. In words that go on with "you cannot look into it:".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MediaFault {
    /// It is not there any more.
    #[error("it is not kept any more")]
    Gone,
    /// It never can be: what it is does not change.
    #[error("{detail}")]
    Unfit {
        /// Why.
        detail: String,
    },
    /// Not now.
    #[error("it could not be read ({detail})")]
    Unreadable {
        /// Why.
        detail: String,
    },
}

/// Keeps what came with messages.
#[async_trait]
pub trait MediaShelf: Send + Sync + 'static {
    /// How much of it one prompt may show.
    fn bounds(&self) -> MediaBounds;
    /// Reads one, within [`MediaBounds::medium_bytes`]; never on the thread of whoever asks. A picture or a recording by its bytes,
    /// whatever its platform said that it is.
    async fn read(&self, enclosure: &Enclosure) -> Result<Content, MediaFault>;
}

/// Nothing is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMedia;

#[async_trait]
impl MediaShelf for NoMedia {
    fn bounds(&self) -> MediaBounds {
        MediaBounds::default()
    }

    async fn read(&self, _: &Enclosure) -> Result<Content, MediaFault> {
        Err(MediaFault::Gone)
    }
}
