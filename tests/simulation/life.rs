//! One life of the daemon: the real house on the simulated world, from its start to its end.
use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archond::store::RedbStore;
use archond_actors::domain::{
    ArchonLimits, ArchonSpec, ChannelId, ContextPolicy, FitPolicy, ModelId, OutboxId,
};
use archond_actors::house::{House, HouseArgs};
use archond_actors::memory::MemorySettings;
use archond_actors::pool::PoolSettings;
use archond_actors::supervision::SupervisionFact;
use archond_actors::testkit::{FakeEngine, FakeLoad, archon_spec};
use futures::future::{Either, join, join_all, select};
use tokio::time::Instant;

use crate::disk::{Disk, Random};
use crate::outside::World;
use crate::platforms::{Platforms, everybody};
use crate::ports::{SimCalls, SimClock, pass};
use crate::scenario::{Ending, Life, MESSAGE_BYTES_MAX, POISON, Road, Scenario};
use crate::{channels, laws, storm};

/// How often the power and the house are looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(5);
/// Everything that may wait for its time (a quarantine, a failed model, a retry) has come by then.
const SETTLE_MAX: Duration = Duration::from_secs(2 * 3600);

/// A report of a supervisor: when, which one, what.
pub(crate) type Reported = (Duration, String, SupervisionFact);

/// The daemon while it lives, and what is around it.
pub(crate) struct Running<'s> {
    pub(crate) scenario: &'s Scenario,
    pub(crate) outside: &'s World,
    pub(crate) number: usize,
    pub(crate) life: &'s Life,
    pub(crate) house: House,
    pub(crate) engine: FakeEngine,
    pub(crate) disk: Disk,
    pub(crate) slow: Arc<AtomicU64>,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) facts: Arc<Mutex<Vec<Reported>>>,
    pub(crate) began: Instant,
    /// Nothing goes wrong any more.
    pub(crate) is_over: Cell<bool>,
}

pub(crate) fn model() -> ModelId {
    ModelId::new("m").unwrap()
}

/// Runs one life on a disk; returns the disk as the next life finds it.
pub(crate) fn live(scenario: &Scenario, outside: &World, disk: &Disk, number: usize) -> Disk {
    let life = &scenario.lives[number];
    let mut random = Random::new(scenario.seed * 31 + number as u64);
    outside.borrow_mut().note(format!("life {number}: {life:?}"));
    outside.borrow_mut().is_calm = false;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let is_new = disk.contents().is_empty();
        if let Ending::PowerCut { operation, .. } = life.ending {
            disk.power_off_in(operation);
        }
        let from = disk.clone();
        let opened = match RedbStore::open_on("disk", move || from.clone()) {
            Ok(store) => open(scenario, outside, disk, number, store).await,
            // A new store gets its name when it is whole; until then there is none.
            Err(_) if disk.is_off() && is_new => return Disk::default(),
            Err(error) => Err(error.to_string()),
        };
        match opened {
            Ok(running) => running.run().await,
            Err(_) if disk.is_off() => outside.borrow_mut().note("the power went while it started".into()),
            Err(error) => outside.borrow_mut().violate(format!("the house does not start: {error}")),
        }
        // Before anything is dropped: a process that dies closes nothing.
        match life.ending {
            Ending::PowerCut { tear, .. } => Disk::holding(disk.after_power_loss(tear, &mut random)),
            Ending::Kill | Ending::Shutdown => Disk::holding(disk.contents()),
        }
    })
}

async fn open<'s>(
    scenario: &'s Scenario,
    outside: &'s World,
    disk: &Disk,
    number: usize,
    store: RedbStore,
) -> Result<Running<'s>, String> {
    let (slow, clock, facts) = (Arc::new(AtomicU64::new(0)), Arc::new(SimClock::default()), Arc::default());
    let engine = FakeEngine::new([model()]);
    engine.set_slots(scenario.slots);
    engine.set_context_tokens(scenario.context_tokens);
    engine.set_token_delay(scenario.token_delay);
    engine.set_load(&model(), FakeLoad::Takes(scenario.load_time));
    engine.poison(POISON, 1);
    let (began, reported) = (Instant::now(), Arc::<Mutex<Vec<Reported>>>::clone(&facts));
    let house = House::start(HouseArgs {
        store: Arc::new(store),
        engine: Arc::new(engine.clone()),
        tools: Arc::new(archond_actors::ports::NoTools),
        media: Arc::new(archond_actors::ports::NoMedia),
        channels: Arc::new(Platforms {
            outside: outside.clone(),
            seed: scenario.seed * 1_009 + number as u64 * 101 + 2_000,
        }),
        clock: clock.clone(),
        calls: Arc::new(SimCalls::new(scenario.seed + number as u64, slow.clone())),
        memory: MemorySettings::default(),
        pool: PoolSettings::default(),
        report: Arc::new(move |(path, fact)| reported.lock().unwrap().push((began.elapsed(), path, fact))),
    })
    .await
    .map_err(|error| error.to_string())?;
    let (disk, life) = (disk.clone(), &scenario.lives[number]);
    Ok(Running {
        scenario,
        outside,
        number,
        life,
        house,
        engine,
        disk,
        slow,
        clock,
        facts,
        began,
        is_over: Cell::new(false),
    })
}

