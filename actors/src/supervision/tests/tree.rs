//! Supervisors of supervisors: escalation, and the orderly end of a tree.
use super::*;

fn sub(handle: &SupervisorHandle, children: &[&Probe]) -> (ChildSpec, Facts) {
    let (spec, facts) = supervisor(children.iter().map(|probe| probe.spec()).collect());
    let spec = sub_supervisor(handle.clone(), "sub", move || spec.clone());
    (ChildSpec { backoff: Backoff { first: SECOND, max: SECOND }, ..spec }, facts)
}

#[tokio::test(start_paused = true)]
async fn giving_up_escalates_and_the_handle_rides_over_it() {
    let journal = Journal::default();
    let (bad, good) = (Probe::new("bad", &journal), Probe::new("good", &journal));
    let handle = SupervisorHandle::new("sub");
    let (child, mut facts) = sub(&handle, &[&good, &bad]);
    let (spec, mut above) = supervisor(vec![child]);
    let (top, _) = spawn_supervisor(spec, None).await.unwrap();
    for _ in 0..4 {
        facts.started("bad").await;
        bad.tell(ProbeMsg::Panic);
    }
    facts.until(|fact| matches!(fact, SupervisionFact::GaveUp { .. })).await;
    let ExitReason::Abnormal { detail } = above.exited("sub").await else { panic!("it gave up") };
    assert_eq!(
        detail,
        "supervisor `test` gave up: more than 3 failures within 60s, the last one of `bad`: bug"
    );
    assert!(journal.take().ends_with("stop good"), "it stopped its children first");
    above.started("sub").await;
    assert_eq!(handle.children().await.unwrap().len(), 2);
    assert_eq!(good.ping().await, Ok(2));
    assert_eq!(status(&top, "sub").await.restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_significant_sub_supervisor_takes_its_parent_along_and_no_further() {
    let journal = Journal::default();
    let (session, hermes, other) =
        (Probe::new("session", &journal), Probe::new("hermes", &journal), Probe::new("other", &journal));
    let sessions = SupervisorHandle::new("sessions");
    let (ezra, sessions_of) = (SupervisorHandle::new("ezra"), sessions.clone());
    let (hermes_spec, facts) = (hermes.spec(), Arc::new(Mutex::new(Vec::new())));
    let kept = facts.clone();
    let archon = sub_supervisor(ezra.clone(), "ezra", move || {
        let (spec, facts) = supervisor(vec![]);
        kept.lock().unwrap().push(facts);
        let spec = SupervisorSpec { count_temporary: true, ..spec };
        let child = sub_supervisor(sessions_of.clone(), "sessions", move || spec.clone());
        let child = ChildSpec { significant: true, ..child };
        supervisor(vec![hermes_spec.clone(), child]).0
    });
    let (spec, mut above) = supervisor(vec![archon, other.spec()]);
    let spec = SupervisorSpec {
        intensity: Intensity { restarts_max: 1, period: 600 * SECOND },
        exceeded: QUARANTINE,
        ..spec
    };
    let (top, _) = spawn_supervisor(spec, None).await.unwrap();
    for _life in 0..2 {
        above.started("ezra").await;
        let mut facts = facts.lock().unwrap().remove(0);
        for _ in 0..4 {
            let child = ChildSpec { restart: Restart::Temporary, ..session.spec() };
            sessions.start_child(child).await.unwrap();
            session.tell(ProbeMsg::Panic);
            facts.exited("session").await;
            assert_eq!(other.ping().await, Ok(1));
        }
        assert!(matches!(above.exited("ezra").await, ExitReason::Abnormal { .. }));
    }
    above.quarantined("ezra").await;
    assert_eq!(status(&top, "ezra").await.state, ActorState::Quarantined);
    assert_eq!(hermes.starts.load(Ordering::SeqCst), 2);
    assert!(journal.take().contains("stop hermes"));
    assert_eq!(other.ping().await, Ok(1), "its neighbour never noticed");
    assert!(matches!(ezra.children().await, Err(SupervisionError::Unreachable(_))));

    top.restart_child("ezra").await.unwrap();
    assert_eq!(hermes.ping().await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_without_parent_ends_when_it_gives_up() {
    let probe = Probe::new("a", &Journal::default());
    let (spec, mut facts) = supervisor(vec![ChildSpec { significant: true, ..probe.spec() }]);
    let (handle, cell) = spawn_supervisor(spec, None).await.unwrap();
    probe.cell().kill();
    let fact = facts.until(|fact| matches!(fact, SupervisionFact::GaveUp { .. })).await;
    assert_eq!(fact, SupervisionFact::GaveUp { reason: "`a` failed: killed".into() });
    cell.wait(Some(SECOND)).await.unwrap();
    assert_eq!(handle.shutdown(SECOND).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_first_start_that_exceeds_the_intensity_is_an_error_of_the_spawn() {
    let journal = Journal::default();
    let (first, broken) = (Probe::new("first", &journal), Probe::new("broken", &journal));
    broken.starts_to_fail.store(1, Ordering::SeqCst);
    let (spec, _facts) = supervisor(vec![first.spec(), broken.spec()]);
    let spec = SupervisorSpec { intensity: Intensity { restarts_max: 0, period: SECOND }, ..spec };
    let Err(SpawnErr::StartupFailed(error)) = spawn_supervisor(spec, None).await else { panic!("it is up") };
    assert!(error.to_string().contains("could not be started: no luck"), "{error}");
    assert_eq!(journal.take(), "start first, stop first");
}

/// Two levels; answers the top, and the probes in start order.
async fn tree(journal: &Journal) -> (SupervisorHandle, [Probe; 4], Facts) {
    let probes = ["a", "b", "c", "d"].map(|id| Probe::new(id, journal));
    let [a, b, c, d] = &probes;
    let (child, _) = sub(&SupervisorHandle::new("sub"), &[b, c]);
    let (spec, facts) = supervisor(vec![a.spec(), child, d.spec()]);
    let (top, _) = spawn_supervisor(spec, None).await.unwrap();
    assert_eq!(journal.take(), "start a, start b, start c, start d");
    (top, probes, facts)
}

#[tokio::test(start_paused = true)]
async fn a_tree_stops_in_reverse_and_every_post_stop_runs() {
    let journal = Journal::default();
    let (top, _probes, _facts) = tree(&journal).await;
    top.shutdown(20 * SECOND).await.unwrap();
    assert_eq!(journal.take(), "stop d, stop c, stop b, stop a");
    assert!(matches!(top.children().await, Err(SupervisionError::Unreachable(_))));
}

#[tokio::test(start_paused = true)]
async fn ractors_own_stop_is_just_as_orderly() {
    let journal = Journal::default();
    let (top, _probes, _facts) = tree(&journal).await;
    top.stop_child("sub").await.unwrap();
    assert_eq!(journal.take(), "stop c, stop b");
    top.restart_child("sub").await.unwrap();
    assert_eq!(journal.take(), "start b, start c");
}

#[tokio::test(start_paused = true)]
async fn a_stuck_child_costs_its_own_limit_and_nobody_elses_post_stop() {
    let journal = Journal::default();
    let (top, [_, _, c, _], _facts) = tree(&journal).await;
    c.tell(ProbeMsg::Hang);
    let began = Instant::now();
    top.shutdown(20 * SECOND).await.unwrap();
    assert_eq!(journal.take(), "stop d, stop b, stop a");
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_takes_too_long_kills() {
    let journal = Journal::default();
    let (top, [a, b, c, _], _facts) = tree(&journal).await;
    for probe in [&a, &b, &c] {
        probe.tell(ProbeMsg::Hang);
    }
    let cells = [a.cell(), b.cell(), c.cell()];
    let within = 7 * SECOND;
    assert_eq!(top.shutdown(within).await, Err(SupervisionError::Killed { within }));
    for cell in cells {
        cell.wait(Some(SECOND)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_what_depends_on_the_failed_child() {
    let journal = Journal::default();
    let probes = ["a", "b", "c"].map(|id| Probe::new(id, &journal));
    let (spec, mut facts) = supervisor(probes.iter().map(Probe::spec).collect());
    let spec = SupervisorSpec { strategy: Strategy::RestForOne, ..spec };
    let (_handle, _) = spawn_supervisor(spec, None).await.unwrap();
    facts.started("c").await;
    journal.take();
    probes[0].cell().kill();
    facts.started("c").await;
    assert_eq!(journal.take(), "stop c, stop b, start a, start b, start c");
}
