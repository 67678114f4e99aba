//! The house's ports, as the simulation fills them: calls of the store take simulated time, and the clock on the wall jumps.
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archond_actors::ports::{BlockingCalls, Clock};
use tokio::task::JoinHandle;

use crate::disk::Random;

/// Makes each call after a simulated time, on the one thread that there is: so its order is the seed's.
pub(crate) struct SimCalls {
    random: Mutex<Random>,
    /// Milliseconds that each call takes more, for now.
    slow: Arc<AtomicU64>,
}

impl SimCalls {
    pub(crate) fn new(seed: u64, slow: Arc<AtomicU64>) -> Self {
        Self { random: Mutex::new(Random::new(seed)), slow }
    }
}

impl BlockingCalls for SimCalls {
    #[expect(clippy::disallowed_methods, reason = "it stands for a thread, in paused time")]
    fn begin(&self, call: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
        let millis = self.random.lock().unwrap().below(6) + self.slow.load(Ordering::Relaxed);
        tokio::spawn(async move {
            pass(Duration::from_millis(millis)).await;
            call();
        })
    }
}

/// A wall clock that somebody sets forward and back.
#[derive(Debug, Default)]
pub(crate) struct SimClock {
    pub(crate) offset_ms: AtomicI64,
}

impl Clock for SimClock {
    fn now_unix_ms(&self) -> u64 {
        1_700_000_000_000_u64.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

/// Lets simulated time pass: it is paused, and jumps when everybody waits.
#[expect(clippy::disallowed_methods, reason = "time is paused")]
pub(crate) async fn pass(time: Duration) {
    tokio::time::sleep(time).await; // tidy: paused time
}
