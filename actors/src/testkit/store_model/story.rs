//! What may be asked of a store, drawn at random: every change and every question, about what exists and what does not.
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop, prop_oneof};
use proptest_state_machine::ReferenceStateMachine;

use super::ideal::Ideal;
use super::question::Question;
use crate::domain::{
    AnswerKind, ArchonId, Aside, Brought, Busy, CallRecord, ChannelId, CodeHash, Cursor, Enclosure,
    EnclosureKind, Footer, Grant, HandOff, InboundMessage, InboxId, JournalEntry, LinkChange, Maker, MediaId,
    ModelId, NewAnswer, NewNote, NewTurn, NoteId, NotePlace, NotesOf, OutboxId, Outcome, PeerId, PeerKey,
    Place, Receipt, Remembered, ReplyTo, SessionKey, SessionOptions, Summary, ThreadId, Tier, ToolCall,
    ToolStep, TurnEnd, Usage, Vector, Waybill,
};
use crate::ports::Write;

/// What happens to a store.
#[derive(Debug, Clone)]
pub enum Step {
    /// Changes, in one transaction.
    Commit(Vec<Write>),
    /// A question.
    Ask(Question),
    /// It is closed, and opened again.
    Reopen,
}

/// The model: [`Ideal`], and what may happen to it.
pub struct Story;

/// Those of these names that are names.
fn names<T: std::str::FromStr>(names: &[&str]) -> Vec<T> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

// Some names begin as others do, so that keys which are put together carelessly are mixed up.
pub(super) fn archons() -> Vec<ArchonId> {
    names(&["a", "ab"])
}

pub(super) fn channels() -> Vec<ChannelId> {
    names(&["cli", "cli2"])
}

pub(super) fn peers() -> Vec<PeerId> {
    names(&["p", "pq"])
}

fn archon() -> impl Strategy<Value = ArchonId> {
    prop_oneof![3 => Just(archons()[0].clone()), 1 => Just(archons()[1].clone())]
}

fn channel() -> impl Strategy<Value = ChannelId> {
    prop_oneof![3 => Just(channels()[0].clone()), 1 => Just(channels()[1].clone())]
}

fn peer() -> impl Strategy<Value = PeerId> {
    prop_oneof![3 => Just(peers()[0].clone()), 1 => Just(peers()[1].clone())]
}

/// `s1` to `s3` are also what `/new` makes.
fn thread() -> impl Strategy<Value = ThreadId> {
    prop::sample::select(names::<ThreadId>(&["main", "t", "s1", "s2", "s3"]))
}

fn session() -> impl Strategy<Value = SessionKey> {
    (archon(), channel(), peer(), thread()).prop_map(|(archon, channel, peer, thread)| SessionKey {
        archon,
        channel,
        peer,
        thread,
    })
}

fn owner() -> impl Strategy<Value = PeerKey> {
    session().prop_map(|session| session.peer_key())
}

/// Mostly one that has turns.
fn known_session(ideal: &Ideal) -> BoxedStrategy<SessionKey> {
    let known = ideal.sessions();
    if known.is_empty() {
        return session().boxed();
    }
    prop_oneof![4 => prop::sample::select(known), 1 => session()].boxed()
}

/// A number: mostly one that was given out, or will be in this very batch.
fn number(given: u64) -> impl Strategy<Value = u64> {
    prop_oneof![12 => 1..given + 3, 1 => Just(0), 1 => Just(given + 99), 1 => Just(u64::MAX)]
}

fn limit() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 0..5_usize, 1 => Just(99), 1 => Just(usize::MAX)]
}

fn accept() -> impl Strategy<Value = Write> {
    let text = prop::sample::select(vec![
        "hello",
        "",
        "hello",
        "/new",
        "/branch",
        "/resume s2",
        "/resume nothing",
        "/status",
        "/newest",
        "\u{1F980}",
    ]);
    let thread = prop_oneof![3 => Just(None), 1 => thread().prop_map(Some)];
    (0..24_u8, archon(), channel(), peer(), thread, text, 0..9_u64, waybill()).prop_map(
        |(key, archon, channel, peer, thread, text, received_unix_ms, waybill)| {
            let (key, text) = (key.to_string(), text.to_owned());
            Write::Accept(InboundMessage {
                archon,
                channel,
                peer,
                key,
                thread,
                text,
                received_unix_ms,
                waybill,
            })
        },
    )
}

