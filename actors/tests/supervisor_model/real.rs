//! The supervisor itself with real children, on one thread whose clock stands still unless the story moves it.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use archond_actors::supervision::events::Refusal;
use archond_actors::supervision::{
    ChildSpec, Shutdown, SupervisionError, SupervisionFact, SupervisorHandle, SupervisorSpec, start_fn,
};
use proptest_state_machine::StateMachineTest;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, advance};

use super::ideal::Ideal;
use super::record::{Record, alive_in, shown, shown_by};
use super::story::{Cause, Step, Story};
use super::words::{Answer, Deed, How, Wanted};

/// The unit of tokio's timers.
const TICK: Duration = Duration::from_millis(1);

/// Turns that every task gets before it is believed that nothing more happens at this time. A child is restarted
/// within a dozen.
const TURNS: usize = 40;

/// Longer than any story.
const LIMIT: Duration = Duration::from_secs(3600);

/// What the children do and meet, shared with their supervisor's owner.
#[derive(Clone, Default)]
struct Nursery(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    alive: BTreeMap<String, ActorRef<Cause>>,
    jinxed: BTreeMap<String, u32>,
    /// What the children themselves noticed.
    journal: Vec<String>,
    facts: Vec<SupervisionFact>,
}

struct Child;

impl Actor for Child {
    type Msg = Cause;
    type State = (String, Nursery);
    type Arguments = (String, Nursery);

    async fn pre_start(
        &self,
        me: ActorRef<Cause>,
        (id, nursery): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut inner = nursery.lock();
        if let Some(left) = inner.jinxed.get_mut(&id).filter(|left| **left > 0) {
            *left -= 1;
            return Err("jinxed".into());
        }
        inner.journal.push(format!("start {id}"));
        inner.alive.insert(id.clone(), me);
        drop(inner);
        Ok((id, nursery))
    }

    async fn handle(
        &self,
        me: ActorRef<Cause>,
        cause: Cause,
        (id, nursery): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match cause {
            Cause::Itself => me.stop(None),
            Cause::Error => return Err(nursery.gone(id).into()),
            Cause::Kill => me.kill(),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _me: ActorRef<Cause>,
        (id, nursery): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        nursery.gone(id);
        nursery.lock().journal.push(format!("stop {id}"));
        Ok(())
    }
}

impl Nursery {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn facts(&self) -> usize {
        self.lock().facts.len()
    }

    fn gone(&self, id: &str) -> String {
        self.lock().alive.remove(id);
        format!("{id} broke")
    }

    fn spec(&self, wanted: &Wanted) -> ChildSpec {
        let (id, nursery) = (wanted.rules.id.clone(), self.clone());
        let start = start_fn(move |supervisor| {
            let args = (id.clone(), nursery.clone());
            async move { Ok(Actor::spawn_linked(None, Child, args, supervisor).await?.0.get_cell()) }
        });
        ChildSpec {
            restart: wanted.rules.restart,
            backoff: wanted.rules.backoff,
            significant: wanted.rules.significant,
            shutdown: if wanted.brutal { Shutdown::Kill } else { Shutdown::Within(LIMIT) },
            ..ChildSpec::new(wanted.rules.id.clone(), start)
        }
    }

    /// The names of those that are up, sorted.
    fn alive(&self) -> Vec<String> {
        let inner = self.lock();
        let up = inner.alive.iter().filter(|(_, cell)| cell.get_status() == ractor::ActorStatus::Running);
        up.map(|(id, _)| id.clone()).collect()
    }
}

/// One supervisor over its incarnations, and the world that it lives in.
struct World {
    handle: SupervisorHandle,
    nursery: Nursery,
    epoch: Instant,
    record: Record,
    calls: u64,
    asking: JoinSet<(u64, Answer)>,
}

pub(crate) struct House {
    runtime: Runtime,
    world: World,
}

impl World {
    /// Lets everything happen that can happen now.
    async fn settle(&mut self) {
        let mut seen = None;
        while seen != Some(self.nursery.facts()) {
            seen = Some(self.nursery.facts());
            for _ in 0..TURNS {
                yield_now().await;
            }
        }
        let now = self.epoch.elapsed();
        for fact in std::mem::take(&mut self.nursery.lock().facts) {
            self.record.add(now, fact);
        }
    }

