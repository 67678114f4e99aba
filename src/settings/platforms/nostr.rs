//! The settings of a Nostr channel: whose key, which relays, what it tells about itself.
use std::ops::RangeInclusive;

use archond_actors::domain::{AccessPolicy, PeerId};
use nostr::key::PublicKey;
use nostr::types::RelayUrl;

use crate::settings::reader::{Group, Located, any, within};
use crate::settings::secret::{self, KeyReference};

/// The platform's name, as its file is called.
pub const NOSTR: &str = "nostr";
/// Relays of each kind: others publish to all that are named, and each one is a connection that is held.
const RELAYS_MAX: usize = 8;
/// Messages of one writer in a minute that are taken at once, unless it is set.
const PER_MINUTE: u32 = 30;
/// Wraps in a minute that are opened, whoever sent them, unless it is set: opening one takes a third of a millisecond.
const OPENED_PER_MINUTE: u32 = 1200;
/// Most bits of work that a wrap may be asked for: more takes a phone minutes.
const POW_BITS: RangeInclusive<u32> = 0..=28;
/// Longest text of the profile, in bytes.
const PROFILE_BYTES_MAX: usize = 2000;

/// Where the key is by which an Archon is known on Nostr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NostrKey {
    /// A secret of this machine: `nsec1…` or 64 hexadecimal digits.
    Secret(KeyReference),
    /// With a program elsewhere, which signs for the Archon (NIP-46).
    Remote {
        /// Where its address is, `bunker://…`: whoever has that can use the key.
        address: KeyReference,
        /// Where the key is that it knows this house by.
        client: KeyReference,
    },
}

/// What is told to everybody about the Archon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NostrProfile {
    /// Its name.
    pub name: Option<String>,
    /// A line about it.
    pub about: Option<String>,
    /// The address of a picture.
    pub picture: Option<String>,
}

/// A Nostr channel's settings, after all checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NostrSettings {
    /// Its key.
    pub key: NostrKey,
    /// Where its profile and its lists of relays are published, and where those of others are looked for.
    pub relays: Vec<RelayUrl>,
    /// Its inbox: where others leave their messages, and where it listens.
    pub dm_relays: Vec<RelayUrl>,
    /// Whether messages of the old kind (NIP-04) are taken, too: everybody can see who writes to whom, and when.
    pub nip04: bool,
    /// Whether a copy of each answer is left in the own inbox, for other programs that have the same key.
    pub self_copy: bool,
    /// What is told to everybody.
    pub profile: NostrProfile,
    /// Bits of proof of work that each wrap must carry (NIP-13); `None`: none.
    pub pow: Option<u8>,
    /// Messages of one writer in a minute that are taken at once; what is more is taken later.
    pub messages_per_minute: u32,
    /// Wraps in a minute that are opened, whoever sent them.
    pub wraps_per_minute: u32,
}

/// Reads what is Nostr's own; the caller reads the part that all platforms share, and finishes the group.
pub fn read(group: &mut Group<'_>) -> Option<NostrSettings> {
    let key = group.required::<String>(
        "key",
        "where the secret key is, like \"file:/home/me/ezra.nsec\"",
        |text| text.parse::<KeyReference>().map(drop),
    );
    let signer = secret::optional(group, "signer");
    let relays = relays(group, "relays");
    let mut dm_relays = self::relays(group, "dm_relays");
    if dm_relays.is_empty() {
        dm_relays.clone_from(&relays);
    }
    if dm_relays.is_empty() {
        let hint = Some("for example `relays: [\"wss://relay.example.org\"]`".to_owned());
        group.fault("relays", "names no relay that could be used: where shall people write?", hint);
    }
    let nip04 = group.value("nip04", false, any);
    if nip04 && signer.is_some() {
        group.fault(
            "nip04",
            "messages of the old kind need the key itself, which a remote signer keeps",
            None,
        );
    }
    let self_copy = group.value("self_copy", false, any);
    let pow = group.value("pow", 0_u32, within(POW_BITS, " bits"));
    let messages_per_minute = group.value("messages_per_minute", PER_MINUTE, within(1..=6000, ""));
    let wraps_per_minute = group.value("wraps_per_minute", OPENED_PER_MINUTE, within(10..=60_000, ""));
    let profile = profile(group.group("profile"));
    Some(NostrSettings {
        key: key_of(key?.value.parse().ok()?, signer),
        relays,
        dm_relays,
        nip04,
        self_copy,
        profile,
        pow: u8::try_from(pow).ok().filter(|bits| *bits > 0),
        messages_per_minute,
        wraps_per_minute,
    })
}

