//! What the protocol shows of the house's own types.
use archond_actors::domain::{
    AnswerKind, ArchonStatus, ModelState, ModelStatus, OutboxEntry, SessionHead, TurnEvent, TurnRecord,
};

use super::operations::AdminContext;
use super::protocol::{
    AnswerView, ArchonView, HouseView, ModelView, RecordedTurnView, SessionView, TurnView, TurnsView,
};

pub(super) fn answer(entry: &OutboxEntry) -> AnswerView {
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
        created_unix_ms: entry.created_unix_ms,
    }
}

pub(super) fn turn_event(event: TurnEvent) -> TurnView {
    match event {
        TurnEvent::Queued { position } => TurnView::Queued { position },
        TurnEvent::Loading { model, percent } => TurnView::Loading { model: model.to_string(), percent },
        TurnEvent::Reading { done, total } => TurnView::Reading { done, total },
        TurnEvent::Compacting => TurnView::Compacting,
        TurnEvent::Text { text } => TurnView::Text { text },
        TurnEvent::WorkerReplaced => TurnView::WorkerReplaced,
        TurnEvent::Retrying { attempt } => TurnView::Retrying { attempt },
        TurnEvent::Ended { answer: entry } => TurnView::Ended(answer(&entry)),
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
    RecordedTurnView {
        number: turn.number,
        user: turn.user.clone(),
        answer: turn.answer.clone(),
        stopped: turn.stopped,
        model: turn.model.to_string(),
        prompt_tokens: turn.usage.prompt_tokens,
        answer_tokens: turn.usage.answer_tokens,
        ended_unix_ms: turn.ended_unix_ms,
    }
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
