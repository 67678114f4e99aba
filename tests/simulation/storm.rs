//! What goes wrong while the house lives: actors die and stand still, workers break, the disk fills up and slows down, the
//! clock jumps, the operator intervenes.
use std::sync::atomic::Ordering;
use std::time::Duration;

use archond_actors::domain::{Refusal, SessionKey};
use archond_actors::ports::EngineError;
use archond_actors::supervision::SupervisionFact;
use archond_actors::testkit::{FakeFault, FakeLoad};

use crate::disk::Random;
use crate::life::{Running, model};
use crate::ports::pass;
use crate::scenario::{Weather, pick};

/// Rages for as long as the life lasts.
pub(crate) async fn rage(running: &Running<'_>) {
    let mut random = running.random(7);
    match running.scenario.weather {
        Weather::Calm => {}
        Weather::Siege if running.is_last() => {}
        Weather::Siege => besiege(running).await,
        Weather::Wild => {
            let faults = running.life.faults;
            let longest = running.life.length.as_millis() as u64 / (faults + 1) * 2;
            for _ in 0..faults {
                pass(Duration::from_millis(random.below(longest.max(1)))).await;
                strike(running, &mut random).await;
            }
        }
    }
    running.is_over.set(true);
    running.outside.borrow_mut().is_calm = true;
    std::future::pending::<()>().await;
}

/// Kills the sessions of the first Archon whenever there is one.
async fn besiege(running: &Running<'_>) {
    let below = format!("house/archons/{}/sessions/", running.scenario.archons[0]);
    loop {
        pass(Duration::from_millis(300)).await;
        for path in paths(running).iter().filter(|path| path.starts_with(&below)) {
            kill(running, path);
        }
    }
}

fn paths(running: &Running<'_>) -> Vec<String> {
    running.house.roster().tree().into_iter().map(|actor| actor.path).collect()
}

/// Whether one more failure of this actor may end the house, which nobody would start again in its last life.
fn is_fatal(running: &Running<'_>, path: &str) -> bool {
    let facts = running.facts.lock().unwrap();
    let restarts = facts
        .iter()
        .filter(|(_, of, fact)| of == "house" && matches!(fact, SupervisionFact::ChildRestarting { .. }));
    running.is_last() && (path == "house" || path.matches('/').count() == 1 && restarts.count() >= 2)
}

fn kill(running: &Running<'_>, path: &str) {
    if is_fatal(running, path) {
        return;
    }
    let outcome = running.house.roster().kill(path);
    running.note(&format!("{path}: {outcome:?} (kill)"));
}

async fn strike(running: &Running<'_>, random: &mut Random) {
    let paths = paths(running);
    let path = &paths[pick(random, 0, paths.len() - 1)];
    let kind = random.below(17);
    running.note(&format!("fault {kind}, near {path}"));
    match kind {
        0..=3 => kill(running, path),
        4 => {
            // All at once, as when memory runs out.
            for path in paths.iter().filter(|path| path.matches('/').count() >= 3) {
                kill(running, path);
            }
        }
        5 => hold_back(running, path, random).await,
        6 => running.engine.fail_once(FakeFault::Dies { after_tokens: few(random) }),
        7 => running.engine.fail_once(FakeFault::Hangs { after_tokens: few(random) }),
        8 => running.engine.fail_once(match random.below(3) {
            0 => FakeFault::IgnoresCancel,
            1 => FakeFault::LaunchPanics,
            _ => FakeFault::Refuses(Refusal::Engine { detail: "no luck".into() }),
        }),
        9 => break_model(running, random).await,
        10 => {
            running.disk.set_full(true);
            pass(Duration::from_millis(random.below(20_000))).await;
            running.disk.set_full(false);
        }
        11 => {
            // Past every deadline, now and then.
            running.slow.store(random.below(40_000), Ordering::Relaxed);
            pass(Duration::from_millis(random.below(30_000))).await;
            running.slow.store(0, Ordering::Relaxed);
        }
        12 => {
            let jump = i64::try_from(random.below(200_000_000)).unwrap() - 100_000_000;
            running.clock.offset_ms.fetch_add(jump, Ordering::Relaxed);
        }
        13 => operate(running, random).await,
        14 => {
            let sessions = running.outside.borrow().letters.keys().cloned().collect::<Vec<_>>();
            if !sessions.is_empty() {
                stop_turn(running, &sessions[pick(random, 0, sessions.len() - 1)]).await;
            }
        }
        15 => {
            // More than the house bears: it ends, and whoever keeps the process starts it again.
            for _ in 0..pick(random, 1, 5) {
                kill(running, ["house/memory", "house/pool", "house/archons"][pick(random, 0, 2)]);
                pass(Duration::from_millis(random.below(3_000))).await;
            }
        }
        _ if path != "house" => {
            let restarted = running.house.restart(path).await;
            running.note(&format!("restart {path}: {restarted:?}"));
        }
        _ => {}
    }
}

fn few(random: &mut Random) -> u32 {
    u32::try_from(random.below(10)).unwrap()
}

/// An actor stands still for a while, and whoever needs it has to live with that.
async fn hold_back(running: &Running<'_>, path: &str, random: &mut Random) {
    let suspended = running.house.roster().suspend(path, true);
    running.note(&format!("{path}: {suspended:?} (suspend)"));
    pass(Duration::from_millis(random.below(45_000))).await;
    let resumed = running.house.roster().suspend(path, false);
    running.note(&format!("{path}: {resumed:?} (resume)"));
}

/// The model's file is damaged, or gone, for a while.
async fn break_model(running: &Running<'_>, random: &mut Random) {
    let (model, present) = (model(), random.below(2) == 0);
    let detail = || "it is broken".to_owned();
    let error = match random.below(2) {
        0 => EngineError::Unusable { model: model.clone(), detail: detail() },
        _ => EngineError::Process { model: model.clone(), detail: detail() },
    };
    running.engine.set_load(&model, FakeLoad::Fails(error));
    running.engine.set_on_disk(&model, present);
    pass(Duration::from_millis(random.below(30_000))).await;
    running.engine.set_load(&model, FakeLoad::Takes(running.scenario.load_time));
    running.engine.set_on_disk(&model, true);
}

/// The operator stops an Archon and starts it again.
async fn operate(running: &Running<'_>, random: &mut Random) {
    let archons = &running.scenario.archons;
    let name = archons[pick(random, 0, archons.len() - 1)];
    let stopped = running.house.stop_archon(&name.parse().unwrap()).await;
    running.note(&format!("stop {name}: {stopped:?}"));
    pass(Duration::from_millis(random.below(5_000))).await;
    while let Err(error) = running.house.start_archon(running.spec(name)).await {
        running.note(&format!("start {name}: {error}"));
        pass(Duration::from_millis(500)).await;
    }
}

async fn stop_turn(running: &Running<'_>, letter: &str) {
    let Some(inbound) = running.outside.borrow().letters.get(letter).map(|letter| letter.inbound.clone())
    else {
        return;
    };
    let (archon, channel, peer) = (inbound.archon, inbound.channel, inbound.peer);
    let session = SessionKey { archon, channel, peer, thread: "main".parse().unwrap() };
    let stopped = running.house.stop_turn(session).await;
    running.note(&format!("stop the turn of {letter}: {stopped:?}"));
}
