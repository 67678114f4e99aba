//! When and what of a conversation is summarised so that it fits the model's context. Pure.
//!
//! Nothing is deleted: a summary lies over the first turns in the prompt, the transcript stays whole.
//! Whether a prompt fits is decided by the model's own count (the pool refuses a longer one and says its length);
//! what is decided here is how much is summarised at a time.
use std::sync::Arc;

use crate::domain::{
    Aside, Brought, ChatRole, ChatTurn, ContextPolicy, Conversation, Prompt, Summary, Tool, ToolStep,
    TurnRecord,
};
use crate::showing::Showing;
use crate::tools::search::as_told;

/// Begins the part of the system prompt that holds the summary.
const SUMMARY_HEADING: &str = "\n\nWhat was said before, in short:\n";
/// What the model is asked for; the conversation follows.
const SUMMARY_REQUEST: &str = "Summarise this conversation";
/// How a former summary is shown to the model that writes the next one.
const FORMER_SUMMARY: &str = "summary so far: ";

/// Most characters of a call's arguments, and of its answer, that are summarised.
const SUMMARY_CALL_CHARS_MAX: usize = 200;
/// Longest makeshift summary, in characters: about 250 tokens.
const MAKESHIFT_CHARS_MAX: usize = 1000;
/// Longest line of it, in characters: enough to see what it was about.
const MAKESHIFT_LINE_CHARS_MAX: usize = 80;

/// What a prompt is made of.
#[derive(Debug)]
pub struct PromptParts<'a> {
    /// The standing instructions.
    pub persona: &'a str,
    /// What lies over the first turns.
    pub summary: Option<&'a Summary>,
    /// The turns that it does not cover.
    pub turns: &'a [TurnRecord],
    /// The message.
    pub text: &'a str,
    /// What came with it.
    pub brought: &'a [Brought],
    /// What stands for what came with the turns' messages, and with this one.
    pub showing: &'a Showing,
    /// What was called since.
    pub steps: &'a [ToolStep],
    /// What the peer said meanwhile.
    pub asides: &'a [Aside],
    /// How many characters of each of these calls' answers are shown.
    pub output_chars: usize,
    /// The same for earlier turns: always as many, so that a prompt begins as the one before did.
    pub output_chars_before: usize,
    /// The tools, in the same order from turn to turn.
    pub tools: Arc<[Tool]>,
}

/// The prompt for a message in a conversation.
pub fn prompt(parts: &PromptParts<'_>) -> Prompt {
    let persona = parts.persona;
    let system: Arc<str> = match parts.summary {
        None => persona.into(),
        Some(summary) => format!("{persona}{SUMMARY_HEADING}{}", summary.text).into(),
    };
    let mut chat = Vec::with_capacity(parts.turns.len() * 2 + 1);
    let mut speaker = parts.showing.speaker();
    let mut said = |words: &str, brought: &[Brought]| ChatTurn {
        content: speaker.say(words, brought),
        ..ChatTurn::text(ChatRole::User, "")
    };
    for turn in parts.turns {
        chat.push(said(&turn.user, &turn.brought));
        push_steps(&mut chat, &turn.steps, &turn.asides, parts.output_chars_before, &parts.tools);
        // A turn that was stopped before its first word has no answer; an empty utterance would confuse the model.
        let answer = if turn.answer.is_empty() { "…" } else { &turn.answer };
        chat.push(ChatTurn::text(ChatRole::Assistant, answer));
    }
    chat.push(said(parts.text, parts.brought));
    push_steps(&mut chat, parts.steps, parts.asides, parts.output_chars, &parts.tools);
    Prompt::Chat(Conversation { system, turns: chat, tools: parts.tools.clone(), ..Conversation::default() })
}

