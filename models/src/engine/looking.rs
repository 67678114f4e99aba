//! Requests with pictures and recordings: they wait until their length is known, and their rows go into the slots between the steps.
use std::sync::Arc;

use super::batch::{Engine, now};
use super::job::{Slot, count};
use super::media::{Media, Medium, MediumRow, News, Projector, decode_rows};
use super::{EngineError, EngineEvent, Finish, Prompt, Refusal, Request, Usage};
use crate::media::{MEDIA_BYTES_MAX, MEDIA_MAX, MEDIUM_BYTES_MAX};

/// A request whose media are being measured.
pub(super) struct Pending {
    request: Request,
    media: Vec<Arc<Medium>>,
}

/// The pictures and recordings of a request, if they are not too many.
fn media_of(prompt: &Prompt) -> Result<Vec<Arc<Medium>>, String> {
    let Prompt::Chat(conversation) = prompt else { return Ok(Vec::new()) };
    let media: Vec<_> = conversation.media().collect();
    if media.len() > MEDIA_MAX {
        return Err(format!("{} pictures and recordings; {MEDIA_MAX} are taken at most", media.len()));
    }
    let sizes = media.iter().map(|content| content.bytes());
    if sizes.clone().any(|bytes| bytes > MEDIUM_BYTES_MAX) || sizes.sum::<usize>() > MEDIA_BYTES_MAX {
        return Err(format!(
            "a picture or recording may have {} MiB at most, and all together {} MiB",
            MEDIUM_BYTES_MAX >> 20,
            MEDIA_BYTES_MAX >> 20
        ));
    }
    Ok(media.into_iter().filter_map(Medium::of).collect())
}

