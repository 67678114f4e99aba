//! No conversation's text comes into another's context: many conversations on few slots, with shared instructions, copies, guesses,
//! evictions to disk and back, cancelled answers, and engines that end in the middle and leave what they computed.
use std::collections::BTreeMap;
use std::fs::File;

use proptest::prelude::*;

use super::tests::{SYSTEM, engine, instruct, request, start};
use super::*;

const SLOTS: u32 = 3;
const CONVERSATIONS: usize = 9;
const TURNS: usize = 4;
/// Room for some five of the conversations: the others are evicted from the disk too.
const DISK_BYTES: u64 = 3 << 20;
const MEMORY_BYTES: u64 = 2 << 20;

const COLOURS: [&str; 3] = ["teal", "red", "blue"];
const DOGS: [&str; 3] = ["Rex", "Max", "Tom"];

/// What the user of a conversation says: no two have told the same.
fn said(conversation: usize) -> [String; TURNS] {
    let (colour, dog) = (COLOURS[conversation % 3], DOGS[conversation / 3]);
    [
        format!("my colour is {colour}"),
        format!("my dog is {dog}"),
        "what is my colour?".to_owned(),
        "Summarise this conversation.".to_owned(),
    ]
}

/// Half of the conversations share instructions that are longer than the sliding window.
fn asked(id: u64, conversation: usize, history: &[String]) -> Request {
    let history: Vec<&str> = history.iter().map(String::as_str).collect();
    let mut asked = request(id, &history);
    let wisdom =
        "you are patient and kind and you know many things about rivers and stones and birds and rain. ";
    let times = if conversation.is_multiple_of(2) { 8 } else { 0 };
    instruct(&mut asked, format!("{SYSTEM} {}", wisdom.repeat(times)));
    asked
}

/// A turn of a conversation: what is asked, and the tokens of the answer that it gets when nobody else is there.
#[derive(Debug, Clone)]
struct Turn {
    history: Vec<String>,
    tokens: Vec<i32>,
}

fn spell(tokens: &[i32]) -> String {
    let vocab = super::tests::model().llama.vocab();
    let pieces =
        tokens.iter().map(|token| vocab.token_to_piece(llama_cpp_2::token::LlamaToken(*token), true, None));
    String::from_utf8_lossy(&pieces.flatten().collect::<Vec<u8>>()).into_owned()
}

fn alone(conversation: usize) -> Vec<Turn> {
    let (mut history, mut turns) = (Vec::new(), Vec::new());
    for words in said(conversation) {
        history.push(words);
        let (mut engine, mut tokens, mut text) = (engine(1), Vec::new(), String::new());
        engine.draft_at_most(0);
        start(&mut engine, &asked(1, conversation, &history));
        while !engine.is_idle() {
            let mut hear = |event| {
                if let EngineEvent::Token { token, chosen, .. } = event {
                    tokens.push(token);
                    text.push_str(&chosen.words());
                }
            };
            engine.step(&mut hear).unwrap();
        }
        turns.push(Turn { history: history.clone(), tokens });
        history.push(text);
    }
    turns
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Ask(usize),
    Step(usize),
    Cancel(usize),
    Rest,
    Die,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..CONVERSATIONS).prop_map(Act::Ask),
        6 => (1usize..12).prop_map(Act::Step),
        1 => (0..CONVERSATIONS).prop_map(Act::Cancel),
        2 => Just(Act::Rest),
        1 => Just(Act::Die),
    ]
}

/// An answer under way: which turn of which conversation, and what was told of it.
struct Answer {
    conversation: usize,
    turn: usize,
    told: Vec<i32>,
}

struct Crowd {
    engine: Engine<'static>,
    drafts: bool,
    disk: File,
    memory: File,
    wanted: Vec<Vec<Turn>>,
    next: [usize; CONVERSATIONS],
    running: BTreeMap<u64, Answer>,
    ids: u64,
    /// Answers, tokens that were there already, tokens that came from the disk, guesses that were right.
    seen: [u64; 4],
}