fn enclosure() -> impl Strategy<Value = Enclosure> {
    let kind =
        prop::sample::select(vec![EnclosureKind::Picture, EnclosureKind::Recording, EnclosureKind::File]);
    (any::<[u8; 32]>(), kind, any::<u64>()).prop_map(|(hash, kind, bytes)| Enclosure {
        id: MediaId::new(hash),
        kind,
        bytes,
        name: "a.jpg".to_owned(),
    })
}

/// A terminal gives none.
fn waybill() -> impl Strategy<Value = Waybill> {
    let tier = prop::option::of(prop::sample::select(vec![Tier::User, Tier::Owner]));
    let full = (0..9_u8, any::<Option<u64>>(), prop::collection::vec(enclosure(), 0..3), tier);
    let full = full.prop_map(|(chat, written_unix_ms, enclosures, tier)| Waybill {
        reply_to: ReplyTo::new(&format!("chat {chat}")).unwrap_or_default(),
        written_unix_ms,
        enclosures,
        tier,
    });
    prop_oneof![Just(Waybill::default()), full]
}

/// Who knocks, and what the owner says. Times on both sides of an hour; few codes, so that some fit and some are the same.
fn door() -> impl Strategy<Value = Write> {
    let code = || (0..4_u8).prop_map(|code| CodeHash([code; 32]));
    let now = || prop::sample::select(vec![0, 1, 3_599_999, 3_600_000, 7_300_000]);
    let tier = prop::sample::select(vec![Tier::User, Tier::Owner]);
    prop_oneof![
        4 => (with(), code(), now())
            .prop_map(|(with, code, now_unix_ms)| Write::OfferCode { with, code, now_unix_ms }),
        4 => (code(), tier, now())
            .prop_map(|(code, tier, now_unix_ms)| Write::ApproveCode { code, tier, now_unix_ms }),
        1 => with().prop_map(|with| Write::Unpair { with }),
        12 => (with(), link_change(), now())
            .prop_map(|(with, change, now_unix_ms)| Write::Link { with, change, now_unix_ms }),
    ]
}

fn link_change() -> impl Strategy<Value = LinkChange> {
    let code = || (0..4_u8).prop_map(|code| CodeHash([code; 32]));
    prop_oneof![
        3 => code().prop_map(LinkChange::Offer),
        4 => code().prop_map(LinkChange::Join),
        1 => Just(LinkChange::Part),
    ]
}

/// Somebody says a code that another peer of the Archon got, while it is open.
fn join(ideal: &Ideal) -> BoxedStrategy<Write> {
    let open = ideal.bonds.open();
    if open.is_empty() {
        return door().boxed();
    }
    (prop::sample::select(open), channel(), peer())
        .prop_map(|((giver, code, now_unix_ms), channel, peer)| {
            let with = PeerKey { archon: giver.archon, channel, peer };
            Write::Link { with, change: LinkChange::Join(code), now_unix_ms }
        })
        .boxed()
}

/// Mostly of a conversation that there is, to a place that may have it, asked for by a message that waits.
fn hand_off(ideal: &Ideal) -> impl Strategy<Value = Write> + use<> {
    let pairs = ideal.linked_sessions();
    let places = match pairs.is_empty() {
        true => (session(), owner()).boxed(),
        false => prop_oneof![8 => prop::sample::select(pairs), 1 => (session(), owner())].boxed(),
    };
    let free = prop::sample::select(names::<ThreadId>(&["u1", "u2", "u3", "u4"]));
    let thread = prop_oneof![1 => thread(), 3 => free];
    let inbox = match ideal.unanswered() {
        waiting if waiting.is_empty() => number(ideal.said_len()).boxed(),
        waiting => prop_oneof![4 => prop::sample::select(waiting), 1 => number(ideal.said_len())].boxed(),
    };
    (places, thread, inbox, 0..9_u8, any::<u64>()).prop_map(
        |((from, to), thread, inbox, text, now_unix_ms)| {
            let (to, text) = (to.session(thread), format!("gone {text}"));
            Write::HandOff(HandOff { from, to, inbox: InboxId(inbox), text, now_unix_ms })
        },
    )
}

