//! What the protocol shows of the house's own types.
use std::path::Path;

use archond_actors::domain::{
    AnswerKind, ArchonStatus, Attachment, CallRecord, ModelState, ModelStatus, OutboxEntry, Outcome,
    SessionHead, TurnEvent, TurnRecord,
};

use super::channels::ChannelView;
use super::operations::AdminContext;
use super::protocol::{
    AnswerView, ArchonView, AttachmentView, CallEnd, CallView, HouseView, ModelView, RecordedTurnView,
    SessionView, TurnView, TurnsView,
};
use crate::tools::Grounds;

/// Calls of one turn that are shown; a turn rarely has more, and a page holds many turns.
const CALLS_SHOWN_MAX: usize = 32;
/// Characters that are shown of a call's arguments, and of its outcome: two lines of a terminal. The whole is in the store.
const CALL_CHARS_MAX: usize = 160;

/// `state` is where the workspaces are.
pub(super) fn answer(entry: &OutboxEntry, state: &Path) -> AnswerView {
    let workspace = Grounds::of_archon(state, &entry.session.archon).workspace;
    let attachment = |attachment: &Attachment| AttachmentView {
        path: workspace.join(&attachment.path).display().to_string(),
        bytes: attachment.bytes,
        sha256: attachment.sha256.clone(),
        media_type: attachment.media_type.clone(),
        caption: attachment.caption.clone(),
    };
    let kind = match entry.kind {
        AnswerKind::Answer => "answer",
        AnswerKind::Notice => "notice",
        AnswerKind::Failure => "failure",
    };
    // The client's own id stands behind the user's.
    let key = entry.key.split_once(':').map_or(entry.key.as_str(), |(_, key)| key);
    AnswerView {
        outbox: entry.id.0,
        inbox: entry.answers.0,
        key: key.to_owned(),
        session: entry.session.to_string(),
        kind: kind.to_owned(),
        text: entry.text.clone(),
        attachments: entry.attachments.iter().map(attachment).collect(),
        created_unix_ms: entry.created_unix_ms,
    }
}

pub(super) fn turn_event(event: TurnEvent, state: &Path) -> TurnView {
    match event {
        TurnEvent::Queued { position } => TurnView::Queued { position },
        TurnEvent::Loading { model, percent } => TurnView::Loading { model: model.to_string(), percent },
        TurnEvent::Reading { done, total } => TurnView::Reading { done, total },
        TurnEvent::Compacting => TurnView::Compacting,
        TurnEvent::Text { text } => TurnView::Text { text },
        TurnEvent::CallBegun { tool, shown } => TurnView::CallBegun { tool, shown },
        TurnEvent::CallProgress { tool, text } => TurnView::CallProgress { tool, text },
        TurnEvent::CallEnded { tool, failed } => TurnView::CallEnded { tool, failed },
        TurnEvent::ApprovalWanted { tool, shown, why, timeout_s, .. } => {
            TurnView::ApprovalWanted { tool, shown, why, timeout_s }
        }
        TurnEvent::WorkerReplaced => TurnView::WorkerReplaced,
        TurnEvent::Retrying { attempt } => TurnView::Retrying { attempt },
        TurnEvent::Ended { answer: entry } => TurnView::Ended(answer(&entry, state)),
    }
}

pub(super) fn session(head: &SessionHead) -> SessionView {
    SessionView {
        session: head.key.to_string(),
        turns: head.turns,
        summarised: head.summary.as_ref().map_or(0, |summary| summary.turns),
        created_unix_ms: head.created_unix_ms,
        updated_unix_ms: head.updated_unix_ms,
    }
}

pub(super) fn turns(head: &SessionHead, turns: &[TurnRecord]) -> TurnsView {
    TurnsView {
        session: session(head),
        summary: head.summary.as_ref().map(|summary| summary.text.clone()),
        turns: turns.iter().map(recorded).collect(),
    }
}

fn recorded(turn: &TurnRecord) -> RecordedTurnView {
    let mut calls = turn.steps.iter().flat_map(|step| &step.calls);
    RecordedTurnView {
        number: turn.number,
        user: turn.said(),
        answer: turn.answer.clone(),
        stopped: turn.stopped,
        calls: calls.by_ref().take(CALLS_SHOWN_MAX).map(call).collect(),
        calls_left_out: calls.count(),
        model: turn.model.to_string(),
        prompt_tokens: turn.usage.prompt_tokens,
        cached_tokens: turn.usage.cached_tokens,
        answer_tokens: turn.usage.answer_tokens,
        ended_unix_ms: turn.ended_unix_ms,
    }
}

fn call(record: &CallRecord) -> CallView {
    let (ended, text) = match &record.outcome {
        Outcome::Done { text } => (CallEnd::Done, text.as_str()),
        Outcome::Failed { text } => (CallEnd::Failed, text.as_str()),
        Outcome::Unknown => (CallEnd::Unknown, ""),
    };
    let (name, arguments) = (line(&record.call.name), line(&record.call.arguments));
    CallView { name, arguments, ended, text: line(text) }
}

/// The beginning of a text, in one line.
fn line(text: &str) -> String {
    let mut line = String::new();
    let mut shown = 0;
    for character in text.trim().chars() {
        let character = if character.is_whitespace() { ' ' } else { character };
        if character == ' ' && line.ends_with(' ') {
            continue;
        }
        if shown == CALL_CHARS_MAX {
            line.push('…');
            break;
        }
        line.push(character);
        shown += 1;
    }
    line
}

