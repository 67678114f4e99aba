//! Drafts: the pure part by tables and properties, the whole with the real tiny model.
use std::time::Duration;

use proptest::prelude::*;

use super::draft::*;
use super::pace::Pace;
use super::tests::{engine, request, start};
use super::*;

/// Longest step that is made for guesses.
const LONGEST: Duration = Duration::from_millis(200);

#[track_caller]
fn check_guess(tokens: &str, most: usize, wanted: &str) {
    let tokens: Vec<char> = tokens.chars().collect();
    assert_eq!(look_up(&tokens, most).tokens.into_iter().collect::<String>(), wanted);
}

#[test]
fn what_followed_before_is_guessed() {
    check_guess("", 3, "");
    check_guess("a", 3, "");
    check_guess("abc", 3, "");
    check_guess("xbcdefg bc", 3, "def");
    check_guess("xbcdefg bc", 0, "");
    check_guess("xbcdefg c", 3, ""); // one token is no match
    check_guess("ab1 ab2 ab", 2, "2 "); // the latest of equals
    check_guess("cab1 ab2 cab", 2, "1 "); // the longest goes before the latest
}

#[test]
fn what_repeats_itself_is_guessed_to_go_on() {
    check_guess("la la la", 7, " la la ");
    check_guess("aaaa", 4, "aaaa");
}

proptest! {
    #[test]
    fn a_guess_is_what_came_after_the_same_tokens(tokens in "[ab]{0,40}", most in 0usize..10) {
        let tokens: Vec<char> = tokens.chars().collect();
        let guess = look_up(&tokens, most);
        prop_assert!(guess.tokens.is_empty() || guess.tokens.len() == most);
        if !guess.tokens.is_empty() {
            // All of it is what a copy from some earlier place gives, at least two tokens of which stand at the end.
            let whole = [&tokens[..], &guess.tokens].concat();
            let copied = |distance: &usize| {
                (tokens.len() - 2..whole.len()).all(|at| whole.get(at.wrapping_sub(*distance)) == Some(&whole[at]))
            };
            prop_assert!((1..tokens.len()).any(|distance| copied(&distance)), "{whole:?}");
        }
    }

    #[test]
    fn odds_stay_odds(answers in prop::collection::vec((0usize..20, any::<bool>()), 0..200)) {
        let mut odds = Odds::default();
        for (matched, right) in answers {
            odds.learn(matched, right);
        }
        for tokens in ["abcdefgh abcdefgh", "ab ab"] {
            let guess = look_up(tokens.as_bytes(), 1);
            prop_assert!((0.0..=1.0).contains(&odds.of(&guess)));
        }
    }
}

/// The pace of a machine on which steps and rows take so many seconds.
pub(super) fn pace(step: f64, row: f64) -> Pace {
    let mut pace = Pace::new(16, Duration::from_millis(100));
    for rows in [1, 8, 30].into_iter().cycle().take(200) {
        pace.observe(0, rows, Duration::from_secs_f64(step + row * rows as f64));
        pace.observe(rows, 0, Duration::from_secs_f64(step + row * rows as f64));
    }
    pace
}

/// How many guesses pay for answers whose matches have held so many times in a row, or failed; beside so many tokens that are read.
fn pays(answers: &[(bool, usize)], pace: &Pace, read: usize) -> usize {
    let told: Vec<_> = answers
        .iter()
        .map(|(holds, times)| {
            let guess = look_up(b"abcdefghijklmnop abcdefg", 7);
            let mut odds = Odds::default();
            (0..*times).for_each(|_| odds.learn(guess.matched_at(0), *holds));
            (guess, odds)
        })
        .collect();
    let told: Vec<_> = told.iter().map(|(guess, odds)| (guess, odds)).collect();
    worthwhile(&told, pace, read, LONGEST)
}

