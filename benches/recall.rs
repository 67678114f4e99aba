//! How long a question to a long memory takes, on disk: 10,000 turns of one peer, and what else could have been done instead.
//!
//! `ARCHOND_TURNS=100000` asks for another number. One line for each measurement, each with the median and the slowest of its rounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]
use std::path::Path;
use std::time::Duration;

use archond::store::RedbStore;
use archond_actors::domain::{
    AnswerKind, InboundMessage, InboxId, Maker, Meant, NewAnswer, NewNote, NewTurn, PeerKey, Recalled,
    SessionKey, Sought, TurnEnd, Usage, Vector,
};
use archond_actors::ports::{Store, Write};
use archond_actors::recall::{Place, Query, Ranking, turn_terms};
use redb::TableDefinition;
use tokio::time::Instant;

/// Turns that one peer has had.
const TURNS: u64 = 10_000;
/// Turns of each of his conversations.
const TURNS_PER_SESSION: u64 = 50;
/// Times that each question is asked.
const ROUNDS: usize = 15;
/// Words that people use, from the most common on; the n-th comes with a frequency of 1/n, as Zipf found it in every language.
const VOCABULARY: u64 = 20_000;
/// Words of a message and of an answer.
const USER_WORDS: usize = 25;
const ANSWER_WORDS: usize = 150;

/// xorshift64 (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn word(&mut self) -> String {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a draw"
        )]
        let rank = (VOCABULARY as f64).powf(self.next() as f64 / u64::MAX as f64) as u64;
        spelled(rank)
    }

    fn text(&mut self, words: usize) -> String {
        (0..words).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }
}

/// A word that looks like one: syllables by its rank.
fn spelled(mut rank: u64) -> String {
    const SYLLABLES: [&str; 16] = [
        "ka", "ler", "mi", "ton", "su", "ban", "dre", "fol", "ga", "hin", "jo", "pel", "rust", "ver", "wi",
        "zen",
    ];
    let mut word = String::new();
    loop {
        word.push_str(SYLLABLES[usize::try_from(rank % 16).unwrap()]);
        rank /= 16;
        if rank == 0 {
            return word;
        }
    }
}

fn accept(peer: &str, number: u64) -> Write {
    Write::Accept(InboundMessage {
        archon: "ezra".parse().unwrap(),
        channel: "cli".parse().unwrap(),
        peer: peer.parse().unwrap(),
        key: format!("{peer}-{number}"),
        thread: Some(format!("s{}", number / TURNS_PER_SESSION).parse().unwrap()),
        text: "hello".into(),
        received_unix_ms: number,
        waybill: archond_actors::domain::Waybill::default(),
    })
}

fn end(inbox: u64, user: String, answer: String) -> Write {
    let turn = NewTurn {
        user,
        answer: answer.clone(),
        stopped: false,
        model: "gemma-4-e4b".parse().unwrap(),
        steps: Vec::new(),
        asides: Vec::new(),
        brought: Vec::new(),
        usage: Usage::default(),
        replaces_last: false,
    };
    let answer = NewAnswer { kind: AnswerKind::Answer, text: answer };
    Write::EndTurn(TurnEnd { inbox: InboxId(inbox), turn: Some(turn), answer, ended_unix_ms: inbox })
}

/// So many turns of one peer, and as many of another one beside him.
fn fill(store: &RedbStore, turns: u64) {
    let mut random = Random(42);
    let mut last = 0;
    for chunk in (0..turns).collect::<Vec<_>>().chunks(250) {
        let numbers = chunk.iter().flat_map(|number| [("p", *number), ("q", *number)]);
        let mut batch = Vec::new();
        for (peer, number) in numbers {
            last += 1;
            batch.push(accept(peer, number));
            batch.push(end(last, random.text(USER_WORDS), random.text(ANSWER_WORDS)));
        }
        assert!(store.commit(&batch).unwrap().iter().all(Result::is_ok));
    }
    let owner: PeerKey = "ezra/cli/p".parse().unwrap();
    for number in 0..archond_actors::domain::NOTES_MAX as u64 {
        let note = NewNote::new(owner.clone(), None, &random.text(100), number).unwrap();
        assert!(store.commit(&[Write::KeepNote(note)]).unwrap()[0].is_ok());
    }
}

