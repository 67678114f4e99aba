//! A house in a temporary folder: the real program, the real tiny model, real signals. Nothing here sleeps: it waits on facts.
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use archond::admin::protocol::{AnswerView, HouseView, Op, Reply, Request, Response, TurnView};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

/// The model that every test runs: the real architecture, a million parameters.
pub(crate) const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tiny-gemma4-tools.gguf");
/// The name under which tests import it.
pub(crate) const TINY_ID: &str = "tiny-gemma4";
/// Longest wait for one line of the daemon; far above anything but a hang, on the busiest machine.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// A home folder with settings, profiles and the tiny model.
pub(crate) struct TestHouse {
    home: TempDir,
}

impl TestHouse {
    /// A house whose four Archons all answer with the tiny model, greedily.
    pub(crate) fn new() -> Self {
        let house = Self { home: tempfile::Builder::new().prefix("archond-").tempdir().unwrap() };
        let imported = house.run(&["model", "import", TINY, "--name", TINY_ID]);
        assert!(imported.status.success(), "{}", text(&imported));
        for name in ["ezra", "electra", "allegro", "bezalel"] {
            house.write_profile(name, "");
        }
        house
    }

    /// Another house on the same models and with the same settings, and nothing else.
    pub(crate) fn sibling(&self) -> Self {
        let house = Self { home: tempfile::Builder::new().prefix("archond-").tempdir().unwrap() };
        copy_folder(&self.path().join("config"), &house.path().join("config"));
        let models = format!("(models_dir: {:?})", self.path().join("data/models"));
        std::fs::write(house.path().join("config/archond.ron"), models).unwrap();
        house
    }

    /// Writes a profile; `more` are further fields.
    pub(crate) fn write_profile(&self, name: &str, more: &str) {
        self.write_profile_text(name, TINY_ID, more);
    }

    /// Writes a profile whose only model is this one.
    pub(crate) fn write_profile_for(&self, name: &str, model: &str) {
        self.write_profile_text(name, model, "");
    }

    fn write_profile_text(&self, name: &str, model: &str, more: &str) {
        let directory = self.path().join("config/archons");
        std::fs::create_dir_all(&directory).unwrap();
        let profile = format!(
            "(\n    description: \"of the tests\",\n    persona: \"You are Ezra, a helpful assistant.\",\n    \
             route: (default: \"{model}\"),\n    sampling: (temperature: 0.0),\n    {more}\n)\n"
        );
        std::fs::write(directory.join(format!("{name}.ron")), profile).unwrap();
    }

    /// The home folder.
    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("run/archond.sock")
    }

    /// The program, in this house.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archond"));
        command
            .args(args)
            .env("ARCHOND_HOME", self.path())
            .env("ARCHOND_WORKER_THREADS", "1")
            .env("ARCHOND_GATEWAY_ADDRESS", "127.0.0.1:0")
            .env("NO_COLOR", "1");
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts the daemon in the background and waits until these Archons are ready.
    pub(crate) fn start(&self, archons: &[&str]) -> Daemon {
        let mut args = vec!["start", "--no-chat"];
        args.extend_from_slice(archons);
        let output = self.run(&args);
        assert!(output.status.success(), "{}", text(&output));
        Daemon::of(self.client().status().pid)
    }

    /// All that its daemons have written into their log.
    pub(crate) fn log(&self) -> String {
        let files = std::fs::read_dir(self.path().join("state/logs")).unwrap();
        files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
    }

    /// A connection to the daemon.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket()).unwrap()
    }
}

/// A small generator of numbers that look random, from a seed that a failed run prints (xorshift64*, Vigna 2016).
pub(crate) struct Random(u64);

