//! The key by which an Archon is known on Nostr: it opens what comes, and seals and signs what goes. Nothing of it is ever shown.
use nostr::event::{Event, EventBuilder, FinalizeEventAsync, UnsignedEvent};
use nostr::key::{AsyncGetPublicKey, Keys, PublicKey};
use nostr::nips::nip04;
use nostr::nips::nip19::ToBech32;
use nostr::nips::nip44::AsyncNip44;
use nostr::nips::nip59::{GiftWrapBuilder, UnwrappedGift};
use sha2::{Digest, Sha256};

use super::signer::{Signer, SignerError};
use crate::settings::KeyReference;
use crate::settings::platforms::nostr::NostrKey;

/// Before what the start of a message of the old kind is drawn from, so that it is of no use for anything else.
const PURPOSE: &[u8] = b"archond nostr initialization vector\n";

/// The key.
#[derive(Clone)]
pub(super) struct Identity {
    public_key: PublicKey,
    signer: Signer,
}

impl Identity {
    /// Reads it, or asks who has it.
    pub(super) async fn load(key: &NostrKey) -> Result<Self, SignerError> {
        let key = key.clone();
        let read = tokio::task::spawn_blocking(move || read(&key)).await;
        let signer =
            read.map_err(|error| SignerError::Away(error.to_string()))?.map_err(SignerError::Denied)?;
        Ok(Self { public_key: signer.get_public_key_async().await?, signer })
    }

    /// By this others know it.
    pub(super) fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// The same, as people write it.
    pub(super) fn npub(&self) -> String {
        npub(&self.public_key())
    }

    /// For whoever signs on its behalf.
    pub(super) fn signer(&self) -> Signer {
        self.signer.clone()
    }

    /// Opens a wrap. Checks both signatures, and that who signed the seal also wrote what is in it.
    pub(super) async fn unwrap(&self, wrap: &Event) -> Result<UnwrappedGift, SignerError> {
        let unwrapped = UnwrappedGift::from_gift_wrap_async(&self.signer, wrap).await;
        match unwrapped.map_err(|error| signer_error(&error)) {
            // A signer elsewhere says the same of what is broken and of what it may not do.
            Err(SignerError::Denied(why)) if self.may_open().await => Err(SignerError::Refused(why)),
            other => other,
        }
    }

    /// Whether the signer opens what is sealed by this key for this key.
    async fn may_open(&self) -> bool {
        let Ok(sealed) = self.signer.nip44_encrypt_async(&self.public_key, "a try").await else {
            return false;
        };
        self.signer.nip44_decrypt_async(&self.public_key, &sealed).await.is_ok()
    }

    /// Seals and wraps, with a new key and a time up to two days back each time.
    pub(super) async fn wrap(&self, rumor: UnsignedEvent, to: PublicKey) -> Result<Event, SignerError> {
        let wrap = GiftWrapBuilder::new(to, rumor).finalize_async(&self.signer).await;
        wrap.map_err(|error| signer_error(&error))
    }

    /// Signs.
    pub(super) async fn sign(&self, event: EventBuilder) -> Result<Event, SignerError> {
        event.finalize_async(&self.signer).await.map_err(|error| signer_error(&error))
    }

    fn keys(&self) -> Result<&Keys, SignerError> {
        match &self.signer {
            Signer::Own(keys) => Ok(keys),
            Signer::Remote(_) => {
                Err(SignerError::Refused("messages of the old kind need the key itself".to_owned()))
            }
        }
    }

    /// Opens a message of the old kind.
    pub(super) fn open_old(&self, from: &PublicKey, content: &str) -> Result<String, SignerError> {
        let opened = nip04::decrypt(self.keys()?.secret_key(), from, content);
        opened.map_err(|error| SignerError::Refused(error.to_string()))
    }

    /// Encrypts a message of the old kind. The same text at the same time gives the same bytes: a second try has the id of the first one.
    pub(super) fn seal_old(&self, to: &PublicKey, at: u64, text: &str) -> Result<String, SignerError> {
        let secret = self.keys()?.secret_key();
        let mut hasher = Sha256::new();
        hasher.update(PURPOSE);
        hasher.update(secret.as_secret_bytes());
        hasher.update(to.as_bytes());
        hasher.update(at.to_le_bytes());
        hasher.update(text.as_bytes());
        let hash: [u8; 32] = hasher.finalize().into();
        let mut vector = [0; 16];
        vector.iter_mut().zip(hash).for_each(|(byte, drawn)| *byte = drawn);
        let sealed = nip04::encrypt_with_iv(secret, to, text, vector);
        sealed.map_err(|error| SignerError::Refused(error.to_string()))
    }
}

#[cfg(test)]
impl Identity {
    /// A new one of this process.
    pub(super) fn generate() -> Self {
        let keys = Keys::generate();
        Self { public_key: keys.public_key(), signer: Signer::Own(Box::new(keys)) }
    }

    pub(super) fn own(&self) -> Keys {
        self.keys().unwrap().clone()
    }
}

/// Blocks.
fn read(key: &NostrKey) -> Result<Signer, String> {
    let reveal = |reference: &KeyReference| reference.reveal().map_err(|error| format!("the key {error}"));
    let keys = |reference: &KeyReference| {
        let wrong = "what lies there is no secret key: it needs `nsec1…` or 64 hexadecimal digits";
        Keys::parse(&reveal(reference)?).map_err(|_| wrong.to_owned())
    };
    match key {
        NostrKey::Secret(reference) => Ok(Signer::Own(Box::new(keys(reference)?))),
        NostrKey::Remote { address, client } => Signer::remote(&reveal(address)?, keys(client)?),
    }
}

/// What the signer said, somewhere inside of what the library says of it.
fn signer_error(error: &(dyn std::error::Error + 'static)) -> SignerError {
    let mut inner = Some(error);
    while let Some(error) = inner {
        if let Some(said) = error.downcast_ref::<SignerError>() {
            return said.clone();
        }
        inner = error.source();
    }
    SignerError::Refused(error.to_string())
}

/// A new key: its secret, for a file that only its owner can read, and what others know it by.
pub(super) fn generate() -> (String, String) {
    let keys = Keys::generate();
    // It cannot fail: the error has no value.
    (keys.secret_key().to_bech32().unwrap_or_default(), npub(&keys.public_key()))
}

/// A public key, as people write it.
pub(super) fn npub(key: &PublicKey) -> String {
    key.to_bech32().unwrap_or_else(|_| key.to_hex())
}
