//! Tests of the memory actor, through its handle alone.
use futures::future::{join, join_all};
use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::mpsc;

use super::*;
use crate::domain::{AnswerKind, MessageKey, NewAnswer, Waybill};
use crate::domain::{Knock, Paired};
use crate::testkit::MemStore;

/// Supervises the actor under test and tells how it ended.
struct Watcher;

impl Actor for Watcher {
    type Msg = ();
    type State = mpsc::UnboundedSender<String>;
    type Arguments = mpsc::UnboundedSender<String>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        ends: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(ends)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        ends: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, error) => ends.send(error.to_string())?,
            SupervisionEvent::ActorTerminated(..) => ends.send("stopped".into())?,
            _ => {}
        }
        Ok(())
    }
}

struct House {
    memory: MemoryHandle,
    actor: ActorCell,
    supervisor: ActorCell,
    ends: mpsc::UnboundedReceiver<String>,
}

impl House {
    async fn new(store: Arc<dyn Store>, settings: MemorySettings) -> Self {
        let (sender, ends) = mpsc::unbounded_channel();
        let supervisor = Actor::spawn(None, Watcher, sender).await.unwrap().0.get_cell();
        let memory = MemoryHandle::new();
        let actor = memory
            .spawn(MemoryArgs { settings, ..MemoryArgs::new(store) }, supervisor.clone())
            .await
            .unwrap();
        Self { memory, actor, supervisor, ends }
    }
}

/// A commit of one row hangs in the store; what comes now waits behind it.
async fn occupy(house: &House, store: &MemStore) -> tokio::task::JoinHandle<Result<Accepted, MemoryError>> {
    store.hold();
    let memory = house.memory.clone();
    let first = tokio::task::spawn_local(async move { memory.accept(message("occupies")).await });
    while store.batches().is_empty() {
        tokio::task::yield_now().await;
    }
    first
}

fn ezra() -> ArchonId {
    "ezra".parse().unwrap()
}

fn message(key: &str) -> InboundMessage {
    InboundMessage {
        archon: ezra(),
        channel: "cli".parse().unwrap(),
        peer: "uid0".parse().unwrap(),
        key: key.into(),
        thread: None,
        text: "hello".into(),
        received_unix_ms: 1,
        waybill: Waybill::default(),
    }
}

fn fresh(accepted: Result<Accepted, MemoryError>) -> InboxEntry {
    match accepted {
        Ok(Accepted::Fresh(entry)) => entry,
        other => panic!("not fresh: {other:?}"),
    }
}

async fn local<F: Future>(test: F) -> F::Output {
    tokio::task::LocalSet::new().run_until(test).await
}

