//! Where something is said: what goes into a message's reply-to and comes back with its answer. Pure.
use archond_actors::domain::{IdError, ReplyTo, ThreadId as Conversation};
use teloxide::types::{ChatId, MessageId, ThreadId};

/// A place in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The chat's number; of a group it is negative.
    pub(super) chat: i64,
    /// The message that is answered.
    pub(super) message: i32,
    /// The topic of a forum.
    pub(super) topic: Option<i32>,
}

impl Place {
    /// Reads what [`Place::written`] wrote.
    pub(super) fn read(reply_to: &ReplyTo) -> Option<Self> {
        let mut parts = reply_to.as_str().split(' ');
        let (chat, message) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let topic = parts.next().map(str::parse).transpose().ok()?;
        Some(Self { chat, message, topic })
    }

    pub(super) fn written(&self) -> Result<ReplyTo, IdError> {
        let topic = self.topic.map(|topic| format!(" {topic}")).unwrap_or_default();
        ReplyTo::new(&format!("{} {}{topic}", self.chat, self.message))
    }

    /// Whether it is a chat with one person.
    pub(super) fn is_private(&self) -> bool {
        self.chat > 0
    }

    /// A topic is a conversation of its own.
    pub(super) fn conversation(&self) -> Option<Conversation> {
        Conversation::new(&format!("topic-{}", self.topic?)).ok()
    }

    pub(super) fn chat_id(&self) -> ChatId {
        ChatId(self.chat)
    }

    pub(super) fn message_id(&self) -> MessageId {
        MessageId(self.message)
    }

    pub(super) fn thread_id(&self) -> Option<ThreadId> {
        self.topic.map(|topic| ThreadId(MessageId(topic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        for (chat, topic) in [(7, None), (-100_123_456_789, Some(5)), (i64::MIN, None)] {
            let place = Place { chat, message: 12, topic };
            assert_eq!(Place::read(&place.written().unwrap()), Some(place));
        }
        for wrong in ["", "7", "x 1", "7 1 x"] {
            assert_eq!(Place::read(&ReplyTo::new(wrong).unwrap()), None, "{wrong}");
        }
        let topic = Place { chat: -7, message: 1, topic: Some(5) };
        assert_eq!(topic.conversation().map(|name| name.to_string()), Some("topic-5".into()));
    }
}
