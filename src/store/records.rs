//! The records as they lie in the file: one byte of version, then postcard. The domain's types are never written themselves,
//! so that a change of theirs cannot change the file. A reader of every version ever written stays here.
use archond_actors::domain::{
    Busy, Footer, Grant, InboxEntry, InboxId, SessionHead, SessionKey, SessionOptions, Summary, TurnRecord,
    Usage, Waybill,
};
use serde::{Deserialize, Serialize};

use super::deliveries::{BroughtV1, WaybillV1};
use super::tables::SessionCols;
use super::tool_records::{AsideV1, StepV1};

/// The version of every record but those of turns and sessions.
const VERSION: u8 = 1;
/// The version of turns; the first one is read.
const TURN_VERSION: u8 = 2;
/// The same of those in which something was said meanwhile.
const TURN_WITH_ASIDES_VERSION: u8 = 3;
/// The same of those with whose message something came.
const TURN_WITH_MEDIA_VERSION: u8 = 4;
/// The version of sessions; the former ones are read.
const HEAD_VERSION: u8 = 3;
/// The same of those in which messages do not just wait for each other.
const BUSY_HEAD_VERSION: u8 = 4;
/// The version of messages with which a platform gave something along; others are still of the first version.
const INBOX_VERSION: u8 = 2;

/// Why a record cannot be read; says what was found.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("it is empty")]
    Empty,
    #[error("its version is {found}, this archond reads up to {known}")]
    Newer { found: u8, known: u8 },
    #[error("its bytes make no sense: {0}")]
    Bytes(#[from] postcard::Error),
    #[error(transparent)]
    Identity(#[from] archond_actors::domain::IdError),
}

#[derive(Serialize, Deserialize)]
struct InboxV1<'a> {
    session: SessionCols<'a>,
    key: &'a str,
    text: &'a str,
    received_unix_ms: u64,
    attempts: u32,
}

/// All that the first version had, then what the platform gave along.
#[derive(Serialize, Deserialize)]
struct InboxV2<'a> {
    #[serde(borrow)]
    first: InboxV1<'a>,
    #[serde(borrow)]
    waybill: WaybillV1<'a>,
}

#[derive(Serialize, Deserialize)]
struct HeadV1<'a> {
    created_unix_ms: u64,
    updated_unix_ms: u64,
    turns: u64,
    #[serde(borrow)]
    summary: Option<SummaryV1<'a>>,
}

/// All that the first version had, then what the peer has chosen.
#[derive(Serialize, Deserialize)]
struct HeadV2<'a> {
    #[serde(borrow)]
    first: HeadV1<'a>,
    model: Option<&'a str>,
    model_once: Option<&'a str>,
    footer: FooterV1,
}

/// All that the second version had, then which tools were called in the turns that the summary stands for.
#[derive(Serialize, Deserialize)]
struct HeadV3<'a> {
    #[serde(borrow)]
    second: HeadV2<'a>,
    #[serde(borrow)]
    called: Vec<&'a str>,
}

/// All that the third version had, then what a message does that comes while another one is answered.
#[derive(Serialize, Deserialize)]
struct HeadV4<'a> {
    #[serde(borrow)]
    third: HeadV3<'a>,
    busy: BusyV1,
}

#[derive(Serialize, Deserialize)]
enum BusyV1 {
    Queue,
    Steer,
    Interrupt,
}

#[derive(Serialize, Deserialize)]
enum FooterV1 {
    Off,
    Tokens,
    Full,
}

#[derive(Serialize, Deserialize)]
struct GrantV1<'a> {
    tool: &'a str,
    command: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct SummaryV1<'a> {
    text: &'a str,
    turns: u64,
}

#[derive(Serialize, Deserialize)]
struct TurnV1<'a> {
    inbox: u64,
    user: &'a str,
    answer: &'a str,
    stopped: bool,
    model: &'a str,
    usage: UsageV1,
    ended_unix_ms: u64,
}

/// All that the first version had, then what came of the model's calls.
#[derive(Serialize, Deserialize)]
struct TurnV2<'a> {
    #[serde(borrow)]
    first: TurnV1<'a>,
    #[serde(borrow)]
    steps: Vec<StepV1<'a>>,
}

/// All that the second version had, then what was said meanwhile.
#[derive(Serialize, Deserialize)]
struct TurnV3<'a> {
    #[serde(borrow)]
    second: TurnV2<'a>,
    #[serde(borrow)]
    asides: Vec<AsideV1<'a>>,
}

/// All that the third version had, then what came with the message.
#[derive(Serialize, Deserialize)]
struct TurnV4<'a> {
    #[serde(borrow)]
    third: TurnV3<'a>,
    #[serde(borrow)]
    brought: Vec<BroughtV1<'a>>,
}

