//! Lets a channel watch the turn of one message: progress and the answer's text as it comes.
//!
//! Watching is a courtesy: an observer that is too slow loses events, never the answer, which is in the outbox.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::domain::{MessageKey, TurnEvent};

/// Events that may wait for a slow observer: about a minute of a fast model's answer.
const OBSERVER_LEN_MAX: usize = 4096;

type Observers = HashMap<MessageKey, mpsc::Sender<TurnEvent>>;

/// The observers of all messages under way.
#[derive(Clone, Default)]
pub struct TurnObservers(Arc<Mutex<Observers>>);

/// One observer's end. Dropping it ends the observation.
pub struct TurnObserver {
    key: MessageKey,
    events: mpsc::Receiver<TurnEvent>,
    registry: TurnObservers,
}

impl TurnObservers {
    /// Watches a message; call it before the message is handed in. A second observer of the same message replaces the first.
    pub fn observe(&self, key: MessageKey) -> TurnObserver {
        let (sender, events) = mpsc::channel(OBSERVER_LEN_MAX);
        self.lock().insert(key.clone(), sender);
        TurnObserver { key, events, registry: self.clone() }
    }

    /// Whether somebody watches a message.
    pub fn is_observed(&self, key: &MessageKey) -> bool {
        self.lock().get(key).is_some_and(|observer| !observer.is_closed())
    }

    /// Tells the observer of a message, if there is one.
    pub fn publish(&self, key: &MessageKey, event: TurnEvent) {
        let mut observers = self.lock();
        let ended = matches!(event, TurnEvent::Ended { .. });
        if let Some(sender) = observers.get(key) {
            // Full: the observer misses this event and sees the answer in the outbox.
            let _ = sender.try_send(event);
            if ended {
                observers.remove(key);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Observers> {
        // A panic cannot leave the map half-changed: each operation on it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TurnObserver {
    /// The next event; `None` after the last.
    pub async fn next(&mut self) -> Option<TurnEvent> {
        self.events.recv().await
    }
}

impl Drop for TurnObserver {
    fn drop(&mut self) {
        // Closing our end first tells our own sender apart from that of an observer who replaced us.
        self.events.close();
        let mut observers = self.registry.lock();
        if observers.get(&self.key).is_some_and(mpsc::Sender::is_closed) {
            observers.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MessageKey {
        MessageKey { channel: "cli".parse().unwrap(), key: "1".into() }
    }

    #[tokio::test]
    async fn a_replaced_observer_does_not_unregister_its_successor() {
        let registry = TurnObservers::default();
        let first = registry.observe(key());
        let mut second = registry.observe(key());
        drop(first);
        registry.publish(&key(), TurnEvent::Compacting);
        assert_eq!(second.next().await, Some(TurnEvent::Compacting));
        drop(second);
        assert!(registry.lock().is_empty());
    }
}
