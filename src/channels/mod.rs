//! The roads to platforms, as this program has them: which adapters an Archon gets, and the codes of strangers.
pub mod codes;
pub mod media;

use std::sync::Arc;

use archond_actors::domain::{ArchonSpec, CodeHash};
use archond_actors::ports::{Channel, ChannelShed};

/// Makes the adapter of one kind of platform for an Archon whose profile asks for it.
pub type Maker = Arc<dyn Fn(&ArchonSpec) -> Option<Arc<dyn Channel>> + Send + Sync>;

/// All kinds of platforms.
#[derive(Default)]
pub struct HouseChannels {
    makers: Vec<Maker>,
}

impl HouseChannels {
    /// Those that these make, in this order.
    pub fn new(makers: Vec<Maker>) -> Self {
        Self { makers }
    }
}

impl ChannelShed for HouseChannels {
    fn channels(&self, archon: &ArchonSpec) -> Vec<Arc<dyn Channel>> {
        let made = self.makers.iter().filter_map(|make| make(archon));
        made.filter(|channel| archon.channels.contains(&channel.id())).collect()
    }

    fn draw_code(&self) -> Option<(String, CodeHash)> {
        codes::draw()
    }

    fn hash_code(&self, written: &str) -> CodeHash {
        codes::hash(written)
    }
}
