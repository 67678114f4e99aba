//! The engine proper: takes requests, computes steps.
use std::num::NonZeroU32;
use std::time::Instant;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::token::LlamaToken;

use super::draft::{DRAFT_TOKENS_MAX, Odds};
use super::drafter::Drafter;
use super::embedder::Embedder;
use super::job::{Job, Slot, count};
use super::keeping::Keeping;
use super::looking::Pending;
use super::media::Media;
use super::model::{LoadedModel, PromptTokens};
use super::pace::{Pace, STEP_TOKENS_MAX};
use super::portions::portions;
use super::sampler::Chooser;
use super::shelf::Shelf;
use super::slots::{COPY_TOKENS_MIN, Choice, Neighbour, Reading, SlotState, choose, reading, usable};
use super::stop::Stopper;
use super::writing::Share;
use super::{EngineError, EngineEvent, Finish, Prompt, Refusal, Request};

/// `LLAMA_MAX_SEQ` of llama.cpp: it ends the process on more.
const SLOTS_MAX: u32 = 256;
/// llama.cpp rounds the context of each sequence up to this many tokens; done here, so that the sum is known.
const CONTEXT_STEP: u32 = 256;
/// Smallest useful answer: a prompt that leaves less room is refused rather than answered with half a sentence.
const ANSWER_TOKENS_MIN: u32 = 64;
/// Most tokens of an answer that are spoken again, one a step as they were the first time, rather than read like a prompt: read in one
/// batch they come out rounded otherwise, and the answer may go another way. More than these would take too long.
const SPOKEN_AGAIN_MAX: usize = 32;
/// What can be read in so many steps is read without guesses beside it.
const BRIEF_STEPS: usize = 4;
/// Tokens that are computed once before the first request: pages the weights in while the worker is still "loading".
const WARM_UP_TOKENS: usize = 16;

/// Runs the answers of one model.
pub struct Engine<'m> {
    /// Looks into the context's memory: goes before it.
    pub(super) drafter: Option<Drafter<'m>>,
    pub(super) model: &'m LoadedModel,
    pub(super) context: LlamaContext<'m>,
    pub(super) batch: LlamaBatch<'static>,
    /// Most tokens of one batch: llama.cpp ends the process on more.
    pub(super) batch_tokens_max: usize,
    pub(super) slots: Vec<Slot>,
    pub(super) context_tokens: u32,
    /// Counts requests and steps: the order of use.
    pub(super) clock: u64,
    pub(super) pace: Pace,
    /// Most guessed tokens of one answer in one step.
    pub(super) draft_tokens_max: usize,
    pub(super) keeping: Option<Keeping>,
    pub(super) shelf: Option<Shelf>,
    pub(super) threads: i32,
    /// While vectors are wanted.
    pub(super) embedder: Option<Embedder<'m>>,
    /// To be told with the next step.
    pub(super) untold: Vec<EngineEvent>,
    pub(super) media: Option<Media>,
    /// Requests whose media are being measured.
    pub(super) pending: Vec<Pending>,
}

#[expect(clippy::disallowed_methods, reason = "measures computation; nothing waits for this time to pass")]
pub(super) fn now() -> Instant {
    Instant::now()
}

