//! Tables and a property of messages that come while a turn runs.
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    AnswerPart, Chosen, ContextPolicy, FinishReason, MediaId, ModelId, Tier, ToolCall, Usage,
};
use crate::domain::{Enclosure, EnclosureKind, Waybill};
use crate::pool::GenerationEvent;
use crate::session::calling::Resumed;
use crate::session::turn::{Beginning, Task, View};
use crate::tools::ToolKit;

fn view() -> View {
    let policy = ContextPolicy { tokens_max: 1000, compact_at_percent: 75, keep_turns: 2 };
    View { policy, uncovered: 0, context_tokens: 0 }
}

fn begin(resumed: Resumed) -> (Turn, Vec<Effect>) {
    let beginning = Beginning {
        label: "1".to_owned(),
        user: "tea".to_owned(),
        kit: ToolKit::new(&[], Arc::default()),
        grants: vec![],
        standing: vec![],
        seen: vec![],
        is_handed_on: false,
        resumed,
        task: Task::Answer,
    };
    Turn::begin(beginning, view())
}

/// The model asks for a call that no tool answers: it has ended in the same moment.
fn calls(turn: &mut Turn, number: usize) -> Vec<Effect> {
    let call = ToolCall { id: "1".into(), name: format!("none{number}"), arguments: "{}".into() };
    let chosen = Chosen { parts: vec![AnswerPart::Call(call)], logprobs: None };
    turn.generation(GenerationEvent::Token { chosen }, view());
    finishes(turn, FinishReason::EndOfTurn)
}

fn finishes(turn: &mut Turn, reason: FinishReason) -> Vec<Effect> {
    let (model, usage) = (ModelId::new("m").unwrap(), Usage::default());
    turn.generation(GenerationEvent::Finished { model, reason, usage }, view())
}

fn offered(ids: std::ops::RangeInclusive<u64>) -> Vec<(InboxId, String)> {
    ids.map(|id| (InboxId(id), format!("and {id}"))).collect()
}

fn entry(id: u64, text: &str) -> InboxEntry {
    InboxEntry {
        id: InboxId(id),
        session: "ezra/cli/p/main".parse().unwrap(),
        key: id.to_string(),
        text: text.into(),
        received_unix_ms: 0,
        attempts: 0,
        waybill: Waybill { tier: Some(Tier::Owner), ..Waybill::default() },
    }
}

#[test]
fn what_joins_a_turn_is_plain_words_of_the_same_standing_and_overtakes_nothing() {
    let of_a_user = |id| {
        let mut entry = entry(id, "hi");
        entry.waybill.tier = Some(Tier::User);
        entry
    };
    let with_a_picture = |id| {
        let mut entry = entry(id, "look");
        let (media, name) = (MediaId::new([0; 32]), String::new());
        entry.waybill.enclosures.push(Enclosure { id: media, kind: EnclosureKind::Picture, bytes: 1, name });
        entry
    };
    let table = [
        (vec![entry(2, "and milk"), entry(3, "also sugar")], 2),
        (vec![entry(2, "and milk"), entry(3, "/retry"), entry(4, "hm")], 1),
        (vec![entry(2, "/compact"), entry(3, "hm")], 0),
        (vec![of_a_user(2), entry(3, "hm")], 0),
        (vec![entry(2, "hm"), with_a_picture(3)], 1),
        (vec![], 0),
    ];
    for (waiting, joins) in table {
        assert_eq!(joining(&entry(1, "tea"), &waiting).len(), joins, "{waiting:?}");
    }
}

#[test]
fn what_was_said_is_told_before_the_next_step_and_written_down_first() {
    let (mut turn, _) = begin(Resumed::default());
    turn.offer(offered(2..=3));
    let effects = calls(&mut turn, 0);
    let heard = |id: u64| JournalEntry::Heard { inbox: InboxId(id), text: format!("and {id}") };
    let end = &effects[effects.len() - 2..];
    assert_eq!(end, [Effect::Journal(vec![heard(2), heard(3)]), Effect::AskAnswer]);
    turn.offer(offered(2..=3));
    assert_eq!(calls(&mut turn, 1).last(), Some(&Effect::AskAnswer), "it is told once");
    assert_eq!(
        turn.asides.iter().map(|aside| (aside.inbox.0, aside.after)).collect::<Vec<_>>(),
        [(2, 1), (3, 1)]
    );
}

#[test]
fn a_turn_that_ends_before_leaves_what_was_said() {
    let (mut turn, _) = begin(Resumed::default());
    turn.offer(offered(2..=2));
    turn.generation(GenerationEvent::Token { chosen: Chosen::text("done") }, view());
    let effects = finishes(&mut turn, FinishReason::EndOfTurn);
    assert!(matches!(&effects[..], [Effect::End { turn: Some(turn), .. }] if turn.asides.is_empty()));

    let (mut turn, _) = begin(Resumed::default());
    turn.offer(offered(2..=2));
    turn.offer(vec![]);
    calls(&mut turn, 0);
    assert!(turn.asides.is_empty(), "its writer chose otherwise meanwhile");
}

proptest! {
    /// Messages are offered, calls are made, the turn is stopped, and it is begun again from its journal, as it comes: each message is
    /// told once, in order, between two steps, right before the model is asked; and the journal tells the same story as the turn.
    #[test]
    fn a_message_is_told_once_and_at_the_same_place_after_a_crash(events in prop::collection::vec(0_u8..6, 0..40)) {
        let (mut turn, mut effects) = begin(Resumed::default());
        let (mut journal, mut last, mut told) = (Vec::new(), 1_u64, Vec::<u64>::new());
        for (number, event) in events.into_iter().enumerate() {
            for (at, effect) in effects.iter().enumerate() {
                let Effect::Journal(entries) = effect else { continue };
                let heard: Vec<u64> = entries.iter().filter_map(|entry| match entry {
                    JournalEntry::Heard { inbox, .. } => Some(inbox.0),
                    _ => None,
                }).collect();
                prop_assert!(heard.is_empty() || effects.get(at + 1) == Some(&Effect::AskAnswer), "{effects:?}");
                told.extend(heard);
                journal.extend(entries.clone());
            }
            let mut in_order = told.clone();
            in_order.sort_unstable();
            in_order.dedup();
            prop_assert_eq!(&told, &in_order);
            if let Some(Effect::End { turn: kept, .. }) = effects.last() {
                let asides = kept.iter().flat_map(|kept| &kept.asides).map(|aside| aside.inbox.0);
                prop_assert!(kept.is_none() || asides.eq(told.iter().copied()));
                return Ok(());
            }
            let resumed = Resumed::from_journal(journal.clone());
            prop_assert_eq!((&resumed.steps[..], &resumed.asides[..]), (turn.steps().0, turn.steps().1));
            effects = match event {
                0 | 1 => {
                    last += 1;
                    let first = told.last().map_or(2, |told| told + 1);
                    turn.offer(offered(first..=last));
                    vec![]
                }
                2 | 3 => calls(&mut turn, number),
                4 => {
                    // What was not told is offered again, or not: then it is the next message.
                    let (again, first) = begin(resumed);
                    turn = again;
                    first
                }
                _ => {
                    turn.stop();
                    finishes(&mut turn, FinishReason::Cancelled)
                }
            };
        }
    }
}
