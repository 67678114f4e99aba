//! Every version of a record stays readable.
use archond_actors::domain::{
    Aside, Brought, CallRecord, Enclosure, EnclosureKind, MediaId, Outcome, ToolCall, ToolStep,
};

use super::*;

fn key() -> SessionKey {
    "ezra/cli/uid0/main".parse().unwrap()
}

fn turn() -> TurnRecord {
    TurnRecord {
        number: 3,
        inbox: InboxId(300),
        user: "hi".into(),
        answer: "ho".into(),
        stopped: true,
        model: "m".parse().unwrap(),
        steps: Vec::new(),
        asides: Vec::new(),
        brought: Vec::new(),
        usage: Usage {
            prompt_tokens: 1,
            cached_tokens: 2,
            answer_tokens: 3,
            prefill_ms: 4,
            decode_ms: 5,
            ..Usage::default()
        },
        ended_unix_ms: 6,
    }
}

/// Files written by version 1 must stay readable: these bytes are never to be changed.
#[test]
fn version_1_is_read_as_it_was_written() {
    let entry = InboxEntry {
        id: InboxId(7),
        session: key(),
        key: "k".into(),
        text: "hi".into(),
        received_unix_ms: 9,
        attempts: 2,
        waybill: Waybill::default(),
    };
    let bytes = b"\x01\x04ezra\x03cli\x04uid0\x04main\x01k\x02hi\x09\x02";
    assert_eq!(write_inbox(&entry).unwrap(), bytes);
    assert_eq!(read_inbox(InboxId(7), bytes).unwrap(), entry);

    let summary = Some(Summary { text: "s".into(), turns: 2, called: vec![String::new()] });
    let head = SessionHead { updated_unix_ms: 2, turns: 3, summary, ..SessionHead::new(key(), 1) };
    let bytes = b"\x01\x01\x02\x03\x01\x01s\x02";
    assert_eq!(read_head(key(), bytes).unwrap(), head);

    let bytes = b"\x01\xac\x02\x02hi\x02ho\x01\x01m\x01\x02\x03\x04\x05\x06";
    assert_eq!(read_turn(3, bytes).unwrap(), turn());
}

/// Never to be changed either.
#[test]
fn version_2_of_a_session_and_the_first_of_a_grant_are_read_as_they_were_written() {
    let options = SessionOptions {
        model: Some("m".parse().unwrap()),
        model_once: Some("n".parse().unwrap()),
        footer: Footer::Full,
        busy: Busy::Queue,
    };
    let bytes: &[u8] = b"\x02\x01\x01\x00\x00\x01\x01m\x01\x01n\x02";
    let head = SessionHead { options, ..SessionHead::new(key(), 1) };
    assert_eq!(read_head(key(), bytes).unwrap(), head);

    let grant = Grant { tool: "bash".into(), command: Some("ls".into()) };
    let bytes = b"\x01\x04bash\x01\x02ls";
    assert_eq!(write_grant(&grant).unwrap(), bytes);
    assert_eq!(read_grant(bytes).unwrap(), grant);
}

/// Never to be changed either.
#[test]
fn version_3_of_a_session_is_read_as_it_was_written() {
    let head = SessionHead::new(key(), 1);
    assert_eq!(write_head(&head).unwrap(), b"\x03\x01\x01\x00\x00\x00\x00\x00\x00");
    let summary = Summary { text: "s".into(), turns: 2, called: vec!["ls".into(), "web".into()] };
    let head = SessionHead { turns: 3, summary: Some(summary), ..head };
    let bytes: &[u8] = b"\x03\x01\x01\x03\x01\x01s\x02\x00\x00\x00\x02\x02ls\x03web";
    assert_eq!(write_head(&head).unwrap(), bytes);
    assert_eq!(read_head(key(), bytes).unwrap(), head);
}

