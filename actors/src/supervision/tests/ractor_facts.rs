//! What ractor does, where the supervisor relies on it. A new version of ractor that changes one of these fails here.
use ractor::{ActorStatus, SupervisionEvent};

use super::*;

/// Tells what it hears of its children.
struct Listener;

impl Actor for Listener {
    type Msg = ();
    type State = mpsc::UnboundedSender<String>;
    type Arguments = mpsc::UnboundedSender<String>;

    async fn pre_start(
        &self,
        _me: ActorRef<()>,
        heard: mpsc::UnboundedSender<String>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(heard)
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<()>,
        event: SupervisionEvent,
        heard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let words = match event {
            SupervisionEvent::ActorStarted(_) => "started".to_owned(),
            SupervisionEvent::ActorTerminated(_, _, reason) => format!("terminated {reason:?}"),
            SupervisionEvent::ActorFailed(_, error) => format!("failed {error}"),
            SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        heard.send(words).unwrap();
        Ok(())
    }
}

async fn listener() -> (ActorRef<()>, mpsc::UnboundedReceiver<String>) {
    let (sender, heard) = mpsc::unbounded_channel();
    (Actor::spawn(None, Listener, sender).await.unwrap().0, heard)
}

async fn child_of(parent: &ActorRef<()>) -> (Probe, tokio::task::JoinHandle<()>) {
    let probe = Probe::new("a", &Journal::default());
    let spawned = Actor::spawn_linked(None, ProbeActor, probe.clone(), parent.get_cell()).await;
    (probe, spawned.unwrap().1)
}

#[tokio::test(start_paused = true)]
async fn kills_and_cancelled_tasks_arrive_as_terminations_with_these_reasons() {
    let (parent, mut heard) = listener().await;
    let (killed, _) = child_of(&parent).await;
    assert_eq!(heard.recv().await.unwrap(), "started");
    killed.cell().kill();
    assert_eq!(heard.recv().await.unwrap(), "terminated Some(\"killed\")");

    let (_, task) = child_of(&parent).await;
    assert_eq!(heard.recv().await.unwrap(), "started");
    task.abort();
    assert_eq!(heard.recv().await.unwrap(), "terminated Some(\"actor_task_cancelled\")");
}

#[tokio::test(start_paused = true)]
async fn panics_are_caught_and_skip_post_stop() {
    let (parent, mut heard) = listener().await;
    let (probe, _) = child_of(&parent).await;
    probe.tell(ProbeMsg::Panic);
    assert_eq!(heard.recv().await.unwrap(), "started");
    assert_eq!(heard.recv().await.unwrap(), "failed bug");
    assert_eq!(probe.journal.take(), "start a");
}

#[tokio::test(start_paused = true)]
async fn a_failed_pre_start_is_no_event() {
    let (parent, mut heard) = listener().await;
    let probe = Probe::new("a", &Journal::default());
    probe.starts_to_fail.store(1, Ordering::SeqCst);
    let spawned = Actor::spawn_linked(None, ProbeActor, probe, parent.get_cell()).await;
    assert!(matches!(spawned, Err(SpawnErr::StartupFailed(_))));
    // Time passes only when there is nothing left to do.
    assert!(timeout(SECOND, heard.recv()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_stops_kills_its_children_without_their_post_stop() {
    let (parent, _heard) = listener().await;
    let (probe, task) = child_of(&parent).await;
    parent.stop_and_wait(None, Some(SECOND)).await.unwrap();
    task.await.unwrap();
    assert_eq!(probe.journal.take(), "start a");
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_stops_says_so_before_its_post_stop() {
    let (parent, mut heard) = listener().await;
    let go_on = Arc::new(Notify::new());
    let probe = Probe { slow_stop: Some(go_on.clone()), ..Probe::new("a", &Journal::default()) };
    let (actor, _) = Actor::spawn_linked(None, ProbeActor, probe, parent.get_cell()).await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), "started");
    actor.stop(None);
    assert!(timeout(SECOND, heard.recv()).await.is_err());
    assert_eq!(actor.get_status(), ActorStatus::Stopping);
    go_on.notify_one();
    assert_eq!(heard.recv().await.unwrap(), "terminated None");
}
