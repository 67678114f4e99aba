//! Handing an answer over, one message after another.
//!
//! After each message the house keeps how far it is, and before each that one more is sent, so that after a crash it is looked for; where the
//! answer was shown while it came, what was shown becomes its first message.
use archond_actors::domain::{AnswerKind, Parcel};
use archond_actors::ports::Handed;
use teloxide::requests::Requester;
use teloxide::types::MessageId;
use tokio::time::{Instant, sleep_until};

use super::fault::Failure;
use super::files;
use super::line::Line;
use super::once::{Said, Sought};
use super::place::Place;
use super::receipt::Progress;
use super::saying::{self, Words};
use super::split::{TEXT_UNITS_MAX, sent, split};
use super::styled::Styled;
use super::{Telegram, markup};

/// What an answer is made of.
pub(super) struct Messages {
    /// Its text, in messages.
    pub(super) texts: Vec<Words>,
}

impl Messages {
    /// The same for the same parcel, at each try.
    pub(super) fn of(parcel: &Parcel) -> Self {
        let styled = match parcel.kind {
            AnswerKind::Answer => markup::read(&parcel.text),
            // The house's own words are no Markdown.
            AnswerKind::Notice | AnswerKind::Failure => Styled::plain(parcel.text.trim_end()),
        };
        let parts = split(&styled, TEXT_UNITS_MAX);
        let texts =
            parts.iter().map(|part| sent(&styled, part, TEXT_UNITS_MAX)).filter(|part| !part.is_empty());
        Self { texts: texts.map(|part| Words::of(&styled, &part)).collect() }
    }
}

impl Telegram {
    /// One step of a delivery.
    pub(super) async fn hand_over(&self, parcel: &Parcel, place: Place) -> Result<Handed, Failure> {
        let line = self.line().await?;
        let messages = Messages::of(parcel);
        let mut progress = Progress::read(parcel.receipt.as_ref());
        let (done, all) = (progress.count(), messages.texts.len() + parcel.attachments.len());
        if done > 0 && done < all {
            let wait = self.state().pace.wait(&place, Instant::now());
            // Bounded by the gap between two messages.
            sleep_until(Instant::now() + wait).await;
        }
        if let Some(words) = messages.texts.get(done) {
            let shown = progress.shown.filter(|_| done == 0);
            if let Some(id) = self.become_answer(&line, &place, words, shown).await? {
                progress = progress.sent(id);
            } else {
                let is_last = done + 1 == messages.texts.len();
                let chooses = is_last && self.asks_for_models(&parcel.key);
                let buttons = chooses.then(|| saying::models(&self.models));
                let send = Box::pin(saying::send(&line, &place, words, done == 0, buttons));
                let said = self
                    .say(&line, &place, (parcel, &progress), Sought::Text { words, first: done == 0 }, send)
                    .await?;
                progress = match said {
                    Said::There(id) => progress.sent(id),
                    Said::Intended(next) => return step(&next),
                };
            }
        } else if let Some(attachment) = parcel.attachments.get(done.saturating_sub(messages.texts.len())) {
            let send = Box::pin(saying::send_file(&line, &place, &self.workspace, attachment));
            let name = files::file_name(attachment);
            let sought = Sought::File { name: &name, caption: saying::caption(attachment) };
            progress = match self.say(&line, &place, (parcel, &progress), sought, send).await? {
                Said::There(id) => progress.sent(id),
                Said::Intended(next) => return step(&next),
            };
        }
        self.state().pace.sent(&place, Instant::now());
        if progress.count() < all {
            return step(&progress);
        }
        self.tidy_up(&line, parcel, &place, &progress, messages.texts.is_empty()).await;
        Ok(Handed::Whole)
    }

    /// Makes what was shown the beginning of the answer. `None`: nothing was, or somebody deleted it.
    async fn become_answer(
        &self,
        line: &Line,
        place: &Place,
        words: &Words,
        shown: Option<i32>,
    ) -> Result<Option<i32>, Failure> {
        let Some(id) = shown else { return Ok(None) };
        self.turn().await;
        match saying::edit(line, place, id, words).await {
            Ok(()) => Ok(Some(id)),
            Err(Failure::Gone) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Sends a message of an answer once; of a word of the channel itself, which has no receipt, as well as it goes.
    async fn say<F>(
        &self,
        line: &Line,
        place: &Place,
        (parcel, progress): (&Parcel, &Progress),
        sought: Sought<'_>,
        send: F,
    ) -> Result<Said, Failure>
    where
        F: Future<Output = Result<i32, Failure>>,
    {
        match parcel.outbox {
            Some(_) => self.once(line, place, (&parcel.key, progress), sought, send).await,
            None => {
                self.turn().await;
                send.await.map(Said::There)
            }
        }
    }

    /// Whether this is the answer to whoever asked which models there are.
    fn asks_for_models(&self, key: &str) -> bool {
        self.state().choosing.iter().any(|asked| asked == key)
    }

    /// Takes away what was shown and is of no more use. What stays does no harm.
    async fn tidy_up(&self, line: &Line, parcel: &Parcel, place: &Place, progress: &Progress, no_text: bool) {
        self.state().begun.remove(&parcel.key);
        self.state().choosing.retain(|key| *key != parcel.key);
        if let Some(shown) = progress.shown.filter(|_| no_text) {
            let _ = line.quick.delete_message(place.chat_id(), MessageId(shown)).await;
        }
        if let Some(question) = progress.question {
            self.state().questions.over(place, parcel.peer.as_str());
            self.without_buttons(line, place.chat, question).await;
        }
    }
}

/// What the house keeps before anything else is done.
fn step(progress: &Progress) -> Result<Handed, Failure> {
    let too_long = || Failure::Refused("its delivery cannot be written down".into());
    progress.written().map(Handed::Step).ok_or_else(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;
    use archond_actors::domain::ReplyTo;

    fn parcel(kind: AnswerKind, text: &str) -> Parcel {
        Parcel {
            outbox: None,
            key: "1".into(),
            peer: "7".parse().unwrap(),
            reply_to: ReplyTo::new("7 1").unwrap(),
            kind,
            text: text.into(),
            attachments: Vec::new(),
            created_unix_ms: 0,
            receipt: None,
            tries: 0,
        }
    }

    #[test]
    fn the_archons_words_are_markdown_and_the_houses_are_not() {
        let of = |kind, text: &str| Messages::of(&parcel(kind, text)).texts;
        assert_ne!(of(AnswerKind::Answer, "**a**"), [Words::plain("**a**")]);
        assert_eq!(of(AnswerKind::Notice, "  /new  **a**\n"), [Words::plain("/new  **a**")]);
        assert_eq!(of(AnswerKind::Answer, " \n "), []);
        assert_eq!(of(AnswerKind::Answer, &"word ".repeat(2000)).len(), 3);
    }
}