impl Running<'_> {
    /// Numbers that are this life's and this purpose's own.
    pub(crate) fn random(&self, purpose: u64) -> Random {
        Random::new(self.scenario.seed * 1_009 + self.number as u64 * 101 + purpose)
    }

    pub(crate) fn is_last(&self) -> bool {
        self.number + 1 == self.scenario.lives.len()
    }

    /// Writes into the history, with the time.
    pub(crate) fn note(&self, event: &str) {
        self.outside.borrow_mut().note(format!("{:>9.3} {event}", self.began.elapsed().as_secs_f64()));
    }

    pub(crate) fn violate(&self, violation: String) {
        self.outside.borrow_mut().violate(violation);
    }

    async fn run(self) {
        let chats = self.scenario.chats.iter().enumerate();
        let people = join_all(chats.map(|(number, chat)| channels::person(&self, number, chat)));
        let around = join(join(self.operate(), storm::rage(&self)), laws::watch(&self));
        let world = std::pin::pin!(join(people, around));
        let end = std::pin::pin!(self.until_its_end());
        if let Either::Left(_) = select(world, end).await {
            self.violate("the world stands still".into());
        }
        for (time, path, fact) in self.facts.lock().unwrap().iter() {
            self.outside.borrow_mut().note(format!("{:>9.3} {path}: {fact:?}", time.as_secs_f64()));
        }
        laws::of_supervision(&self);
        if self.is_last() {
            laws::of_the_end(&self).await;
        }
        if self.life.ending == Ending::Shutdown && !self.disk.is_off() {
            // A house that gave up has shut itself down.
            drop(self.house.shutdown().await);
        }
    }

    async fn until_its_end(&self) {
        loop {
            pass(if self.is_last() { Duration::from_secs(1) } else { WATCH_PERIOD }).await;
            let age = self.began.elapsed();
            let ended = std::pin::pin!(self.house.ended());
            if let Either::Left(_) = select(ended, std::future::ready(())).await {
                self.note("the house has ended");
                if self.is_last() || self.scenario.weather != crate::scenario::Weather::Wild {
                    self.violate("the house ended by itself".into());
                }
                return;
            }
            if !self.is_last() {
                if self.disk.is_off() || age >= self.life.length {
                    return;
                }
            } else if self.is_settled().await {
                return;
            } else if age >= SETTLE_MAX {
                let left = laws::left_over(self).await;
                return self.violate(format!("not settled: {left}"));
            }
        }
    }

    async fn is_settled(&self) -> bool {
        if !self.is_over.get() || !self.outside.borrow().is_done(self.scenario) {
            return false;
        }
        for road in Road::ALL {
            let channel = road.channel().parse().unwrap();
            let memory = self.house.memory();
            if !memory.undelivered(&channel, None, None, 1).await.is_ok_and(|left| left.is_empty()) {
                return false;
            }
        }
        if !self.house.roster().tree().iter().all(|actor| laws::is_well(actor.state)) {
            return false;
        }
        let status = self.house.status().await;
        let well = |archon: &archond_actors::domain::ArchonStatus| {
            archon.state == archond_actors::domain::ActorState::Ready
                && archon.in_flight + archon.waiting == 0
        };
        status.archons.len() == self.scenario.archons.len()
            && status.archons.iter().all(well)
            && status.pool.requests.is_empty()
    }

    /// The operator starts every Archon, as often as it takes.
    async fn operate(&self) {
        for name in &self.scenario.archons {
            while let Err(error) = self.house.start_archon(self.spec(name)).await {
                self.note(&format!("{name} is not started: {error}"));
                pass(Duration::from_millis(500)).await;
            }
            self.note(&format!("{name} is started"));
        }
        std::future::pending::<()>().await;
    }

    pub(crate) fn spec(&self, name: &str) -> ArchonSpec {
        let scenario = self.scenario;
        let spec = archon_spec(name, &model()).unwrap();
        ArchonSpec {
            channels: Road::ALL.map(|road| ChannelId::new(road.channel()).unwrap()).to_vec(),
            access: Road::ALL.map(|road| (ChannelId::new(road.channel()).unwrap(), everybody())).into(),
            context: ContextPolicy { tokens_max: scenario.context_tokens, ..spec.context },
            fit: FitPolicy { progress_timeout: Duration::from_secs(10), ..spec.fit },
            limits: ArchonLimits {
                message_bytes_max: MESSAGE_BYTES_MAX,
                answer_tokens_max: if scenario.is_narrow() { 40 } else { 1_024 },
                turns_in_flight_max: 4,
                inbox_len_max: scenario.inbox_len_max,
                session_idle: Duration::from_secs(15),
                crashes_max: scenario.crashes_max,
                ..spec.limits
            },
            ..spec
        }
    }

    /// Confirms a delivery; one that fails is delivered again.
    pub(crate) async fn mark_sent(&self, outbox: OutboxId) {
        match self.house.memory().mark_sent(outbox).await {
            Ok(()) => self.outside.borrow_mut().mark(outbox),
            Err(error) => self.note(&format!("{outbox} is not marked: {error}")),
        }
    }
}
