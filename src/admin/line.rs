//! Reads lines of bounded length from a stream that nobody trusts.
use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// One line, or what is wrong with it. After a bad line the next one is read as if nothing had happened.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line without its end.
    Text(String),
    /// Longer than allowed; it was skipped.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
    /// The stream ended.
    End,
}

/// Reads the next line of at most `bytes_max` bytes. Holds no more than that.
pub(super) async fn read<R: AsyncBufRead + Unpin>(reader: &mut R, bytes_max: usize) -> io::Result<Line> {
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            // A last line without its end was cut off on the way: it must not be taken for a whole one.
            return Ok(Line::End);
        }
        let (part, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&buffer[..end], true),
            None => (buffer, false),
        };
        too_long |= line.len() + part.len() > bytes_max;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(ended);
        reader.consume(used);
        if ended {
            return Ok(match String::from_utf8(line) {
                _ if too_long => Line::TooLong,
                Ok(text) => Line::Text(text),
                Err(_) => Line::NotUtf8,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn bad_lines_do_not_spoil_the_next() {
        let input = [b"one\n".as_slice(), &[b'x'; 50], b"\n\xff\xfe\n\nlast\ncut off"].concat();
        let mut reader = BufReader::with_capacity(8, input.as_slice());
        let mut lines = Vec::new();
        loop {
            let line = read(&mut reader, 10).await.unwrap();
            if line == Line::End {
                break;
            }
            lines.push(line);
        }
        let text = |text: &str| Line::Text(text.into());
        assert_eq!(lines, [text("one"), Line::TooLong, Line::NotUtf8, text(""), text("last")]);
    }
}
