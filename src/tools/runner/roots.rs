//! The folders that a file tool may reach, and the only way in: the kernel resolves each path below an open folder, and refuses
//! whatever would lead out of it, symbolic links that change in the meantime included.
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, open, openat2};
use rustix::io::Errno;

use crate::tools::arguments::ArgumentsError;
use crate::tools::order::Order;

/// The kernel gives up when folders are moved while it looks; then it is asked again.
const TRIES: u32 = 64;

/// Why a file tool did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error(transparent)]
    Arguments(#[from] ArgumentsError),
    #[error("there is no tool `{0}`")]
    NoTool(String),
    #[error("`{path}` leads out of the workspace {workspace}; use a path inside it")]
    Outside { path: String, workspace: String },
    #[error("`{0}` may be read and not written; write into the workspace")]
    ReadOnly(String),
    #[error("there is no `{0}`; glob_search shows what there is")]
    Missing(String),
    #[error("`{0}` is a directory; name a file in it")]
    Directory(String),
    #[error("`{0}` is not a directory")]
    NoDirectory(String),
    #[error("`{0}` is neither a file nor a directory")]
    Special(String),
    #[error("`{0}` is a symbolic link; name the file that it leads to")]
    Link(String),
    #[error("`{0}` is a binary file; only text can be handled")]
    Binary(String),
    #[error("`{path}` has {bytes} bytes, more than {most}; use bash")]
    TooLong { path: String, bytes: u64, most: u64 },
    #[error(
        "`{path}` has {bytes} bytes, and at most {most} are sent (`tool_limits.send_max` of the profile)"
    )]
    TooLongToSend { path: String, bytes: u64, most: u64 },
    #[error("`{0}` is not sent; name a file of the workspace by a path that goes straight down to it")]
    NotSent(String),
    #[error("`{path}` has {lines} lines; offset {offset} is behind its end")]
    BehindEnd { path: String, lines: u64, offset: u64 },
    #[error("{0}")]
    Pattern(String),
    #[error("{0}")]
    Edit(String),
    #[error("`{path}`: {source}")]
    System { path: String, source: io::Error },
}

struct Root {
    path: PathBuf,
    handle: OwnedFd,
    is_writable: bool,
}

/// A path that was asked for, as one below a root. It is not looked at before it is opened.
pub(super) struct Place<'r> {
    root: &'r Root,
    below: PathBuf,
    shown: String,
}

/// The workspace, and folders that may be read.
pub(super) struct Roots {
    roots: Vec<Root>,
}

impl Roots {
    /// Opens the folders themselves.
    pub(super) fn open(order: &Order) -> Result<Self, FileFault> {
        let readable = order.readable.iter().map(|path| (path, false));
        let folders = std::iter::once((&order.workspace, true)).chain(readable);
        let opened = folders.map(|(path, is_writable)| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let handle = open(path, flags, Mode::empty());
            let handle = handle.map_err(|error| system(&path.to_string_lossy(), error))?;
            Ok(Root { path: path.clone(), handle, is_writable })
        });
        Ok(Self { roots: opened.collect::<Result<_, FileFault>>()? })
    }

    /// Where a path leads: a relative one below the workspace, an absolute one below the folder that holds it.
    pub(super) fn place(&self, path: &str) -> Result<Place<'_>, FileFault> {
        let outside = || FileFault::Outside { path: path.to_owned(), workspace: self.workspace() };
        if path.is_empty() {
            return Err(FileFault::Missing(String::new()));
        }
        if path.contains('\0') {
            return Err(outside());
        }
        // The workspace is the home of all that runs there.
        let written = Path::new(path).strip_prefix("~").unwrap_or(Path::new(path));
        let fits = |root: &&Root| written.starts_with(&root.path);
        let longest = self.roots.iter().filter(fits).max_by_key(|root| root.path.as_os_str().len());
        let root = if written.is_absolute() { longest } else { self.roots.first() }.ok_or_else(outside)?;
        let below = written.strip_prefix(&root.path).unwrap_or(written);
        let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
        Ok(Place { root, below: below.to_owned(), shown: path.to_owned() })
    }

    fn workspace(&self) -> String {
        self.roots.first().map(|root| root.path.display().to_string()).unwrap_or_default()
    }
}

