//! Answers the commands of those who write from several places: which of them are one person.
use super::actor::HarnessState;
use crate::domain::{AGENT, InboxEntry, LinkAnswer, LinkChange, Linked, Offered, PeerKey};
use crate::linking::LINKED_MAX;
use crate::memory::MemoryError;

/// Where each peer stands for himself: programs have no other place, and Archons have masters.
const PLACELESS: [&str; 2] = ["api", AGENT];

/// Said where others read along.
pub(super) const NOT_ALONE: &str = "That is to be said where you and I are alone.";
/// Longest name of a peer that is shown whole; of a longer one, like a public key, its beginning.
const PEER_CHARS_MAX: usize = 20;
/// What is shown of a longer one.
const PEER_CHARS_SHOWN: usize = 8;

impl HarnessState {
    /// Gives a code, or takes one.
    pub(super) async fn link(&self, entry: &InboxEntry, words: &[&str]) -> Result<String, MemoryError> {
        let with = entry.session.peer_key();
        if !is_private(&with) {
            return Ok(NOT_ALONE.to_owned());
        }
        let (memory, now) = (&self.args.memory, self.args.clock.now_unix_ms());
        if words.is_empty() {
            let Some((code, hash)) = self.args.codes.draw_code() else {
                return Ok("There are no codes to be had just now; try again.".to_owned());
            };
            let answer = memory.link(with.clone(), LinkChange::Offer(hash), now).await?;
            return Ok(offered_text(&answer, &code, &memory.linked(&with).await?));
        }
        let hash = self.args.codes.hash_code(&words.concat());
        Ok(joined_text(&memory.link(with, LinkChange::Join(hash), now).await?))
    }

    /// Parts this place from the others.
    pub(super) async fn unlink(&self, entry: &InboxEntry) -> Result<String, MemoryError> {
        let (with, now) = (entry.session.peer_key(), self.args.clock.now_unix_ms());
        let parted = self.args.memory.link(with, LinkChange::Part, now).await?;
        Ok(match parted {
            LinkAnswer::Parted(true) => "This place stands for itself again.".to_owned(),
            _ => "This place was linked with no other.".to_owned(),
        })
    }
}

/// Whether nobody else reads along: in a group a peer is called `member@group`.
pub(super) fn is_private(with: &PeerKey) -> bool {
    !with.peer.as_str().contains('@') && !PLACELESS.contains(&with.channel.as_str())
}

/// A platform, as people name it.
pub(super) fn platform(place: &PeerKey) -> &str {
    match place.channel.as_str() {
        "cli" => "terminal",
        channel => channel,
    }
}

/// A place, as people name it.
pub(super) fn place_name(place: &PeerKey) -> String {
    let (platform, peer) = (platform(place), place.peer.as_str());
    match peer.chars().count() {
        0..=PEER_CHARS_MAX => format!("{platform}/{peer}"),
        _ => format!("{platform}/{}…", peer.chars().take(PEER_CHARS_SHOWN).collect::<String>()),
    }
}

fn places(peers: &[PeerKey]) -> String {
    peers.iter().map(place_name).collect::<Vec<_>>().join(", ")
}

fn offered_text(answer: &LinkAnswer, code: &str, others: &[PeerKey]) -> String {
    let known = match others {
        [] => String::new(),
        others => format!("This place is linked with {}.\n", places(others)),
    };
    let said = match answer {
        LinkAnswer::Offered(Offered::Fresh) => format!(
            "Say `/link {code}` to me in the other place within an hour; say it to nobody else. Nothing is shared by that alone: it lets `/handoff` move a conversation from one to the other."
        ),
        LinkAnswer::Offered(Offered::TooSoon) => {
            "You got enough codes for this hour; the last one holds.".to_owned()
        }
        _ => "Too many codes are open just now; try again in an hour.".to_owned(),
    };
    format!("{known}{said}")
}

fn joined_text(answer: &LinkAnswer) -> String {
    match answer {
        LinkAnswer::Joined(Linked::Joined(others)) => {
            format!(
                "Linked with {}. Nothing is shared by that alone: `/handoff` moves a conversation from one place to another, `/unlink` ends it.",
                places(others)
            )
        }
        LinkAnswer::Joined(Linked::Itself) => {
            "That is the code of this place: say it in the other one.".to_owned()
        }
        LinkAnswer::Joined(Linked::Wrong { left }) => {
            format!(
                "No such code is open. {left} wrong ones are left for this hour; `/link` in the other place gives a new one."
            )
        }
        LinkAnswer::Joined(Linked::Full) => format!("More than {LINKED_MAX} places cannot be linked."),
        _ => "That were too many wrong codes; try again in an hour.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_given_only_where_nobody_else_reads_along() {
        let table = [
            ("ezra/telegram/7", true),
            ("ezra/cli/uid0", true),
            ("ezra/telegram/7@-100", false),
            ("ezra/api/key", false),
            ("ezra/agent/electra@cli:uid0", false),
        ];
        for (with, private) in table {
            assert_eq!(is_private(&with.parse().unwrap()), private, "{with}");
        }
    }

    #[test]
    fn what_came_of_a_code_is_said() {
        let others: Vec<PeerKey> = vec!["ezra/telegram/7".parse().unwrap()];
        let table = [
            (Linked::Joined(others.clone()), "Linked with telegram/7."),
            (Linked::Itself, "That is the code of this place"),
            (Linked::Wrong { left: 2 }, "No such code is open. 2 wrong ones"),
            (Linked::Locked, "That were too many wrong codes"),
            (Linked::Full, "More than 8 places"),
        ];
        for (linked, text) in table {
            assert!(joined_text(&LinkAnswer::Joined(linked.clone())).starts_with(text), "{linked:?}");
        }
        let offered = |of| offered_text(&LinkAnswer::Offered(of), "ABCD2345", &others);
        assert!(
            offered(Offered::Fresh).contains("This place is linked with telegram/7.\nSay `/link ABCD2345`")
        );
        assert!(
            !offered(Offered::TooSoon).contains("ABCD2345")
                && !offered(Offered::TooMany).contains("ABCD2345")
        );
    }
}
