//! How far a long piece of work is. The one who shows it decides how often.

/// What is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Asking a server where the file is.
    Asking,
    /// Fetching bytes.
    Fetching,
    /// Taking a file out of a wheel.
    Unpacking,
    /// Copying a local file.
    Copying,
    /// Reading a file to compute its sha256.
    Checking,
    /// Waiting before the next try.
    Waiting {
        /// The next try's number, from 2.
        attempt: u32,
        /// How many there are before giving up.
        attempts_max: u32,
        /// Why the last one failed.
        reason: String,
    },
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Bytes done, those of earlier runs included.
    pub done: u64,
    /// Bytes in all, where known.
    pub total: Option<u64>,
}

/// Who is told. Called from any thread, often; it must be quick.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);