/// A call and its answer always come together; what was said meanwhile stands between two steps.
fn push_steps(
    chat: &mut Vec<ChatTurn>,
    steps: &[ToolStep],
    asides: &[Aside],
    output_chars: usize,
    tools: &[Tool],
) {
    let heard = |chat: &mut Vec<ChatTurn>, after: usize| {
        let here = asides.iter().filter(|aside| aside.after == after);
        chat.extend(here.map(|aside| ChatTurn::text(ChatRole::User, aside.told())));
    };
    heard(chat, 0);
    for (step, after) in steps.iter().zip(1..) {
        let calls = step.calls.iter().map(|record| as_told(&record.call, tools)).collect();
        chat.push(ChatTurn { calls, ..ChatTurn::text(ChatRole::Assistant, step.text.as_str()) });
        for record in &step.calls {
            let shown = head_and_tail(&record.outcome.words(), output_chars);
            let answers = record.call.id.as_str().into();
            chat.push(ChatTurn { answers, ..ChatTurn::text(ChatRole::Tool, shown) });
        }
        heard(chat, after);
    }
}

/// The beginning and the end of a long text, and how much was left out between them.
pub fn head_and_tail(text: &str, chars_max: usize) -> String {
    let count = text.chars().count();
    if count <= chars_max {
        return text.to_owned();
    }
    let (head, tail) = (chars_max * 2 / 3, chars_max / 3);
    let left_out = count - head - tail;
    let head: String = text.chars().take(head).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    format!("{head}\n[… {left_out} characters left out …]\n{tail}")
}

/// The prompt that asks for a summary of these turns, on top of a former summary; perhaps with an eye on something.
pub fn summary_prompt(
    persona: &str,
    former: Option<&Summary>,
    turns: &[TurnRecord],
    focus: Option<&str>,
) -> Prompt {
    let mut text = String::from(SUMMARY_REQUEST);
    if let Some(focus) = focus {
        text.push_str(&format!("; keep above all what has to do with {focus}"));
    }
    text.push_str(":\n\n");
    if let Some(former) = former {
        text.push_str(&format!("{FORMER_SUMMARY}{}\n", former.text));
    }
    let lines: Vec<String> = turns.iter().flat_map(summary_lines).collect();
    text.push_str(&lines.join("\n"));
    let turns = vec![ChatTurn::text(ChatRole::User, text)];
    Prompt::Chat(Conversation { system: persona.into(), turns, ..Conversation::default() })
}

