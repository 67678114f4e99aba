//! How much the pool bears, and how patient it is.
use std::time::Duration;

use crate::supervision::{Backoff, Intensity};

/// Limits and deadlines of the pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSettings {
    /// Orders that may wait, all models together; more are refused.
    pub queue_len_max: u32,
    /// Orders of one Archon that may wait; more are refused, so that one Archon cannot fill the queue.
    pub queue_len_max_per_archon: u32,
    /// Delays between the restarts of a worker. The first restart after a success has no delay.
    pub restart_backoff: Backoff,
    /// This many crashes within the period, or one after another without a finished answer between them, and the
    /// model has failed.
    pub crashes_max: Intensity,
    /// A failed model is tried again after this time.
    pub failed_retry: Duration,
    /// A request is given up when this many workers died while it ran.
    pub request_crashes_max: u32,
    /// Least patience with a worker that runs requests and shows no progress. A slow model gets more: 20 times the
    /// 99th percentile of its token times.
    pub progress_timeout: Duration,
    /// A worker may load for [`PoolSettings::load_timeout_min`] plus the time that its file takes at this speed.
    pub load_bytes_per_second_min: u64,
    /// See [`PoolSettings::load_bytes_per_second_min`].
    pub load_timeout_min: Duration,
    /// Memory of all workers together, in bytes; `None`: it is not looked at.
    pub memory_bytes_max: Option<u64>,
    /// A model that was loaded is asked to leave for another one, while it answers, after this time at the earliest.
    pub residence_min: Duration,
    /// A worker that goes on with a cancelled request for longer is killed; its other requests go on in its successor.
    pub cancel_timeout: Duration,
}

impl Default for PoolSettings {
    /// 256 orders are more than an hour's work of a small machine; nobody waits longer. 50 MB/s is a slow disk.
    fn default() -> Self {
        Self {
            queue_len_max: 256,
            queue_len_max_per_archon: 64,
            restart_backoff: Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) },
            crashes_max: Intensity { restarts_max: 5, period: Duration::from_secs(60) },
            failed_retry: Duration::from_secs(60),
            request_crashes_max: 3,
            progress_timeout: Duration::from_secs(15),
            load_bytes_per_second_min: 50_000_000,
            load_timeout_min: Duration::from_secs(30),
            memory_bytes_max: None,
            residence_min: Duration::from_secs(30),
            cancel_timeout: Duration::from_secs(2),
        }
    }
}
