//! Tables and properties of Hermes' dispatch.
use proptest::prelude::*;

use super::*;
use crate::domain::{InboxEntry, InboxId};

const SECOND: Duration = Duration::from_secs(1);

fn policy(in_flight_max: usize, window_len_max: usize) -> DispatchPolicy {
    let fit = FitPolicy {
        progress_timeout: 30 * SECOND,
        retries_max: 3,
        retry_backoff: SECOND,
        message_age_max: 86_400 * SECOND,
    };
    DispatchPolicy { in_flight_max, window_len_max, fit }
}

fn entry(id: u64, peer: u8) -> InboxEntry {
    InboxEntry {
        id: InboxId(id),
        session: format!("ezra/cli/p{peer}/main").parse().unwrap(),
        key: id.to_string(),
        text: "hello".into(),
        received_unix_ms: 0,
        attempts: 0,
        waybill: crate::domain::Waybill::default(),
    }
}

/// A dispatch that has looked at the store, which was empty.
fn dispatch(in_flight_max: usize, window_len_max: usize) -> Dispatch {
    let mut dispatch = Dispatch::new(policy(in_flight_max, window_len_max));
    dispatch.refill(vec![], true);
    dispatch
}

fn next_id(dispatch: &mut Dispatch, now: Duration) -> Option<u64> {
    dispatch.next(now).map(|(entry, _)| entry.id.0)
}

#[test]
fn sessions_take_turns_and_keep_their_order() {
    let mut dispatch = dispatch(2, 100);
    for (id, peer) in [(1, 1), (2, 1), (3, 1), (5, 2), (4, 2)] {
        dispatch.accept(entry(id, peer));
    }
    assert_eq!(next_id(&mut dispatch, SECOND), Some(1));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(4), "reported late, journalled first");
    assert_eq!(next_id(&mut dispatch, SECOND), None, "two at once");
    assert!(dispatch.ended(InboxId(1)));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(2));
    assert!(dispatch.ended(InboxId(2)) && dispatch.ended(InboxId(4)));
    assert!(!dispatch.ended(InboxId(4)), "a second report changes nothing");
    assert_eq!(next_id(&mut dispatch, SECOND), Some(3));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(5));
}

#[test]
fn a_transient_failure_is_retried_three_times_with_growing_delay() {
    let mut dispatch = dispatch(1, 10);
    dispatch.accept(entry(1, 1));
    let mut now = SECOND;
    for (attempt, delay) in [(1, 1), (2, 2), (3, 4)] {
        assert_eq!(dispatch.next(now).map(|(_, attempt)| attempt), Some(attempt));
        let verdict = dispatch.failed(InboxId(1), attempt, TryEnd::Transient, now);
        assert_eq!(verdict, Verdict::Retry { attempt: attempt + 1 });
        assert_eq!(dispatch.failed(InboxId(1), attempt, TryEnd::Transient, now), Verdict::Stale);
        assert!(dispatch.next(now + delay * SECOND - Duration::from_millis(1)).is_none());
        now += delay * SECOND;
    }
    assert_eq!(dispatch.next(now).map(|(_, attempt)| attempt), Some(4));
    let verdict = dispatch.failed(InboxId(1), 4, TryEnd::Transient, now);
    assert!(matches!(verdict, Verdict::GiveUp { .. }));
    assert!(dispatch.ended(InboxId(1)) && dispatch.is_idle());
}

#[test]
fn a_crash_is_retried_once_and_a_hopeless_try_never() {
    let mut dispatch = dispatch(1, 10);
    dispatch.accept(entry(1, 1));
    dispatch.next(SECOND);
    let verdict = dispatch.failed(InboxId(1), 1, TryEnd::Crashed, SECOND);
    assert_eq!(verdict, Verdict::Retry { attempt: 2 });
    dispatch.next(9 * SECOND);
    assert!(matches!(dispatch.failed(InboxId(1), 2, TryEnd::Crashed, SECOND), Verdict::GiveUp { .. }));
    dispatch.ended(InboxId(1));

    dispatch.accept(entry(2, 1));
    dispatch.next(SECOND);
    assert!(matches!(dispatch.failed(InboxId(2), 1, TryEnd::Final, SECOND), Verdict::GiveUp { .. }));
    dispatch.ended(InboxId(2));

    dispatch.accept(InboxEntry { attempts: ATTEMPTS_MAX, ..entry(3, 1) });
    dispatch.next(SECOND);
    assert!(matches!(dispatch.failed(InboxId(3), 1, TryEnd::Transient, SECOND), Verdict::GiveUp { .. }));
}

