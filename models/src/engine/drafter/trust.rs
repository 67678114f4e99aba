//! How far a drafter is to be trusted, as measured: whether to ask it, how many tokens deep, and what its words are worth. Pure.
use std::time::Duration;

use crate::engine::draft::{Guess, Odds, best_length, expected};
use crate::engine::pace::Pace;

/// Deepest draft: each token takes a step of the drafter, and the odds shrink with each.
pub(in crate::engine) const DEPTH_MAX: usize = 8;
/// The drafter's lead of its first choice over its second, in natural logarithms of likelihood, by which guesses are told apart.
const LEADS: [f32; 5] = [0.5, 1.0, 2.0, 4.0, 8.0];
/// How much one guess changes the odds, as for those from the text itself.
const RATE: f64 = 0.1;
/// Below this chance of being right together with all before it, a guess is the last one: the next would hardly ever be of use.
const CHANCE_MIN: f64 = 0.1;
/// Longest pause between two tries of a drafter that does not pay, in steps: a step of the drafter is a small part of one of the model.
const PAUSE_MAX: u32 = 64;
/// What such tries may take of the time, unless one in so many steps takes more.
const TRIES_MAX: f64 = 0.02;

/// Which class a lead is of.
fn class(lead: f32) -> usize {
    LEADS.iter().take_while(|bound| lead >= **bound).count()
}

/// What is known of a drafter. Of all answers together: it holds odds and no words.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Trust {
    /// How often a guess with such a lead was right, if all before it were.
    leads: [f64; LEADS.len() + 1],
    /// How often a guess at such a place was asked for and right, if all before it were.
    places: [f64; DEPTH_MAX],
    /// What its steps take.
    pub(super) pace: Pace,
    /// Steps in which it was not asked, since the last time.
    idle: u32,
    /// It is tried again after so many of these.
    pause: u32,
}

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Question {
    /// The answers by their places; the others keep what they have.
    pub(super) answers: Vec<usize>,
    /// Tokens of each.
    pub(super) depth: usize,
}

impl Trust {
    /// Well-meaning until seen: nothing else would find out.
    pub(super) fn new(pace: Pace) -> Self {
        Self { leads: [0.3, 0.4, 0.5, 0.6, 0.8, 0.9], places: [0.7; DEPTH_MAX], pace, idle: 0, pause: 1 }
    }

    /// How likely a guess with this lead is right, if all before it are.
    pub(super) fn chance(&self, lead: f32) -> f64 {
        self.leads.get(class(lead)).copied().unwrap_or_default()
    }

    /// Whether it is of use to guess on behind guesses that are all right with this chance.
    pub(super) fn goes_on(chance: f64) -> bool {
        chance >= CHANCE_MIN
    }

    /// Takes in that the next token was chosen, and whether it is the one that was guessed at this place with this lead. `None`: it had
    /// been asked for a guess there, and had none that it believed in.
    pub(in crate::engine) fn learn(&mut self, place: usize, lead: Option<f32>, right: bool) {
        let follow = |odds: &mut f64| *odds += RATE * (f64::from(u8::from(right)) - *odds);
        self.places.get_mut(place).map(follow);
        if let Some(lead) = lead {
            self.leads.get_mut(class(lead)).map(follow);
        }
        if place == 0 {
            self.pause = if right { (self.pause / 2).max(1) } else { (self.pause * 2).min(PAUSE_MAX) };
        }
    }

