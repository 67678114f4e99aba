//! What may happen to a supervisor, drawn at random: its rules, its children, and every event or request that it meets.
use std::time::Duration;

use archond_actors::supervision::events::{ChildRules, PolicyRules};
use archond_actors::supervision::{Backoff, Exceeded, Intensity, Restart, Strategy};
use proptest::prelude::{BoxedStrategy, Just, Strategy as Draw, any, prop, prop_oneof};
use proptest_state_machine::ReferenceStateMachine;

use super::ideal::Ideal;
use super::words::{How, Id, Wanted};

/// The names of those children that a supervisor has from the beginning.
const FIRST: [Id; 4] = ["a", "b", "c", "d"];

/// All names; the last is known only when somebody asks for it.
const ALL: [Id; 5] = ["a", "b", "c", "d", "e"];

/// How a child comes to its end when nobody stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Itself,
    Error,
    Kill,
}

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Ends(Id, Cause),
    Pass(Duration),
    Start(Wanted),
    Stop(Id),
    Restart(Id),
    /// So many of its next starts fail.
    Jinx(Id, u32),
    ShutDown,
    /// Another incarnation, as a parent would make it.
    Begin,
}

/// The model: [`Ideal`], and what may happen to it. All times are whole milliseconds, the unit of tokio's timers.
/// `LONG_DELAYS` are those that jitter changes by more than that unit; without them the time of each restart is certain.
pub(crate) struct Story<const LONG_DELAYS: bool>;

fn ms(range: std::ops::Range<u64>) -> impl Draw<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn rules() -> impl Draw<Value = PolicyRules> {
    let exceeded = prop_oneof![
        Just(Exceeded::GiveUp),
        ms(2..14).prop_map(|retry_after| Exceeded::Quarantine { retry_after })
    ];
    let strategy = prop_oneof![Just(Strategy::OneForOne), Just(Strategy::RestForOne)];
    (strategy, 0..5_u32, ms(1..50), exceeded, any::<bool>()).prop_map(
        |(strategy, restarts_max, period, exceeded, count_temporary)| PolicyRules {
            strategy,
            intensity: Intensity { restarts_max, period },
            exceeded,
            count_temporary,
        },
    )
}

fn wanted(id: Id, long_delays: bool) -> impl Draw<Value = Wanted> {
    let restart = prop_oneof![
        5 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        2 => Just(Restart::Temporary),
    ];
    let backoff = if long_delays { (1..9_u64, 1..40_u64) } else { (1..3, 1..3) };
    let backoff = backoff.prop_map(|(first, max)| {
        let max = Duration::from_millis(max.max(first));
        Backoff { first: Duration::from_millis(first), max }
    });
    (restart, backoff, prop::bool::weighted(0.05), prop::bool::weighted(0.15)).prop_map(
        move |(restart, backoff, significant, brutal)| Wanted {
            rules: ChildRules { id: id.into(), restart, backoff, significant },
            brutal,
        },
    )
}

fn any_id() -> impl Draw<Value = Id> {
    prop::sample::select(&ALL[..])
}

fn jinx() -> impl Draw<Value = u32> {
    prop_oneof![3 => Just(1), 1 => 2..9_u32]
}

fn alive(state: &Ideal) -> Vec<Id> {
    let is_alive = |id: &Id| state.kids.iter().any(|kid| kid.id() == *id && kid.is_alive());
    ALL.into_iter().filter(is_alive).collect()
}

impl<const LONG_DELAYS: bool> ReferenceStateMachine for Story<LONG_DELAYS> {
    type State = Ideal;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Ideal> {
        let plan = (1..=FIRST.len()).prop_flat_map(|count| {
            FIRST[..count].iter().map(|id| wanted(id, LONG_DELAYS)).collect::<Vec<_>>()
        });
        (rules(), plan).prop_map(|(rules, plan)| Ideal::new(rules, plan)).boxed()
    }

    fn transitions(state: &Ideal) -> BoxedStrategy<Step> {
        if state.over {
            return prop_oneof![3 => Just(Step::Begin), 1 => jinxes()].boxed();
        }
        let others = prop_oneof![
            // Mostly short, so that much happens within one period.
            8 => prop_oneof![4 => ms(1..4), 1 => ms(1..60)].prop_map(Step::Pass),
            2 => any_id().prop_flat_map(|id| wanted(id, LONG_DELAYS)).prop_map(Step::Start),
            2 => any_id().prop_map(Step::Stop),
            2 => any_id().prop_map(Step::Restart),
            2 => jinxes(),
        ];
        let rarely = prop_oneof![40 => others, 1 => Just(Step::ShutDown)];
        let alive = alive(state);
        if alive.is_empty() {
            return rarely.boxed();
        }
        let cause = prop_oneof![2 => Just(Cause::Error), 1 => Just(Cause::Kill), 1 => Just(Cause::Itself)];
        let ends = (prop::sample::select(alive), cause).prop_map(|(id, cause)| Step::Ends(id, cause));
        prop_oneof![1 => ends, 1 => rarely].boxed()
    }

    fn preconditions(state: &Ideal, step: &Step) -> bool {
        match step {
            Step::Ends(id, _) => alive(state).contains(id),
            Step::Jinx(..) => true,
            Step::Begin => state.over,
            Step::Pass(_) | Step::Start(_) | Step::Stop(_) | Step::Restart(_) | Step::ShutDown => !state.over,
        }
    }

    fn apply(mut state: Ideal, step: &Step) -> Ideal {
        state.forget_the_last_transition();
        match step {
            Step::Ends(id, Cause::Itself) => state.ends(id, How::Normal),
            Step::Ends(id, Cause::Error | Cause::Kill) => state.ends(id, How::Abnormal),
            Step::Pass(time) => state.passes(*time),
            Step::Start(wanted) => state.asked_to_start(wanted.clone()),
            Step::Stop(id) => state.asked_to_stop(id),
            Step::Restart(id) => state.asked_to_restart(id),
            Step::Jinx(id, starts) => drop(state.jinxed.insert(id, *starts)),
            Step::ShutDown => state.shut_down(),
            Step::Begin => state.begin(),
        }
        state
    }
}

fn jinxes() -> impl Draw<Value = Step> {
    (any_id(), jinx()).prop_map(|(id, starts)| Step::Jinx(id, starts))
}