#[test]
fn guesses_are_computed_where_they_pay() {
    let weights_dominate = pace(0.040, 0.002);
    assert_eq!(pays(&[(true, 50)], &weights_dominate, 0), 7, "all that there are");
    assert_eq!(pays(&[(false, 50)], &weights_dominate, 0), 0, "they are wrong");
    assert_eq!(pays(&[], &weights_dominate, 0), 0);
    // As in a mixture of many experts: each row reads weights of its own.
    assert_eq!(pays(&[(true, 0)], &pace(0.001, 0.050), 0), 0, "a wrong row costs as much as a right one");
    // One answer in eight repeats itself: not worth a row of the seven others each.
    let one_of_eight = [&[(true, 50)][..], &[(false, 50); 7]].concat();
    assert_eq!(pays(&one_of_eight, &pace(0.020, 0.005), 0), 0);
}

#[test]
fn steps_stay_short() {
    let pace = pace(0.040, 0.010);
    assert_eq!(pays(&[(true, 50)], &pace, 0), 7);
    assert_eq!(pays(&[(true, 50)], &pace, 13), 2, "what is read goes before what is guessed");
    assert_eq!(pays(&[(true, 50)], &pace, 64), 0);
}

/// Tokens a second on a machine whose step, prompt's row and answer's row take so many seconds, give or take a seventh: with as many
/// guesses as the costs that were measured speak for, or the true ones. In each eighth step somebody's prompt is read.
fn speed(costs: [f64; 3], answers: usize, chance: f64, knows_all: bool) -> f64 {
    let takes = |read: usize, rows: usize| costs[0] + costs[1] * read as f64 + costs[2] * rows as f64;
    let right = |draft: usize| 1.0 + expected(&vec![chance; draft]);
    let best =
        (0..=DRAFT_TOKENS_MAX).filter(|draft| takes(0, answers * (1 + draft)) <= LONGEST.as_secs_f64());
    let speed = |draft: &usize| right(*draft) / takes(0, answers * (1 + draft));
    let best = best.max_by(|one, other| speed(one).total_cmp(&speed(other))).unwrap_or(0);
    let mut pace = Pace::new(16, Duration::from_millis(60));
    let (mut took, mut written, mut chaos) = (0.0, 0.0, 12345_u64);
    for step in 0..2000 {
        let read = if step % 8 == 7 { 30 } else { 0 };
        let draft = match (read, knows_all) {
            (0, true) => best,
            (0, false) => {
                best_length(&vec![vec![chance; DRAFT_TOKENS_MAX]; answers], 0.0, &pace, 0, LONGEST).0
            }
            _ => 0,
        };
        chaos ^= chaos << 13;
        chaos ^= chaos >> 7;
        chaos ^= chaos << 17;
        let rows = answers * (1 + draft);
        let seconds = takes(read, rows) * (0.85 + 0.3 * (chaos % 1000) as f64 / 1000.0);
        pace.observe(read, rows, Duration::from_secs_f64(seconds));
        (took, written) = (took + seconds, written + answers as f64 * right(draft));
    }
    written / took
}

#[test]
fn what_is_measured_is_nearly_as_good_as_to_know() {
    // Rows cost all, as much as the weights, next to nothing.
    for costs in [[0.005, 0.0025, 0.0044], [0.040, 0.002, 0.004], [0.080, 0.001, 0.001]] {
        for (answers, chance) in
            [0.1, 0.3, 0.5, 0.7, 0.9].into_iter().flat_map(|chance| [(1, chance), (8, chance)])
        {
            let [measured, known] = [false, true].map(|known| speed(costs, answers, chance, known));
            assert!(measured > 0.93 * known, "{costs:?}, {answers} answers, {chance}: {measured} of {known}");
        }
    }
}

#[test]
fn guesses_are_tried_where_nothing_was_measured_yet() {
    assert_eq!(pays(&[(true, 50)], &Pace::new(16, Duration::from_millis(50)), 0), 7);
}

/// An engine for which rows cost nothing: all guesses are computed.
fn eager(slots: u32) -> Engine<'static> {
    let mut engine = engine(slots);
    engine.pace = pace(0.1, 0.0);
    engine
}

pub(super) fn plain(slots: u32) -> Engine<'static> {
    let mut engine = engine(slots);
    engine.draft_at_most(0);
    engine
}

/// The tokens of an answer, why it ended, and what it cost.
pub(super) type Told = (Vec<i32>, Option<Finish>, Usage);

