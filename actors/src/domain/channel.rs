//! What goes along with messages on the roads to and from platforms, and how a road itself is doing.
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::access::Tier;
use super::attachment::Attachment;
use super::ids::{ArchonId, ChannelId, IdError, OutboxId, PeerId, ThreadId};
use super::message::{AnswerKind, OutboxEntry};
use super::question::Question;
use super::status::ActorState;

/// Longest [`ReplyTo`], in bytes: ids of a chat and of a message, with room for a relay's address.
pub const REPLY_TO_BYTES_MAX: usize = 1024;
/// Longest [`Receipt`], in bytes: ids of the few dozen messages that the longest answer takes on any platform.
pub const RECEIPT_BYTES_MAX: usize = 4096;
/// Pictures, recordings and files that one message may bring.
pub const ENCLOSURES_MAX: usize = 10;

fn check_bytes(text: &str, what: &'static str, max: usize, rule: &'static str) -> Result<(), IdError> {
    if text.len() <= max {
        return Ok(());
    }
    Err(IdError { text: text.chars().take(80).collect(), what, rule })
}

/// Where an answer goes, in the platform's own words, which only its adapter reads: a chat's and a message's number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ReplyTo(Option<Arc<str>>);

impl ReplyTo {
    /// Checks the length.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_bytes(text, "place to reply to", REPLY_TO_BYTES_MAX, "use at most 1024 bytes")?;
        Ok(Self(Some(text).filter(|text| !text.is_empty()).map(Arc::from)))
    }

    /// The text; empty where the peer says all.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// What an adapter wants to know again when it goes on with the delivery of an answer: the numbers of the messages that it has sent
/// so far. Only the adapter reads it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Receipt(Arc<str>);

impl Receipt {
    /// Checks the length.
    pub fn new(text: &str) -> Result<Self, IdError> {
        check_bytes(text, "receipt", RECEIPT_BYTES_MAX, "use at most 4096 bytes")?;
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How far a channel has received, in the platform's own words, which only its adapter reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The place: an offset, a time.
    pub place: Arc<str>,
    /// When it was moved there, in milliseconds since the Unix epoch: some platforms begin to count anew after a while.
    pub moved_unix_ms: u64,
}

/// What kind of thing came with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EnclosureKind {
    /// A picture, which a model that sees is shown.
    Picture,
    /// A recording, which a model that hears is given.
    Recording,
    /// Any other file.
    File,
}

/// The SHA-256 of a file's bytes: under this name it lies in the house's folder of media.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaId([u8; 32]);

impl MediaId {
    /// Of a hash.
    pub fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The hash.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MediaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for MediaId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let wrong = || IdError {
            text: text.chars().take(80).collect(),
            what: "SHA-256",
            rule: "use 64 characters 0-9 and a-f",
        };
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(wrong());
        }
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let pair = text.get(at..at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

/// Something that came with a message. Its bytes are not here but in the house's folder of media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enclosure {
    /// Where it is.
    pub id: MediaId,
    /// What it is.
    pub kind: EnclosureKind,
    /// Its length.
    pub bytes: u64,
    /// What the platform calls it: `photo.jpg`. Empty where it has no name.
    pub name: String,
}

impl Enclosure {
    /// What a message's words say of it. Whether a model is shown it is another matter, but for files, which nobody looks into.
    pub fn told(&self) -> String {
        let (kind, end) = match self.kind {
            EnclosureKind::Picture => ("a picture", ""),
            EnclosureKind::Recording => ("a recording", ""),
            EnclosureKind::File => ("a file", "; you cannot look into it"),
        };
        let name = if self.name.is_empty() { String::new() } else { format!(" `{}`", self.name) };
        format!("[{kind}{name} of {} bytes came with this{end}]", self.bytes)
    }
}

/// What a platform gives along with a message. A terminal gives nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waybill {
    /// Where the answer goes.
    pub reply_to: ReplyTo,
    /// When it was written, by the platform's clock, in milliseconds since the Unix epoch.
    pub written_unix_ms: Option<u64>,
    /// What came with it.
    pub enclosures: Vec<Enclosure>,
    /// What its writer may do; `None` where whoever reaches the channel is the owner.
    pub tier: Option<Tier>,
}

impl Waybill {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A message as an adapter hands it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The platform's own id, the same whenever it comes again; unique for the channel of this Archon.
    pub key: String,
    /// Who wrote it, by the platform's number for him; never a name that he can choose.
    pub peer: PeerId,
    /// The group in which he wrote it; `None`: to the Archon alone.
    pub group: Option<PeerId>,
    /// The conversation that it belongs to (a topic, an issue); `None`: the peer's current one.
    pub thread: Option<ThreadId>,
    /// What was written. Empty only where something is enclosed.
    pub text: String,
    /// What came with it, by the platform's names for it. Nothing is fetched before it is known that its writer may write.
    pub enclosed: Vec<String>,
    /// What goes along with it.
    pub waybill: Waybill,
}