#[test]
fn a_report_does_not_overtake_what_is_still_in_the_store() {
    let mut dispatch = dispatch(1, 2);
    // Three find room, here or with the harness; the fourth stays in the store.
    for (id, peer) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
        dispatch.accept(entry(id, peer));
        if id == 1 {
            assert_eq!(next_id(&mut dispatch, SECOND), Some(1));
        }
    }
    assert!(dispatch.ended(InboxId(1)));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(2));
    // There is room again when the same peer writes once more: his fourth message goes first all the same.
    dispatch.accept(entry(5, 4));
    assert!(dispatch.ended(InboxId(2)));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(3));
    assert!(dispatch.ended(InboxId(3)) && dispatch.wants_refill());
    assert_eq!(next_id(&mut dispatch, SECOND), None);
    dispatch.refill(vec![entry(4, 4), entry(5, 4)], true);
    assert_eq!(next_id(&mut dispatch, SECOND), Some(4));
    assert!(dispatch.ended(InboxId(4)));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(5));
    // The same after a report that was lost.
    dispatch.missed();
    dispatch.accept(entry(7, 4));
    assert!(dispatch.ended(InboxId(5)));
    assert_eq!(next_id(&mut dispatch, SECOND), None);
    dispatch.refill(vec![entry(6, 4), entry(7, 4)], true);
    assert_eq!(next_id(&mut dispatch, SECOND), Some(6));
}

#[test]
fn what_a_turn_took_in_waits_no_more() {
    let mut dispatch = dispatch(2, 100);
    for (id, peer) in [(1, 1), (2, 1), (3, 1), (4, 2)] {
        dispatch.accept(entry(id, peer));
    }
    let of = |peer| entry(0, peer).session;
    assert_eq!(dispatch.behind(&of(1)), None, "nothing is under way");
    assert_eq!(next_id(&mut dispatch, SECOND), Some(1));
    let (running, waiting) = dispatch.behind(&of(1)).unwrap();
    assert_eq!((running, waiting.iter().map(|e| e.id.0).collect()), (InboxId(1), vec![2, 3]));
    assert_eq!((dispatch.behind(&of(2)), dispatch.at_work()), (None, vec![of(1)]));
    assert!(
        dispatch.taken_in(InboxId(2)) && !dispatch.taken_in(InboxId(2)) && !dispatch.taken_in(InboxId(9))
    );
    assert!(dispatch.ended(InboxId(1)));
    // A late word of a turn that nobody knows here any more, about the only one that waits in its session.
    assert!(dispatch.taken_in(InboxId(4)));
    dispatch.accept(entry(5, 2));
    assert_eq!(next_id(&mut dispatch, SECOND), Some(3));
    assert_eq!((next_id(&mut dispatch, SECOND), next_id(&mut dispatch, SECOND)), (Some(5), None));
    // And about one that is under way itself.
    assert!(dispatch.taken_in(InboxId(3)) && dispatch.ended(InboxId(5)) && dispatch.is_idle());
    for id in 10..40 {
        dispatch.accept(entry(id, 1));
    }
    next_id(&mut dispatch, SECOND);
    assert_eq!(dispatch.behind(&of(1)), None, "so many were told of already");
}

