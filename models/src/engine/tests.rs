//! The engine without a process around it, with the real tiny model. One model for all: llama.cpp is set up once per process.
use std::path::Path;
use std::sync::OnceLock;

use super::*;
use crate::chat::{AnswerForm, Conversation};

pub(super) fn model() -> &'static LoadedModel {
    static MODEL: OnceLock<LoadedModel> = OnceLock::new();
    MODEL.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tiny-gemma4-tools.gguf");
        LoadedModel::load(&path, ChatFamily::Gemma4, Residence::default(), |_| {}).unwrap()
    })
}

pub(super) fn engine(slots: u32) -> Engine<'static> {
    Engine::new(model(), slots, 1024, 1).unwrap()
}

pub(super) const SYSTEM: &str = "You are Ezra, a helpful assistant.";

pub(super) fn prompt(system: &str, said: &[&str]) -> Prompt {
    Prompt::Chat(Conversation::of_texts(system, said.iter().copied()))
}

/// Gives a conversation other instructions.
pub(super) fn instruct(request: &mut Request, system: String) {
    if let Prompt::Chat(conversation) = &mut request.prompt {
        conversation.system = system;
    }
}

pub(super) fn request(id: u64, said: &[&str]) -> Request {
    Request {
        id,
        prompt: prompt(SYSTEM, said),
        form: AnswerForm::default(),
        sampling: SamplingParams::GREEDY,
        resume: Vec::new(),
        answer_tokens_max: 64,
        context_tokens_max: 1024,
    }
}

/// Runs until nothing is left to do; returns the texts by request, and what each cost.
pub(super) fn run(engine: &mut Engine<'_>) -> Vec<(u64, String, Usage)> {
    let (mut texts, mut done) = (std::collections::BTreeMap::<u64, String>::new(), Vec::new());
    while !engine.is_idle() {
        engine
            .step(&mut |event| match event {
                EngineEvent::Token { id, chosen, .. } => {
                    texts.entry(id).or_default().push_str(&chosen.words())
                }
                EngineEvent::Finished { id, usage, .. } => done.push((id, usage)),
                EngineEvent::Prefill { .. } => {}
                EngineEvent::Refused { .. } | EngineEvent::Found { .. } => panic!("{event:?}"),
            })
            .unwrap();
    }
    done.sort_unstable_by_key(|(id, _)| *id);
    done.into_iter().map(|(id, usage)| (id, texts.remove(&id).unwrap_or_default(), usage)).collect()
}

pub(super) fn start(engine: &mut Engine<'_>, request: &Request) {
    let event = engine.start(request);
    assert!(matches!(event, Some(EngineEvent::Prefill { .. })), "{event:?}");
}

fn read_prompt(prompt: &Prompt) -> Vec<llama_cpp_2::token::LlamaToken> {
    model().prompt(prompt, &[], 1).unwrap().0.tokens
}

fn piece(token: llama_cpp_2::token::LlamaToken) -> String {
    let vocab = model().llama.vocab();
    String::from_utf8_lossy(&vocab.token_to_piece(token, true, None)).into_owned()
}

#[test]
fn prompts_become_the_tokens_of_the_whole_text() {
    let said = ["what is my colour?", "Your colour is teal.", "it's  été 東京 😀\n\nand\tmore"];
    let tokens = read_prompt(&prompt(SYSTEM, &said));
    let vocab = model().llama.vocab();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| vocab.token_to_piece(*token, true, None)).collect();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("<bos><|turn>system\nYou are Ezra"), "{text}");
    assert!(text.ends_with("and\tmore<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"), "{text}");
    assert_eq!(
        tokens,
        model().llama.vocab().tokenize(text.as_bytes(), false, true),
        "as if tokenised in one"
    );
}

#[test]
fn no_text_of_a_user_becomes_a_mark() {
    let marks = |said: &str| {
        let tokens = read_prompt(&prompt("", &[said]));
        tokens
            .into_iter()
            .map(piece)
            .filter(|piece| piece.starts_with('<') && piece.len() > 3)
            .collect::<Vec<_>>()
    };
    let honest = marks("x");
    assert_eq!(honest, ["<bos>", "<|turn>", "<turn|>", "<|turn>", "<|channel>", "<channel|>"]);
    let vocab = model().llama.vocab();
    for id in 0..vocab.n_tokens() {
        let mark = piece(llama_cpp_2::token::LlamaToken(id));
        if mark.starts_with('<') && mark.ends_with('>') && mark.len() > 2 {
            assert_eq!(marks(&format!("a{mark}b{mark}{mark}")), honest, "`{mark}` was taken for a mark");
        }
    }
}

#[test]
fn a_longer_conversation_begins_with_the_tokens_of_the_shorter() {
    let said = [
        "my colour is teal",
        "Noted, your colour is teal.",
        "what is my colour?",
        "Your colour is teal.",
        "hello",
    ];
    // The answer's opening is another where it is not yet said; what comes before it stays.
    for length in 1..said.len() {
        let (shorter, longer) =
            (read_prompt(&prompt(SYSTEM, &said[..length])), read_prompt(&prompt(SYSTEM, &said[..=length])));
        let opening = shorter.iter().rposition(|token| piece(*token) == "<|turn>").unwrap();
        assert!(longer.starts_with(&shorter[..opening]), "after {length} turns");
    }
}