    async fn take(&mut self, model: &Ideal, step: &Step) {
        match step {
            Step::Ends(id, cause) => {
                let child = self.nursery.lock().alive.get(*id).cloned().unwrap();
                match cause {
                    Cause::Kill => child.kill(),
                    Cause::Error | Cause::Itself => child.cast(*cause).unwrap(),
                }
            }
            Step::Pass(time) => {
                for _ in 0..time.as_millis() {
                    advance(TICK).await;
                    self.settle().await;
                }
            }
            Step::Start(wanted) => {
                let (handle, spec) = (self.handle.clone(), self.nursery.spec(wanted));
                self.ask(async move { handle.start_child(spec).await });
            }
            Step::Stop(id) => {
                let (handle, id) = (self.handle.clone(), *id);
                self.ask(async move { handle.stop_child(id).await });
            }
            Step::Restart(id) => {
                let (handle, id) = (self.handle.clone(), *id);
                self.ask(async move { handle.restart_child(id).await });
            }
            Step::Jinx(id, starts) => drop(self.nursery.lock().jinxed.insert((*id).into(), *starts)),
            Step::ShutDown => self.handle.shutdown(LIMIT).await.unwrap(),
            Step::Begin => self.begin(model).await,
        }
        self.settle().await;
    }

    fn ask(&mut self, asked: impl Future<Output = Result<(), SupervisionError>> + Send + 'static) {
        self.calls += 1;
        let call = self.calls;
        self.asking.spawn(async move { (call, answer(asked.await)) });
    }

    async fn begin(&mut self, model: &Ideal) {
        let nursery = self.nursery.clone();
        let spec = SupervisorSpec {
            name: "model".into(),
            strategy: model.rules.strategy,
            intensity: model.rules.intensity,
            exceeded: model.rules.exceeded,
            count_temporary: model.rules.count_temporary,
            children: model.plan.iter().map(|wanted| self.nursery.spec(wanted)).collect(),
            report: Arc::new(move |fact| nursery.lock().facts.push(fact)),
        };
        // One that gives up before all are started has not begun; the model knows that.
        assert_eq!(self.handle.spawn(spec, None).await.is_err(), model.over);
    }

    /// What was told since this was asked last, by call.
    fn answers(&mut self) -> BTreeMap<u64, Answer> {
        std::iter::from_fn(|| self.asking.try_join_next()).map(Result::unwrap).collect()
    }

    async fn check(&mut self, model: &Ideal, step: &Step) {
        self.record.check(step, model);
        assert_eq!(self.answers(), model.answers, "{step:?}");
        let journal = std::mem::take(&mut self.nursery.lock().journal);
        assert_eq!(journal, told_by_children(&model.deeds), "{step:?}");
        assert_eq!(self.nursery.alive(), alive_in(model), "{step:?}");
        if !model.over {
            let children = self.handle.children().await.unwrap();
            assert_eq!(shown(children), shown_by(model), "{step:?}");
        }
        assert_eq!(self.epoch.elapsed(), model.now, "{step:?} took time");
    }
}

/// Those who are broken or killed tell nothing.
fn told_by_children(deeds: &[Deed]) -> Vec<String> {
    let told = deeds.iter().filter_map(|deed| match deed {
        Deed::Started(id) => Some(format!("start {id}")),
        Deed::Ended(id, How::Normal | How::Shutdown) => Some(format!("stop {id}")),
        _ => None,
    });
    told.collect()
}

fn answer(result: Result<(), SupervisionError>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(SupervisionError::AlreadyRunning { .. }) => Answer::Refused(Refusal::AlreadyRunning),
        Err(SupervisionError::Quarantined { .. }) => Answer::Refused(Refusal::Quarantined),
        Err(SupervisionError::NotFound { .. }) => Answer::Refused(Refusal::NotFound),
        Err(SupervisionError::StartFailed { .. }) => Answer::StartFailed,
        Err(SupervisionError::Overtaken { .. }) => Answer::Overtaken,
        Err(SupervisionError::Unreachable(_)) => Answer::Lost,
        Err(error @ SupervisionError::Killed { .. }) => panic!("{error}"),
    }
}

impl StateMachineTest for House {
    type SystemUnderTest = Self;
    type Reference = Story<false>;

    fn init_test(model: &Ideal) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let epoch = runtime.block_on(async { Instant::now() });
        let world = World {
            handle: SupervisorHandle::new("the model"),
            nursery: Nursery::default(),
            epoch,
            record: Record::new(model.rules),
            calls: 0,
            asking: JoinSet::new(),
        };
        Self { runtime, world }
    }

    fn apply(mut house: Self, model: &Ideal, step: Step) -> Self {
        house.world.record.begin(&step, model);
        house.runtime.block_on(async {
            house.world.take(model, &step).await;
            house.world.check(model, &step).await;
        });
        house
    }
}
