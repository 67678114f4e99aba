//! Which models stay in memory when another one is wanted. Pure.
//!
//! Who is idle leaves first, the longest unused before others. Where that is not enough, those who answer take no more requests and leave
//! when they have ended what runs; but not before they have been there for a while, or two models that are wanted at once would do
//! nothing but load.
use std::time::Duration;

/// A model in memory.
#[derive(Debug, Clone)]
pub(super) struct Tenant<M> {
    pub(super) model: M,
    pub(super) bytes: u64,
    /// It loads, or answers.
    pub(super) is_busy: bool,
    /// When it last took a request or ended one.
    pub(super) last_used: Duration,
    /// It has been there long enough to be asked to leave though it is busy.
    pub(super) is_settled: bool,
}

/// What has to happen before a model can be loaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room<M> {
    /// Nothing.
    There,
    /// These leave.
    After {
        /// Idle: at once.
        leave: Vec<M>,
        /// Busy: when they have ended what runs. Empty also where nobody may be asked yet.
        drain: Vec<M>,
    },
}

/// Makes room for so many bytes beside the tenants. The model alone is known to fit.
pub(super) fn make_room<M>(need: u64, budget: u64, mut tenants: Vec<Tenant<M>>) -> Room<M> {
    let taken = tenants.iter().fold(0, |sum: u64, tenant| sum.saturating_add(tenant.bytes));
    let mut missing = need.saturating_sub(budget.saturating_sub(taken));
    // Beyond the budget already, as with a budget that was lowered: everything above counts.
    missing = missing.saturating_add(taken.saturating_sub(budget));
    if missing == 0 {
        return Room::There;
    }
    tenants.sort_by_key(|tenant| (tenant.is_busy, tenant.last_used));
    let (mut leave, mut drain) = (Vec::new(), Vec::new());
    for tenant in tenants {
        if missing == 0 {
            break;
        }
        if tenant.is_busy && !tenant.is_settled {
            continue;
        }
        missing = missing.saturating_sub(tenant.bytes);
        if tenant.is_busy { drain.push(tenant.model) } else { leave.push(tenant.model) }
    }
    if missing > 0 {
        // Not yet possible at all: nobody leaves for nothing.
        (leave, drain) = (Vec::new(), Vec::new());
    }
    Room::After { leave, drain }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn tenant(model: &str, bytes: u64, is_busy: bool, last_used: u64) -> Tenant<&str> {
        Tenant { model, bytes, is_busy, last_used: Duration::from_secs(last_used), is_settled: true }
    }

    #[track_caller]
    fn check(need: u64, tenants: &[Tenant<&'static str>], wanted: (&[&'static str], &[&'static str])) {
        let (leave, drain) = (wanted.0.to_vec(), wanted.1.to_vec());
        assert_eq!(make_room(need, 10, tenants.to_vec()), Room::After { leave, drain });
    }

    #[test]
    fn who_was_idle_longest_leaves_first_and_only_who_must() {
        assert_eq!(make_room(4, 10, vec![tenant("a", 6, true, 1)]), Room::There);
        let two = [tenant("a", 5, false, 2), tenant("b", 5, false, 1)];
        check(5, &two, (&["b"], &[]));
        check(6, &two, (&["b", "a"], &[]));
        check(5, &[tenant("a", 5, true, 1), tenant("b", 5, false, 2)], (&["b"], &[]));
        check(10, &[tenant("a", 5, true, 1), tenant("b", 5, false, 2)], (&["b"], &["a"]));
    }

    #[test]
    fn who_has_just_come_is_not_sent_away() {
        let fresh = Tenant { is_settled: false, ..tenant("a", 8, true, 1) };
        check(5, std::slice::from_ref(&fresh), (&[], &[]));
        check(5, &[fresh, tenant("b", 1, false, 2)], (&[], &[]));
    }

    proptest! {
        #[test]
        fn what_leaves_is_enough_and_no_more(
            need in 1_u64..=20,
            tenants in proptest::collection::vec((0_u64..=8, any::<bool>(), 0_u64..9, any::<bool>()), 0..6),
        ) {
            let tenants: Vec<_> = (0..).zip(tenants).map(|(model, (bytes, is_busy, used, is_settled))| Tenant {
                model: model as usize, bytes, is_busy, last_used: Duration::from_secs(used), is_settled,
            }).collect();
            let sum = |of: &[usize]| of.iter().map(|model| tenants[*model].bytes).sum::<u64>();
            let taken: u64 = tenants.iter().map(|tenant| tenant.bytes).sum();
            match make_room(need, 20, tenants.clone()) {
                Room::There => prop_assert!(taken + need <= 20),
                Room::After { leave, drain } => {
                    prop_assert!(taken + need > 20);
                    let gone = [leave.clone(), drain.clone()].concat();
                    if gone.is_empty() {
                        let can: u64 = tenants.iter().filter(|t| !t.is_busy || t.is_settled).map(|t| t.bytes).sum();
                        prop_assert!(taken - can + need > 20);
                    } else {
                        prop_assert!(taken - sum(&gone) + need <= 20);
                        let last = *gone.last().unwrap();
                        prop_assert!(taken - (sum(&gone) - tenants[last].bytes) + need > 20, "{last} leaves for nothing");
                    }
                    prop_assert!(leave.iter().all(|model| !tenants[*model].is_busy));
                    prop_assert!(drain.iter().all(|model| tenants[*model].is_busy && tenants[*model].is_settled));
                }
            }
        }
    }
}
