//! What must happen, case by case.
use super::*;

/// Lets `live` happen to the children, and compares what followed after the first starts.
#[track_caller]
fn check(rules: PolicyRules, children: Vec<ChildRules>, live: impl FnOnce(&mut Bench), expected: &str) {
    let mut bench = Bench::new(rules, children, "");
    bench.log.clear();
    live(&mut bench);
    assert_eq!(bench.log.join(", "), expected);
}

#[test]
fn children_start_in_order_and_are_stopped_in_reverse() {
    let bench = Bench::new(rules(ONE, Exceeded::GiveUp), children("a b c", Restart::Permanent), "");
    assert_eq!(bench.log.join(", "), "start a, start b, start c");
    assert_eq!(bench.policy.up_in_reverse(), ["c", "b", "a"]);
}

#[test]
fn a_child_that_does_not_start_is_tried_again_and_holds_up_only_those_who_depend_on_it() {
    let some = children("a b c", Restart::Permanent);
    let mut bench = Bench::new(rules(ONE, Exceeded::GiveUp), some.clone(), "b");
    assert_eq!(bench.log.join(", "), "start a, try b, wait b, start c");
    bench.unstartable.clear();
    bench.pass(SECOND);
    assert_eq!(bench.log.last().unwrap(), "start b");

    let mut bench = Bench::new(rules(REST, Exceeded::GiveUp), some, "b");
    assert_eq!(bench.log.join(", "), "start a, try b, wait b");
    bench.unstartable.clear();
    bench.pass(SECOND);
    assert_eq!(bench.log.join(", "), "start a, try b, wait b, start b, start c");
}

#[test]
fn the_restart_table() {
    let ends = [ExitReason::Normal, ExitReason::Shutdown, ExitReason::abnormal("killed")];
    for end in ends {
        for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
            let expected = match (restart, &end) {
                (Restart::Temporary, _) => "forget a",
                (Restart::Transient, ExitReason::Normal | ExitReason::Shutdown) => "",
                (Restart::Transient | Restart::Permanent, _) => "wait a, start a",
            };
            let live = |bench: &mut Bench| {
                bench.exit("a", end.clone());
                bench.pass(SECOND);
            };
            check(rules(ONE, Exceeded::GiveUp), children("a b", restart), live, expected);
        }
    }
}

#[test]
fn rest_for_one_stops_what_depends_on_the_failed_child_one_after_another() {
    let live = |bench: &mut Bench| {
        bench.crash("b");
        bench.pass(SECOND);
        bench.exit("d", ExitReason::Shutdown);
        // Killed after its limit, which is no failure of its own.
        bench.exit("c", ExitReason::abnormal("killed"));
    };
    let expected = "wait b, stop d, stop c, start b, start c, start d";
    check(rules(REST, Exceeded::GiveUp), children("a b c d", Restart::Permanent), live, expected);
}

#[test]
fn rest_for_one_does_not_bring_back_temporary_children() {
    let mut some = children("a b", Restart::Permanent);
    some.push(child("t", Restart::Temporary));
    let live = |bench: &mut Bench| {
        bench.crash("a");
        bench.exit("t", ExitReason::Shutdown);
        bench.exit("b", ExitReason::Shutdown);
        bench.pass(SECOND);
    };
    let expected = "wait a, stop t, forget t, stop b, start a, start b";
    check(rules(REST, Exceeded::GiveUp), some, live, expected);
}

fn crash_and_wait(bench: &mut Bench, id: &str, times: usize) {
    for _ in 0..times {
        bench.crash(id);
        bench.pass(2 * SECOND);
    }
}

#[test]
fn giving_up_counts_all_children_together_and_only_within_the_period() {
    let give_up = rules(ONE, Exceeded::GiveUp);
    let live = |bench: &mut Bench| ["a", "b", "c"].into_iter().for_each(|id| bench.crash(id));
    check(give_up, children("a b c", Restart::Permanent), live, "wait a, wait b, give up");

    let live = |bench: &mut Bench| {
        crash_and_wait(bench, "a", 2);
        bench.pass(10 * SECOND);
        crash_and_wait(bench, "a", 2);
    };
    let expected = "wait a, start a, wait a, start a, wait a, start a, wait a, start a";
    check(give_up, children("a", Restart::Permanent), live, expected);
}

#[test]
fn a_significant_childs_failure_gives_up_at_once_its_normal_end_does_not() {
    let mut some = children("a b", Restart::Transient);
    some[0].significant = true;
    let give_up = rules(ONE, QUARANTINE);
    check(give_up, some.clone(), |bench| bench.crash("a"), "give up");
    check(give_up, some.clone(), |bench| bench.exit("a", ExitReason::Normal), "");
    assert_eq!(Bench::new(give_up, some, "a").log.join(", "), "try a, give up");
}

#[test]
fn temporary_children_that_crash_in_a_loop_make_the_supervisor_give_up_if_it_counts_them() {
    let live = |bench: &mut Bench| {
        for _ in 0..3 {
            bench.crash("t");
            let _ = bench.request(Request::Start(child("t", Restart::Temporary)));
        }
    };
    let counted = rules(ONE, QUARANTINE);
    let expected = "forget t, start t, forget t, start t, give up, forget t";
    let seen = |rules, expected: &str| {
        let mut bench = Bench::new(rules, children("t", Restart::Temporary), "");
        bench.log.clear();
        live(&mut bench);
        assert!(bench.log.join(", ").starts_with(expected), "{:?}", bench.log);
    };
    seen(counted, expected);
    seen(
        PolicyRules { count_temporary: false, ..counted },
        "forget t, start t, forget t, start t, forget t, start t",
    );
}