#[test]
fn only_a_try_without_progress_is_overdue() {
    let mut dispatch = dispatch(2, 10);
    dispatch.accept(entry(1, 1));
    dispatch.accept(entry(2, 2));
    dispatch.next(SECOND);
    dispatch.next(SECOND);
    dispatch.progress(InboxId(2), 20 * SECOND);
    assert!(dispatch.overdue(30 * SECOND).is_empty());
    let overdue: Vec<u64> = dispatch.overdue(31 * SECOND).iter().map(|(entry, _)| entry.id.0).collect();
    assert_eq!(overdue, [1]);
}

proptest! {
    /// Messages come in any order, through the window or by refill; tries end, fail and crash as they like.
    /// In the end each message was ended once, each session's in order, and never more than allowed at once.
    #[test]
    fn every_message_ends_once_and_in_order(
        peers in prop::collection::vec(0_u8..5, 1..60),
        fates in prop::collection::vec(0_u8..8, 0..200),
        in_flight_max in 1_usize..5,
        window in 1_usize..12,
    ) {
        let mut dispatch = dispatch(in_flight_max, window);
        let entries: Vec<InboxEntry> =
            peers.iter().zip(1_u64..).map(|(peer, id)| entry(id, *peer)).collect();
        let (mut ended, mut taken_in): (Vec<InboxEntry>, Vec<InboxId>) = (Vec::new(), Vec::new());
        for entry in &entries {
            dispatch.accept(entry.clone());
        }
        let mut fates = fates.into_iter().cycle().take(4000);
        let mut now = SECOND;
        let mut steps = 0;
        while ended.len() < entries.len() {
            steps += 1;
            prop_assert!(steps < 20_000, "no message starves");
            if dispatch.wants_refill() {
                let open: Vec<InboxEntry> =
                    entries.iter().filter(|e| !ended.iter().any(|done| done.id == e.id)).cloned().collect();
                let complete = open.len() <= window;
                dispatch.refill(open.into_iter().take(window).collect(), complete);
                // A page that is full of messages under way must not end the looking.
                if !complete { dispatch.missed(); }
            }
            while dispatch.next(now).is_some() {}
            prop_assert!(dispatch.in_flight() <= in_flight_max);
            let flights: Vec<(InboxId, u32)> =
                dispatch.flights().map(|(entry, attempt)| (entry.id, attempt)).collect();
            for (id, attempt) in flights {
                let end = match fates.next().unwrap_or(0) {
                    0 => TryEnd::Transient,
                    1 => TryEnd::Crashed,
                    2 => TryEnd::Final,
                    fate => {
                        // Some turns take in what waits behind them.
                        let of = entries.iter().find(|e| e.id == id).map(|e| e.session.clone());
                        let behind = of.and_then(|session| dispatch.behind(&session)).filter(|_| fate > 5);
                        if let Some((running, waiting)) = behind {
                            prop_assert_eq!(running, id);
                            prop_assert!(waiting.is_sorted_by_key(|entry| entry.id));
                            let joins = waiting.len().min(usize::from(fate) - 5);
                            taken_in.extend(waiting[..joins].iter().map(|entry| entry.id));
                            for entry in &waiting[..joins] {
                                prop_assert!(dispatch.taken_in(entry.id) && !dispatch.taken_in(entry.id));
                                ended.push(entry.clone());
                            }
                        }
                        ended.extend(entries.iter().find(|e| e.id == id).cloned());
                        prop_assert!(dispatch.ended(id));
                        continue;
                    }
                };
                if let Verdict::GiveUp { entry } = dispatch.failed(id, attempt, end, now) {
                    prop_assert!(dispatch.ended(id));
                    ended.push(entry);
                }
            }
            now += 10 * SECOND;
        }
        prop_assert!(dispatch.is_idle() && dispatch.waiting() == 0);
        for peer in 0..5 {
            let key = entry(1, peer).session;
            let of_peer = ended.iter().filter(|e| e.session == key && !taken_in.contains(&e.id));
            let ids: Vec<u64> = of_peer.map(|e| e.id.0).collect();
            let mut sorted = ids.clone();
            sorted.sort_unstable();
            sorted.dedup();
            prop_assert_eq!(ids, sorted);
        }
    }
}
