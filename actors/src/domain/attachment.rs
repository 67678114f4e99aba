//! A file that goes with an answer. Pure: what is told of it in a line, and read back from there.
use super::session::NewTurn;
use super::tool::{Outcome, ToolStep};

/// The tool by which a model sends a file to whom it talks with. What it answers is the file's description: the file goes with the turn's
/// answer.
pub const SEND_FILE: &str = "send_file";

/// How a description begins.
const BEGINNING: &str = "goes with the answer: ";
/// Hexadecimal digits of a SHA-256 hash.
const HASH_DIGITS: usize = 64;

/// A file of an Archon's workspace that goes with an answer, as it was when the model sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it is, from the workspace; without control characters.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256 hash, in 64 hexadecimal digits: whoever delivers it can tell whether it is still the same.
    pub sha256: String,
    /// Its media type by its first bytes (<https://www.iana.org/assignments/media-types>); `application/octet-stream` where they say nothing.
    pub media_type: String,
    /// What is said of it; one line.
    pub caption: Option<String>,
}

impl Attachment {
    /// What the model is told of a file that it sent. [`Attachment::read`] reads it.
    pub fn told(&self) -> String {
        let Self { path, bytes, sha256, media_type, caption } = self;
        let caption = caption.as_ref().map(|caption| format!("\n{caption}")).unwrap_or_default();
        format!("{BEGINNING}{media_type}, {bytes} bytes, sha256 {sha256}, {path}{caption}")
    }

    /// For people, on one line.
    pub fn summary(&self) -> String {
        let Self { path, bytes, media_type, caption, .. } = self;
        let caption = caption.as_ref().map(|caption| format!(": {caption}")).unwrap_or_default();
        format!("{path}, {media_type}, {bytes} bytes{caption}")
    }

    /// Reads a description; `None` if it is none.
    pub fn read(told: &str) -> Option<Self> {
        let (line, caption) = match told.split_once('\n') {
            Some((line, caption)) => (line, Some(caption.to_owned())),
            None => (told, None),
        };
        let mut parts = line.strip_prefix(BEGINNING)?.splitn(4, ", ");
        let mut next = || parts.next();
        let media_type = next()?.to_owned();
        let bytes = next()?.strip_suffix(" bytes")?.parse().ok()?;
        let sha256 = next()?.strip_prefix("sha256 ")?.to_owned();
        let path = next()?.to_owned();
        let is_hash = sha256.len() == HASH_DIGITS && sha256.bytes().all(|digit| digit.is_ascii_hexdigit());
        (is_hash && !path.is_empty()).then_some(Self { path, bytes, sha256, media_type, caption })
    }

    /// The files that a turn's calls sent, in order. Of one that was sent again, as it is by then.
    pub fn of(turn: &NewTurn) -> Vec<Self> {
        let mut sent: Vec<Self> = Vec::new();
        for attachment in turn.steps.iter().flat_map(sent_in) {
            sent.retain(|before| before.path != attachment.path);
            sent.push(attachment);
        }
        sent
    }
}

fn sent_in(step: &ToolStep) -> impl Iterator<Item = Attachment> {
    step.calls.iter().filter(|record| record.call.name == SEND_FILE).filter_map(|record| {
        match &record.outcome {
            Outcome::Done { text } => Attachment::read(text),
            Outcome::Failed { .. } | Outcome::Unknown => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{CallRecord, ToolCall, Usage};

    fn file(path: &str, bytes: u64) -> Attachment {
        Attachment {
            path: path.into(),
            bytes,
            sha256: "0f".repeat(32),
            media_type: "application/pdf".into(),
            caption: None,
        }
    }

    fn turn(calls: &[(&str, Outcome)]) -> NewTurn {
        let record = |(name, outcome): &(&str, Outcome)| CallRecord {
            call: ToolCall { id: "1".into(), name: (*name).into(), arguments: String::new() },
            outcome: outcome.clone(),
        };
        let steps = calls.iter().map(|call| ToolStep { text: String::new(), calls: vec![record(call)] });
        NewTurn {
            user: String::new(),
            answer: String::new(),
            stopped: false,
            model: "m".parse().unwrap(),
            steps: steps.collect(),
            asides: Vec::new(),
            brought: Vec::new(),
            usage: Usage::default(),
            replaces_last: false,
        }
    }

    #[test]
    fn what_was_sent_and_nothing_else_goes_with_the_answer() {
        let done = |file: &Attachment| Outcome::Done { text: file.told() };
        let (first, again, second) = (file("a, b.pdf", 1), file("a, b.pdf", 2), file("c", 3));
        let sent = turn(&[
            (SEND_FILE, done(&first)),
            ("read_file", done(&file("forged", 9))),
            (SEND_FILE, Outcome::Failed { text: file("failed", 9).told() }),
            (SEND_FILE, Outcome::Unknown),
            (SEND_FILE, done(&second)),
            (SEND_FILE, done(&again)),
        ]);
        assert_eq!(Attachment::of(&sent), [second, again]);
        assert_eq!(Attachment::of(&turn(&[])), []);
    }

    #[test]
    fn what_is_no_description_is_no_file() {
        let told = file("a", 1).told();
        for text in [
            "",
            "a",
            "goes with the answer: ",
            &told.replace("0f", "0g"),
            &told.replace(" bytes", ""),
            &told[..told.len() - 1],
            &told.replacen("0f", "", 1),
            &format!(" {told}"),
        ] {
            assert_eq!(Attachment::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_read_back(path in "\\PC{1,40}", bytes: u64, caption in prop::option::of("\\PC{1,40}")) {
            let file = Attachment { caption, ..file(&path, bytes) };
            prop_assert_eq!(Attachment::read(&file.told()), Some(file));
        }
    }
}
