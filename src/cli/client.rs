//! The terminal's end of the admin socket.
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::exit::ExitCode;
use crate::admin::protocol::{ErrorCode, HouseView, LINE_BYTES_MAX, Op, Reply, Request, Response};

/// Longest line that the daemon may send: 200 turns of the greatest permitted size are below it.
const REPLY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Longest wait for an answer that needs no model: the slowest fsync seen on a busy disk, many times over.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// What can go wrong between the terminal and the daemon.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("archond is not running; start it with `archond start ezra`")]
    NotRunning,
    /// Somebody else's daemon.
    #[error("the socket {path} is not ours to open; run the command as the user who started the daemon")]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be reached for another reason.
    #[error("cannot reach the daemon at {path}: {source}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon went away.
    #[error("the daemon closed the connection; see `archond logs`")]
    Lost,
    /// The daemon does not answer.
    #[error("the daemon did not answer within {} s; see `archond logs`", deadline.as_secs())]
    Silent {
        /// How long was waited.
        deadline: Duration,
    },
    /// The daemon speaks otherwise.
    #[error(
        "the daemon speaks another version of the protocol; run `archond shutdown`, then `archond start ezra`"
    )]
    Protocol,
    /// The message does not fit into a line of the protocol.
    #[error("the message is too long: {bytes} bytes, {LINE_BYTES_MAX} at most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The daemon refused.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
}

impl ClientError {
    /// What the shell is told.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotRunning | Self::Lost | Self::Silent { .. } | Self::Connect { .. } => {
                ExitCode::Unavailable
            }
            Self::Permission { .. } => ExitCode::Permission,
            Self::Protocol => ExitCode::Internal,
            Self::TooLong { .. } => ExitCode::BadInput,
            Self::Refused { code, .. } => match code {
                ErrorCode::NotFound => ExitCode::NotFound,
                ErrorCode::Busy => ExitCode::Busy,
                ErrorCode::TooLarge => ExitCode::BadInput,
                ErrorCode::Unavailable => ExitCode::Unavailable,
                ErrorCode::BadRequest | ErrorCode::Failed => ExitCode::Failed,
            },
        }
    }

    /// Whether the daemon is away, perhaps only to come back.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::NotRunning | Self::Lost)
    }
}

/// A connection to the daemon.
pub(super) struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    /// The line that is being received. Kept here so that a cancelled read loses nothing.
    line: Vec<u8>,
    last_id: u64,
}

impl Client {
    /// Opens the socket.
    pub(super) async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path).await.map_err(|source| match source.kind() {
            // A socket file that nobody listens on is left by a daemon that was killed.
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NotRunning,
            io::ErrorKind::PermissionDenied => ClientError::Permission { path: path.to_owned() },
            _ => ClientError::Connect { path: path.to_owned(), source },
        })?;
        let (reader, writer) = stream.into_split();
        Ok(Self { reader: BufReader::new(reader), writer, line: Vec::new(), last_id: 0 })
    }

    /// Opens the socket and makes sure that somebody answers there: for a moment a daemon that was killed may still be connected to,
    /// through a worker that it was just forking.
    pub(super) async fn reach(path: &Path) -> Result<Self, ClientError> {
        let mut client = Self::connect(path).await?;
        match client.status().await {
            Ok(_) => Ok(client),
            Err(error) if error.is_away() => Err(ClientError::NotRunning),
            Err(error) => Err(error),
        }
    }

    /// Asks; the returned id is that of the replies.
    pub(super) async fn send(&mut self, op: Op) -> Result<u64, ClientError> {
        self.last_id += 1;
        let mut line =
            serde_json::to_vec(&Request { id: self.last_id, op }).map_err(|_| ClientError::Protocol)?;
        if line.len() >= LINE_BYTES_MAX {
            return Err(ClientError::TooLong { bytes: line.len() });
        }
        line.push(b'\n');
        self.writer.write_all(&line).await.map_err(|_| ClientError::Lost)?;
        Ok(self.last_id)
    }

    /// The next line of the daemon. Dropping the future before it is ready loses nothing.
    pub(super) async fn next(&mut self) -> Result<Response, ClientError> {
        loop {
            let chunk = self.reader.fill_buf().await.map_err(|_| ClientError::Lost)?;
            if chunk.is_empty() {
                return Err(ClientError::Lost);
            }
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(chunk.len(), |end| end + 1);
            self.line.extend_from_slice(&chunk[..taken]);
            self.reader.consume(taken);
            if end.is_some() {
                let response = serde_json::from_slice(&self.line).map_err(|_| ClientError::Protocol);
                self.line.clear();
                return response;
            }
            if self.line.len() > REPLY_BYTES_MAX {
                return Err(ClientError::Protocol);
            }
        }
    }

    /// Asks and waits for the one reply; a refusal is an error. Replies to other questions are dropped.
    pub(super) async fn call(&mut self, op: Op) -> Result<Reply, ClientError> {
        self.call_within(op, CALL_TIMEOUT).await
    }

    /// The same with another deadline.
    pub(super) async fn call_within(&mut self, op: Op, deadline: Duration) -> Result<Reply, ClientError> {
        timeout(deadline, async {
            let id = self.send(op).await?;
            loop {
                let response = self.next().await?;
                if response.id == id || response.id == 0 {
                    return accepted(response.reply);
                }
            }
        })
        .await
        .map_err(|_| ClientError::Silent { deadline })?
    }

    /// The state of the house.
    pub(super) async fn status(&mut self) -> Result<HouseView, ClientError> {
        match self.call(Op::Status).await? {
            Reply::House(house) => Ok(house),
            _ => Err(ClientError::Protocol),
        }
    }

    /// Asks for something that is answered by [`Reply::Done`].
    pub(super) async fn done(&mut self, op: Op) -> Result<(), ClientError> {
        match self.call(op).await? {
            Reply::Done => Ok(()),
            _ => Err(ClientError::Protocol),
        }
    }
}

/// A refusal is an error.
pub(super) fn accepted(reply: Reply) -> Result<Reply, ClientError> {
    match reply {
        Reply::Error { code, message } => Err(ClientError::Refused { code, message }),
        reply => Ok(reply),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_missing_and_a_stale_socket_mean_that_nobody_runs() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("archond.sock");
        assert!(matches!(Client::connect(&path).await, Err(ClientError::NotRunning)));
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(matches!(Client::connect(&path).await, Err(ClientError::NotRunning)));
    }

    #[tokio::test]
    async fn a_reply_in_pieces_is_read_whole_and_another_language_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("archond.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut client = Client::connect(&path).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let asked = client.call(Op::Status);
        let answered = async {
            server.write_all(br#"{"id":9,"reply":"done"}"#).await.unwrap();
            server.write_all(b"\n{\"id\":1,").await.unwrap();
            tokio::task::yield_now().await;
            server.write_all(b"\"reply\":\"done\"}\nHTTP/1.1 200\n").await.unwrap();
        };
        let (reply, ()) = tokio::join!(asked, answered);
        assert_eq!(reply.unwrap(), Reply::Done);
        assert!(matches!(client.next().await, Err(ClientError::Protocol)));
        drop(server);
        assert!(matches!(client.next().await, Err(ClientError::Lost)));
    }

    #[tokio::test]
    async fn a_line_that_the_daemon_would_refuse_is_not_sent() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("archond.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut client = Client::connect(&path).await.unwrap();
        let text = "x".repeat(LINE_BYTES_MAX);
        let op = Op::Chat { archon: "ezra".into(), text, key: "k".into(), thread: None };
        assert!(matches!(client.send(op).await, Err(ClientError::TooLong { .. })));
    }
}