impl Place<'_> {
    /// The path as it was asked for.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// The path from the workspace, where it is there.
    pub(super) fn in_workspace(&self) -> Option<&Path> {
        self.root.is_writable.then_some(&self.below)
    }

    /// Where it is, for those who walk through folders. Landlock bounds these.
    pub(super) fn whole(&self) -> PathBuf {
        if self.below == Path::new(".") { self.root.path.clone() } else { self.root.path.join(&self.below) }
    }

    /// What is shown of a file that was found below: the path that opens it again.
    pub(super) fn shown_of(&self, found: &Path) -> String {
        let below =
            if self.root.is_writable { found.strip_prefix(&self.root.path).unwrap_or(found) } else { found };
        below.display().to_string()
    }

    /// Opens it to read. What is no file is refused once it is open, so that nobody can exchange it in between.
    pub(super) fn read(&self) -> Result<File, FileFault> {
        // Without waiting: a pipe that nobody writes to would never open.
        let handle = self.resolve(&self.below, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        match FileType::from_raw_mode(fstat(&handle).map_err(|error| self.fault(error))?.st_mode) {
            FileType::RegularFile => Ok(handle.into()),
            FileType::Directory => Err(FileFault::Directory(self.shown.clone())),
            _ => Err(FileFault::Special(self.shown.clone())),
        }
    }

    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> Result<bool, FileFault> {
        let handle = self.resolve(&self.below, OFlags::PATH)?;
        let mode = fstat(&handle).map_err(|error| self.fault(error))?.st_mode;
        Ok(FileType::from_raw_mode(mode) == FileType::Directory)
    }

    /// Opens the folder of a file that is to be written, and makes it where it is missing. Answers it with the file's name.
    pub(super) fn folder(&self) -> Result<(OwnedFd, OsString), FileFault> {
        if !self.root.is_writable {
            return Err(FileFault::ReadOnly(self.shown.clone()));
        }
        let Some(Component::Normal(name)) = self.below.components().next_back() else {
            return Err(FileFault::Directory(self.shown.clone()));
        };
        if self.shown.ends_with('/') {
            return Err(FileFault::Directory(self.shown.clone()));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut folder = self.resolve(Path::new("."), flags)?;
        let mut path = PathBuf::from(".");
        for part in self.below.parent().into_iter().flat_map(Path::components) {
            path.push(part);
            folder = match self.resolve(&path, flags) {
                Err(FileFault::Missing(_)) => {
                    match mkdirat(&folder, part.as_os_str(), Mode::RWXU) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(self.fault(error)),
                    }
                    self.resolve(&path, flags)?
                }
                other => other?,
            };
        }
        Ok((folder, name.to_owned()))
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, FileFault> {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut last = Errno::AGAIN;
        for _ in 0..TRIES {
            match openat2(&self.root.handle, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
                Ok(handle) => return Ok(handle),
                Err(error @ (Errno::AGAIN | Errno::INTR)) => last = error,
                Err(error) => return Err(self.fault(error)),
            }
        }
        Err(self.fault(last))
    }

    /// What an error of the system means to whoever asked.
    pub(super) fn fault(&self, error: Errno) -> FileFault {
        let shown = self.shown.clone();
        match error {
            Errno::XDEV | Errno::LOOP => {
                FileFault::Outside { path: shown, workspace: self.root.path.display().to_string() }
            }
            Errno::NOENT => FileFault::Missing(shown),
            Errno::NOTDIR => FileFault::NoDirectory(shown),
            Errno::ISDIR => FileFault::Directory(shown),
            error => system(&shown, error),
        }
    }

    /// The same, of an error in Rust's own form.
    pub(super) fn failed(&self, source: io::Error) -> FileFault {
        FileFault::System { path: self.shown.clone(), source }
    }
}

fn system(path: &str, error: Errno) -> FileFault {
    FileFault::System { path: path.to_owned(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    use super::*;

    /// No other lock is closed here: it is the kernel's way of resolving paths alone that holds.
    fn roots(home: &Path) -> Roots {
        let order = Order {
            tool: String::new(),
            arguments: String::new(),
            program: None,
            workspace: home.join("workspace"),
            readable: vec![home.join("library")],
            temporary: home.to_owned(),
            limits: crate::tools::ProcessLimits::default(),
            time_max: std::time::Duration::ZERO,
            server: None,
            web: None,
            parent: None,
        };
        for folder in ["workspace/d", "library"] {
            std::fs::create_dir_all(home.join(folder)).unwrap();
        }
        std::fs::write(home.join("f"), "outside").unwrap();
        std::fs::write(home.join("workspace/d/f"), "inside").unwrap();
        Roots::open(&order).unwrap()
    }

    fn text(file: File) -> String {
        let mut text = String::new();
        file.take(100).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn paths_are_below_the_folder_that_holds_them() {
        let home = tempfile::tempdir().unwrap();
        let roots = roots(home.path());
        let inside = home.path().join("workspace/d/../d/f").display().to_string();
        for path in ["d/f", "./d/../d/f", "~/d/f", &inside] {
            assert_eq!(text(roots.place(path).unwrap().read().unwrap()), "inside", "{path}");
        }
        let outside = home.path().join("workspace/../f").display().to_string();
        for path in
            ["../f", "d/../../f", "/proc/self/root/etc/passwd", "/etc/passwd", &outside, "~/../f", "d/f\0"]
        {
            let refused = roots.place(path).and_then(|place| place.read());
            assert!(matches!(refused, Err(FileFault::Outside { .. })), "{path}: {refused:?}");
        }
        assert!(matches!(roots.place("library/x").unwrap().read(), Err(FileFault::Missing(_))));
        let library = home.path().join("library/x").display().to_string();
        assert!(matches!(roots.place(&library).unwrap().folder(), Err(FileFault::ReadOnly(_))));
    }

    #[test]
    fn a_folder_that_becomes_a_link_meanwhile_leads_nowhere_else() {
        let home = tempfile::tempdir().unwrap();
        let roots = roots(home.path());
        let (folder, link) = (home.path().join("workspace/d"), home.path().join("workspace/e"));
        std::os::unix::fs::symlink(home.path(), &link).unwrap();
        let ends = AtomicBool::new(false);
        let (mut inside, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ends.load(Ordering::Relaxed) {
                    renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            while inside < 1000 || refused < 1000 {
                let place = roots.place("d/f").unwrap();
                match place.read() {
                    Ok(file) => {
                        assert_eq!(text(file), "inside");
                        inside += 1;
                    }
                    Err(_) => refused += 1,
                }
                if let Ok((folder, _)) = roots.place("d/new").unwrap().folder() {
                    assert!(rustix::fs::statat(&folder, "workspace", rustix::fs::AtFlags::empty()).is_err());
                }
            }
            ends.store(true, Ordering::Relaxed);
        });
    }
}
