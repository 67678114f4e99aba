//! Which way each answer took: the stations of a message between inbox and outbox, noted by those who are the stations.
//!
//! Memory notes both ends, because there is no other way in or out; each layer between notes that it took the message up, not that it gave
//! it on. So an answer that somebody wrote past the harness lacks the harness's note. Nothing that was said is kept here, and what is kept
//! is bounded: the last answers, and the messages under way.
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{AnswerKind, GenerationId, InboxId, ModelId, OutboxEntry, SessionKey};

/// Answers whose ways are kept.
const ANSWERS_MAX: usize = 256;
/// Messages under way whose stations are kept: more than can be under way without waiting in the store.
const OPEN_MAX: usize = 4096;
/// Stations of one message. A turn with many steps asks the pool often: its first stations and its last are kept.
const STATIONS_MAX: usize = 64;

/// Where a message was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Station {
    /// Memory wrote it into the inbox. Not there when an earlier life of the daemon did.
    Inbox,
    /// The fit layer dispatched it.
    Hermes {
        /// Which try.
        attempt: u32,
    },
    /// The harness took it up.
    Harness {
        /// Which try.
        attempt: u32,
    },
    /// Its session took it up.
    Session {
        /// Which try.
        attempt: u32,
    },
    /// The session goes on from what was written down of an earlier try: its model may have been asked in an earlier life of the daemon.
    Journal,
    /// The pool took up a request for it.
    Pool {
        /// Which.
        request: GenerationId,
    },
    /// A worker has that request.
    Worker {
        /// Which model.
        model: ModelId,
        /// The worker's process, where it is one of this machine.
        pid: Option<u32>,
    },
}

impl Station {
    /// Its name, for people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Hermes { .. } => "hermes",
            Self::Harness { .. } => "harness",
            Self::Session { .. } => "session",
            Self::Journal => "journal",
            Self::Pool { .. } => "pool",
            Self::Worker { .. } => "worker",
        }
    }
}

/// The way of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTrail {
    /// The message.
    pub inbox: InboxId,
    /// Whose answer, and where it goes.
    pub session: SessionKey,
    /// What the answer is.
    pub kind: AnswerKind,
    /// When memory wrote it into the outbox, in milliseconds since the Unix epoch.
    pub answered_unix_ms: u64,
    /// In their order.
    pub stations: Vec<Station>,
}

impl AnswerTrail {
    /// The stations that such an answer must have passed and has not, in this order.
    ///
    /// An Archon's own words come from a model, by all of them; the house's words, from the harness. Only why there is no answer may come
    /// from the fit layer itself. A turn that goes on from its journal may end without asking a model again.
    pub fn missing(&self) -> Vec<&'static str> {
        let goes_on = self.stations.contains(&Station::Journal);
        let needed: &[&'static str] = match self.kind {
            AnswerKind::Answer if goes_on => &["hermes", "harness", "session", "journal"],
            AnswerKind::Answer => &["hermes", "harness", "session", "pool", "worker"],
            AnswerKind::Notice => &["hermes", "harness"],
            AnswerKind::Failure => &["hermes"],
        };
        let mut behind = self.stations.as_slice();
        // What comes out of order was not passed on the way.
        let mut passed = |wanted: &str| {
            let at = behind.iter().position(|station| station.name() == wanted);
            behind = at.and_then(|at| behind.get(at + 1..)).unwrap_or(behind);
            at.is_some()
        };
        needed.iter().copied().filter(|wanted| !passed(wanted)).collect()
    }

    /// Who spoke, in a word: `model`, `harness` or, of failures alone, `hermes` where nobody behind it took the message up.
    pub fn speaker(&self) -> &'static str {
        let passed = |name: &str| self.stations.iter().any(|station| station.name() == name);
        match self.kind {
            AnswerKind::Answer => "model",
            AnswerKind::Failure if !passed("harness") => "hermes",
            AnswerKind::Notice | AnswerKind::Failure => "harness",
        }
    }
}

/// The ways of the last answers, and of the messages under way.
#[derive(Debug, Clone, Default)]
pub struct Trail(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    open: BTreeMap<InboxId, Vec<Station>>,
    answered: VecDeque<AnswerTrail>,
}

