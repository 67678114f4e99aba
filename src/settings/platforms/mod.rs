//! What is each platform's own in the file of a channel.
pub mod gitea;
pub mod nostr;
pub mod telegram;