fn key_of(key: KeyReference, signer: Option<KeyReference>) -> NostrKey {
    match signer {
        Some(address) => NostrKey::Remote { address, client: key },
        None => NostrKey::Secret(key),
    }
}

fn profile(mut group: Group<'_>) -> NostrProfile {
    let mut text = |name: &'static str| group.value(name, None::<String>, is_short);
    let profile = NostrProfile { name: text("name"), about: text("about"), picture: text("picture") };
    if profile.picture.as_deref().is_some_and(|address| url::Url::parse(address).is_err()) {
        group.fault(
            "picture",
            "`picture` needs the address of a picture, like \"https://example.org/ezra.png\"",
            None,
        );
    }
    group.finish();
    profile
}

#[expect(clippy::ref_option, reason = "a check is given a reference to the setting's own type")]
fn is_short(text: &Option<String>) -> Result<(), String> {
    let bytes = text.as_ref().map_or(0, String::len);
    (bytes <= PROFILE_BYTES_MAX)
        .then_some(())
        .ok_or_else(|| format!("must have at most {PROFILE_BYTES_MAX} bytes, has {bytes}"))
}

fn relays(group: &mut Group<'_>, name: &'static str) -> Vec<RelayUrl> {
    let listed: Vec<Located<String>> = group.list::<String>(name, &[], |text| relay(text).map(drop));
    if listed.len() > RELAYS_MAX {
        group.fault(name, format!("`{name}` has {} relays; {RELAYS_MAX} are the most", listed.len()), None);
    }
    let mut relays: Vec<RelayUrl> = Vec::new();
    for url in listed.iter().filter_map(|text| relay(&text.value).ok()) {
        if !relays.contains(&url) {
            relays.push(url);
        }
    }
    relays
}

/// A relay that the owner names. Without encryption only in his own network.
fn relay(text: &str) -> Result<RelayUrl, String> {
    let url = RelayUrl::parse(text)
        .map_err(|_| format!("needs relays like \"wss://relay.example.org\", not `{text}`"))?;
    let own = url.is_localhost() || url.is_local_addr();
    match url.scheme().is_secure() || own {
        true => Ok(url),
        false => Err(format!("must not lead to {text} without encryption: use `wss://`")),
    }
}

/// A person's public key as 64 hexadecimal digits, which is how the house knows him; `npub1…` is taken, too.
pub fn person(text: &str) -> Result<String, String> {
    let wrong = || format!("must be a public key, as `npub1…` or 64 hexadecimal digits, not `{text}`");
    PublicKey::parse(text).map(|key| key.to_hex()).map_err(|_| wrong())
}

