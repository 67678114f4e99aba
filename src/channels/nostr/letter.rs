//! From what a relay brings to a message of a person.
use std::sync::Arc;

use archond_actors::domain::{Inbound, PeerId, ReplyTo, Waybill};
use nostr::event::{Event, EventId, Kind, UnsignedEvent};
use nostr::key::PublicKey;

use super::identity::Identity;
use super::signer::SignerError;

/// A file, encrypted and kept somewhere in the web (NIP-17).
const FILE_MESSAGE: Kind = Kind::Custom(15);
/// What a file is called towards the house: nothing of it is read.
pub(super) const FILE: &str = "a file";

/// By which kind of message somebody writes, and is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    /// NIP-17: sealed and wrapped.
    Wrapped,
    /// NIP-04: encrypted, but everybody sees who writes to whom.
    Old,
}

impl Road {
    fn as_str(self) -> &'static str {
        match self {
            Self::Wrapped => "nip17",
            Self::Old => "nip04",
        }
    }

    /// As it came with the message.
    pub(super) fn of(reply_to: &ReplyTo) -> Self {
        match reply_to.as_str() {
            "nip04" => Self::Old,
            _ => Self::Wrapped,
        }
    }
}

/// Why something is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLetter {
    /// It cannot be opened, or is not what it says: a signature, the key of the seal.
    #[error("{0}")]
    Forged(String),
    /// It is something else than a message to this Archon alone: a reaction, a room, an own copy.
    #[error("it is {0}")]
    Other(&'static str),
    /// Whoever has the key does not open it just now.
    #[error("{0}")]
    Later(SignerError),
}

impl From<SignerError> for NoLetter {
    fn from(error: SignerError) -> Self {
        match error {
            SignerError::Refused(why) => Self::Forged(why),
            SignerError::Denied(_) | SignerError::Away(_) => Self::Later(error),
        }
    }
}

/// What a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// The same however often and from wherever it comes: computed here, never believed.
    pub(super) id: EventId,
    pub(super) writer: PublicKey,
    /// When it was written, in seconds since the Unix epoch; never in the future.
    pub(super) written: u64,
    pub(super) text: String,
    /// It is a file.
    pub(super) is_file: bool,
    pub(super) road: Road,
}

impl Letter {
    /// Opens what came. `now`: in seconds since the Unix epoch.
    pub(super) async fn open(identity: &Identity, event: &Event, now: u64) -> Result<Self, NoLetter> {
        match event.kind {
            Kind::GiftWrap => {
                let gift = identity.unwrap(event).await?;
                Self::of_rumor(identity, gift.sender, gift.rumor, now)
            }
            Kind::EncryptedDirectMessage => Self::of_old(identity, event, now),
            _ => Err(NoLetter::Other("of a kind that was not asked for")),
        }
    }

    fn of_rumor(
        identity: &Identity,
        sealed_by: PublicKey,
        rumor: UnsignedEvent,
        now: u64,
    ) -> Result<Self, NoLetter> {
        if rumor.pubkey != sealed_by {
            return Err(NoLetter::Forged(
                "another key sealed it than the one that is said to have written it".into(),
            ));
        }
        let id = rumor.compute_id();
        let me = identity.public_key();
        if sealed_by == me {
            return Err(NoLetter::Other("an own copy"));
        }
        if rumor.kind != Kind::PrivateDirectMessage && rumor.kind != FILE_MESSAGE {
            return Err(NoLetter::Other("no message"));
        }
        if rumor.tags.public_keys().any(|key| key != me && key != sealed_by) {
            // Its answer would have to go to all of them.
            return Err(NoLetter::Other("for a room of several people"));
        }
        let is_file = rumor.kind == FILE_MESSAGE;
        let written = rumor.created_at.as_secs().min(now);
        let text = if is_file { String::new() } else { rumor.content };
        if text.trim().is_empty() && !is_file {
            return Err(NoLetter::Other("empty"));
        }
        Ok(Self { id, writer: sealed_by, written, text, is_file, road: Road::Wrapped })
    }

    fn of_old(identity: &Identity, event: &Event, now: u64) -> Result<Self, NoLetter> {
        event.verify().map_err(|error| NoLetter::Forged(error.to_string()))?;
        if event.pubkey == identity.public_key() {
            return Err(NoLetter::Other("an own copy"));
        }
        let text = identity.open_old(&event.pubkey, &event.content)?;
        if text.trim().is_empty() {
            return Err(NoLetter::Other("empty"));
        }
        let written = event.created_at.as_secs().min(now);
        Ok(Self { id: event.id, writer: event.pubkey, written, text, is_file: false, road: Road::Old })
    }

    /// As the house takes it.
    pub(super) fn inbound(self) -> Option<Inbound> {
        Some(Inbound {
            key: self.id.to_hex(),
            peer: PeerId::new(&self.writer.to_hex()).ok()?,
            group: None,
            thread: None,
            text: self.text,
            enclosed: if self.is_file { vec![FILE.to_owned()] } else { Vec::new() },
            waybill: Waybill {
                reply_to: ReplyTo::new(self.road.as_str()).ok()?,
                written_unix_ms: Some(self.written.saturating_mul(1000)),
                ..Waybill::default()
            },
        })
    }
}

/// How far the channel has received, as it is kept: the time at which the newest message was written, in seconds since the Unix epoch.
pub(super) fn place(written: u64) -> Arc<str> {
    written.to_string().into()
}

