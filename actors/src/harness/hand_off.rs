//! Answers `/handoff`: a conversation goes on in another place of the same person, with all that belongs to it.
//!
//! The store moves it in the transaction that keeps the answer, so that it is in one place whatever happens, and a command that is tried
//! again moves nothing a second time.
use super::actor::HarnessState;
use super::places::{NOT_ALONE, is_private, place_name, platform};
use crate::domain::{HandOff, IdError, InboxEntry, PeerKey, SessionHead, Stays, ThreadId};
use crate::memory::MemoryError;
use crate::session::quote;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// The places.
    List,
    /// That this conversation goes there.
    To(PeerKey),
    /// That the one which is current there comes here.
    From(PeerKey),
}

impl HarnessState {
    /// Moves a conversation, or says which places there are.
    pub(super) async fn hand_off(
        &mut self,
        entry: &InboxEntry,
        words: &[&str],
    ) -> Result<String, MemoryError> {
        let here = entry.session.peer_key();
        if !is_private(&here) {
            return Ok(NOT_ALONE.to_owned());
        }
        let others = self.args.memory.linked(&here).await?;
        let (from, to, place) = match wish(words, &others) {
            Ok(Wish::List) => return Ok(places_text(&others)),
            Ok(Wish::To(place)) => (entry.session.clone(), place.clone(), place),
            Ok(Wish::From(place)) => {
                let current = self.args.memory.current_thread(&place.archon, &place.channel, &place.peer);
                (place.session(current.await?), here, place)
            }
            Err(why) => return Ok(why),
        };
        let goes = to == place;
        // Named as if the message had begun it: no other thread has that number.
        let Ok(thread) = thread_of(entry) else { return Ok(stays_text(Stays::Taken, goes, &place)) };
        let Some(kept) = self.args.memory.session(&from).await? else {
            return Ok(stays_text(Stays::Empty, goes, &place));
        };
        let last = kept.turns.last().map(|turn| turn.user.as_str()).unwrap_or_default();
        let text = moved_text(&kept.head, last, goes, &place);
        let (inbox, now_unix_ms) = (entry.id, self.args.clock.now_unix_ms());
        let off =
            HandOff { from: from.clone(), to: to.session(thread), inbox, text: text.clone(), now_unix_ms };
        let moved = self.args.memory.hand_off(off).await;
        if !matches!(moved, Ok(Err(_))) {
            // Perhaps also when it failed. What its actor has read is no longer there, and what was allowed for this session stays behind.
            self.passivate(&from).await;
        }
        Ok(match moved? {
            Ok(_) => text,
            Err(stays) => stays_text(stays, goes, &place),
        })
    }
}

fn thread_of(entry: &InboxEntry) -> Result<ThreadId, IdError> {
    ThreadId::new(&format!("s{}", entry.id))
}

/// Reads it off what follows the command; or says why not.
fn wish(words: &[&str], others: &[PeerKey]) -> Result<Wish, String> {
    match words {
        _ if others.is_empty() => Err(
            "This place is linked with no other: `/link` gives a code that you say to me in the other one."
                .to_owned(),
        ),
        [] => Ok(Wish::List),
        ["from", place] => meant(place, others).map(Wish::From),
        [place] => meant(place, others).map(Wish::To),
        _ => {
            Err("Say `/handoff PLACE` or `/handoff from PLACE`; `/handoff` alone lists the places."
                .to_owned())
        }
    }
}

/// The place that is meant by its number in the list, its platform or its name.
fn meant(word: &str, others: &[PeerKey]) -> Result<PeerKey, String> {
    let word = word.to_lowercase();
    let is_meant = |(number, place): &(usize, &PeerKey)| {
        let (channel, peer) = (place.channel.as_str(), place.peer.as_str());
        let names = [
            (number + 1).to_string(),
            platform(place).to_owned(),
            channel.to_owned(),
            place_name(place),
            format!("{channel}/{peer}"),
        ];
        names.iter().any(|name| name.to_lowercase() == word)
    };
    let found: Vec<_> = others.iter().enumerate().filter(is_meant).map(|(_, place)| place).collect();
    match found.as_slice() {
        [place] => Ok((*place).clone()),
        [] => Err(format!("No place {word} is linked with this one.\n{}", places_text(others))),
        _ => Err(format!("{word} may be several places; say a number.\n{}", places_text(others))),
    }
}

