//! How often Telegram is asked for something, and what its refusals tell. Pure.
//!
//! Telegram allows about one message a second in a chat, twenty a minute in a group and thirty a second in all, and counts changes of a
//! message alike. Answers wait for their turn; what is only shown takes the room that they leave.
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::place::Place;

/// Between two changes of what is shown in a chat with one person.
const PRIVATE_GAP: Duration = Duration::from_secs(1);
/// In a group: fifteen a minute, so that answers have room.
const GROUP_GAP: Duration = Duration::from_secs(4);
/// A sign of typing is seen for five seconds.
const TYPING_GAP: Duration = Duration::from_secs(4);
/// Between any two of one bot: twenty-eight a second.
const TURN_GAP: Duration = Duration::from_micros(1_000_000 / 28);
/// What is only shown waits so long for its turn at most: then there will be more to show.
const COURTESY_WAIT_MAX: Duration = Duration::from_millis(500);
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
    /// When the next one has its turn.
    turn: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { chats: HashMap::new(), turn: now }
    }

    /// When what is shown in a chat may be changed, if that is soon; it counts as done then.
    pub(super) fn may_show(&mut self, place: &Place, now: Instant) -> Option<Instant> {
        let chat = *self.chat(place.chat, now);
        let at = self.courtesy(now).filter(|_| now >= chat.next.max(chat.limited))?;
        self.turn(now);
        self.sent(place, at);
        Some(at)
    }

    /// When a sign of typing may be given, if that is soon; it counts as given then.
    pub(super) fn may_type(&mut self, place: &Place, now: Instant) -> Option<Instant> {
        let chat = *self.chat(place.chat, now);
        let at = self.courtesy(now).filter(|_| now >= chat.typing.max(chat.limited))?;
        self.turn(now);
        self.chat(place.chat, now).typing = at + TYPING_GAP;
        Some(at)
    }

    /// When something that has to be said may be said; it counts as said then.
    pub(super) fn turn(&mut self, now: Instant) -> Instant {
        let at = self.turn.max(now);
        self.turn = at + TURN_GAP;
        at
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

    /// The next turn, if it is soon enough for what is only shown.
    fn courtesy(&self, now: Instant) -> Option<Instant> {
        Some(self.turn.max(now)).filter(|at| *at <= now + COURTESY_WAIT_MAX)
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
                    if let Some(at) = pace.may_show(&place(chat), begin + passed) {
                        times.entry(chat).or_default().push(at - begin);
                    }
                }
            }
            for (chat, times) in &times {
                let gap = gap(&place(*chat));
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= gap), "{chat}: {times:?}");
                // Nobody starves.
                assert!(times.len() >= 12, "{chat}: {}", times.len());
            }
            let mut all: Vec<Duration> = times.into_values().flatten().collect();
            all.sort();
            let second = Duration::from_secs(1);
            let most =
                all.iter().map(|from| all.iter().filter(|at| *at >= from && **at < *from + second).count());
            assert!(most.max() <= Some(29));
        }
    }

    #[test]
    fn a_limit_is_kept_to_the_second_and_two_are_one_for_all() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let s = Duration::from_secs;
        assert!(!pace.limited(&place(7), s(30), begin));
        let soon = begin + s(29);
        assert!(pace.may_show(&place(7), soon).is_none() && pace.may_type(&place(7), soon).is_none());
        assert!(pace.may_show(&place(8), soon).is_some(), "the other one is not limited");
        assert!(pace.limited(&place(8), s(30), begin + s(29)));
        assert!(pace.may_show(&place(7), begin + s(31)).is_some());
        assert!(!pace.limited(&place(8), s(1), begin + s(31)));
        assert_eq!(pace.wait(&place(-5), begin), Duration::ZERO);
        pace.sent(&place(-5), begin);
        assert_eq!(pace.wait(&place(-5), begin + s(1)), s(3));
    }

    #[test]
    fn what_is_only_shown_takes_the_room_that_answers_leave() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        for number in 0..100 {
            assert_eq!(pace.turn(begin), begin + TURN_GAP * number);
        }
        let free = begin + TURN_GAP * 100;
        assert_eq!(pace.may_show(&place(7), free - COURTESY_WAIT_MAX - TURN_GAP), None);
        assert_eq!(pace.may_show(&place(7), free - COURTESY_WAIT_MAX), Some(free));
        assert_eq!(pace.turn(free), free + TURN_GAP);
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
