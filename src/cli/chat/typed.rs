//! A line that is typed while an answer comes: read without a thread that would go on reading when nobody wants it any more.
use std::io::{self, Read as _, Stdin};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Longest line that is read: decisions are short.
const LINE_BYTES_MAX: usize = 1_000;

/// Standard input, while it is a terminal that gives whole lines.
pub(super) struct TypedLine(AsyncFd<Stdin>);

impl TypedLine {
    /// Begins to listen. `None`: this input cannot be waited for; decisions come from another terminal then.
    pub(super) fn listen() -> Option<Self> {
        AsyncFd::with_interest(io::stdin(), Interest::READABLE).ok().map(Self)
    }

    /// The next line of one who is listened to; `None` at the end of the input. While nobody is, this waits for ever.
    pub(super) async fn next(listening: &mut Option<Self>) -> Option<String> {
        let Some(Self(input)) = listening else { return std::future::pending().await };
        let mut ready = input.readable().await.ok()?;
        // A terminal is ready only when a whole line is there, and gives no more than that.
        let mut bytes = [0; LINE_BYTES_MAX];
        let read = ready.get_inner().lock().read(&mut bytes);
        ready.clear_ready();
        let length = read.ok().filter(|length| *length > 0)?;
        Some(String::from_utf8_lossy(bytes.get(..length)?).trim().to_owned())
    }
}