pub(super) async fn house(context: &AdminContext) -> HouseView {
    let status = context.house.status().await;
    HouseView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_unix_ms: context.started_unix_ms,
        memory_bytes: resident_bytes(std::process::id()).unwrap_or(0),
        socket: context.socket.clone(),
        gateway: context.gateway.as_ref().map(|gateway| match gateway.place() {
            Ok(address) => format!("http://{address}/v1"),
            Err(problem) => problem,
        }),
        logs: context.logs.clone(),
        notice: notice(&status.archons),
        archons: status.archons.iter().map(|archon| archon_view(archon, context)).collect(),
        models: status.pool.models.iter().map(model_view).collect(),
        channels: context.house.channels().iter().map(ChannelView::of).collect(),
    }
}

/// One line when a small model stands in for a real one, with the command that gets the real one.
fn notice(archons: &[ArchonStatus]) -> Option<String> {
    archons.iter().find_map(|archon| {
        let (wanted, model) = (archon.wanted_model.as_ref()?, archon.model.as_ref()?);
        archond_actors::harness::stand_in(wanted, model)
    })
}

fn archon_view(archon: &ArchonStatus, context: &AdminContext) -> ArchonView {
    let spec = context.house.spec(&archon.id);
    ArchonView {
        archon: archon.id.to_string(),
        display_name: spec.as_ref().map_or_else(|| archon.id.to_string(), |spec| spec.display_name.clone()),
        state: archon.state.to_string(),
        model: archon.model.as_ref().map(ToString::to_string),
        wanted_model: archon.wanted_model.as_ref().map(ToString::to_string),
        channels: spec
            .map(|spec| spec.channels.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        sessions: archon.sessions,
        in_flight: archon.in_flight,
        waiting: archon.waiting,
        crashes: archon.crashes,
        last_error: archon.last_error.clone(),
    }
}

pub(super) fn model_view(model: &ModelStatus) -> ModelView {
    let (state, percent) = match model.state {
        ModelState::Idle => ("idle", None),
        ModelState::Loading { percent } => ("loading", Some(percent)),
        ModelState::Ready => ("ready", None),
        ModelState::Resting => ("resting", None),
        ModelState::AwaitingMemory => ("waits for memory", None),
        ModelState::Restarting { .. } => ("restarting", None),
        ModelState::Failed { .. } => ("failed", None),
    };
    ModelView {
        model: model.id.to_string(),
        state: state.to_owned(),
        percent,
        pid: model.pid,
        processor: model.processor.clone(),
        memory_bytes: model.pid.and_then(resident_bytes),
        slots: model.slots,
        slots_used: model.slots_used,
        queued: model.queued,
        context_tokens: model.context_tokens,
        crashes: model.crashes,
        tokens: model.tokens,
        prompt_tokens: model.prompt_tokens,
        cached_tokens: model.cached_tokens,
        written_tokens: model.written_tokens,
        written_ms: model.written_ms,
        last_error: model.last_error.clone(),
    }
}

/// Memory of a process that is in RAM, file pages included: `VmRSS` of `/proc/<pid>/status`, which is in KiB.
fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use archond_actors::domain::{InboxId, ToolCall, ToolStep, Usage};

    use super::*;

    #[test]
    fn what_is_shown_of_a_call_is_short_and_in_one_line() {
        let texts = [
            ("", ""),
            ("  a\n\n\tb \r\n", "a b"),
            (&"é".repeat(CALL_CHARS_MAX), &"é".repeat(CALL_CHARS_MAX)),
            (
                &format!("{}\u{2028}x", "y".repeat(CALL_CHARS_MAX - 1)),
                &format!("{} …", "y".repeat(CALL_CHARS_MAX - 1)),
            ),
        ];
        for (text, shown) in texts {
            assert_eq!(line(text), shown);
        }
    }

    #[test]
    fn the_first_calls_of_a_turn_are_shown_and_the_others_counted() {
        let call = |id: usize| CallRecord {
            call: ToolCall { id: id.to_string(), name: format!("t{id}"), arguments: "{}".into() },
            outcome: match id {
                0 => Outcome::Done { text: "a\nb".into() },
                1 => Outcome::Failed { text: "no".into() },
                _ => Outcome::Unknown,
            },
        };
        let steps = |calls: usize| -> Vec<ToolStep> {
            (0..calls).map(|id| ToolStep { text: "well".into(), calls: vec![call(id)] }).collect()
        };
        let turn = |calls| TurnRecord {
            number: 0,
            inbox: InboxId(1),
            user: "u".into(),
            answer: "a".into(),
            stopped: false,
            model: "m".parse().unwrap(),
            steps: steps(calls),
            asides: Vec::new(),
            brought: Vec::new(),
            usage: Usage::default(),
            ended_unix_ms: 0,
        };
        let few = recorded(&turn(3));
        let ends: Vec<_> =
            few.calls.iter().map(|call| (call.name.as_str(), call.ended, call.text.as_str())).collect();
        let expected =
            [("t0", CallEnd::Done, "a b"), ("t1", CallEnd::Failed, "no"), ("t2", CallEnd::Unknown, "")];
        assert_eq!((ends.as_slice(), few.calls_left_out), (expected.as_slice(), 0));
        let many = recorded(&turn(CALLS_SHOWN_MAX + 5));
        assert_eq!((many.calls.len(), many.calls_left_out), (CALLS_SHOWN_MAX, 5));
    }
}
