//! Whether an Archon may hand a task to another one, and as whom that one sees it. Pure.
//!
//! Who handed a task on, and for whom, stands in the name of the peer: durable, never shared between peers, and read back from there.
use crate::command::Intent;
use crate::domain::{AGENT, ArchonId, ChannelId, Delegates, InboxId, PeerId, SessionKey};

/// Stands between Archons who handed on; no name of an Archon holds it.
const THEN: char = '>';
/// Stands before the channel of the person.
const FOR: char = '@';
/// Stands before the person, as that channel knows him.
const AS: char = ':';

/// Why a task is not handed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The profile does not name the other one.
    #[error("the profile names {} for tasks, and not {to}", listed(.known))]
    NotNamed {
        /// Who was meant.
        to: ArchonId,
        /// Who may be asked.
        known: Vec<ArchonId>,
    },
    /// It has a part in the same task already.
    #[error("{to} handed this task on itself and waits for the answer; do it without")]
    Cycle {
        /// Who was meant.
        to: ArchonId,
    },
    /// It was handed on often enough.
    #[error("this task was handed on {times} times, and no more is allowed; do it without")]
    TooDeep {
        /// How often.
        times: usize,
    },
    /// All its places are taken, and some wait for us.
    #[error("{to} has no free place, and waits for {from} itself; do it without, or try again later")]
    Standstill {
        /// Who was meant.
        to: ArchonId,
        /// Who wants to hand on.
        from: ArchonId,
    },
    /// The house would take it for a command.
    #[error("a task cannot begin with `/`, like a command; say it in words")]
    Command,
    /// The names together are too long for that of a peer.
    #[error("the names of {chain} are too long together; only shorter ones can hand tasks on so often")]
    TooLong {
        /// What should have been the peer.
        chain: String,
    },
}

