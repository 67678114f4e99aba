//! From Telegram's updates to messages of the house: who is heard, and what of it. Pure.
//!
//! People are known by their numbers alone. Other bots, channels and anonymous writers are not heard: nobody could say who they are.
use archond_actors::domain::{Inbound, ModelId, PeerId, Waybill};
use teloxide::types::{CallbackQuery, Message, Update, UpdateKind, User};

use super::files;
use super::place::Place;

/// Who the bot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Its number.
    pub(super) id: u64,
    /// Its name, without `@`.
    pub(super) username: String,
}

/// A button that somebody pressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pressed {
    /// The press's own number.
    pub(super) press: String,
    /// The message with the button.
    pub(super) place: Place,
    /// Who pressed it.
    pub(super) person: String,
    /// As what he would have written.
    pub(super) inbound: Inbound,
    /// It decides about a question.
    pub(super) decides: bool,
}

/// What an update is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// Somebody wrote.
    Message(Box<Inbound>, Place),
    /// Somebody pressed a button.
    Press(Box<Pressed>),
    /// Nothing for the house.
    Nothing,
}

/// Reads an update.
pub(super) fn read(update: &Update, me: &Identity) -> Came {
    let came = match &update.kind {
        UpdateKind::Message(message) => message_of(message, me),
        UpdateKind::CallbackQuery(query) => press_of(query, me),
        UpdateKind::Error(_) => {
            tracing::warn!(update = update.id.0, "an update of Telegram could not be read and is left out");
            None
        }
        _ => None,
    };
    came.unwrap_or(Came::Nothing)
}

fn message_of(message: &Message, me: &Identity) -> Option<Came> {
    let writer = message.from.as_ref().filter(|from| is_person(from) && message.sender_chat.is_none())?;
    let place = place_of(message);
    let (enclosed, said) = files::enclosed(message);
    let written = message.text().or(message.caption()).unwrap_or_default();
    let forwarded = message.forward_origin().is_some();
    let text = match (forwarded, command(written, me)) {
        // Somebody else's words are no commands.
        (true, _) => heard(message, written, me).map(|text| format!("[forwarded] {text}")),
        (false, Word::None) => heard(message, written, me),
        (false, Word::Ours(text)) => Some(text),
        (false, Word::Others) => None,
    }?;
    let text = [text.as_str(), said.unwrap_or_default().as_str()].join("\n").trim().to_owned();
    if text.is_empty() && enclosed.is_empty() {
        // Somebody joined, a title was changed.
        return None;
    }
    let key = format!("{}.{}.{}", me.id, place.chat, place.message);
    let mut inbound = inbound(key, writer, &place, text)?;
    inbound.enclosed = enclosed;
    inbound.waybill.written_unix_ms = u64::try_from(message.date.timestamp_millis()).ok();
    Some(Came::Message(Box::new(inbound), place))
}

fn press_of(query: &CallbackQuery, me: &Identity) -> Option<Came> {
    if !is_person(&query.from) {
        return None;
    }
    let (text, decides) = said_by(query.data.as_deref()?)?;
    let place = place_of(query.regular_message()?);
    let (press, person) = (query.id.0.clone(), query.from.id.to_string());
    let inbound = inbound(format!("{}.press.{press}", me.id), &query.from, &place, text)?;
    Some(Came::Press(Box::new(Pressed { press, place, person, inbound, decides })))
}

/// Longest that Telegram gives back.
const GIVEN_BYTES_MAX: usize = 64;
/// The buttons below a question: what they are called, what Telegram gives back, and what that says.
pub(super) const BUTTONS: [(&str, &str, &str); 3] = [
    ("Yes", "yes", "/approve"),
    ("Yes, in this conversation", "session", "/approve session"),
    ("No", "no", "/deny"),
];

/// What Telegram gives back of a button with a model begins so.
const MODEL: &str = "model ";

/// What Telegram gives back of a button with a model; `None`: its name is longer than buttons bear.
pub(super) fn given_of(model: &str) -> Option<String> {
    Some(format!("{MODEL}{model}")).filter(|given| given.len() <= GIVEN_BYTES_MAX)
}

/// What a press says, and whether it decides about a question. What is given back is a client's word: nothing of it is passed on that is
/// not the name of a model.
fn said_by(data: &str) -> Option<(String, bool)> {
    if let Some((.., says)) = BUTTONS.iter().find(|(_, given, _)| *given == data) {
        return Some(((*says).to_owned(), true));
    }
    let model: ModelId = data.strip_prefix(MODEL)?.parse().ok()?;
    Some((format!("/model {model}"), false))
}

fn inbound(key: String, writer: &User, place: &Place, text: String) -> Option<Inbound> {
    let number = |number: &str| PeerId::new(number).ok();
    let group = if place.is_private() { None } else { Some(number(&place.chat.to_string())?) };
    Some(Inbound {
        key,
        peer: number(&writer.id.to_string())?,
        group,
        thread: place.conversation(),
        text,
        enclosed: Vec::new(),
        waybill: Waybill { reply_to: place.written().ok()?, ..Waybill::default() },
    })
}

fn is_person(user: &User) -> bool {
    !user.is_bot && !user.is_telegram() && !user.is_anonymous() && !user.is_channel()
}

fn place_of(message: &Message) -> Place {
    // In other groups a thread is a chain of answers, and no topic.
    let topic = message.thread_id.filter(|_| message.is_topic_message).map(|thread| thread.0.0);
    Place { chat: message.chat.id.0, message: message.id.0, topic }
}

/// What of a message is for the bot. In a group only what speaks to it, or answers it.
fn heard(message: &Message, written: &str, me: &Identity) -> Option<String> {
    if message.chat.is_private() {
        return Some(written.to_owned());
    }
    let answered = message.reply_to_message().filter(|answered| answered.forum_topic_created().is_none());
    let is_answer =
        answered.and_then(|answered| answered.from.as_ref()).is_some_and(|from| from.id.0 == me.id);
    match (mention(written, me), is_answer) {
        (Some(rest), _) => Some(rest),
        (None, true) => Some(written.to_owned()),
        (None, false) => None,
    }
}

/// The text without the bot's name at its beginning, if the bot is named anywhere in it.
fn mention(written: &str, me: &Identity) -> Option<String> {
    let name = format!("@{}", me.username.to_ascii_lowercase());
    let lower = written.to_ascii_lowercase();
    let named = |at: usize| {
        let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let before = lower[..at].chars().next_back();
        let after = lower[at + name.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    };
    let at = lower.match_indices(&name).map(|(at, _)| at).find(|at| named(*at))?;
    let rest = if written[..at].trim().is_empty() {
        written[at + name.len()..].trim_start_matches([' ', ',', ':'])
    } else {
        written
    };
    Some(if rest.trim().is_empty() { written.to_owned() } else { rest.to_owned() })
}

enum Word {
    None,
    Ours(String),
    Others,
}

/// Whether a text begins with a command, and for whom: `/x` and `/x@bot` are the bot's, `/x@other` is not.
fn command(written: &str, me: &Identity) -> Word {
    let (word, rest) = written.split_at(written.find(char::is_whitespace).unwrap_or(written.len()));
    let (name, whose) = word.split_once('@').map_or((word, None), |(name, whose)| (name, Some(whose)));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !name.strip_prefix('/').is_some_and(is_name) {
        return Word::None;
    }
    match whose {
        Some(whose) if !whose.eq_ignore_ascii_case(&me.username) => Word::Others,
        _ => Word::Ours(format!("{name}{rest}")),
    }
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
