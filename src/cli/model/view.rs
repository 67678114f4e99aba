//! How models are shown: a table, a page, and JSON.
use std::fmt::Write as _;
use std::path::PathBuf;

use archond_models::catalogue::{Artifact, Family, Role, Source};
use archond_models::library::{Entry, State, Stored};
use serde::Serialize;

use super::super::moment::{ago, bytes, now_unix_ms, utc};
use super::super::ps;
use crate::engine::WorkerLimits;
use crate::worker_fit::SLOTS_AUTO_MAX;

/// Shown where there is nothing to show.
const NOTHING: &str = "-";
/// The conversation's length that memory is told for: what the shipped profiles ask for. A model with a shorter context has its own.
const CONTEXT_TOKENS: u32 = 8_192;

/// A model for programs. The names of the fields are a promise.
#[derive(Debug, Serialize)]
pub(super) struct ModelJson {
    id: String,
    aliases: Vec<String>,
    name: String,
    family: Family,
    role: Role,
    licence: String,
    parameters: u64,
    quantisation: String,
    context_tokens: u32,
    /// `ready`, `partial`, `damaged` or `absent`.
    state: &'static str,
    /// Of the whole file, by the catalogue.
    bytes: u64,
    bytes_on_disk: u64,
    /// With one conversation of 8192 tokens, or of the model's own context, and the weights that are laid out anew.
    memory_bytes: u64,
    /// Weights that a worker would lay out anew for the processor, at most.
    repacked_bytes: u64,
    path: Option<PathBuf>,
    sha256: Option<String>,
    source: String,
    added_unix_s: Option<u64>,
}

impl ModelJson {
    pub(super) fn of(entry: &Entry, limits: &WorkerLimits) -> Self {
        let model = entry.model.as_ref().clone();
        let stored = stored(entry);
        let repacked_bytes = repacked_bytes(entry, limits);
        let context_tokens = u64::from(model.context_tokens.min(CONTEXT_TOKENS));
        Self {
            state: word(&entry.state),
            bytes: stored.map_or(model.weights.bytes.count(), |stored| stored.record.bytes),
            bytes_on_disk: match &entry.state {
                State::Ready(stored) => stored.record.bytes,
                State::Partial { bytes, .. } => *bytes,
                State::Absent | State::Damaged { .. } => 0,
            },
            memory_bytes: model.memory_bytes(context_tokens, 1).saturating_add(repacked_bytes),
            repacked_bytes,
            path: stored.map(|stored| stored.path.clone()),
            sha256: stored.map(|stored| stored.record.sha256.clone()).or(model.weights.sha256),
            source: stored.map_or_else(|| source(&model.source), |stored| stored.record.source.clone()),
            added_unix_s: stored.map(|stored| stored.record.added_unix_s),
            id: model.id,
            aliases: model.aliases,
            name: model.name,
            family: model.family,
            role: model.role,
            licence: model.licence,
            parameters: model.parameters,
            quantisation: model.quantisation,
            context_tokens: model.context_tokens,
        }
    }
}

/// The table of `ls`.
pub(super) fn table(entries: &[Entry]) -> String {
    let now = now_unix_ms();
    let rows = entries.iter().map(|entry| {
        let model = &entry.model;
        [
            model.id.clone(),
            bytes(stored(entry).map_or(model.weights.bytes.count(), |stored| stored.record.bytes)),
            model.quantisation.clone(),
            model.context_tokens.to_string(),
            state(&entry.state),
            stored(entry).map_or(NOTHING.to_owned(), |stored| {
                ago(now, stored.record.added_unix_s.saturating_mul(1000))
            }),
        ]
    });
    ps::table(["NAME", "SIZE", "QUANT", "CONTEXT", "STATE", "MODIFIED"], rows)
}

