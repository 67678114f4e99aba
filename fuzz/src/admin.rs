//! The admin socket: every line is read or refused as a whole, and no answer can break out of its own line.
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::io::BufReader;

#[path = "../../src/admin/approvals.rs"]
mod approvals;
#[path = "../../src/admin/channels.rs"]
mod channels;
#[path = "../../src/admin/inside.rs"]
mod inside;
#[path = "../../src/admin/line.rs"]
mod line;
#[path = "../../src/admin/memory.rs"]
mod memory;
#[path = "../../src/admin/protocol.rs"]
mod protocol;
#[path = "../../src/admin/trail.rs"]
mod trail;

use line::Line;
use protocol::{ErrorCode, LINE_BYTES_MAX, Reply, Request, Response};

/// The first byte chooses the reader's buffer, the second the longest line (0: as the daemon); the rest is the stream.
pub fn admin_lines(input: &[u8]) {
    let [buffer, longest, stream @ ..] = input else { return };
    let bytes_max = if *longest == 0 { LINE_BYTES_MAX } else { usize::from(*longest) };
    let mut reader = BufReader::with_capacity(usize::from(*buffer) + 1, stream);
    let mut wanted = stream.split_inclusive(|byte| *byte == b'\n');
    loop {
        let line = next(&mut reader, bytes_max);
        assert_eq!(line, expected(wanted.next(), bytes_max));
        match line {
            Line::Text(text) => perform(&text),
            Line::TooLong | Line::NotUtf8 => {}
            Line::End => return,
        }
    }
}

/// A stream in memory never waits.
fn next(reader: &mut BufReader<&[u8]>, bytes_max: usize) -> Line {
    let reading = pin!(line::read(reader, bytes_max));
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(line) => line.expect("memory does not fail"),
        Poll::Pending => panic!("the reader waits for nothing"),
    }
}

/// What the line reader promises, said in the plainest way.
fn expected(line: Option<&[u8]>, bytes_max: usize) -> Line {
    let Some(line) = line.and_then(|line| line.strip_suffix(b"\n")) else { return Line::End };
    match str::from_utf8(line) {
        _ if line.len() > bytes_max => Line::TooLong,
        Ok(text) => Line::Text(text.to_owned()),
        Err(_) => Line::NotUtf8,
    }
}

fn perform(text: &str) {
    match serde_json::from_str::<Request>(text) {
        Ok(request) => {
            let written = one_line(&request);
            let again: Request = serde_json::from_str(&written).expect("what was written can be read");
            assert_eq!((again.id, &again.op), (request.id, &request.op), "{written}");
        }
        Err(error) => {
            let message = format!("the request cannot be understood: {error}");
            assert!(message.len() <= text.len() + 4096, "a refusal is much longer than what it refuses");
            one_line(&Response { id: 0, reply: Reply::Error { code: ErrorCode::BadRequest, message } });
        }
    }
    // The client reads answers with the same care.
    if let Ok(response) = serde_json::from_str::<Response>(text) {
        let written = one_line(&response);
        let again: Response = serde_json::from_str(&written).expect("what was written can be read");
        assert_eq!((again.id, &again.reply), (response.id, &response.reply), "{written}");
    }
}

fn one_line(message: &impl serde::Serialize) -> String {
    let written = serde_json::to_string(message).expect("it can be written");
    assert!(!written.contains('\n'), "two lines: {written}");
    written
}
