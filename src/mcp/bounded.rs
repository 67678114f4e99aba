//! What a server says on its output, line by line: a line that never ends is the end of the connection, not of the daemon's memory.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// Longest message of a server, in bytes: a picture of some megapixels as text.
pub(super) const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// Reads on as long as no line is too long.
#[derive(Debug)]
pub(super) struct Bounded<R> {
    inner: R,
    /// Bytes since the last line's end.
    line: usize,
    most: usize,
}

impl<R> Bounded<R> {
    /// With the limit of [`MESSAGE_BYTES_MAX`].
    pub(super) fn new(inner: R) -> Self {
        Self { inner, line: 0, most: MESSAGE_BYTES_MAX }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        for part in new.split_inclusive(|byte| *byte == b'\n') {
            self.line += part.len();
            if self.line > self.most {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            if part.ends_with(b"\n") {
                self.line = 0;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn read(text: &[u8]) -> io::Result<usize> {
        let mut all = Vec::new();
        Bounded { inner: text, line: 0, most: 8 }.read_to_end(&mut all).await
    }

    #[tokio::test]
    async fn only_a_line_that_is_too_long_ends_it() {
        assert_eq!(read(b"1234567\n1234567\n12345678").await.unwrap(), 24);
        assert_eq!(read(b"12345678\n").await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(b"1\n123456789").await.is_err());
    }
}