#[test]
fn a_quarantined_child_is_started_by_its_restart_alone_until_its_trial() {
    let live = |bench: &mut Bench| {
        crash_and_wait(bench, "a", 3);
        bench.pass(RETRY - 5 * SECOND);
        assert_eq!(bench.state("a"), ActorState::Quarantined);
        let again = Request::Start(child("a", Restart::Permanent));
        assert_eq!(bench.request(again), Err(Refusal::Quarantined));
        assert_eq!(bench.request(restart("a")), Ok(()));
        crash_and_wait(bench, "a", 1);
        bench.pass(RETRY);
    };
    let expected = "wait a, start a, wait a, start a, wait a, quarantine a, start a, wait a, start a";
    check(rules(ONE, QUARANTINE), children("a b", Restart::Permanent), live, expected);
}

#[test]
fn a_quarantined_child_is_tried_once_per_interval_until_it_stays_up() {
    let live = |bench: &mut Bench| {
        crash_and_wait(bench, "a", 3);
        assert_eq!(bench.state("a"), ActorState::Quarantined);
        bench.pass(RETRY);
        // On trial, one failure is one too many, however late it comes.
        bench.pass(RETRY - 5 * SECOND);
        crash_and_wait(bench, "a", 1);
        bench.pass(RETRY - 5 * SECOND);
        assert_eq!(bench.state("a"), ActorState::Quarantined);
        bench.pass(5 * SECOND);
        assert_eq!(bench.state("a"), ActorState::Ready);
        bench.pass(RETRY);
        // It stayed up: its next failures are ordinary ones.
        crash_and_wait(bench, "a", 2);
        assert_eq!(bench.state("a"), ActorState::Ready);
    };
    let trial = "wait a, quarantine a, start a";
    let ordinary = "wait a, start a, wait a, start a";
    let expected = [ordinary, trial, trial, ordinary].join(", ");
    check(rules(ONE, QUARANTINE), children("a b", Restart::Permanent), live, &expected);
}

#[test]
fn the_delay_doubles_up_to_the_longest_and_starts_anew_after_a_healthy_run() {
    let calm = PolicyRules {
        intensity: Intensity { restarts_max: 100, period: SECOND },
        ..rules(ONE, Exceeded::GiveUp)
    };
    let mut bench = Bench::new(calm, children("a", Restart::Permanent), "");
    // Each run but the last is a moment long.
    let delay = |bench: &mut Bench| {
        bench.crash("a");
        let delay = bench.timers[0].0 - bench.now;
        bench.pass(delay);
        delay.as_secs_f64()
    };
    let delays = [delay(&mut bench), delay(&mut bench), delay(&mut bench), delay(&mut bench)];
    let full = [1.0, 2.0, 4.0, 4.0];
    bench.pass(5 * SECOND);
    let after_health = delay(&mut bench);
    for (delay, full) in delays.into_iter().zip(full).chain([(after_health, 1.0)]) {
        assert!((0.75 * full..=full).contains(&delay), "{delays:?} {after_health}");
    }
}

#[test]
fn a_late_timer_does_not_bring_back_a_stopped_child() {
    let live = |bench: &mut Bench| {
        bench.crash("a");
        assert_eq!(bench.request(stop("a")), Ok(()));
        bench.pass(10 * SECOND);
    };
    check(rules(ONE, Exceeded::GiveUp), children("a", Restart::Permanent), live, "wait a");
}

#[test]
fn a_late_timer_does_not_shorten_a_later_delay() {
    let live = |bench: &mut Bench| {
        bench.crash("a");
        assert_eq!(bench.request(restart("a")), Ok(()));
        bench.pass(SECOND / 2);
        bench.crash("a");
        // The first timer is due, the second is not.
        bench.pass(SECOND / 2);
        assert_eq!(bench.state("a"), ActorState::Starting);
    };
    check(rules(ONE, Exceeded::GiveUp), children("a", Restart::Permanent), live, "wait a, start a, wait a");
}

#[test]
fn requests_in_every_state() {
    let live = |bench: &mut Bench| {
        let start = || Request::Start(child("a", Restart::Permanent));
        assert_eq!(bench.request(start()), Err(Refusal::AlreadyRunning));
        assert_eq!(bench.request(stop("x")), Err(Refusal::NotFound));
        assert_eq!(bench.request(stop("a")), Ok(()));
        assert!(bench.policy.is_stopping("a"));
        // Asked for again before it has ended: it starts when it has.
        assert_eq!(bench.request(start()), Ok(()));
        bench.exit("a", ExitReason::Shutdown);
        assert_eq!(bench.request(Request::Replace(child("a", Restart::Permanent))), Ok(()));
        bench.exit("a", ExitReason::Normal);
        assert_eq!(bench.request(restart("a")), Ok(()));
        bench.exit("a", ExitReason::Shutdown);
    };
    let expected = "stop a, start a, stop a, start a, stop a, start a";
    check(rules(ONE, Exceeded::GiveUp), children("a", Restart::Permanent), live, expected);
}
