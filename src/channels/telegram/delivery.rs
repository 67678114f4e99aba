//! Handing an answer over, one message after another.
//!
//! After each message the house keeps how far it is, so that a crash repeats one message at most; where the answer was shown while it came,
//! what was shown becomes its first message, and not even that is repeated.
use archond_actors::domain::{AnswerKind, Parcel};
use archond_actors::ports::Handed;
use teloxide::requests::Requester;
use teloxide::types::MessageId;
use tokio::time::{Instant, sleep_until};

use super::fault::Failure;
use super::line::Line;
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
            let id = self.say(&line, &place, words, shown, done == 0).await?;
            progress = progress.sent(id);
        } else if let Some(attachment) = parcel.attachments.get(done.saturating_sub(messages.texts.len())) {
            progress = progress.sent(saying::send_file(&line, &place, &self.workspace, attachment).await?);
        }
        self.state().pace.sent(&place, Instant::now());
        match progress.written() {
            Some(receipt) if progress.count() < all => Ok(Handed::Step(receipt)),
            _ => {
                self.tidy_up(&line, parcel, &place, &progress, messages.texts.is_empty()).await;
                Ok(Handed::Whole)
            }
        }
    }

    /// Sends a text, or makes it out of what was shown.
    async fn say(
        &self,
        line: &Line,
        place: &Place,
        words: &Words,
        shown: Option<i32>,
        first: bool,
    ) -> Result<i32, Failure> {
        if let Some(id) = shown {
            match saying::edit(line, place, id, words).await {
                Ok(()) => return Ok(id),
                // Somebody deleted it.
                Err(Failure::Gone) => {}
                Err(other) => return Err(other),
            }
        }
        saying::send(line, place, words, first, false).await
    }

    /// Takes away what was shown and is of no more use. What stays does no harm.
    async fn tidy_up(&self, line: &Line, parcel: &Parcel, place: &Place, progress: &Progress, no_text: bool) {
        self.state().begun.remove(&parcel.key);
        if let Some(shown) = progress.shown.filter(|_| no_text) {
            let _ = line.quick.delete_message(place.chat_id(), MessageId(shown)).await;
        }
        if let Some(question) = progress.question {
            self.state().questions.over(place, parcel.peer.as_str());
            self.without_buttons(line, place.chat, question).await;
        }
    }
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