/// A platform's id of a message, as the house keeps it: two Archons may have a bot each, and the numbers of both may be the same.
pub fn house_key(archon: &ArchonId, key: &str) -> String {
    format!("{archon}:{key}")
}

impl Inbound {
    /// Whose session it goes to. In a group a person is another one than alone with the Archon: what he said and had noted
    /// there is not told before the others, and the other way round.
    pub fn session_peer(&self) -> Result<PeerId, IdError> {
        match &self.group {
            None => Ok(self.peer.clone()),
            Some(group) => PeerId::new(&format!("{}@{group}", self.peer)),
        }
    }
}

/// What came of a poll.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which they were written, as far as the platform knows it.
    pub messages: Vec<Inbound>,
    /// Where to go on once all of them are durable; `None`: where it was.
    pub place: Option<Arc<str>>,
}

/// Something to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The answer's number; `None` for a word of the channel itself, which is kept nowhere.
    pub outbox: Option<OutboxId>,
    /// The platform's id of the message that it answers.
    pub key: String,
    /// To whom: as in [`Inbound::session_peer`].
    pub peer: PeerId,
    /// Where it goes.
    pub reply_to: ReplyTo,
    /// What it is.
    pub kind: AnswerKind,
    /// What is said.
    pub text: String,
    /// What goes with it, in the Archon's workspace; to be delivered as far as the platform takes it.
    pub attachments: Vec<Attachment>,
    /// When it was written, in milliseconds since the Unix epoch; the same at each try.
    pub created_unix_ms: u64,
    /// What the adapter gave last for this message: how far it is.
    pub receipt: Option<Receipt>,
    /// Tries before this one, in this life of the daemon.
    pub tries: u32,
}

/// What is shown of an answer that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// The Archon is at work.
    Working,
    /// So much of the answer is there, from its beginning.
    Text(String),
    /// The answer's text so far is void; it begins again.
    Void,
    /// The owner is asked whether a call may be made.
    Asked(Question),
}

/// An answer that cannot be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeliverable {
    /// The answer.
    pub entry: OutboxEntry,
    /// What the platform said.
    pub reason: String,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub since_unix_ms: u64,
}

/// How a channel of an Archon is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelStatus {
    /// Whose.
    pub archon: ArchonId,
    /// Which.
    pub channel: ChannelId,
    /// Where it leads, for people.
    pub leads_to: String,
    /// How it is: `ready`, `starting` while the platform cannot be reached, `failed` where only the owner can help.
    pub state: ActorState,
    /// Since the last poll came back, whatever came of it.
    pub polled_ago: Option<Duration>,
    /// The longest time without a poll that came back well, since it was started.
    pub silence_max: Duration,
    /// The longest that a poll may take.
    pub poll_max: Duration,
    /// Polls that hung and were replaced.
    pub replaced: u32,
    /// Messages that were taken.
    pub received: u64,
    /// Answers that the platform has.
    pub delivered: u64,
    /// Answers that it will never take, given up since the daemon started.
    pub given_up: u64,
    /// Answers in hand or known to wait.
    pub waiting: u32,
    /// What is wrong now, in words.
    pub trouble: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_adapters_read_has_a_bound() {
        assert!(ReplyTo::new("").unwrap().is_empty());
        assert_eq!(ReplyTo::new("7:12").unwrap().as_str(), "7:12");
        assert!(ReplyTo::new(&"x".repeat(REPLY_TO_BYTES_MAX)).is_ok());
        assert!(ReplyTo::new(&"x".repeat(REPLY_TO_BYTES_MAX + 1)).is_err());
        assert!(Receipt::new(&"x".repeat(RECEIPT_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn a_media_id_reads_what_it_writes() {
        let id = MediaId::new([0xa7; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "a7", &"A7".repeat(32), &"zz".repeat(32), &"ä".repeat(32)] {
            assert!(bad.parse::<MediaId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_say_what_came_with_them() {
        let of = |kind, name: &str| {
            Enclosure { id: MediaId::new([1; 32]), kind, bytes: 120, name: name.into() }.told()
        };
        assert_eq!(of(EnclosureKind::Picture, ""), "[a picture of 120 bytes came with this]");
        assert_eq!(
            of(EnclosureKind::Recording, "note.ogg"),
            "[a recording `note.ogg` of 120 bytes came with this]"
        );
        let file = "[a file `a.pdf` of 120 bytes came with this; you cannot look into it]";
        assert_eq!(of(EnclosureKind::File, "a.pdf"), file);
    }

    #[test]
    fn a_person_in_a_group_is_another_one_than_alone() {
        let inbound = |group: Option<&str>| Inbound {
            key: "1".into(),
            peer: "7".parse().unwrap(),
            group: group.map(|group| group.parse().unwrap()),
            thread: None,
            text: "hi".into(),
            enclosed: Vec::new(),
            waybill: Waybill::default(),
        };
        assert_eq!(inbound(None).session_peer().unwrap().as_str(), "7");
        assert_eq!(inbound(Some("-100")).session_peer().unwrap().as_str(), "7@-100");
    }
}