impl Random {
    /// Of a seed that is printed; `ARCHOND_SEED` sets it.
    pub(crate) fn seeded() -> Self {
        let seed = std::env::var("ARCHOND_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) * 7919 + 1);
        eprintln!("ARCHOND_SEED={seed}");
        Self(seed)
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

/// What a command said, for messages of failed tests.
pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\nstdout: {out}\nstderr: {err}", output.status)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A process that is not a child of this one. Killed when dropped.
pub(crate) struct Daemon {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Daemon {
    /// Watches a running process.
    pub(crate) fn of(pid: u32) -> Self {
        Self::try_of(pid).unwrap()
    }

    /// As [`Daemon::of`], for processes that may have ended a moment ago.
    pub(crate) fn try_of(pid: u32) -> rustix::io::Result<Self> {
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        Ok(Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// The model workers that it has now, to be killed: each is when it is dropped.
    pub(crate) fn workers(&self) -> Vec<Self> {
        self.worker_pids().into_iter().filter_map(|pid| Self::try_of(pid).ok()).collect()
    }

    /// The processes of the model workers that it has now.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        // A thread, or the whole process, may end while it is read; what it leaves has another parent then.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        let children =
            threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        let pids = children
            .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>());
        let mut pids: Vec<u32> = pids.collect();
        pids.sort_unstable();
        pids
    }

    /// Waits for its end; `false` when it still runs after this time.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let timeout =
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        poll(&mut fds, Some(&timeout)).unwrap() > 0
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&self) {
        kill_together(&[self]);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.pidfd, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.wait(READ_TIMEOUT);
    }
}

/// Ends several processes in one moment, in this order.
pub(crate) fn kill_together(victims: &[&Daemon]) {
    for victim in victims {
        // It may have ended a moment ago.
        let _ = pidfd_send_signal(&victim.pidfd, Signal::KILL);
    }
    assert!(victims.iter().all(|victim| victim.wait(READ_TIMEOUT)), "a killed process did not end");
}

/// A client that speaks the protocol line by line.
pub(crate) struct Client {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    requests: u64,
}

impl Client {
    /// Connects, or says why not.
    pub(crate) fn connect(socket: &Path) -> std::io::Result<Self> {
        let writer = UnixStream::connect(socket)?;
        writer.set_read_timeout(Some(READ_TIMEOUT))?;
        let reader = BufReader::new(writer.try_clone()?);
        Ok(Self { writer, reader, requests: 0 })
    }

    /// Sends raw bytes.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Asks no more, but still reads.
    pub(crate) fn close_writing(&self) {
        self.writer.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Sends a request and returns its number.
    pub(crate) fn send(&mut self, op: Op) -> std::io::Result<u64> {
        self.requests += 1;
        let mut line = serde_json::to_vec(&Request { id: self.requests, op }).unwrap();
        line.push(b'\n');
        self.writer.write_all(&line)?;
        Ok(self.requests)
    }

    /// The next line of the daemon.
    pub(crate) fn receive(&mut self) -> std::io::Result<Response> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line).unwrap())
    }

    /// Asks and waits for the one answer.
    pub(crate) fn ask(&mut self, op: Op) -> std::io::Result<Reply> {
        let id = self.send(op)?;
        let response = self.receive()?;
        assert_eq!(response.id, id);
        Ok(response.reply)
    }

    /// The state of the house.
    pub(crate) fn status(&mut self) -> HouseView {
        match self.ask(Op::Status).unwrap() {
            Reply::House(house) => house,
            other => panic!("{other:?}"),
        }
    }

    /// Says something in a session and waits for the answer.
    pub(crate) fn chat(&mut self, archon: &str, key: &str, thread: &str, text: &str) -> AnswerView {
        self.try_chat(archon, key, thread, text).unwrap()
    }

    /// As [`Client::chat`], for daemons that may die meanwhile.
    pub(crate) fn try_chat(
        &mut self,
        archon: &str,
        key: &str,
        thread: &str,
        text: &str,
    ) -> std::io::Result<AnswerView> {
        let (archon, key, text) = (archon.to_owned(), key.to_owned(), text.to_owned());
        self.send(Op::Chat { archon, text, key, thread: Some(thread.to_owned()) })?;
        loop {
            match self.receive()?.reply {
                Reply::Turn(TurnView::Ended(answer)) => return Ok(answer),
                Reply::Turn(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