    /// Whom to ask for how many tokens at most, so that most are written in a second. `can` says which answers can be asked; the guesses
    /// are those from the text itself. What does not pay is tried now and then, where the text has no guess anyway.
    pub(super) fn question<T>(
        &mut self,
        guesses: &[(&Guess<T>, &Odds)],
        can: &[bool],
        pace: &Pace,
        (read, longest): (usize, Duration),
        most: usize,
    ) -> Option<Question> {
        let own: Vec<Vec<f64>> = guesses.iter().map(|(guess, odds)| guess.chances(odds)).collect();
        let places = self.places.get(..most.min(DEPTH_MAX)).unwrap_or_default();
        let better = |(place, own): (usize, &Vec<f64>)| {
            (can.get(place) == Some(&true) && expected(places) > expected(own)).then_some(place)
        };
        let asked: Vec<usize> = own.iter().enumerate().filter_map(better).collect();
        if asked.is_empty() || places.is_empty() {
            return None;
        }
        let step = self.pace.takes(0, asked.len());
        let gain = |depth: usize| {
            let words = |(place, own): (usize, &Vec<f64>)| match asked.contains(&place) {
                true => places.get(..depth).unwrap_or(places).to_vec(),
                false => own.clone(),
            };
            let with: Vec<_> = own.iter().enumerate().map(words).collect();
            best_length(&with, step * depth as f64, pace, read, longest).1
        };
        let depths = (1..=places.len()).map(|depth| (depth, gain(depth)));
        let best = depths.max_by(|one, other| one.1.total_cmp(&other.1));
        let (_, without) = best_length(&own, 0.0, pace, read, longest);
        if let Some((depth, _)) = best.filter(|(_, gain)| *gain > without) {
            self.idle = 0;
            return Some(Question { answers: asked, depth });
        }
        self.idle += 1;
        let wordless: Vec<usize> =
            asked.into_iter().filter(|place| own.get(*place).is_some_and(Vec::is_empty)).collect();
        let dear = self.pace.takes(0, wordless.len()) / pace.takes(0, guesses.len()) / TRIES_MAX;
        if self.idle < self.pause.max(dear.min(f64::from(PAUSE_MAX)) as u32) || wordless.is_empty() {
            return None;
        }
        self.idle = 0;
        Some(Question { answers: wordless, depth: 1 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::draft::{Drafted, look_up};
    use crate::engine::draft_tests::pace;

    const LONGEST: Duration = Duration::from_millis(300);

    /// A model whose steps are made of reading its weights, and a drafter whose steps take so many seconds.
    fn trust(step: f64) -> (Trust, Pace) {
        (Trust::new(pace(step, 0.0)), pace(0.040, 0.001))
    }

    fn wordless(answers: usize) -> Vec<(Guess<u8>, Odds)> {
        vec![Default::default(); answers]
    }

    fn ask(trust: &mut Trust, model: &Pace, guesses: &[(Guess<u8>, Odds)], can: &[bool]) -> Option<Question> {
        let told: Vec<_> = guesses.iter().map(|(guess, odds)| (guess, odds)).collect();
        trust.question(&told, can, model, (0, LONGEST), 15)
    }

    /// Steps of one answer until a drafter that was asked in so many of them.
    fn asked(trust: &mut Trust, model: &Pace, steps: usize, right: bool) -> usize {
        let mut times = 0;
        for _ in 0..steps {
            if let Some(question) = ask(trust, model, &wordless(1), &[true]) {
                times += 1;
                for place in 0..question.depth {
                    trust.learn(place, Some(3.0), right);
                    if !right {
                        break;
                    }
                }
            }
        }
        times
    }

    #[test]
    fn a_drafter_that_is_right_is_asked_in_every_step_and_deeper() {
        let (mut trust, model) = trust(0.002);
        let first = ask(&mut trust, &model, &wordless(1), &[true]).unwrap();
        assert_eq!(asked(&mut trust, &model, 100, true), 100);
        let later = ask(&mut trust, &model, &wordless(1), &[true]).unwrap();
        assert!(later.depth == DEPTH_MAX && first.depth < later.depth, "{first:?}, then {later:?}");
    }

    #[test]
    fn a_drafter_that_is_wrong_is_tried_now_and_then_and_comes_back() {
        let (mut trust, model) = trust(0.002);
        asked(&mut trust, &model, 200, false);
        let tries = asked(&mut trust, &model, 640, false);
        assert_eq!(tries, 10, "once in {PAUSE_MAX} steps");
        asked(&mut trust, &model, 300, true);
        assert_eq!(asked(&mut trust, &model, 100, true), 100, "it is right now");
    }

    #[test]
    fn a_drafter_that_takes_too_long_is_not_worth_its_guesses() {
        let (mut trust, model) = trust(0.040);
        let tries = asked(&mut trust, &model, 640, true);
        assert!((10..20).contains(&tries), "that it is right does not make it worth {tries} tries");
    }

    #[test]
    fn steps_stay_short_with_the_drafter_s_own() {
        let mut trust = Trust::new(pace(0.050, 0.0));
        let model = pace(0.150, 0.0);
        let question = ask(&mut trust, &model, &wordless(1), &[true]).unwrap();
        assert!(question.depth <= 3, "0.15 s and {} times 0.05 s are more than 0.3 s", question.depth);
    }

    #[test]
    fn who_has_better_words_or_no_state_is_not_asked() {
        let (mut trust, model) = trust(0.0002);
        let found = look_up(b"abcdefghijklmnopqrstuvwxyz abcdefghij", 15);
        let mut odds = Odds::default();
        (0..100).for_each(|_| odds.learn(found.matched_at(0), true));
        let guesses = [(found, odds), wordless(1).remove(0), wordless(1).remove(0)];
        let question = ask(&mut trust, &model, &guesses, &[true, true, false]).unwrap();
        assert_eq!(question.answers, [1]);
        assert_eq!(ask(&mut trust, &model, &guesses, &[true, false, false]), None);
        assert_eq!(ask(&mut trust, &model, &[], &[]), None);
    }

    #[test]
    fn what_a_drafter_says_is_told_from_what_the_text_says() {
        let said = Guess::drafted(vec![1, 2], vec![Drafted { lead: 9.0, chance: 0.5 }; 2], 4);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|place| said.lead_at(place).is_some()),
            [true, true, true, true, false]
        );
        assert_eq!((said.lead_at(1), said.lead_at(2)), (Some(Some(9.0)), Some(None)));
        assert_eq!((said.matched_at(1), said.chances(&Odds::default())), (0, vec![0.5; 2]));
        assert_eq!(look_up(b"ab ab", 1).lead_at(0), None);
    }

    proptest! {
        #[test]
        fn chances_stay_chances(
            told in prop::collection::vec((0usize..20, prop::option::of(-1e9f32..1e9), any::<bool>()), 0..200),
            lead in any::<f32>(),
        ) {
            let (mut trust, model) = trust(0.002);
            for (place, lead, right) in told {
                trust.learn(place, lead, right);
                prop_assert!((1..=PAUSE_MAX).contains(&trust.pause));
            }
            prop_assert!((0.0..=1.0).contains(&trust.chance(lead)));
            if let Some(question) = ask(&mut trust, &model, &wordless(2), &[true, true]) {
                prop_assert!((1..=DEPTH_MAX).contains(&question.depth), "{question:?}");
            }
        }
    }
}