#[tokio::test(start_paused = true)]
async fn a_message_goes_its_way_through_every_call() {
    let House { memory, .. } = House::new(Arc::new(MemStore::new()), MemorySettings::default()).await;
    let entry = fresh(memory.accept(message("1")).await);
    assert_eq!(memory.accept(message("1")).await, Ok(Accepted::Duplicate(entry.id)));
    assert_eq!(memory.begin_attempt(entry.id).await, Ok(1));
    assert_eq!(memory.pending_len(&ezra()).await, Ok(1));
    assert_eq!(memory.pending(&ezra(), None, 9).await.unwrap()[0].attempts, 1);

    let (approved, begun) =
        (JournalEntry::Approved { call: "c1".into() }, JournalEntry::Begun { call: "c1".into() });
    assert_eq!(memory.journal(entry.id).await, Ok(vec![]));
    assert_eq!(memory.append_journal(entry.id, vec![approved.clone()]).await, Ok(()));
    assert_eq!(memory.append_journal(entry.id, vec![begun.clone()]).await, Ok(()));
    assert_eq!(memory.journal(entry.id).await, Ok(vec![approved, begun.clone()]));

    let answer = NewAnswer { kind: AnswerKind::Notice, text: "done".into() };
    let end = TurnEnd { inbox: entry.id, turn: None, answer, ended_unix_ms: 2 };
    let ended = memory.end_turn(end).await.unwrap();
    assert_eq!(memory.journal(entry.id).await, Ok(vec![]));
    let late = memory.append_journal(entry.id, vec![begun]).await;
    assert!(matches!(late, Err(MemoryError::Store(StoreError::NotFound { .. }))), "{late:?}");
    let key = &entry.session;
    let peer = Some((ezra(), key.peer.clone()));
    assert_eq!(memory.undelivered(&key.channel, peer, None, 9).await, Ok(vec![ended.clone()]));
    assert_eq!(memory.answer_to(entry.id).await, Ok(Some(ended.clone())));
    assert_eq!(memory.mark_sent(ended.id).await, Ok(()));
    assert_eq!(memory.undelivered(&key.channel, None, None, 9).await, Ok(vec![]));

    assert_eq!(memory.session(key).await, Ok(None));
    assert_eq!(memory.sessions(None, None, 9).await, Ok(vec![]));
    assert_eq!(memory.turns(key, 0, 9).await, Ok(vec![]));
    assert_eq!(memory.current_thread(&ezra(), &key.channel, &key.peer).await, Ok(ThreadId::main()));
    let summary = Summary { text: "s".into(), turns: 0, called: Vec::new() };
    assert!(matches!(memory.set_summary(key.clone(), summary).await, Err(MemoryError::Store(_))));
    assert_eq!(memory.remove_session(key.clone()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_note_is_kept_found_and_forgotten() {
    let House { memory, .. } = House::new(Arc::new(MemStore::new()), MemorySettings::default()).await;
    let owner: PeerKey = "ezra/cli/uid0".parse().unwrap();
    let new = NewNote::new(owner.clone(), None, "the dog is called Rex", 5).unwrap();
    let Ok(Kept::Fresh(note)) = memory.keep_note(new.clone()).await else { panic!("not fresh") };
    assert_eq!(memory.keep_note(new).await, Ok(Kept::Known(note.clone())));
    let mine = NotesOf::Peer(owner.clone());
    assert_eq!(memory.notes(&mine, None, 9).await, Ok(vec![note.clone()]));
    assert_eq!(memory.notes(&mine, Some(note.place()), 9).await, Ok(vec![]));
    let found = memory.recall(&owner, "which dogs?", 9).await;
    assert_eq!(found, Ok(vec![Recalled::Note(note.clone())]));
    assert_eq!(memory.forget_note(owner.clone(), note.id).await, Ok(()));
    let again = memory.forget_note(owner.clone(), note.id).await;
    assert_eq!(again, Err(StoreError::NotFound { what: "note 1".into() }.into()));
    assert_eq!(memory.recall(&owner, "which dogs?", 9).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_commit_shares_the_next_ones() {
    local(async {
        let store = Arc::new(MemStore::new());
        let settings = MemorySettings { batch_len_max: 10, ..MemorySettings::default() };
        let house = House::new(store.clone(), settings).await;
        let first = occupy(&house, &store).await;

        let accepts = join_all((0..25).map(|number| {
            let memory = house.memory.clone();
            async move { fresh(memory.accept(message(&number.to_string())).await).id }
        }));
        // The question stands behind the changes: when it is answered, all of them wait for their commit.
        let release = async {
            house.memory.pending_len(&ezra()).await.unwrap();
            store.release();
        };
        let (ids, ()) = join(accepts, release).await;

        assert_eq!(fresh(first.await.unwrap()).id, InboxId(1));
        assert_eq!(ids, (2..=26).map(InboxId).collect::<Vec<_>>());
        assert_eq!(store.batches(), [1, 10, 10, 5]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    local(async {
        let store = Arc::new(MemStore::new());
        let settings = MemorySettings { writes_waiting_max: 3, ..MemorySettings::default() };
        let house = House::new(store.clone(), settings).await;
        let first = occupy(&house, &store).await;

        let accepts = join_all((0..5).map(|number| {
            let memory = house.memory.clone();
            async move { memory.accept(message(&number.to_string())).await }
        }));
        let release = async {
            house.memory.pending_len(&ezra()).await.unwrap();
            store.release();
        };
        let (results, ()) = join(accepts, release).await;

        let busy = Err(MemoryError::Link(LinkError::Busy { actor: "memory" }));
        assert!(results[..3].iter().all(Result::is_ok) && first.await.unwrap().is_ok());
        assert_eq!(results[3..], [busy.clone(), busy]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn questions_are_bounded_and_have_a_deadline() {
    let settings = MemorySettings { reads_at_once_max: 0, reads_waiting_max: 1, ..MemorySettings::default() };
    let House { memory, .. } = House::new(Arc::new(MemStore::new()), settings).await;
    let archon = ezra();
    let (waits, refused) = join(memory.pending_len(&archon), memory.pending_len(&archon)).await;
    assert_eq!(waits, Err(LinkError::TimedOut { actor: "memory", timeout: READ_TIMEOUT }.into()));
    assert_eq!(refused, Err(LinkError::Busy { actor: "memory" }.into()));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_disk_costs_the_caller_his_deadline_and_no_more() {
    local(async {
        let store = Arc::new(MemStore::new());
        let house = House::new(store.clone(), MemorySettings::default()).await;
        let first = occupy(&house, &store).await;
        tokio::time::advance(WRITE_TIMEOUT).await;
        let timed_out = LinkError::TimedOut { actor: "memory", timeout: WRITE_TIMEOUT };
        assert_eq!(first.await.unwrap(), Err(timed_out.into()));

        store.release();
        let again = house.memory.accept(message("occupies")).await;
        assert_eq!(again, Ok(Accepted::Duplicate(InboxId(1))), "what timed out was done, once");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_failure_is_answered_and_the_actor_lives() {
    let store = Arc::new(MemStore::new());
    let House { memory, mut ends, .. } = House::new(store.clone(), MemorySettings::default()).await;
    let full = StoreError::DiskFull { path: "/house/store".into() };
    store.fail_writes(Some(full.clone()));
    assert_eq!(memory.accept(message("1")).await, Err(full.clone().into()));
    store.fail_reads(Some(full.clone()));
    assert_eq!(memory.pending_len(&ezra()).await, Err(full.into()));

    store.fail_writes(None);
    store.fail_reads(None);
    assert_eq!(fresh(memory.accept(message("1")).await).id, InboxId(1));
    assert!(ends.try_recv().is_err(), "it never ended");
}

#[tokio::test(start_paused = true)]
async fn a_refused_change_refuses_alone() {
    local(async {
        let store = Arc::new(MemStore::new());
        let house = House::new(store.clone(), MemorySettings::default()).await;
        let first = occupy(&house, &store).await;
        let release = async {
            house.memory.pending_len(&ezra()).await.unwrap();
            store.release();
        };
        let (bad, good) = (house.memory.mark_sent(OutboxId(77)), house.memory.accept(message("2")));
        let ((bad, good), ()) = join(join(bad, good), release).await;
        assert_eq!(bad, Err(StoreError::NotFound { what: "answer 77".into() }.into()));
        assert_eq!(fresh(good).id, InboxId(2));
        assert_eq!((first.await.unwrap().is_ok(), store.batches()), (true, vec![1, 2]));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_first_what_was_taken_up() {
    local(async {
        let store = Arc::new(MemStore::new());
        let mut house = House::new(store.clone(), MemorySettings::default()).await;
        let first = occupy(&house, &store).await;
        let stop = async {
            house.memory.pending_len(&ezra()).await.unwrap();
            house.actor.stop(None);
            store.release();
        };
        let (second, ()) = join(house.memory.accept(message("2")), stop).await;
        assert_eq!(fresh(first.await.unwrap()).id, InboxId(1));
        assert_eq!(fresh(second).id, InboxId(2));
        assert_eq!(house.ends.recv().await.unwrap(), "stopped");
        let gone = house.memory.accept(message("3")).await;
        assert_eq!(gone, Err(LinkError::NotRunning { actor: "memory" }.into()));
    })
    .await;
}

/// Breaks at the first commit and at every question for one Archon.
struct Broken(MemStore);

macro_rules! pass_on {
    ($($name:ident(&self $(, $arg:ident: $type:ty)*) -> $answer:ty;)*) => {
        $(fn $name(&self $(, $arg: $type)*) -> Result<$answer, StoreError> {
            self.0.$name($($arg),*)
        })*
    };
}

impl Store for Broken {
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<Written, StoreError>>, StoreError> {
        let result = self.0.commit(batch);
        assert!(self.0.batches().len() > 1, "the first commit breaks");
        result
    }

    fn pending_len(&self, archon: &ArchonId) -> Result<u64, StoreError> {
        assert_ne!(archon.as_str(), "broken");
        self.0.pending_len(archon)
    }

    pass_on! {
        sessions_with(&self, with: &PeerKey) -> Vec<SessionHead>;
        grants(&self, with: &PeerKey) -> Vec<Grant>;
        pending(&self, archon: &ArchonId, after: Option<InboxId>, limit: usize) -> Vec<InboxEntry>;
        session(&self, key: &SessionKey) -> Option<SessionSnapshot>;
        turns(&self, key: &SessionKey, from: u64, limit: usize) -> Vec<TurnRecord>;
        sessions(&self, archon: Option<&ArchonId>, after: Option<&SessionKey>, limit: usize) -> Vec<SessionHead>;
        undelivered(&self, channel: &ChannelId, peer: Option<(&ArchonId, &PeerId)>, after: Option<OutboxId>, limit: usize) -> Vec<OutboxEntry>;
        answer_to(&self, inbox: InboxId) -> Option<OutboxEntry>;
        is_accepted(&self, key: &MessageKey) -> bool;
        undeliverable(&self, channel: Option<&ChannelId>, after: Option<OutboxId>, limit: usize) -> Vec<Undeliverable>;
        paired(&self, with: &PeerKey) -> Option<Paired>;
        pairings(&self) -> Vec<Paired>;
        knocks(&self) -> Vec<Knock>;
        linked(&self, with: &PeerKey) -> Vec<PeerKey>;
        receipt(&self, inbox: InboxId) -> Option<Receipt>;
        cursor(&self, archon: &ArchonId, channel: &ChannelId) -> Option<Cursor>;
        journal(&self, inbox: InboxId) -> Vec<JournalEntry>;
        current_thread(&self, archon: &ArchonId, channel: &ChannelId, peer: &PeerId) -> ThreadId;
        notes(&self, of: &NotesOf, after: Option<&NotePlace>, limit: usize) -> Vec<Note>;
        find(&self, owner: &PeerKey, sought: &Sought, limit: usize) -> Vec<Recalled>;
        unindexed(&self, limit: usize) -> Vec<Unindexed>;
        indexed(&self) -> Indexed;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_store_ends_the_actor_and_the_handle_rides_over_the_restart() {
    let store: Arc<dyn Store> = Arc::new(Broken(MemStore::new()));
    let mut house = House::new(store.clone(), MemorySettings::default()).await;
    let died = Err(LinkError::Died { actor: "memory" }.into());
    assert_eq!(house.memory.accept(message("1")).await, died);
    assert_eq!(house.ends.recv().await.unwrap(), "the store panicked while it was written");

    let args = MemoryArgs::new(store);
    house.memory.spawn(args.clone(), house.supervisor.clone()).await.unwrap();
    let again = house.memory.accept(message("1")).await;
    assert_eq!(again, Ok(Accepted::Duplicate(InboxId(1))), "a retry after a lost answer is safe");

    let broken = "broken".parse().unwrap();
    let died: Result<u64, MemoryError> = Err(LinkError::Died { actor: "memory" }.into());
    assert_eq!(house.memory.pending_len(&broken).await, died);
    assert_eq!(house.ends.recv().await.unwrap(), "the store panicked while it was read");
    house.memory.spawn(args, house.supervisor).await.unwrap();
    assert_eq!(house.memory.pending_len(&ezra()).await, Ok(1));
}
