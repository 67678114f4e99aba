//! Showing how an answer comes: a sign of typing, the words so far, the owner's question.
//!
//! Alone with a person, Telegram has drafts for that, which leave nothing behind. Elsewhere a message is sent once there is something to read,
//! and changed now and then; it becomes the answer.
use std::time::Duration;

use archond_actors::domain::{Parcel, Question, Receipt, Shown};
use serde::Serialize;
use teloxide::payloads::SendChatActionSetters;
use teloxide::requests::{Payload, Requester};
use teloxide::types::{ChatAction, MessageId, ParseMode};
use tokio::time::{Instant, sleep_until};

use super::fault::Failure;
use super::line::Line;
use super::once::{Said, Sought};
use super::place::Place;
use super::receipt::Progress;
use super::saying::{self, Words};
use super::split::{TEXT_UNITS_MAX, sent, split};
use super::styled::Styled;
use super::{Telegram, markup};

/// So much of an answer is shown while it comes, in UTF-16 units: a message with room for a mark that there is more.
const SHOWN_UNITS_MAX: usize = 4000;
/// An answer that is there sooner is not shown before.
const FIRST_WORDS: Duration = Duration::from_secs(2);
/// Answers whose first words are remembered.
const BEGUN_MAX: usize = 256;
/// A server that knows no drafts is asked for one again after so long.
const DRAFTS_AGAIN: Duration = Duration::from_secs(3600);
/// The mark that there is more to come.
pub(super) const MORE: &str = " …";

/// A text that is seen for half a minute and is no message (Bot API 9.5).
#[derive(Debug, Clone, Serialize)]
struct SendMessageDraft {
    chat_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i32>,
    draft_id: i32,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parse_mode: Option<ParseMode>,
}

impl Payload for SendMessageDraft {
    type Output = bool;
    const NAME: &'static str = "sendMessageDraft";
}

impl Telegram {
    pub(super) async fn show_at(
        &self,
        to: &Parcel,
        place: Place,
        shown: Shown,
    ) -> Result<Option<Receipt>, Failure> {
        let line = self.line().await?;
        let progress = Progress::read(to.receipt.as_ref());
        match shown {
            Shown::Working => self.show_working(&line, &place).await.map(|()| None),
            Shown::Text(text) => self.show_text(&line, to, &place, progress, &text).await,
            // Drafts and messages are written anew with the next words.
            Shown::Void => {
                self.state().begun.remove(&to.key);
                Ok(None)
            }
            Shown::Asked(question) => self.show_question(&line, to, &place, progress, &question).await,
        }
    }

    async fn show_working(&self, line: &Line, place: &Place) -> Result<(), Failure> {
        let Some(at) = self.state().pace.may_type(place, Instant::now()) else { return Ok(()) };
        sleep_until(at).await;
        let mut request = line.quick.send_chat_action(place.chat_id(), ChatAction::Typing);
        if let Some(topic) = place.thread_id() {
            request = request.message_thread_id(topic);
        }
        request.await.map(drop).map_err(|error| Failure::of(&error))
    }

    async fn show_text(
        &self,
        line: &Line,
        to: &Parcel,
        place: &Place,
        mut progress: Progress,
        text: &str,
    ) -> Result<Option<Receipt>, Failure> {
        let Some(words) = so_far(text) else { return Ok(None) };
        let now = Instant::now();
        if place.is_private() && progress.shown.is_none() && now >= self.state().drafts {
            let Some(at) = self.state().pace.may_show(place, now) else { return Ok(None) };
            sleep_until(at).await;
            return self.show_draft(line, place, &words).await.map(|()| None);
        }
        match progress.shown {
            Some(_) => {}
            None if !self.is_worth_showing(&to.key, now) => return Ok(None),
            None if progress.trying.is_none() => {
                return Ok(self.intend(place, (&to.key, &progress)).written());
            }
            None => {}
        }
        let Some(at) = self.state().pace.may_show(place, now) else { return Ok(None) };
        sleep_until(at).await;
        match progress.shown {
            Some(message) => match saying::edit(line, place, message, &words).await {
                Err(Failure::Gone) => progress.shown = None,
                other => return other.map(|()| None),
            },
            None => {
                let send = Box::pin(saying::send(line, place, &words, true, None));
                match self
                    .once(
                        line,
                        place,
                        (&to.key, &progress),
                        Sought::Text { words: &words, first: true },
                        send,
                    )
                    .await?
                {
                    Said::Intended(next) => progress = next,
                    Said::There(message) => (progress.shown, progress.trying) = (Some(message), None),
                }
            }
        }
        Ok(progress.written())
    }

