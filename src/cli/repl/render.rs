//! What is seen inside, as people read it: trees and tables.
use crate::admin::inside::{
    ActiveSession, ActorNode, CrashView, FactView, InspectionView, LimitView, PoolRequest, TraceView,
    WaitingAnswer, WaitingMessage, WindowView,
};
use crate::admin::protocol::ModelView;
use crate::cli::console::{Paint, Painted};
use crate::cli::moment::{ago, bytes, utc};
use crate::cli::plain::plain;
use crate::cli::ps::{self, table};

/// Width of the bar that shows how full something is.
const BAR_WIDTH: u64 = 20;

/// What a state looks like.
fn of_state(state: &str) -> Paint {
    match state {
        "ready" | "running" => Paint::Good,
        "failed" | "quarantined" => Paint::Bad,
        _ => Paint::Odd,
    }
}

/// A time that fits: `1.2 s`, `3 min`.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms / 100 % 10),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..86_400_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// The actors as a tree with columns.
pub(in crate::cli) fn tree(actors: &[ActorNode]) -> Painted {
    let header = ["ACTOR", "STATE", "AGE", "RESTARTS", "MAILBOX", "DOES"].map(str::to_owned);
    let rows: Vec<[String; 6]> =
        actors.iter().enumerate().map(|(at, actor)| row(actors, at, actor)).collect();
    let mut widths = [0; 6];
    for row in std::iter::once(&header).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    // The last column is as wide as it is: no line ends in spaces.
    widths[5] = 0;
    let mut text = Painted::default();
    let mut line = |begin: &str, cells: &[String; 6], paints: [Paint; 6]| {
        text.push(Paint::Plain, begin);
        for ((cell, width), paint) in cells.iter().zip(widths).zip(paints) {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()) + 2);
            text.push(paint, cell);
            if width > 0 {
                text.push(Paint::Plain, gap);
            }
        }
    };
    line("", &header, [Paint::Plain; 6]);
    for (actor, row) in actors.iter().zip(&rows) {
        let restarts = if actor.restarts > 0 { Paint::Odd } else { Paint::Plain };
        line(
            "\n",
            row,
            [Paint::Plain, of_state(&actor.state), Paint::Plain, restarts, Paint::Plain, Paint::Plain],
        );
    }
    let down = actors.iter().filter(|actor| actor.age_ms.is_none());
    for (actor, error) in down.filter_map(|actor| Some((actor, actor.last_error.as_ref()?))) {
        text.push(Paint::Dim, format!("\n{}: {error}", actor.path));
    }
    text
}

fn row(actors: &[ActorNode], at: usize, actor: &ActorNode) -> [String; 6] {
    [
        format!("{}{}", branches(actors, at), plain(name(actors, at))),
        actor.state.clone(),
        actor.age_ms.map_or_else(|| "-".to_owned(), duration),
        actor.restarts.to_string(),
        format!("{}/{}", actor.mailbox, actor.mailbox_max),
        does(actor),
    ]
}

/// What it does, or waits for, in few words.
fn does(actor: &ActorNode) -> String {
    let mut words = Vec::new();
    if let Some(kind) = &actor.doing {
        let about = actor.about.as_ref().map(|about| format!(" ({})", plain(about))).unwrap_or_default();
        words.push(format!("{kind}{about} for {}", duration(actor.doing_ms.unwrap_or(0))));
    }
    if let Some(other) = &actor.waits_for {
        words.push(format!("waits for {other} for {}", duration(actor.waits_ms.unwrap_or(0))));
    }
    if let Some(ms) = actor.restart_in_ms {
        words.push(format!("starts again in {}", duration(ms)));
    }
    words.join(", ")
}

/// The last part of the path: what is behind the parent's.
fn name(actors: &[ActorNode], at: usize) -> &str {
    let actor = &actors[at];
    let parent = actors[..at].iter().rev().find(|above| above.depth + 1 == actor.depth);
    parent
        .and_then(|parent| actor.path.strip_prefix(parent.path.as_str())?.strip_prefix('/'))
        .unwrap_or(&actor.path)
}