/// The people of a policy by their keys in hexadecimal digits. Groups are none of Nostr's private messages.
pub fn by_keys(group: &Group<'_>, mut access: AccessPolicy) -> AccessPolicy {
    for (name, people) in [("owners", &mut access.owners), ("users", &mut access.users)] {
        for known in people {
            match person(known.as_str()).and_then(|hex| PeerId::new(&hex).map_err(|error| error.to_string()))
            {
                Ok(hex) => *known = hex,
                Err(rule) => group.fault(name, format!("`{name}` {rule}"), None),
            }
        }
    }
    if !access.groups.is_empty() {
        group.fault("groups", "`groups` are not known on Nostr: it brings private messages only", None);
    }
    access
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::reader::Sheet;

    fn settings(text: &str) -> Result<NostrSettings, Vec<String>> {
        let sheet = Sheet::new(Path::new("nostr.ron"), text.to_owned());
        let mut top = sheet.top().unwrap();
        let settings = read(&mut top);
        top.finish();
        let faults = |faults: Vec<crate::settings::Fault>| faults.iter().map(ToString::to_string).collect();
        sheet.finish().map(|_| settings.unwrap()).map_err(faults)
    }

    #[test]
    fn little_is_needed_and_the_inbox_is_at_the_relays_unless_said() {
        let least =
            settings(r#"(key: "env:EZRA_NSEC", relays: ["wss://a.example", "wss://a.example"])"#).unwrap();
        assert_eq!(least.key, NostrKey::Secret(KeyReference::Variable("EZRA_NSEC".into())));
        assert_eq!((least.relays.len(), &least.dm_relays), (1, &least.relays));
        assert_eq!((least.nip04, least.self_copy, least.pow), (false, false, None));
        let remote = settings(r#"(key: "file:/c", signer: "file:/s", relays: ["wss://a.example"])"#).unwrap();
        let (address, client) = (KeyReference::File("/s".into()), KeyReference::File("/c".into()));
        assert_eq!(remote.key, NostrKey::Remote { address, client });
        let faults =
            settings(r#"(key: "file:/c", signer: "bunker://x", nip04: true, relays: ["wss://a.example"])"#)
                .unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains("is not written into the settings")), "{faults:?}");
        let faults =
            settings(r#"(key: "file:/c", signer: "file:/s", nip04: true, relays: ["wss://a.example"])"#)
                .unwrap_err();
        assert!(faults[0].contains("remote signer keeps"), "{faults:?}");
        let all = settings(
            r#"(key: "credential:ezra", relays: ["wss://a.example"], dm_relays: ["ws://127.0.0.1:7000"], nip04: true, pow: 12,
                profile: (name: "Ezra", picture: "https://a.example/e.png"))"#,
        )
        .unwrap();
        assert_eq!(all.key, NostrKey::Secret(KeyReference::Credential("ezra".into())));
        assert_eq!((all.dm_relays[0].as_str(), all.nip04, all.pow), ("ws://127.0.0.1:7000", true, Some(12)));
        assert_eq!(all.profile.name.as_deref(), Some("Ezra"));
    }

    #[test]
    fn what_would_not_work_or_not_be_safe_is_a_fault() {
        let table = [
            (r#"(relays: ["wss://a.example"])"#, "`key` is missing"),
            (
                r#"(key: "nsec1abc", relays: ["wss://a.example"])"#,
                "a secret is not written into the settings",
            ),
            (r#"(key: "env:K")"#, "no relay"),
            (r#"(key: "env:K", relays: ["https://a.example"])"#, "needs relays like"),
            (r#"(key: "env:K", relays: ["ws://a.example"])"#, "without encryption"),
            (r#"(key: "env:K", relays: ["wss://a.example"], pow: 40)"#, "0 to 28 bits"),
            (
                r#"(key: "env:K", relays: ["wss://a.example"], profile: (picture: "x"))"#,
                "address of a picture",
            ),
            (r#"(key: "env:K", relays: ["wss://a.example"], relay: 1)"#, "did you mean `relays`?"),
        ];
        for (text, said) in table {
            let faults = settings(text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(said)), "{text}: {faults:?}");
        }
    }

    #[test]
    fn people_are_known_by_their_key_however_it_is_written() {
        let hex = "7e7e9c42a91bfef19fa929e5fda1b72e0ebc1a4c1141673e2794234d86addf4e";
        let npub = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
        assert_eq!(person(hex).as_deref(), Ok(hex));
        assert_eq!(person(npub).as_deref(), Ok(hex));
        assert!(archond_actors::domain::is_platform_id(hex).is_ok());
        for bad in ["", "maria", "@maria", "nsec1", "7e7e"] {
            assert!(person(bad).is_err(), "{bad}");
        }
        let sheet = Sheet::new(Path::new("nostr.ron"), format!("(owners: [\"{npub}\"])"));
        let top = sheet.top().unwrap();
        let owned =
            |id: &str| AccessPolicy { owners: vec![PeerId::new(id).unwrap()], ..AccessPolicy::default() };
        assert_eq!(by_keys(&top, owned(npub)), owned(hex));
        by_keys(&top, owned("7"));
        top.finish();
        let faults = sheet.finish().unwrap_err();
        assert!(faults.iter().any(|fault| fault.to_string().contains("must be a public key")), "{faults:?}");
    }
}
