//! Hands the owner's word about a call to the session in which it waits.
use super::actor::HarnessState;
use super::handle::HarnessError;
use super::notice;
use super::places::{NOT_ALONE, is_private};
use crate::command::Command;
use crate::domain::{AskedCall, InboxEntry, PeerKey, SessionKey, SessionStatus, is_call_name};
use crate::session::Decision;

/// Reads `/approve` and `/deny`: what is decided, and about which call where it is named. `None`: it cannot be read.
pub(super) fn decision<'a>(command: Command, words: &[&'a str]) -> Option<(Decision, Option<&'a str>)> {
    let (decision, rest) = match (command, words) {
        // What follows a no is why.
        (Command::Deny, words) => {
            let named = words.first().copied().filter(|word| is_call_name(word));
            return Some((Decision::Denied, named));
        }
        (_, ["once", rest @ ..]) => (Decision::Once, rest),
        (_, ["session", rest @ ..]) => (Decision::Session, rest),
        (_, ["always", rest @ ..]) => (Decision::Always, rest),
        (_, rest) => (Decision::Once, rest),
    };
    match rest {
        [] => Some((decision, None)),
        [call] if is_call_name(call) => Some((decision, Some(call))),
        _ => None,
    }
}

impl HarnessState {
    /// Decides as an owner says, and answers him.
    pub(super) async fn decided(&self, entry: &InboxEntry, decision: Decision, call: Option<&str>) -> String {
        let here = entry.session.peer_key();
        let decided = match call {
            // Who else reads along, or speaks for somebody else, decides about what is asked there and nothing more.
            Some(_) if !is_private(&here) => return NOT_ALONE.to_owned(),
            Some(call) => self.decide(call, decision, Some(&here)).await,
            None => match self.sessions.get(&entry.session).filter(|resident| resident.running.is_some()) {
                Some(resident) => resident.handle.decide(None, decision).await.map_err(HarnessError::from),
                None => Ok(None),
            },
        };
        match decided {
            Ok(None) => {
                let elsewhere = match is_private(&here) {
                    true => self.asked(Some(&here)).await.into_iter().map(|(_, asked)| asked).collect(),
                    false => Vec::new(),
                };
                notice::undecided_text(call, &elsewhere)
            }
            Ok(Some(shown)) => notice::decided_text(decision, &shown),
            Err(HarnessError::NotForGood) => HarnessError::NotForGood.to_string(),
            Err(error) => format!("The session could not be reached: {error}."),
        }
    }

    /// Decides about a call by its name, as somebody who is here, or whoever is at the machine. Answers what it was; `None`: it does not
    /// wait, or is nothing for him.
    pub(super) async fn decide(
        &self,
        call: &str,
        decision: Decision,
        here: Option<&PeerKey>,
    ) -> Result<Option<String>, HarnessError> {
        let asked = self.asked(here).await;
        let Some((key, asked)) = asked.into_iter().find(|(_, asked)| asked.call == call) else {
            return Ok(None);
        };
        if asked.of_user && decision == Decision::Always {
            return Err(HarnessError::NotForGood);
        }
        let Some(resident) = self.sessions.get(&key) else { return Ok(None) };
        Ok(resident.handle.decide(Some(call.to_owned()), decision).await?)
    }

    /// The calls that wait for an owner who is here: those of users, and his own. Whoever is at the machine sees all.
    async fn asked(&self, here: Option<&PeerKey>) -> Vec<(SessionKey, AskedCall)> {
        let running = self.statuses(|resident| resident.running.is_some()).await;
        let all = running.into_iter().flat_map(SessionStatus::into_asked);
        all.filter(|(key, asked)| asked.of_user || here.is_none_or(|here| key.peer_key() == *here)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_may_name_what_it_is_about() {
        let table = [
            ("", Some((Decision::Once, None))),
            ("once", Some((Decision::Once, None))),
            ("session", Some((Decision::Session, None))),
            ("12.1.1", Some((Decision::Once, Some("12.1.1")))),
            ("always 12.1.media1", Some((Decision::Always, Some("12.1.media1")))),
            ("for ever", None),
            ("12", None),
            ("12.", None),
            ("12.1.1 13.1.1", None),
            ("12.1.1 always", None),
        ];
        for (said, expected) in table {
            let words: Vec<&str> = said.split_whitespace().collect();
            assert_eq!(decision(Command::Approve, &words), expected, "{said}");
        }
        assert_eq!(decision(Command::Deny, &["12.1.1", "never"]), Some((Decision::Denied, Some("12.1.1"))));
        assert_eq!(decision(Command::Deny, &["too", "risky"]), Some((Decision::Denied, None)));
    }
}
