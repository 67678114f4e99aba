//! One client: its lines in, its answers out, several requests side by side.
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use super::line::{self, Line};
use super::operations::{self, AdminContext, Caller};
use super::protocol::{ErrorCode, LINE_BYTES_MAX, Reply, Request, Response};

/// Requests of one client that run side by side.
const REQUESTS_MAX: usize = 64;
/// Answers that may wait for a client that does not read; then its requests wait too.
const RESPONSES_LEN_MAX: usize = 256;

/// Longest wait for a client to take one line: a terminal that was stopped for longer asks again.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether a client that asks no more still reads.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Serves a client until it leaves, or until the other end of `open` is dropped because the house has closed.
pub(super) async fn serve(
    stream: UnixStream,
    uid: u32,
    context: Arc<AdminContext>,
    mut open: watch::Receiver<()>,
) {
    let (read_half, write_half) = stream.into_split();
    let (sender, responses) = mpsc::channel::<Response>(RESPONSES_LEN_MAX);
    let silent = Notify::new();
    let asking = async {
        tokio::select! {
            () = read_requests(BufReader::new(read_half), Caller::new(uid), context, sender, &silent) => {}
            _ = open.changed() => {}
        }
    };
    converse(asking, write_responses(write_half, responses, &silent)).await;
}

/// Nobody reads the answers: what is still asked is of no use. Nobody asks any more: what was answered is still written.
async fn converse(asking: impl Future<Output = ()>, writing: impl Future<Output = ()>) {
    tokio::pin!(writing);
    tokio::select! {
        () = &mut writing => {}
        () = asking => writing.await,
    }
}

/// Writes until there is nothing to come, or nobody to read it. A client that fell silent may have left: then it is looked at once.
async fn write_responses(
    mut client: OwnedWriteHalf,
    mut responses: mpsc::Receiver<Response>,
    silent: &Notify,
) {
    let mut looks = interval_at(Instant::now() + LOOK_PERIOD, LOOK_PERIOD);
    loop {
        let response = tokio::select! {
            response = responses.recv() => Some(response),
            _ = looks.tick() => None,
            () = silent.notified() => None,
        };
        let Some(response) = response else {
            match timeout(WRITE_TIMEOUT, client.ready(Interest::WRITABLE)).await {
                Ok(Ok(ready)) if !ready.is_write_closed() => continue,
                Ok(_) | Err(_) => return,
            }
        };
        let Some(response) = response else { return };
        let Ok(mut line) = serde_json::to_vec(&response) else { continue };
        line.push(b'\n');
        if !matches!(timeout(WRITE_TIMEOUT, client.write_all(&line)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read_requests(
    mut reader: BufReader<tokio::net::unix::OwnedReadHalf>,
    caller: Caller,
    context: Arc<AdminContext>,
    sender: mpsc::Sender<Response>,
    silent: &Notify,
) {
    let mut requests = JoinSet::new();
    let refuse = async |message: &str| {
        let reply = Reply::Error { code: ErrorCode::BadRequest, message: message.to_owned() };
        sender.send(Response { id: 0, reply }).await
    };
    loop {
        let mut asks_more = false;
        while requests.len() >= REQUESTS_MAX {
            tokio::select! {
                _ = requests.join_next() => {}
                more = reader.fill_buf(), if !asks_more => {
                    asks_more = true;
                    if more.map_or(true, <[u8]>::is_empty) {
                        silent.notify_one();
                    }
                }
            }
        }
        let line = match line::read(&mut reader, LINE_BYTES_MAX).await {
            Ok(Line::Text(line)) => line,
            Ok(Line::TooLong) => {
                let message =
                    format!("the line is longer than {LINE_BYTES_MAX} bytes; send a shorter message");
                if refuse(&message).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Line::NotUtf8) => {
                if refuse("the line is not UTF-8; send JSON, one object per line").await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Line::End) | Err(_) => break,
        };
        match serde_json::from_str::<Request>(&line) {
            Ok(request) => {
                let (caller, context, sender) = (caller.clone(), context.clone(), sender.clone());
                requests.spawn(operations::perform(request, caller, context, sender));
            }
            Err(error) => {
                if refuse(&format!("the request cannot be understood: {error}")).await.is_err() {
                    return;
                }
            }
        }
    }
    // A client that has closed its writing end may still read: it gets the answers to what it asked.
    silent.notify_one();
    while requests.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn done(id: u64) -> Response {
        Response { id, reply: Reply::Done }
    }

    #[tokio::test]
    async fn what_is_queued_is_written_when_nobody_asks_any_more() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (sender, responses) = mpsc::channel(8);
        for id in 0..3 {
            sender.send(done(id)).await.unwrap();
        }
        drop(sender);
        write_responses(ours.into_split().1, responses, &Notify::new()).await;
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_left_is_noticed_though_nothing_is_said() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_sender, responses) = mpsc::channel(8);
        let (reading_end, writing_end) = ours.into_split();
        drop(theirs);
        write_responses(writing_end, responses, &Notify::new()).await;
        drop(reading_end);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_is_given_up() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let (sender, responses) = mpsc::channel(8);
        let (_reading_end, writing_end) = ours.into_split();
        let message = "x".repeat(4 << 20);
        sender
            .send(Response { id: 1, reply: Reply::Error { code: ErrorCode::Failed, message } })
            .await
            .unwrap();
        write_responses(writing_end, responses, &Notify::new()).await;
    }
}
