//! How workers end, and what the daemon hears of it.
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use archond_models::worker::{ChatFamily, WorkerSpec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::rig::{PATIENCE, Rig, endless, model_path, request, spec};

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn handle(pid: u32) -> OwnedFd {
    pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()).unwrap()
}

/// Waits until the process has ended.
fn wait_for_the_end(process: &OwnedFd) {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)).unwrap();
    assert_eq!(ended, 1, "it ends in time");
}

#[allow(clippy::disallowed_methods)] // measures a foreign process
fn now() -> Instant {
    Instant::now()
}

pub(crate) fn a_killed_worker_is_noticed_at_once() {
    let rig = Rig::ready(spec());
    rig.send(endless(1));
    rig.next();
    let began = now();
    signal(rig.worker().pid(), Signal::KILL);
    let (detail, unusable) = rig.exit();
    let took = began.elapsed();
    assert!(detail.starts_with("it ended by SIGKILL") && detail.contains("while it was ready"), "{detail}");
    assert!(!unusable);
    assert!(took < Duration::from_secs(1), "noticed after {took:?}");
    assert!(!rig.worker().send(request(2, &["hello"])), "nothing can be sent to the dead");
    rig.worker().cancel(1);
    rig.worker().kill();
}

pub(crate) fn a_stopped_worker_can_be_killed() {
    let rig = Rig::ready(spec());
    rig.send(endless(1));
    rig.next();
    signal(rig.worker().pid(), Signal::STOP);
    rig.worker().cancel(1);
    rig.worker().kill();
    assert_eq!(rig.exit(), ("it was killed on request while it was ready".to_owned(), false));
}

pub(crate) fn a_dropped_worker_is_gone() {
    let mut rig = Rig::ready(spec());
    let pid = rig.worker().pid();
    let process = handle(pid);
    rig.worker = None;
    rig.exit();
    wait_for_the_end(&process);
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is reaped");

    let (worker, events) = Rig::ready(spec()).without_spawner();
    assert!(worker.send(request(1, &["hello"])), "a worker outlives the handle of its spawner");
    assert!(events.recv_timeout(PATIENCE).is_ok());
}

/// Plays the daemon: starts a worker, tells its number, waits to be killed.
pub(crate) fn hold_a_worker() -> ExitCode {
    let rig = Rig::ready(spec());
    let told = std::io::stdout().write_all(format!("{}\n", rig.worker().pid()).as_bytes());
    assert!(told.is_ok());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    ExitCode::SUCCESS
}

pub(crate) fn a_worker_dies_with_its_daemon() {
    for stopped in [false, true] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut daemon =
            command.arg("hold-a-worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().unwrap();
        let worker = handle(pid);
        if stopped {
            signal(pid, Signal::STOP); // it cannot see the connection end; the kernel must end it
        }
        daemon.kill().unwrap();
        wait_for_the_end(&worker);
        daemon.wait().unwrap();
    }
}

pub(crate) fn too_little_memory_is_said() {
    for bytes in [1 << 20, 3 << 20, 6 << 20] {
        let spec = WorkerSpec { memory_bytes_max: Some(bytes), slots: 16, context_tokens: 4096, ..spec() };
        let (detail, unusable) = Rig::launch(spec).exit();
        assert!(!unusable, "the file is not to blame: {detail}");
        assert!(detail.contains("memory") || detail.contains("alloc"), "{bytes}: {detail}");
    }
}

fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[track_caller]
fn check_unusable(path: PathBuf, family: ChatFamily, wanted: &str) {
    let (detail, unusable) = Rig::launch(WorkerSpec { model_path: path, family, ..spec() }).exit();
    assert!(unusable, "{detail}");
    assert!(detail.contains(wanted), "{detail}");
}

