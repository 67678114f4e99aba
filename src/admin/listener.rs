//! Who is let in: the user whom the daemon runs as, and root. The file's mode keeps the others out, the kernel's word is checked too.
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, timeout};

use super::connection;
use super::operations::AdminContext;

/// Clients at once. A terminal is one; more than this is a program gone wild.
const CONNECTIONS_MAX: usize = 256;

/// How long nobody is let in when the system has no room for a client: those who are here leave in the meantime.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// How long those who are here when everything has ended may take to read what was answered: a terminal takes milliseconds.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// Others can reach into the socket's folder, which is not ours to close.
    #[error(
        "the folder {folder} of the socket is open to others (mode {mode:o}, user {owner}); close it with `chmod 700`, or set `socket` to a path in a folder of its own"
    )]
    OpenFolder {
        /// The folder.
        folder: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner.
        owner: u32,
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
    /// Device and inode of the file: another daemon's socket may be in its place one day.
    file: (u64, u64),
}

impl AdminListener {
    /// Makes the socket: its folder for this user alone, a socket that a dead daemon left behind replaced.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
            let found = std::fs::metadata(folder).map_err(failed)?;
            let (mode, owner) = (found.mode() & 0o7777, found.uid());
            if mode & 0o077 != 0 || owner != rustix::process::geteuid().as_raw() {
                return Err(BindError::OpenFolder { folder: folder.to_owned(), mode, owner });
            }
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
        let file = identity(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), file })
    }

    /// Takes the socket's file away: new clients find nobody, those who are here are served on.
    pub fn close_door(&self) {
        // While our listener lives, no other file can have this inode.
        if identity(&self.path).ok() == Some(self.file) {
            // Gone is what is wanted; a daemon that starts next removes a stale one.
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Serves clients until `end` is ready; then writes what was answered and lets them go.
    pub async fn serve<T>(&self, context: Arc<AdminContext>, end: impl Future<Output = T>) -> T {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (house_is_open, open) = watch::channel(());
        let mut connections = JoinSet::new();
        tokio::pin!(end);
        let ended = loop {
            let stream = tokio::select! {
                ended = &mut end => break ended,
                stream = self.next_stream() => stream,
            };
            while connections.try_join_next().is_some() {}
            let Some(uid) = permitted_uid(&stream) else { continue };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!("too many clients; one was turned away");
                continue;
            };
            let (context, open) = (context.clone(), open.clone());
            connections.spawn(async move {
                connection::serve(stream, uid, context, open).await;
                drop(place);
            });
        };
        drop(house_is_open);
        let farewell = async { while connections.join_next().await.is_some() {} };
        // Who does not read now never may; what is durable is asked for again.
        let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
        ended
    }

    /// The next client. Waits while the system has no room for one.
    async fn next_stream(&self) -> UnixStream {
        let mut full = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    // Out of file descriptors, most likely. Said once: it may last.
                    if !std::mem::replace(&mut full, true) {
                        tracing::warn!(%error, "clients cannot be let in; trying again and again");
                    }
                    interval_at(Instant::now() + FULL_PAUSE, FULL_PAUSE).tick().await;
                }
            }
        }
    }
}

impl Drop for AdminListener {
    fn drop(&mut self) {
        self.close_door();
    }
}

/// Device and inode.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_others_may_enter_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let refusal = AdminListener::bind(&folder.path().join("a.sock")).err().unwrap().to_string();
        assert!(refusal.contains("(mode 755, ") && refusal.contains("chmod 700"), "{refusal}");
        assert_eq!(std::fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o755);
        let inner = folder.path().join("of/our/own/a.sock");
        let listener = AdminListener::bind(&inner).unwrap();
        assert_eq!(std::fs::metadata(inner.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(&inner).unwrap().mode() & 0o777, 0o600);
        drop(listener);
        assert!(!inner.exists());
    }

    #[tokio::test]
    async fn the_socket_of_a_successor_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("private/a.sock");
        let first = AdminListener::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = AdminListener::bind(&path).unwrap();
        drop(first);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }
}
