//! What the house says of what it keeps: sessions, approvals, models, whole conversations. Pure.
use crate::domain::{
    Busy, Footer, Grant, ModelId, ModelState, ModelStatus, Outcome, SessionHead, SessionKey, TurnRecord,
};
use crate::session::{Errand, quote};

/// Longest conversation that is given as an answer, in bytes; a longer one is for a file.
const EXPORT_BYTES_MAX: usize = 256 * 1024;

/// What `/usage` asks for; `None`: nothing that is known.
pub(super) fn footer_wish(words: &[&str]) -> Option<Errand> {
    match words {
        [] => Some(Errand::Usage),
        ["off"] => Some(Errand::Footer(Footer::Off)),
        ["tokens" | "on"] => Some(Errand::Footer(Footer::Tokens)),
        ["full"] => Some(Errand::Footer(Footer::Full)),
        _ => None,
    }
}

/// What `/busy` asks for; `None`: nothing that is known.
pub(super) fn busy_wish(words: &[&str]) -> Option<Errand> {
    match words {
        [] => Some(Errand::Busy(None)),
        [word] => {
            let word = word.to_lowercase();
            let busy = Busy::ALL.into_iter().find(|busy| busy.as_str() == word)?;
            Some(Errand::Busy(Some(busy)))
        }
        _ => None,
    }
}

/// The model that somebody means: its name, or a part of it that only one has.
pub(super) fn meant(name: &str, known: &[ModelId]) -> Result<ModelId, String> {
    let name = name.to_lowercase();
    if let Some(model) = known.iter().find(|model| model.as_str() == name) {
        return Ok(model.clone());
    }
    let parts: Vec<&ModelId> = known.iter().filter(|model| model.as_str().contains(&name)).collect();
    let list = |models: &[&ModelId]| models.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
    match parts.as_slice() {
        [model] => Ok((*model).clone()),
        [] => Err(format!(
            "There is no model {name} here. There are: {}. `archond model pull` gets others.",
            list(&known.iter().collect::<Vec<_>>())
        )),
        several => Err(format!("{name} may be each of: {}.", list(several))),
    }
}

/// The models that one may choose from.
pub(super) fn models_text(models: &[ModelStatus]) -> String {
    let line = |model: &ModelStatus| {
        let state = match &model.state {
            ModelState::Idle => "on disk".to_owned(),
            ModelState::Loading { percent } => format!("loading, {percent} %"),
            ModelState::Ready => "loaded".to_owned(),
            ModelState::Resting => "resting".to_owned(),
            ModelState::AwaitingMemory => "waits for memory".to_owned(),
            ModelState::Restarting { .. } => "restarting".to_owned(),
            ModelState::Failed { .. } => "failed".to_owned(),
        };
        format!("  {:<26} {state}", model.id.as_str())
    };
    let lines: Vec<String> = models.iter().map(line).collect();
    format!(
        "Models here:\n{}\n`/model NAME` chooses one for this session, with --once for one answer.",
        lines.join("\n")
    )
}

/// What a lasting yes covers.
pub(super) fn grant_text(grant: &Grant) -> String {
    match &grant.command {
        Some(command) => format!("{}: {command}", grant.tool),
        None => grant.tool.clone(),
    }
}

/// The answer to `/approvals`.
pub(super) fn approvals_text(grants: &[Grant]) -> String {
    if grants.is_empty() {
        return "You have allowed nothing for good; `/approve always` does that when I ask.".to_owned();
    }
    let lines =
        grants.iter().enumerate().map(|(index, grant)| format!("  {}  {}", index + 1, grant_text(grant)));
    let lines: Vec<String> = lines.collect();
    format!("I do these without asking you:\n{}\n`/approvals forget 1` ends the first.", lines.join("\n"))
}

/// A line of `/sessions`.
pub(super) fn session_row(head: &SessionHead, first: &str, is_here: bool, now_unix_ms: u64) -> String {
    let here = if is_here { "*" } else { " " };
    let age = ago(now_unix_ms.saturating_sub(head.updated_unix_ms));
    format!("{here} {:<8} {:>4} turns  {age:>8}  {}", head.key.thread.as_str(), head.turns, quote(first))
}

