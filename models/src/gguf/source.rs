//! Reads little-endian values and counts how far it got.
use std::io::{self, Read};

use super::{GgufError, bounded};

/// Most memory for the texts and lists of a head, in bytes; Gemma's take about 100 KB. One byte of the file can become an element of a
/// list, which takes 32, and there can be 65,536 lists.
const KEPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A reader with a position and an end that no head may pass.
pub(super) struct Source<R> {
    reader: R,
    at: u64,
    end: u64,
    /// Bytes of memory that the head takes so far.
    kept: u64,
}

impl<R: Read> Source<R> {
    pub(super) fn new(reader: R, end: u64) -> Self {
        Self { reader, at: 0, end, kept: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, GgufError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length and that many bytes. Memory is taken as the bytes come, not as the length promises.
    pub(super) fn text(&mut self, what: &'static str, bytes_max: u64) -> Result<String, GgufError> {
        let length = bounded(what, self.u64()?, bytes_max)?;
        self.advance(length)?;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes).map_err(GgufError::Read)?;
        if (read as u64) < length {
            return Err(GgufError::HeadCut { at: self.at - length + read as u64 });
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.keep(text.len())?;
        Ok(text)
    }

    /// Notes that so many bytes of memory are taken for what was read.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), GgufError> {
        self.kept = self.kept.saturating_add(bytes as u64);
        bounded("the memory for its head, in bytes,", self.kept, KEPT_BYTES_MAX).map(drop)
    }

    pub(super) fn skip(&mut self, length: u64) -> Result<(), GgufError> {
        self.advance(length)?;
        let skipped =
            io::copy(&mut (&mut self.reader).take(length), &mut io::sink()).map_err(GgufError::Read)?;
        if skipped < length {
            return Err(GgufError::HeadCut { at: self.at - length + skipped });
        }
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), GgufError> {
        let start = self.at;
        self.advance(bytes.len() as u64)?;
        self.reader.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => GgufError::HeadCut { at: start },
            _ => GgufError::Read(error),
        })
    }

    fn advance(&mut self, length: u64) -> Result<(), GgufError> {
        self.at = self.at.saturating_add(length);
        bounded("the head's length", self.at, self.end).map(drop)
    }
}