#[cfg(test)]
mod tests {
    use nostr::event::{EventBuilder, FinalizeEvent, Tag};
    use nostr::key::Keys;
    use nostr::nips::nip59::GiftWrapBuilder;
    use nostr::types::Timestamp;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn rumor(by: &Keys, kind: Kind, to: &[PublicKey], at: u64, text: &str) -> UnsignedEvent {
        UnsignedEvent::new(
            by.public_key(),
            Timestamp::from(at),
            kind,
            to.iter().map(|key| Tag::public_key(*key)),
            text,
        )
    }

    async fn opened(identity: &Identity, sealed_by: &Keys, rumor: UnsignedEvent) -> Result<Letter, NoLetter> {
        let wrap = GiftWrapBuilder::new(identity.public_key(), rumor).finalize(sealed_by).unwrap();
        Letter::open(identity, &wrap, NOW).await
    }

    #[tokio::test]
    async fn a_message_has_the_id_that_is_computed_and_a_time_that_is_not_in_the_future() {
        let (ezra, maria) = (Identity::generate(), Keys::generate());
        let me = ezra.public_key();
        for (at, written) in [(NOW - 300, NOW - 300), (NOW + 90_000, NOW), (NOW - 200_000, NOW - 200_000)] {
            let mut rumor = rumor(&maria, Kind::PrivateDirectMessage, &[me], at, "shalom");
            let id = rumor.compute_id();
            // Whatever it says its id is.
            rumor.id = Some(EventId::from_byte_array([0; 32]));
            let letter = opened(&ezra, &maria, rumor).await.unwrap();
            assert_eq!((letter.id, letter.writer, letter.written), (id, maria.public_key(), written));
            let inbound = letter.inbound().unwrap();
            assert_eq!((inbound.key, inbound.text.as_str()), (id.to_hex(), "shalom"));
            assert_eq!(inbound.waybill.written_unix_ms, Some(written * 1000));
            assert_eq!(Road::of(&inbound.waybill.reply_to), Road::Wrapped);
        }
    }

    #[tokio::test]
    async fn what_another_key_sealed_is_forged() {
        let (ezra, maria, mallory) = (Identity::generate(), Keys::generate(), Keys::generate());
        let rumor = rumor(&maria, Kind::PrivateDirectMessage, &[ezra.public_key()], NOW, "I am Maria");
        assert!(matches!(opened(&ezra, &mallory, rumor).await, Err(NoLetter::Forged(_))));
    }

    #[tokio::test]
    async fn wraps_for_others_and_with_broken_signatures_are_forged() {
        let (ezra, noah, maria) = (Identity::generate(), Keys::generate(), Keys::generate());
        let rumor = rumor(&maria, Kind::PrivateDirectMessage, &[], NOW, "hi");
        let other = GiftWrapBuilder::new(noah.public_key(), rumor.clone()).finalize(&maria).unwrap();
        assert!(matches!(Letter::open(&ezra, &other, NOW).await, Err(NoLetter::Forged(_))));
        let mut changed = GiftWrapBuilder::new(ezra.public_key(), rumor).finalize(&maria).unwrap();
        changed.created_at = Timestamp::from(NOW);
        assert!(matches!(Letter::open(&ezra, &changed, NOW).await, Err(NoLetter::Forged(_))));
    }

    #[tokio::test]
    async fn only_messages_to_the_archon_alone_are_taken() {
        let (ezra, maria, noah) = (Identity::generate(), Keys::generate(), Keys::generate().public_key());
        let me = ezra.public_key();
        let table = [
            (rumor(&maria, Kind::PrivateDirectMessage, &[me], NOW, "hi"), Ok(false)),
            (rumor(&maria, Kind::PrivateDirectMessage, &[me, maria.public_key()], NOW, "hi"), Ok(false)),
            (rumor(&maria, Kind::PrivateDirectMessage, &[], NOW, "hi"), Ok(false)),
            (rumor(&maria, Kind::Custom(15), &[me], NOW, "https://a.example/x"), Ok(true)),
            (rumor(&maria, Kind::PrivateDirectMessage, &[me, noah], NOW, "hi"), Err(())),
            (rumor(&maria, Kind::PrivateDirectMessage, &[me], NOW, " "), Err(())),
            (rumor(&maria, Kind::Reaction, &[me], NOW, "+"), Err(())),
        ];
        for (rumor, expected) in table {
            let shown = format!("{rumor:?}");
            let letter = opened(&ezra, &maria, rumor).await;
            assert_eq!(letter.map(|letter| letter.is_file).map_err(drop), expected, "{shown}");
        }
        let own = rumor(&ezra.own(), Kind::PrivateDirectMessage, &[noah], NOW, "a copy");
        assert_eq!(opened(&ezra, &ezra.own(), own).await, Err(NoLetter::Other("an own copy")));
    }

    #[tokio::test]
    async fn a_message_of_the_old_kind_is_read_and_answered_the_same_way_each_time() {
        let (ezra, maria) = (Identity::generate(), Identity::generate());
        let sealed = maria.seal_old(&ezra.public_key(), NOW, "shalom").unwrap();
        assert_eq!(maria.seal_old(&ezra.public_key(), NOW, "shalom").unwrap(), sealed);
        assert_ne!(maria.seal_old(&ezra.public_key(), NOW + 1, "shalom").unwrap(), sealed);
        let event = EventBuilder::new(Kind::EncryptedDirectMessage, sealed)
            .tag(Tag::public_key(ezra.public_key()))
            .custom_created_at(Timestamp::from(NOW));
        let event = maria.sign(event).await.unwrap();
        let letter = Letter::open(&ezra, &event, NOW).await.unwrap();
        assert_eq!((letter.id, letter.text.as_str(), letter.road), (event.id, "shalom", Road::Old));
        let inbound = letter.inbound().unwrap();
        assert_eq!(Road::of(&inbound.waybill.reply_to), Road::Old);
    }
}
