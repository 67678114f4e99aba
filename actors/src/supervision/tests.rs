//! The supervisor with real actors, on paused time: what dies, what comes back, in which order, and who notices.
//! The last module pins what ractor itself does, where the supervisor relies on it.
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::*;
use crate::domain::ActorState;
use crate::insight::{Inspection, Message};
use crate::link::{Envelope, Link, LinkError, answer};
use crate::ports::Sink;

mod ractor_facts;
mod threads;
mod tree;

const SECOND: Duration = Duration::from_secs(1);
const QUARANTINE: Exceeded = Exceeded::Quarantine { retry_after: Duration::from_secs(60) };

/// What a test child can be told.
enum ProbeMsg {
    Ping {
        reply: RpcReplyPort<Result<u32, LinkError>>,
    },
    Panic,
    Fail,
    EndNormally,
    /// Waits for ever at an await.
    Hang,
}

/// One test child over its incarnations.
#[derive(Clone)]
struct Probe {
    id: &'static str,
    link: Link<ProbeMsg>,
    journal: Journal,
    /// Starts that fail before one succeeds.
    starts_to_fail: Arc<AtomicU32>,
    starts: Arc<AtomicU32>,
    /// Each `post_stop` waits for this, when it is there.
    slow_stop: Option<Arc<Notify>>,
}

/// What the children did, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn add(&self, what: &str, id: &str) {
        self.0.lock().unwrap().push(format!("{what} {id}"));
    }

    fn take(&self) -> String {
        self.0.lock().unwrap().drain(..).collect::<Vec<_>>().join(", ")
    }
}

impl Message for ProbeMsg {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ping { .. } => "ping",
            Self::Panic => "panic",
            Self::Fail => "fail",
            Self::EndNormally => "end-normally",
            Self::Hang => "hang",
        }
    }
}

struct ProbeActor;

impl Actor for ProbeActor {
    type Msg = Envelope<ProbeMsg>;
    type State = Probe;
    type Arguments = Probe;

    async fn pre_start(&self, me: ActorRef<Self::Msg>, probe: Probe) -> Result<Probe, ActorProcessingErr> {
        let fail = |left: u32| left.checked_sub(1);
        if probe.starts_to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fail).is_ok() {
            return Err("no luck".into());
        }
        probe.starts.fetch_add(1, Ordering::SeqCst);
        probe.journal.add("start", probe.id);
        probe.link.attach(me);
        Ok(probe)
    }

    async fn handle(
        &self,
        me: ActorRef<Self::Msg>,
        msg: Self::Msg,
        probe: &mut Probe,
    ) -> Result<(), ActorProcessingErr> {
        let vitals = probe.link.vitals().clone();
        let Some(opened) = msg.open(Inspection::new) else { return Ok(()) };
        let (msg, work) = opened.take_up(&vitals).await;
        work.run(async {
            match msg {
                ProbeMsg::Ping { reply } => answer(reply, Ok(probe.starts.load(Ordering::SeqCst))),
                ProbeMsg::Panic => panic!("bug"),
                ProbeMsg::Fail => return Err("broken".into()),
                ProbeMsg::EndNormally => me.stop(None),
                ProbeMsg::Hang => std::future::pending().await,
            }
            Ok(())
        })
        .await
    }

    async fn post_stop(&self, _me: ActorRef<Self::Msg>, probe: &mut Probe) -> Result<(), ActorProcessingErr> {
        if let Some(go_on) = &probe.slow_stop {
            go_on.notified().await;
        }
        probe.journal.add("stop", probe.id);
        Ok(())
    }
}

impl Probe {
    fn new(id: &'static str, journal: &Journal) -> Self {
        Self {
            id,
            link: Link::new(id, 16),
            journal: journal.clone(),
            starts_to_fail: Arc::default(),
            starts: Arc::default(),
            slow_stop: None,
        }
    }

