//! Who may read and write the house's folders and files, and how that is put right.
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, Mode, OFlags};

use super::finding::Finding;
use super::ground::Ground;
use crate::logging::LOG_FILE_PREFIX;

/// Most files of one folder that are looked at; a house has some dozen.
const FILES_MAX: usize = 10_000;
/// The bits of a mode that let others in.
const OTHERS: u32 = 0o077;
/// The bits of a mode that let others change something.
const OTHERS_WRITE: u32 = 0o022;

/// What a path is to the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A folder of conversations, logs, settings, the socket.
    Folder,
    /// A file in one of those.
    File,
    /// The socket.
    Socket,
    /// The socket's folder, where the settings chose one: perhaps not ours to close.
    ChosenFolder,
    /// Models, which are no secret and may belong to the whole machine: others must not change them, that is all.
    Models,
}

/// A path as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Right {
    path: PathBuf,
    kind: Kind,
    mode: u32,
    owner: u32,
    /// Whether we may write there.
    writable: bool,
}

/// A mode that is to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chmod {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
}

/// Looks at everything that exists.
pub(super) fn gather(ground: &Ground) -> Vec<Right> {
    let paths = &ground.settings.paths;
    let socket = &ground.settings.house.socket;
    let logs = paths.logs();
    let data = &ground.settings.house.data_dir;
    let mut found = Vec::new();
    let mut add = |path: &Path, kind| found.extend(look(path, kind));
    for folder in [&paths.config, &paths.profiles_dir(), data, &paths.state, &logs, &paths.run] {
        add(folder, Kind::Folder);
    }
    if let Some(folder) = socket.parent().filter(|folder| *folder != paths.run) {
        add(folder, Kind::ChosenFolder);
    }
    add(socket, Kind::Socket);
    add(&ground.store(), Kind::File);
    for file in files(&paths.config, |name| name.ends_with(".ron")) {
        add(&file, Kind::File);
    }
    for file in files(&paths.profiles_dir(), |name| name.ends_with(".ron")) {
        add(&file, Kind::File);
    }
    for file in files(&paths.state, |name| name.ends_with("history")) {
        add(&file, Kind::File);
    }
    for file in files(&logs, |name| name.starts_with(LOG_FILE_PREFIX)) {
        add(&file, Kind::File);
    }
    add(ground.models(), Kind::Models);
    for folder in files(ground.models(), |_| true) {
        add(&folder, Kind::Models);
        for file in files(&folder, |_| true) {
            add(&file, Kind::Models);
        }
    }
    found
}