/// What becomes of answers, and how far channels are.
fn delivery(said: u64, given: u64) -> impl Strategy<Value = Write> {
    let receipt = |text: u8| Receipt::new(&text.to_string()).ok();
    let keep = (number(said), 0..9_u8).prop_filter_map("it is short", move |(inbox, text)| {
        Some(Write::KeepReceipt { inbox: InboxId(inbox), receipt: receipt(text)? })
    });
    let give_up = (number(given), 0..9_u8, any::<u64>()).prop_map(|(outbox, why, now_unix_ms)| {
        Write::GiveUp { outbox: OutboxId(outbox), reason: format!("because {why}"), now_unix_ms }
    });
    let again = number(given).prop_map(|outbox| Write::DeliverAgain { outbox: OutboxId(outbox) });
    let cursor =
        (archon(), channel(), 0..9_u8, any::<u64>()).prop_map(|(archon, channel, place, moved_unix_ms)| {
            let cursor = Cursor { place: place.to_string().into(), moved_unix_ms };
            Write::MoveCursor { archon, channel, cursor }
        });
    prop_oneof![3 => keep, 2 => give_up, 2 => again, 1 => cursor]
}

fn keep_note() -> impl Strategy<Value = Write> {
    let text = prop::sample::select(vec!["blue stones", "hello", "a river of words"]);
    (owner(), prop::option::of(Just("rivers")), text, 0..9_u64).prop_map(
        |(owner, topic, text, created_unix_ms)| {
            let (topic, text) = (topic.map(str::to_owned), text.to_owned());
            Write::KeepNote(NewNote { owner, topic, text, created_unix_ms })
        },
    )
}

fn maker() -> impl Strategy<Value = Maker> {
    let model = prop::sample::select(names::<ModelId>(&["m"]));
    (model, prop::sample::select(vec!["1", "2"]))
        .prop_map(|(model, version)| Maker { model, version: version.to_owned() })
}

/// Mostly of a text that waits for it.
fn keep_vector(ideal: &Ideal) -> BoxedStrategy<Write> {
    let awaited: Vec<Remembered> = ideal.unindexed().into_iter().map(|unindexed| unindexed.of).collect();
    let any_note = (owner(), number(ideal.notes_len()), 0..2_u64).prop_map(|(owner, id, stamp)| Remembered {
        owner,
        place: Place::Note(NoteId(id)),
        stamp,
    });
    let any_turn = (session(), 0..4_u64, number(ideal.said_len())).prop_map(|(session, number, stamp)| {
        let (owner, thread) = (session.peer_key(), session.thread);
        Remembered { owner, place: Place::Turn { thread, number }, stamp }
    });
    let of = match awaited.is_empty() {
        true => prop_oneof![any_note, any_turn].boxed(),
        false => prop_oneof![8 => prop::sample::select(awaited), 1 => any_note, 1 => any_turn].boxed(),
    };
    let vector = (-9..9_i8).prop_map(|number| Vector::of(&[f32::from(number), 1.0]));
    (maker(), of, vector).prop_map(|(maker, of, vector)| Write::KeepVector { maker, of, vector }).boxed()
}

fn notes_of() -> impl Strategy<Value = NotesOf> {
    prop_oneof![
        1 => Just(NotesOf::House),
        1 => archon().prop_map(NotesOf::Archon),
        2 => owner().prop_map(NotesOf::Peer),
    ]
}

fn note_question(notes: u64) -> impl Strategy<Value = Question> {
    let place = (owner(), number(notes)).prop_map(|(owner, id)| NotePlace { owner, id: NoteId(id) });
    // Words that are no parts of others: those the ideal store does not know.
    let words = prop::sample::select(vec!["hello", "Stone", "the", "", "rivers, and words?", "nothing such"]);
    prop_oneof![
        (notes_of(), prop::option::of(place), limit()).prop_map(|(of, after, limit)| Question::Notes {
            of,
            after,
            limit
        }),
        (owner(), words)
            .prop_map(|(owner, question)| Question::Recall { owner, question: question.to_owned() }),
    ]
}

fn call() -> impl Strategy<Value = ToolCall> {
    (0..9_u8, prop::sample::select(vec!["{}", "", r#"{"path":"a"}"#])).prop_map(|(id, arguments)| ToolCall {
        id: format!("call {id}"),
        name: "read".to_owned(),
        arguments: arguments.to_owned(),
    })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (0..9_u8).prop_map(|text| Outcome::Done { text: format!("lines {text}") }),
        Just(Outcome::Failed { text: String::new() }),
        Just(Outcome::Unknown),
    ]
}

