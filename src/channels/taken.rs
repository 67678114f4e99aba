//! What the house has taken of a channel, for adapters of platforms that bring the same messages again and again.
use std::sync::Arc;

use archond_actors::domain::{ArchonId, ChannelId, MessageKey, house_key};
use archond_actors::ports::Store;

/// The messages that are in the store.
#[derive(Clone)]
pub struct Taken {
    store: Arc<dyn Store>,
    archon: ArchonId,
    channel: ChannelId,
}

impl Taken {
    /// Those of one channel of an Archon.
    pub fn new(store: Arc<dyn Store>, archon: ArchonId, channel: ChannelId) -> Self {
        Self { store, archon, channel }
    }

    /// Whether the message with this key of the platform is one of them. One that cannot be looked for is not: it is taken once all the same.
    pub async fn has(&self, key: &str) -> bool {
        let key = MessageKey { channel: self.channel.clone(), key: house_key(&self.archon, key) };
        let store = self.store.clone();
        let looked = tokio::task::spawn_blocking(move || store.is_accepted(&key)).await;
        matches!(looked, Ok(Ok(true)))
    }
}
