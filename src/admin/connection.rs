//! One client: its lines in, its answers out, several requests side by side.
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::line::{self, Line};
use super::operations::{self, AdminContext, Caller};
use super::protocol::{ErrorCode, LINE_BYTES_MAX, Reply, Request, Response};

/// Requests of one client that run side by side.
const REQUESTS_MAX: usize = 64;
/// Answers that may wait for a client that does not read; then its requests wait too.
const RESPONSES_LEN_MAX: usize = 256;

/// Serves a client until it leaves.
pub(super) async fn serve(stream: UnixStream, uid: u32, context: Arc<AdminContext>) {
    let (read_half, mut write_half) = stream.into_split();
    let (sender, mut responses) = mpsc::channel::<Response>(RESPONSES_LEN_MAX);
    let writing = async move {
        while let Some(response) = responses.recv().await {
            let Ok(mut line) = serde_json::to_vec(&response) else { continue };
            line.push(b'\n');
            if write_half.write_all(&line).await.is_err() {
                break;
            }
        }
    };
    let reading = read_requests(BufReader::new(read_half), Caller::new(uid), context, sender);
    // Either end alone ends the connection: nobody reads the answers, or nobody asks any more and all is answered.
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

async fn read_requests(
    mut reader: BufReader<tokio::net::unix::OwnedReadHalf>,
    caller: Caller,
    context: Arc<AdminContext>,
    sender: mpsc::Sender<Response>,
) {
    let mut requests = JoinSet::new();
    let refuse = async |message: &str| {
        let reply = Reply::Error { code: ErrorCode::BadRequest, message: message.to_owned() };
        sender.send(Response { id: 0, reply }).await
    };
    loop {
        while requests.len() >= REQUESTS_MAX {
            requests.join_next().await;
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
    while requests.join_next().await.is_some() {}
}