#[derive(Serialize, Deserialize)]
struct UsageV1 {
    prompt_tokens: u32,
    cached_tokens: u32,
    answer_tokens: u32,
    prefill_ms: u32,
    decode_ms: u32,
}

/// The columns of a session's key.
pub(super) fn cols(key: &SessionKey) -> SessionCols<'_> {
    (key.archon.as_str(), key.channel.as_str(), key.peer.as_str(), key.thread.as_str())
}

/// The session that the columns name.
pub(super) fn session_key(cols: SessionCols<'_>) -> Result<SessionKey, RecordError> {
    let (archon, channel, peer, thread) = cols;
    Ok(SessionKey {
        archon: archon.parse()?,
        channel: channel.parse()?,
        peer: peer.parse()?,
        thread: thread.parse()?,
    })
}

pub(super) fn write_inbox(entry: &InboxEntry) -> Result<Vec<u8>, RecordError> {
    let first = InboxV1 {
        session: cols(&entry.session),
        key: &entry.key,
        text: &entry.text,
        received_unix_ms: entry.received_unix_ms,
        attempts: entry.attempts,
    };
    if entry.waybill.is_empty() {
        return encode(&first);
    }
    encode_as(INBOX_VERSION, &InboxV2 { first, waybill: WaybillV1::of(&entry.waybill) })
}