/// The lines that lead to an actor.
fn branches(actors: &[ActorNode], at: usize) -> String {
    let top = actors.first().map_or(0, |first| first.depth);
    let depth = actors[at].depth;
    let mut text = String::new();
    for level in top + 1..=depth {
        // Is there a later sibling of the ancestor at this level, before the level above goes on?
        let later = actors[at + 1..]
            .iter()
            .take_while(|other| other.depth >= level)
            .any(|other| other.depth == level);
        text += match (level == depth, later) {
            (true, true) => "├─ ",
            (true, false) => "└─ ",
            (false, true) => "│  ",
            (false, false) => "   ",
        };
    }
    text
}

/// One actor's state.
pub(super) fn inspection(view: &InspectionView) -> Painted {
    let actor = &view.actor;
    let mut rows: Vec<(String, String)> = vec![
        ("path".into(), actor.path.clone()),
        ("state".into(), actor.state.clone()),
        ("age".into(), actor.age_ms.map_or_else(|| "-".into(), duration)),
        ("restarts".into(), actor.restarts.to_string()),
        ("mailbox".into(), format!("{} of {}", actor.mailbox, actor.mailbox_max)),
        ("handled".into(), format!("{} messages", actor.handled)),
    ];
    let does = does(actor);
    if !does.is_empty() {
        rows.push(("does".into(), does));
    }
    if let Some(error) = &actor.last_error {
        rows.push(("last failure".into(), error.clone()));
    }
    match &view.facts {
        Some(facts) => rows.extend(facts.iter().map(|(name, fact)| (name.clone(), shown(fact)))),
        None => rows.push(("its own word".into(), "it does not answer now".into())),
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = Painted::default();
    for (at, (name, value)) in rows.iter().enumerate() {
        let end = if at + 1 < rows.len() { "\n" } else { "" };
        text.push(Paint::Plain, format!("{name:<width$}  "));
        text.push(if name == "state" { of_state(value) } else { Paint::Plain }, value);
        text.push(Paint::Plain, end);
    }
    text
}

fn shown(fact: &FactView) -> String {
    match fact {
        FactView::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
        FactView::Count(count) => count.to_string(),
        FactView::Text(text) => plain(text).into_owned(),
        FactView::List(list) if list.is_empty() => "none".to_owned(),
        FactView::List(list) => plain(&list.join(", ")).into_owned(),
    }
}

/// One traced message.
pub(super) fn traced(event: &TraceView) -> Painted {
    let mut text = Painted::default();
    if event.left_out > 0 {
        text.push(Paint::Dim, format!("… {} left out\n", event.left_out));
    }
    let about = event.about.as_deref().unwrap_or_default();
    text.push(
        Paint::Plain,
        format!(
            "{:<20} waited {:>7} µs, took {:>7} µs  {about}",
            event.message, event.waited_us, event.took_us
        ),
    );
    if event.failed {
        text.push(Paint::Bad, "  ended the actor");
    }
    text
}

/// Sessions in memory.
pub(super) fn sessions(sessions: &[ActiveSession]) -> String {
    table(
        ["SESSION", "STATE", "TURNS", "CONTEXT", "REUSED", "MODEL"],
        sessions.iter().map(|session| {
            [
                session.session.clone(),
                session.state.clone(),
                session.turns.to_string(),
                format!("{}/{}", session.context_tokens, session.context_tokens_max),
                format!("{} %", session.reuse_percent),
                session.model.clone().unwrap_or_else(|| "-".into()),
            ]
        }),
    )
}

/// What fills a window, with bars.
pub(super) fn window(window: &WindowView) -> String {
    let mut lines = vec![window.session.clone()];
    match &window.active {
        Some(active) => lines.push(format!(
            "{}, {} turns, context {} of {} tokens, {} % of the last prompt reused",
            active.state,
            active.turns,
            active.context_tokens,
            active.context_tokens_max,
            active.reuse_percent
        )),
        None => lines.push("not in memory; its next message brings it back".into()),
    }
    let turns: u64 = window.turns.iter().map(|(_, user, answer)| user + answer).sum();
    let whole = (window.persona_bytes + window.summary_bytes + turns).max(1);
    let mut part = |name: String, size: u64| {
        let bar = "█".repeat(usize::try_from(size * BAR_WIDTH / whole).unwrap_or(0));
        lines.push(format!("  {name:<24} {:>9}  {bar}", bytes(size)));
    };
    part("persona".into(), window.persona_bytes);
    if window.summarised > 0 {
        part(format!("summary of {} turns", window.summarised), window.summary_bytes);
    }
    for (number, user, answer) in &window.turns {
        part(format!("turn {}", number + 1), user + answer);
    }
    lines.join("\n")
}

/// The pool.
pub(super) fn pool(models: &[ModelView], requests: &[PoolRequest]) -> String {
    let reuse = |model: &ModelView| match model.prompt_tokens {
        0 => "-".to_owned(),
        all => format!("{} %", model.cached_tokens * 100 / all),
    };
    let mut text = ps::model_table(models);
    let reused: Vec<String> = models
        .iter()
        .filter(|model| model.prompt_tokens > 0)
        .map(|model| format!("{}: {} of all prompt tokens were reused", model.model, reuse(model)))
        .collect();
    if !reused.is_empty() {
        text += &format!("\n\n{}", reused.join("\n"));
    }
    if !requests.is_empty() {
        let rows = requests.iter().map(|request| {
            [
                request.id.to_string(),
                request.position.map_or_else(|| "runs".to_owned(), |position| format!("waits, {position}")),
                request.model.clone(),
                request.tokens.to_string(),
                request.session.clone(),
            ]
        });
        text += &format!("\n\n{}", table(["REQUEST", "PLACE", "MODEL", "TOKENS", "SESSION"], rows));
    }
    text
}

/// Messages without an answer.
pub(super) fn inbox(messages: &[WaitingMessage], now_unix_ms: u64) -> String {
    table(
        ["MESSAGE", "SESSION", "RECEIVED", "TRIES", "SIZE"],
        messages.iter().map(|message| {
            [
                message.inbox.to_string(),
                message.session.clone(),
                ago(now_unix_ms, message.received_unix_ms),
                message.attempts.to_string(),
                bytes(message.bytes),
            ]
        }),
    )
}

/// Answers that are not confirmed.
pub(super) fn outbox(answers: &[WaitingAnswer], now_unix_ms: u64) -> String {
    table(
        ["ANSWER", "TO MESSAGE", "SESSION", "WRITTEN", "SIZE"],
        answers.iter().map(|answer| {
            [
                answer.outbox.to_string(),
                answer.inbox.to_string(),
                answer.session.clone(),
                ago(now_unix_ms, answer.created_unix_ms),
                bytes(answer.bytes),
            ]
        }),
    )
}

/// The last crashes.
pub(super) fn crashes(crashes: &[CrashView], now_unix_ms: u64) -> String {
    table(
        ["CRASH", "WHEN", "ACTOR", "MESSAGE", "CAUSE"],
        crashes.iter().map(|crash| {
            [
                crash.id.to_string(),
                ago(now_unix_ms, crash.at_unix_ms),
                crash.path.clone(),
                crash.message.clone().unwrap_or_else(|| "-".into()),
                crash.cause.lines().next().unwrap_or_default().to_owned(),
            ]
        }),
    )
}

/// One crash.
pub(super) fn crash(crash: &CrashView) -> String {
    let mut text = format!(
        "crash    {}\nactor    {}, incarnation {}\nwhen     {}\ncause    {}",
        crash.id,
        plain(&crash.path),
        crash.incarnation,
        utc(crash.at_unix_ms),
        plain(&crash.cause)
    );
    if let Some(message) = &crash.message {
        let about = crash.about.as_ref().map(|about| format!(" ({})", plain(about))).unwrap_or_default();
        text += &format!("\nmessage  {message}{about}");
    }
    match &crash.stack {
        Some(stack) => text += &format!("\nstack\n{}", plain(stack)),
        None => text += "\nstack    none: it did not panic",
    }
    text
}

/// What is limited.
pub(super) fn limits(limits: &[LimitView]) -> String {
    table(
        ["NOW", "AT MOST", "", "WHAT"],
        limits.iter().map(|limit| {
            let full = limit.now.saturating_mul(BAR_WIDTH).checked_div(limit.max).unwrap_or(0).min(BAR_WIDTH);
            let bar = "█".repeat(usize::try_from(full).unwrap_or(0));
            [limit.now.to_string(), limit.max.to_string(), bar, limit.what.clone()]
        }),
    )
}
