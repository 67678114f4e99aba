//! The owner's questions whose buttons count: a button of an old question must not decide about a new one. Pure.
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::place::Place;

/// Questions that are open at once; of more the oldest is over.
const OPEN_MAX: usize = 64;

/// One that was asked.
#[derive(Debug, Clone)]
struct Question {
    /// Its message.
    message: i32,
    /// Where the message is that it is about.
    place: Place,
    /// Who is asked, as the house calls him.
    peer: String,
    until: Instant,
    /// The press that decided it.
    decided: Option<String>,
}

/// What a press of a button means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    /// It decides.
    Counts,
    /// It is for somebody else to decide.
    NotYours,
    /// That was decided, or nobody asks any more.
    Over,
}

/// The state. What is not in it does not count: after a restart whoever waits is asked again.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: VecDeque<Question>,
}

impl Questions {
    /// One was asked of a peer, who has so long. Those that he was asked before in the same conversation are over: their messages.
    pub(super) fn asked(
        &mut self,
        place: Place,
        message: i32,
        peer: &str,
        time: Duration,
        now: Instant,
    ) -> Vec<(i64, i32)> {
        let mut over = self.take(|old| {
            let same = old.peer == peer && old.place.chat == place.chat && old.place.topic == place.topic;
            same || old.until <= now
        });
        if self.open.len() >= OPEN_MAX {
            over.extend(self.open.pop_front().map(|old| (old.place.chat, old.message)));
        }
        let peer = peer.to_owned();
        self.open.push_back(Question { message, place, peer, until: now + time, decided: None });
        over
    }

    /// Whether somebody is asked by this message.
    pub(super) fn is_open(&self, chat: i64, message: i32) -> bool {
        self.open.iter().any(|asked| asked.place.chat == chat && asked.message == message)
    }

    /// A button below a message was pressed. The same press may come again.
    pub(super) fn pressed(
        &mut self,
        chat: i64,
        message: i32,
        person: &str,
        press: &str,
        now: Instant,
    ) -> Press {
        let found = self.open.iter_mut().find(|open| open.place.chat == chat && open.message == message);
        let Some(question) = found.filter(|open| open.until > now) else { return Press::Over };
        if question.peer.split('@').next() != Some(person) {
            return Press::NotYours;
        }
        match &question.decided {
            Some(before) if before != press => Press::Over,
            _ => {
                question.decided = Some(press.to_owned());
                Press::Counts
            }
        }
    }

    /// What was decided is durable, and so is over.
    pub(super) fn settled(&mut self, press: &str) {
        self.open.retain(|open| open.decided.as_deref() != Some(press));
    }

    /// A peer said something else, or has his answer: what he was asked there is over. Its messages.
    pub(super) fn over(&mut self, place: &Place, peer: &str) -> Vec<(i64, i32)> {
        self.take(|old| old.peer == peer && old.place.chat == place.chat && old.place.topic == place.topic)
    }

    fn take(&mut self, is_over: impl Fn(&Question) -> bool) -> Vec<(i64, i32)> {
        let over = self.open.iter().filter(|open| is_over(open)).map(|open| (open.place.chat, open.message));
        let over = over.collect();
        self.open.retain(|open| !is_over(open));
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_question_counts_and_only_once_and_only_for_who_is_asked() {
        let (now, minute) = (Instant::now(), Duration::from_secs(60));
        let place = Place { chat: -100, message: 1, topic: None };
        let mut questions = Questions::default();
        assert_eq!(questions.pressed(-100, 5, "7", "a", now), Press::Over);
        assert_eq!(questions.asked(place, 5, "7@-100", minute, now), []);
        assert_eq!(questions.asked(place, 6, "7@-100", minute, now), [(-100, 5)]);
        assert_eq!(questions.pressed(-100, 5, "7", "a", now), Press::Over);
        assert_eq!(questions.pressed(-100, 6, "8", "b", now), Press::NotYours);
        assert_eq!(questions.pressed(-100, 6, "7", "c", now), Press::Counts);
        assert_eq!(questions.pressed(-100, 6, "7", "c", now), Press::Counts, "it came again");
        assert_eq!(questions.pressed(-100, 6, "7", "d", now), Press::Over, "a second tap");
        questions.settled("c");
        assert_eq!(questions.pressed(-100, 6, "7", "c", now), Press::Over);
        questions.asked(place, 7, "7@-100", minute, now);
        assert_eq!(questions.pressed(-100, 7, "7", "e", now + minute), Press::Over, "too late");
        assert_eq!(questions.over(&place, "7@-100"), [(-100, 7)]);
        for message in 0..200 {
            questions.asked(place, message, &message.to_string(), minute, now);
        }
        assert_eq!(questions.open.len(), OPEN_MAX);
    }
}
