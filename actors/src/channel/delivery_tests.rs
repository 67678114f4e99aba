//! Tables and properties of the delivery's decisions.
use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::domain::{AnswerKind, InboxId, ReplyTo};

const SECOND: Duration = Duration::from_secs(1);

fn entry(id: u64, peer: u8) -> OutboxEntry {
    OutboxEntry {
        id: OutboxId(id),
        answers: InboxId(id),
        key: id.to_string(),
        session: format!("ezra/double/p{peer}/main").parse().unwrap(),
        kind: AnswerKind::Answer,
        text: "hello".into(),
        attachments: Vec::new(),
        created_unix_ms: 0,
        reply_to: ReplyTo::default(),
    }
}

fn with(entries: &[(u64, u8)]) -> Delivery {
    let mut delivery = Delivery::new();
    assert!(delivery.wants_look(Duration::ZERO));
    assert!(!delivery.wants_look(Duration::ZERO), "one look at a time");
    let entries = entries.iter().map(|(id, peer)| entry(*id, *peer)).collect();
    delivery.looked(Some((entries, true)), Duration::ZERO);
    delivery
}

/// The ids of all that may be handed over now.
fn carried(delivery: &mut Delivery, now: Duration) -> Vec<u64> {
    let acts = std::iter::from_fn(|| delivery.next(now));
    acts.filter_map(|act| match act {
        Act::Carry { entry, .. } => Some(entry.id.0),
        Act::MarkSent(..) | Act::GiveUp(..) => None,
    })
    .collect()
}

fn fail(delivery: &mut Delivery, id: u64, peer: u8, fault: ChannelFault, now: Duration) {
    delivery.tried(&entry(id, peer), Tried::Failed { fault, receipt: None }, now, 0.0);
}

#[test]
fn peers_go_side_by_side_and_each_in_order() {
    let mut delivery = with(&[(1, 1), (2, 2), (3, 1), (4, 2)]);
    assert_eq!(carried(&mut delivery, SECOND), [1, 2]);
    delivery.tried(&entry(2, 2), Tried::Delivered { marked: true }, SECOND, 0.0);
    assert_eq!(carried(&mut delivery, SECOND), [4]);
    delivery.tried(&entry(1, 1), Tried::Delivered { marked: true }, SECOND, 0.0);
    assert_eq!(carried(&mut delivery, SECOND), [3]);
    assert_eq!(delivery.counts(), (2, 0));
}

#[test]
fn no_more_than_a_few_are_under_way() {
    let many: Vec<(u64, u8)> = (1..=50).map(|id| (id, u8::try_from(id).unwrap())).collect();
    let mut delivery = with(&many);
    assert_eq!(carried(&mut delivery, SECOND).len(), IN_FLIGHT_MAX);
    assert_eq!(delivery.due(), None, "whoever comes back is a report");
}

#[test]
fn each_failure_has_its_delay() {
    let here = |after| ChannelFault::Limited { after, everywhere: false };
    let everywhere = |after| ChannelFault::Limited { after, everywhere: true };
    let table = [
        (ChannelFault::transient("gone"), SECOND, Duration::ZERO),
        (here(17 * SECOND), 17 * SECOND, Duration::ZERO),
        (everywhere(17 * SECOND), 17 * SECOND, 17 * SECOND),
        (ChannelFault::Barred { detail: "who?".into() }, BARRED_RETRY, BARRED_RETRY),
    ];
    for (fault, of_peer, of_all) in table {
        let mut delivery = with(&[(1, 1)]);
        assert_eq!(carried(&mut delivery, SECOND), [1]);
        fail(&mut delivery, 1, 1, fault.clone(), SECOND);
        delivery.answered();
        if of_all == Duration::ZERO {
            assert!(delivery.wants_look(SECOND), "{fault:?}");
            delivery.looked(Some((vec![entry(1, 1), entry(2, 2)], true)), SECOND);
            assert_eq!(carried(&mut delivery, SECOND), [2], "{fault:?} holds others up");
        } else {
            assert!(!delivery.wants_look(SECOND), "{fault:?}");
        }
        let due = SECOND + of_peer;
        assert_eq!(delivery.due(), Some(due), "{fault:?}");
        let early = due - Duration::from_millis(1);
        assert_eq!(carried(&mut delivery, early), [0; 0], "{fault:?}");
        assert_eq!(carried(&mut delivery, due), [1], "{fault:?}");
    }
}

