//! When and what of a conversation is summarised so that it fits the model's context. Pure.
//!
//! Nothing is deleted: a summary lies over the first turns in the prompt, the transcript stays whole.
//! Whether a prompt fits is decided by the model's own count (the pool refuses a longer one and says its length);
//! what is decided here is how much is summarised at a time.
use std::sync::Arc;

use crate::domain::{ChatRole, ChatTurn, ContextPolicy, Conversation, Prompt, Summary, TurnRecord};

/// Begins the part of the system prompt that holds the summary.
const SUMMARY_HEADING: &str = "\n\nWhat was said before, in short:\n";
/// What the model is asked for; the conversation follows.
const SUMMARY_REQUEST: &str = "Summarise this conversation:\n\n";
/// How a former summary is shown to the model that writes the next one.
const FORMER_SUMMARY: &str = "summary so far: ";

/// Longest makeshift summary, in characters: about 250 tokens.
const MAKESHIFT_CHARS_MAX: usize = 1000;
/// Longest line of it, in characters: enough to see what it was about.
const MAKESHIFT_LINE_CHARS_MAX: usize = 80;

/// The prompt for a message in a conversation.
pub fn prompt(persona: &str, summary: Option<&Summary>, turns: &[TurnRecord], text: &str) -> Prompt {
    let system: Arc<str> = match summary {
        None => persona.into(),
        Some(summary) => format!("{persona}{SUMMARY_HEADING}{}", summary.text).into(),
    };
    let mut chat = Vec::with_capacity(turns.len() * 2 + 1);
    for turn in turns {
        chat.push(ChatTurn::text(ChatRole::User, turn.user.as_str()));
        // A turn that was stopped before its first word has no answer; an empty utterance would confuse the model.
        let answer = if turn.answer.is_empty() { "…" } else { &turn.answer };
        chat.push(ChatTurn::text(ChatRole::Assistant, answer));
    }
    chat.push(ChatTurn::text(ChatRole::User, text));
    Prompt::Chat(Conversation { system, turns: chat, ..Conversation::default() })
}

/// The prompt that asks for a summary of these turns, on top of a former summary.
pub fn summary_prompt(persona: &str, former: Option<&Summary>, turns: &[TurnRecord]) -> Prompt {
    let mut text = String::from(SUMMARY_REQUEST);
    if let Some(former) = former {
        text.push_str(&format!("{FORMER_SUMMARY}{}\n", former.text));
    }
    let lines: Vec<String> =
        turns.iter().map(|turn| format!("user: {}\nassistant: {}", turn.user, turn.answer)).collect();
    text.push_str(&lines.join("\n"));
    let turns = vec![ChatTurn::text(ChatRole::User, text)];
    Prompt::Chat(Conversation { system: persona.into(), turns, ..Conversation::default() })
}