    /// Whether the first words of an answer came a while ago.
    fn is_worth_showing(&self, key: &str, now: Instant) -> bool {
        let mut state = self.state();
        if state.begun.len() >= BEGUN_MAX {
            // Answers of which nothing was shown, and that were given up.
            state.begun.clear();
        }
        let since = *state.begun.entry(key.to_owned()).or_insert(now);
        now.saturating_duration_since(since) >= FIRST_WORDS
    }

    async fn show_draft(&self, line: &Line, place: &Place, words: &Words) -> Result<(), Failure> {
        let draft = |text: String, parse_mode: Option<ParseMode>| {
            let (chat_id, topic) = (place.chat, place.topic);
            // One draft for each message that is answered. Zero would be none.
            let draft_id = place.message.max(1);
            let payload = SendMessageDraft { chat_id, message_thread_id: topic, draft_id, text, parse_mode };
            let request = line.request(payload);
            async { request.await }
        };
        match saying::read_or_plain(words, draft).await {
            Ok(_) => Ok(()),
            Err(failure @ (Failure::Limited(_) | Failure::Transient(_))) => Err(failure),
            Err(failure) => {
                tracing::info!(?failure, "there are no drafts here; answers are shown as messages");
                self.state().drafts = Instant::now() + DRAFTS_AGAIN;
                Ok(())
            }
        }
    }

    async fn show_question(
        &self,
        line: &Line,
        to: &Parcel,
        place: &Place,
        mut progress: Progress,
        question: &Question,
    ) -> Result<Option<Receipt>, Failure> {
        let time = Duration::from_secs(question.timeout_s);
        let (opening, [yes, no]) = (question.opening(), question.answers());
        // A button speaks of what is asked in its own chat.
        let is_here = question.elsewhere.is_none();
        let how = if is_here { "Say it with a button, or write" } else { "Write" };
        let (shown, why) = (question.quoted(), &question.why);
        let text = format!("{opening}\n\n{shown}\n\n{why}\nYou have {}. {how} {yes} or {no}.", minutes(time));
        // All of it: nobody is to say yes to what he cannot see.
        let asked = Styled::plain(&text);
        let parts = split(&asked, TEXT_UNITS_MAX);
        let mut asked_by = None;
        for (at, part) in parts.iter().enumerate() {
            let words = Words::of(&asked, &sent(&asked, part, TEXT_UNITS_MAX));
            self.turn().await;
            let buttons = (is_here && at + 1 == parts.len()).then(saying::yes_or_no);
            asked_by = Some(saying::send(line, place, &words, at == 0, buttons).await?);
        }
        let Some(asked_by) = asked_by else { return Ok(None) };
        let now = Instant::now();
        self.state().pace.sent(place, now);
        if !is_here {
            return Ok(None);
        }
        let over = self.state().questions.asked(*place, asked_by, to.peer.as_str(), time, now);
        for (chat, message) in over {
            self.without_buttons(line, chat, message).await;
        }
        progress.question = Some(asked_by);
        // What was shown so far comes again below the question.
        if let Some(shown) = progress.shown.take() {
            let _ = line.quick.delete_message(place.chat_id(), MessageId(shown)).await;
        }
        Ok(progress.written())
    }
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// The words so far, as one message; `None` if there is nothing to read yet.
fn so_far(text: &str) -> Option<Words> {
    let mut styled: Styled = markup::read(text);
    let parts = split(&styled, SHOWN_UNITS_MAX);
    let first = sent(&styled, parts.first()?, SHOWN_UNITS_MAX);
    if first.is_empty() {
        return None;
    }
    // Behind all styles, so that a word in the middle of a block does not look like its end.
    styled.text.truncate(first.end);
    styled.text.push_str(MORE);
    for span in &mut styled.spans {
        span.range.end = span.range.end.min(first.end);
    }
    styled.spans.retain(|span| span.range.start < span.range.end);
    Some(Words::of(&styled, &(first.start..styled.text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_so_far_are_one_message_with_a_mark() {
        let expected = Styled { text: "a b …".into(), spans: Vec::new() };
        assert_eq!(so_far("a b"), Some(Words::of(&expected, &(0..expected.text.len()))));
        assert_eq!((so_far(""), so_far(" \n")), (None, None));
        let long = so_far(&"word ".repeat(3000)).unwrap();
        assert!(format!("{long:?}").len() < 4200);
        assert_eq!(
            (minutes(Duration::from_secs(90)), minutes(Duration::from_secs(300))),
            ("90 seconds".into(), "5 minutes".into())
        );
    }
}