    fn spec(&self) -> ChildSpec {
        let probe = self.clone();
        let start = start_fn(move |supervisor| {
            let probe = probe.clone();
            async move { Ok(Actor::spawn_linked(None, ProbeActor, probe, supervisor).await?.0.get_cell()) }
        });
        ChildSpec { backoff: Backoff { first: SECOND, max: 8 * SECOND }, ..ChildSpec::new(self.id, start) }
    }

    fn tell(&self, msg: ProbeMsg) {
        self.link.cast(msg).unwrap();
    }

    async fn ping(&self) -> Result<u32, LinkError> {
        self.link.call(SECOND, |reply| ProbeMsg::Ping { reply }).await
    }

    fn cell(&self) -> ActorCell {
        self.link.current().unwrap().get_cell()
    }
}

/// The facts of one supervisor, waited for.
struct Facts(mpsc::UnboundedReceiver<SupervisionFact>);

impl Facts {
    fn new() -> (Sink<SupervisionFact>, Self) {
        let (sender, facts) = mpsc::unbounded_channel();
        // Facts of a supervisor that outlives its test go nowhere.
        (Arc::new(move |fact| drop(sender.send(fact))), Self(facts))
    }

    /// Skips facts until one fits. Paused time passes as fast as it is waited for: an hour is long enough for all tests.
    async fn until(&mut self, fits: impl Fn(&SupervisionFact) -> bool) -> SupervisionFact {
        let fact = async {
            loop {
                let fact = self.0.recv().await.expect("the supervisor is gone");
                if fits(&fact) {
                    return fact;
                }
            }
        };
        timeout(3600 * SECOND, fact).await.expect("the fact never came")
    }

    async fn started(&mut self, child: &str) {
        self.until(|fact| matches!(fact, SupervisionFact::ChildStarted { id } if id == child)).await;
    }

    async fn exited(&mut self, child: &str) -> ExitReason {
        let fits = |fact: &_| matches!(fact, SupervisionFact::ChildExited { id, .. } if id == child);
        let SupervisionFact::ChildExited { reason, .. } = self.until(fits).await else { unreachable!() };
        reason
    }

    async fn quarantined(&mut self, child: &str) {
        self.until(|fact| matches!(fact, SupervisionFact::ChildQuarantined { id, .. } if id == child)).await;
    }
}

fn supervisor(children: Vec<ChildSpec>) -> (SupervisorSpec, Facts) {
    let (report, facts) = Facts::new();
    let spec = SupervisorSpec {
        name: "test".into(),
        strategy: Strategy::OneForOne,
        intensity: Intensity { restarts_max: 3, period: 60 * SECOND },
        exceeded: Exceeded::GiveUp,
        count_temporary: false,
        children,
        report,
    };
    (spec, facts)
}

async fn status(supervisor: &SupervisorHandle, id: &str) -> ChildStatus {
    let children = supervisor.children().await.unwrap();
    children.into_iter().find(|child| child.id == id).unwrap()
}

