//! What daemon and worker say to each other, and how it is cut into frames.
//!
//! A frame is a length (4 bytes, little endian) and that many bytes of postcard. Both ends are the same binary, so there
//! is no compatibility to keep; the hello makes sure of it. The daemon trusts nothing that it reads: a model file may have
//! taken the worker over.
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chat::ChatFamily;
use crate::engine::{Chosen, Finding, Finish, Refusal, Request, Residence, Usage};
use crate::media::MEDIA_BYTES_MAX;

/// Longest frame from a worker.
pub(super) const FRAME_BYTES_MAX: usize = 8 << 20;
/// Longest frame to a worker. A prompt of a long context is about 1 MiB of text; its pictures and recordings come on top.
const ORDER_BYTES_MAX: usize = FRAME_BYTES_MAX + MEDIA_BYTES_MAX;
/// Raised with every change of the messages.
pub(super) const PROTOCOL: u32 = 7;
/// Both ends must be of the same build.
pub(super) const BUILD: &str = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));

/// First words of either end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) build: String,
}

impl Hello {
    pub(super) fn own() -> Self {
        Self { protocol: PROTOCOL, build: BUILD.to_owned() }
    }
}

/// What the worker is to load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoadOrder {
    pub(super) model_path: PathBuf,
    pub(super) projector_path: Option<PathBuf>,
    pub(super) residence: Residence,
    pub(super) drafter_path: Option<PathBuf>,
    pub(super) family: ChatFamily,
    pub(super) slots: u32,
    pub(super) context_tokens: u32,
    pub(super) threads: u32,
    pub(super) draft_tokens_max: u32,
    pub(super) memory_bytes_max: Option<u64>,
    /// Its standard output is memory to keep contexts in.
    pub(super) has_keepsake: bool,
    /// The file where contexts rest, and its greatest size in bytes.
    pub(super) shelf: Option<(PathBuf, u64)>,
}

/// From the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// First.
    Hello(Hello),
    /// Second.
    Load(LoadOrder),
    /// Then any number of these.
    Generate(Box<Request>),
    /// End this answer.
    Cancel { id: u64 },
}

/// How far the kernel's Landlock bounds the worker's access to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Landlock {
    /// All that was asked for.
    Full,
    /// The kernel is too old for a part of it.
    Partial,
    /// The kernel has none, or it is switched off.
    Absent,
}

/// From the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// First: the sandbox is closed, the model is not opened yet.
    Hello(Hello, Landlock),
    Loading {
        percent: u8,
    },
    Ready {
        slots: u32,
        context_tokens: u32,
        /// What computes, for people.
        processor: String,
    },
    Prefill {
        id: u64,
        done: u32,
        total: u32,
    },
    Token {
        id: u64,
        token: i32,
        chosen: Chosen,
    },
    Finished {
        id: u64,
        reason: Finish,
        usage: Usage,
    },
    Refused {
        id: u64,
        refusal: Refusal,
    },
    /// Last words before it ends by itself.
    Failed {
        detail: String,
        unusable: bool,
    },
    Found {
        id: u64,
        finding: Finding,
    },
}

/// What one end says to the other.
pub(super) trait Message {
    /// The longest frame of it.
    const BYTES_MAX: usize;
}

impl Message for ToWorker {
    const BYTES_MAX: usize = ORDER_BYTES_MAX;
}

impl Message for FromWorker {
    const BYTES_MAX: usize = FRAME_BYTES_MAX;
}

/// Why a frame is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The other end is gone.
    #[error("the connection is closed")]
    Closed,
    /// The connection is broken.
    #[error("the connection is broken: {0}")]
    Broken(#[from] io::Error),
    /// Longer than allowed.
    #[error("a frame of {bytes} bytes is longer than the {bytes_max} that are allowed")]
    TooLong { bytes: usize, bytes_max: usize },
    /// Not a message.
    #[error("a frame does not hold a message: {0}")]
    Senseless(#[from] postcard::Error),
}

/// A message as a frame.
pub(super) fn encode<T: Message + Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = postcard::to_extend(message, vec![0; 4])?;
    let bytes = frame.len().saturating_sub(4);
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= T::BYTES_MAX);
    let length = length.ok_or(FrameError::TooLong { bytes, bytes_max: T::BYTES_MAX })?;
    if let Some(head) = frame.get_mut(..4) {
        head.copy_from_slice(&length.to_le_bytes());
    }
    Ok(frame)
}

/// Writes a message. The caller flushes.
pub(super) fn write(to: &mut impl Write, message: &(impl Message + Serialize)) -> Result<(), FrameError> {
    Ok(to.write_all(&encode(message)?)?)
}