pub(super) fn read_inbox(id: InboxId, bytes: &[u8]) -> Result<InboxEntry, RecordError> {
    let (record, waybill) = match split(bytes, INBOX_VERSION)? {
        (1, rest) => (postcard::from_bytes::<InboxV1<'_>>(rest)?, Waybill::default()),
        (_, rest) => {
            let InboxV2 { first, waybill } = postcard::from_bytes(rest)?;
            (first, waybill.into_waybill()?)
        }
    };
    Ok(InboxEntry {
        id,
        session: session_key(record.session)?,
        key: record.key.to_owned(),
        text: record.text.to_owned(),
        received_unix_ms: record.received_unix_ms,
        attempts: record.attempts,
        waybill,
    })
}

pub(super) fn write_head(head: &SessionHead) -> Result<Vec<u8>, RecordError> {
    let (summary, options) = (head.summary.as_ref(), &head.options);
    let first = HeadV1 {
        created_unix_ms: head.created_unix_ms,
        updated_unix_ms: head.updated_unix_ms,
        turns: head.turns,
        summary: summary.map(|summary| SummaryV1 { text: &summary.text, turns: summary.turns }),
    };
    let footer = match options.footer {
        Footer::Off => FooterV1::Off,
        Footer::Tokens => FooterV1::Tokens,
        Footer::Full => FooterV1::Full,
    };
    let (model, model_once) = (options.model.as_ref(), options.model_once.as_ref());
    let (model, model_once) = (model.map(|model| model.as_str()), model_once.map(|model| model.as_str()));
    let called = summary.map_or_else(Vec::new, |summary| summary.called.iter().map(String::as_str).collect());
    let third = HeadV3 { second: HeadV2 { first, model, model_once, footer }, called };
    let busy = match options.busy {
        Busy::Queue => return encode_as(HEAD_VERSION, &third),
        Busy::Steer => BusyV1::Steer,
        Busy::Interrupt => BusyV1::Interrupt,
    };
    encode_as(BUSY_HEAD_VERSION, &HeadV4 { third, busy })
}

pub(super) fn read_head(key: SessionKey, bytes: &[u8]) -> Result<SessionHead, RecordError> {
    // A former version does not say which tools were called: one that nobody knows stands for all of them.
    let (record, options, called) = match split(bytes, BUSY_HEAD_VERSION)? {
        (1, rest) => (postcard::from_bytes::<HeadV1<'_>>(rest)?, SessionOptions::default(), vec![""]),
        (2, rest) => {
            let HeadV2 { first, model, model_once, footer } = postcard::from_bytes(rest)?;
            (first, read_options(model, model_once, &footer)?, vec![""])
        }
        (version, rest) => {
            let HeadV4 { third, busy } = match version {
                3 => HeadV4 { third: postcard::from_bytes(rest)?, busy: BusyV1::Queue },
                _ => postcard::from_bytes(rest)?,
            };
            let HeadV3 { second: HeadV2 { first, model, model_once, footer }, called } = third;
            let busy = match busy {
                BusyV1::Queue => Busy::Queue,
                BusyV1::Steer => Busy::Steer,
                BusyV1::Interrupt => Busy::Interrupt,
            };
            (first, SessionOptions { busy, ..read_options(model, model_once, &footer)? }, called)
        }
    };
    let called = called.into_iter().map(str::to_owned).collect();
    let summary = record.summary;
    Ok(SessionHead {
        key,
        created_unix_ms: record.created_unix_ms,
        updated_unix_ms: record.updated_unix_ms,
        turns: record.turns,
        summary: summary.map(|summary| Summary {
            text: summary.text.to_owned(),
            turns: summary.turns,
            called,
        }),
        options,
    })
}

fn read_options(
    model: Option<&str>,
    model_once: Option<&str>,
    footer: &FooterV1,
) -> Result<SessionOptions, RecordError> {
    let footer = match footer {
        FooterV1::Off => Footer::Off,
        FooterV1::Tokens => Footer::Tokens,
        FooterV1::Full => Footer::Full,
    };
    let model = model.map(str::parse).transpose()?;
    let model_once = model_once.map(str::parse).transpose()?;
    Ok(SessionOptions { model, model_once, footer, ..SessionOptions::default() })
}

pub(super) fn write_grant(grant: &Grant) -> Result<Vec<u8>, RecordError> {
    encode(&GrantV1 { tool: &grant.tool, command: grant.command.as_deref() })
}

pub(super) fn read_grant(bytes: &[u8]) -> Result<Grant, RecordError> {
    let GrantV1 { tool, command } = decode(bytes)?;
    Ok(Grant { tool: tool.to_owned(), command: command.map(str::to_owned) })
}

pub(super) fn write_turn(turn: &TurnRecord) -> Result<Vec<u8>, RecordError> {
    let usage = turn.usage;
    let first = TurnV1 {
        inbox: turn.inbox.0,
        user: &turn.user,
        answer: &turn.answer,
        stopped: turn.stopped,
        model: turn.model.as_str(),
        usage: UsageV1 {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            answer_tokens: usage.answer_tokens,
            prefill_ms: usage.prefill_ms,
            decode_ms: usage.decode_ms,
        },
        ended_unix_ms: turn.ended_unix_ms,
    };
    let second = TurnV2 { first, steps: turn.steps.iter().map(StepV1::of).collect() };
    let third = TurnV3 { second, asides: turn.asides.iter().map(AsideV1::of).collect() };
    match (turn.asides.is_empty(), turn.brought.is_empty()) {
        (true, true) => encode_as(TURN_VERSION, &third.second),
        (false, true) => encode_as(TURN_WITH_ASIDES_VERSION, &third),
        (_, false) => {
            let brought = turn.brought.iter().map(BroughtV1::of).collect();
            encode_as(TURN_WITH_MEDIA_VERSION, &TurnV4 { third, brought })
        }
    }
}

pub(super) fn read_turn(number: u64, bytes: &[u8]) -> Result<TurnRecord, RecordError> {
    let bare = |second| TurnV3 { second, asides: Vec::new() };
    let TurnV4 { third, brought } = match split(bytes, TURN_WITH_MEDIA_VERSION)? {
        (1, rest) => {
            let second = TurnV2 { first: postcard::from_bytes(rest)?, steps: Vec::new() };
            TurnV4 { third: bare(second), brought: Vec::new() }
        }
        (2, rest) => TurnV4 { third: bare(postcard::from_bytes(rest)?), brought: Vec::new() },
        (3, rest) => TurnV4 { third: postcard::from_bytes(rest)?, brought: Vec::new() },
        (_, rest) => postcard::from_bytes(rest)?,
    };
    let TurnV3 { second: TurnV2 { first: record, steps }, asides } = third;
    let usage = record.usage;
    Ok(TurnRecord {
        number,
        inbox: InboxId(record.inbox),
        user: record.user.to_owned(),
        answer: record.answer.to_owned(),
        stopped: record.stopped,
        model: record.model.parse()?,
        steps: steps.into_iter().map(StepV1::into_step).collect(),
        asides: asides.into_iter().map(AsideV1::into_aside).collect(),
        brought: brought.into_iter().map(BroughtV1::into_brought).collect(),
        usage: Usage {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage.cached_tokens,
            answer_tokens: usage.answer_tokens,
            prefill_ms: usage.prefill_ms,
            decode_ms: usage.decode_ms,
            ..Usage::default() // the rest is of interest while it happens, and not kept
        },
        ended_unix_ms: record.ended_unix_ms,
    })
}

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, RecordError> {
    encode_as(VERSION, record)
}

pub(super) fn encode_as<T: Serialize>(version: u8, record: &T) -> Result<Vec<u8>, RecordError> {
    Ok(postcard::to_extend(record, vec![version])?)
}

/// Reads a record that has one version. One with a second version is read as [`read_turn`] does it: an arm and a struct for each.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, RecordError> {
    let (_, record) = split(bytes, VERSION)?;
    Ok(postcard::from_bytes(record)?)
}

/// A record's version, from 1 to the last that is known, and its bytes.
pub(super) fn split(bytes: &[u8], known: u8) -> Result<(u8, &[u8]), RecordError> {
    match bytes.split_first() {
        Some((&version, record)) if (1..=known).contains(&version) => Ok((version, record)),
        Some((&found, _)) => Err(RecordError::Newer { found, known }),
        None => Err(RecordError::Empty),
    }
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
