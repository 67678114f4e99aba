//! Saying something once, although Telegram takes no key with a message.
//!
//! Before a message is sent, the receipt says above which number it will be: Telegram counts all messages of a bot with single persons (and
//! small groups) in one row, and those of each larger group in a row of its own. Where a crash or a lost reply leaves open whether it was
//! sent, the next numbers are looked at. Bots cannot read messages; but what is changed is shown, so a button is put below and taken away.
use std::collections::{HashMap, HashSet};

use teloxide::requests::Requester;
use teloxide::types::{InlineKeyboardButton, InlineKeyboardMarkup, Message, MessageId};
use tokio::time::{Instant, sleep_until};

use super::Telegram;
use super::fault::Failure;
use super::line::Line;
use super::place::Place;
use super::receipt::Progress;
use super::saying::{self, Words};
use super::showing::MORE;

/// What Telegram gives back of the button that is put below what is looked at.
const LOOKING: &str = "looking";
/// Numbers that are looked at: all that is sent and received between the receipt and the message has one.
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
    /// A text; the first of an answer shows in a group which message it answers.
    Text { words: &'a Words, first: bool },
    /// A file with this name, and this text below it.
    File { name: &'a str, caption: Option<&'a str> },
}

/// What a message of the bot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// What is sought.
    It,
    /// What was shown of it while it came.
    Begun,
    Another,
}

impl Sought<'_> {
    fn judge(&self, place: &Place, message: &Message) -> Is {
        let answers = message.reply_to_message().map(|answered| answered.id.0);
        match self {
            Self::File { caption, .. } if message.caption().map(str::trim) != caption.map(str::trim) => {
                Is::Another
            }
            Self::File { name, .. } => {
                let file = message.document().and_then(|file| file.file_name.as_deref());
                // Pictures and recordings have no names.
                let nameless =
                    message.photo().is_some() || message.voice().is_some() || message.audio().is_some();
                if file == Some(*name) || nameless { Is::It } else { Is::Another }
            }
            // What answers somebody else is his.
            Self::Text { first: true, .. } if answers.is_some_and(|answered| answered != place.message) => {
                Is::Another
            }
            Self::Text { words, .. } => match message.text().map(str::trim) {
                Some(text) if text == words.as_str().trim() => Is::It,
                Some(text) if text.ends_with(MORE.trim()) => Is::Begun,
                _ => Is::Another,
            },
        }
    }
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
            if self.state().questions.is_open(place.chat, id) {
                continue;
            }
            let Some(message) = self.look_at(line, place, id).await? else { continue };
            match (sought.judge(place, &message), sought) {
                (Is::It, _) => return Ok(Some(id)),
                (Is::Begun, Sought::Text { words, .. }) => {
                    self.turn().await;
                    return saying::edit(line, place, id, words).await.map(|()| Some(id));
                }
                (Is::Begun | Is::Another, _) => {}
            }
        }
        Ok(None)
    }

    /// The message with this number, if it is one of the bot's in this chat.
    async fn look_at(&self, line: &Line, place: &Place, id: i32) -> Result<Option<Message>, Failure> {
        let touch = |button: Option<InlineKeyboardMarkup>| {
            let mut request = line.quick.edit_message_reply_markup(place.chat_id(), MessageId(id));
            request.reply_markup = button;
            async move {
                self.turn().await;
                request.await.map_err(|error| Failure::of(&error))
            }
        };
        let button = || Some(InlineKeyboardMarkup::new([[InlineKeyboardButton::callback("…", LOOKING)]]));
        let mut seen = touch(button()).await;
        if matches!(seen, Err(Failure::Unchanged)) {
            // A former look was cut off in the middle.
            touch(None).await.ok();
            seen = touch(button()).await;
        }
        match seen {
            Ok(message) => {
                // One that stays says nothing when it is pressed.
                touch(None).await.ok();
                Ok(Some(message))
            }
            // There is none, it is somebody else's, or the group has grown and has no more what it had.
            Err(
                Failure::Gone
                | Failure::Refused(_)
                | Failure::Unchanged
                | Failure::Markup
                | Failure::Moved(_),
            ) => Ok(None),
            Err(other) => Err(other),
        }
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
