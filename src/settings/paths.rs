//! Where a house keeps its files: the XDG base directories, or everything below `ARCHOND_HOME`.
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::environment::Environment;

/// The variable that puts a whole house below one folder: for tests, containers, and several houses of one user.
pub const HOME_VARIABLE: &str = "ARCHOND_HOME";

/// Name of our folder in each base directory.
const FOLDER: &str = "archond";

/// Longest path of a Unix socket, in bytes: `sun_path` holds 108 with its end mark.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Why the folders of a house cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// Nobody says where the user's files are.
    #[error("no home directory is known; set HOME, or {HOME_VARIABLE} to a folder for archond's files")]
    NoHome,
    /// `ARCHOND_HOME` is relative and the working directory is gone.
    #[error("cannot tell where `{path}` is; set {HOME_VARIABLE} to an absolute path")]
    Relative {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder could not be made.
    #[error(
        "cannot create `{path}`: {source}; make its parent writable, or set {HOME_VARIABLE} to a folder of yours"
    )]
    Create {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder that others own or that cannot be closed to them.
    #[error(
        "`{path}` belongs to user {owner}, not to you ({user}); remove it, or set {HOME_VARIABLE} to a folder of yours"
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who runs.
        user: u32,
    },
    /// A folder that cannot be written.
    #[error(
        "`{path}` cannot be written; give yourself the right with `chmod u+rwx`, or set {HOME_VARIABLE} to another folder"
    )]
    ReadOnly {
        /// Which.
        path: PathBuf,
    },
}

/// The folders of one house. None of them need exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// What the user writes: `archond.ron`, `archons/`, `models/`, `tools/`, `mcp/`.
    pub config: PathBuf,
    /// What must not be lost: the store, the models.
    pub data: PathBuf,
    /// What may be lost: logs, input history.
    pub state: PathBuf,
    /// What ends with the session: the socket, the lock.
    pub run: PathBuf,
}

impl Paths {
    /// `ARCHOND_HOME` if it is set; else the XDG directories of this process.
    pub fn find(env: &Environment) -> Result<Self, PathsError> {
        if let Some(home) = env.get(HOME_VARIABLE) {
            let home = std::path::absolute(home)
                .map_err(|source| PathsError::Relative { path: home.into(), source })?;
            return Ok(Self::below(&home));
        }
        // An empty HOME is what init systems and `env -i` wrappers leave behind: relative paths would follow.
        let xdg = etcetera::base_strategy::Xdg::new().map_err(|_| PathsError::NoHome)?;
        if !xdg.home_dir().is_absolute() {
            return Err(PathsError::NoHome);
        }
        Ok(Self::of_strategy(&xdg))
    }

    /// Everything below one folder.
    pub fn below(home: &Path) -> Self {
        Self {
            config: home.join("config"),
            data: home.join("data"),
            state: home.join("state"),
            run: home.join("run"),
        }
    }

    fn of_strategy(base: &impl BaseStrategy) -> Self {
        let state = base.state_dir().unwrap_or_else(|| base.home_dir().join(".local/state")).join(FOLDER);
        Self {
            config: base.config_dir().join(FOLDER),
            data: base.data_dir().join(FOLDER),
            run: base.runtime_dir().map_or_else(|| state.join("run"), |runtime| runtime.join(FOLDER)),
            state,
        }
    }

    /// The house's own settings.
    pub fn house_file(&self) -> PathBuf {
        self.config.join("archond.ron")
    }

    /// The user's own profiles.
    pub fn profiles_dir(&self) -> PathBuf {
        self.config.join("archons")
    }

    /// The user's own tools.
    pub fn tools_dir(&self) -> PathBuf {
        self.config.join("tools")
    }

    /// The user's own skills.
    pub fn skills_dir(&self) -> PathBuf {
        self.config.join("skills")
    }

    /// The channels to platforms: `channels/ARCHON/PLATFORM.ron`.
    pub fn channels_dir(&self) -> PathBuf {
        self.config.join("channels")
    }

    /// Secrets that archond was given to keep, each a file for this user alone.
    pub fn secrets_dir(&self) -> PathBuf {
        self.config.join("secrets")
    }

    /// What came with messages.
    pub fn media_dir(&self) -> PathBuf {
        self.state.join("media")
    }

    /// The MCP servers.
    pub fn mcp_dir(&self) -> PathBuf {
        self.config.join("mcp")
    }

    /// What the user has accepted of each MCP server.
    pub fn mcp_accepted_dir(&self) -> PathBuf {
        self.data.join("mcp")
    }

    /// What each MCP server offered last.
    pub fn mcp_seen_dir(&self) -> PathBuf {
        self.state.join("mcp")
    }

    /// The log files.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// The socket, unless a setting names another one.
    pub fn socket(&self) -> PathBuf {
        self.run.join("archond.sock")
    }
}

/// Makes a folder that only its owner can enter, parents included; one that exists is closed to others. Answers an error when it is
/// another user's or cannot be written.
pub fn private_dir(path: &Path) -> Result<(), PathsError> {
    let failed = |source| PathsError::Create { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(PathsError::Foreign { path: path.to_owned(), owner: metadata.uid(), user });
    }
    if metadata.mode() & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let rights = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(path, rights).map_err(|_| PathsError::ReadOnly { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_variable_moves_the_whole_house() {
        let env: Environment = [("ARCHOND_HOME".to_owned(), "/srv/house".into())].into_iter().collect();
        let paths = Paths::find(&env).unwrap();
        assert_eq!(paths, Paths::below(Path::new("/srv/house")));
        assert_eq!(paths.socket(), Path::new("/srv/house/run/archond.sock"));
        assert_eq!(paths.house_file(), Path::new("/srv/house/config/archond.ron"));
    }

    #[test]
    fn a_relative_home_is_made_absolute() {
        let env: Environment = [("ARCHOND_HOME".to_owned(), "house".into())].into_iter().collect();
        let paths = Paths::find(&env).unwrap();
        assert_eq!(paths.data, std::env::current_dir().unwrap().join("house/data"));
    }

    struct Bare;
    impl BaseStrategy for Bare {
        fn home_dir(&self) -> &Path {
            Path::new("/home/ada")
        }
        fn config_dir(&self) -> PathBuf {
            "/home/ada/.config".into()
        }
        fn data_dir(&self) -> PathBuf {
            "/home/ada/.local/share".into()
        }
        fn cache_dir(&self) -> PathBuf {
            "/home/ada/.cache".into()
        }
        fn state_dir(&self) -> Option<PathBuf> {
            None
        }
        fn runtime_dir(&self) -> Option<PathBuf> {
            None
        }
    }

    #[test]
    fn without_a_runtime_directory_the_socket_lives_with_the_state() {
        let paths = Paths::of_strategy(&Bare);
        assert_eq!(paths.run, Path::new("/home/ada/.local/state/archond/run"));
        assert_eq!(paths.config, Path::new("/home/ada/.config/archond"));
    }

    #[test]
    fn private_folders_are_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        private_dir(&inner).unwrap();
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o755)).unwrap();
        private_dir(&inner).unwrap();
        assert_eq!(std::fs::metadata(&inner).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_file_in_the_way_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let error = private_dir(&dir.path().join("a/b")).unwrap_err().to_string();
        assert!(error.starts_with("cannot create `") && error.contains(HOME_VARIABLE), "{error}");
    }
}