fn listed(archons: &[ArchonId]) -> String {
    match archons {
        [] => "nobody".to_owned(),
        some => some.iter().map(ArchonId::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Who works on a task, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// From the one whom the person wrote to, to the one whose turn it is.
    archons: Vec<ArchonId>,
    channel: ChannelId,
    peer: PeerId,
}

impl Chain {
    /// That of a turn in this conversation.
    pub fn of(session: &SessionKey) -> Self {
        let handed = if session.channel.as_str() == AGENT { Self::read(&session.peer) } else { None };
        let mut chain = handed.unwrap_or_else(|| Self {
            archons: Vec::new(),
            channel: session.channel.clone(),
            peer: session.peer.clone(),
        });
        chain.archons.push(session.archon.clone());
        chain
    }

    /// Reads what [`Chain::peer`] wrote.
    fn read(peer: &PeerId) -> Option<Self> {
        let (archons, person) = peer.as_str().split_once(FOR)?;
        let (channel, peer) = person.split_once(AS)?;
        let archons = archons.split(THEN).map(|name| name.parse().ok()).collect::<Option<_>>()?;
        Some(Self { archons, channel: channel.parse().ok()?, peer: peer.parse().ok()? })
    }

    /// As whom the next one sees it: `ezra@cli:uid1000`, or `ezra>electra@cli:uid1000` where it was handed on before.
    pub fn peer(&self) -> Result<PeerId, Refusal> {
        let archons: Vec<&str> = self.archons.iter().map(ArchonId::as_str).collect();
        let text = format!("{}{FOR}{}{AS}{}", archons.join(&THEN.to_string()), self.channel, self.peer);
        PeerId::new(&text).map_err(|_| Refusal::TooLong { chain: text })
    }

    /// Whether the one whose turn it is may hand this task to that one.
    pub fn check(&self, to: &ArchonId, task: &str, delegates: &Delegates) -> Result<(), Refusal> {
        if !delegates.to.contains(to) {
            return Err(Refusal::NotNamed { to: to.clone(), known: delegates.to.clone() });
        }
        if self.archons.contains(to) {
            return Err(Refusal::Cycle { to: to.clone() });
        }
        if self.archons.len() > delegates.depth_max as usize {
            return Err(Refusal::TooDeep { times: self.archons.len() - 1 });
        }
        if Intent::of(task) != Intent::Message {
            return Err(Refusal::Command);
        }
        Ok(())
    }
}

/// The key of a task's message: the call that hands it on, and what is handed to whom. The same call made again finds its message; should
/// its name ever come again for something else, that is another one.
pub fn key(call: &str, to: &ArchonId, task: &str) -> String {
    // FNV-1a, 64 bits: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>. Nobody gains from two alike: both are his own.
    let bytes = to.as_str().bytes().chain([0]).chain(task.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{call}-{hash:016x}")
}

/// The message in whose turn a call is made, read off the call's name, with which a task's key begins.
pub fn calling(call: &str) -> Option<InboxId> {
    call.split('.').next().and_then(|message| message.parse().ok()).map(InboxId)
}

/// Whether a task for `to` might wait for ever: that one has no place free, and its turns wait, over others perhaps, for `from`.
pub fn stands_still(
    waits: &[(ArchonId, ArchonId)],
    from: &ArchonId,
    to: &ArchonId,
    to_is_full: bool,
) -> bool {
    let (mut seen, mut open) = (vec![to], vec![to]);
    while let Some(next) = open.pop() {
        for (waiting, asked) in waits {
            if waiting == next && !seen.contains(&asked) {
                seen.push(asked);
                open.push(asked);
            }
        }
    }
    to_is_full && seen.contains(&from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> ArchonId {
        ArchonId::new(name).unwrap()
    }

    fn delegates(depth_max: u32) -> Delegates {
        Delegates { to: ["ezra", "electra", "allegro", "bezalel"].map(id).to_vec(), depth_max }
    }

    #[track_caller]
    fn check(session: &str, to: &str, task: &str, wanted: Result<&str, &str>) {
        let chain = Chain::of(&session.parse().unwrap());
        let handed = chain.check(&id(to), task, &delegates(2)).and_then(|()| chain.peer());
        let handed = handed.map(|peer| peer.to_string()).map_err(|refusal| refusal.to_string());
        assert_eq!(handed.as_deref().map_err(String::as_str), wanted, "{session} to {to}");
    }

    #[test]
    fn a_task_is_handed_on_so_far_and_never_back() {
        check("ezra/cli/uid0/main", "electra", "look", Ok("ezra@cli:uid0"));
        check("electra/agent/ezra@cli:uid0/main", "allegro", "look", Ok("ezra>electra@cli:uid0"));
        let deep = "this task was handed on 2 times, and no more is allowed; do it without";
        check("allegro/agent/ezra>electra@cli:uid0/main", "bezalel", "look", Err(deep));
        let back = "ezra handed this task on itself and waits for the answer; do it without";
        check("electra/agent/ezra@cli:uid0/main", "ezra", "look", Err(back));
        check("ezra/cli/uid0/main", "ezra", "look", Err(back));
        let command = "a task cannot begin with `/`, like a command; say it in words";
        check("ezra/cli/uid0/main", "electra", " /approve always", Err(command));
        check("ezra/cli/uid0/main", "electra", "/frobnicate", Err(command));
        check("ezra/cli/uid0/main", "electra", "/etc/passwd holds what?", Ok("ezra@cli:uid0"));
    }

    #[test]
    fn only_who_is_named_is_asked() {
        let chain = Chain::of(&"ezra/cli/uid0/main".parse().unwrap());
        let named = Delegates { to: vec![id("allegro"), id("bezalel")], depth_max: 2 };
        let refusal = chain.check(&id("electra"), "look", &named).unwrap_err();
        assert_eq!(refusal.to_string(), "the profile names allegro, bezalel for tasks, and not electra");
        let refusal = chain.check(&id("electra"), "look", &Delegates::default()).unwrap_err();
        assert_eq!(refusal.to_string(), "the profile names nobody for tasks, and not electra");
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_and_not_cut() {
        let peer = "p".repeat(128);
        let chain = Chain::of(&format!("ezra/cli/{peer}/main").parse().unwrap());
        assert!(matches!(chain.peer(), Err(Refusal::TooLong { .. })));
    }

    #[test]
    fn the_same_call_has_the_same_key_and_another_task_another() {
        let of = |call, to, task| key(call, &id(to), task);
        assert_eq!(of("12.1.1", "electra", "look"), of("12.1.1", "electra", "look"));
        assert_eq!(of("12.1.1", "electra", ""), "12.1.1-2836bd630d08bb13");
        let others = [
            of("12.1.2", "electra", "look"),
            of("12.1.1", "allegro", "look"),
            of("12.1.1", "electra", "leap"),
        ];
        assert!(!others.contains(&of("12.1.1", "electra", "look")));
        assert_eq!(calling(&others[0]), Some(InboxId(12)));
        assert_eq!((calling("by hand"), calling("")), (None, None));
    }

    #[test]
    fn nobody_waits_in_a_circle_without_a_place() {
        let waits =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(from, to)| (id(from), id(to))).collect::<Vec<_>>();
        let still =
            |pairs: &[(&str, &str)], full| stands_still(&waits(pairs), &id("ezra"), &id("electra"), full);
        assert!(!still(&[], true));
        assert!(!still(&[("ezra", "electra")], true), "one more of the same waits in line");
        assert!(still(&[("electra", "ezra")], true));
        assert!(!still(&[("electra", "ezra")], false), "there is a place");
        assert!(still(&[("electra", "allegro"), ("allegro", "bezalel"), ("bezalel", "ezra")], true));
        assert!(!still(&[("electra", "allegro"), ("allegro", "electra")], true));
    }

    proptest! {
        #[test]
        fn what_a_peer_says_is_read_back_and_no_two_are_the_same(
            first in "[a-z][a-z0-9-]{0,9}", second in "[a-z][a-z0-9-]{0,9}", channel in "[a-z]{1,8}",
            peer in "[!-.0-~]{1,40}", other in "[!-.0-~]{1,40}",
        ) {
            let session = |archon: &str, channel: &str, peer: &str| {
                format!("{archon}/{channel}/{peer}/main").parse::<SessionKey>().unwrap()
            };
            prop_assume!(channel != AGENT);
            let once = Chain::of(&session(&first, &channel, &peer));
            let twice = Chain::of(&session(&second, AGENT, once.peer().unwrap().as_str()));
            prop_assert_eq!(&twice.archons, &[id(&first), id(&second)]);
            prop_assert_eq!((twice.channel.as_str(), twice.peer.as_str()), (channel.as_str(), peer.as_str()));
            let of_other = Chain::of(&session(&first, &channel, &other));
            prop_assert_eq!(once.peer() == of_other.peer(), peer == other);
        }
    }
}