impl<'m> Engine<'m> {
    /// Makes room for so many answers of so much context each, and computes once.
    pub fn new(
        model: &'m LoadedModel,
        slots: u32,
        context_tokens: u32,
        threads: u32,
    ) -> Result<Self, EngineError> {
        if !(1..=SLOTS_MAX).contains(&slots) {
            return Err(EngineError::Slots { slots, slots_max: SLOTS_MAX });
        }
        let context_tokens = context_tokens.clamp(1, model.context_tokens_trained().max(1));
        let no_room =
            |detail: &str| EngineError::Context { slots, context_tokens, detail: detail.to_owned() };
        let total =
            context_tokens.checked_next_multiple_of(CONTEXT_STEP).and_then(|each| each.checked_mul(slots));
        let total = total.and_then(NonZeroU32::new).ok_or_else(|| no_room("the sum is too large"))?;
        let threads = i32::try_from(threads.max(1)).unwrap_or(1);
        let step = count(STEP_TOKENS_MAX);
        let params = LlamaContextParams::default()
            .with_n_ctx(Some(total))
            .with_n_seq_max(slots)
            .with_n_batch(step)
            .with_n_ubatch(step)
            .with_n_threads(threads)
            .with_n_threads_batch(threads)
            .with_kv_unified(false)
            .with_swa_full(false)
            .with_no_perf(true);
        let context =
            model.llama.new_context(&model.backend, params).map_err(|error| no_room(&error.to_string()))?;
        // What a recurrent model took in, it cannot take back.
        let is_revocable = !model.llama.is_recurrent() && !model.llama.is_hybrid();
        let batch_tokens_max = (context.n_batch() as usize).min(STEP_TOKENS_MAX);
        let mut engine = Self {
            drafter: None,
            model,
            context,
            batch: LlamaBatch::new(batch_tokens_max, 1),
            batch_tokens_max,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            context_tokens,
            clock: 0,
            pace: Pace::new(0, std::time::Duration::from_secs(1)),
            draft_tokens_max: if is_revocable { DRAFT_TOKENS_MAX } else { 0 },
            keeping: None,
            shelf: None,
            threads,
            embedder: None,
            untold: Vec::new(),
            media: None,
            pending: Vec::new(),
        };
        engine.warm_up()?;
        Ok(engine)
    }

    /// Context of each answer, in tokens.
    pub fn context_tokens(&self) -> u32 {
        self.context_tokens
    }

    /// Computes at most so many guesses of an answer's next tokens along with it; 0 for none. Fewer than that where it does not pay.
    pub fn draft_at_most(&mut self, tokens: usize) {
        self.draft_tokens_max = self.draft_tokens_max.min(tokens);
    }

    /// Whether a step has anything to do.
    pub fn is_idle(&self) -> bool {
        self.writes_nothing()
            && self.pending.is_empty()
            && self.untold.is_empty()
            && self.embedder.as_ref().is_none_or(Embedder::is_idle)
    }

    fn writes_nothing(&self) -> bool {
        self.slots.iter().all(|slot| slot.job.is_none())
    }

    fn warm_up(&mut self) -> Result<(), EngineError> {
        let tokens = WARM_UP_TOKENS.min(self.context_tokens as usize).min(self.batch_tokens_max);
        let began = now();
        self.batch.clear();
        for place in 0..tokens {
            self.batch.add(LlamaToken(0), place as i32, &[0], place + 1 == tokens)?;
        }
        self.compute()?;
        self.context.clear_kv_cache();
        self.pace = Pace::new(tokens, now() - began);
        Ok(())
    }

    pub(super) fn compute(&mut self) -> Result<(), EngineError> {
        let computed = self.context.decode(&mut self.batch);
        computed.map_err(|error| EngineError::Compute { detail: error.to_string() })
    }

    /// Takes a request: its prompt is read from the next step on. Answers with the first event, which a step tells later if it depends on
    /// pictures or recordings.
    pub fn start(&mut self, request: &Request) -> Option<EngineEvent> {
        let begun = match &request.prompt {
            Prompt::Inquiry(inquiry) => self.inquire(request.id, inquiry).map(Some),
            Prompt::Chat(_) | Prompt::Text(_) | Prompt::Passage(_) => self.admit(request),
        };
        begun.unwrap_or_else(|refusal| Some(EngineEvent::Refused { id: request.id, refusal }))
    }

