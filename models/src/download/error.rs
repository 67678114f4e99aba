//! Why a model could not be fetched, and what to do about it.
use std::path::PathBuf;

use crate::library::LibraryError;

/// Why a pull failed. What had come by then is kept, unless the text says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The disk, its rights, another process, or a name.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The server cannot be reached at all.
    #[error(
        "cannot reach {host}: {reason}; check the network, or get the file elsewhere: `archond model pull {id} --from URL-or-folder` \
         or `archond model import FILE`"
    )]
    NoNetwork {
        /// Which server.
        host: String,
        /// What the system says.
        reason: String,
        /// The model.
        id: String,
    },
    /// The connection broke or stood still too often.
    #[error(
        "gave up on {host} after {attempts} tries without progress: {reason}; {kept} bytes are kept, run the same command again to go on"
    )]
    GaveUp {
        /// Which server.
        host: String,
        /// How many tries.
        attempts: u32,
        /// Why the last one failed.
        reason: String,
        /// What is on disk.
        kept: u64,
    },
    /// The server does not have the file.
    #[error(
        "{url} does not exist (404); the file may have been renamed: get `{id}` with `--from` another mirror or folder"
    )]
    NotFound {
        /// Which address.
        url: String,
        /// The model.
        id: String,
    },
    /// The server wants a permission.
    #[error("{url} refuses ({status}): {}", permission(*token_sent))]
    Refused {
        /// Which address.
        url: String,
        /// 401, 403 or 407.
        status: u16,
        /// Whether a hub token was sent.
        token_sent: bool,
    },
    /// The server answers something that makes no sense here.
    #[error("{url} answers {status}; try again later or use `--from` another mirror")]
    Status {
        /// Which address.
        url: String,
        /// The status.
        status: u16,
    },
    /// A redirection that is not followed.
    #[error("{url} redirects {reason}; use `--from` another mirror")]
    Redirect {
        /// From where.
        url: String,
        /// Why it is not followed.
        reason: &'static str,
    },
    /// The file has another size than the catalogue says: it is another file.
    #[error(
        "{url} has {found} bytes and the catalogue says {expected}: it is another file; nothing was kept"
    )]
    WrongSize {
        /// Which address.
        url: String,
        /// The catalogue's size.
        expected: u64,
        /// The server's size.
        found: u64,
    },
    /// The answer is something else than the file, for example the log-in page of a network.
    #[error(
        "{url} answers something else than the file (it begins with {found:?}); is there a log-in page or a proxy between? nothing was kept"
    )]
    NotTheFile {
        /// Which address.
        url: String,
        /// Its first bytes, printable.
        found: String,
    },
    /// The bytes that came are not the right ones.
    #[error(
        "{file} came with the wrong sha256: expected {expected}, found {found}; it was removed, run the same command again or use another mirror"
    )]
    WrongHash {
        /// Which file.
        file: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The disk filled up on the way.
    #[error("the disk is full while writing {}; {kept} bytes are kept: free some space and run the same command again", path.display())]
    DiskFull {
        /// Which file.
        path: PathBuf,
        /// What is on disk.
        kept: u64,
    },
    /// The package index does not have what the catalogue names.
    #[error(
        "the package index {url} {reason}; set another one as for pip (PIP_INDEX_URL), or use `--from` a wheel"
    )]
    Index {
        /// Which index.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The wheel does not hold what the catalogue names.
    #[error("the wheel {} {reason}", path.display())]
    Wheel {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder does not hold the file.
    #[error("{} has no {file}; name the folder that holds it, or the file itself", path.display())]
    NotInFolder {
        /// Which folder.
        path: PathBuf,
        /// Which file was looked for.
        file: String,
    },
    /// The model was imported, so nobody knows where it is.
    #[error(
        "`{id}` was imported and has no source; import it again with `archond model import FILE --name {id}`"
    )]
    NotFetchable {
        /// The model.
        id: String,
    },
    /// The model has no projector.
    #[error("`{id}` has no projector: it reads text only")]
    NoProjector {
        /// The model.
        id: String,
    },
    /// An address that is none.
    #[error("{what} `{text}` is no address: {reason}")]
    Address {
        /// Where it was written.
        what: String,
        /// What was written, without secrets.
        text: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// No HTTP client can be made on this machine.
    #[error(
        "cannot set up encrypted connections: {0}; are the system's certificates installed (package ca-certificates)?"
    )]
    Client(#[source] reqwest::Error),
    /// The program ends.
    #[error("stopped; run the same command again to go on")]
    Stopped,
}

fn permission(token_sent: bool) -> &'static str {
    match token_sent {
        true => {
            "the token in HF_TOKEN has no access; accept the model's licence on its page, or use another token"
        }
        false => {
            "it wants a log-in; accept the model's licence on its page and put a token into HF_TOKEN, or use `--from` another mirror"
        }
    }
}
