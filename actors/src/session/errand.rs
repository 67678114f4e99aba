//! What a peer asks of the session itself, by a command: answered at once, also while a turn runs.
use super::actor::SessionState;
use super::report::{self, ContextParts};
use crate::domain::{Busy, Footer, ModelId, SessionHead, ToolStep, TurnRecord};
use crate::memory::MemoryError;
use crate::tools::ToolKit;

/// Turns of which a sum is made; an older part of a longer session is left out of it.
const TURNS_SUMMED_MAX: usize = 10_000;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Errand {
    /// What fills the context.
    Context,
    /// Take the last turns back.
    Undo {
        /// How many.
        turns: u64,
    },
    /// What the session took.
    Usage,
    /// What is said below each answer from now on.
    Footer(Footer),
    /// Which model answers from now on; `None`: the one that the route names.
    Model {
        /// Which.
        model: Option<ModelId>,
        /// Only the next time.
        once: bool,
    },
    /// What a message does from now on that comes while another one is answered; `None`: say what it does.
    Busy(Option<Busy>),
}

impl SessionState {
    /// Does it; answers what is said to the peer.
    pub(super) async fn carry(&mut self, out: Errand) -> String {
        let carried = match out {
            Errand::Context => self.context().await,
            Errand::Undo { turns } => self.undo(turns).await,
            Errand::Usage => self.usage().await,
            Errand::Footer(footer) => self.set_footer(footer).await,
            Errand::Model { model, once } => self.set_model(model, once).await,
            Errand::Busy(busy) => self.set_busy(busy).await,
        };
        carried.unwrap_or_else(|error| format!("That could not be done: {error}."))
    }

    async fn context(&mut self) -> Result<String, MemoryError> {
        self.read_memory().await?;
        self.measure_window().await;
        let Some(memory) = &self.memory else { return Ok(String::new()) };
        let kit = ToolKit::new(&self.args.tools, self.args.spec.tools.clone());
        let declared = kit.declarations();
        let tools =
            declared.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len());
        let words = |turn: &TurnRecord| turn.user.len() + turn.answer.len();
        let shown_max = self.args.spec.tools.limits.output_chars_max as usize;
        Ok(report::context(&ContextParts {
            persona: self.args.spec.persona.len(),
            tools: tools.sum(),
            tools_len: declared.len(),
            summary: memory.head.summary.as_ref().map_or(0, |summary| summary.text.len()),
            turns_covered: memory.head.turns_covered(),
            words: memory.turns.iter().map(words).sum(),
            turns_len: memory.turns.len(),
            calls: memory
                .turns
                .iter()
                .flat_map(|turn| &turn.steps)
                .map(|step| calls_len(step, shown_max))
                .sum(),
            media_tokens: self.last.usage.media_tokens,
            tokens: self.last.usage.context_tokens(),
            tokens_max: self.window(),
            compact_at_percent: self.args.spec.context.compact_at_percent,
        }))
    }

    async fn undo(&mut self, turns: u64) -> Result<String, MemoryError> {
        if self.running.is_some() {
            return Ok("An answer is being written; /stop it first.".to_owned());
        }
        self.read_memory().await?;
        self.tidying = None;
        let Some(memory) = &mut self.memory else { return Ok(String::new()) };
        let uncovered = memory.turns.len() as u64;
        if turns == 0 || uncovered == 0 {
            return Ok("There is nothing to take back.".to_owned());
        }
        if turns > uncovered {
            return Ok(format!(
                "Only the last {uncovered} can be taken back; what came before them is in the summary. /new begins afresh."
            ));
        }
        let left = memory.head.turns - turns;
        if let Err(error) = self.args.memory.rewind(self.args.key.clone(), left).await {
            // Whether it was done is not known: the store is asked next time.
            self.memory = None;
            return Err(error);
        }
        let first = memory.turns.iter().find(|turn| turn.number == left).map(|turn| turn.user.clone());
        memory.turns.retain(|turn| turn.number < left);
        memory.head.turns = left;
        self.last.usage = memory.turns.last().map(|turn| turn.usage).unwrap_or_default();
        Ok(report::undone(turns, left, first.as_deref().unwrap_or_default()))
    }

    async fn usage(&mut self) -> Result<String, MemoryError> {
        let turns = self.args.memory.turns(&self.args.key, 0, TURNS_SUMMED_MAX).await?;
        self.read_memory().await?;
        let footer = self.memory.as_ref().map_or(Footer::Off, |memory| memory.head.options.footer);
        Ok(report::usage(&turns, footer))
    }

    async fn set_footer(&mut self, footer: Footer) -> Result<String, MemoryError> {
        self.choose(|head| head.options.footer = footer).await?;
        Ok(match footer {
            Footer::Off => "Answers stand alone again.".to_owned(),
            Footer::Tokens => "Each answer says what it cost.".to_owned(),
            Footer::Full => {
                "Each answer says what it cost, which model gave it and how full my context is.".to_owned()
            }
        })
    }

    async fn set_model(&mut self, model: Option<ModelId>, once: bool) -> Result<String, MemoryError> {
        let chosen = model.clone();
        self.choose(move |head| {
            let options = &mut head.options;
            match once {
                true => options.model_once = chosen,
                false => (options.model, options.model_once) = (chosen, None),
            }
        })
        .await?;
        Ok(match (model, once) {
            (Some(model), true) => format!("{model} answers your next message, then the one before."),
            (Some(model), false) => {
                format!("{model} answers in this session; `/model auto` leaves it to the profile again.")
            }
            (None, _) => "The profile's route chooses the model again.".to_owned(),
        })
    }

    async fn set_busy(&mut self, busy: Option<Busy>) -> Result<String, MemoryError> {
        match busy {
            Some(busy) => self.choose(|head| head.options.busy = busy).await?,
            None => self.read_memory().await?,
        }
        let busy = self.busy();
        if let (false, Some(running)) = (busy == Busy::Steer, &mut self.running) {
            running.turn.offer(Vec::new());
        }
        Ok(report::busy(busy))
    }

    /// Changes what the peer has chosen, durably.
    async fn choose(&mut self, change: impl FnOnce(&mut SessionHead)) -> Result<(), MemoryError> {
        self.read_memory().await?;
        let Some(memory) = &mut self.memory else { return Ok(()) };
        let mut head = memory.head.clone();
        change(&mut head);
        let now = self.args.clock.now_unix_ms();
        if let Err(error) =
            self.args.memory.set_options(self.args.key.clone(), head.options.clone(), now).await
        {
            self.memory = None;
            return Err(error);
        }
        memory.head.options = head.options;
        Ok(())
    }
}

/// What a step's calls and their answers take of a prompt, in bytes.
fn calls_len(step: &ToolStep, shown_max: usize) -> usize {
    let calls = step.calls.iter().map(|record| {
        record.call.name.len() + record.call.arguments.len() + record.outcome.words().len().min(shown_max)
    });
    step.text.len() + calls.sum::<usize>()
}
