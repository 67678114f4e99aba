//! An answer under way, of a model or of an Archon. Dropping it ends the work: a client that is gone wants no more.
use archond_actors::domain::{
    Accepted, AnswerKind, AnswerPart, ChannelId, Finding, FinishReason, GenerationId, InboundMessage,
    InboxId, OutboxEntry, SessionKey, TokenLogprob, TurnEvent, Usage,
};
use archond_actors::house::House;
use archond_actors::observer::TurnObserver;
use archond_actors::pool::{GenerationEvent, GenerationOrder, PoolHandle};
use std::sync::Arc;
use tokio::sync::mpsc;

use super::error::ApiError;

/// A step of an answer.
#[derive(Debug)]
pub(super) enum Step {
    /// More of it.
    Part(AnswerPart),
    /// How likely the token was, with the likeliest others.
    Logprobs(TokenLogprob, Vec<TokenLogprob>),
    /// It is complete.
    End(Ending),
    /// There is no more of it.
    Failed(ApiError),
}

/// How an answer ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) reason: FinishReason,
    pub(super) usage: Usage,
}

/// An answer under way.
pub(super) enum Answer {
    Model(ModelAnswer),
    Archon(ArchonAnswer),
}

impl Answer {
    /// What came next. After [`Step::End`] and [`Step::Failed`] nothing does. May be given up and asked again.
    pub(super) async fn next(&mut self) -> Step {
        match self {
            Self::Model(answer) => answer.next().await,
            Self::Archon(answer) => answer.next().await,
        }
    }
}

/// An answer straight from the pool.
pub(super) struct ModelAnswer {
    pool: PoolHandle,
    id: GenerationId,
    events: mpsc::UnboundedReceiver<GenerationEvent>,
    waiting: std::collections::VecDeque<Step>,
}

impl ModelAnswer {
    pub(super) async fn begin(pool: &PoolHandle, order: GenerationOrder) -> Result<Self, ApiError> {
        // As long as the answer at most, which the model's context bounds.
        let (sender, events) = mpsc::unbounded_channel();
        let sink = Arc::new(move |event| {
            // Nobody listens any more: the order is cancelled already.
            let _ = sender.send(event);
        });
        let id = pool.generate(order, sink).await?;
        Ok(Self { pool: pool.clone(), id, events, waiting: std::collections::VecDeque::new() })
    }

    async fn next(&mut self) -> Step {
        loop {
            if let Some(step) = self.waiting.pop_front() {
                return step;
            }
            match self.events.recv().await {
                Some(GenerationEvent::Token { chosen }) => {
                    if let Some((token, likeliest)) = chosen.logprobs {
                        self.waiting.push_back(Step::Logprobs(token, likeliest));
                    }
                    self.waiting.extend(chosen.parts.into_iter().map(Step::Part));
                }
                Some(GenerationEvent::Finished { reason, usage, .. }) => {
                    return Step::End(Ending { reason, usage });
                }
                Some(GenerationEvent::Failed { error }) => return Step::Failed(error.into()),
                Some(
                    GenerationEvent::Queued { .. }
                    | GenerationEvent::Loading { .. }
                    | GenerationEvent::Begun { .. }
                    | GenerationEvent::Reading { .. }
                    | GenerationEvent::Found { .. }
                    | GenerationEvent::WorkerReplaced,
                ) => {}
                None => return Step::Failed(lost()),
            }
        }
    }

    /// All that was found out, where that was asked for, and what it cost.
    pub(super) async fn findings(mut self) -> Result<(Vec<Finding>, Usage), ApiError> {
        let mut findings = Vec::new();
        loop {
            match self.events.recv().await.ok_or_else(lost)? {
                GenerationEvent::Found { finding } => findings.push(finding),
                // The next worker begins again.
                GenerationEvent::WorkerReplaced => findings.clear(),
                GenerationEvent::Finished { reason: FinishReason::Cancelled, .. } => return Err(lost()),
                GenerationEvent::Finished { usage, .. } => return Ok((findings, usage)),
                GenerationEvent::Failed { error } => return Err(error.into()),
                GenerationEvent::Queued { .. }
                | GenerationEvent::Loading { .. }
                | GenerationEvent::Begun { .. }
                | GenerationEvent::Reading { .. }
                | GenerationEvent::Token { .. } => {}
            }
        }
    }
}

fn lost() -> ApiError {
    ApiError::unavailable("the answer was lost; ask again")
}

impl Drop for ModelAnswer {
    fn drop(&mut self) {
        // One that has ended does not mind.
        self.pool.cancel(self.id);
    }
}

/// What is left of an Archon's answer whose client is gone: it is stopped, and confirmed, so that it does not lie in the outbox.
pub(super) struct Abandoned {
    observer: TurnObserver,
    session: Option<SessionKey>,
}