fn step() -> impl Strategy<Value = ToolStep> {
    let record = (call(), outcome()).prop_map(|(call, outcome)| CallRecord { call, outcome });
    (prop::sample::select(vec!["", "let me see"]), prop::collection::vec(record, 0..3))
        .prop_map(|(text, calls)| ToolStep { text: text.to_owned(), calls })
}

/// In no order that makes sense: a store keeps the order that it is given.
fn journal_entry() -> impl Strategy<Value = JournalEntry> {
    let asked = (prop::sample::select(vec!["", "let me see"]), prop::collection::vec(call(), 0..3));
    prop_oneof![
        asked.prop_map(|(text, calls)| JournalEntry::Asked { text: text.to_owned(), calls }),
        call().prop_map(|call| JournalEntry::Approved { call: call.id }),
        call().prop_map(|call| JournalEntry::Begun { call: call.id }),
        (call(), outcome()).prop_map(|(call, outcome)| JournalEntry::Ended { call: call.id, outcome }),
        (0..9_u64).prop_map(|id| JournalEntry::Heard { inbox: InboxId(id), text: "and milk".to_owned() }),
    ]
}

fn end_turn(said: u64) -> impl Strategy<Value = Write> {
    let kind = prop::sample::select(vec![AnswerKind::Answer, AnswerKind::Notice, AnswerKind::Failure]);
    let model = prop::sample::select(names::<ModelId>(&["gemma-4-e4b"]));
    let steps = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(step(), 0..3)];
    let aside = (number(said), 0..3_usize).prop_map(|(inbox, after)| {
        let text = "and milk".to_owned();
        Aside { inbox: InboxId(inbox), after, text }
    });
    let asides = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(aside, 0..3)];
    let fault = prop::sample::select(vec![None, Some("it is damaged".to_owned())]);
    let brought = (enclosure(), fault).prop_map(|(enclosure, fault)| Brought { enclosure, fault });
    let brought = prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(brought, 0..3)];
    let turn = (model, any::<(bool, bool)>(), steps, asides, brought, any::<u32>()).prop_map(
        |(model, (stopped, replaces_last), steps, asides, brought, prompt_tokens)| NewTurn {
            user: "hello".to_owned(),
            answer: format!("words {prompt_tokens}"),
            stopped,
            model,
            steps,
            asides,
            brought,
            usage: Usage { prompt_tokens, ..Usage::default() },
            replaces_last,
        },
    );
    (number(said), prop::option::weighted(0.8, turn), kind, 0..9_u8, any::<u64>()).prop_map(
        |(inbox, turn, kind, text, ended_unix_ms)| {
            let answer = NewAnswer { kind, text: format!("answer {text}") };
            Write::EndTurn(TurnEnd { inbox: InboxId(inbox), turn, answer, ended_unix_ms })
        },
    )
}

fn with() -> impl Strategy<Value = PeerKey> {
    (archon(), channel(), peer()).prop_map(|(archon, channel, peer)| PeerKey { archon, channel, peer })
}

fn grant() -> impl Strategy<Value = Grant> {
    let command = prop::sample::select(vec![None, Some(""), Some("ls"), Some("ls -l")]);
    (prop::sample::select(vec!["bash", "bashful"]), command)
        .prop_map(|(tool, command)| Grant { tool: tool.to_owned(), command: command.map(str::to_owned) })
}

fn options() -> impl Strategy<Value = SessionOptions> {
    let model = || prop::option::of(prop::sample::select(names::<ModelId>(&["gemma-4-e4b", "m"])));
    let footer = prop::sample::select(vec![Footer::Off, Footer::Tokens, Footer::Full]);
    let busy = prop::sample::select(Busy::ALL.to_vec());
    (model(), model(), footer, busy).prop_map(|(model, model_once, footer, busy)| SessionOptions {
        model,
        model_once,
        footer,
        busy,
    })
}

