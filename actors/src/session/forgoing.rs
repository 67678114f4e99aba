//! A request that failed, and what is asked again without the pictures and recordings that it failed over. Pure.
//!
//! One that cannot be used is named by the worker. One over which a worker breaks is not: then nothing is shown any more in this turn.
use std::collections::BTreeSet;

use super::turn::{Effect, Phase, Turn};
use crate::domain::MediaId;
use crate::pool::PoolError;

/// What a turn does without so far.
#[derive(Debug, Default)]
pub(super) struct Forgoing {
    media: BTreeSet<MediaId>,
    all: bool,
}

/// What the model is not shown any more, and why, in words that it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Forgone {
    /// One picture or recording.
    One { id: MediaId, why: String },
    /// All that the prompt shows.
    All { why: String },
}

impl Turn {
    /// The request failed for good. It is asked again where it may be without what it failed over; each thing is given up once, so that
    /// this has an end.
    pub(super) fn on_failed(&mut self, error: PoolError) -> Vec<Effect> {
        if self.stopping {
            return self.end_stopped();
        }
        let answers = self.phase == Phase::Answering;
        let forgone = match &error {
            PoolError::Medium { id, detail } if answers && self.forgoing.media.insert(id.clone()) => {
                Some(Forgone::One { id: id.clone(), why: detail.clone() })
            }
            PoolError::MediaCrashed { .. } if answers && !std::mem::replace(&mut self.forgoing.all, true) => {
                Some(Forgone::All { why: error.to_string() })
            }
            _ => None,
        };
        if let Some(forgone) = forgone {
            return vec![Effect::Forgo(forgone), Effect::AskAnswer];
        }
        self.phase = Phase::Ended;
        vec![Effect::GiveBack(error.into())]
    }
}
