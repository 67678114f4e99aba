//! Drafting with the tiny drafter, which is right about some of what the tiny model says and wrong about the rest.
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::*;
use crate::engine::draft_tests::{COLOUR, Told, pace, plain};
use crate::engine::tests::{engine, model, request, start};
use crate::engine::{EngineEvent, Finish, Request, SamplingParams, Usage};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn load(path: &Path) -> Result<DraftModel, EngineError> {
    DraftModel::load(path, &data("tiny-gemma4-tools.gguf"), model(), Residence::default())
}

pub(in crate::engine) fn drafter() -> &'static DraftModel {
    static DRAFTER: OnceLock<DraftModel> = OnceLock::new();
    DRAFTER.get_or_init(|| load(&data("tiny-drafter.gguf")).unwrap())
}

/// Lets the drafter, if there is one, forget how often it was wrong, and what it takes.
pub(in crate::engine) fn encourage(engine: &mut Engine<'_>) {
    if let Some(drafter) = &mut engine.drafter {
        drafter.trust = Trust::new(pace(0.0, 0.0));
    }
}

fn drafting(slots: u32) -> Engine<'static> {
    let mut engine = engine(slots);
    engine.draft_with(drafter()).unwrap();
    engine
}

/// Steps until the answers are written, each as if rows and drafts cost nothing, so that all guesses are computed. Before each step
/// `meddle` may do something.
fn answers(
    engine: &mut Engine<'_>,
    requests: &[Request],
    mut meddle: impl FnMut(&mut Engine<'_>, usize),
) -> (Vec<Told>, usize) {
    requests.iter().for_each(|request| start(engine, request));
    let (mut told, mut steps) = (vec![(Vec::new(), None, Usage::default()); requests.len()], 0);
    while !engine.is_idle() {
        meddle(engine, steps);
        steps += 1;
        engine.pace = pace(0.1, 0.0);
        encourage(engine);
        // Of those that `meddle` ended nothing more is told.
        let place = |id| requests.iter().position(|request| request.id == id);
        let mut hear = |event| match event {
            EngineEvent::Token { id, token, .. } => told[place(id).unwrap()].0.push(token),
            EngineEvent::Finished { id, reason, usage } => {
                let told = &mut told[place(id).unwrap()];
                (told.1, told.2) = (Some(reason), usage);
            }
            EngineEvent::Prefill { .. } => {}
            EngineEvent::Refused { .. } | EngineEvent::Found { .. } => panic!("{event:?}"),
        };
        engine.step(&mut hear).unwrap();
    }
    (told, steps)
}

fn undisturbed(_: &mut Engine<'_>, _: usize) {}

/// Compares with what an engine says that guesses nothing. Returns what was guessed, how much of it was right, and the steps saved.
#[track_caller]
fn check_same(requests: &[Request]) -> (u32, u32, usize) {
    let slots = u32::try_from(requests.len()).unwrap();
    let (wanted, steps) = answers(&mut plain(slots), requests, undisturbed);
    let (got, fewer) = answers(&mut drafting(slots), requests, undisturbed);
    let (mut guessed, mut right) = (0, 0);
    for ((wanted, reason, _), (tokens, because, usage)) in wanted.iter().zip(&got) {
        assert_eq!((tokens, because), (wanted, reason));
        assert!(usage.accepted_tokens <= usage.drafted_tokens, "{usage:?}");
        assert_eq!(usage.answer_tokens as usize, tokens.len());
        (guessed, right) = (guessed + usage.drafted_tokens, right + usage.accepted_tokens);
    }
    (guessed, right, steps - fewer)
}

fn says(id: u64, said: &[&str]) -> Request {
    request(id, said)
}

#[test]
fn an_answer_that_repeats_nothing_takes_fewer_steps_and_is_the_same() {
    let (guessed, right, saved) = check_same(&[says(1, &["hello"])]);
    assert!(right >= 3 && saved >= 2, "{right} of {guessed} were right, {saved} steps saved");
    assert!(right < guessed, "and what was wrong was taken back: {right} of {guessed}");
}

#[test]
fn several_answers_are_guessed_side_by_side() {
    let asked = [says(1, &["hello"]), says(2, &COLOUR[..1]), says(3, &COLOUR), says(4, &["my dog is Rex"])];
    let (guessed, right, saved) = check_same(&asked);
    assert!(right >= 8 && guessed > right && saved >= 2, "{right} of {guessed}, {saved} steps saved");
}

#[test]
fn nothing_that_is_drawn_changes_either() {
    // Not beyond the end of the answers: what the model says there is drawn from so many words of equal likelihood that another
    // rounding, which batches of another size have with and without a drafter, draws another one now and then.
    let mut right = 0;
    for seed in 0..16 {
        let mut one = says(1, &["hello"]);
        one.sampling = SamplingParams { temperature: 1.0, seed: Some(seed), ..SamplingParams::GREEDY };
        let mut other = says(2, &COLOUR[..1]);
        other.sampling = SamplingParams { repeat_penalty: 1.2, ..one.sampling };
        right += check_same(&[one, other, says(3, &COLOUR[..3])]).1;
    }
    assert!(right > 0);
}

#[test]
fn a_drafter_that_is_not_asked_changes_no_bit() {
    for seed in 0..8 {
        let mut asked = says(1, &["hello"]);
        asked.form.ignores_end = true;
        asked.sampling = SamplingParams { temperature: 2.0, seed: Some(seed), ..SamplingParams::GREEDY };
        let mut quiet = drafting(1);
        quiet.draft_at_most(0);
        let told = answers(&mut quiet, std::slice::from_ref(&asked), undisturbed).0;
        assert_eq!(told[0].0, answers(&mut plain(1), &[asked], undisturbed).0[0].0);
    }
}

#[test]
fn limits_and_stop_texts_are_kept_to_the_token() {
    for answer_tokens_max in 1..12 {
        let mut asked = says(1, &["hello"]);
        asked.answer_tokens_max = answer_tokens_max;
        check_same(&[asked]);
    }
    for stop in ["I", "Ez", "ra.", ", I"] {
        let mut asked = says(1, &["hello"]);
        asked.form.stop = vec![stop.to_owned()];
        check_same(&[asked]);
    }
}

#[test]
fn a_context_is_filled_to_its_end_and_not_beyond() {
    let mut asked = says(1, &["hello"]);
    asked.form.ignores_end = true;
    asked.answer_tokens_max = 5000;
    asked.sampling = SamplingParams { temperature: 1.0, seed: Some(4), ..SamplingParams::GREEDY };
    let (guessed, _, _) = check_same(&[asked, says(2, &["hello"])]);
    assert!(guessed > 0);
}

#[test]
fn a_slot_that_was_cancelled_serves_another_as_if_new() {
    let alone = |request: Request| answers(&mut plain(1), &[request], undisturbed).0.remove(0).0;
    let wanted = [alone(says(2, &COLOUR[..1])), alone(says(9, &["hello"]))];
    for after in 0..8 {
        let mut engine = drafting(2);
        let mut late = Vec::new();
        let asked = [says(1, &["hello"]), says(2, &COLOUR[..1])];
        let (told, _) = answers(&mut engine, &asked, |engine, steps| {
            if steps == after {
                engine.cancel(1);
            }
        });
        assert_eq!(told[1].0, wanted[0], "cancelled after {after} steps");
        late.extend(answers(&mut engine, &[says(9, &["hello"])], undisturbed).0);
        assert_eq!(late[0].0, wanted[1], "cancelled after {after} steps");
        assert!(late[0].2.accepted_tokens > 0);
    }
}

#[test]
fn the_next_turn_finds_what_was_taken_back_gone() {
    let wanted = answers(&mut plain(1), &[says(2, &COLOUR)], undisturbed).0.remove(0).0;
    let mut drafting = drafting(1);
    answers(&mut drafting, &[says(1, &COLOUR[..3])], undisturbed);
    let (told, _) = answers(&mut drafting, &[says(2, &COLOUR)], undisturbed);
    assert_eq!(told[0].0, wanted);
    assert!(told[0].2.cached_tokens > 0, "the turn before is still there");
}

#[test]
fn a_drafter_that_is_wrong_switches_itself_off() {
    let mut engine = drafting(1);
    let mut asked = says(1, &["hello"]);
    asked.form.ignores_end = true;
    asked.answer_tokens_max = 700;
    // Hardly anything that is drawn like this can be guessed.
    asked.sampling = SamplingParams { temperature: 5.0, seed: Some(1), ..SamplingParams::GREEDY };
    start(&mut engine, &asked);
    let (mut steps, mut asks) = (0, Vec::new());
    while !engine.is_idle() {
        engine.pace = pace(0.040, 0.0);
        let drafter = engine.drafter.as_mut().unwrap();
        drafter.trust.pace = pace(0.002, 0.0);
        engine.step(&mut |_| {}).unwrap();
        steps += 1;
        // Whatever a step of the drafter took, it is told apart from a step without.
        if engine.drafter.as_ref().unwrap().trust.pace.takes(0, 1) != pace(0.002, 0.0).takes(0, 1) {
            asks.push(steps);
        }
    }
    let late = asks.iter().filter(|step| **step > 300).count();
    assert!(asks.len() > late && asks.len() < 100, "it was tried: {asks:?}");
    assert!((1..20).contains(&late), "it is tried now and then: {asks:?}");
}

#[test]
fn a_drafter_of_another_model_is_refused_with_what_differs() {
    let error = load(&data("tiny-gemma4-tools.gguf")).err().unwrap().to_string();
    assert!(error.contains("it is no drafter") && error.contains("from the text alone"), "{error}");
    let mut bytes = std::fs::read(data("tiny-drafter.gguf")).unwrap();
    let key = b"embedding_length_out";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&2816_u32.to_le_bytes());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let error = load(file.path()).err().unwrap().to_string();
    assert!(error.contains("needs rows of 2816 numbers, the model has 128"), "{error}");
    std::fs::write(file.path(), &bytes[..bytes.len() / 2]).unwrap();
    let error = load(file.path()).err().unwrap().to_string();
    assert!(error.contains("cut off"), "{error}");
}

#[test]
fn an_engine_in_use_takes_no_drafter_and_goes_on() {
    let mut engine = engine(1);
    let (first, _) = answers(&mut engine, &[says(1, &["hello"])], undisturbed);
    let error = engine.draft_with(drafter()).err().unwrap().to_string();
    assert!(error.contains("too late"), "{error}");
    let (again, _) = answers(&mut engine, &[says(2, &["hello"])], undisturbed);
    assert_eq!((&again[0].0, again[0].1), (&first[0].0, Some(Finish::EndOfTurn)));
}

#[test]
fn where_nothing_is_to_be_guessed_no_drafter_is_asked() {
    let mut engine = plain(1);
    engine.draft_with(drafter()).unwrap();
    assert!(engine.drafter.is_none());
    let (told, _) = answers(&mut engine, &[says(1, &["hello"])], undisturbed);
    assert_eq!(told[0].2.drafted_tokens, 0);
}

/// Where a request is: its slot, the tokens that it holds, the last one, and what that was chosen from.
fn place(engine: &Engine<'_>, id: u64) -> Option<(usize, usize, LlamaToken, Vec<f32>)> {
    let is_its = |slot: &Slot| slot.job.as_ref().is_some_and(|job| job.id == id);
    let index = engine.slots.iter().position(is_its)?;
    let slot = &engine.slots[index];
    let behind = slot.job.as_ref()?.behind.as_ref()?;
    assert_eq!((behind.tokens, slot.held + 1), (slot.tokens.len(), slot.tokens.len()));
    Some((index, slot.held, *slot.tokens.last()?, behind.hidden.clone()))
}

/// What the drafter says there: tokens and their leads.
fn says_there(engine: &mut Engine<'_>, of: (usize, usize, LlamaToken, Vec<f32>)) -> Vec<(i32, f32)> {
    let (slot, position, token, hidden) = of;
    let mut lines = [Line::of(0, slot, position, token, hidden)];
    let drafter = engine.drafter.as_mut().unwrap();
    drafter.trust = Trust::new(pace(0.0, 0.0));
    drafter.guess(&mut lines, 3).unwrap();
    let [line] = lines;
    line.tokens.iter().map(|token| token.0).zip(line.drafted.iter().map(|drafted| drafted.lead)).collect()
}

fn differ(one: &[(i32, f32)], other: &[(i32, f32)]) -> f32 {
    let leads = one.iter().zip(other).map(|((_, one), (_, other))| (one - other).abs());
    leads.fold(0.0, f32::max)
}

#[test]
fn a_drafter_reads_its_own_answer_s_state_and_memory_whoever_is_beside() {
    // By how many tokens there are: what is said of a conversation alone.
    let mut alone = std::collections::BTreeMap::new();
    let asked = [says(1, &["my dog is Rex"]), says(2, &["hello"]), says(3, &COLOUR)];
    // No guesses are computed: every place is seen.
    let quiet = |slots| {
        let mut engine = drafting(slots);
        engine.draft_at_most(0);
        engine
    };
    answers(&mut quiet(1), &asked[1..2], |engine, _| {
        if let Some(of) = place(engine, 2) {
            alone.insert(of.1, says_there(engine, of));
        }
    });
    let (mut compared, mut state, mut memory) = (0, 0.0_f32, 0.0_f32);
    answers(&mut quiet(3), &asked, |engine, _| {
        let Some(of) = place(engine, 2) else { return };
        let said = says_there(engine, of.clone());
        let Some(wanted) = alone.get(&of.1) else { return };
        compared += 1;
        let words = |said: &[(i32, f32)]| said.iter().map(|(token, _)| *token).collect::<Vec<_>>();
        assert_eq!(words(&said), words(wanted));
        assert!(differ(&said, wanted) < 0.02, "{said:?} instead of {wanted:?}");
        // And it would be seen if it was another's.
        let nothing = says_there(engine, (of.0, of.1, of.2, vec![0.0; of.3.len()]));
        state = state.max(differ(&said, &nothing));
        if let Some((slot, held, _, _)) = place(engine, 3) {
            let others = says_there(engine, (slot, held, of.2, of.3));
            memory = memory.max(differ(&said, &others));
        }
    });
    assert!(compared >= 6 && state > 0.05 && memory > 0.05, "{compared} times, {state}, {memory}");
}

/// The rows of the model's vocabulary, from its file.
fn rows() -> Vec<Vec<f32>> {
    let path = data("tiny-gemma4-tools.gguf");
    let (head, bytes) = (gguf::check(&path).unwrap(), std::fs::read(path).unwrap());
    let last = head.tensors.iter().max_by_key(|tensor| tensor.offset).unwrap();
    let bytes_of = |tensor: &gguf::Tensor| tensor.elements * if tensor.kind == 1 { 2 } else { 4 };
    let data = (bytes.len() as u64 - (last.offset + bytes_of(last))) / 32 * 32;
    let table = head.tensors.iter().find(|tensor| tensor.name == "token_embd.weight").unwrap();
    let start = usize::try_from(data + table.offset).unwrap();
    let halves = bytes[start..].chunks_exact(2).take(usize::try_from(table.elements).unwrap());
    let numbers: Vec<f32> = halves.map(|half| of_half(u16::from_le_bytes([half[0], half[1]]))).collect();
    numbers.chunks_exact(128).map(<[f32]>::to_vec).collect()
}

/// A number of 16 bits (IEEE 754), infinities and the like apart.
fn of_half(half: u16) -> f32 {
    let (sign, exponent, fraction) =
        (half >> 15, i32::from(half >> 10 & 31), f32::from(half & 1023) / 1024.0);
    let size = if exponent == 0 {
        fraction * 2.0_f32.powi(-14)
    } else {
        (1.0 + fraction) * 2.0_f32.powi(exponent - 15)
    };
    if sign == 1 { -size } else { size }
}

#[test]
fn the_state_that_is_kept_is_the_one_that_the_token_was_chosen_from() {
    let rows = rows();
    let first = |hidden: &[f32]| {
        let score = |row: &Vec<f32>| row.iter().zip(hidden).map(|(one, other)| one * other).sum::<f32>();
        let scores = rows.iter().map(score).enumerate();
        scores.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(token, _)| token as i32)
    };
    let asked = [says(1, &["hello"]), says(2, &COLOUR[..1]), says(3, &COLOUR), says(4, &["my dog is Rex"])];
    let mut checked = 0;
    let mut engine = drafting(4);
    answers(&mut engine, &asked, |engine, _| {
        for id in 1..=4 {
            if let Some((_, _, token, hidden)) = place(engine, id) {
                assert_eq!(first(&hidden), Some(token.0), "request {id}");
                checked += 1;
            }
        }
    });
    assert!(checked > 12, "{checked}");
}
