//! Where answers end before a stop text, however their words are cut into tokens.
use proptest::prelude::*;

use super::stop::Stopper;
use crate::chat::{AnswerPart, ToolCall};

/// What is shown of words that come in these pieces, and whether a stop text ended them.
fn shown(stops: &[&str], pieces: &[&str]) -> (String, bool) {
    let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
    let mut stopper = Stopper::new(&stops);
    let mut parts = Vec::new();
    for piece in pieces {
        parts.extend(stopper.take(vec![AnswerPart::Text((*piece).to_owned())]));
    }
    parts.extend(stopper.finish());
    let words = parts.iter().map(|part| match part {
        AnswerPart::Text(words) => words.as_str(),
        other => panic!("{other:?} is no text"),
    });
    (words.collect(), stopper.has_stopped())
}

/// The meaning in plain words: character by character, until a stop text is complete; the longest of those that are.
fn by_definition(stops: &[&str], words: &str) -> (String, bool) {
    for (at, last) in words.char_indices() {
        let so_far = &words[..at + last.len_utf8()];
        let ends = stops.iter().filter(|stop| !stop.is_empty() && so_far.ends_with(*stop));
        if let Some(longest) = ends.map(|stop| stop.len()).max() {
            return (so_far[..so_far.len() - longest].to_owned(), true);
        }
    }
    (words.to_owned(), false)
}

#[test]
fn an_answer_ends_before_a_stop_text_across_tokens() {
    assert_eq!(shown(&["END"], &["one E", "N", "D two"]), ("one ".to_owned(), true));
    assert_eq!(shown(&["END"], &["one E", "N", "ough"]), ("one ENough".to_owned(), false));
    assert_eq!(shown(&["END"], &["one EN"]), ("one EN".to_owned(), false));
    assert_eq!(shown(&["abcX", "bc"], &["a", "bc", "X"]), ("a".to_owned(), true));
    assert_eq!(shown(&["", "ä"], &["xä"]), ("x".to_owned(), true));
    assert_eq!(shown(&[""], &["all of it"]), ("all of it".to_owned(), false));
}

#[test]
fn words_are_held_back_only_while_a_stop_text_may_come() {
    let mut stopper = Stopper::new(&["\n\n".to_owned()]);
    let mut take = |words: &str| stopper.take(vec![AnswerPart::Text(words.to_owned())]);
    assert_eq!(take("a\n"), [AnswerPart::Text("a".to_owned())]);
    assert_eq!(take("b"), [AnswerPart::Text("\nb".to_owned())]);
}

#[test]
fn nothing_behind_a_stop_text_is_shown_and_calls_divide_words() {
    let call =
        AnswerPart::Call(ToolCall { id: "1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() });
    let text = |words: &str| AnswerPart::Text(words.to_owned());
    let mut stopper = Stopper::new(&["ab".to_owned()]);
    let divided = stopper.take(vec![text("a"), call.clone(), text("b")]);
    assert_eq!(divided, [text("a"), call.clone(), text("b")]);
    assert_eq!(stopper.take(vec![text("xab"), call.clone()]), [text("x")]);
    assert_eq!(stopper.take(vec![call, text("more")]), []);
    assert_eq!(stopper.finish(), None);
}

proptest! {
    #[test]
    fn every_cutting_gives_the_same(
        stops in prop::collection::vec("[abä]{0,4}", 0..4),
        pieces in prop::collection::vec("[abä]{0,5}", 0..12),
    ) {
        let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        prop_assert_eq!(shown(&stops, &pieces), by_definition(&stops, &pieces.concat()));
    }
}
