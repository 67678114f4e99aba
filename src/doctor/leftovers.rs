//! What dead processes leave behind: sockets nobody listens on, locks, halves of files.
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archond_models::library::State;

use super::daemon::Daemon;
use super::finding::Finding;
use super::ground::Ground;
use crate::cli::moment::bytes;

/// Younger files may belong to a download or an editor that is at work.
const AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Most entries of one folder that are looked at.
const FILES_MAX: usize = 10_000;

/// A file that nobody will finish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) age: Duration,
    /// The model whose lock keeps others from it.
    pub(super) model: Option<String>,
}

impl Half {
    /// Whether it can be removed.
    pub(super) fn is_old(&self) -> bool {
        self.age > AGE_MIN
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Leftovers {
    /// A socket nobody listens on.
    pub(super) socket: Option<PathBuf>,
    /// Something else in the socket's place.
    in_the_way: Option<PathBuf>,
    pub(super) halves: Vec<Half>,
}

/// Looks for them.
pub(super) fn gather(ground: &Ground, daemon: &Daemon) -> Leftovers {
    let mut found = Leftovers::default();
    let socket = &ground.settings.house.socket;
    if let Ok(there) = std::fs::symlink_metadata(socket) {
        if !there.file_type().is_socket() {
            found.in_the_way = Some(socket.clone());
        } else if matches!(daemon, Daemon::Away) {
            found.socket = Some(socket.clone());
        }
    }
    let now = SystemTime::now();
    let mut add = |path: &Path, model: Option<&str>| found.halves.extend(half(path, model, now));
    let store = ground.store();
    add(&with_ending(&store, ".new"), None);
    for path in entries(&ground.settings.paths.profiles_dir()) {
        let name = name_of(&path);
        if name.starts_with('.') && name.ends_with(".new") {
            add(&path, None);
        }
    }
    for folder in entries(ground.models()).filter(|folder| !name_of(folder).starts_with('.')) {
        let model = name_of(&folder);
        for path in entries(&folder) {
            let name = name_of(&path);
            if name.ends_with(".part") || name == "model.new" {
                add(&path, Some(&model));
            }
        }
    }
    found
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX).map(|entry| entry.path())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn half(path: &Path, model: Option<&str>, now: SystemTime) -> Option<Half> {
    let file = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    // A time in the future is no age.
    let age = now.duration_since(file.modified().ok()?).unwrap_or_default();
    Some(Half { path: path.to_owned(), size: file.len(), age, model: model.map(str::to_owned) })
}

/// The check.
pub(super) fn judge(found: &Leftovers, daemon: &Daemon) -> Finding {
    let mut faults = Vec::new();
    if let Some(path) = &found.in_the_way {
        faults.push(Finding::problem(
            format!("{} is not a socket: the daemon cannot listen there", path.display()),
            "move it away",
        ));
    }
    if let Some(path) = &found.socket {
        faults.push(Finding::warning(
            format!("nobody listens on the socket {}: a daemon was killed", path.display()),
            "`archond start ezra` replaces it; `archond doctor --fix` removes it",
        ));
    }
    let old: Vec<_> = found.halves.iter().filter(|half| half.is_old()).collect();
    if let [first, ..] = old.as_slice() {
        let size = bytes(old.iter().map(|half| half.size).sum());
        let noun = if old.len() == 1 { "half of a file" } else { "halves of files" };
        let finding = Finding::warning(
            format!("{} {noun}, older than a day, {size}: {}", old.len(), first.path.display()),
            "go on with `archond model pull NAME` if it is a model; else `archond doctor --fix` removes it",
        );
        faults
            .push(old.iter().skip(1).fold(finding, |all, half| all.detail(half.path.display().to_string())));
    }
    let young = found.halves.len() - old.len();
    let well = match (daemon, young) {
        (Daemon::Runs { .. }, 0) => "the socket is the daemon's; nothing is left over".to_owned(),
        (_, 0) => "nothing is left over".to_owned(),
        (_, count) => format!("nothing is left over; {count} in the making, younger than a day"),
    };
    Finding::worst(well, faults)
}

/// Removes the socket if still nobody listens there.
pub(super) fn remove_socket(path: &Path) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("it is not a socket any more"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::other("somebody listens there now")),
    }
}

/// Removes a half of a file, unless somebody works on its model.
pub(super) fn remove_half(ground: &Ground, half: &Half) -> io::Result<()> {
    let entry = half.model.as_deref().and_then(|id| ground.library.entry(id));
    let _lock = match entry {
        Some(entry) => {
            // A download that is complete but for its name goes on at once, and is worth its bytes.
            if matches!(entry.state, State::Partial { bytes, total } if bytes >= total) {
                return Err(io::Error::other("it is complete: `archond model pull` puts it in its place"));
            }
            Some(ground.library.lock(&entry.model.id).map_err(io::Error::other)?)
        }
        None => None,
    };
    std::fs::remove_file(&half.path)
}

/// Which process holds the lock of a file, by the kernel's list.
pub(super) fn holder(path: &Path) -> Option<u32> {
    let file = std::fs::metadata(path).ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, file.dev(), file.ino())
}

fn holder_in(locks: &str, dev: u64, inode: u64) -> Option<u32> {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let wanted = format!("{major:02x}:{minor:02x}:{inode}");
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 4711 fd:01:131 0 EOF`; who only waits stands behind `->`.
        let words: Vec<_> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words.as_slice() else { return None };
        (*file == wanted).then(|| pid.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::State as Judged;
    use super::*;

    #[test]
    fn leftovers_are_told_and_the_young_are_left_alone() {
        let half = |hours: u64| Half {
            path: "/m/x.part".into(),
            size: 1000,
            age: Duration::from_secs(hours * 3600),
            model: None,
        };
        let check = |found: Leftovers| judge(&found, &Daemon::Away);
        assert_eq!(check(Leftovers::default()), Finding::ok("nothing is left over"));
        let young = Leftovers { halves: vec![half(24)], ..Leftovers::default() };
        assert_eq!(check(young).state, Judged::Ok);
        let old = Leftovers { halves: vec![half(25), half(1), half(99)], ..Leftovers::default() };
        let told = check(old);
        assert_eq!(told.finding, "2 halves of files, older than a day, 2.0 kB: /m/x.part");
        assert_eq!(told.state, Judged::Warning);
        let stale = Leftovers { socket: Some("/s".into()), ..Leftovers::default() };
        assert_eq!(check(stale).state, Judged::Warning);
        let blocked = Leftovers { in_the_way: Some("/s".into()), ..Leftovers::default() };
        assert_eq!(check(blocked).state, Judged::Problem);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert!(remove_socket(&path).is_err());
        drop(listener);
        remove_socket(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert!(remove_socket(&path).is_err());
        assert!(path.exists());
    }

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 fd:01:131 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 4711 fd:01:131 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 fd:01:131 0 EOF\n";
        let dev = rustix::fs::makedev(0xfd, 1);
        assert_eq!(holder_in(locks, dev, 131), Some(4711));
        assert_eq!(holder_in(locks, dev, 132), None);
    }
}
