//! How often Telegram is asked for a courtesy, and what its refusals tell. Pure.
//!
//! Telegram allows about one message a second in a chat, twenty a minute in a group and thirty a second in all, and counts changes of a
//! message alike. Answers come first: what is only shown takes the room that they leave.
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::place::Place;

/// Between two changes of what is shown in a chat with one person.
const PRIVATE_GAP: Duration = Duration::from_secs(1);
/// In a group.
const GROUP_GAP: Duration = Duration::from_secs(3);
/// A sign of typing is seen for five seconds.
const TYPING_GAP: Duration = Duration::from_secs(4);
/// Between two courtesies of one bot: twenty a second, so that ten answers have room.
const COURTESY_GAP: Duration = Duration::from_millis(50);
/// So much of that may be spent at once.
const BURST: Duration = Duration::from_millis(250);
/// Chats that are remembered; then those are forgotten in which nothing happened of late.
const CHATS_MAX: usize = 512;

#[derive(Debug, Clone, Copy)]
struct Chat {
    /// Nothing is changed before.
    next: Instant,
    /// No sign of typing before.
    typing: Instant,
    /// Telegram wants no request before.
    limited: Instant,
}

/// The state of one bot.
#[derive(Debug)]
pub(super) struct Pace {
    chats: HashMap<i64, Chat>,
    /// When the courtesies so far are paid for.
    courtesies: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { chats: HashMap::new(), courtesies: now }
    }

    /// Whether what is shown in a chat may be changed now; it counts as done.
    pub(super) fn may_show(&mut self, place: &Place, now: Instant) -> bool {
        let chat = *self.chat(place.chat, now);
        if now < chat.next.max(chat.limited) || !self.affords(now) {
            return false;
        }
        self.sent(place, now);
        true
    }

    /// Whether a sign of typing may be given now; it counts as given.
    pub(super) fn may_type(&mut self, place: &Place, now: Instant) -> bool {
        let chat = *self.chat(place.chat, now);
        if now < chat.typing.max(chat.limited) || !self.affords(now) {
            return false;
        }
        self.chat(place.chat, now).typing = now + TYPING_GAP;
        true
    }

    /// A message was sent or changed there.
    pub(super) fn sent(&mut self, place: &Place, now: Instant) {
        self.chat(place.chat, now).next = now + gap(place);
    }

    /// How long the next part of an answer waits.
    pub(super) fn wait(&mut self, place: &Place, now: Instant) -> Duration {
        self.chat(place.chat, now).next.saturating_duration_since(now)
    }

    /// Telegram wants to be left alone for so long, as it said in this chat. Whether that holds everywhere: it does not say so, but it
    /// does where two chats are limited at once.
    pub(super) fn limited(&mut self, place: &Place, after: Duration, now: Instant) -> bool {
        self.chat(place.chat, now).limited = now + after;
        self.chats.iter().any(|(chat, state)| *chat != place.chat && state.limited > now)
    }

    fn affords(&mut self, now: Instant) -> bool {
        if self.courtesies > now + BURST {
            return false;
        }
        self.courtesies = self.courtesies.max(now) + COURTESY_GAP;
        true
    }

    fn chat(&mut self, chat: i64, now: Instant) -> &mut Chat {
        if self.chats.len() >= CHATS_MAX && !self.chats.contains_key(&chat) {
            self.chats.retain(|_, state| state.next.max(state.typing).max(state.limited) > now);
        }
        self.chats.entry(chat).or_insert(Chat { next: now, typing: now, limited: now })
    }
}

fn gap(place: &Place) -> Duration {
    if place.is_private() { PRIVATE_GAP } else { GROUP_GAP }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(chat: i64) -> Place {
        Place { chat, message: 1, topic: None }
    }

    /// Eight bots with twenty-five chats each, all of which want to show something ten times a second, for a minute.
    #[test]
    fn no_chat_and_no_bot_is_beyond_what_telegram_allows() {
        let begin = Instant::now();
        let chats: Vec<i64> = (1..=15).chain((1..=10).map(|group| -group)).collect();
        for _ in 0..8 {
            let mut pace = Pace::new(begin);
            let mut times: HashMap<i64, Vec<Duration>> = HashMap::new();
            for tick in 0..600_u32 {
                let passed = Duration::from_millis(100) * tick;
                for at in 0..chats.len() {
                    let chat = chats[(at + tick as usize) % chats.len()];
                    if pace.may_show(&place(chat), begin + passed) {
                        times.entry(chat).or_default().push(passed);
                    }
                }
            }
            for (chat, times) in &times {
                let gap = gap(&place(*chat));
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= gap), "{chat}: {times:?}");
                // Nobody starves.
                assert!(times.len() >= 15, "{chat}: {}", times.len());
            }
            let mut all: Vec<Duration> = times.into_values().flatten().collect();
            all.sort();
            let second = Duration::from_secs(1);
            let most =
                all.iter().map(|from| all.iter().filter(|at| *at >= from && **at < *from + second).count());
            assert!(most.max() <= Some(26));
        }
    }

    #[test]
    fn a_limit_is_kept_to_the_second_and_two_are_one_for_all() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let s = Duration::from_secs;
        assert!(!pace.limited(&place(7), s(30), begin));
        assert!(!pace.may_show(&place(7), begin + s(29)) && !pace.may_type(&place(7), begin + s(29)));
        assert!(pace.may_show(&place(8), begin + s(29)));
        assert!(pace.limited(&place(8), s(30), begin + s(29)));
        assert!(pace.may_show(&place(7), begin + s(31)));
        assert!(!pace.limited(&place(8), s(1), begin + s(31)));
        assert_eq!(pace.wait(&place(-5), begin), Duration::ZERO);
        pace.sent(&place(-5), begin);
        assert_eq!(pace.wait(&place(-5), begin + s(1)), s(2));
    }

    #[test]
    fn chats_of_long_ago_are_forgotten() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for chat in 0..5000 {
            pace.sent(&place(chat + 1), begin + Duration::from_millis(100) * u32::try_from(chat).unwrap());
        }
        assert!(pace.chats.len() <= CHATS_MAX);
    }
}
