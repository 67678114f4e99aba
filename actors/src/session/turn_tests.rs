//! Tables of the turn's state machine.
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::Chosen;

const POLICY: ContextPolicy = ContextPolicy { tokens_max: 1000, compact_at_percent: 75, keep_turns: 2 };

fn view(uncovered: usize, context_tokens: u32) -> View {
    View { policy: POLICY, uncovered, context_tokens }
}

fn begin(view: View) -> (Turn, Vec<Effect>) {
    begin_task(Task::Answer, view)
}

fn begin_task(task: Task, view: View) -> (Turn, Vec<Effect>) {
    let kit = ToolKit::new(&[], Arc::default());
    let (label, user, resumed) = ("7".to_owned(), "hi".to_owned(), Resumed::default());
    Turn::begin(
        Beginning {
            label,
            user,
            kit,
            grants: vec![],
            standing: vec![],
            seen: vec![],
            is_handed_on: false,
            resumed,
            task,
        },
        view,
    )
}

fn model() -> ModelId {
    ModelId::new("m").unwrap()
}

fn text(text: &str) -> GenerationEvent {
    GenerationEvent::Token { chosen: Chosen::text(text) }
}

fn finished(reason: FinishReason) -> GenerationEvent {
    GenerationEvent::Finished { model: model(), reason, usage: Usage::default() }
}

fn too_long() -> GenerationEvent {
    GenerationEvent::Failed { error: PoolError::PromptTooLong { tokens: 1200, tokens_max: 1000 } }
}

fn ended(effects: &[Effect]) -> (Option<&NewTurn>, &NewAnswer) {
    match effects {
        [Effect::End { turn, answer }] => (turn.as_ref(), answer),
        other => panic!("not an end: {other:?}"),
    }
}

#[test]
fn an_answer_is_streamed_without_its_leading_space_and_kept() {
    let (mut turn, effects) = begin(view(0, 0));
    assert_eq!(effects, [Effect::AskAnswer]);
    assert_eq!(turn.generation(text(" \n"), view(0, 0)), []);
    let published = turn.generation(text(" Hel"), view(0, 0));
    assert_eq!(published, [Effect::Publish(TurnEvent::Text { text: "Hel".into() })]);
    turn.generation(text("lo \n"), view(0, 0));
    let effects = turn.generation(finished(FinishReason::EndOfTurn), view(0, 0));
    let (kept, answer) = ended(&effects);
    assert_eq!(kept.map(|turn| turn.answer.as_str()), Some("Hello"));
    assert_eq!((answer.kind, answer.text.as_str()), (AnswerKind::Answer, "Hello"));
    assert_eq!(turn.generation(text("late"), view(0, 0)), []);
}

#[test]
fn a_cut_answer_says_so_to_the_peer_but_not_to_the_model() {
    let (mut turn, _) = begin(view(0, 0));
    turn.generation(text("Once"), view(0, 0));
    let effects = turn.generation(finished(FinishReason::Length), view(0, 0));
    let (kept, answer) = ended(&effects);
    assert_eq!(kept.map(|turn| turn.answer.as_str()), Some("Once"));
    assert!(answer.text.starts_with("Once\n\n[cut"), "{}", answer.text);
}

#[test]
fn an_empty_answer_is_a_failure_that_says_what_to_do() {
    let (mut turn, _) = begin(view(0, 0));
    let effects = turn.generation(finished(FinishReason::EndOfTurn), view(0, 0));
    let (kept, answer) = ended(&effects);
    assert!(kept.is_none() && answer.kind == AnswerKind::Failure && answer.text.contains("/new"));
}

#[test]
fn a_stop_keeps_what_was_said() {
    let (mut turn, _) = begin(view(0, 0));
    turn.generation(text("One two"), view(0, 0));
    assert_eq!(turn.stop(), [Effect::CancelGeneration]);
    assert_eq!(turn.stop(), []);
    let effects = turn.generation(finished(FinishReason::Cancelled), view(0, 0));
    let (kept, answer) = ended(&effects);
    assert!(kept.is_some_and(|turn| turn.stopped && turn.answer == "One two"));
    assert!(answer.text.starts_with("One two"));
}