    /// `None`: it waits until its media are measured.
    pub(super) fn admit(&mut self, request: &Request) -> Result<Option<EngineEvent>, Refusal> {
        let refuse = |detail: &str| Refusal::Engine { detail: detail.to_owned() };
        if let Some(fault) = request.sampling.fault() {
            return Err(refuse(fault));
        }
        let resumed: Vec<LlamaToken> = request.resume.iter().copied().map(LlamaToken).collect();
        if !resumed.iter().all(|token| self.model.has(*token)) {
            return Err(refuse("a token to resume is not one of this model's"));
        }
        let began = now();
        let Some(media) = self.measured(request)? else { return Ok(None) };
        let (prompt, parser) = self.model.prompt(&request.prompt, &media, request.id)?;
        let PromptTokens { mut tokens, instructions, lasting, media } = prompt;
        let tokens_max = request.context_tokens_max.min(self.context_tokens);
        // Does not depend on what is resumed: what was begun once is not refused when it is to go on.
        let prompt_tokens_max =
            tokens_max.saturating_sub(request.answer_tokens_max.clamp(1, ANSWER_TOKENS_MIN));
        if count(tokens.len()) > prompt_tokens_max {
            return Err(Refusal::PromptTooLong {
                tokens: count(tokens.len()),
                tokens_max: prompt_tokens_max,
            });
        }
        let prompt_tokens = tokens.len();
        tokens.extend(&resumed);
        tokens.truncate(tokens_max as usize);
        let chooser =
            Chooser::new(self.model, request, &resumed).map_err(|error| refuse(&error.to_string()))?;
        let states = self.slots.iter().enumerate().map(|(index, slot)| SlotState {
            held: slot.tokens.get(..slot.held).unwrap_or_default(),
            oldest: self.oldest(index),
            idle: slot.job.is_none(),
            last_used: slot.last_used,
        });
        let choice = choose(&tokens, &states.collect::<Vec<_>>(), self.model.window_tokens());
        let choice = choice.ok_or(Refusal::NoFreeSlot)?;
        self.clock += 1;
        let mut job = Job {
            id: request.id,
            chooser,
            parser,
            stopper: Stopper::new(&request.form.stop),
            tokens_max: tokens_max as usize,
            answer_tokens_max: request.answer_tokens_max as usize,
            prompt_tokens,
            cached_tokens: 0,
            restored_tokens: 0,
            instructions: None,
            checkpoint: None,
            has_taken: false,
            media,
            speaks_again: false,
            odds: Odds::default(),
            behind: None,
            drafted_tokens: 0,
            accepted_tokens: 0,
            arrived: self.clock,
            began,
            first_token: None,
        };
        if let Some(reason) = job.replay(self.model, &resumed, tokens.len()) {
            return Ok(Some(job.finished(reason, tokens.len(), now())));
        }
        Ok(Some(self.settle(choice, job, tokens, instructions, lasting)))
    }

    /// Puts a request into its slot, behind as much of its prompt as is known.
    fn settle(
        &mut self,
        choice: Choice,
        mut job: Job,
        tokens: Vec<LlamaToken>,
        instructions: usize,
        lasting: usize,
    ) -> EngineEvent {
        let mut found = self.on_shelf(&tokens, choice.keep.max(choice.elsewhere));
        let goes_on = found.is_none() && choice.keep > 0;
        // It is another's conversation if much of what would last of it is lost.
        let is_own = |slot: &&Slot| choice.keep + COPY_TOKENS_MIN >= slot.lasting.min(slot.held);
        let own = self.slots.get(choice.slot).filter(|_| goes_on).filter(is_own);
        let mut shelved = own.and_then(|slot| slot.shelved);
        if own.is_none() {
            self.shelve(choice.slot);
            // What was found may have given way to that.
            found = found.and_then(|_| self.on_shelf(&tokens, choice.keep.max(choice.elsewhere)));
        }
        let held = match found {
            None => self.cut(choice.slot, choice.keep),
            Some(found) => {
                shelved = self.fetch(choice.slot, found, &tokens).filter(|_| found.is_of_one(instructions));
                self.cut(choice.slot, found.keep)
            }
        };
        job.cached_tokens = held.min(job.prompt_tokens);
        job.restored_tokens = if found.is_some() { job.cached_tokens } else { 0 };
        job.speaks_again = held >= job.prompt_tokens && tokens.len() - held <= SPOKEN_AGAIN_MAX;
        let is_new = held < instructions && self.lacks(tokens.get(..instructions).unwrap_or_default());
        job.instructions = is_new.then_some(instructions);
        let behind = job.prompt_tokens.saturating_sub(lasting).saturating_add(job.answer_tokens_max);
        let slides_on = lasting < job.prompt_tokens && behind > self.window_spare();
        job.checkpoint = (held < lasting && slides_on).then_some(lasting);
        let event = EngineEvent::Prefill { id: job.id, done: count(held), total: count(tokens.len()) };
        if let Some(slot) = self.slots.get_mut(choice.slot) {
            let last_used = self.clock;
            let job = Some(job);
            *slot = Slot { tokens, held, kept: 0, lasting, shelved, is_unfit: false, last_used, job };
        }
        event
    }