impl Trail {
    /// A message is at this station.
    pub fn note(&self, inbox: InboxId, station: Station) {
        let mut notes = self.lock();
        let is_answered = notes.answered.iter().rev().any(|answer| answer.inbox == inbox);
        if is_answered {
            return;
        }
        if !notes.open.contains_key(&inbox) && !notes.has_room_for(&station) {
            return;
        }
        let stations = notes.open.entry(inbox).or_default();
        if stations.last() == Some(&station) {
            return;
        }
        if stations.len() >= STATIONS_MAX {
            stations.remove(STATIONS_MAX / 2);
        }
        stations.push(station);
    }

    /// The same, where it may be there many times before it goes on: it is noted once.
    pub fn note_once(&self, inbox: InboxId, station: Station) {
        let is_noted = self.lock().open.get(&inbox).is_some_and(|stations| stations.contains(&station));
        if !is_noted {
            self.note(inbox, station);
        }
    }

    /// Memory wrote the answer to a message. Written again, it is the first answer that stands.
    pub fn answered(&self, entry: &OutboxEntry) {
        let mut notes = self.lock();
        if notes.answered.iter().rev().any(|answer| answer.inbox == entry.answers) {
            return;
        }
        let answer = AnswerTrail {
            inbox: entry.answers,
            session: entry.session.clone(),
            kind: entry.kind,
            answered_unix_ms: entry.created_unix_ms,
            stations: notes.open.remove(&entry.answers).unwrap_or_default(),
        };
        if notes.answered.len() >= ANSWERS_MAX {
            notes.answered.pop_front();
        }
        notes.answered.push_back(answer.clone());
        drop(notes);
        tell(&answer);
    }

