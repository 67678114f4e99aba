//! Whether somebody may write to an Archon. Pure.
//!
//! A stranger is told nothing but a code that the owner can say yes to; what he wrote is kept nowhere.
use crate::domain::{AccessMode, AccessPolicy, PeerId, Tier};

/// The characters of a code: none that is taken for another, read or heard.
const ALPHABET: &[u8] = b"ABCDEFGHJKMNPQRSTUVWXYZ23456789";
/// Its length: 39 bits.
const CODE_LEN: usize = 8;

/// What is to be done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is taken, from somebody who may do so much.
    Known(Tier),
    /// Its writer is offered a code; the message is dropped.
    Stranger,
    /// It is dropped without a word.
    Nobody,
}

/// Judges a message by its writer, the group he wrote it in, and what the owner said of him when he was a stranger.
pub fn judge(
    policy: &AccessPolicy,
    peer: &PeerId,
    group: Option<&PeerId>,
    paired: Option<Tier>,
) -> Judgement {
    if policy.mode == AccessMode::Disabled {
        return Judgement::Nobody;
    }
    // Those that were paired count as long as pairing is on.
    let paired = paired.filter(|_| policy.mode != AccessMode::Allowlist);
    let known = policy.listed(peer).max(paired);
    if let Some(group) = group {
        let Some(group) = policy.groups.iter().find(|known| known.id == *group) else {
            return Judgement::Nobody;
        };
        return match known {
            Some(tier) => Judgement::Known(tier),
            None if group.everyone => Judgement::Known(Tier::User),
            None => Judgement::Nobody,
        };
    }
    match (known, policy.mode) {
        (Some(tier), _) => Judgement::Known(tier),
        (None, AccessMode::Open) => Judgement::Known(Tier::User),
        (None, AccessMode::Pairing) => Judgement::Stranger,
        (None, AccessMode::Allowlist | AccessMode::Disabled) => Judgement::Nobody,
    }
}

/// Makes a code of random bytes, all codes being equally likely; `None`: there were too few bytes for that.
pub fn code(random: &[u8]) -> Option<String> {
    let most = u8::MAX - u8::MAX % u8::try_from(ALPHABET.len()).ok()?;
    let fair = random.iter().filter(|byte| **byte < most);
    let letters = fair.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
    let code: String = letters.take(CODE_LEN).map(|letter| char::from(*letter)).collect();
    (code.len() == CODE_LEN).then_some(code)
}

/// A code as it was meant: people write it small, and with spaces and dashes in it.
pub fn normal_code(written: &str) -> String {
    written.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::GroupAccess;

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn policy(mode: AccessMode) -> AccessPolicy {
        AccessPolicy {
            mode,
            owners: vec![id("1")],
            users: vec![id("2")],
            groups: vec![
                GroupAccess { id: id("-10"), everyone: false },
                GroupAccess { id: id("-20"), everyone: true },
            ],
        }
    }

    #[test]
    fn whoever_writes_is_judged_by_the_table() {
        use AccessMode::{Allowlist, Disabled, Open, Pairing};
        use Judgement::{Known, Nobody, Stranger};
        use Tier::{Owner, User};
        // Mode; then the owner, the user, one who was paired, a stranger: alone, in a group of the known, in an open group, elsewhere.
        let table = [
            (Pairing, "1", None, [Known(Owner), Known(Owner), Known(Owner), Nobody]),
            (Pairing, "2", None, [Known(User), Known(User), Known(User), Nobody]),
            (Pairing, "3", Some(Owner), [Known(Owner), Known(Owner), Known(Owner), Nobody]),
            (Pairing, "2", Some(Owner), [Known(Owner), Known(Owner), Known(Owner), Nobody]),
            (Pairing, "4", None, [Stranger, Nobody, Known(User), Nobody]),
            (Allowlist, "1", None, [Known(Owner), Known(Owner), Known(Owner), Nobody]),
            (Allowlist, "3", Some(Owner), [Nobody, Nobody, Known(User), Nobody]),
            (Allowlist, "4", None, [Nobody, Nobody, Known(User), Nobody]),
            (Open, "1", None, [Known(Owner), Known(Owner), Known(Owner), Nobody]),
            (Open, "4", None, [Known(User), Nobody, Known(User), Nobody]),
            (Disabled, "1", None, [Nobody; 4]),
            (Disabled, "4", None, [Nobody; 4]),
        ];
        for (mode, peer, paired, expected) in table {
            let places = [None, Some("-10"), Some("-20"), Some("-30")];
            for (place, expected) in places.into_iter().zip(expected) {
                let group = place.map(id);
                let judged = judge(&policy(mode), &id(peer), group.as_ref(), paired);
                assert_eq!(judged, expected, "{mode:?}, {peer} in {place:?}");
            }
        }
    }

    #[test]
    fn codes_are_fair_and_read_as_people_write_them() {
        assert_eq!(code(&[0, 1, 2, 3, 30, 31, 32, 247]).as_deref(), Some("ABCD9AB9"));
        assert_eq!(code(&[255; 64]), None, "these would favour the first letters");
        assert_eq!(code(&[0; 7]), None);
        let mut seen = std::collections::BTreeMap::new();
        for byte in 0..=u8::MAX {
            if let Some(code) = code(&[byte; 8]) {
                *seen.entry(code).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), ALPHABET.len());
        assert!(seen.values().all(|count| *count == 8), "{seen:?}");
        assert_eq!(normal_code(" abcd-2345 \n"), "ABCD2345");
    }
}
