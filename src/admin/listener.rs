//! Who is let in: the user whom the daemon runs as, and root. The file's mode keeps the others out, the kernel's word is checked too.
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection;
use super::operations::AdminContext;

/// Clients at once. A terminal is one; more than this is a program gone wild.
const CONNECTIONS_MAX: usize = 256;

/// How long a connection is watched for its end. A fork lasts for milliseconds.
const DROP_TIMEOUT: Duration = Duration::from_millis(300);

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another daemon listens there.
    #[error("another archond listens on {path}; use it, or end it with `archond shutdown`")]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{path} is not a socket; move it away")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("the socket {path} could not be made: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The daemon's socket. The file is removed when this is dropped.
pub struct AdminListener {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminListener {
    /// Makes the socket: its directory for this user alone, a socket that a dead daemon left behind replaced.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(BindError::NotASocket { path: path.to_owned() });
            }
            Ok(_) if somebody_listens(path) => {
                return Err(BindError::InUse { path: path.to_owned() });
            }
            Ok(_) => std::fs::remove_file(path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Serves clients until the future is dropped.
    pub async fn serve(&self, context: Arc<AdminContext>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: those who are here will leave.
                    tracing::warn!(%error, "a client could not be let in");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            let Some(uid) = permitted_uid(&stream) else { continue };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!("too many clients; one was turned away");
                continue;
            };
            let context = context.clone();
            connections.spawn(async move {
                connection::serve(stream, uid, context).await;
                drop(place);
            });
        }
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        // Gone is what is wanted; a daemon that starts next removes a stale one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a living daemon holds the socket. One that was killed while it forked a worker is held by the fork for a moment:
/// it takes connections and drops them.
fn somebody_listens(path: &Path) -> bool {
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(path) else { return false };
    let limited = stream.set_read_timeout(Some(DROP_TIMEOUT));
    // A daemon says nothing before it is asked: only the end of the stream is an answer.
    limited.is_err() || !matches!(io::Read::read(&mut stream, &mut [0]), Ok(0))
}

fn permitted_uid(stream: &UnixStream) -> Option<u32> {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => Some(peer.uid()),
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "a client of another user was turned away");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "a client whose user is unknown was turned away");
            None
        }
    }
}