    /// The ways of the last answers, oldest first.
    pub fn answers(&self) -> Vec<AnswerTrail> {
        self.lock().answered.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        // A panic cannot leave half a note: each is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// Makes room for one more message. One that waits is forgotten first: it will be noted again when it is dispatched. Of those under
    /// way the oldest goes, whose session was removed.
    fn has_room_for(&mut self, station: &Station) -> bool {
        if self.open.len() < OPEN_MAX {
            return true;
        }
        if *station == Station::Inbox {
            return false;
        }
        let waits = |(_, stations): &(&InboxId, &Vec<Station>)| **stations == [Station::Inbox];
        let waiting = self.open.iter().rev().find(waits).map(|(inbox, _)| *inbox);
        match waiting {
            Some(inbox) => drop(self.open.remove(&inbox)),
            None => drop(self.open.pop_first()),
        }
        true
    }
}

/// Writes a way into the log, where it outlives the daemon.
fn tell(answer: &AnswerTrail) {
    let AnswerTrail { inbox, session, .. } = answer;
    let (stations, missing) = (words(&answer.stations), answer.missing());
    if missing.is_empty() {
        tracing::debug!(%inbox, %session, stations, speaker = answer.speaker(), "answered");
    } else {
        tracing::error!(%inbox, %session, stations, ?missing, "an answer did not pass every station");
    }
}

/// The stations in one line.
fn words(stations: &[Station]) -> String {
    let word = |station: &Station| match station {
        Station::Inbox | Station::Journal => station.name().to_owned(),
        Station::Hermes { attempt } | Station::Harness { attempt } | Station::Session { attempt } => {
            format!("{}#{attempt}", station.name())
        }
        Station::Pool { request } => format!("pool({request})"),
        Station::Worker { model, pid } => match pid {
            Some(pid) => format!("worker({model}, process {pid})"),
            None => format!("worker({model})"),
        },
    };
    stations.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OutboxId;

    fn stations(text: &str) -> Vec<Station> {
        let station = |word: &str| match word {
            "inbox" => Station::Inbox,
            "hermes" => Station::Hermes { attempt: 1 },
            "harness" => Station::Harness { attempt: 1 },
            "session" => Station::Session { attempt: 1 },
            "journal" => Station::Journal,
            "pool" => Station::Pool { request: GenerationId(1) },
            _ => Station::Worker { model: "m".parse().unwrap(), pid: Some(7) },
        };
        text.split_whitespace().map(station).collect()
    }

    fn entry(inbox: u64, kind: AnswerKind) -> OutboxEntry {
        OutboxEntry {
            id: OutboxId(inbox),
            answers: InboxId(inbox),
            key: "k".into(),
            session: "ezra/cli/p/main".parse().unwrap(),
            kind,
            text: "secret".into(),
            attachments: Vec::new(),
            created_unix_ms: 5,
            reply_to: crate::domain::ReplyTo::default(),
        }
    }

    fn trail(way: &str, kind: AnswerKind) -> AnswerTrail {
        let trail = Trail::default();
        for station in stations(way) {
            trail.note(InboxId(1), station);
        }
        trail.answered(&entry(1, kind));
        trail.answers().remove(0)
    }

    #[track_caller]
    fn check(kind: AnswerKind, way: &str, missing: &[&str], speaker: &str) {
        let answer = trail(way, kind);
        assert_eq!((answer.missing(), answer.speaker()), (missing.to_vec(), speaker), "{way}");
    }

    #[test]
    fn what_an_answer_must_have_passed_depends_on_whose_words_it_is() {
        use AnswerKind::{Answer, Failure, Notice};
        check(Answer, "inbox hermes harness session pool worker", &[], "model");
        check(Answer, "hermes harness session pool worker", &[], "model");
        check(
            Answer,
            "inbox hermes harness session hermes harness session pool worker pool worker",
            &[],
            "model",
        );
        check(Answer, "inbox hermes", &["harness", "session", "pool", "worker"], "model");
        check(Answer, "", &["hermes", "harness", "session", "pool", "worker"], "model");
        check(Answer, "inbox hermes harness session", &["pool", "worker"], "model");
        check(Answer, "inbox hermes session pool worker", &["harness"], "model");
        check(Answer, "inbox harness hermes", &["harness", "session", "pool", "worker"], "model");
        check(Answer, "hermes harness session journal", &[], "model");
        check(Answer, "hermes journal", &["harness", "session"], "model");
        check(Notice, "inbox hermes harness", &[], "harness");
        check(Notice, "inbox hermes", &["harness"], "harness");
        check(Failure, "inbox hermes harness session", &[], "harness");
        check(Failure, "inbox hermes", &[], "hermes");
        check(Failure, "inbox", &["hermes"], "hermes");
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let trail = Trail::default();
        for n in 0..1000 {
            trail.note(InboxId(n), Station::Inbox);
            trail.answered(&entry(n, AnswerKind::Notice));
        }
        let answers = trail.answers();
        assert_eq!((answers.len(), answers[0].inbox, answers[255].inbox), (256, InboxId(744), InboxId(999)));
        for n in 2000..12_000 {
            trail.note(InboxId(n), Station::Inbox);
        }
        assert!(trail.lock().open.len() <= OPEN_MAX);
        trail.note(InboxId(20_000), Station::Hermes { attempt: 1 });
        assert!(trail.lock().open.contains_key(&InboxId(20_000)), "what is dispatched is never left out");
        assert_eq!(trail.lock().open.len(), OPEN_MAX);
        for n in 0..1000 {
            trail.note(InboxId(2000), Station::Pool { request: GenerationId(n) });
        }
        let kept = trail.lock().open[&InboxId(2000)].clone();
        assert_eq!((kept.len(), &kept[0]), (STATIONS_MAX, &Station::Inbox));
        assert_eq!(kept[STATIONS_MAX - 1], Station::Pool { request: GenerationId(999) });
    }

    #[test]
    fn a_late_note_and_a_second_answer_change_nothing() {
        let trail = Trail::default();
        trail.note(InboxId(1), Station::Hermes { attempt: 1 });
        trail.answered(&entry(1, AnswerKind::Failure));
        let before = trail.answers();
        trail.note(InboxId(1), Station::Harness { attempt: 1 });
        trail.answered(&entry(1, AnswerKind::Answer));
        assert_eq!(trail.answers(), before);
        assert!(trail.lock().open.is_empty());
    }
}
