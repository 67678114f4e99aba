//! Answers as they lie in the outbox: with nothing beside them in the first version, with files in the second, to a place in the third. See `records`.
use archond_actors::domain::{AnswerKind, Attachment, InboxId, OutboxEntry, OutboxId, ReplyTo};
use serde::{Deserialize, Serialize};

use super::records::{RecordError, cols, encode, encode_as, session_key, split};
use super::tables::SessionCols;

/// The last version that is read, and the one of answers that go to a place which their platform named.
const OUTBOX_VERSION: u8 = 3;
/// The version of answers that something goes with; those with nothing beside them are written as ever.
const WITH_FILES: u8 = 2;

#[derive(Serialize, Deserialize)]
struct OutboxV1<'a> {
    answers: u64,
    key: &'a str,
    session: SessionCols<'a>,
    kind: KindV1,
    text: &'a str,
    created_unix_ms: u64,
}

/// All that the first version had, then what goes with the answer.
#[derive(Serialize, Deserialize)]
struct OutboxV2<'a> {
    #[serde(borrow)]
    first: OutboxV1<'a>,
    #[serde(borrow)]
    attachments: Vec<AttachmentV1<'a>>,
}

/// All that the second version had, then where the answer goes.
#[derive(Serialize, Deserialize)]
struct OutboxV3<'a> {
    #[serde(borrow)]
    second: OutboxV2<'a>,
    reply_to: &'a str,
}

#[derive(Serialize, Deserialize)]
struct AttachmentV1<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    media_type: &'a str,
    caption: Option<&'a str>,
}

impl<'a> AttachmentV1<'a> {
    fn of(attachment: &'a Attachment) -> Self {
        Self {
            path: &attachment.path,
            bytes: attachment.bytes,
            sha256: &attachment.sha256,
            media_type: &attachment.media_type,
            caption: attachment.caption.as_deref(),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum KindV1 {
    Answer,
    Notice,
    Failure,
}

pub(super) fn write_outbox(entry: &OutboxEntry) -> Result<Vec<u8>, RecordError> {
    let first = OutboxV1 {
        answers: entry.answers.0,
        key: &entry.key,
        session: cols(&entry.session),
        kind: match entry.kind {
            AnswerKind::Answer => KindV1::Answer,
            AnswerKind::Notice => KindV1::Notice,
            AnswerKind::Failure => KindV1::Failure,
        },
        text: &entry.text,
        created_unix_ms: entry.created_unix_ms,
    };
    let attachments: Vec<_> = entry.attachments.iter().map(AttachmentV1::of).collect();
    match (entry.reply_to.is_empty(), attachments.is_empty()) {
        (true, true) => encode(&first),
        (true, false) => encode_as(WITH_FILES, &OutboxV2 { first, attachments }),
        (false, _) => {
            let second = OutboxV2 { first, attachments };
            encode_as(OUTBOX_VERSION, &OutboxV3 { second, reply_to: entry.reply_to.as_str() })
        }
    }
}

pub(super) fn read_outbox(id: OutboxId, bytes: &[u8]) -> Result<OutboxEntry, RecordError> {
    let (record, attachments, reply_to) = match split(bytes, OUTBOX_VERSION)? {
        (1, rest) => (postcard::from_bytes::<OutboxV1<'_>>(rest)?, Vec::new(), ""),
        (2, rest) => {
            let record: OutboxV2<'_> = postcard::from_bytes(rest)?;
            (record.first, record.attachments, "")
        }
        (_, rest) => {
            let OutboxV3 { second, reply_to } = postcard::from_bytes(rest)?;
            (second.first, second.attachments, reply_to)
        }
    };
    let attachment = |attachment: AttachmentV1<'_>| Attachment {
        path: attachment.path.to_owned(),
        bytes: attachment.bytes,
        sha256: attachment.sha256.to_owned(),
        media_type: attachment.media_type.to_owned(),
        caption: attachment.caption.map(str::to_owned),
    };
    Ok(OutboxEntry {
        id,
        answers: InboxId(record.answers),
        key: record.key.to_owned(),
        session: session_key(record.session)?,
        kind: match record.kind {
            KindV1::Answer => AnswerKind::Answer,
            KindV1::Notice => AnswerKind::Notice,
            KindV1::Failure => AnswerKind::Failure,
        },
        text: record.text.to_owned(),
        attachments: attachments.into_iter().map(attachment).collect(),
        created_unix_ms: record.created_unix_ms,
        reply_to: ReplyTo::new(reply_to)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files written by each version must stay readable: these bytes are never to be changed.
    #[test]
    fn each_version_is_read_as_it_was_written() {
        let entry = OutboxEntry {
            id: OutboxId(8),
            answers: InboxId(7),
            key: "k".into(),
            session: "ezra/cli/uid0/main".parse().unwrap(),
            kind: AnswerKind::Failure,
            text: "ho".into(),
            attachments: Vec::new(),
            created_unix_ms: 9,
            reply_to: ReplyTo::default(),
        };
        let bytes = b"\x01\x07\x01k\x04ezra\x03cli\x04uid0\x04main\x02\x02ho\x09";
        assert_eq!(write_outbox(&entry).unwrap(), bytes);
        assert_eq!(read_outbox(OutboxId(8), bytes).unwrap(), entry);

        // The second version.
        let file = Attachment {
            path: "a".into(),
            bytes: 300,
            sha256: "0f".into(),
            media_type: "t".into(),
            caption: Some("c".into()),
        };
        let with_file = OutboxEntry { attachments: vec![file], ..entry };
        let bytes = b"\x02\x07\x01k\x04ezra\x03cli\x04uid0\x04main\x02\x02ho\x09\x01\x01a\xac\x02\x020f\x01t\x01\x01c";
        assert_eq!(write_outbox(&with_file).unwrap(), bytes);
        assert_eq!(read_outbox(OutboxId(8), bytes).unwrap(), with_file);

        // The third version.
        let to_a_place =
            OutboxEntry { reply_to: ReplyTo::new("c:1").unwrap(), attachments: Vec::new(), ..with_file };
        let bytes = b"\x03\x07\x01k\x04ezra\x03cli\x04uid0\x04main\x02\x02ho\x09\x00\x03c:1";
        assert_eq!(write_outbox(&to_a_place).unwrap(), bytes);
        assert_eq!(read_outbox(OutboxId(8), bytes).unwrap(), to_a_place);
    }
}