fn abnormal(detail: &str) -> ExitReason {
    ExitReason::abnormal(detail)
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_child_it_comes_back_after_its_delay() {
    let probe = Probe::new("a", &Journal::default());
    let (spec, mut facts) = supervisor(vec![probe.spec()]);
    let spec = SupervisorSpec { intensity: Intensity { restarts_max: 9, period: SECOND }, ..spec };
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    let endings: [(&dyn Fn(), ExitReason); 4] = [
        (&|| probe.tell(ProbeMsg::Panic), abnormal("bug")),
        (&|| probe.tell(ProbeMsg::Fail), abnormal("broken")),
        (&|| probe.cell().kill(), abnormal("killed")),
        (&|| probe.tell(ProbeMsg::EndNormally), ExitReason::Normal),
    ];
    facts.started("a").await;
    for (round, (end, reason)) in (1..).zip(endings) {
        end();
        assert_eq!(facts.exited("a").await, reason);
        let ended = Instant::now();
        assert_eq!(status(&handle, "a").await.state, ActorState::Starting);
        facts.started("a").await;
        assert!(ended.elapsed() >= SECOND.mul_f64(0.75), "{:?}", ended.elapsed());
        assert_eq!(probe.ping().await, Ok(round + 1));
        assert_eq!(status(&handle, "a").await.restarts, round);
    }
    assert_eq!(status(&handle, "a").await.last_error.as_deref(), Some("killed"));
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_tried_again_without_holding_up_its_siblings() {
    let journal = Journal::default();
    let (broken, sound) = (Probe::new("broken", &journal), Probe::new("sound", &journal));
    broken.starts_to_fail.store(2, Ordering::SeqCst);
    let (spec, mut facts) = supervisor(vec![broken.spec(), sound.spec()]);
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    assert_eq!(sound.ping().await, Ok(1));
    let shown = status(&handle, "broken").await;
    assert_eq!(shown.state, ActorState::Starting);
    assert_eq!(shown.last_error.as_deref(), Some("it could not be started: no luck"));
    facts.started("broken").await;
    assert_eq!(broken.ping().await, Ok(1));
    assert_eq!(status(&handle, "broken").await.restarts, 2);
}

#[tokio::test(start_paused = true)]
async fn starts_that_hang_panic_or_do_not_link_are_failures_too() {
    let journal = Journal::default();
    let hangs = start_fn(|_| std::future::pending());
    let panics = start_fn(|_| async { panic!("bug in a start function") });
    let loner = Probe::new("loner", &journal);
    let unlinked = start_fn(move |_| {
        let loner = loner.clone();
        async move { Ok(Actor::spawn(None, ProbeActor, loner).await?.0.get_cell()) }
    });
    let sound = Probe::new("sound", &journal);
    let named = |id: &str, start| ChildSpec::new(id, start);
    let (spec, _facts) = supervisor(vec![
        named("hangs", hangs),
        named("panics", panics),
        named("unlinked", unlinked),
        sound.spec(),
    ]);
    let began = Instant::now();
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    assert_eq!(began.elapsed(), 5 * SECOND, "only the hanging one costs time");
    assert_eq!(sound.ping().await, Ok(1));
    for (id, says) in [("hangs", "not up within"), ("panics", "panicked"), ("unlinked", "did not link")] {
        let error = status(&handle, id).await.last_error.unwrap();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn quarantine_leaves_the_siblings_alone() {
    let journal = Journal::default();
    let (bad, good) = (Probe::new("bad", &journal), Probe::new("good", &journal));
    let (spec, mut facts) = supervisor(vec![bad.spec(), good.spec()]);
    let spec = SupervisorSpec { exceeded: QUARANTINE, ..spec };
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    facts.started("bad").await;
    for crash in 0..4 {
        bad.tell(ProbeMsg::Panic);
        assert_eq!(good.ping().await, Ok(1));
        facts.exited("bad").await;
        assert_eq!(good.ping().await, Ok(1));
        if crash < 3 {
            facts.started("bad").await;
        }
    }
    facts.quarantined("bad").await;
    assert_eq!(status(&handle, "bad").await.state, ActorState::Quarantined);
    let refused = handle.start_child(bad.spec()).await;
    assert_eq!(refused, Err(SupervisionError::Quarantined { id: "bad".into() }));

    handle.restart_child("bad").await.unwrap();
    assert_eq!(bad.ping().await, Ok(5));
    assert_eq!(status(&handle, "bad").await.restarts, 0);
    assert_eq!(good.ping().await, Ok(1), "it was never restarted");
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_ends_by_itself_when_the_cause_is_gone() {
    let probe = Probe::new("a", &Journal::default());
    probe.starts_to_fail.store(6, Ordering::SeqCst);
    let (spec, mut facts) = supervisor(vec![probe.spec()]);
    let spec = SupervisorSpec { exceeded: QUARANTINE, ..spec };
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    // Three restarts in time, the quarantine, and two trials that fail.
    for _ in 0..3 {
        facts.quarantined("a").await;
        assert_eq!(status(&handle, "a").await.state, ActorState::Quarantined);
    }
    let quarantined = tokio::time::Instant::now();
    facts.started("a").await;
    assert_eq!(quarantined.elapsed(), 60 * SECOND);
    assert_eq!(probe.ping().await, Ok(1));
    assert_eq!(status(&handle, "a").await.restarts, 6);
}

#[tokio::test(start_paused = true)]
async fn requests_of_operators_and_harnesses() {
    let journal = Journal::default();
    let (spec, _facts) = supervisor(vec![]);
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    let probe = Probe::new("a", &journal);
    let id = || "a".to_owned();
    handle.start_child(probe.spec()).await.unwrap();
    assert_eq!(handle.start_child(probe.spec()).await, Err(SupervisionError::AlreadyRunning { id: id() }));
    handle.restart_child("a").await.unwrap();
    assert_eq!(probe.ping().await, Ok(2));
    handle.stop_child("a").await.unwrap();
    handle.stop_child("a").await.unwrap();
    assert_eq!(journal.take(), "start a, stop a, start a, stop a");
    assert_eq!(status(&handle, "a").await.state, ActorState::Stopped);
    probe.starts_to_fail.store(1, Ordering::SeqCst);
    let failed = SupervisionError::StartFailed { id: id(), detail: "no luck".into() };
    assert_eq!(handle.start_child(probe.spec()).await, Err(failed));
    assert_eq!(handle.stop_child("b").await, Err(SupervisionError::NotFound { id: "b".into() }));
    assert_eq!(handle.restart_child("b").await, Err(SupervisionError::NotFound { id: "b".into() }));
}

#[tokio::test(start_paused = true)]
async fn a_child_that_is_just_ending_is_replaced_when_it_has_ended() {
    let journal = Journal::default();
    let (spec, mut facts) = supervisor(vec![]);
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    let go_on = Arc::new(Notify::new());
    let old = Probe { slow_stop: Some(go_on.clone()), ..Probe::new("a", &journal) };
    handle.start_child(ChildSpec { restart: Restart::Temporary, ..old.spec() }).await.unwrap();
    let cell = old.cell();
    old.tell(ProbeMsg::EndNormally);
    while cell.get_status() < ractor::ActorStatus::Stopping {
        tokio::task::yield_now().await;
    }
    let new = Probe::new("a", &journal);
    let (started, ()) = tokio::join!(handle.start_child(new.spec()), async {
        // The request is on its way: it meets a child that is in its post_stop.
        handle.children().await.unwrap();
        go_on.notify_one();
    });
    started.unwrap();
    facts.started("a").await;
    assert_eq!(journal.take(), "start a, stop a, start a");
    assert_eq!(new.ping().await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_stuck_child_is_killed_after_its_limit_while_the_others_are_served() {
    let journal = Journal::default();
    let (stuck, sound) = (Probe::new("stuck", &journal), Probe::new("sound", &journal));
    let (spec, mut facts) = supervisor(vec![stuck.spec(), sound.spec()]);
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    stuck.tell(ProbeMsg::Hang);
    let began = Instant::now();
    let (stopped, ()) = tokio::join!(handle.stop_child("stuck"), async {
        assert_eq!(status(&handle, "stuck").await.state, ActorState::Draining);
        handle.restart_child("sound").await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for the stuck one");
    });
    stopped.unwrap();
    assert_eq!(began.elapsed(), 5 * SECOND);
    assert_eq!(facts.exited("stuck").await, abnormal("killed"));
    assert_eq!(sound.ping().await, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_that_ends_is_forgotten() {
    let probe = Probe::new("t", &Journal::default());
    let (spec, mut facts) = supervisor(vec![]);
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    for _ in 0..5 {
        handle.start_child(ChildSpec { restart: Restart::Temporary, ..probe.spec() }).await.unwrap();
        probe.tell(ProbeMsg::Panic);
        facts.exited("t").await;
        assert_eq!(handle.children().await, Ok(vec![]));
    }
}
