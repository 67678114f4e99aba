//! Summarises in the background what will not fit for long, while nobody writes. What it has done when the next message comes is kept;
//! a summary that is being written then is given up, since a person goes first.
use super::actor::SessionState;
use super::order::OpenOrder;
use crate::compaction;
use crate::domain::Priority;
use crate::pool::GenerationEvent;

/// A summary that is being written while no turn runs.
pub(super) struct Tidying {
    turns: usize,
    text: String,
    order: OpenOrder,
}

impl SessionState {
    /// Asks how long the context is of the model that answered last. A pool that does not tell leaves it at what is known.
    pub(super) async fn measure_window(&mut self) {
        let Some(model) = &self.last.model else { return };
        let Ok(status) = self.args.pool.status().await else { return };
        let found = status.models.iter().find(|found| found.id == *model);
        self.last.window = found.map(|found| found.context_tokens).filter(|tokens| *tokens > 0);
    }

    /// Begins, where a summary is due.
    pub(super) async fn tidy_up(&mut self) {
        self.measure_window().await;
        let view = self.view(0);
        if self.running.is_some()
            || !compaction::is_due(view.policy, view.context_tokens, view.uncovered as u64)
        {
            return;
        }
        let Ok(turns) = compaction::turns_to_summarise(view.policy, view.uncovered, false, 0) else { return };
        let Some(request) = self.summary_request(turns, None, Priority::Compaction) else { return };
        // A pool that has no room for it now has work to do; the next turn sees to it before it answers.
        if let Ok(order) = self.order(request).await {
            self.tidying = Some(Tidying { turns, text: String::new(), order });
        }
    }

    /// Something happened to it in the pool.
    pub(super) async fn on_tidying(&mut self, event: GenerationEvent) {
        let Some(tidying) = &mut self.tidying else { return };
        match event {
            GenerationEvent::Token { chosen } => tidying.text.push_str(&chosen.words()),
            GenerationEvent::Finished { .. } => {
                let Some(Tidying { turns, text, order }) = self.tidying.take() else { return };
                order.ended();
                let text = text.trim().to_owned();
                if !text.is_empty()
                    && let Err(error) = self.keep_summary(Some(text), turns).await
                {
                    tracing::warn!(session = %self.args.key, %error, "a summary could not be kept");
                }
            }
            // What does not fit is made to fit by the turn that meets it.
            GenerationEvent::Failed { .. } => {
                self.tidying.take().into_iter().for_each(|tidying| tidying.order.ended());
            }
            GenerationEvent::Queued { .. }
            | GenerationEvent::Loading { .. }
            | GenerationEvent::Reading { .. }
            | GenerationEvent::Begun { .. }
            | GenerationEvent::Found { .. }
            | GenerationEvent::WorkerReplaced => {}
        }
    }
}