/// The entries of a folder with such names; none where it cannot be read.
fn files(folder: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(FILES_MAX);
    entries.filter(|entry| wanted(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

fn look(path: &Path, kind: Kind) -> Option<Right> {
    // The house's own folders may be links to a larger disk; a link inside them leads to what is not ours.
    let top = matches!(kind, Kind::Folder | Kind::ChosenFolder);
    let found = if top { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }.ok()?;
    let file_type = found.file_type();
    if file_type.is_symlink() || (kind == Kind::Socket && !file_type.is_socket()) {
        return None;
    }
    let writable = rustix::fs::access(path, Access::WRITE_OK).is_ok();
    Some(Right { path: path.to_owned(), kind, mode: found.mode() & 0o7777, owner: found.uid(), writable })
}

/// The bits that are too many.
fn excess(right: &Right) -> u32 {
    match right.kind {
        Kind::Models => right.mode & OTHERS_WRITE,
        _ => right.mode & OTHERS,
    }
}

/// What to set, of what is ours.
pub(super) fn plan(rights: &[Right], user: u32) -> Vec<Chmod> {
    rights
        .iter()
        .filter(|right| right.owner == user && right.kind != Kind::ChosenFolder && excess(right) != 0)
        .map(|right| Chmod { path: right.path.clone(), mode: right.mode & 0o777 & !excess(right) })
        .collect()
}

/// Sets it, on the very file that has this name now, and only if it is still ours.
pub(super) fn apply(chmod: &Chmod, user: u32) -> io::Result<()> {
    let found = std::fs::metadata(&chmod.path)?;
    if found.uid() != user {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if found.file_type().is_socket() {
        // It cannot be opened; its folder is ours, and closed by now.
        use std::os::unix::fs::PermissionsExt;
        return std::fs::set_permissions(&chmod.path, std::fs::Permissions::from_mode(chmod.mode));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::openat(CWD, &chmod.path, flags, Mode::empty())?;
    if rustix::fs::fstat(&file)?.st_uid != user {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(chmod.mode))?)
}

/// The check.
pub(super) fn judge(rights: &[Right], user: u32) -> Finding {
    let faults: Vec<_> = rights.iter().filter_map(|right| judge_one(right, user)).collect();
    let well = match rights.len() {
        0 => "nothing is here yet; what comes will be yours alone".to_owned(),
        count => format!("{count} folders and files: nobody else can change them, or read what is private"),
    };
    Finding::worst(well, faults)
}

fn judge_one(right: &Right, user: u32) -> Option<Finding> {
    let path = right.path.display();
    let Right { kind, mode, owner, .. } = *right;
    let shared = kind == Kind::Models || kind == Kind::ChosenFolder;
    // What root owns, root can change anyway.
    if owner != user && !(shared && owner == 0) {
        return Some(Finding::problem(
            format!("{path} belongs to user {owner}, not to you ({user})"),
            format!("run this as that user, or `sudo chown -R {user} {path}`"),
        ));
    }
    let fix = "`archond doctor --fix` closes it";
    match excess(right) {
        0 => {}
        bits if kind == Kind::ChosenFolder => {
            return Some(Finding::problem(
                format!(
                    "the socket's folder {path} is open to others (mode {mode:o}): the daemon does not start"
                ),
                format!(
                    "`chmod {:o} {path}` if it is yours alone, or set `socket` to a path in a folder of its own",
                    mode & !bits
                ),
            ));
        }
        bits if bits & OTHERS_WRITE != 0 => {
            let finding = format!("others can change {path} (mode {mode:o})");
            return Some(Finding::problem(finding, fix));
        }
        _ => return Some(Finding::warning(format!("others can look into {path} (mode {mode:o})"), fix)),
    }
    let ours = matches!(kind, Kind::Folder) && !right.writable;
    ours.then(|| {
        Finding::problem(
            format!("{path} cannot be written"),
            format!("`chmod u+rwx {path}`; if that does not help, its disk is mounted read-only"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::finding::State;
    use super::*;

    const ME: u32 = 1000;

    fn right(kind: Kind, mode: u32, owner: u32) -> Right {
        Right { path: "/x".into(), kind, mode, owner, writable: true }
    }

    #[test]
    fn each_kind_of_path_has_its_own_measure() {
        let table = [
            (Kind::Folder, 0o700, ME, State::Ok, None),
            (Kind::Folder, 0o755, ME, State::Warning, Some(0o700)),
            (Kind::Folder, 0o777, ME, State::Problem, Some(0o700)),
            (Kind::Folder, 0o1777, ME, State::Problem, Some(0o700)),
            (Kind::Folder, 0o700, 0, State::Problem, None),
            (Kind::File, 0o600, ME, State::Ok, None),
            (Kind::File, 0o644, ME, State::Warning, Some(0o600)),
            (Kind::File, 0o666, ME, State::Problem, Some(0o600)),
            (Kind::Socket, 0o660, ME, State::Problem, Some(0o600)),
            (Kind::ChosenFolder, 0o755, ME, State::Problem, None),
            (Kind::ChosenFolder, 0o700, ME, State::Ok, None),
            (Kind::Models, 0o755, ME, State::Ok, None),
            (Kind::Models, 0o775, ME, State::Problem, Some(0o755)),
            (Kind::Models, 0o755, 0, State::Ok, None),
            (Kind::Models, 0o755, 7, State::Problem, None),
        ];
        for (kind, mode, owner, state, wanted) in table {
            let rights = [right(kind, mode, owner)];
            assert_eq!(judge(&rights, ME).state, state, "{kind:?} {mode:o} {owner}");
            let planned: Vec<_> = plan(&rights, ME).into_iter().map(|chmod| chmod.mode).collect();
            assert_eq!(planned, Vec::from_iter(wanted), "{kind:?} {mode:o} {owner}");
        }
        let locked = Right { writable: false, ..right(Kind::Folder, 0o500, ME) };
        assert!(judge(&[locked], ME).finding.contains("cannot be written"));
    }

    #[test]
    fn a_mode_is_set_on_what_is_ours() {
        let home = tempfile::tempdir().unwrap();
        let user = rustix::process::geteuid().as_raw();
        let path = home.path().join("a");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let rights = [look(&path, Kind::File).unwrap()];
        for chmod in plan(&rights, user) {
            apply(&chmod, user).unwrap();
        }
        assert_eq!(judge(&[look(&path, Kind::File).unwrap()], user).state, State::Ok);
        assert!(apply(&Chmod { path, mode: 0o644 }, user + 1).is_err());
        std::os::unix::fs::symlink("/etc/passwd", home.path().join("b")).unwrap();
        assert_eq!(look(&home.path().join("b"), Kind::File), None);
    }
}
