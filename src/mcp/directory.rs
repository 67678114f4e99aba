//! Which MCP servers there are: a file for each, in a folder of the user's. One bad file takes no other server down.
use std::io;
use std::path::Path;

use crate::settings::mcp_file::{name_fault, source_name};
use crate::settings::{Fault, McpServer, Paths, read_mcp_file};
use crate::tools::{built_in_names, is_ours};

/// Most servers: each may be a process for each Archon.
const SERVERS_MAX: usize = 64;
/// Most entries of the folder that are looked at.
const ENTRIES_MAX: usize = 1024;

/// What a folder of servers holds.
#[derive(Debug, Clone, Default)]
pub struct McpDirectory {
    /// The sound ones, by name.
    pub servers: Vec<McpServer>,
    /// What is wrong with the others.
    pub faults: Vec<Fault>,
}

impl McpDirectory {
    /// Reads a folder, which need not exist.
    pub fn read(folder: &Path) -> Self {
        let mut directory = Self::default();
        let files = match files(folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return directory,
            Err(error) => {
                directory.faults.push(Fault::of_file(folder, format!("cannot be read: {error}")));
                return directory;
            }
        };
        for file in files {
            if directory.servers.len() >= SERVERS_MAX {
                let message =
                    format!("there are more than {SERVERS_MAX} servers; this and all behind it are left out");
                directory.faults.push(Fault::of_file(&file, message));
                break;
            }
            // What a stranger wrote is not read: it says which programs are run.
            let read = is_ours(&file, &file).map_err(|fault| vec![fault]).and_then(|()| read_mcp_file(&file));
            match read.and_then(|server| clash(&server, &file).map_or(Ok(server), |fault| Err(vec![fault]))) {
                Ok(server) => directory.servers.push(server),
                Err(faults) => directory.faults.extend(faults),
            }
        }
        directory
    }

    /// A server by name.
    pub fn find(&self, name: &str) -> Option<&McpServer> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The server whose source has this name.
    pub fn of_source(&self, source: &str) -> Option<&McpServer> {
        self.servers.iter().find(|server| source_name(&server.name) == source)
    }
}

/// A server whose tools could be taken for built-in ones.
fn clash(server: &McpServer, file: &Path) -> Option<Fault> {
    let beginning = format!("{}_", server.name);
    let built_in = built_in_names().into_iter().find(|name| name.starts_with(&beginning))?;
    let message = format!("a tool of this server could be taken for the built-in `{built_in}`");
    Some(Fault::of_file(file, message).with_hint("rename the file"))
}

/// The names of the sound servers of a house: those that a profile may name.
pub fn server_names(paths: &Paths) -> Vec<String> {
    McpDirectory::read(&paths.mcp_dir()).servers.into_iter().map(|server| server.name).collect()
}

/// Whether a server may be added by this name, and if not, why.
pub(crate) fn free_name(folder: &Path, name: &str) -> Result<std::path::PathBuf, String> {
    if let Some(fault) = name_fault(name) {
        return Err(fault);
    }
    let path = folder.join(format!("{name}.ron"));
    if path.exists() {
        return Err(format!("`{}` exists already; edit it, or remove it first", path.display()));
    }
    Ok(path)
}

/// The servers' files, in order. Hidden ones are editors' affairs.
fn files(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)?.take(ENTRIES_MAX) {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "ron") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_file_takes_no_other_server_down() {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("files.ron", r#"(command: ["x"])"#),
            ("bad.ron", "("),
            ("read.ron", r#"(command: ["x"])"#),
            (".hidden.ron", "("),
            ("notes.txt", "x"),
        ] {
            std::fs::write(home.path().join(name), text).unwrap();
        }
        let directory = McpDirectory::read(home.path());
        assert_eq!(
            directory.servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(),
            ["files"]
        );
        assert!(directory.of_source("mcp-files").is_some() && directory.find("bad").is_none());
        let faults: Vec<String> = directory.faults.iter().map(ToString::to_string).collect();
        assert!(
            faults.iter().any(|fault| fault.contains("could be taken for the built-in `read_file`")),
            "{faults:?}"
        );
        assert!(McpDirectory::read(&home.path().join("nowhere")).faults.is_empty());
    }
}