/// Stands in where the model could not summarise: the beginning of each thing the peer said, newest last.
pub fn makeshift_summary(former: Option<&Summary>, turns: &[TurnRecord]) -> String {
    let mut lines: Vec<String> =
        former.map(|summary| cut(&summary.text, MAKESHIFT_CHARS_MAX / 2)).into_iter().collect();
    lines
        .extend(turns.iter().map(|turn| format!("user said: {}", cut(&turn.user, MAKESHIFT_LINE_CHARS_MAX))));
    cut(&lines.join("\n"), MAKESHIFT_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Whether the conversation is to be summarised before the next message, judged by the last exact count.
pub fn is_due(policy: ContextPolicy, context_tokens: u32, turns_uncovered: u64) -> bool {
    let threshold = u64::from(policy.tokens_max) * u64::from(policy.compact_at_percent) / 100;
    u64::from(context_tokens) >= threshold && turns_uncovered > u64::from(policy.keep_turns)
}

/// Why a conversation cannot be made shorter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NothingToSummarise;

/// How many of the uncovered turns are summarised next.
///
/// Normally all but the newest `keep_turns`. `pressed` means that the prompt did not fit although nothing but those is left:
/// then they are given up too, oldest half first. `halvings` counts how often the request for the summary itself did not fit.
pub fn turns_to_summarise(
    policy: ContextPolicy,
    uncovered: usize,
    pressed: bool,
    halvings: u32,
) -> Result<usize, NothingToSummarise> {
    let free = uncovered.saturating_sub(policy.keep_turns as usize);
    let wanted = if free > 0 {
        free
    } else if pressed {
        uncovered.div_ceil(2)
    } else {
        0
    };
    let count = wanted >> halvings.min(31);
    if count == 0 { Err(NothingToSummarise) } else { Ok(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{InboxId, ModelId, Usage};
    use proptest::prelude::*;

    const POLICY: ContextPolicy = ContextPolicy { tokens_max: 1000, compact_at_percent: 75, keep_turns: 2 };

    fn turn(user: &str, answer: &str) -> TurnRecord {
        TurnRecord {
            number: 0,
            inbox: InboxId(1),
            user: user.into(),
            answer: answer.into(),
            stopped: false,
            model: ModelId::new("m").unwrap(),
            steps: Vec::new(),
            usage: Usage::default(),
            ended_unix_ms: 0,
        }
    }

    #[test]
    fn the_prompt_of_the_next_turn_begins_with_this_one() {
        let turns = [turn("a", "b"), turn("c", "d")];
        let first = prompt("P", None, &turns[..1], "c");
        let second = prompt("P", None, &turns, "e");
        assert_eq!(first.system(), second.system());
        assert_eq!(second.turns()[..first.turns().len()], *first.turns());
    }

    #[test]
    fn a_summary_stands_behind_the_persona() {
        let summary = Summary { text: "S".into(), turns: 4 };
        let prompt = prompt("P", Some(&summary), &[], "hello");
        assert_eq!(prompt.system(), "P\n\nWhat was said before, in short:\nS");
        assert_eq!(prompt.turns().len(), 1);
    }

    #[test]
    fn the_request_for_a_summary_shows_the_former_one() {
        let former = Summary { text: "F".into(), turns: 1 };
        let prompt = summary_prompt("P", Some(&former), &[turn("a", "b"), turn("c", "d")]);
        assert_eq!(
            prompt.turns()[0].words(),
            "Summarise this conversation:\n\nsummary so far: F\nuser: a\nassistant: b\nuser: c\nassistant: d"
        );
    }

    #[test]
    fn a_makeshift_summary_is_bounded() {
        let former = Summary { text: "F".repeat(5000), turns: 1 };
        let turns = vec![turn(&"ä".repeat(500), "b"); 50];
        let text = makeshift_summary(Some(&former), &turns);
        assert_eq!(text.chars().count(), MAKESHIFT_CHARS_MAX);
        assert_eq!(makeshift_summary(None, &[turn("my dog is Rex", "b")]), "user said: my dog is Rex");
    }

    #[test]
    fn it_is_due_at_the_threshold_and_only_when_there_is_something_to_summarise() {
        for (tokens, uncovered, due) in [(749, 9, false), (750, 9, true), (999, 2, false), (999, 3, true)] {
            assert_eq!(is_due(POLICY, tokens, uncovered), due, "{tokens} tokens, {uncovered} turns");
        }
    }

    #[test]
    fn the_newest_turns_are_given_up_last() {
        let table = [
            (10, false, 0, Ok(8)),
            (10, false, 1, Ok(4)),
            (10, false, 4, Err(NothingToSummarise)),
            (2, false, 0, Err(NothingToSummarise)),
            (2, true, 0, Ok(1)),
            (1, true, 0, Ok(1)),
            (0, true, 0, Err(NothingToSummarise)),
        ];
        for (uncovered, pressed, halvings, expected) in table {
            let count = turns_to_summarise(POLICY, uncovered, pressed, halvings);
            assert_eq!(count, expected, "{uncovered} {pressed} {halvings}");
        }
    }

    proptest! {
        #[test]
        fn it_never_summarises_more_than_there_is_and_always_ends(uncovered in 0_usize..500, keep in 0_u32..20) {
            let policy = ContextPolicy { keep_turns: keep, ..POLICY };
            let mut left = uncovered;
            let mut steps = 0;
            while let Ok(count) = turns_to_summarise(policy, left, true, 0) {
                prop_assert!(count >= 1 && count <= left);
                left -= count;
                steps += 1;
                prop_assert!(steps <= 500);
            }
            prop_assert_eq!(left, 0);
        }
    }
}
