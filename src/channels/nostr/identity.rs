//! The key by which an Archon is known on Nostr: it opens what comes, and seals and signs what goes. Nothing of it is ever shown.
use nostr::event::{Event, EventBuilder, FinalizeEvent, UnsignedEvent};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip04;
use nostr::nips::nip19::ToBech32;
use nostr::nips::nip59::{GiftWrapBuilder, UnwrappedGift};
use sha2::{Digest, Sha256};

use crate::settings::platforms::nostr::NostrKey;

/// Before what the start of a message of the old kind is drawn from, so that it is of no use for anything else.
const PURPOSE: &[u8] = b"archond nostr initialization vector\n";

/// The key.
#[derive(Clone)]
pub(super) struct Identity {
    keys: Keys,
}

impl Identity {
    /// Reads it. Blocks.
    pub(super) fn load(key: &NostrKey) -> Result<Self, String> {
        let NostrKey::Secret(reference) = key;
        let secret = reference.reveal().map_err(|error| format!("the key {error}"))?;
        let keys = Keys::parse(&secret)
            .map_err(|_| "what lies there is no secret key: it needs `nsec1…` or 64 hexadecimal digits")?;
        Ok(Self { keys })
    }

    /// A new one.
    pub(super) fn generate() -> Self {
        Self { keys: Keys::generate() }
    }

    /// By this others know it.
    pub(super) fn public_key(&self) -> PublicKey {
        self.keys.public_key()
    }

    /// The same, as people write it.
    pub(super) fn npub(&self) -> String {
        npub(&self.public_key())
    }

    /// The secret, for a file that only its owner can read.
    pub(super) fn nsec(&self) -> String {
        // It cannot fail: the error has no value.
        self.keys.secret_key().to_bech32().unwrap_or_default()
    }

    /// For whoever signs on its behalf.
    pub(super) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// Opens a wrap. Checks both signatures, and that who signed the seal also wrote what is in it.
    pub(super) fn unwrap(&self, wrap: &Event) -> Result<UnwrappedGift, String> {
        UnwrappedGift::from_gift_wrap(&self.keys, wrap).map_err(|error| error.to_string())
    }

    /// Seals and wraps, with a new key and a time up to two days back each time.
    pub(super) fn wrap(&self, rumor: UnsignedEvent, to: PublicKey) -> Result<Event, String> {
        GiftWrapBuilder::new(to, rumor).finalize(&self.keys).map_err(|error| error.to_string())
    }

    /// Signs.
    pub(super) fn sign(&self, event: EventBuilder) -> Result<Event, String> {
        event.finalize(&self.keys).map_err(|error| error.to_string())
    }

    /// Opens a message of the old kind.
    pub(super) fn open_old(&self, from: &PublicKey, content: &str) -> Result<String, String> {
        nip04::decrypt(self.keys.secret_key(), from, content).map_err(|error| error.to_string())
    }

    /// Encrypts a message of the old kind. The same text at the same time gives the same bytes: a second try has the id of the first one.
    pub(super) fn seal_old(&self, to: &PublicKey, at: u64, text: &str) -> Result<String, String> {
        let mut hasher = Sha256::new();
        hasher.update(PURPOSE);
        hasher.update(self.keys.secret_key().as_secret_bytes());
        hasher.update(to.as_bytes());
        hasher.update(at.to_le_bytes());
        hasher.update(text.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let mut vector = [0; 16];
        vector.iter_mut().zip(hash).for_each(|(byte, drawn)| *byte = drawn);
        nip04::encrypt_with_iv(self.keys.secret_key(), to, text, vector).map_err(|error| error.to_string())
    }
}

/// A public key, as people write it.
pub(super) fn npub(key: &PublicKey) -> String {
    key.to_bech32().unwrap_or_else(|_| key.to_hex())
}
