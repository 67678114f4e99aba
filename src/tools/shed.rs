//! Which sources of tools each Archon of the house has.
use std::sync::Arc;

use archond_actors::domain::ArchonSpec;
use archond_actors::ports::{ToolShed, ToolSource};

use super::{BuiltIn, Directory, DirectoryTools, Grounds, ProcessLimits, built_in_names};
use crate::mcp::{McpDirectory, McpSource};
use crate::settings::{McpServer, Paths};

/// The house's own: each Archon has a workspace below the state directory, and all share the directory of the user's own tools.
#[derive(Debug, Clone)]
pub struct HouseTools {
    paths: Paths,
    directory: Arc<Directory>,
}

impl HouseTools {
    /// Of the house with these folders.
    pub fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone(), directory: Arc::new(Directory::new(paths.tools_dir())) }
    }
}

impl HouseTools {
    /// The MCP servers that an Archon has, each with a life of its own.
    fn servers(&self, archon: &ArchonSpec, built_in: &BuiltIn) -> Vec<Arc<dyn ToolSource>> {
        if archon.tools.sources.is_empty() {
            return Vec::new();
        }
        let directory = McpDirectory::read(&self.paths.mcp_dir());
        for fault in &directory.faults {
            tracing::warn!("an MCP server is left out: {fault}");
        }
        let servers = archon.tools.sources.iter().filter_map(|name| directory.of_source(name));
        let source = |server: &McpServer| {
            Arc::new(McpSource::new(server.clone(), built_in.clone(), &self.paths)) as Arc<dyn ToolSource>
        };
        servers.map(source).collect()
    }
}

impl ToolShed for HouseTools {
    /// An Archon whose workspace cannot be made has no tools, and answers all the same.
    fn sources(&self, archon: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        if archon.tools.tools.is_empty() && archon.tools.sources.is_empty() {
            return Vec::new();
        }
        let built_in =
            BuiltIn::new(Grounds::of_archon(&self.paths.state, &archon.id), ProcessLimits::default());
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
        let servers = self.servers(archon, &built_in);
        std::iter::once(Arc::new(built_in) as Arc<dyn ToolSource>).chain(own).chain(servers).collect()
    }
}