/// Never to be changed either.
#[test]
fn version_4_of_a_session_and_3_of_a_turn_are_read_as_they_were_written() {
    let options = SessionOptions { busy: Busy::Interrupt, ..SessionOptions::default() };
    let head = SessionHead { options, ..SessionHead::new(key(), 1) };
    let bytes = b"\x04\x01\x01\x00\x00\x00\x00\x00\x00\x02";
    assert_eq!(write_head(&head).unwrap(), bytes);
    assert_eq!(read_head(key(), bytes).unwrap(), head);

    let aside = Aside { inbox: InboxId(301), after: 1, text: "and".into() };
    let turn = TurnRecord { asides: vec![aside], ..turn() };
    let bytes = b"\x03\xac\x02\x02hi\x02ho\x01\x01m\x01\x02\x03\x04\x05\x06\x00\x01\xad\x02\x01\x03and";
    assert_eq!(write_turn(&turn).unwrap(), bytes);
    assert_eq!(read_turn(3, bytes).unwrap(), turn);
}

/// Never to be changed either.
#[test]
fn version_4_of_a_turn_is_read_as_it_was_written() {
    let enclosure =
        |kind, name: &str| Enclosure { id: MediaId::new([7; 32]), kind, bytes: 300, name: name.into() };
    let brought = vec![
        Brought { enclosure: enclosure(EnclosureKind::Picture, "a"), fault: None },
        Brought { enclosure: enclosure(EnclosureKind::Recording, ""), fault: Some("no".into()) },
    ];
    let turn = TurnRecord { brought, ..turn() };
    let mut bytes = b"\x04\xac\x02\x02hi\x02ho\x01\x01m\x01\x02\x03\x04\x05\x06\x00\x00\x02".to_vec();
    bytes.extend([7; 32]);
    bytes.extend(b"\x00\xac\x02\x01a\x00");
    bytes.extend([7; 32]);
    bytes.extend(b"\x01\xac\x02\x00\x01\x02no");
    assert_eq!(write_turn(&turn).unwrap(), bytes);
    assert_eq!(read_turn(3, &bytes).unwrap(), turn);
}

fn call(id: &str) -> ToolCall {
    ToolCall { id: id.into(), name: "ls".into(), arguments: "{}".into() }
}

/// Never to be changed either.
#[test]
fn version_2_of_a_turn_is_read_as_it_was_written() {
    let bytes = b"\x02\xac\x02\x02hi\x02ho\x01\x01m\x01\x02\x03\x04\x05\x06\x00";
    assert_eq!(write_turn(&turn()).unwrap(), bytes);
    assert_eq!(read_turn(3, bytes).unwrap(), turn());

    let record = |id, outcome| CallRecord { call: call(id), outcome };
    let calls = vec![
        record("1", Outcome::Done { text: "a".into() }),
        record("2", Outcome::Failed { text: "no".into() }),
        record("3", Outcome::Unknown),
    ];
    let steps = vec![ToolStep { text: "see".into(), calls }, ToolStep { text: String::new(), calls: vec![] }];
    let with_steps = TurnRecord { steps, ..turn() };
    let bytes = b"\x02\xac\x02\x02hi\x02ho\x01\x01m\x01\x02\x03\x04\x05\x06\x02\x03see\x03\x011\x02ls\x02{}\x00\x01a\x012\x02ls\x02{}\x01\x02no\x013\x02ls\x02{}\x02\x00\x00";
    assert_eq!(write_turn(&with_steps).unwrap(), bytes);
    assert_eq!(read_turn(3, bytes).unwrap(), with_steps);
}

#[test]
fn what_cannot_be_read_says_why() {
    let table: [(&[u8], &str); 6] = [
        (b"", "it is empty"),
        (b"\x09rest", "its version is 9, this archond reads up to 4"),
        (b"\x00rest", "its version is 0, this archond reads up to 4"),
        (b"\x02\x05", "its bytes make no sense: Hit the end of buffer, expected more data"),
        (b"\x01\x05", "its bytes make no sense: Hit the end of buffer, expected more data"),
        (b"\x01\x01\x01a\x01b\x00\x02M!\x01\x01\x01\x01\x01\x01", "`M!` is not a valid model name: "),
    ];
    for (bytes, message) in table {
        let error = read_turn(0, bytes).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