#[test]
fn what_is_refused_is_given_up_and_the_next_one_goes() {
    let mut delivery = with(&[(1, 1), (2, 1)]);
    assert_eq!(carried(&mut delivery, SECOND), [1]);
    fail(&mut delivery, 1, 1, ChannelFault::Refused { reason: "blocked".into() }, SECOND);
    let peer = entry(1, 1).session.peer;
    assert_eq!(delivery.next(SECOND), Some(Act::GiveUp(OutboxId(1), peer.clone(), "blocked".into())));
    delivery.told(&peer, false, SECOND, 0.0);
    assert_eq!((delivery.next(SECOND), delivery.due()), (None, Some(2 * SECOND)));
    assert_eq!(delivery.next(2 * SECOND), Some(Act::GiveUp(OutboxId(1), peer.clone(), "blocked".into())));
    delivery.told(&peer, true, 2 * SECOND, 0.0);
    assert_eq!(carried(&mut delivery, 2 * SECOND), [2]);
    assert_eq!(delivery.counts(), (0, 1));
}

#[test]
fn what_the_platform_has_is_marked_and_never_handed_over_again() {
    let mut delivery = with(&[(1, 1)]);
    assert_eq!(carried(&mut delivery, SECOND), [1]);
    delivery.tried(&entry(1, 1), Tried::Delivered { marked: false }, SECOND, 0.0);
    let peer = entry(1, 1).session.peer;
    for second in 2..40 {
        let now = second * SECOND;
        match delivery.next(now) {
            Some(Act::MarkSent(id, _)) => {
                assert_eq!(id, OutboxId(1));
                delivery.told(&peer, false, now, 0.0);
            }
            None => {}
            Some(other) => panic!("{other:?}"),
        }
        delivery.answered();
        if delivery.wants_look(now) {
            delivery.looked(Some((vec![entry(1, 1)], true)), now);
        }
    }
}

#[test]
fn a_look_that_began_before_a_mark_brings_nothing_back() {
    let mut delivery = with(&[(1, 1)]);
    assert_eq!(carried(&mut delivery, SECOND), [1]);
    delivery.answered();
    assert!(delivery.wants_look(SECOND));
    delivery.tried(&entry(1, 1), Tried::Delivered { marked: true }, SECOND, 0.0);
    delivery.looked(Some((vec![entry(1, 1), entry(2, 1)], true)), SECOND);
    assert_eq!(carried(&mut delivery, SECOND), [2]);
}

#[test]
fn an_answer_that_the_platform_cannot_bear_is_given_up_when_it_bears_others() {
    let mut delivery = with(&[(1, 1)]);
    let mut now = SECOND;
    for number in 1..=TRIES_MAX {
        now = delivery.due().unwrap().max(now);
        assert_eq!(carried(&mut delivery, now), [1], "{number}");
        delivery.reached(now);
        now += Duration::from_millis(1);
        fail(&mut delivery, 1, 1, ChannelFault::transient("500"), now);
    }
    assert!(matches!(delivery.next(now), Some(Act::GiveUp(..))));
    // While nobody gets through, it is nobody's fault.
    let mut delivery = with(&[(1, 1)]);
    for _ in 0..2 * TRIES_MAX {
        now = delivery.due().unwrap().max(now);
        assert_eq!(carried(&mut delivery, now), [1]);
        fail(&mut delivery, 1, 1, ChannelFault::transient("500"), now);
    }
    assert!(!matches!(delivery.next(now), Some(Act::GiveUp(..))));
}

