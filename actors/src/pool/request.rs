//! One order in the pool, with all that is needed to go on with it in another worker.
use std::cell::Cell;

use crate::domain::{
    Chosen, FinishReason, GenerationId, GenerationRequest, ModelId, QueuedRequest, Token, Usage,
};
use crate::link::LinkError;
use crate::ports::Sink;

use super::admission::Ticket;
use super::handle::{GenerationEvent, GenerationOrder, PoolError};

/// Where the events of an order go. Whatever happens to the pool, exactly one last event arrives.
struct Reader(Option<Sink<GenerationEvent>>);

impl Reader {
    fn tell(&self, event: GenerationEvent) {
        if let Some(events) = &self.0 {
            events(event);
        }
    }

    fn end(&mut self, event: GenerationEvent) {
        if let Some(events) = self.0.take() {
            events(event);
        }
    }
}

impl Drop for Reader {
    /// The pool ends and still holds the order.
    fn drop(&mut self) {
        self.end(GenerationEvent::Failed { error: LinkError::Died { actor: "pool" }.into() });
    }
}

/// What an order waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A free slot, this one in the row.
    Queued { position: u32 },
    /// Its model.
    Loading { percent: u8 },
    /// Its prompt to be read, perhaps behind others'.
    Reading { done: u32, total: u32 },
}

/// An order that was admitted.
pub(super) struct Request {
    pub(super) id: GenerationId,
    pub(super) order: Box<GenerationOrder>,
    reader: Reader,
    /// What the reader has got so far.
    tokens: Vec<Token>,
    /// Workers that died while this ran.
    crashes: u32,
    /// What the reader knows of its waiting.
    told: Cell<Option<Place>>,
    /// The reader wants no more.
    pub(super) cancelled: bool,
}

impl Request {
    pub(super) fn new(id: GenerationId, order: Box<GenerationOrder>, events: Sink<GenerationEvent>) -> Self {
        let reader = Reader(Some(events));
        Self { id, order, reader, tokens: Vec::new(), crashes: 0, told: Cell::new(None), cancelled: false }
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket { id: self.id, archon: self.order.archon.clone(), priority: self.order.priority }
    }

    /// What a worker is given: the order, and what is there of the answer.
    pub(super) fn for_worker(&self) -> GenerationRequest {
        GenerationRequest {
            id: self.id,
            prompt: self.order.prompt.clone(),
            form: self.order.form.clone(),
            sampling: self.order.sampling,
            resume: self.tokens.clone(),
            answer_tokens_max: self.order.answer_tokens_max,
            context_tokens_max: self.order.context_tokens_max,
        }
    }

    /// Whether a worker needs one of its slots for it.
    pub(super) fn takes_slot(&self) -> bool {
        self.order.prompt.takes_slot()
    }

    /// Whether its pictures and recordings may be what a worker broke over, which are read before the first word; and whether its reader
    /// can do without them.
    pub(super) fn may_go_without_media(&self) -> bool {
        self.order.form.media_if_able && !self.is_begun() && self.order.prompt.has_media()
    }

    /// A model's tokens mean nothing to another model.
    pub(super) fn is_begun(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// How it is shown to those who look.
    pub(super) fn shown(&self, model: &ModelId, position: Option<u32>) -> QueuedRequest {
        QueuedRequest {
            id: self.id,
            model: model.clone(),
            session: self.order.session.clone(),
            position,
            tokens: u32::try_from(self.tokens.len()).unwrap_or(u32::MAX),
        }
    }

    /// One more crash and it is given up: it runs alone now, so that nobody else is blamed for it, nor it for others.
    pub(super) fn is_suspect(&self, crashes_max: u32) -> bool {
        self.crashes > 0 && self.crashes + 1 >= crashes_max
    }

    /// A worker died while it ran. Answers how many did so far.
    pub(super) fn crashed(&mut self) -> u32 {
        self.crashes += 1;
        self.crashes
    }

    pub(super) fn tell(&self, event: GenerationEvent) {
        self.reader.tell(event);
    }

    /// Tells what it waits for, if that is news.
    pub(super) fn tell_place(&self, model: &ModelId, place: Place) {
        if self.told.replace(Some(place)) == Some(place) {
            return;
        }
        self.tell(match place {
            Place::Queued { position } => GenerationEvent::Queued { position },
            Place::Loading { percent } => GenerationEvent::Loading { model: model.clone(), percent },
            Place::Reading { done, total } => GenerationEvent::Reading { done, total },
        });
    }

    /// Says again how far its prompt is, if that is what its reader waits for: those before it may take long.
    pub(super) fn retell_reading(&self, model: &ModelId) {
        if let Some(place @ Place::Reading { .. }) = self.told.take() {
            self.tell_place(model, place);
        }
    }

    /// What was told of its waiting is long ago: the same is news again.
    pub(super) fn forget_place(&self) {
        self.told.set(None);
    }

    pub(super) fn token(&mut self, token: Token, chosen: Chosen) {
        self.tokens.push(token);
        self.forget_place();
        self.reader.tell(GenerationEvent::Token { chosen });
    }

    pub(super) fn finish(mut self, model: ModelId, reason: FinishReason, usage: Usage) {
        self.reader.end(GenerationEvent::Finished { model, reason, usage });
    }

    /// Ends it as its reader wished, without a word of the worker.
    pub(super) fn finish_cancelled(self, model: ModelId) {
        let answer_tokens = u32::try_from(self.tokens.len()).unwrap_or(u32::MAX);
        self.finish(model, FinishReason::Cancelled, Usage { answer_tokens, ..Usage::default() });
    }

    pub(super) fn fail(mut self, error: PoolError) {
        self.reader.end(GenerationEvent::Failed { error });
    }
}