fn places_text(others: &[PeerKey]) -> String {
    let lines =
        others.iter().enumerate().map(|(index, place)| format!("  {}  {}", index + 1, place_name(place)));
    let lines: Vec<String> = lines.collect();
    format!(
        "Linked with this place:\n{}\n`/handoff 1` moves this conversation to the first, `/handoff from 1` moves the one that is there here.",
        lines.join("\n")
    )
}

fn moved_text(head: &SessionHead, last: &str, goes: bool, place: &PeerKey) -> String {
    let (place, turns) = (place_name(place), head.turns);
    let on = match last {
        "" => String::new(),
        last => format!(", the last on \"{}\"", quote(last)),
    };
    match goes {
        true => format!(
            "Our conversation goes on in {place}: {turns} turns{on}. Here a fresh session begins with your next message."
        ),
        false => format!(
            "Our conversation from {place} goes on here: {turns} turns{on}. There a fresh session begins with your next message."
        ),
    }
}

fn stays_text(stays: Stays, goes: bool, place: &PeerKey) -> String {
    let place = place_name(place);
    let there = if goes { "here".to_owned() } else { format!("in {place}") };
    match stays {
        Stays::Apart => format!("{place} is not linked with this place any more; nothing was moved."),
        Stays::Empty => format!("Nothing was said yet in the session that is current {there}."),
        Stays::Awaited => format!(
            "A message is being answered {there}, or waits for that; wait for its end or say /stop {there}, then say this again."
        ),
        Stays::Taken => "That did not work; say it once more.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(names: &[&str]) -> Vec<PeerKey> {
        names.iter().map(|name| format!("ezra/{name}").parse().unwrap()).collect()
    }

    #[test]
    fn a_place_is_meant_by_its_number_its_platform_or_its_name() {
        let key = "3BF0C63FCB93463407AF97A5E5EE64FA883D107EF9E558472C4EB9AAAEFA459D".to_lowercase();
        let nostr = format!("nostr/{key}");
        let others = places(&["cli/uid0", &nostr, "telegram/7", "telegram/8"]);
        let table = [
            (vec![], Ok(Wish::List)),
            (vec!["terminal"], Ok(Wish::To(others[0].clone()))),
            (vec!["CLI"], Ok(Wish::To(others[0].clone()))),
            (vec!["from", "Nostr"], Ok(Wish::From(others[1].clone()))),
            (vec!["nostr/3bf0c63f…"], Ok(Wish::To(others[1].clone()))),
            (vec!["from", "3"], Ok(Wish::From(others[2].clone()))),
            (vec!["telegram/8"], Ok(Wish::To(others[3].clone()))),
            (
                vec!["telegram"],
                Err(
                    "telegram may be several places; say a number.\nLinked with this place:\n  1  terminal/uid0\n  2  nostr/3bf0c63f…\n",
                ),
            ),
            (vec!["0"], Err("No place 0 is linked with this one.\n")),
            (vec!["5"], Err("No place 5")),
            (vec!["gitea"], Err("No place gitea")),
            (vec!["from"], Err("No place from")),
            (vec!["from", "cli", "now"], Err("Say `/handoff PLACE`")),
        ];
        for (words, wanted) in table {
            match (wish(&words, &others), wanted) {
                (Err(why), Err(beginning)) => assert!(why.starts_with(beginning), "{words:?}: {why}"),
                (wish, Ok(wanted)) => assert_eq!(wish, Ok(wanted), "{words:?}"),
                (wish, wanted) => panic!("{words:?}: {wish:?} instead of {wanted:?}"),
            }
        }
        assert!(wish(&["1"], &[]).unwrap_err().starts_with("This place is linked with no other"));
    }
}
