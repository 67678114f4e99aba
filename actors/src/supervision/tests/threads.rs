//! What only shows on several threads and a running clock.
use std::sync::mpsc as blocking;

use super::*;

/// Blocks its thread in each message, outside of any `.await`, and says when it begins to.
struct Blocker(mpsc::UnboundedSender<()>);

impl Actor for Blocker {
    type Msg = ();
    type State = blocking::Receiver<()>;
    type Arguments = blocking::Receiver<()>;

    async fn pre_start(
        &self,
        me: ActorRef<()>,
        release: blocking::Receiver<()>,
    ) -> Result<Self::State, ActorProcessingErr> {
        me.cast(())?;
        Ok(release)
    }

    async fn handle(
        &self,
        _me: ActorRef<()>,
        (): (),
        release: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Its own start has just woken the supervisor, which tokio runs next on this very thread and lets no other one take
        // over: it has to have its turn before the thread is blocked.
        tokio::task::yield_now().await;
        let _ = self.0.send(());
        // Ends with an error when the test drops the sender.
        release.recv()?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_child_that_blocks_its_thread_is_left_behind_and_replaced() {
    let (release, blocked) = blocking::channel();
    let blocked = Arc::new(Mutex::new(Some(blocked)));
    let (begins, mut began) = mpsc::unbounded_channel();
    let start = start_fn(move |supervisor| {
        // The second incarnation finds nothing that blocks it.
        let release = blocked.lock().unwrap().take().unwrap_or_else(|| blocking::channel().1);
        let blocker = Blocker(begins.clone());
        async move { Ok(Actor::spawn_linked(None, blocker, release, supervisor).await?.0.get_cell()) }
    });
    let shutdown = Shutdown::Within(Duration::from_millis(1));
    let child = ChildSpec { shutdown, restart: Restart::Transient, ..ChildSpec::new("blocker", start) };
    let (spec, mut facts) = supervisor(vec![child]);
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    facts.started("blocker").await;
    // Before that it would end as asked.
    began.recv().await.unwrap();
    handle.restart_child("blocker").await.unwrap();
    let ExitReason::Abnormal { detail } = facts.exited("blocker").await else { panic!("it blocks") };
    assert!(detail.contains("blocks its thread"), "{detail}");
    facts.started("blocker").await;
    drop(release);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_end_of_a_child_is_missed_under_fire() {
    let journal = Journal::default();
    let (victim, sibling) = (Probe::new("victim", &journal), Probe::new("sibling", &journal));
    let quick = Backoff { first: Duration::from_micros(1), max: Duration::from_micros(1) };
    let (spec, mut facts) = supervisor(vec![ChildSpec { backoff: quick, ..victim.spec() }, sibling.spec()]);
    let spec = SupervisorSpec { intensity: Intensity { restarts_max: 1000, period: SECOND }, ..spec };
    let (handle, _) = spawn_supervisor(spec, None).await.unwrap();
    for shot in 0..300u32 {
        facts.started("victim").await;
        match shot % 3 {
            0 => victim.cell().kill(),
            1 => victim.tell(ProbeMsg::Panic),
            _ => victim.cell().stop(None),
        }
        facts.exited("victim").await;
        assert_eq!(sibling.ping().await, Ok(1));
    }
    facts.started("victim").await;
    assert_eq!(status(&handle, "victim").await.restarts, 300);
    handle.shutdown(20 * SECOND).await.unwrap();
}