impl Crowd {
    fn new(wanted: Vec<Vec<Turn>>, drafts: bool) -> Self {
        let file = |bytes| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(bytes).unwrap();
            file
        };
        let (disk, memory) = (file(DISK_BYTES), file(MEMORY_BYTES));
        let engine = Self::heir(&disk, &memory, drafts);
        let (next, running) = ([0; CONVERSATIONS], BTreeMap::new());
        Self { engine, drafts, disk, memory, wanted, next, running, ids: 0, seen: [0; 4] }
    }

    fn heir(disk: &File, memory: &File, drafts: bool) -> Engine<'static> {
        let mut engine = engine(SLOTS);
        if drafts {
            engine.draft_with(super::drafter::tests::drafter()).unwrap();
        }
        engine.keep_in(Keepsake::open(memory, 1).unwrap());
        engine.shelve_in(Keepsake::open_on_disk(disk, 1).unwrap());
        engine
    }

    fn begin(&mut self, answer: Answer) {
        self.ids += 1;
        let turn = &self.wanted[answer.conversation][answer.turn];
        let mut asked = asked(self.ids, answer.conversation, &turn.history);
        asked.resume.clone_from(&answer.told);
        self.running.insert(self.ids, answer);
        match self.engine.start(&asked) {
            Some(EngineEvent::Prefill { .. }) => {}
            Some(EngineEvent::Finished { id, usage, .. }) => self.finished(id, usage),
            event => panic!("{event:?}"),
        }
    }

    fn finished(&mut self, id: u64, usage: Usage) {
        let answer = self.running.remove(&id).unwrap();
        let wanted = &self.wanted[answer.conversation][answer.turn];
        assert_eq!(
            spell(&answer.told),
            spell(&wanted.tokens),
            "answer {} of {:?}",
            answer.turn,
            wanted.history
        );
        self.next[answer.conversation] = (answer.turn + 1) % TURNS;
        let counts = [1, usage.cached_tokens, usage.restored_tokens, usage.accepted_tokens];
        self.seen.iter_mut().zip(counts).for_each(|(seen, count)| *seen += u64::from(count));
    }

    fn step(&mut self) {
        let mut ended = Vec::new();
        let running = &mut self.running;
        let mut hear = |event| match event {
            EngineEvent::Token { id, token, .. } => running.get_mut(&id).unwrap().told.push(token),
            EngineEvent::Finished { id, usage, .. } => ended.push((id, usage)),
            EngineEvent::Prefill { .. } => {}
            EngineEvent::Refused { .. } | EngineEvent::Found { .. } => panic!("{event:?}"),
        };
        super::drafter::tests::encourage(&mut self.engine);
        self.engine.step(&mut hear).unwrap();
        ended.into_iter().for_each(|(id, usage)| self.finished(id, usage));
    }

    fn act(&mut self, act: Act) {
        let of = |conversation: usize| {
            self.running.iter().find(|(_, answer)| answer.conversation == conversation).map(|(id, _)| *id)
        };
        match act {
            Act::Ask(conversation) => {
                if of(conversation).is_none() && self.running.len() < SLOTS as usize {
                    self.begin(Answer { conversation, turn: self.next[conversation], told: Vec::new() });
                }
            }
            Act::Step(steps) => {
                for _ in 0..steps {
                    if !self.engine.is_idle() {
                        self.step();
                    }
                    self.engine.keep();
                }
            }
            Act::Cancel(conversation) => {
                if let Some(id) = of(conversation) {
                    self.running.remove(&id);
                    self.engine.cancel(id).unwrap();
                }
            }
            Act::Rest => {
                self.engine.keep_now();
                while self.engine.shelve_resting() {}
            }
            Act::Die => {
                self.engine = Self::heir(&self.disk, &self.memory, self.drafts);
                for answer in std::mem::take(&mut self.running).into_values() {
                    self.begin(answer);
                }
            }
        }
    }
}

#[test]
fn nobody_hears_of_another() {
    let wanted: Vec<_> = (0..CONVERSATIONS).map(alone).collect();
    for (conversation, turns) in wanted.iter().enumerate() {
        let recalled = &turns[3].history[5];
        assert!(recalled.contains(COLOURS[conversation % 3]), "it remembers what it was told: {recalled}");
    }
    let mut seen = [0; 4];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 16,
        max_shrink_iters: 0, // how prompts are cut depends on the pace: the same acts may go well
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let crowds = (prop::collection::vec(act(), 100..200), any::<bool>());
    let told = std::cell::RefCell::new(&mut seen);
    let outcome = runner.run(&crowds, |(acts, drafts)| {
        let mut crowd = Crowd::new(wanted.clone(), drafts);
        acts.into_iter().for_each(|act| crowd.act(act));
        crowd.act(Act::Step(2000));
        assert!(crowd.running.is_empty());
        told.borrow_mut().iter_mut().zip(crowd.seen).for_each(|(all, of_this)| *all += of_this);
        Ok(())
    });
    outcome.unwrap();
    let [answers, cached, restored, guessed] = seen;
    assert!(
        answers > 200 && cached > restored && restored > 10_000 && guessed > 0,
        "all ways were taken: {seen:?}"
    );
}