impl Abandoned {
    pub(super) async fn tidy(mut self, house: Arc<House>) {
        if let Some(session) = self.session.take()
            && let Err(error) = house.stop_turn(session).await
        {
            tracing::debug!(%error, "an abandoned turn could not be stopped");
        }
        while let Some(event) = self.observer.next().await {
            if let TurnEvent::Ended { answer } = event {
                confirm(&house, &answer).await;
            }
        }
    }
}

async fn confirm(house: &House, answer: &OutboxEntry) {
    if let Err(error) = house.memory().mark_sent(answer.id).await {
        tracing::warn!(%error, outbox = %answer.id, "an answer could not be confirmed");
    }
}

/// The answer of an Archon, as the terminal sees it.
pub(super) struct ArchonAnswer {
    house: Arc<House>,
    observer: Option<TurnObserver>,
    session: Option<SessionKey>,
    inbox: InboxId,
    /// What the client has got.
    told: String,
    ended: Option<Ending>,
    abandoned: mpsc::UnboundedSender<Abandoned>,
}

impl ArchonAnswer {
    pub(super) async fn begin(
        house: Arc<House>,
        message: InboundMessage,
        abandoned: mpsc::UnboundedSender<Abandoned>,
    ) -> Result<Self, ApiError> {
        // Watched before it is handed in, so that not even the quickest answer is missed.
        let observer = house.observers().observe(message.message_key());
        let (inbox, session) = match house.submit(message).await? {
            Accepted::Fresh(entry) => (entry.id, Some(entry.session)),
            Accepted::Duplicate(inbox) => (inbox, None),
        };
        Ok(Self {
            house,
            observer: Some(observer),
            session,
            inbox,
            told: String::new(),
            ended: None,
            abandoned,
        })
    }

    async fn next(&mut self) -> Step {
        if let Some(ending) = self.ended {
            return Step::End(ending);
        }
        while let Some(observer) = &mut self.observer {
            match observer.next().await {
                Some(TurnEvent::Text { text }) => {
                    self.told.push_str(&text);
                    return Step::Part(AnswerPart::Text(text));
                }
                Some(TurnEvent::Retrying { .. }) if !self.told.is_empty() => {
                    let message = "the Archon begins its answer again; what came so far is void; ask again";
                    return Step::Failed(ApiError::unavailable(message));
                }
                // What was said before a call is no part of the answer behind it.
                Some(TurnEvent::CallBegun { .. }) if !self.told.is_empty() => {
                    self.told.clear();
                    return Step::Part(AnswerPart::Text("\n\n".to_owned()));
                }
                Some(TurnEvent::Ended { answer }) => return self.end(&answer).await,
                Some(_) => {}
                None => break,
            }
        }
        match self.house.memory().answer_to(self.inbox).await {
            Ok(Some(answer)) => self.end(&answer).await,
            Ok(None) => Step::Failed(lost()),
            Err(error) => Step::Failed(error.into()),
        }
    }

    async fn end(&mut self, answer: &OutboxEntry) -> Step {
        self.observer = None;
        confirm(&self.house, answer).await;
        if answer.kind == AnswerKind::Failure {
            return Step::Failed(ApiError::unavailable(answer.text.clone()));
        }
        let ending = Ending { reason: FinishReason::EndOfTurn, usage: self.usage(answer).await };
        self.ended = Some(ending);
        // Events may have been lost on the way; the outbox has it whole. This road carries no files: their names are said.
        let whole = named(answer);
        match whole.strip_prefix(&self.told).filter(|rest| !rest.is_empty()) {
            Some(rest) => Step::Part(AnswerPart::Text(rest.to_owned())),
            None => Step::End(ending),
        }
    }

    /// What the turn cost, as it was recorded; nothing for a notice.
    async fn usage(&self, answer: &OutboxEntry) -> Usage {
        let snapshot = self.house.memory().session(&answer.session).await.ok().flatten();
        let turn = snapshot
            .and_then(|snapshot| snapshot.turns.into_iter().rfind(|turn| turn.inbox == answer.answers));
        turn.map(|turn| turn.usage).unwrap_or_default()
    }
}

/// An answer, with a line for each file that goes with it.
fn named(answer: &OutboxEntry) -> String {
    let lines =
        answer.attachments.iter().map(|file| format!("\n[file in the workspace: {}]", file.summary()));
    let lines: String = lines.collect();
    let gap = if lines.is_empty() { "" } else { "\n" };
    format!("{}{gap}{lines}", answer.text)
}

impl Drop for ArchonAnswer {
    fn drop(&mut self) {
        if let Some(observer) = self.observer.take() {
            // When the gateway ends too, the answer stays in the outbox.
            let _ = self.abandoned.send(Abandoned { observer, session: self.session.take() });
        }
    }
}

/// The channel of this road.
pub(super) fn channel() -> Result<ChannelId, ApiError> {
    ChannelId::new("api").map_err(|error| ApiError::internal(error.to_string()))
}