/// The page of `show`.
pub(super) fn page(entry: &Entry, limits: &WorkerLimits) -> String {
    let model = &entry.model;
    let context = u64::from(model.context_tokens.min(CONTEXT_TOKENS));
    let repacked = repacked_bytes(entry, limits);
    let memory = |slots: u32| bytes(model.memory_bytes(context, slots.into()).saturating_add(repacked));
    let mut lines = vec![
        ("name", format!("{} ({})", model.id, model.name)),
        ("aliases", or_nothing(&model.aliases.join(", "))),
        ("state", state(&entry.state)),
        ("role", format!("{:?}, spoken to as {:?}", model.role, model.family).to_lowercase()),
        ("licence", model.licence.clone()),
        ("parameters", millions(model.parameters)),
        ("quantisation", model.quantisation.clone()),
        ("context", format!("{} tokens", model.context_tokens)),
        (
            "memory",
            format!(
                "{} with one conversation of {context} tokens, {} with {SLOTS_AUTO_MAX}",
                memory(1),
                memory(SLOTS_AUTO_MAX)
            ),
        ),
        (
            "in memory",
            match repacked {
                0 => "used where the file is mapped".to_owned(),
                repacked => {
                    format!("laid out anew for this processor: up to {} of that memory", bytes(repacked))
                }
            },
        ),
        ("weights", artifact(&model.weights)),
        ("projector", model.mmproj.as_ref().map_or(NOTHING.to_owned(), artifact)),
        ("drafter", drafter(entry)),
        ("source", source(&model.source)),
    ];
    match &entry.state {
        State::Ready(stored) => lines.extend([
            ("file", stored.path.display().to_string()),
            ("size", format!("{} bytes", stored.record.bytes)),
            ("sha256", stored.record.sha256.clone()),
            ("from", stored.record.source.clone()),
            ("added", utc(stored.record.added_unix_s.saturating_mul(1000))),
        ]),
        State::Damaged { reason } => lines.push(("damage", reason.clone())),
        State::Absent | State::Partial { .. } => {
            lines.push(("get it", format!("archond model pull {}", model.id)))
        }
    }
    let mut text = String::new();
    for (key, value) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key:<14}{value}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn stored(entry: &Entry) -> Option<&Stored> {
    match &entry.state {
        State::Ready(stored) => Some(stored),
        _ => None,
    }
}

/// Weights that a worker would lay out anew, at most.
fn repacked_bytes(entry: &Entry, limits: &WorkerLimits) -> u64 {
    let model = &entry.model;
    let weights = stored(entry).map_or(model.weights.bytes.count(), |stored| stored.record.bytes);
    let bytes_of = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.record.bytes);
    limits.need(model, weights, bytes_of(&entry.projector), bytes_of(&entry.drafter)).repacked_bytes
}

fn word(state: &State) -> &'static str {
    match state {
        State::Absent => "absent",
        State::Partial { .. } => "partial",
        State::Ready(_) => "ready",
        State::Damaged { .. } => "damaged",
    }
}

fn state(state: &State) -> String {
    match state {
        State::Partial { bytes, total } => {
            format!("partial {} %", (bytes.saturating_mul(100) / (*total).max(1)).min(99))
        }
        other => word(other).to_owned(),
    }
}

fn artifact(artifact: &Artifact) -> String {
    format!("{} ({})", artifact.file, bytes(artifact.bytes.count()))
}

fn drafter(entry: &Entry) -> String {
    let stored = entry.drafter.as_ref();
    let on_disk = stored.map(|stored| format!("{} ({})", stored.record.file, bytes(stored.record.bytes)));
    let known = || entry.model.drafter.as_ref().map(|drafter| format!("not on disk; {}", drafter.repository));
    on_disk.or_else(known).unwrap_or_else(|| NOTHING.to_owned())
}

fn source(source: &Source) -> String {
    match source {
        Source::HuggingFace { repository } => format!("hub repository {repository}"),
        Source::PyPi { project, version, .. } => format!("Python package {project} {version}"),
        Source::Import => "imported".to_owned(),
    }
}

fn millions(count: u64) -> String {
    match count {
        0..1_000_000 => count.to_string(),
        1_000_000..1_000_000_000 => format!("{} million", count / 1_000_000),
        _ => format!("{}.{} billion", count / 1_000_000_000, count / 100_000_000 % 10),
    }
}

fn or_nothing(text: &str) -> String {
    if text.is_empty() { NOTHING.to_owned() } else { text.to_owned() }
}
