//! Who opens, seals and signs for an Archon: its key in this process, or a program elsewhere that has the key (NIP-46,
//! <https://github.com/nostr-protocol/nips/blob/master/46.md>).
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use archond_actors::ports::ChannelFault;
use nostr::event::{AsyncSignEvent, Event, UnsignedEvent};
use nostr::key::{AsyncGetPublicKey, Keys, PublicKey};
use nostr::nips::nip44::AsyncNip44;
use nostr::nips::nip46::NostrConnectUri;
use nostr_connect::client::NostrConnect;
use nostr_connect::error::ErrorKind;

/// Longest wait for each word of a signer elsewhere. A person may have to say yes there, but not to each message.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// Why something was not opened, sealed or signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignerError {
    /// It cannot be done with this key, and never will.
    #[error("{0}")]
    Refused(String),
    /// The key cannot be had, or who has it does not let this house use it: only the owner can help.
    #[error("{0}")]
    Denied(String),
    /// The signer cannot be reached, or does not answer: later it may.
    #[error("the remote signer does not answer: {0}")]
    Away(String),
}

impl From<SignerError> for ChannelFault {
    fn from(error: SignerError) -> Self {
        match error {
            SignerError::Refused(reason) => Self::Refused { reason },
            SignerError::Denied(detail) => Self::Barred { detail },
            SignerError::Away(_) => Self::Transient { detail: error.to_string() },
        }
    }
}

/// The signer.
#[derive(Debug, Clone)]
pub(super) enum Signer {
    /// The key itself.
    Own(Box<Keys>),
    /// A program elsewhere.
    Remote(Box<NostrConnect>),
}

impl Signer {
    /// A signer elsewhere, by its address (`bunker://…`) and the key that it knows this program by. Connects when it is asked first.
    pub(super) fn remote(address: &str, client: Keys) -> Result<Self, String> {
        let uri =
            NostrConnectUri::parse(address).ok().filter(|uri| matches!(uri, NostrConnectUri::Bunker { .. }));
        let uri = uri.ok_or("what lies there is no address of a remote signer: it needs `bunker://…`")?;
        if uri.relays().is_empty() {
            return Err("the address of the remote signer names no relay".to_owned());
        }
        let signer = NostrConnect::new(uri, client, ANSWER_MAX, None).map_err(|error| error.to_string())?;
        Ok(Self::Remote(Box::new(signer)))
    }
}

fn of_remote(error: &nostr_connect::error::Error) -> SignerError {
    match error.kind() {
        ErrorKind::Rejected | ErrorKind::Invalid => {
            SignerError::Denied(format!("the remote signer says no: {error}"))
        }
        _ => SignerError::Away(error.to_string()),
    }
}

fn of_own(error: impl std::fmt::Display) -> SignerError {
    SignerError::Refused(error.to_string())
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SignerError>> + Send + 'a>>;

impl AsyncGetPublicKey for Signer {
    type Error = SignerError;

    fn get_public_key_async(&self) -> Answer<'_, PublicKey> {
        Box::pin(async move {
            match self {
                Self::Own(keys) => Ok(keys.public_key()),
                Self::Remote(signer) => {
                    signer.get_public_key_async().await.map_err(|error| of_remote(&error))
                }
            }
        })
    }
}

impl AsyncSignEvent for Signer {
    type Error = SignerError;

    fn sign_event_async(&self, unsigned: UnsignedEvent) -> Answer<'_, Event> {
        Box::pin(async move {
            match self {
                Self::Own(keys) => keys.sign_event_async(unsigned).await.map_err(of_own),
                Self::Remote(signer) => {
                    signer.sign_event_async(unsigned).await.map_err(|error| of_remote(&error))
                }
            }
        })
    }
}

impl AsyncNip44 for Signer {
    type Error = SignerError;

    fn nip44_encrypt_async<'a>(&'a self, to: &'a PublicKey, content: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            match self {
                Self::Own(keys) => keys.nip44_encrypt_async(to, content).await.map_err(of_own),
                Self::Remote(signer) => {
                    signer.nip44_encrypt_async(to, content).await.map_err(|error| of_remote(&error))
                }
            }
        })
    }

    fn nip44_decrypt_async<'a>(&'a self, from: &'a PublicKey, payload: &'a str) -> Answer<'a, String> {
        Box::pin(async move {
            match self {
                Self::Own(keys) => keys.nip44_decrypt_async(from, payload).await.map_err(of_own),
                Self::Remote(signer) => {
                    signer.nip44_decrypt_async(from, payload).await.map_err(|error| of_remote(&error))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_signer_and_where_it_is() {
        let keys = Keys::generate();
        let of = |address: &str| Signer::remote(address, Keys::generate()).map(drop);
        let hex = keys.public_key().to_hex();
        assert_eq!(of(&format!("bunker://{hex}?relay=wss://relay.example.org&secret=x")), Ok(()));
        for wrong in [
            &hex,
            "nsec1",
            "",
            &format!("nostrconnect://{hex}?relay=wss://relay.example.org&secret=x&perms="),
        ] {
            assert!(of(wrong).unwrap_err().contains("bunker://"), "{wrong}");
        }
        assert!(of(&format!("bunker://{hex}")).is_err());
    }
}
