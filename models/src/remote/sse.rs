//! Reads server-sent events, as the HTML standard defines them (section 9.2.6), from a server that is not trusted to end a line.

/// Longest event, in bytes: a tool's call with a whole source file, many times over.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// The server sent an event without an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub(super) struct EventTooLong;

/// What has come of a stream of events, to the last whole one. Only the data of events is of interest.
#[derive(Debug, Default)]
pub(super) struct SseReader {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last byte was a carriage return: a line feed right behind it belongs to it.
    after_return: bool,
    begun: bool,
}

impl SseReader {
    /// Takes the next bytes; answers the data of the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, EventTooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let joins = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if joins => {}
                b'\n' | b'\r' => events.extend(self.line_ended()),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, Vec::len) > EVENT_BYTES_MAX {
                return Err(EventTooLong);
            }
        }
        Ok(events)
    }

    fn line_ended(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line),
            true => &line,
        };
        if line.is_empty() {
            return self.data.take().map(|data| String::from_utf8_lossy(&data).into_owned());
        }
        let value = line.strip_prefix(b"data").and_then(|rest| match rest {
            [] => Some(rest),
            [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
            _ => None,
        })?;
        match &mut self.data {
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            None => self.data = Some(value.to_vec()),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(stream: &str, expected: &[&str]) {
        assert_eq!(SseReader::default().push(stream.as_bytes()).unwrap(), expected, "{stream:?}");
    }

    #[test]
    fn events_as_the_standard_reads_them() {
        check("data: a\n\n", &["a"]);
        check("data:a\r\n\r\ndata:  b\r\rdata\n\n", &["a", " b", ""]);
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"]);
        check(": still there\n\nevent: message\ndata: a\nid: 7\ndata: b\nretry: 10\n\n", &["a\nb"]);
        check("datum: a\n\ndata: no end", &[]);
        check("\n\n\n", &[]);
    }

    #[test]
    fn an_event_without_an_end_is_not_kept() {
        let mut reader = SseReader::default();
        let block = vec![b'x'; 1 << 20];
        assert!((0..4).all(|_| reader.push(&block).is_ok()));
        assert_eq!(reader.push(b"x"), Err(EventTooLong));
        let mut reader = SseReader::default();
        let lines = b"data: many lines of one event\n".repeat(1 << 15);
        assert!((0..8).any(|_| reader.push(&lines).is_err()));
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_does_not_matter(
            bytes in proptest::collection::vec(prop::sample::select(b"data: \r\nx:\xef\xbb\xbf".to_vec()), 0..200),
            cuts in proptest::collection::vec(0..200_usize, 0..8),
        ) {
            let whole = SseReader::default().push(&bytes).unwrap();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let (mut reader, mut at, mut events) = (SseReader::default(), 0, Vec::new());
            for cut in cuts {
                events.extend(reader.push(&bytes[at..cut]).unwrap());
                at = cut;
            }
            prop_assert_eq!(events, whole);
        }

        #[test]
        fn what_is_sent_comes_out(lines in proptest::collection::vec("[^\r\n]{0,20}", 1..5)) {
            let sent: String = lines.iter().map(|line| format!("data: {line}\n")).collect::<String>() + "\n";
            prop_assert_eq!(SseReader::default().push(sent.as_bytes()).unwrap(), vec![lines.join("\n")]);
        }
    }
}