fn measure<T>(what: &str, mut work: impl FnMut(usize) -> T) {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|round| {
            let begun = Instant::now();
            std::hint::black_box(work(round));
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: median {:.1?}, slowest {:.1?}", times[ROUNDS / 2], times[ROUNDS - 1]);
}

/// What would be done without terms beside the turns: every turn is read and taken apart for every question.
fn scan(store: &RedbStore, turns: u64, question: &str) -> Vec<Place> {
    let query = Query::of(question);
    let mut ranking = Ranking::new(&query);
    for session in 0..turns.div_ceil(TURNS_PER_SESSION) {
        let key: SessionKey = format!("ezra/cli/p/s{session}").parse().unwrap();
        for turn in store.turns(&key, 0, usize::MAX).unwrap() {
            let place = Place::Turn { thread: key.thread.clone(), number: turn.number };
            ranking.add_terms(place, &turn_terms(&turn.user, &turn.answer));
        }
    }
    ranking.best(8)
}

/// Peer, word, conversation, turn: how often. Every word of a turn is a row of its own, at a place of its own.
const POSTINGS: TableDefinition<(&str, &str, &str, u64), u32> = TableDefinition::new("postings");

/// What an index by words would cost: how large it is, and how long a turn's end takes with it.
fn inverted(folder: &Path, turns: u64) {
    let path = folder.join("inverted.redb");
    let database = redb::Database::create(&path).unwrap();
    let mut random = Random(42);
    let insert = |random: &mut Random, numbers: std::ops::Range<u64>| {
        let mut txn = database.begin_write().unwrap();
        txn.set_durability(redb::Durability::Immediate).unwrap();
        {
            let mut table = txn.open_table(POSTINGS).unwrap();
            for number in numbers {
                let terms = turn_terms(&random.text(USER_WORDS), &random.text(ANSWER_WORDS));
                let thread = format!("s{}", number / TURNS_PER_SESSION);
                for (term, count) in &terms.counts {
                    table.insert(("ezra/cli/p", term.as_str(), thread.as_str(), number), count).unwrap();
                }
            }
        }
        txn.commit().unwrap();
    };
    for begin in (0..turns).step_by(250) {
        insert(&mut random, begin..begin + 250);
    }
    let size = std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
    println!("instead: an index by words of one peer: {size:.1} MB");
    measure("instead: a turn's end that writes such an index alone", |round| {
        let number = turns + round as u64;
        insert(&mut random, number..number + 1);
    });
}

/// Numbers of the vectors of a usual embedding model.
const WIDTH: usize = 768;

/// A direction.
fn vector(random: &mut Random) -> Vector {
    #[expect(clippy::cast_precision_loss, reason = "a draw")]
    let number = |random: &mut Random| random.next() as f32 / u64::MAX as f32 - 0.5;
    Vector::of(&(0..WIDTH).map(|_| number(random)).collect::<Vec<_>>())
}

fn maker() -> Maker {
    Maker { model: "e".parse().unwrap(), version: "1".to_owned() }
}

/// Gives a vector to all that is remembered.
fn index(store: &RedbStore) {
    let mut random = Random(99);
    store.commit(&[Write::UseMaker(maker())]).unwrap();
    loop {
        let batch = store.unindexed(1000).unwrap();
        if batch.is_empty() {
            return;
        }
        let keep = |of| Write::KeepVector { maker: maker(), of, vector: vector(&mut random) };
        let writes: Vec<Write> = batch.into_iter().map(|unindexed| unindexed.of).map(keep).collect();
        assert!(store.commit(&writes).unwrap().iter().all(Result::is_ok));
    }
}

/// By words alone, and by words and meaning, in turns, so that what slows one slows the other.
fn compare(store: &RedbStore, owner: &PeerKey, question: &str, what: &str) {
    let mut random = Random(5);
    let meant = Meant { maker: maker(), vector: vector(&mut random) };
    let by_words = Sought::by_words(question);
    let both = Sought { meant: Some(meant), ..by_words.clone() };
    let timed = |sought: &Sought| {
        let begun = Instant::now();
        std::hint::black_box(store.find(owner, sought, 8).unwrap());
        begun.elapsed()
    };
    let mut times: Vec<(Duration, Duration)> =
        (0..ROUNDS).map(|_| (timed(&by_words), timed(&both))).collect();
    let mut ratios: Vec<f64> =
        times.iter().map(|(words, both)| both.as_secs_f64() / words.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let mut median = |of: fn(&(Duration, Duration)) -> Duration| {
        times.sort_by_key(of);
        of(&times[ROUNDS / 2])
    };
    let (words, both) = (median(|(words, _)| *words), median(|(_, both)| *both));
    let (least, middle, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
    println!(
        "by words and by meaning, {what}: {words:.1?} and {both:.1?}, {middle:.2} times as long ({least:.2} to {most:.2})"
    );
}

fn main() {
    let turns = std::env::var("ARCHOND_TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(TURNS);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    fill(&store, turns);
    drop(store);
    println!(
        "{turns} turns of each of two peers: {:.1} MB",
        std::fs::metadata(&path).unwrap().len() as f64 / 1e6
    );

    let store = RedbStore::open(&path).unwrap();
    let owner: PeerKey = "ezra/cli/p".parse().unwrap();
    let (common, rare) = (spelled(3), spelled(17_000));
    let questions =
        [rare.clone(), format!("{common} {rare}"), (1..=16).map(spelled).collect::<Vec<_>>().join(" ")];
    let ask = |question: &str| store.recall(&owner, question, 8).unwrap();
    let begun = Instant::now();
    ask(&rare);
    println!("the first question after the start: {:.1?}", begun.elapsed());
    for (question, what) in
        questions.iter().zip(["one rare word", "a rare and a common one", "sixteen common ones"])
    {
        measure(&format!("recall, {what}"), |_| ask(question));
        let own = |found: &Recalled| match found {
            Recalled::Note(note) => note.owner == owner,
            Recalled::Turn { session, .. } => owner.holds(session),
        };
        assert!(ask(question).iter().all(own), "another peer's");
    }
    measure("instead: every turn is taken apart anew", |_| scan(&store, turns, &questions[1]));

    let begun = Instant::now();
    index(&store);
    let size = std::fs::metadata(&path).unwrap().len() as f64 / 1e6;
    println!(
        "vectors of {WIDTH} numbers for all of both peers: kept in {:.1?}, {size:.1} MB",
        begun.elapsed()
    );
    for (question, what) in
        questions.iter().zip(["one rare word", "a rare and a common one", "sixteen common ones"])
    {
        compare(&store, &owner, question, what);
    }

    let mut random = Random(7);
    let text = (random.text(USER_WORDS), random.text(ANSWER_WORDS));
    measure("taking one turn apart", |_| turn_terms(&text.0, &text.1));
    let mut last = turns * 2;
    measure("a turn's end, durable, with its terms", |round| {
        last += 1;
        let ends = [accept("r", round as u64), end(last, text.0.clone(), text.1.clone())];
        store.commit(&ends).unwrap()
    });
    inverted(folder.path(), turns);
}