/// A turn, line by line. What tools answered is shown in brief: the Archon has said what mattered of it.
fn summary_lines(turn: &TurnRecord) -> Vec<String> {
    let mut lines = vec![format!("user: {}", turn.user)];
    for record in turn.steps.iter().flat_map(|step| &step.calls) {
        let (name, arguments) = (&record.call.name, cut(&record.call.arguments, SUMMARY_CALL_CHARS_MAX));
        let words = cut(&record.outcome.words(), SUMMARY_CALL_CHARS_MAX).replace('\n', " ");
        lines.push(format!("tool {name} {arguments}: {words}"));
    }
    lines.extend(turn.asides.iter().map(|aside| format!("user, meanwhile: {}", aside.text)));
    lines.push(format!("assistant: {}", turn.answer));
    lines
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
    use crate::domain::{CallRecord, InboxId, ModelId, Outcome, ToolCall, Usage};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

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
            asides: Vec::new(),
            brought: Vec::new(),
            usage: Usage::default(),
            ended_unix_ms: 0,
        }
    }

    static NOTHING: Showing = Showing { places: Vec::new(), read: BTreeMap::new() };

    fn parts<'a>(summary: Option<&'a Summary>, turns: &'a [TurnRecord], text: &'a str) -> PromptParts<'a> {
        PromptParts {
            persona: "P",
            summary,
            turns,
            text,
            brought: &[],
            showing: &NOTHING,
            steps: &[],
            asides: &[],
            output_chars: 100,
            output_chars_before: 100,
            tools: Arc::default(),
        }
    }

    fn step(answer: &str) -> ToolStep {
        let call = ToolCall { id: "7.1.1".into(), name: "read_file".into(), arguments: "{}".into() };
        ToolStep {
            text: String::new(),
            calls: vec![CallRecord { call, outcome: Outcome::Done { text: answer.into() } }],
        }
    }

    #[test]
    fn what_was_said_meanwhile_stands_between_two_steps_for_ever() {
        let steps = [step("x"), step("y")];
        let aside = |after, text: &str| Aside { inbox: InboxId(2), after, text: text.into() };
        let asides = [aside(0, "first"), aside(1, "and"), aside(1, "also")];
        let first = prompt(&PromptParts { steps: &steps[..1], asides: &asides, ..parts(None, &[], "a") });
        let second = prompt(&PromptParts { steps: &steps, asides: &asides, ..parts(None, &[], "a") });
        assert_eq!(second.turns()[..first.turns().len()], *first.turns());
        let words: Vec<String> = second.turns().iter().map(ChatTurn::words).collect();
        let told = |at: usize| asides[at].told();
        assert_eq!(words, ["a", &told(0), "", "x", &told(1), &told(2), "", "y"]);
        let kept = TurnRecord { steps: steps.to_vec(), asides: asides.to_vec(), ..turn("a", "b") };
        let next = prompt(&parts(None, std::slice::from_ref(&kept), "c"));
        assert_eq!(next.turns()[..second.turns().len()], *second.turns());
        assert!(told(1).ends_with("\nand") && told(1).starts_with('['));
    }

    #[test]
    fn the_prompt_behind_a_call_begins_with_the_one_before_it_and_so_does_the_next_turns() {
        let before = prompt(&parts(None, &[], "a"));
        let steps = [step("x")];
        let behind = prompt(&PromptParts { steps: &steps, ..parts(None, &[], "a") });
        assert_eq!(behind.turns()[..1], *before.turns());
        let kept = TurnRecord { steps: steps.to_vec(), ..turn("a", "b") };
        let next = prompt(&parts(None, std::slice::from_ref(&kept), "c"));
        assert_eq!(next.turns()[..behind.turns().len()], *behind.turns());
        let roles: Vec<ChatRole> = next.turns().iter().map(|turn| turn.role).collect();
        use ChatRole::{Assistant, Tool, User};
        assert_eq!(roles, [User, Assistant, Tool, Assistant, User]);
        assert_eq!((&*next.turns()[2].answers, next.turns()[1].calls.len()), ("7.1.1", 1));
    }

    #[test]
    fn a_long_answer_of_a_tool_is_shown_from_both_ends() {
        let text = "a".repeat(100) + &"z".repeat(100);
        assert_eq!(head_and_tail(&text, 200), text);
        assert_eq!(head_and_tail(&text, 9), "aaaaaa\n[… 191 characters left out …]\nzzz");
        let summary =
            summary_prompt("P", None, &[TurnRecord { steps: vec![step("x\ny")], ..turn("a", "b") }], None);
        assert!(summary.turns()[0].words().ends_with("user: a\ntool read_file {}: x y\nassistant: b"));
    }

    #[test]
    fn the_prompt_of_the_next_turn_begins_with_this_one() {
        let turns = [turn("a", "b"), turn("c", "d")];
        let first = prompt(&parts(None, &turns[..1], "c"));
        let second = prompt(&parts(None, &turns, "e"));
        assert_eq!(first.system(), second.system());
        assert_eq!(second.turns()[..first.turns().len()], *first.turns());
    }

    #[test]
    fn a_summary_stands_behind_the_persona() {
        let summary = Summary { text: "S".into(), turns: 4, called: Vec::new() };
        let prompt = prompt(&parts(Some(&summary), &[], "hello"));
        assert_eq!(prompt.system(), "P\n\nWhat was said before, in short:\nS");
        assert_eq!(prompt.turns().len(), 1);
    }

    #[test]
    fn the_request_for_a_summary_shows_the_former_one() {
        let former = Summary { text: "F".into(), turns: 1, called: Vec::new() };
        let prompt = summary_prompt("P", Some(&former), &[turn("a", "b"), turn("c", "d")], Some("tea"));
        assert_eq!(
            prompt.turns()[0].words(),
            "Summarise this conversation; keep above all what has to do with tea:\n\nsummary so far: F\nuser: a\nassistant: b\nuser: c\nassistant: d"
        );
    }

    #[test]
    fn a_makeshift_summary_is_bounded() {
        let former = Summary { text: "F".repeat(5000), turns: 1, called: Vec::new() };
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
