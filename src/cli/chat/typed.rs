//! A line that is typed while an answer comes, read by a thread that ends when nobody wants it any more: what is typed later is the editor's.
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::{Receiver, channel};

/// Longest line that is read: decisions are short.
const LINE_BYTES_MAX: usize = 1_000;
/// How often the thread looks whether it is still wanted.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Standard input, while it is a terminal that gives whole lines.
pub(super) struct TypedLine {
    lines: Receiver<String>,
    unwanted: Arc<AtomicBool>,
}

impl TypedLine {
    /// Begins to listen. `None`: there is no thread for it; decisions come from another terminal then.
    pub(super) fn listen() -> Option<Self> {
        let (sender, lines) = channel(1);
        let unwanted = Arc::new(AtomicBool::new(false));
        let is_unwanted = Arc::clone(&unwanted);
        let listen = move || {
            while let Some(line) = read_line(&is_unwanted) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("typed".to_owned()).spawn(listen).ok()?;
        Some(Self { lines, unwanted })
    }

    /// The next line of one who is listened to; `None` at the end of the input. While nobody is, this waits for ever.
    pub(super) async fn next(listening: &mut Option<Self>) -> Option<String> {
        match listening {
            Some(listening) => listening.lines.recv().await,
            None => std::future::pending().await,
        }
    }
}

impl Drop for TypedLine {
    fn drop(&mut self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

/// A terminal is ready only when a whole line is there, and gives no more than that.
fn read_line(is_unwanted: &AtomicBool) -> Option<String> {
    let input = io::stdin();
    while !is_unwanted.load(Ordering::Relaxed) {
        let mut ready = [PollFd::new(&input, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK_AGAIN)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut bytes = [0; LINE_BYTES_MAX];
        let length = input.lock().read(&mut bytes).ok().filter(|length| *length > 0)?;
        return Some(String::from_utf8_lossy(bytes.get(..length)?).trim().to_owned());
    }
    None
}