#[test]
fn a_stop_before_the_first_word_keeps_nothing() {
    let (mut turn, _) = begin(view(0, 0));
    turn.stop();
    let effects = turn.generation(finished(FinishReason::Cancelled), view(0, 0));
    let (kept, answer) = ended(&effects);
    assert!(kept.is_none());
    assert_eq!((answer.kind, answer.text.as_str()), (AnswerKind::Notice, "Stopped."));
}

#[test]
fn a_full_context_is_summarised_first() {
    let (mut turn, effects) = begin(view(10, 800));
    assert_eq!(effects, [Effect::Publish(TurnEvent::Compacting), Effect::AskSummary { turns: 8 }]);
    assert!(turn.is_compacting());
    assert_eq!(turn.generation(text("S"), view(10, 800)), []);
    let effects = turn.generation(finished(FinishReason::EndOfTurn), view(10, 800));
    assert_eq!(effects, [Effect::SaveSummary { text: Some("S".into()), turns: 8 }]);
    assert_eq!(turn.summary_saved(), [Effect::AskAnswer]);
}

#[test]
fn a_prompt_that_does_not_fit_is_shortened_step_by_step_to_the_last_turn() {
    let (mut turn, _) = begin(view(4, 0));
    assert_eq!(turn.generation(too_long(), view(4, 0))[1], Effect::AskSummary { turns: 2 });
    assert_eq!(turn.generation(too_long(), view(4, 0))[1], Effect::AskSummary { turns: 1 });
    let effects = turn.generation(too_long(), view(4, 0));
    assert_eq!(
        effects,
        [Effect::SaveSummary { text: None, turns: 1 }],
        "one turn alone is too long to be read"
    );
    assert_eq!(turn.summary_saved(), [Effect::AskAnswer]);
    assert_eq!(turn.generation(too_long(), view(1, 0))[1], Effect::AskSummary { turns: 1 });
    turn.generation(finished(FinishReason::EndOfTurn), view(1, 0));
    turn.summary_saved();
    let effects = turn.generation(too_long(), view(0, 0));
    let (kept, answer) = ended(&effects);
    assert!(kept.is_none() && answer.text.contains("1200") && answer.text.contains("1000"));
}

#[test]
fn any_other_failure_goes_back_to_hermes() {
    let (mut turn, _) = begin(view(0, 0));
    let effects = turn.refused(PoolError::NoModel { wanted: model() }, view(0, 0));
    assert!(matches!(effects.as_slice(), [Effect::GiveBack(TurnFailure::Pool(_))]));
}

proptest! {
    /// Whatever the pool says, a turn asks for one thing at a time, ends once, and asks for nothing afterwards.
    #[test]
    fn it_ends_once(events in prop::collection::vec(0_u8..7, 0..60), uncovered in 0_usize..20) {
        let mut uncovered = uncovered;
        let (mut turn, mut effects) = begin(view(uncovered, 800));
        let mut ends = 0;
        for event in events {
            let asks = effects.iter().filter(|effect| {
                matches!(effect, Effect::AskAnswer | Effect::AskSummary { .. } | Effect::SaveSummary { .. })
            });
            let now_ends = effects.iter().filter(|e| matches!(e, Effect::End { .. } | Effect::GiveBack(_))).count();
            prop_assert!(asks.count() + now_ends <= 1, "{effects:?}");
            prop_assert!(ends == 0 || effects.is_empty(), "{effects:?}");
            ends += now_ends;
            let saved = effects.iter().find_map(|effect| match effect {
                Effect::SaveSummary { turns, .. } => Some(*turns),
                _ => None,
            });
            if let Some(turns) = saved {
                uncovered -= turns;
                effects = turn.summary_saved();
                continue;
            }
            let view = view(uncovered, 800);
            effects = match event {
                0 => turn.stop(),
                1 => turn.generation(too_long(), view),
                2 => turn.generation(finished(FinishReason::EndOfTurn), view),
                3 => turn.generation(GenerationEvent::WorkerReplaced, view),
                4 => turn.refused(PoolError::NoModel { wanted: model() }, view),
                _ => turn.generation(text("word "), view),
            };
        }
        prop_assert!(ends <= 1);
    }
}