/// Reads the next message. Room is made as bytes arrive, so a length that lies costs nothing.
pub(super) fn read<T: Message + DeserializeOwned>(from: &mut impl Read) -> Result<T, FrameError> {
    let mut head = [0; 4];
    read_exact(from, &mut head)?;
    let bytes = u32::from_le_bytes(head) as usize;
    if bytes > T::BYTES_MAX {
        return Err(FrameError::TooLong { bytes, bytes_max: T::BYTES_MAX });
    }
    let mut body = Vec::new();
    from.take(bytes as u64).read_to_end(&mut body)?;
    if body.len() < bytes {
        return Err(FrameError::Closed);
    }
    match postcard::take_from_bytes(&body)? {
        (message, []) => Ok(message),
        _ => Err(FrameError::Senseless(postcard::Error::SerdeDeCustom)), // bytes left over
    }
}

fn read_exact(from: &mut impl Read, into: &mut [u8]) -> Result<(), FrameError> {
    from.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => FrameError::Closed,
        _ => FrameError::Broken(error),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chat::AnswerPart;

    /// Yields its bytes, and remembers how many were asked for at once.
    struct Source<'b> {
        bytes: &'b [u8],
        asked_max: usize,
    }

    impl Read for Source<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.asked_max = self.asked_max.max(into.len());
            self.bytes.read(into)
        }
    }

    fn said(text: &str) -> Chosen {
        Chosen { parts: vec![AnswerPart::Text(text.to_owned())], logprobs: None }
    }

    fn samples() -> Vec<FromWorker> {
        vec![
            FromWorker::Hello(Hello::own(), Landlock::Full),
            FromWorker::Loading { percent: 100 },
            FromWorker::Token { id: 7, token: 9, chosen: said(&"é".repeat(50)) },
            FromWorker::Finished { id: 7, reason: Finish::Length, usage: Usage::default() },
            FromWorker::Refused { id: 8, refusal: Refusal::PromptTooLong { tokens: 9, tokens_max: 8 } },
            FromWorker::Failed { detail: "x".to_owned(), unusable: true },
            FromWorker::Found { id: 9, finding: Finding::Tokens(vec![(5, vec![0xc3]), (6, vec![0xa9])]) },
            FromWorker::Found { id: 9, finding: Finding::Vector(vec![0.5, -0.5]) },
        ]
    }

    #[test]
    fn messages_come_back_as_they_went() {
        let stream: Vec<u8> = samples().iter().flat_map(|message| encode(message).unwrap()).collect();
        let mut from = stream.as_slice();
        for wanted in samples() {
            assert_eq!(read::<FromWorker>(&mut from).unwrap(), wanted);
        }
        assert!(matches!(read::<FromWorker>(&mut from), Err(FrameError::Closed)));
    }

    #[test]
    fn bad_frames_are_told_apart() {
        let long = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
        assert!(matches!(read::<FromWorker>(&mut &long[..]), Err(FrameError::TooLong { .. })));
        let cut = encode(&samples()[2]).unwrap();
        assert!(matches!(read::<FromWorker>(&mut &cut[..cut.len() - 1]), Err(FrameError::Closed)));
        let mut longer = postcard::to_extend(&FromWorker::Loading { percent: 1 }, vec![3, 0, 0, 0]).unwrap();
        longer.push(0);
        assert!(matches!(read::<FromWorker>(&mut longer.as_slice()), Err(FrameError::Senseless(_))));
        let huge = FromWorker::Failed { detail: "x".repeat(FRAME_BYTES_MAX), unusable: false };
        assert!(matches!(encode(&huge), Err(FrameError::TooLong { .. })));
        let media = (ORDER_BYTES_MAX as u32).to_le_bytes();
        assert!(matches!(read::<ToWorker>(&mut &media[..]), Err(FrameError::Closed)));
        assert!(matches!(read::<FromWorker>(&mut &media[..]), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn a_length_that_lies_costs_no_memory() {
        let head = (FRAME_BYTES_MAX as u32).to_le_bytes();
        let mut from = Source { bytes: &head, asked_max: 0 };
        assert!(matches!(read::<FromWorker>(&mut from), Err(FrameError::Closed)));
        assert!(from.asked_max <= 1 << 16, "asked for {} bytes at once", from.asked_max);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut from = bytes.as_slice();
            while read::<FromWorker>(&mut from).is_ok() {}
            let mut from = bytes.as_slice();
            while read::<ToWorker>(&mut from).is_ok() {}
        }

        #[test]
        fn any_body_is_refused_or_read(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let frame = [&(body.len() as u32).to_le_bytes()[..], &body].concat();
            drop(read::<FromWorker>(&mut frame.as_slice()));
            drop(read::<ToWorker>(&mut frame.as_slice()));
        }

        #[test]
        fn a_damaged_message_is_refused_or_read(which in 0_usize..8, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut frame = encode(&samples()[which]).unwrap();
            let place = at.index(frame.len());
            frame[place] = byte;
            drop(read::<FromWorker>(&mut frame.as_slice()));
        }
    }
}