/// The answer to `/sessions`.
pub(super) fn sessions_text(rows: &[String], left_out: usize) -> String {
    if rows.is_empty() {
        return "We have not talked yet.".to_owned();
    }
    let more = match left_out {
        0 => String::new(),
        left_out => format!("\n  and {left_out} older ones"),
    };
    format!(
        "Our sessions, the last first; * is this one:\n{}{more}\n`/resume NAME` goes back to one.",
        rows.join("\n")
    )
}

/// The answer to `/resume` where there is such a session.
pub(super) fn resumed_text(head: &SessionHead, last: &str) -> String {
    match head.turns {
        0 => format!("Back in {}; nothing was said in it.", head.key.thread),
        turns => format!("Back in {}: {turns} turns, the last on \"{}\".", head.key.thread, quote(last)),
    }
}

/// The answer to `/export`: the conversation as Markdown.
pub(super) fn export_text(name: &str, session: &SessionKey, turns: &[TurnRecord]) -> String {
    if turns.is_empty() {
        return "Nothing was said in this session.".to_owned();
    }
    let mut text = format!("# {name}, {session}\n");
    for turn in turns {
        text.push_str(&format!("\n## {}\n\n**You:** {}\n", turn.number + 1, turn.said()));
        for record in turn.steps.iter().flat_map(|step| &step.calls) {
            let end = match &record.outcome {
                Outcome::Done { .. } => "done",
                Outcome::Failed { .. } => "failed",
                Outcome::Unknown => "unknown",
            };
            text.push_str(&format!("\n- {} `{}`: {end}\n", record.call.name, record.call.arguments));
        }
        text.push_str(&format!("\n**{name}:** {}\n", turn.answer));
    }
    if text.len() > EXPORT_BYTES_MAX {
        return format!(
            "This conversation has {} KiB, too much for a message; `archond session export {session}` writes it to a file.",
            text.len() / 1024
        );
    }
    text
}

/// How long ago something was, in its greatest unit.
fn ago(ms: u64) -> String {
    let minutes = ms / 60_000;
    match minutes {
        0 => "just now".to_owned(),
        1..60 => format!("{minutes} min"),
        60..1440 => format!("{} h", minutes / 60),
        _ => format!("{} d", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(names: &[&str]) -> Vec<ModelId> {
        names.iter().map(|name| ModelId::new(name).unwrap()).collect()
    }

    #[test]
    fn a_model_is_found_by_a_part_of_its_name_that_only_one_has() {
        let known = models(&["gemma-4-e2b", "gemma-4-e4b", "gemma-4-26b-a4b", "gemma-4"]);
        let found = |name| meant(name, &known).map(|model| model.to_string());
        assert_eq!(found("e2b").as_deref(), Ok("gemma-4-e2b"));
        assert_eq!(found("gemma-4").as_deref(), Ok("gemma-4"));
        assert!(found("4b").unwrap_err().contains("gemma-4-e4b, gemma-4-26b-a4b"));
        assert!(found("gpt").unwrap_err().contains("no model gpt here"));
    }

    #[test]
    fn ages_are_told_in_their_greatest_unit() {
        let table = [(59_000, "just now"), (60_000, "1 min"), (3_600_000, "1 h"), (90_000_000, "1 d")];
        for (ms, text) in table {
            assert_eq!(ago(ms), text);
        }
    }

    #[test]
    fn what_usage_asks_for() {
        assert_eq!(footer_wish(&[]), Some(Errand::Usage));
        assert_eq!(footer_wish(&["full"]), Some(Errand::Footer(Footer::Full)));
        assert_eq!(footer_wish(&["nonsense"]), None);
    }

    #[test]
    fn what_busy_asks_for() {
        let table = [
            (vec![], Some(Errand::Busy(None))),
            (vec!["Steer"], Some(Errand::Busy(Some(Busy::Steer)))),
            (vec!["interrupt"], Some(Errand::Busy(Some(Busy::Interrupt)))),
            (vec!["queue"], Some(Errand::Busy(Some(Busy::Queue)))),
            (vec!["later"], None),
            (vec!["queue", "steer"], None),
        ];
        for (words, wish) in table {
            assert_eq!(busy_wish(&words), wish, "{words:?}");
        }
    }
}