#[test]
fn what_a_request_fails_over_is_forgone_once() {
    use super::super::forgoing::Forgone;
    use crate::domain::MediaId;
    let failed = |error| GenerationEvent::Failed { error };
    let medium = |number| PoolError::Medium { id: MediaId::new([number; 32]), detail: "no".into() };
    let one = |number| Effect::Forgo(Forgone::One { id: MediaId::new([number; 32]), why: "no".into() });
    let (mut turn, _) = begin(view(0, 0));
    for number in [1, 2] {
        assert_eq!(turn.generation(failed(medium(number)), view(0, 0)), [one(number), Effect::AskAnswer]);
    }
    let crashed = || PoolError::MediaCrashed { model: model() };
    let effects = turn.generation(failed(crashed()), view(0, 0));
    assert!(matches!(effects.as_slice(), [Effect::Forgo(Forgone::All { .. }), Effect::AskAnswer]));
    for again in [medium(1), crashed()] {
        let (mut turn, _) = begin(view(0, 0));
        turn.generation(failed(again.clone()), view(0, 0));
        let effects = turn.generation(failed(again.clone()), view(0, 0));
        assert_eq!(effects, [Effect::GiveBack(again.into())]);
    }
    let (mut turn, _) = begin(view(5, 900));
    assert!(turn.is_compacting());
    assert_eq!(turn.generation(failed(medium(1)), view(5, 900)), [Effect::GiveBack(medium(1).into())]);
}

/// A turn that may send files.
fn sending() -> Turn {
    use crate::domain::{Permission, Risk, ToolPolicy};
    use crate::testkit::ToyTools;
    use crate::tools::ToolsHandle;
    let source = ToolsHandle::new(Arc::new(ToyTools::new(&[("send_file", Risk::Message)])));
    let policy = ToolPolicy {
        tools: vec!["send_file".into()],
        permissions: [Permission::Allow; 5],
        ..ToolPolicy::default()
    };
    let (mut turn, _) = begin(view(0, 0));
    turn.kit = ToolKit::new(&[source], Arc::new(policy));
    turn
}

#[test]
fn files_that_an_answer_names_are_sent_before_it_ends() {
    use crate::domain::{Attachment, Outcome};
    let mut turn = sending();
    turn.generation(text("See:\nMEDIA: a.txt\nMEDIA: b.txt"), view(0, 0));
    let effects = turn.generation(finished(FinishReason::EndOfTurn), view(0, 0));
    let calls = effects.iter().filter_map(|effect| match effect {
        Effect::Call { call, .. } => Some(call.clone()),
        _ => None,
    });
    let calls: Vec<ToolCall> = calls.collect();
    let ids: Vec<&str> = calls.iter().map(|call| call.id.as_str()).collect();
    assert_eq!(ids, ["7.1.media1", "7.1.media2"], "{effects:?}");
    assert_eq!(calls[1].arguments, r#"{"path":"b.txt"}"#);
    assert!(
        matches!(&effects[0], Effect::Journal(entries) if entries.len() == 3),
        "it is written down first"
    );
    let file = Attachment {
        path: "a.txt".into(),
        bytes: 1,
        sha256: "0f".repeat(32),
        media_type: "text/plain".into(),
        caption: None,
    };
    let failed = Outcome::Failed { text: "there is no `b.txt`".into() };
    turn.call_ended("7.1.media2", failed, Duration::ZERO);
    let effects = turn.call_ended("7.1.media1", Outcome::Done { text: file.told() }, Duration::ZERO);
    let Some(Effect::End { turn: Some(kept), answer }) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(answer.text, "See:\nMEDIA: b.txt [not sent: there is no `b.txt`]");
    assert_eq!((kept.answer.as_str(), kept.steps[0].text.as_str()), (answer.text.as_str(), ""));
    assert_eq!(Attachment::of(kept), [file]);
}

#[test]
fn an_answer_that_was_cut_or_whose_archon_sends_nothing_stays_as_it_is() {
    let named = "MEDIA: a.txt";
    let mut turn = sending();
    turn.generation(text(named), view(0, 0));
    let effects = turn.generation(finished(FinishReason::Length), view(0, 0));
    assert!(ended(&effects).1.text.starts_with(named));
    let (mut turn, _) = begin(view(0, 0));
    turn.generation(text(named), view(0, 0));
    let effects = turn.generation(finished(FinishReason::EndOfTurn), view(0, 0));
    assert_eq!(ended(&effects).1.text, named);
}
