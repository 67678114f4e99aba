//! What the queue promises, whatever comes in whatever order.
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const PRIORITIES: [Priority; 4] =
    [Priority::Direct, Priority::Webhook, Priority::Schedule, Priority::Compaction];

fn ticket(id: u64, archon: &str, priority: Priority) -> Ticket {
    Ticket { id: GenerationId(id), archon: archon.parse().unwrap(), priority }
}

fn queue(len_max: u32, len_max_per_archon: u32) -> Admission<u8, u64> {
    Admission::new(QueueLimits { len_max, len_max_per_archon })
}

#[track_caller]
fn check(orders: &[(&str, Priority)], served: &[u64]) {
    let mut queue = queue(100, 100);
    for (id, (archon, priority)) in (1..).zip(orders) {
        queue.admit(&0, ticket(id, archon, *priority), id).unwrap();
    }
    let order: Vec<u64> = queue.in_order(&0).into_iter().copied().collect();
    assert_eq!(order, served, "as announced");
    let order: Vec<u64> = queue.drain(&0).into_iter().map(|(_, id)| id).collect();
    assert_eq!(order, served, "as served");
    assert!(queue.is_empty());
}

#[test]
fn archons_take_turns_within_a_priority() {
    use Priority::{Compaction, Direct};
    check(&[("a", Direct), ("a", Direct), ("a", Direct), ("b", Direct)], &[1, 4, 2, 3]);
    check(&[("a", Compaction), ("b", Direct), ("b", Direct), ("a", Direct)], &[2, 4, 3, 1]);
}

#[test]
fn limits_are_told_apart() {
    let mut queue = queue(3, 2);
    for id in 1..=2 {
        queue.admit(&0, ticket(id, "a", Priority::Direct), id).unwrap();
    }
    assert_eq!(queue.admit(&1, ticket(3, "a", Priority::Direct), 3), Err(Full { waiting: 2 }));
    queue.admit(&1, ticket(3, "b", Priority::Direct), 3).unwrap();
    assert_eq!(queue.admit(&1, ticket(4, "c", Priority::Direct), 4), Err(Full { waiting: 3 }));
    assert_eq!(queue.remove(GenerationId(3)), Some((1, 3)));
    assert_eq!(queue.remove(GenerationId(3)), None);
    assert!(queue.check(&"c".parse().unwrap()).is_ok());
}

#[test]
fn what_comes_back_goes_first() {
    let mut queue = queue(9, 9);
    for id in 1..=3 {
        queue.admit(&0, ticket(id, "a", Priority::Direct), id).unwrap();
    }
    let (first, id) = queue.next(&0).unwrap();
    queue.admit(&0, ticket(4, "b", Priority::Direct), 4).unwrap();
    queue.put_back(&0, first, id);
    assert_eq!(queue.peek(&0), Some(&1));
    assert_eq!(queue.lane_len(&0), 4);
    assert_eq!(queue.drain(&0).into_iter().map(|(_, id)| id).collect::<Vec<_>>(), [1, 2, 4, 3]);
}

#[derive(Debug, Clone)]
enum Step {
    Admit { archon: usize, priority: usize },
    Next,
    Remove { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..4usize, 0..4usize).prop_map(|(archon, priority)| Step::Admit { archon, priority }),
        2 => Just(Step::Next),
        1 => (0..20usize).prop_map(|nth| Step::Remove { nth }),
    ]
}

proptest! {
    #[test]
    fn never_above_the_limits_and_in_order_for_each_archon(steps in prop::collection::vec(step(), 0..200)) {
        let mut queue = queue(12, 5);
        let mut waiting: Vec<Ticket> = Vec::new();
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Admit { archon, priority } => {
                    let ticket = ticket(id, ["a", "b", "c", "d"][archon], PRIORITIES[priority]);
                    let own = waiting.iter().filter(|other| other.archon == ticket.archon).count();
                    let admitted = queue.admit(&0, ticket.clone(), id).is_ok();
                    prop_assert_eq!(admitted, waiting.len() < 12 && own < 5);
                    if admitted {
                        waiting.push(ticket);
                    }
                }
                Step::Next => {
                    let next = queue.next(&0).map(|(ticket, _)| ticket);
                    prop_assert_eq!(next.is_some(), !waiting.is_empty());
                    let Some(next) = next else { continue };
                    prop_assert!(waiting.iter().all(|other| other.priority >= next.priority));
                    let same = |other: &&Ticket| other.archon == next.archon && other.priority == next.priority;
                    prop_assert_eq!(waiting.iter().find(same), Some(&next), "first come, first served");
                    waiting.retain(|other| other.id != next.id);
                }
                Step::Remove { nth } => {
                    let known = waiting.get(nth).cloned();
                    let removed = queue.remove(known.as_ref().map_or(GenerationId(u64::MAX), |ticket| ticket.id));
                    prop_assert_eq!(removed.map(|(_, id)| id), known.as_ref().map(|ticket| ticket.id.0));
                    waiting.retain(|other| Some(other) != known.as_ref());
                }
            }
            prop_assert_eq!(queue.lane_len(&0), waiting.len());
            prop_assert!(waiting.len() <= 12);
            prop_assert_eq!(queue.in_order(&0).len(), waiting.len());
        }
    }

    /// Between two services of an Archon that waits, every other one of its priority is served once at most.
    #[test]
    fn no_archon_starves(crowd in prop::collection::vec(0..5usize, 1..60)) {
        let mut queue = queue(1000, 1000);
        let names = ["a", "b", "c", "d", "e"];
        for (id, archon) in (0..).zip(&crowd) {
            queue.admit(&0, ticket(id, names[*archon], Priority::Direct), id).unwrap();
        }
        let served: Vec<Ticket> = queue.drain(&0).into_iter().map(|(ticket, _)| ticket).collect();
        let archons: std::collections::HashSet<_> = crowd.iter().collect();
        let mut last: HashMap<ArchonId, usize> = HashMap::new();
        for (place, ticket) in served.iter().enumerate() {
            let before = last.insert(ticket.archon.clone(), place);
            let waited = before.map_or(place + 1, |before| place - before);
            prop_assert!(waited <= archons.len(), "{} waited {waited} turns", ticket.archon);
        }
    }
}
