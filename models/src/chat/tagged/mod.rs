//! Models that write their calls as JSON behind a tag, and their thoughts between tags: ChatML and most others.
mod parse;
mod tags;

pub(super) use parse::TaggedReader;
pub(super) use tags::{CALL, RESPONSE, Tags, is_tag};