    /// The place of the earliest token of a slot that all layers still have.
    pub(super) fn oldest(&self, slot: usize) -> usize {
        // Below zero: it is empty, and nothing is needed.
        usize::try_from(self.context.kv_cache_seq_pos_min(slot as i32)).unwrap_or(0)
    }

    /// Copies a slot's memory to another and cuts it there; returns how much is really there.
    ///
    /// Only right before a step: llama.cpp notes the copy and makes it when it computes next. Until then whatever else writes one of the
    /// two would be copied in its place, or be lost under the copy, and what is saved of the second would be what it held before.
    fn take_over(&mut self, from: usize, to: usize, keep: usize) -> usize {
        // Only whole sequences can be copied between slots: llama.cpp ends the process on a part of one.
        let copied = self.context.copy_kv_cache_seq(from as i32, to as i32, None, None);
        if copied.is_ok() { self.cut(to, keep) } else { self.empty(count(to)) }
    }

    /// Cuts a slot's memory to its first tokens; returns how many are really there.
    fn cut(&mut self, index: usize, keep: usize) -> usize {
        let slot = count(index);
        // Asked again where it matters: what llama.cpp keeps of a window is its own affair.
        let present = self.context.kv_cache_seq_pos_max(index as i32) + 1 >= keep as i32;
        let whole = usable(keep, self.oldest(index), self.model.window_tokens()) > 0;
        let cut = present
            && whole
            && self.context.clear_kv_cache_seq(Some(slot), Some(count(keep)), None) == Ok(true);
        if cut { keep } else { self.empty(slot) }
    }

    fn empty(&mut self, slot: u32) -> usize {
        // Whole sequences can always be removed, says llama.cpp; the slot's number is in range, as it comes from `slots`.
        let _always = self.context.clear_kv_cache_seq(Some(slot), None, None);
        0
    }

    /// Ends an answer before its time. Unknown ids are answered with nothing: the answer has just ended by itself.
    pub fn cancel(&mut self, id: u64) -> Option<EngineEvent> {
        if let Some(event) = self.cancel_pending(id) {
            return Some(event);
        }
        let running = |slot: &Slot| slot.job.as_ref().is_some_and(|job| job.id == id);
        let Some(index) = self.slots.iter().position(running) else {
            return self.embedder.as_mut()?.cancel(id);
        };
        self.finish(index, Finish::Cancelled)
    }

    pub(super) fn finish(&mut self, index: usize, reason: Finish) -> Option<EngineEvent> {
        let slot = self.slots.get_mut(index)?;
        let job = slot.job.take()?;
        let event = job.finished(reason, slot.tokens.len(), now());
        slot.tokens.truncate(slot.held);
        Some(event)
    }

    /// Computes one batch, and one of passages whose vectors are wanted, and tells what came of it. After an error the engine is of no
    /// further use.
    pub fn step(&mut self, events: &mut dyn FnMut(EngineEvent)) -> Result<(), EngineError> {
        self.untold.drain(..).for_each(&mut *events);
        self.step_answers(events)?;
        // As if an answer was written: one that comes meanwhile waits no longer.
        let tokens_max = self.pace.budget(1);
        self.embedder.as_mut().map_or(Ok(()), |embedder| embedder.step(tokens_max, events))
    }

