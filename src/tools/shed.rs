//! Which sources of tools each Archon of the house has.
use std::path::PathBuf;
use std::sync::Arc;

use archond_actors::domain::ArchonSpec;
use archond_actors::ports::{ToolShed, ToolSource};

use super::{
    BuiltIn, Directory, DirectoryTools, Grounds, MemoryTools, ProcessLimits, built_in_names, is_memory_tool,
};
use crate::settings::Paths;

/// The house's own: each Archon has a workspace below the state directory, and all share the directory of the user's own tools.
#[derive(Clone)]
pub struct HouseTools {
    state: PathBuf,
    memory: MemoryTools,
    directory: Arc<Directory>,
}

impl HouseTools {
    /// Of the house with these folders and this memory.
    pub fn new(paths: &Paths, memory: MemoryTools) -> Self {
        let directory = Arc::new(Directory::new(paths.tools_dir()));
        Self { state: paths.state.clone(), memory, directory }
    }
}

impl ToolShed for HouseTools {
    /// An Archon whose workspace cannot be made has no tools, and answers all the same.
    fn sources(&self, archon: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        if archon.tools.tools.is_empty() {
            return Vec::new();
        }
        let built_in = BuiltIn::new(Grounds::of_archon(&self.state, &archon.id), ProcessLimits::default());
        let built_in = match built_in {
            Ok(built_in) => built_in,
            Err(error) => {
                tracing::error!(archon = %archon.id, %error, "the Archon has no tools");
                return Vec::new();
            }
        };
        let names = built_in_names();
        let own = archon.tools.tools.iter().any(|name| !names.contains(name)).then(|| {
            let own = DirectoryTools::new(built_in.clone(), Arc::clone(&self.directory));
            Arc::new(own) as Arc<dyn ToolSource>
        });
        let remembers = archon.tools.tools.iter().any(|name| is_memory_tool(name));
        let memory = remembers.then(|| Arc::new(self.memory.clone()) as Arc<dyn ToolSource>);
        std::iter::once(Arc::new(built_in) as Arc<dyn ToolSource>).chain(memory).chain(own).collect()
    }
}