pub(crate) fn damaged_files_are_unusable() {
    let whole = fs::read(model_path()).unwrap();
    for length in [0, 3, 4, 24, 100, 4_000, 60_000, whole.len() / 2, whole.len() - 1] {
        let file = file_of(&whole[..length]);
        check_unusable(file.path().to_owned(), ChatFamily::Gemma4, "llama.cpp cannot load");
    }
    let mut garbled = whole;
    for (at, byte) in garbled.iter_mut().enumerate().skip(8).take(200) {
        *byte = (at * 7) as u8;
    }
    let file = file_of(&garbled);
    check_unusable(file.path().to_owned(), ChatFamily::Gemma4, "llama.cpp cannot load");
}

/// llama.cpp asserts that no token is twice in a vocabulary, and ends its process.
pub(crate) fn an_abort_while_loading_is_told_with_its_words() {
    let mut bytes = fs::read(model_path()).unwrap();
    let entry = |word: &[u8]| [&(word.len() as u64).to_le_bytes()[..], word].concat();
    let at = bytes.windows(11).position(|window| window == entry(b"dog")).expect("a token `dog`");
    bytes[at..at + 11].copy_from_slice(&entry(b"the"));
    let file = file_of(&bytes);
    let began = now();
    let (detail, unusable) = Rig::launch(WorkerSpec { model_path: file.path().to_owned(), ..spec() }).exit();
    assert!(detail.starts_with("it ended by SIGABRT while it was loading; its last words: "), "{detail}");
    assert!(detail.contains("GGML_ASSERT(id_to_token.size() == token_to_id.size())"), "{detail}");
    assert!(!unusable, "an abort may have other causes");
    assert!(began.elapsed() < Duration::from_secs(10), "no debugger was started");
}

pub(crate) fn absent_files_are_unusable() {
    check_unusable(PathBuf::from("/nowhere/model.gguf"), ChatFamily::Gemma4, "cannot be opened");
    check_unusable(PathBuf::from("/tmp"), ChatFamily::Gemma4, "");
}

pub(crate) fn another_kind_of_model_is_unusable() {
    check_unusable(model_path(), ChatFamily::ChatMl, "the model has no token `<|im_start|>`");
}

pub(crate) fn impossible_orders_are_said() {
    for slots in [0, 257] {
        let (detail, unusable) = Rig::launch(WorkerSpec { slots, ..spec() }).exit();
        assert!(!unusable && detail.contains("set 1 to 256"), "{detail}");
    }
}

pub(crate) fn another_program_is_no_worker() {
    let (detail, unusable) =
        Rig::launch(WorkerSpec { program: PathBuf::from("/bin/false"), ..spec() }).exit();
    assert_eq!((detail.as_str(), unusable), ("it ended with code 1 while it was starting", false));
}

/// A program that says these bytes, given as octal escapes, over the connection, and then does nothing more.
fn liar(folder: &Path, bytes: &str) -> PathBuf {
    let path = folder.join("liar");
    fs::write(&path, format!("#!/bin/sh\nprintf '{bytes}' >&0\nexec /bin/cat >/dev/null\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

pub(crate) fn a_worker_that_talks_nonsense_is_killed() {
    let lies = [
        (r"\377\377\377\377", "a frame of 4294967295 bytes is longer"),
        (r"\002\000\000\000\377\377", "a frame does not hold a message"),
        (r"\002\000\000\000\001\007", "it said loading while it was starting"),
        (r"\004\000\000\000\000\143\001x", "a frame does not hold a message"),
        (r"\005\000\000\000\000\143\001x\000", "it is `x` with protocol 99"),
    ];
    for (bytes, wanted) in lies {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::launch(WorkerSpec { program: liar(folder.path(), bytes), ..spec() });
        let (detail, unusable) = rig.exit();
        assert!(
            detail.starts_with("it broke the protocol and was killed") && detail.contains(wanted),
            "{detail}"
        );
        assert!(!unusable);
    }
}

pub(crate) fn an_absent_program_is_an_error() {
    let spec = WorkerSpec { program: PathBuf::from("/nowhere/archond"), ..spec() };
    let error = Rig::try_launch(spec).err().unwrap().to_string();
    assert!(error.contains("cannot start the model worker /nowhere/archond"), "{error}");
}