#[test]
fn more_than_there_is_room_for_is_looked_for_again_when_there_is() {
    let mut delivery = Delivery::new();
    assert!(delivery.wants_look(Duration::ZERO));
    let lane = (1..=LANE_LEN_MAX as u64).map(|id| entry(id, 1)).collect();
    delivery.looked(Some((lane, false)), Duration::ZERO);
    assert!(!delivery.wants_look(Duration::ZERO), "not before there is room");
    for id in 1..=LANE_LEN_MAX as u64 {
        assert_eq!(carried(&mut delivery, SECOND), [id]);
        delivery.tried(&entry(id, 1), Tried::Delivered { marked: true }, SECOND, 0.0);
    }
    assert!(delivery.wants_look(SECOND));
}

/// What a platform may say to a try.
fn tried() -> impl Strategy<Value = Tried> {
    let fault = prop_oneof![
        3 => Just(ChannelFault::transient("gone")),
        1 => (1..30_u64, any::<bool>()).prop_map(|(after, everywhere)| ChannelFault::Limited {
            after: Duration::from_secs(after),
            everywhere
        }),
        1 => Just(ChannelFault::Refused { reason: "no".into() }),
        1 => Just(ChannelFault::Barred { detail: "who?".into() }),
    ];
    prop_oneof![
        3 => any::<bool>().prop_map(|marked| Tried::Delivered { marked }),
        3 => fault.prop_map(|fault| Tried::Failed { fault, receipt: None }),
    ]
}

proptest! {
    #![proptest_config(crate::testkit::store_model::lives(200))]
    /// Whatever the platform says: each answer is delivered or given up once, in the order of its peer, and nothing waits for ever.
    #[test]
    fn every_answer_is_settled_once_and_in_order(
        peers in prop::collection::vec(0..4_u8, 1..40),
        said in prop::collection::vec((tried(), any::<bool>()), 0..200),
    ) {
        let mut owed: BTreeMap<u64, u8> = (1..).zip(peers.iter().copied()).collect();
        let mut settled: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        let (mut delivery, mut now) = (Delivery::new(), Duration::ZERO);
        let mut said = said.into_iter();
        let mut at_platform = std::collections::BTreeSet::new();
        while !owed.is_empty() {
            if delivery.wants_look(now) {
                let rows = owed.iter().map(|(id, peer)| entry(*id, *peer)).collect();
                delivery.looked(Some((rows, true)), now);
            }
            let Some(act) = delivery.next(now) else {
                let due = delivery.due();
                prop_assert!(due.is_some(), "something is owed, and nothing is due");
                prop_assert!(due > Some(now), "due, and not begun");
                now = due.unwrap_or(now);
                continue;
            };
            let (tried, stored) = said.next().unwrap_or((Tried::Delivered { marked: true }, true));
            match act {
                Act::Carry { entry, .. } => {
                    prop_assert!(!at_platform.contains(&entry.id.0), "{} is handed over twice", entry.id);
                    if let Tried::Delivered { marked } = &tried {
                        at_platform.insert(entry.id.0);
                        if *marked {
                            let peer = owed.remove(&entry.id.0).unwrap();
                            settled.entry(peer).or_default().push(entry.id.0);
                        }
                    }
                    delivery.tried(&entry, tried, now, 0.5);
                }
                Act::MarkSent(id, peer) | Act::GiveUp(id, peer, _) => {
                    if stored {
                        let number = owed.remove(&id.0).unwrap();
                        settled.entry(number).or_default().push(id.0);
                    }
                    delivery.told(&peer, stored, now, 0.5);
                }
            }
        }
        for ids in settled.values() {
            prop_assert!(ids.is_sorted());
        }
        prop_assert_eq!(settled.values().map(Vec::len).sum::<usize>(), peers.len());
        prop_assert_eq!((delivery.waiting(), delivery.in_flight()), (0, 0));
    }
}
