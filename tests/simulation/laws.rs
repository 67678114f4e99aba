//! What must hold, whatever happened.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use archond_actors::command::Intent;
use archond_actors::domain::{ActorState, AnswerKind, ArchonId, OutboxEntry, SessionHead, TurnRecord};
use archond_actors::supervision::SupervisionFact;
use archond_actors::testkit::FakeEngine;

use crate::life::Running;
use crate::outside::Letter;
use crate::ports::pass;
use crate::scenario::Weather;

/// How often the mailboxes are looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(500);
/// What the house itself bears: restarts, and within which time.
const HOUSE_INTENSITY: (usize, Duration) = (3, Duration::from_secs(300));
/// Commands that a full inbox takes all the same.
const COMMANDS_EXTRA_MAX: u64 = 64;

/// Nothing queues without a bound.
pub(crate) async fn watch(running: &Running<'_>) {
    loop {
        pass(WATCH_PERIOD).await;
        for actor in running.house.roster().tree() {
            if actor.mailbox_len > actor.mailbox_len_max {
                running.violate(format!("{} has {} messages waiting", actor.path, actor.mailbox_len));
            }
        }
        for archon in &running.scenario.archons {
            let archon = archon.parse().unwrap();
            let open = running.house.memory().pending_len(&archon).await.unwrap_or(0);
            if open > u64::from(running.scenario.inbox_len_max) + COMMANDS_EXTRA_MAX {
                running.violate(format!("{archon} has {open} unanswered messages"));
            }
        }
        if running.is_last() {
            // Nothing queues here any more; looking takes time.
            pass(Duration::from_secs(60)).await;
        }
    }
}

/// Nobody is restarted more often than his supervisor may, and who was not touched did not fall.
pub(crate) fn of_supervision(running: &Running<'_>) {
    let facts = running.facts.lock().unwrap();
    let mut restarts: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for (time, path, fact) in facts.iter() {
        match fact {
            SupervisionFact::ChildRestarting { .. } => {
                let times = restarts.entry(path).or_default();
                times.push(*time);
                let (most, period) = intensity(running, path);
                let recent = times.iter().filter(|then| *time - **then < period).count();
                if recent > most {
                    running.violate(format!("{path}: {recent} restarts within {period:?}, of {most}"));
                }
            }
            SupervisionFact::ChildStarted { id } => {
                // A supervisor that is started anew counts anew.
                restarts.remove(&*format!("{path}/{id}"));
            }
            SupervisionFact::GaveUp { .. } => drop(restarts.remove(path.as_str())),
            SupervisionFact::ChildExited { .. } | SupervisionFact::ChildQuarantined { .. } => {}
        }
    }
    let besieged = match running.scenario.weather {
        Weather::Wild => return,
        Weather::Calm => None,
        Weather::Siege => Some(format!("house/archons/{}", running.scenario.archons[0])),
    };
    for (_, path, fact) in facts.iter() {
        let SupervisionFact::ChildExited { id, reason } = fact else { continue };
        let abnormal = matches!(reason, archond_actors::supervision::ExitReason::Abnormal { .. });
        let of_besieged =
            besieged.as_ref().is_some_and(|besieged| format!("{path}/{id}").starts_with(besieged.as_str()));
        if abnormal && !of_besieged {
            running.violate(format!("{path}/{id} fell untouched: {reason}"));
        }
    }
}

fn intensity(running: &Running<'_>, path: &str) -> (usize, Duration) {
    match path {
        "house" => HOUSE_INTENSITY,
        // A failed Archon is not restarted but put into quarantine.
        "house/archons" => (0, HOUSE_INTENSITY.1),
        // Each of the three is counted for itself.
        _ if path.ends_with("/channels") => {
            (3 * running.scenario.crashes_max as usize, Duration::from_secs(60))
        }
        _ => (running.scenario.crashes_max as usize, Duration::from_secs(60)),
    }
}

/// What keeps a house from being settled, in words.
pub(crate) async fn left_over(running: &Running<'_>) -> String {
    let letters: Vec<String> = {
        let outside = running.outside.borrow();
        let left = outside.letters.iter().filter(|(_, letter)| !letter.is_done());
        left.map(|(key, letter)| format!("{key} (acknowledged {:?})", letter.acknowledged)).collect()
    };
    let status = running.house.status().await;
    let ill = running.house.roster().tree().into_iter().filter(|actor| !is_well(actor.state));
    let ill: Vec<_> = ill.map(|actor| (actor.path, actor.state, actor.doing, actor.last_error)).collect();
    format!("letters {letters:?}, {ill:?}, {status:?}")
}

/// Not down, for whatever reason.
pub(crate) fn is_well(state: ActorState) -> bool {
    !matches!(
        state,
        ActorState::Starting
            | ActorState::Suspended
            | ActorState::Stopped
            | ActorState::Quarantined
            | ActorState::Failed
    )
}

