//! Saying something once, although Telegram takes no key with a message.
//!
//! Before a message is sent, the receipt says above which number it will be: Telegram counts all messages of a bot with single persons (and
//! small groups) in one row, and those of each larger group in a row of its own. Where a crash or a lost reply leaves open whether it was
//! sent, the next numbers are asked: a message that is changed into what it says already answers that it is the same.
use std::collections::{HashMap, HashSet};

use teloxide::payloads::EditMessageCaptionSetters;
use teloxide::requests::Requester;
use teloxide::types::MessageId;
use tokio::time::{Instant, sleep_until};

use super::Telegram;
use super::fault::Failure;
use super::line::Line;
use super::place::Place;
use super::receipt::Progress;
use super::saying::{self, Words};

/// Numbers that are asked: all that is sent and received between the receipt and the message has one.
const ASKED_MAX: i32 = 32;
/// Messages that are to be sent and were not tried. Beyond it some are asked for in vain.
const INTENDED_MAX: usize = 256;
/// Larger groups whose highest number is remembered.
const GROUPS_MAX: usize = 512;
/// Larger groups have numbers below this one.
const LARGE_GROUPS_BELOW: i64 = -1_000_000_000_000;

/// The highest numbers of messages that were seen.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    alone: i32,
    groups: HashMap<i64, i32>,
}

impl Numbers {
    /// There is such a message.
    pub(super) fn seen(&mut self, chat: i64, message: i32) {
        let highest = if chat > LARGE_GROUPS_BELOW {
            &mut self.alone
        } else {
            if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&chat) {
                // Without it the message that is answered is the highest one known, which costs some questions.
                self.groups.clear();
            }
            self.groups.entry(chat).or_default()
        };
        *highest = (*highest).max(message);
    }

    /// What is sent there from now on has a higher number.
    fn above(&self, place: &Place) -> i32 {
        let highest =
            if place.chat > LARGE_GROUPS_BELOW { Some(&self.alone) } else { self.groups.get(&place.chat) };
        highest.copied().unwrap_or_default().max(place.message)
    }
}

/// What is to be sent, as its receipt says, and was surely not sent yet.
#[derive(Debug, Default)]
pub(super) struct Intended(HashSet<(String, i32)>);

impl Intended {
    fn put(&mut self, key: &str, above: i32) {
        if self.0.len() >= INTENDED_MAX {
            self.0.clear();
        }
        self.0.insert((key.to_owned(), above));
    }

    fn take(&mut self, key: &str, above: i32) -> bool {
        self.0.remove(&(key.to_owned(), above))
    }
}

/// What came of saying something once.
pub(super) enum Said {
    /// Nothing is sent yet: the receipt has to be kept first.
    Intended(Progress),
    /// It is there, with this number.
    There(i32),
}

/// What is looked for among the messages of a chat.
#[derive(Clone, Copy)]
pub(super) enum Sought<'a> {
    /// A text. A message of our own that says something else is what was shown of it, and becomes it.
    Text(&'a Words),
    /// A file with this text below it.
    File(Option<&'a str>),
}

impl Telegram {
    /// Sends something, of which `key` and `progress` tell whether that was tried before.
    pub(super) async fn once<F>(
        &self,
        line: &Line,
        place: &Place,
        (key, progress): (&str, &Progress),
        sought: Sought<'_>,
        send: F,
    ) -> Result<Said, Failure>
    where
        F: Future<Output = Result<i32, Failure>>,
    {
        if let Some(above) = progress.trying {
            if self.state().intended.take(key, above) {
                self.turn().await;
                let sent = send.await;
                if matches!(sent, Err(Failure::Limited(_) | Failure::Refused(_) | Failure::Barred(_))) {
                    self.state().intended.put(key, above);
                }
                let id = sent?;
                self.state().numbers.seen(place.chat, id);
                return Ok(Said::There(id));
            }
            if let Some(id) = self.seek(line, place, above, sought).await? {
                tracing::info!(message = id, "a message of before is there already");
                return Ok(Said::There(id));
            }
        }
        Ok(Said::Intended(self.intend(place, (key, progress))))
    }

    /// What the receipt has to say before something is sent.
    pub(super) fn intend(&self, place: &Place, (key, progress): (&str, &Progress)) -> Progress {
        let mut state = self.state();
        let above = state.numbers.above(place);
        state.intended.put(key, above);
        Progress { trying: Some(above), ..progress.clone() }
    }

    /// Waits until the bot may say something: a few seconds at most, since few answers are under way at once.
    pub(super) async fn turn(&self) {
        let at = self.state().pace.turn(Instant::now());
        sleep_until(at).await;
    }

    /// The number of what is sought, if it is one of the next.
    async fn seek(
        &self,
        line: &Line,
        place: &Place,
        above: i32,
        sought: Sought<'_>,
    ) -> Result<Option<i32>, Failure> {
        for id in (1..=ASKED_MAX).map(|step| above.saturating_add(step)) {
            self.turn().await;
            let found = match sought {
                Sought::Text(words) => saying::edit(line, place, id, words).await,
                Sought::File(caption) => is_file(line, place, id, caption).await,
            };
            match found {
                Ok(()) => return Ok(Some(id)),
                // The group has grown: what it had before it has no more.
                Err(Failure::Gone | Failure::Refused(_) | Failure::Markup | Failure::Moved(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }
}

async fn is_file(line: &Line, place: &Place, id: i32, caption: Option<&str>) -> Result<(), Failure> {
    let mut request = line.quick.edit_message_caption(place.chat_id(), MessageId(id));
    if let Some(caption) = caption {
        request = request.caption(caption);
    }
    match request.await.map_err(|error| Failure::of(&error)) {
        Ok(_) | Err(Failure::Unchanged) => Ok(()),
        Err(other) => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_larger_group_counts_by_itself() {
        let place = |chat, message| Place { chat, message, topic: None };
        let large = LARGE_GROUPS_BELOW - 5;
        let mut numbers = Numbers::default();
        for (chat, message) in [(7, 12), (-100, 30), (large, 1000), (9, 20)] {
            numbers.seen(chat, message);
        }
        let above = |chat, message| numbers.above(&place(chat, message));
        assert_eq!((above(7, 12), above(8, 31), above(-5, 1)), (30, 31, 30));
        assert_eq!((above(large, 7), above(large - 1, 7)), (1000, 7));
        for chat in 0..2000 {
            numbers.seen(large - chat, 1);
        }
        assert!(numbers.groups.len() <= GROUPS_MAX);
    }

    #[test]
    fn what_was_not_tried_is_known_once() {
        let mut intended = Intended::default();
        intended.put("a", 5);
        assert!(!intended.take("a", 6) && !intended.take("b", 5));
        assert!(intended.take("a", 5) && !intended.take("a", 5));
    }
}
