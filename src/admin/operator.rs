//! What is done for an operator who looks inside, or acts on an actor.
use std::time::Duration;

use archond_actors::domain::{ChannelId, PoolStatus, SessionKey, SessionStatus};
use archond_actors::house::HouseError;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

pub use super::inside::{Act, InsideOp, InsideReply};
use super::inside::{
    ActiveSession, ActorNode, CrashView, InspectionView, LimitView, PoolRequest, TraceView, WaitingAnswer,
    WaitingMessage, WindowView,
};
use super::operations::{AdminContext, Refusal};
use super::protocol::{ErrorCode, Reply, Response};
use super::trail::TrailView;
use super::views;

/// Longest wait for an actor that is asked for a list: an operator looks again rather than waits.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Rows of one answer.
const ROWS_MAX: usize = 1000;
/// Longest trace: who wants to know more looks again.
const TRACE_TIME_MAX: Duration = Duration::from_secs(3600);
/// Trace events that are told in one second; more are counted.
const TRACE_EVENTS_PER_SECOND: u32 = 200;

/// Does what is asked.
pub(super) async fn perform(
    id: u64,
    op: InsideOp,
    context: &AdminContext,
    sender: &mpsc::Sender<Response>,
) -> Result<Reply, Refusal> {
    let roster = context.house.roster();
    Ok(Reply::Inside(match op {
        InsideOp::Tree => InsideReply::Tree(roster.tree().into_iter().map(ActorNode::from).collect()),
        InsideOp::Inspect { path } => {
            let facts = roster.inspect(&path).await?;
            let facts = facts
                .map(|facts| facts.into_iter().map(|(name, fact)| (name.to_owned(), fact.into())).collect());
            InsideReply::Inspection(InspectionView { actor: roster.actor(&path)?.into(), facts })
        }
        InsideOp::Trace { path, seconds } => return trace(id, &path, seconds, context, sender).await,
        InsideOp::Act { path, act } => return act_on(&path, act, context).await,
        InsideOp::Pool => {
            let pool = pool(context).await?;
            InsideReply::Pool {
                models: pool.models.iter().map(views::model_view).collect(),
                requests: pool.requests.into_iter().take(ROWS_MAX).map(PoolRequest::from).collect(),
            }
        }
        InsideOp::Sessions => {
            let sessions = sessions(context).await;
            InsideReply::Sessions(sessions.into_iter().map(ActiveSession::from).collect())
        }
        InsideOp::Window { session } => InsideReply::Window(window(&session, context).await?),
        InsideOp::Inbox => InsideReply::Inbox(inbox(context).await?),
        InsideOp::Outbox => InsideReply::Outbox(outbox(context).await?),
        InsideOp::Crashes => {
            InsideReply::Crashes(roster.crashes().into_iter().map(CrashView::from).collect())
        }
        InsideOp::Trail => {
            InsideReply::Trail(context.house.trail().answers().iter().map(TrailView::from).collect())
        }
        InsideOp::Limits => InsideReply::Limits(limits(context).await?),
        InsideOp::SetLog { target, level } => {
            context
                .log
                .set(&target, &level)
                .map_err(|error| Refusal { code: ErrorCode::BadRequest, message: error.to_string() })?;
            tracing::info!(target, level, "the operator changed what is logged");
            return Ok(Reply::Done);
        }
    }))
}

async fn act_on(path: &str, act: Act, context: &AdminContext) -> Result<Reply, Refusal> {
    let roster = context.house.roster();
    match act {
        Act::Kill => roster.kill(path)?,
        Act::Stop => context.house.stop(path).await?,
        Act::Restart => context.house.restart(path).await?,
        Act::Suspend => roster.suspend(path, true)?,
        Act::Resume => roster.suspend(path, false)?,
    }
    tracing::info!(path, ?act, "the operator acted");
    Ok(Reply::Done)
}

async fn trace(
    id: u64,
    path: &str,
    seconds: u32,
    context: &AdminContext,
    sender: &mpsc::Sender<Response>,
) -> Result<Reply, Refusal> {
    let mut events = context.house.roster().trace(path)?;
    let end = Instant::now() + Duration::from_secs(seconds.into()).min(TRACE_TIME_MAX);
    let (mut second, mut told, mut left_out) = (Instant::now(), 0, 0);
    while let Ok(Some(event)) = timeout_at(end, events.recv()).await {
        if second.elapsed() >= Duration::from_secs(1) {
            (second, told) = (Instant::now(), 0);
        }
        left_out += event.left_out;
        if told == TRACE_EVENTS_PER_SECOND {
            left_out += 1;
            continue;
        }
        told += 1;
        let traced = TraceView { left_out: std::mem::take(&mut left_out), ..event.into() };
        if sender.send(Response { id, reply: Reply::Inside(InsideReply::Traced(traced)) }).await.is_err() {
            break;
        }
    }
    Ok(Reply::Done)
}

