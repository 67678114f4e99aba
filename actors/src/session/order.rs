//! A request that the pool works on for this session.
use crate::domain::GenerationId;
use crate::pool::PoolHandle;

/// Given up when it is dropped before its last event, also by the end of a session that was killed: nobody would read the rest.
pub(super) struct OpenOrder {
    pool: PoolHandle,
    id: GenerationId,
    ended: bool,
}

impl OpenOrder {
    pub(super) fn new(pool: PoolHandle, id: GenerationId) -> Self {
        Self { pool, id, ended: false }
    }

    pub(super) fn id(&self) -> GenerationId {
        self.id
    }

    /// Asks for its end; its last event follows.
    pub(super) fn cancel(&self) {
        self.pool.cancel(self.id);
    }

    /// Its last event came.
    pub(super) fn ended(mut self) {
        self.ended = true;
    }
}

impl Drop for OpenOrder {
    fn drop(&mut self) {
        if !self.ended {
            self.cancel();
        }
    }
}