/// When all is settled: nothing lost, nothing twice, in order, and the house is whole.
pub(crate) async fn of_the_end(running: &Running<'_>) {
    {
        let outside = running.outside.borrow();
        let judged: Vec<String> =
            outside.letters.iter().flat_map(|(key, letter)| judge(running, key, letter)).collect();
        drop(outside);
        judged.into_iter().for_each(|violation| running.violate(violation));
    }
    for actor in running.house.roster().tree() {
        if !is_well(actor.state) {
            running.violate(format!("{} is {}: {:?}", actor.path, actor.state, actor.last_error));
        }
    }
    for archon in &running.scenario.archons {
        let archon = archon.parse().unwrap();
        if running.house.memory().pending_len(&archon).await != Ok(0) {
            running.violate(format!("{archon} has unanswered messages in the store"));
        }
    }
    let pool = running.house.status().await.pool;
    if pool.models.iter().any(|model| model.slots_used > 0 || model.queued > 0) {
        running.violate(format!("the pool still works: {:?}", pool.models));
    }
    let mut kept = Vec::new();
    for head in running.house.memory().sessions(None, None, usize::MAX).await.unwrap_or_default() {
        kept.extend(of_session(running, &head).await);
    }
    of_turns(running, kept);
}

fn judge(running: &Running<'_>, key: &str, letter: &Letter) -> Vec<String> {
    let mut wrong = Vec::new();
    if letter.refused {
        if letter.acknowledged.is_some() || !letter.answers.is_empty() {
            wrong.push(format!("{key} was refused, and taken"));
        }
        return wrong;
    }
    let ids: BTreeSet<_> = letter.answers.iter().map(|answer| answer.id).collect();
    if ids.len() != 1 {
        wrong.push(format!("{key} has the answers {ids:?}"));
    }
    if letter.inbound.channel.as_str() != "cli" && letter.answers.len() > 1 {
        wrong.push(format!("{key} was answered {} times before its writer's eyes", letter.answers.len()));
    }
    for answer in &letter.answers {
        if letter.acknowledged.is_some_and(|id| id != answer.answers) {
            wrong.push(format!(
                "{key} is {:?}, and {} answers {}",
                letter.acknowledged, answer.id, answer.answers
            ));
        }
        let session = &answer.session;
        if (&session.archon, &session.channel, &session.peer)
            != (&letter.inbound.archon, &letter.inbound.channel, &letter.inbound.peer)
        {
            wrong.push(format!("the answer to {key} went to {session}"));
        }
        wrong.extend(judge_answer(running, letter, answer).map(|what| format!("{key}: {what}")));
    }
    wrong
}

fn judge_answer(running: &Running<'_>, letter: &Letter, answer: &OutboxEntry) -> Option<String> {
    let (text, is_message) = (&answer.text, letter.intent() == Intent::Message);
    match answer.kind {
        // It was stopped before its first word.
        AnswerKind::Notice if is_message && text == "Stopped." => None,
        AnswerKind::Notice if is_message => Some(format!("a notice instead of an answer: {text}")),
        AnswerKind::Answer | AnswerKind::Failure if !is_message => {
            Some(format!("{:?} instead of a notice: {text}", answer.kind))
        }
        AnswerKind::Notice => None,
        AnswerKind::Failure if !text.starts_with("I could not answer that") => {
            Some(format!("a failure without a reason: {text}"))
        }
        AnswerKind::Failure => {
            let besieged = letter.inbound.archon.as_str() == running.scenario.archons[0];
            let may_fail = match running.scenario.weather {
                Weather::Calm => false,
                Weather::Siege => besieged,
                Weather::Wild => true,
            };
            // A conversation that outgrows a narrow context may be refused for its length.
            (!may_fail && !running.scenario.is_narrow()).then(|| format!("it failed: {text}"))
        }
        AnswerKind::Answer => {
            let whole = FakeEngine::answer_to(&letter.inbound.text, None).concat();
            let said = text.split("[stopped]").next().unwrap_or_default();
            let said = said.split("[cut at the limit").next().unwrap_or_default().trim();
            let cut = text.ends_with("[stopped]") || running.scenario.is_narrow();
            let right = if cut { whole.starts_with(said) } else { whole == *text };
            (!right).then(|| format!("`{}` was answered with `{text}`", letter.inbound.text))
        }
    }
}

/// A conversation is kept in the order of the inbox. Returns its turns, each with its Archon.
async fn of_session(running: &Running<'_>, head: &SessionHead) -> Vec<(ArchonId, TurnRecord)> {
    let turns = running.house.memory().turns(&head.key, 0, usize::MAX).await.unwrap_or_default();
    if turns.len() as u64 != head.turns {
        running.violate(format!("{} says {} turns and has {}", head.key, head.turns, turns.len()));
    }
    if !turns.is_sorted_by_key(|turn| turn.inbox) {
        let order: Vec<_> = turns.iter().map(|turn| turn.inbox).collect();
        running.violate(format!("{} was answered in the order {order:?}", head.key));
    }
    turns.into_iter().map(|turn| (head.key.archon.clone(), turn)).collect()
}

/// Wherever conversations went: no turn is in two places, and what was answered is in one.
fn of_turns(running: &Running<'_>, mut kept: Vec<(ArchonId, TurnRecord)>) {
    let mut numbers = BTreeSet::new();
    for (_, turn) in &kept {
        if !numbers.insert(turn.inbox) {
            running.violate(format!("{} is kept twice", turn.inbox));
        }
    }
    let mut lost = Vec::new();
    for (key, letter) in &running.outside.borrow().letters {
        if letter.answers.first().is_none_or(|answer| answer.kind != AnswerKind::Answer) {
            continue;
        }
        let (archon, text) = (&letter.inbound.archon, &letter.inbound.text);
        match kept.iter().position(|(of, turn)| of == archon && turn.user == *text) {
            Some(place) => drop(kept.swap_remove(place)),
            None => lost.push(format!("{key} was answered, and its turn is nowhere")),
        }
    }
    lost.into_iter().for_each(|violation| running.violate(violation));
}
