//! Which sources of tools each Archon of the house has.
use std::path::PathBuf;
use std::sync::Arc;

use archond_actors::domain::{AGENT, ArchonId, ArchonSpec, Skills};
use archond_actors::house::Delegation;
use archond_actors::ports::{ToolShed, ToolSource};

use super::{
    AgentTools, BuiltIn, Directory, DirectoryTools, Grounds, MemoryTools, ProcessLimits, SearchTools,
    WebAccess, built_in_names, is_memory_tool,
};
use crate::mcp::{McpDirectory, McpSource};
use crate::settings::{McpServer, Paths, SKILL, WebSettings};
use crate::skills::{SkillFolder, SkillTools};

/// The house's own: each Archon has a workspace below the state directory, and all share the directories of the user's own tools and
/// skills.
#[derive(Clone)]
pub struct HouseTools {
    paths: Paths,
    memory: MemoryTools,
    directory: Arc<Directory>,
    skills: Arc<SkillFolder>,
    web: WebSettings,
    delegation: Delegation,
}

impl HouseTools {
    /// Of the house with these folders, this memory and this reach into the web.
    pub fn new(paths: &Paths, memory: MemoryTools, web: &WebSettings) -> Self {
        let directory = Arc::new(Directory::new(paths.tools_dir()));
        let skills = Arc::new(SkillFolder::new(paths.skills_dir()));
        let delegation = Delegation::default();
        Self { paths: paths.clone(), memory, directory, skills, web: web.clone(), delegation }
    }

    /// The same, with this way to hand tasks on.
    #[must_use]
    pub fn with_delegation(self, delegation: Delegation) -> Self {
        Self { delegation, ..self }
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

/// Where the tools of an Archon work: in its workspace; the folders of its skills can be read.
pub fn grounds(paths: &Paths, archon: &ArchonId, skills: &Skills) -> Grounds {
    let folder = paths.skills_dir();
    let readable: Vec<PathBuf> = match skills {
        Skills::All => vec![folder],
        Skills::Named(names) => names.iter().map(|name| folder.join(name)).collect(),
    };
    Grounds { readable, ..Grounds::of_archon(&paths.state, archon) }
}

impl ToolShed for HouseTools {
    /// An Archon whose workspace cannot be made has no tools, and answers all the same.
    fn sources(&self, archon: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        let policy = &archon.tools;
        if policy.tools.is_empty() && policy.sources.is_empty() {
            return Vec::new();
        }
        let grounds = grounds(&self.paths, &archon.id, &policy.skills);
        let limits =
            ProcessLimits { sent_bytes_max: policy.limits.sent_bytes_max, ..ProcessLimits::default() };
        let built_in = match BuiltIn::new(grounds, limits) {
            Ok(built_in) => built_in.with_web(WebAccess::new(&self.web, policy.limits.output_chars_max)),
            Err(error) => {
                tracing::error!(archon = %archon.id, %error, "the Archon has no tools");
                return Vec::new();
            }
        };
        let names = built_in_names();
        let is_own = |name: &String| name != SKILL && name != AGENT && !names.contains(name);
        let own = policy.tools.iter().any(is_own).then(|| {
            let own = DirectoryTools::new(built_in.clone(), Arc::clone(&self.directory));
            Arc::new(own) as Arc<dyn ToolSource>
        });
        let remembers = archon.tools.tools.iter().any(|name| is_memory_tool(name));
        let memory = remembers.then(|| Arc::new(self.memory.clone()) as Arc<dyn ToolSource>);
        let others = &policy.delegates.to;
        let agent = (!others.is_empty()).then(|| {
            let agent = AgentTools::new(self.delegation.clone(), others.clone());
            Arc::new(agent) as Arc<dyn ToolSource>
        });
        let skills = (!policy.skills.is_none()).then(|| {
            let skills = SkillTools::new(Arc::clone(&self.skills), policy.skills.clone());
            Arc::new(skills) as Arc<dyn ToolSource>
        });
        let servers = self.servers(archon, &built_in);
        let built_in: Arc<dyn ToolSource> = Arc::new(built_in);
        let mut sources: Vec<_> = std::iter::once(built_in)
            .chain(memory)
            .chain(agent)
            .chain(skills)
            .chain(own)
            .chain(servers)
            .collect();
        if sources.iter().any(|source| !source.is_core()) {
            sources.push(Arc::new(SearchTools::new(sources.clone(), Arc::clone(policy))));
        }
        sources
    }
}
