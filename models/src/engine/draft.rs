//! Drafts: what probably comes next, computed together with the token that it is to follow. Pure.
//!
//! Answers repeat what was said before: names, quotations, code, their own phrases. So what followed when the last few tokens stood
//! there before is a good guess ("prompt look-up"). A guess that is computed in the same batch costs less than a step of its own, since
//! the weights are read once for all rows; whoever chooses the next token finds out which guesses were right, and what is behind the
//! first wrong one is taken back. What is chosen is thereby never changed, at any temperature: only how many steps it takes.
//!
//! Where the text says nothing, a [`drafter`](super::drafter) may, if there is one.
//!
//! Whether that pays depends on model, machine and text. All three are measured while they work: the cost of a row by [`Pace`], the
//! odds of a guess by [`Odds`], also of guesses that were not computed. [`worthwhile`] weighs them in every step anew.
use std::time::Duration;

use super::pace::Pace;

/// Most guessed tokens of one answer in one step: more are rarely right, and a step must stay short.
pub(super) const DRAFT_TOKENS_MAX: usize = 15;
/// Fewest last tokens that must have stood before: what follows a single token is hardly ever the same.
const MATCH_MIN: usize = 2;
/// A match of so many tokens is as good as a longer one.
const MATCH_ENOUGH: usize = 6;
/// How much one guess changes the odds of the next: as much as a mean over the last twenty or so.
const ODDS_RATE: f64 = 0.1;
/// Drafts must promise so much more tokens a second than none: estimates err, and a wasted step is felt by all answers.
const GAIN_MIN: f64 = 1.05;

/// A guess of what comes next.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Guess<T> {
    /// The tokens, the next one first.
    pub(super) tokens: Vec<T>,
    /// How many of the last tokens stood before it the last time; 0 if it is not from the text.
    matched: usize,
    /// What a drafter said of each token that it guessed.
    drafted: Vec<Drafted>,
    /// So many tokens a drafter was asked for.
    asked: usize,
}

/// What is known of a drafter's token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Drafted {
    /// The drafter's lead of it over its second choice.
    pub(super) lead: f32,
    /// How likely it is right, if all before it are.
    pub(super) chance: f64,
}

impl<T> Default for Guess<T> {
    /// No guess.
    fn default() -> Self {
        Self { tokens: Vec::new(), matched: 0, drafted: Vec::new(), asked: 0 }
    }
}

/// Finds the latest place where the most of the last tokens stood before, and guesses that the same comes again.
///
/// What runs on to the end is guessed to run on in the same manner, as in a text that repeats itself (LZ77's way of copying).
pub(super) fn look_up<T: Copy + PartialEq>(tokens: &[T], most: usize) -> Guess<T> {
    let Some((last, before)) = tokens.split_last() else { return Guess::default() };
    let (mut place, mut matched) = (0, 0);
    for (end, _) in before.iter().enumerate().rev().filter(|(_, token)| *token == last) {
        let (then, now) = (before.iter().take(end).rev(), before.iter().rev());
        let length = 1 + then.zip(now).take(MATCH_ENOUGH - 1).take_while(|(then, now)| then == now).count();
        if length > matched {
            (place, matched) = (end + 1, length);
        }
        if matched >= MATCH_ENOUGH {
            break;
        }
    }
    if matched < MATCH_MIN {
        return Guess::default();
    }
    let mut guessed: Vec<T> = Vec::with_capacity(most);
    for at in 0..most {
        let known = tokens.get(place + at).copied();
        let token = known.or_else(|| guessed.get((place + at).checked_sub(tokens.len())?).copied());
        guessed.extend(token);
    }
    Guess { tokens: guessed, matched, ..Guess::default() }
}

/// How often guesses of one answer turn out right, by the length of their match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Odds([f64; MATCH_ENOUGH - MATCH_MIN + 1]);

impl Default for Odds {
    /// Doubtful until seen: of prose about half of the shortest matches go on as they did, of the longest four in five.
    fn default() -> Self {
        Self([0.3, 0.4, 0.5, 0.6, 0.7])
    }
}

impl Odds {
    fn class(matched: usize) -> usize {
        matched.clamp(MATCH_MIN, MATCH_ENOUGH) - MATCH_MIN
    }

