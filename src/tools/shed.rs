//! Which sources of tools each Archon of the house has.
use std::path::PathBuf;
use std::sync::Arc;

use archond_actors::domain::ArchonSpec;
use archond_actors::ports::{ToolShed, ToolSource};

use super::{BuiltIn, Grounds, ProcessLimits};

/// The house's own: each Archon has a workspace below the state directory.
#[derive(Debug, Clone)]
pub struct HouseTools {
    /// The state directory.
    pub state: PathBuf,
}

impl ToolShed for HouseTools {
    /// An Archon whose workspace cannot be made has no tools, and answers all the same.
    fn sources(&self, archon: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        if archon.tools.tools.is_empty() {
            return Vec::new();
        }
        match BuiltIn::new(Grounds::of_archon(&self.state, &archon.id), ProcessLimits::default()) {
            Ok(built_in) => vec![Arc::new(built_in)],
            Err(error) => {
                tracing::error!(archon = %archon.id, %error, "the Archon has no tools");
                Vec::new()
            }
        }
    }
}
