//! The models on disk: whole, of the right size, and, where it is asked for, of the right hash.
use std::time::Duration;

use archond_models::catalogue::Role;
use archond_models::library::{Entry, Library, State};

use super::finding::{Finding, Note};
use super::ground::Ground;
use super::memory::{Fitting, best, fittings};
use crate::cli::moment::bytes;

/// Time for names and sizes.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// The slowest disk that anybody would read models from: a hash takes at most this long.
const READ_BYTES_PER_S: u64 = 20_000_000;

/// How long the check may take: by the catalogue's sizes, as the disk may be the very thing that hangs.
pub(super) fn limit(ground: &Ground, deep: bool) -> Duration {
    if !deep {
        return LOOK_TIMEOUT;
    }
    let artifacts =
        ground.library.catalogue().iter().flat_map(|model| [Some(&model.weights), model.mmproj.as_ref()]);
    let all: u64 = artifacts.flatten().map(|artifact| artifact.bytes.count()).sum();
    LOOK_TIMEOUT + Duration::from_secs(all / READ_BYTES_PER_S)
}

/// The check; `deep` reads every file.
pub(super) fn check(ground: &Ground, deep: bool, note: &Note) -> Finding {
    let entries = ground.library.list();
    let wrong = if deep { hash(&ground.library, &entries, note) } else { Vec::new() };
    let elsewhere = !ground.settings.house.remotes.is_empty();
    judge(&entries, &fittings(&entries, &ground.limits()), deep, elsewhere, wrong)
}

/// Reads every file; what is wrong with them.
fn hash(library: &Library, entries: &[Entry], note: &Note) -> Vec<Finding> {
    let mut wrong = Vec::new();
    for entry in entries.iter().filter(|entry| matches!(entry.state, State::Ready(_))) {
        let id = &entry.model.id;
        let verified = library.verify(id, &|progress| {
            let percent = progress.total.map_or(0, |total| progress.done.saturating_mul(100) / total.max(1));
            note.say(format!("{id}: {percent} %"));
        });
        if let Err(error) = verified {
            let remedy = format!("`archond model rm {id}`, then `archond model pull {id}`");
            wrong.push(Finding::problem(error.to_string(), remedy));
        }
    }
    wrong
}

/// `elsewhere`: another machine runs a model for this house.
fn judge(
    entries: &[Entry],
    fittings: &[Fitting],
    deep: bool,
    elsewhere: bool,
    mut faults: Vec<Finding>,
) -> Finding {
    let mut ready = Vec::new();
    let mut gemma = elsewhere;
    let mut count = 0_u64;
    for entry in entries {
        let id = &entry.model.id;
        match &entry.state {
            State::Absent => {}
            State::Ready(stored) => {
                // A model of the user's own is his choice, and as good as a Gemma here.
                gemma |= matches!(entry.model.role, Role::Gemma | Role::Own);
                count = count.saturating_add(stored.record.bytes);
                ready.push(id.as_str());
            }
            State::Partial { bytes: here, total } => faults.push(Finding::warning(
                format!("{id} is only partly here: {} of {}", bytes(*here), bytes(*total)),
                format!("go on with `archond model pull {id}`"),
            )),
            State::Damaged { reason } => {
                let remedy = format!("`archond model rm {id}`, then `archond model pull {id}`");
                faults.push(Finding::problem(format!("{id} is damaged: {reason}"), remedy));
            }
        }
    }
    if !gemma {
        let finding = match ready.first() {
            Some(starter) => format!("only {starter} is here, which is no thinker"),
            None => "no model is here; the first start fetches a small one".to_owned(),
        };
        let remedy = match best(fittings) {
            Some(best) => format!("`archond model pull {}` ({})", best.id, bytes(best.weights_bytes)),
            None => "this machine has too little memory for a Gemma".to_owned(),
        };
        faults.push(Finding::warning(finding, remedy));
    }
    if ready.is_empty() {
        return Finding::worst("none is here; other machines run those of `remotes`", faults);
    }
    let looked = if deep { "every byte is right" } else { "sizes are right; `--deep` reads every byte" };
    Finding::worst(format!("{} ({}): {looked}", ready.join(", "), bytes(count)), faults)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use archond_models::catalogue::Catalogue;
    use archond_models::library::{FileRecord, Stored};

    use super::super::finding::State as Judged;
    use super::*;

    fn entry(id: &str, state: State) -> Entry {
        let catalogue = Catalogue::load(None).unwrap();
        Entry { model: Arc::clone(catalogue.get(id).unwrap()), state, projector: None, drafter: None }
    }

    fn ready() -> State {
        let record = FileRecord {
            file: "x.gguf".into(),
            bytes: 5_300_000_000,
            sha256: String::new(),
            source: String::new(),
            added_unix_s: 0,
        };
        State::Ready(Stored { path: "/x.gguf".into(), record })
    }

    #[test]
    fn models_are_told_by_what_is_here() {
        let check = |entries: &[Entry]| judge(entries, &[], false, false, Vec::new());
        let told = judge(&[], &[], false, true, Vec::new());
        assert_eq!(told, Finding::ok("none is here; other machines run those of `remotes`"));
        let told = check(&[entry("gemma-4-e4b", ready()), entry("gemma-4-31b", State::Absent)]);
        assert_eq!(told, Finding::ok("gemma-4-e4b (5.3 GB): sizes are right; `--deep` reads every byte"));
        let told = check(&[entry("smollm2-135m-instruct", ready())]);
        assert_eq!(told.finding, "only smollm2-135m-instruct is here, which is no thinker");
        assert!(check(&[]).finding.starts_with("no model is here"));
        let partial = State::Partial { bytes: 1_000_000, total: 5_300_000_000 };
        let told = check(&[entry("gemma-4-e4b", ready()), entry("gemma-4-e2b", partial)]);
        assert_eq!(told.remedy.as_deref(), Some("go on with `archond model pull gemma-4-e2b`"));
        let damaged = State::Damaged { reason: "x.gguf has 3 bytes".into() };
        assert_eq!(check(&[entry("gemma-4-e4b", damaged)]).state, Judged::Problem);
    }
}