    /// How likely each token of the guess is right, if all before it are.
    pub(super) fn of<T>(&self, guess: &Guess<T>) -> f64 {
        self.0.get(Self::class(guess.matched)).copied().unwrap_or_default()
    }

    /// Takes in that the next token was chosen, and whether it is the guessed one.
    pub(super) fn learn(&mut self, matched: usize, right: bool) {
        if matched >= MATCH_MIN
            && let Some(odds) = self.0.get_mut(Self::class(matched))
        {
            *odds += ODDS_RATE * (f64::from(u8::from(right)) - *odds);
        }
    }
}

impl<T> Guess<T> {
    /// For [`Odds::learn`]: the match of the token at this place of the guess. Each right one makes it longer by one.
    pub(super) fn matched_at(&self, place: usize) -> usize {
        if self.tokens.is_empty() || self.asked > 0 { 0 } else { self.matched + place }
    }

    /// What a drafter that was asked for so many tokens says.
    pub(super) fn drafted(tokens: Vec<T>, drafted: Vec<Drafted>, asked: usize) -> Self {
        Self { tokens, matched: 0, drafted, asked }
    }

    /// With which lead a drafter guessed the token at this place, if it was asked for one there; `Some(None)`: it stopped before.
    pub(super) fn lead_at(&self, place: usize) -> Option<Option<f32>> {
        (place < self.asked).then(|| self.drafted.get(place).map(|drafted| drafted.lead))
    }

    /// How likely each token is right, if all before it are.
    pub(super) fn chances(&self, odds: &Odds) -> Vec<f64> {
        match self.asked {
            0 => vec![odds.of(self); self.tokens.len()],
            _ => self.drafted.iter().map(|drafted| drafted.chance).collect(),
        }
    }
}

/// How many guessed tokens every answer should take into the step, so that most are written in a second: often none. A step that reads so
/// many tokens beside them is not to take longer than `longest` for their sake.
///
/// All answers take the same number, whoever has fewer guesses takes anything: llama.cpp computes sequences side by side as far as they
/// are of one length, and touches all weights anew for what is longer.
pub(super) fn worthwhile<T>(
    guesses: &[(&Guess<T>, &Odds)],
    pace: &Pace,
    read: usize,
    longest: Duration,
) -> usize {
    let chances: Vec<_> = guesses.iter().map(|(guess, odds)| guess.chances(odds)).collect();
    best_length(&chances, 0.0, pace, read, longest).0
}

/// The same for guesses of which only the chances are known: how likely each is right, if all before it in its answer are. `drafting` says
/// how many seconds it took to guess them, which a step without does not take. Also tells how much more is written in a second than without any, as a ratio: 1
/// if none pay.
pub(super) fn best_length(
    chances: &[Vec<f64>],
    drafting: f64,
    pace: &Pace,
    read: usize,
    longest: Duration,
) -> (usize, f64) {
    let answers = chances.len();
    // What is read beside them has its price anyway.
    let gain = |draft: usize| {
        let right = |chances: &Vec<f64>| expected(chances.get(..draft).unwrap_or(chances));
        let more = 1.0 + chances.iter().map(right).sum::<f64>() / answers as f64;
        let beforehand = drafting / pace.takes(0, answers);
        more / (pace.takes_at_best(answers * (1 + draft)) / pace.takes_at_best(answers) + beforehand)
    };
    let most = chances.iter().map(Vec::len).max().unwrap_or(0);
    let takes = |draft: usize| drafting + pace.takes(read, answers * (1 + draft));
    let drafts = (1..=most).take_while(|draft| takes(*draft) <= longest.as_secs_f64());
    let best = drafts.map(|draft| (draft, gain(draft))).max_by(|one, other| one.1.total_cmp(&other.1));
    best.filter(|(_, gain)| *gain > GAIN_MIN).unwrap_or((0, 1.0))
}

/// How many of guesses with these chances are right, on an average: each only if all before it are.
pub(super) fn expected(chances: &[f64]) -> f64 {
    let together = chances.iter().scan(1.0, |all, chance| {
        *all *= chance;
        Some(*all)
    });
    together.sum()
}
