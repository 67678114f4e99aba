//! The port that says which model computes vectors.
use crate::domain::Embedder;

/// Which model computes the vectors by which things are found by their meaning.
pub trait Embedders: Send + Sync + 'static {
    /// The one that is to be used now. `None`: there is none. Blocking: it looks at the disk.
    fn current(&self) -> Option<Embedder>;
}

/// No embedder.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEmbedders;

impl Embedders for NoEmbedders {
    fn current(&self) -> Option<Embedder> {
        None
    }
}