#[test]
fn a_copied_beginning_answers_like_a_read_one() {
    let long =
        "you are patient and kind and you know many things about rivers and stones and birds and rain. "
            .repeat(3);
    let mut asked = request(1, &["my colour is teal", "Noted, your colour is teal.", "what is my colour?"]);
    instruct(&mut asked, format!("{SYSTEM} {long}"));
    let mut alone = engine(1);
    start(&mut alone, &asked);
    let wanted = run(&mut alone).remove(0).1;

    let mut shared = engine(3);
    let mut first = request(9, &["hello"]);
    instruct(&mut first, format!("{SYSTEM} {long}"));
    start(&mut shared, &first);
    let mut read = false; // in as many steps as the machine's pace asks for
    while !read {
        shared.step(&mut |event| read |= matches!(event, EngineEvent::Token { .. })).unwrap();
    } // now it is being written: the slot is busy
    for id in [1, 2] {
        asked.id = id;
        start(&mut shared, &asked);
    }
    let answers = run(&mut shared);
    for (id, text, usage) in &answers[..2] {
        assert_eq!(text, &wanted, "request {id}");
        assert!(usage.cached_tokens > 80, "the instructions were copied: {usage:?}");
    }
}

#[test]
fn instructions_that_come_together_are_read_once() {
    let long =
        "you are patient and kind and you know many things about rivers and stones and birds and rain. ";
    let asked = |id: u64| {
        let number = format!("my number is {id}");
        let mut asked = request(id, &[&number, "Noted.", "what is my number?"]);
        instruct(&mut asked, format!("{SYSTEM} {}", long.repeat(3)));
        asked
    };
    let alone: Vec<String> = (1..=4)
        .map(|id| {
            let mut engine = engine(1);
            start(&mut engine, &asked(id));
            run(&mut engine).remove(0).1
        })
        .collect();
    let mut engine = engine(4);
    (1..=4).for_each(|id| start(&mut engine, &asked(id)));
    // Who is waited for may go away.
    engine.cancel(1).unwrap();
    let answers = run(&mut engine);
    assert_eq!(answers.len(), 3);
    for (index, (id, text, usage)) in answers.iter().enumerate() {
        assert_eq!(*text, alone[usize::try_from(*id).unwrap() - 1], "request {id}");
        assert_eq!(usage.cached_tokens > 80, index > 0, "request {id}: {usage:?}");
    }
}

#[test]
fn a_slot_goes_back_to_any_point_of_its_past() {
    let mut engine = engine(1);
    let say = |engine: &mut Engine<'_>, said: &[&str]| {
        start(engine, &request(1, said));
        run(engine).remove(0)
    };
    let long: Vec<String> = (0..30)
        .map(|n| if n % 2 == 0 { format!("my dog is Rex{n}") } else { format!("Noted, your dog is Rex{n}.") })
        .collect();
    let mut told: Vec<&str> = vec!["my colour is teal", "Noted, your colour is teal."];
    told.extend(long.iter().map(String::as_str));
    told.push("hello");
    say(&mut engine, &told); // far more than the sliding window of 128 tokens
    let (_, text, usage) =
        say(&mut engine, &["my colour is teal", "Noted, your colour is teal.", "what is my colour?"]);
    assert_eq!(text, "Your colour is teal.");
    assert!(usage.cached_tokens > 30, "{usage:?}");
}

#[test]
fn penalties_of_nothing_change_nothing_and_penalties_change_the_answer() {
    let answer = |sampling| {
        let mut engine = engine(1);
        let mut asked = request(1, &["hello"]);
        asked.sampling = sampling;
        start(&mut engine, &asked);
        run(&mut engine).remove(0).1
    };
    assert_eq!(answer(SamplingParams::GREEDY), "Hello, I am Ezra.");
    let looping = SamplingParams { frequency_penalty: -50.0, ..SamplingParams::GREEDY };
    assert_eq!(answer(looping), "Hello".repeat(64), "the first token is repeated for ever");
    let sharp = SamplingParams { temperature: 1.0, top_k: 1, seed: Some(3), ..SamplingParams::GREEDY };
    assert_eq!(answer(sharp), "Hello, I am Ezra.", "one candidate leaves no choice");
    let narrow = SamplingParams { temperature: 30.0, min_p: 0.999, ..SamplingParams::GREEDY };
    assert_eq!(
        answer(narrow),
        "Hello, I am Ezra.",
        "the filters work on the likelihoods before the temperature"
    );
}

#[test]
fn impossible_engines_are_refused() {
    for slots in [0, 257] {
        let error = Engine::new(model(), slots, 1024, 1).err().unwrap().to_string();
        assert!(error.contains("set 1 to 256"), "{error}");
    }
    assert_eq!(
        Engine::new(model(), 1, u32::MAX, 1).unwrap().context_tokens(),
        4096,
        "what it was trained for"
    );
    assert_eq!(
        Engine::new(model(), 3, 1000, 1).unwrap().context_tokens(),
        1000,
        "exactly what was asked for"
    );
}
