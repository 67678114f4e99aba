//! The daemon's end of a worker: what is sent, what is heard, and the end.
use std::fmt;
use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::conduct::{Accepted, Conduct};
use super::frame::{self, FRAME_BYTES_MAX, FrameError, FromWorker, Hello, Landlock, LoadOrder, ToWorker};
use super::last_words::LastWords;
use super::spawner::{KeepsSpawner, Process, ProcessHandle};
use super::{Content, Event, Keepsake, Prompt, Refusal, Request, WorkerSpec};

/// Frames that wait for the worker to read them. It reads while it computes, so more means that it stands still.
const OUTBOX_FRAMES_MAX: usize = 256;

/// Who hears the events.
pub(super) type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// A running worker process. Dropping it kills the process.
pub struct Worker {
    link: Arc<Link>,
    /// The kernel ends the worker when the thread that started it ends.
    _spawner: KeepsSpawner,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("pid", &self.link.pid).finish_non_exhaustive()
    }
}

struct Link {
    pid: u32,
    process: Arc<ProcessHandle>,
    outbox: SyncSender<Vec<u8>>,
    conduct: Mutex<Conduct>,
    /// Killed by [`Worker::kill`], as opposed to ended by itself.
    killed: AtomicBool,
    /// `Exited` was or is being told.
    gone: AtomicBool,
    events: Events,
}

impl Link {
    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner) // no code panics while it holds the lock
    }

    fn send(&self, message: &ToWorker) -> Result<(), Unsent> {
        let too_long = |error: FrameError| Unsent::TooLong(error.to_string());
        let frame = frame::encode(message).map_err(too_long)?;
        // The room for media is for media: the engine would stand still over so many words.
        let bytes_max = FRAME_BYTES_MAX + media_bytes(message);
        if frame.len() > bytes_max {
            return Err(too_long(FrameError::TooLong { bytes: frame.len(), bytes_max }));
        }
        if self.gone.load(Ordering::Acquire) {
            return Err(Unsent::Stuck);
        }
        self.outbox.try_send(frame).map_err(|_| Unsent::Stuck)
    }
}

/// How much of a message are pictures and recordings.
fn media_bytes(message: &ToWorker) -> usize {
    match message {
        ToWorker::Generate(request) => match &request.prompt {
            Prompt::Chat(conversation) => conversation.media().map(Content::bytes).sum(),
            Prompt::Text(_) | Prompt::Passage(_) | Prompt::Inquiry(_) => 0,
        },
        ToWorker::Hello(_) | ToWorker::Load(_) | ToWorker::Cancel { .. } => 0,
    }
}

/// Why a message was not sent.
enum Unsent {
    TooLong(String),
    /// The process is gone, or does not read.
    Stuck,
}

impl Worker {
    pub(super) fn attach(
        mut process: Process,
        socket: UnixStream,
        spec: WorkerSpec,
        events: Events,
        spawner: KeepsSpawner,
    ) -> std::io::Result<Self> {
        let (outbox, frames) = sync_channel(OUTBOX_FRAMES_MAX);
        let link = Arc::new(Link {
            pid: process.pid(),
            process: process.handle(),
            outbox,
            conduct: Mutex::new(Conduct::new(spec.slots, spec.context_tokens)),
            killed: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            events,
        });
        let pid = link.pid;
        let writing_end = socket.try_clone()?;
        Builder::new().name(format!("worker-{pid}-write")).spawn(move || write_all(writing_end, &frames))?;
        let stderr = process.take_stderr();
        let listener = Builder::new()
            .name(format!("worker-{pid}-log"))
            .spawn(move || stderr.map(|pipe| LastWords::listen(pipe, pid)).unwrap_or_default())?;
        let (reader_link, keepsake) = (Arc::clone(&link), spec.keepsake.clone());
        Builder::new()
            .name(format!("worker-{pid}-read"))
            .spawn(move || read_to_the_end(&reader_link, socket, process, listener, keepsake))?;
        let worker = Self { link, _spawner: spawner };
        let order = order(spec);
        for message in [ToWorker::Hello(Hello::own()), ToWorker::Load(order)] {
            // If it has ended already, its end is told by the reader.
            let _told_by_the_reader = worker.link.send(&message);
        }
        Ok(worker)
    }

    /// Hands over a request; its events follow. `false`: the process is gone or does not read, or the id is in use.
    pub fn send(&self, request: Request) -> bool {
        let id = request.id;
        if !self.link.conduct().begin(&request) {
            tracing::error!(pid = self.link.pid, "request {id} runs already");
            return false;
        }
        let Err(unsent) = self.link.send(&ToWorker::Generate(Box::new(request))) else { return true };
        self.link.conduct().forget(id);
        match unsent {
            Unsent::TooLong(detail) => {
                (self.link.events)(Event::Refused { id, refusal: Refusal::Engine { detail } });
                true
            }
            Unsent::Stuck => false,
        }
    }

    /// Asks for the end of an answer. `Finished` follows within one step, unless the answer has just ended.
    pub fn cancel(&self, id: u64) {
        if self.link.send(&ToWorker::Cancel { id }).is_err() {
            tracing::warn!(pid = self.link.pid, "the worker does not take the cancellation of request {id}");
        }
    }