/// What each request was told, and the number of steps.
fn answers(engine: &mut Engine<'_>, requests: &[Request]) -> (Vec<Told>, usize) {
    requests.iter().for_each(|request| start(engine, request));
    let (mut told, mut steps) = (vec![(Vec::new(), None, Usage::default()); requests.len()], 0);
    while !engine.is_idle() {
        steps += 1;
        let place = |id| requests.iter().position(|request| request.id == id).unwrap();
        engine
            .step(&mut |event| match event {
                EngineEvent::Token { id, token, .. } => told[place(id)].0.push(token),
                EngineEvent::Finished { id, reason, usage } => {
                    (told[place(id)].1, told[place(id)].2) = (Some(reason), usage);
                }
                EngineEvent::Prefill { .. } => {}
                EngineEvent::Refused { .. } | EngineEvent::Found { .. } => panic!("{event:?}"),
            })
            .unwrap();
    }
    (told, steps)
}

pub(super) const COLOUR: [&str; 5] = [
    "my colour is teal",
    "Noted, your colour is teal.",
    "what is my colour?",
    "Your colour is teal.",
    "what is my colour?",
];

#[track_caller]
fn check_same(requests: &[Request]) -> (usize, usize) {
    let slots = u32::try_from(requests.len()).unwrap();
    let (wanted, steps) = answers(&mut plain(slots), requests);
    let (got, fewer) = answers(&mut eager(slots), requests);
    for ((wanted, reason, _), (tokens, because, usage)) in wanted.iter().zip(&got) {
        assert_eq!((tokens, because), (wanted, reason));
        assert!(
            usage.accepted_tokens <= usage.drafted_tokens && usage.answer_tokens as usize == tokens.len()
        );
    }
    (steps, fewer)
}

#[test]
fn an_answer_that_repeats_takes_fewer_steps_and_is_the_same() {
    let (steps, fewer) = check_same(&[request(1, &COLOUR)]);
    assert!(fewer < steps, "{fewer} of {steps}");
    let (told, _) = answers(&mut eager(1), &[request(1, &COLOUR)]);
    let [(_, _, usage)] = told.as_slice() else { panic!("{told:?}") };
    assert!(usage.accepted_tokens > 0, "{usage:?}");
}

#[test]
fn nothing_that_is_drawn_changes_either() {
    for seed in 0..8 {
        let mut one = request(1, &COLOUR);
        one.sampling = SamplingParams { temperature: 1.0, seed: Some(seed), ..SamplingParams::GREEDY };
        one.form.ignores_end = true;
        let mut other = request(2, &["hello", "Hello, I am Ezra.", "hello"]);
        other.sampling = SamplingParams { repeat_penalty: 1.2, ..one.sampling };
        check_same(&[one, other, request(3, &COLOUR[..3])]);
    }
}

#[test]
fn limits_are_kept_to_the_token() {
    for answer_tokens_max in 1..9 {
        let mut asked = request(1, &COLOUR);
        asked.answer_tokens_max = answer_tokens_max;
        check_same(&[asked]);
    }
    let mut asked = request(1, &COLOUR);
    asked.form.stop = vec!["is".to_owned()];
    check_same(&[asked]);
}

#[test]
fn a_context_is_filled_to_its_end_and_not_beyond() {
    let mut asked = request(1, &COLOUR);
    asked.form.ignores_end = true;
    asked.answer_tokens_max = 5000;
    let (steps, fewer) = check_same(&[asked, request(2, &["hello"])]);
    assert!(fewer < steps, "a tiny model's endless answer repeats itself");
}

#[test]
fn the_next_turn_finds_what_was_taken_back_gone() {
    let wanted = answers(&mut plain(1), &[request(2, &COLOUR)]).0.remove(0).0;
    let mut drafting = eager(1);
    answers(&mut drafting, &[request(1, &COLOUR[..3])]);
    let (told, _) = answers(&mut drafting, &[request(2, &COLOUR)]);
    assert_eq!(told[0].0, wanted);
    assert!(told[0].2.cached_tokens > 0, "the turn before is still there");
}