impl Engine<'_> {
    /// Takes pictures and recordings from now on. Call it before the first request, and before [`keep_in`](Self::keep_in): what was
    /// kept of conversations with pictures is of use only to an engine that sees.
    pub fn see_with(&mut self, projector: Projector) -> Result<(), EngineError> {
        self.media = Some(Media::start(projector, &self.context)?);
        Ok(())
    }

    /// The media of a request with what stands for them in its prompt. `None`: it waits until that is known.
    pub(super) fn measured(&mut self, request: &Request) -> Result<Option<Vec<MediumRow>>, Refusal> {
        let refuse = |detail: String| Refusal::Engine { detail };
        let media = media_of(&request.prompt).map_err(refuse)?;
        if media.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let no_projector = "this model has no projector on disk, so it reads text alone: get it with `archond model pull NAME --mmproj`, \
                            or import the model with `--projector FILE`, and restart the daemon";
        let known = self.media.as_ref().ok_or_else(|| refuse(no_projector.to_owned()))?;
        let rows = media.iter().map(|medium| Some((Arc::clone(medium), Arc::clone(known.row(medium)?))));
        let rows: Option<Vec<_>> = rows.collect();
        if rows.is_none() {
            self.pending.push(Pending { request: request.clone(), media });
        }
        Ok(rows)
    }

    /// Ends a request that has not begun.
    pub(super) fn cancel_pending(&mut self, id: u64) -> Option<EngineEvent> {
        let place = self.pending.iter().position(|pending| pending.request.id == id)?;
        self.pending.remove(place);
        Some(EngineEvent::Finished { id, reason: Finish::Cancelled, usage: Usage::default() })
    }

    /// Takes in what the encoder found out, and gives it its next task.
    pub(super) fn hear_of_media(&mut self, events: &mut dyn FnMut(EngineEvent)) -> Result<(), EngineError> {
        self.hear(false, events)
    }

    fn hear(&mut self, waits: bool, events: &mut dyn FnMut(EngineEvent)) -> Result<(), EngineError> {
        if self.media.is_none() {
            return Ok(());
        }
        self.order();
        let news = self.media.as_mut().map_or(Ok(None), |media| media.news(waits))?;
        match news {
            None => return Ok(()),
            Some(News::Encoded) => {}
            Some(News::Measured) => {
                for Pending { request, .. } in std::mem::take(&mut self.pending) {
                    // Whose media are not all measured pends again.
                    self.start(&request).into_iter().for_each(&mut *events);
                }
            }
            Some(News::Unusable(digest, detail)) => {
                let mut refused = Vec::new();
                for pending in std::mem::take(&mut self.pending) {
                    match pending.media.iter().find(|medium| digest.is_of(medium)) {
                        Some(medium) => refused.push((pending.request.id, medium.sha256())),
                        None => self.pending.push(pending),
                    }
                }
                for slot in &mut self.slots {
                    let next = slot.next_medium().filter(|span| digest.is_of(&span.medium));
                    let Some(sha256) = next.map(|span| span.medium.sha256()) else { continue };
                    if let Some(job) = slot.job.take() {
                        refused.push((job.id, sha256));
                        slot.tokens.truncate(slot.held);
                    }
                }
                for (id, sha256) in refused {
                    let detail = detail.clone();
                    events(EngineEvent::Refused { id, refusal: Refusal::Medium { sha256, detail } });
                }
            }
        }
        self.order();
        Ok(())
    }

    /// Tells the encoder what is needed, in the order of need.
    fn order(&mut self) {
        let Some(media) = &mut self.media else { return };
        let unmeasured: Vec<_> = self.pending.iter().flat_map(|pending| pending.media.clone()).collect();
        let mut jobs: Vec<_> =
            self.slots.iter().filter_map(|slot| Some((slot.held, slot.job.as_ref()?))).collect();
        jobs.sort_by_key(|(_, job)| job.arrived);
        let spans = jobs.iter().flat_map(|(held, job)| job.media.iter().map(move |span| (*held, span)));
        let unread = spans.filter(|(held, span)| span.places.end > *held);
        let wanted: Vec<_> = unread.map(|(_, span)| Arc::clone(&span.medium)).collect();
        media.order(&unmeasured, &wanted);
    }

    /// Puts rows of a medium into the memory of the first slot that has come so far. `room` is how many a step may read yet. `idle`:
    /// nothing else was to be done in this step, which may then wait for the encoder.
    pub(super) fn look(
        &mut self,
        room: usize,
        idle: bool,
        events: &mut dyn FnMut(EngineEvent),
    ) -> Result<(), EngineError> {
        if room > 0
            && let Some(index) = self.busy(false).into_iter().find(|index| self.is_before_rows(*index))
        {
            return self.read_rows(index, room, events);
        }
        let pends = !self.pending.is_empty() || self.slots.iter().any(|slot| slot.next_medium().is_some());
        if idle && pends { self.hear(true, events) } else { Ok(()) }
    }

    /// Whether what a slot is to read next are rows that are there.
    fn is_before_rows(&self, index: usize) -> bool {
        let next = self.slots.get(index).and_then(|slot| Some((slot.next_medium()?, slot.held)));
        let media = self.media.as_ref();
        next.is_some_and(|(span, held)| {
            span.places.contains(&held) && media.is_some_and(|media| media.numbers(&span.medium).is_some())
        })
    }

    fn read_rows(
        &mut self,
        index: usize,
        room: usize,
        events: &mut dyn FnMut(EngineEvent),
    ) -> Result<(), EngineError> {
        let (Some(slot), Some(media)) = (self.slots.get_mut(index), &self.media) else { return Ok(()) };
        let Some(span) = slot.next_medium().cloned() else { return Ok(()) };
        let causal = media.is_causal(&span.medium);
        let left = span.places.end - slot.held;
        // Rows that see each other are read at once.
        let takes = if causal { left.min(room) } else { left };
        let first = span.before + slot.held - span.places.start;
        let numbers = media.numbers(&span.medium);
        let rows =
            numbers.and_then(|numbers| numbers.get(first * media.width..(first + takes) * media.width));
        let missing = || EngineError::Compute { detail: "rows of a picture are missing".to_owned() };
        let began = now();
        decode_rows(&mut self.context, rows.ok_or_else(missing)?, slot.held, index, causal)
            .map_err(|detail| EngineError::Compute { detail })?;
        slot.held += takes;
        slot.last_used = self.clock;
        self.pace.observe(takes, 0, now() - began);
        self.shelve_marked();
        if let Some(Slot { tokens, held, job: Some(job), .. }) = self.slots.get(index) {
            events(EngineEvent::Prefill { id: job.id, done: count(*held), total: count(tokens.len()) });
        }
        Ok(())
    }
}
