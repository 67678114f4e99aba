//! The words of the house as plain types: no I/O, no wire format, no actor.
//!
//! Reading order: [`ids`], [`characters`], [`message`], [`channel`], [`media`], [`access`], [`session`], [`attachment`], [`memory`], [`meaning`], [`generation`], [`tool`], [`spec`], [`status`].
pub mod access;
pub mod attachment;
pub mod channel;
pub mod characters;
pub mod generation;
pub mod ids;
pub mod meaning;
pub mod media;
pub mod memory;
pub mod message;
pub mod question;
pub mod session;
pub mod spec;
pub mod status;
pub mod tool;

pub use access::{
    AccessMode, AccessPolicy, Approved, CodeHash, GroupAccess, Knock, LinkAnswer, LinkChange, Linked,
    OPEN_CODES_MAX, Offered, Paired, Tier, WRONG_CODES_MAX, is_platform_id, is_recent,
};
pub use attachment::{Attachment, SEND_FILE};
pub use channel::{
    Batch, ChannelStatus, Cursor, ENCLOSURES_MAX, Enclosure, EnclosureKind, Inbound, MediaId, Parcel,
    Receipt, ReplyTo, Shown, Undeliverable, Waybill, house_key,
};
pub use characters::steers;
pub use generation::{
    AnswerForm, AnswerPart, CallRule, ChatRole, ChatTurn, Chosen, Content, Conversation, Finding,
    FinishReason, GenerationRequest, Inquiry, Passage, Prompt, Refusal, Sampling, Shape, Stretch, Token,
    TokenLogprob, Tool, ToolCall, Usage,
};
pub use ids::{
    ArchonId, ChannelId, GenerationId, IdError, InboxId, ModelId, NoteId, OutboxId, PeerId, SessionKey,
    ThreadId,
};
pub use meaning::{Embedder, Indexed, Maker, Meant, Place, Remembered, Sought, Unindexed, Vector};
pub use media::{Brought, MediaBounds, Senses};
pub use memory::{
    Kept, NOTE_CHARS_MAX, NOTES_MAX, NewNote, Note, NoteError, NotePlace, NotesOf, PeerKey, Recalled,
    TOPIC_CHARS_MAX,
};
pub use message::{Accepted, AnswerKind, InboundMessage, InboxEntry, MessageKey, OutboxEntry, TurnEvent};
pub use question::{Question, is_call_name, quoted};
pub use session::{
    Aside, Busy, Footer, HandOff, NewAnswer, NewTurn, SessionHead, SessionOptions, SessionSnapshot, Stays,
    Summary, TurnEnd, TurnRecord,
};
pub use spec::{
    ArchonLimits, ArchonSpec, ContextPolicy, FitPolicy, Priority, Route, RouteCondition, RouteRule,
};
pub use status::{
    ActorState, ArchonStatus, AskedCall, HouseStatus, ModelState, ModelStatus, PoolStatus, QueuedRequest,
    SessionStatus,
};
pub use tool::{
    AGENT, ASK_USER, CallRecord, CommandRule, Delegates, Grant, JournalEntry, Outcome, Permission, Risk,
    Skills, ToolLimits, ToolOrder, ToolPolicy, ToolSpec, ToolStep,
};
