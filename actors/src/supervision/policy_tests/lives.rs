//! What must hold whatever happens.
use std::collections::BTreeMap;

use proptest::prelude::{Strategy, *};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Crash(usize),
    EndNormally(usize),
    Pass(u64),
    Stop(usize),
    Restart(usize),
    BreakStart(usize, bool),
    ReplayTimer(usize),
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn steps(requests: bool) -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let failures = prop_oneof![
        4 => (0..4usize).prop_map(Step::Crash),
        1 => (0..4usize).prop_map(Step::EndNormally),
        4 => (0..8000u64).prop_map(Step::Pass),
        1 => (0..4usize, any::<bool>()).prop_map(|(index, broken)| Step::BreakStart(index, broken)),
        1 => (0..64usize).prop_map(Step::ReplayTimer),
    ];
    let asked = prop_oneof![(0..4usize).prop_map(Step::Stop), (0..4usize).prop_map(Step::Restart)];
    let step = if requests { prop_oneof![4 => failures, 1 => asked].boxed() } else { failures.boxed() };
    prop::collection::vec(step, 0..60)
}

/// Takes a step; answers the child that it was about.
fn take(bench: &mut Bench, step: &Step) -> Option<&'static str> {
    match *step {
        Step::Crash(index) => bench.crash(IDS[index]),
        Step::EndNormally(index) => bench.exit(IDS[index], ExitReason::Normal),
        Step::Pass(time_ms) => bench.pass(Duration::from_millis(time_ms)),
        Step::Stop(index) => bench.request(stop(IDS[index])).unwrap(),
        Step::Restart(index) => bench.request(restart(IDS[index])).unwrap(),
        Step::BreakStart(index, true) => drop(bench.unstartable.insert(IDS[index].into())),
        Step::BreakStart(index, false) => drop(bench.unstartable.remove(IDS[index])),
        Step::ReplayTimer(index) => {
            if let Some((id, generation)) = bench.fired.get(index).cloned() {
                bench.on(Event::RestartDue { id, generation });
            }
        }
    }
    match *step {
        Step::Crash(index) | Step::EndNormally(index) | Step::Stop(index) | Step::Restart(index) => {
            Some(IDS[index])
        }
        Step::Pass(_) | Step::BreakStart(..) | Step::ReplayTimer(_) => None,
    }
}

/// Most decisions within one period.
fn busiest(decided: &[Duration], period: Duration) -> usize {
    let within = |from: &Duration| decided.iter().filter(|at| *at >= from && **at - *from < period).count();
    decided.iter().map(within).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn restarts_never_exceed_the_intensity(steps in steps(false), own in any::<bool>(), rest in any::<bool>()) {
        let exceeded = if own { QUARANTINE } else { Exceeded::GiveUp };
        let rules = rules(if rest { REST } else { ONE }, exceeded);
        let mut bench = Bench::new(rules, children("a b c d", Restart::Permanent), "");
        for step in &steps {
            take(&mut bench, step);
            if bench.log.iter().any(|word| word == "give up") {
                break;
            }
        }
        let mut decided = BTreeMap::<&str, Vec<Duration>>::new();
        for (at, id) in &bench.decided {
            decided.entry(if own { id } else { "all" }).or_default().push(*at);
        }
        for times in decided.values() {
            prop_assert!(busiest(times, rules.intensity.period) <= 2, "{times:?}");
        }
    }

    #[test]
    fn one_for_one_touches_nobody_but_the_child_that_something_happened_to(steps in steps(true)) {
        let mut bench = Bench::new(rules(ONE, QUARANTINE), children("a b c d", Restart::Permanent), "");
        for step in &steps {
            let before = bench.log.len();
            if let Some(id) = take(&mut bench, step) {
                for word in &bench.log[before..] {
                    prop_assert!(word.ends_with(id), "{word} after {step:?}");
                }
            }
        }
    }

    #[test]
    fn rest_for_one_keeps_the_order_whatever_fails(steps in steps(false)) {
        let calm = Intensity { restarts_max: 1000, period: SECOND };
        let rules = PolicyRules { intensity: calm, ..rules(REST, Exceeded::GiveUp) };
        let mut bench = Bench::new(rules, children("a b c d", Restart::Permanent), "");
        let mut up = BTreeSet::from(IDS);
        let mut seen = bench.log.len();
        for step in &steps {
            if let Step::Crash(index) | Step::EndNormally(index) = step {
                up.remove(IDS[*index]);
            }
            take(&mut bench, step);
            for word in &bench.log[seen..] {
                let (what, id) = word.split_once(' ').unwrap();
                let after = |other: &&str| *other > id;
                match what {
                    "start" => {
                        prop_assert!(!up.iter().any(after), "{:?}", bench.log);
                        prop_assert!(IDS.iter().filter(|other| **other < id).all(|other| up.contains(other)));
                        up.insert(IDS.into_iter().find(|known| *known == id).unwrap());
                    }
                    "stop" => prop_assert!(!up.iter().any(after), "{:?}", bench.log),
                    _ => {}
                }
            }
            seen = bench.log.len();
        }
    }

    #[test]
    fn a_stopped_child_stays_down_until_it_is_asked_for(steps in steps(true), soon in any::<bool>()) {
        let retry_after = if soon { 3 * SECOND } else { RETRY };
        let mut bench = Bench::new(rules(ONE, Exceeded::Quarantine { retry_after }), children("a b c d", Restart::Permanent), "");
        let mut stopped = BTreeSet::new();
        for step in &steps {
            let before = bench.log.len();
            match step {
                Step::Stop(index) => drop(stopped.insert(IDS[*index])),
                Step::Restart(index) => drop(stopped.remove(IDS[*index])),
                _ => {}
            }
            take(&mut bench, step);
            for word in &bench.log[before..] {
                let resurrected = stopped.iter().any(|id| *word == format!("start {id}"));
                prop_assert!(!resurrected, "{word} after {step:?}");
            }
        }
    }
}