    fn step_answers(&mut self, events: &mut dyn FnMut(EngineEvent)) -> Result<(), EngineError> {
        let began = now();
        self.clock += 1;
        self.hear_of_media(events)?;
        self.batch.clear();
        // First of all: what the batch adds to a slot is not in its memory yet and cannot be taken over.
        let readers = self.share();
        let writing = self.busy(true).len();
        let most = self.batch_tokens_max.saturating_sub(writing);
        let budget = self.pace.budget(writing).min(most);
        let left: Vec<_> =
            readers.iter().map(|index| self.slots.get(*index).map_or(0, Slot::readable)).collect();
        let portions = portions(&left, budget, most);
        let (mut taken, mut room) = (Vec::new(), budget);
        for (index, takes) in readers.into_iter().zip(portions) {
            if takes > 0 {
                room = room.saturating_sub(takes);
                taken.push(Share::of(index, takes));
            }
        }
        let mut advanced: Vec<usize> = taken.iter().map(|share| share.slot).collect();
        let read = taken.iter().map(Share::rows).sum();
        // A first token is not to wait for guesses; a prompt that takes long to read is not to slow the others down all the while.
        let reads_briefly = read > 0 && left.iter().sum::<usize>() <= BRIEF_STEPS * budget;
        taken.extend(self.writers(read, if reads_briefly { 0 } else { self.draft_tokens_max }));
        let speaks_again = |slot: &usize| self.slots.get(*slot).is_some_and(Slot::speaks_again);
        advanced.extend(taken.iter().map(|share| share.slot).filter(speaks_again));
        // Sequences that follow each other are computed side by side; llama.cpp cuts the batch at every other place ("split_equal"),
        // and touches all weights anew for each piece.
        taken.sort_unstable_by_key(|share| share.slot);
        // Slots whose last token is in the batch, with its row: their next token can be chosen.
        let mut rows = Vec::new();
        for share in taken {
            if let Some(row) = self.read(&share)? {
                rows.push((share, row));
            }
        }
        if self.batch.n_tokens() == 0 {
            return self.look(room, true, events);
        }
        self.compute()?;
        self.shelve_marked();
        for &index in &advanced {
            if let Some(Slot { tokens, held, job: Some(job), .. }) = self.slots.get(index) {
                events(EngineEvent::Prefill { id: job.id, done: count(*held), total: count(tokens.len()) });
            }
        }
        for (share, row) in rows {
            self.write(&share, row, events)?;
        }
        let took = now() - began;
        let of_model = took.saturating_sub(self.drafting_took());
        self.pace.observe(read, self.batch.n_tokens() as usize - read, of_model);
        if let Some(keeping) = &mut self.keeping {
            keeping.thrift.computed(took);
        }
        self.look(room, false, events)
    }

    /// Lets slots take over what their neighbours have read. Returns those that read on by themselves, in order of arrival.
    fn share(&mut self) -> Vec<usize> {
        let mut readers = self.busy(false);
        let mut waiting = Vec::new();
        for &index in &readers {
            let Some(slot) = self.slots.get(index) else { continue };
            let Some(job) = slot.job.as_ref().filter(|job| !job.has_taken) else { continue };
            let arrived = job.arrived;
            let others = self.slots.iter().enumerate().filter(|(other, _)| *other != index);
            let (numbers, neighbours): (Vec<_>, Vec<_>) = others
                .map(|(number, other)| {
                    let reads = other.job.as_ref().filter(|job| !job.writes());
                    let reads_first = reads.is_some_and(|job| job.arrived < arrived);
                    let (tokens, oldest) = (&other.tokens, self.oldest(number));
                    (number, Neighbour { tokens, held: other.held, oldest, reads_first })
                })
                .unzip();
            match reading(&slot.tokens, slot.held, &neighbours, self.model.window_tokens()) {
                Reading::Own => {}
                Reading::Wait => waiting.push(index),
                Reading::Take { neighbour, keep } => {
                    let Some(&donor) = numbers.get(neighbour) else { continue };
                    let held = self.take_over(donor, index, keep);
                    if let Some(Slot { held: there, kept, job: Some(job), .. }) = self.slots.get_mut(index) {
                        (*there, *kept) = (held, 0);
                        job.cached_tokens = held.min(job.prompt_tokens);
                        (job.restored_tokens, job.instructions) = (0, None);
                        job.checkpoint = job.checkpoint.filter(|place| *place > held);
                        job.has_taken = true;
                    }
                }
            }
        }
        readers.retain(|index| !waiting.contains(index));
        readers
    }

    /// Slots whose answer is being written, or whose prompt is being read, in order of arrival.
    pub(super) fn busy(&self, writing: bool) -> Vec<usize> {
        let jobs =
            self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index, slot.job.as_ref()?)));
        let mut busy: Vec<_> = jobs.filter(|(_, job)| job.writes() == writing).collect();
        busy.sort_by_key(|(_, job)| job.arrived);
        busy.into_iter().map(|(index, _)| index).collect()
    }
}