    /// Ends the process at once. `Exited` follows.
    pub fn kill(&self) {
        self.link.killed.store(true, Ordering::Release);
        self.link.process.kill();
    }

    /// What computes, for people, by the worker's own word: one short line. `None` until it is ready.
    pub fn processor(&self) -> Option<String> {
        self.link.conduct().processor().map(str::to_owned)
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.link.pid
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn order(spec: WorkerSpec) -> LoadOrder {
    let WorkerSpec {
        program: _,
        model_path,
        projector_path,
        residence,
        drafter_path,
        family,
        slots,
        context_tokens,
        threads,
        draft_tokens_max,
        memory_bytes_max,
        keepsake,
        shelf,
    } = spec;
    let has_keepsake = keepsake.is_some();
    let shelf = shelf.map(|shelf| (shelf.path, shelf.bytes_max));
    LoadOrder {
        model_path,
        projector_path,
        residence,
        drafter_path,
        family,
        slots,
        context_tokens,
        threads,
        draft_tokens_max,
        memory_bytes_max,
        has_keepsake,
        shelf,
    }
}

fn write_all(mut socket: UnixStream, frames: &Receiver<Vec<u8>>) {
    for frame in frames {
        if socket.write_all(&frame).is_err() {
            return; // it has ended: the reader tells
        }
    }
}

/// How the hearing of a worker ended.
#[derive(Debug, Default)]
struct Heard {
    last_words: Option<(String, bool)>,
    breach: Option<String>,
}

fn read_to_the_end(
    link: &Link,
    socket: UnixStream,
    mut process: Process,
    listener: JoinHandle<LastWords>,
    keepsake: Option<Keepsake>,
) {
    let heard = hear(link, socket);
    let ended = process.end();
    drop(keepsake); // it is free for the next worker before that can be started
    link.gone.store(true, Ordering::Release);
    let words = listener.join().ok().and_then(|words| words.text());
    let killed = link.killed.load(Ordering::Acquire);
    let phase = link.conduct().phase();
    let unusable = heard.last_words.as_ref().is_some_and(|(_, unusable)| *unusable) && !killed;
    let detail = match (ended, heard) {
        (Err(error), _) => format!("the process {} cannot be reaped: {error}", link.pid),
        (Ok(_), _) if killed => format!("it was killed on request while it was {phase}"),
        (Ok(_), Heard { breach: Some(breach), .. }) => {
            format!("it broke the protocol and was killed: {breach}")
        }
        (Ok(_), Heard { last_words: Some((said, _)), .. }) => with_words(said, words),
        (Ok(status), _) => with_words(format!("it ended {} while it was {phase}", manner(status)), words),
    };
    (link.events)(Event::Exited { detail, unusable });
}

fn hear(link: &Link, socket: UnixStream) -> Heard {
    let mut from = BufReader::new(socket);
    let mut heard = Heard::default();
    loop {
        let message = match frame::read::<FromWorker>(&mut from) {
            Ok(message) => message,
            Err(frame::FrameError::Closed) => return heard,
            Err(error) => return Heard { breach: Some(error.to_string()), ..heard },
        };
        let judged = link.conduct().judge(message);
        match judged {
            Ok(Accepted::Event(event)) => (link.events)(event),
            Ok(Accepted::LastWords { detail, unusable }) => heard.last_words = Some((detail, unusable)),
            Ok(Accepted::Greeting(Landlock::Full)) => {}
            Ok(Accepted::Greeting(landlock)) => warn_of(landlock, link.pid),
            Err(breach) => return Heard { breach: Some(breach.to_string()), ..heard },
        }
    }
}

fn warn_of(landlock: Landlock, pid: u32) {
    if landlock == Landlock::Partial {
        tracing::warn!(
            pid,
            "this kernel has only a part of Landlock: the model worker has no network, runs no programs and changes no files, \
             but is bounded less than it could be; use Linux 6.12 or later"
        );
    } else {
        tracing::warn!(
            pid,
            "this kernel has no Landlock, or it is switched off: the model worker has no network, runs no programs and changes \
             no files, but may read the files of its user; use Linux 6.12 or later, with Landlock on"
        );
    }
}

fn with_words(detail: String, words: Option<String>) -> String {
    match words {
        Some(words) => format!("{detail}; its last words: {words}"),
        None => detail,
    }
}

/// How a process ended, in words.
fn manner(status: ExitStatus) -> String {
    let named = |signal| match signal {
        4 => "SIGILL: this build uses instructions that the processor lacks".to_owned(),
        6 => "SIGABRT".to_owned(),
        7 => "SIGBUS: the model file became shorter, or its disk fails".to_owned(),
        8 => "SIGFPE".to_owned(),
        9 => "SIGKILL: by an operator, or by the kernel for want of memory".to_owned(),
        11 => "SIGSEGV".to_owned(),
        15 => "SIGTERM".to_owned(),
        31 => "SIGSYS: it tried what the sandbox forbids".to_owned(),
        other => format!("signal {other}"),
    };
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("by {}", named(signal)),
        (None, Some(code)) => format!("with code {code}"),
        (None, None) => "in an unknown manner".to_owned(),
    }
}