fn silent(what: &str) -> Refusal {
    Refusal {
        code: ErrorCode::Unavailable,
        message: format!("{what} does not answer now; `tree` shows what it does"),
    }
}

async fn pool(context: &AdminContext) -> Result<PoolStatus, Refusal> {
    let status = timeout(LOOK_TIMEOUT, context.house.pool_status()).await;
    Ok(status.map_err(|_| silent("the pool"))?.map_err(HouseError::Pool)?)
}

/// Of every Archon that answers.
async fn sessions(context: &AdminContext) -> Vec<SessionStatus> {
    let mut found = Vec::new();
    for archon in context.house.archons() {
        if let Ok(Ok(sessions)) = timeout(LOOK_TIMEOUT, context.house.sessions(&archon)).await {
            found.extend(sessions);
        }
    }
    found.sort_by(|one, other| one.key.cmp(&other.key));
    found.truncate(ROWS_MAX);
    found
}

async fn window(session: &str, context: &AdminContext) -> Result<WindowView, Refusal> {
    let key: SessionKey = session.parse()?;
    let snapshot = context.house.memory().session(&key).await?;
    let active = match timeout(LOOK_TIMEOUT, context.house.sessions(&key.archon)).await {
        Ok(Ok(sessions)) => sessions.into_iter().find(|status| status.key == key),
        Ok(Err(_)) | Err(_) => None,
    };
    if snapshot.is_none() && active.is_none() {
        let message = format!("there is no session {key}; `archond session list` shows all");
        return Err(Refusal { code: ErrorCode::NotFound, message });
    }
    let spec = context.house.spec(&key.archon);
    let (summary, turns) = snapshot.map(|found| (found.head.summary, found.turns)).unwrap_or_default();
    Ok(WindowView {
        session: key.to_string(),
        active: active.map(ActiveSession::from),
        persona_bytes: spec.map_or(0, |spec| spec.persona.len() as u64),
        summary_bytes: summary.as_ref().map_or(0, |summary| summary.text.len() as u64),
        summarised: summary.map_or(0, |summary| summary.turns),
        turns: turns
            .iter()
            .map(|turn| (turn.number, turn.user.len() as u64, turn.answer.len() as u64))
            .collect(),
    })
}

async fn inbox(context: &AdminContext) -> Result<Vec<WaitingMessage>, Refusal> {
    let mut found = Vec::new();
    for archon in context.house.archons() {
        let room = ROWS_MAX.saturating_sub(found.len());
        let entries = context.house.memory().pending(&archon, None, room).await?;
        found.extend(entries.into_iter().map(WaitingMessage::from));
    }
    Ok(found)
}

async fn outbox(context: &AdminContext) -> Result<Vec<WaitingAnswer>, Refusal> {
    let mut channels: Vec<ChannelId> = Vec::new();
    for spec in context.house.archons().iter().filter_map(|archon| context.house.spec(archon)) {
        channels.extend(
            spec.channels.iter().filter(|&channel| !channels.contains(channel)).cloned().collect::<Vec<_>>(),
        );
    }
    let mut found = Vec::new();
    for channel in channels {
        let room = ROWS_MAX.saturating_sub(found.len());
        let entries = context.house.memory().undelivered(&channel, None, None, room).await?;
        found.extend(entries.into_iter().map(WaitingAnswer::from));
    }
    Ok(found)
}

/// Everything that has a bound, with how much of it is used.
async fn limits(context: &AdminContext) -> Result<Vec<LimitView>, Refusal> {
    let mut limits = Vec::new();
    let mut limit = |what: String, now: u64, max: u64| limits.push(LimitView { what, now, max });
    let pool = pool(context).await?;
    let waiting = pool.requests.iter().filter(|request| request.position.is_some()).count();
    limit("requests waiting in the pool".into(), waiting as u64, pool.queue_len_max.into());
    for model in &pool.models {
        limit(format!("answers at once by {}", model.id), model.slots_used.into(), model.slots.into());
    }
    for archon in context.house.archons() {
        let (Some(spec), Some(status)) =
            (context.house.spec(&archon), context.house.archon_status(&archon).await)
        else {
            continue;
        };
        let waiting = u64::from(status.waiting) + u64::from(status.in_flight);
        limit(
            format!("turns of {archon} at once"),
            status.in_flight.into(),
            spec.limits.turns_in_flight_max.into(),
        );
        limit(format!("messages of {archon} without an answer"), waiting, spec.limits.inbox_len_max.into());
    }
    for actor in context.house.roster().tree() {
        if actor.mailbox_len > 0 {
            limit(
                format!("mailbox of {}", actor.path),
                actor.mailbox_len as u64,
                actor.mailbox_len_max as u64,
            );
        }
    }
    Ok(limits)
}