fn write(ideal: &Ideal) -> impl Strategy<Value = Write> + use<> {
    let (said, given) = (ideal.said_len(), ideal.given_len());
    let summary =
        (known_session(ideal), 0..5_u64, 0..9_u8).prop_map(|(session, turns, text)| Write::SetSummary {
            session,
            summary: Summary { text: format!("so far {text}"), turns, called: vec![text.to_string()] },
        });
    let journal = (number(said), prop::collection::vec(journal_entry(), 0..4))
        .prop_map(|(inbox, entries)| Write::Journal { inbox: InboxId(inbox), entries });
    let rewind =
        (known_session(ideal), 0..4_u64).prop_map(|(session, turns)| Write::Rewind { session, turns });
    let choose = (known_session(ideal), options(), any::<u64>())
        .prop_map(|(session, options, now_unix_ms)| Write::SetOptions { session, options, now_unix_ms });
    // Where some may go, many do.
    let hand_offs = if ideal.linked_sessions().is_empty() { 1 } else { 16 };
    prop_oneof![
        8 => accept(),
        2 => rewind,
        2 => choose,
        1 => (with(), grant()).prop_map(|(with, grant)| Write::AddGrant { with, grant }),
        1 => (with(), grant()).prop_map(|(with, grant)| Write::RemoveGrant { with, grant }),
        6 => journal,
        2 => number(said).prop_map(|id| Write::BeginAttempt { inbox: InboxId(id) }),
        8 => end_turn(said),
        4 => number(given).prop_map(|id| Write::MarkSent { outbox: OutboxId(id) }),
        5 => delivery(said, given),
        4 => door(),
        6 => join(ideal),
        4 => summary,
        hand_offs => hand_off(ideal),
        1 => known_session(ideal).prop_map(|session| Write::RemoveSession { session }),
        3 => keep_note(),
        1 => maker().prop_map(Write::UseMaker),
        4 => keep_vector(ideal),
        1 => (owner(), number(ideal.notes_len())).prop_map(|(owner, note)| Write::ForgetNote { owner, note: NoteId(note) }),
    ]
}

fn question(ideal: &Ideal) -> impl Strategy<Value = Question> + use<> {
    prop_oneof![5 => house_question(ideal), 2 => note_question(ideal.notes_len())]
}

fn house_question(ideal: &Ideal) -> impl Strategy<Value = Question> + use<> {
    let (said, given) = (ideal.said_len(), ideal.given_len());
    let after = |last| prop::option::of(number(last));
    prop_oneof![
        (archon(), after(said), limit()).prop_map(|(archon, after, limit)| Question::Pending {
            archon,
            after: after.map(InboxId),
            limit
        }),
        (known_session(ideal), number(3), limit()).prop_map(|(key, from, limit)| Question::Turns {
            key,
            from,
            limit
        }),
        (prop::option::of(archon()), prop::option::of(known_session(ideal)), limit())
            .prop_map(|(archon, after, limit)| Question::Sessions { archon, after, limit }),
        (channel(), prop::option::of((archon(), peer())), after(given), limit()).prop_map(
            |(channel, peer, after, limit)| Question::Undelivered {
                channel,
                peer,
                after: after.map(OutboxId),
                limit
            }
        ),
        with().prop_map(|with| Question::SessionsWith { with }),
        with().prop_map(|with| Question::Grants { with }),
        (prop::option::of(channel()), after(given), limit()).prop_map(|(channel, after, limit)| {
            Question::Undeliverable { channel, after: after.map(OutboxId), limit }
        }),
        number(said).prop_map(|inbox| Question::Receipt { inbox: InboxId(inbox) }),
        (archon(), channel()).prop_map(|(archon, channel)| Question::Cursor { archon, channel }),
        with().prop_map(|with| Question::Paired { with }),
        with().prop_map(|with| Question::Linked { with }),
        Just(Question::Pairings),
        Just(Question::Knocks),
        number(said).prop_map(|inbox| Question::AnswerTo { inbox: InboxId(inbox) }),
        number(said).prop_map(|inbox| Question::Journal { inbox: InboxId(inbox) }),
        known_session(ideal).prop_map(|key| Question::Session { key }),
        archon().prop_map(|archon| Question::PendingLen { archon }),
        (archon(), channel(), peer()).prop_map(|(archon, channel, peer)| Question::CurrentThread {
            archon,
            channel,
            peer
        }),
    ]
}

impl ReferenceStateMachine for Story {
    type State = Ideal;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Ideal> {
        Just(Ideal::default()).boxed()
    }

    fn transitions(ideal: &Ideal) -> BoxedStrategy<Step> {
        prop_oneof![
            8 => prop::collection::vec(write(ideal), 0..5).prop_map(Step::Commit),
            6 => question(ideal).prop_map(Step::Ask),
            1 => Just(Step::Reopen),
        ]
        .boxed()
    }

    fn apply(mut ideal: Ideal, step: &Step) -> Ideal {
        match step {
            Step::Commit(batch) => ideal.commit(batch),
            Step::Ask(_) | Step::Reopen => {}
        }
        ideal
    }
}
