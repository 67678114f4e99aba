//! Drafts: what probably comes next, computed together with the token that it is to follow. Pure.
//!
//! Answers repeat what was said before: names, quotations, code, their own phrases. So what followed when the last few tokens stood
//! there before is a good guess ("prompt look-up"). A guess that is computed in the same batch costs less than a step of its own, since
//! the weights are read once for all rows; whoever chooses the next token finds out which guesses were right, and what is behind the
//! first wrong one is taken back. What is chosen is thereby never changed, at any temperature: only how many steps it takes.
//!
//! Whether that pays depends on model, machine and text. All three are measured while they work: the cost of a row by [`StepCost`], the
//! odds of a guess by [`Odds`], also of guesses that were not computed. [`worthwhile`] weighs them in every step anew.
use std::time::Duration;

/// Most guessed tokens of one answer in one step: more are rarely right, and a step must stay short.
pub(super) const DRAFT_TOKENS_MAX: usize = 15;
/// Fewest last tokens that must have stood before: what follows a single token is hardly ever the same.
const MATCH_MIN: usize = 2;
/// A match of so many tokens is as good as a longer one.
const MATCH_ENOUGH: usize = 6;
/// How much one guess changes the odds of the next: as much as a mean over the last twenty or so.
const ODDS_RATE: f64 = 0.1;
/// How much of the weight of past steps is left after one more: costs follow the machine within some fifty steps.
const COST_MEMORY: f64 = 0.98;
/// Drafts must promise so much more tokens a second than none: estimates err, and a wasted step is felt by all answers.
const GAIN_MIN: f64 = 1.05;

/// A guess of what comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess<T> {
    /// The tokens, the next one first.
    pub(super) tokens: Vec<T>,
    /// How many of the last tokens stood before it the last time.
    matched: usize,
}

impl<T> Default for Guess<T> {
    /// No guess.
    fn default() -> Self {
        Self { tokens: Vec::new(), matched: 0 }
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
    Guess { tokens: guessed, matched }
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
        if self.tokens.is_empty() { 0 } else { self.matched + place }
    }
}

/// What a step of so many rows takes: a fixed part, in which the weights are read, and a part for each row. Least squares over the
/// latest steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StepCost {
    weight: f64,
    rows: f64,
    seconds: f64,
    rows_squared: f64,
    rows_seconds: f64,
}

impl StepCost {
    /// Takes in a step in which nothing was read, only written.
    pub(super) fn observe(&mut self, rows: usize, took: Duration) {
        let (rows, seconds) = (rows as f64, took.as_secs_f64());
        let add = |sum: &mut f64, value: f64| *sum = *sum * COST_MEMORY + value;
        add(&mut self.weight, 1.0);
        add(&mut self.rows, rows);
        add(&mut self.seconds, seconds);
        add(&mut self.rows_squared, rows * rows);
        add(&mut self.rows_seconds, rows * seconds);
    }

    /// The parts in seconds: of the step and of each row. `read` is what a row takes when a prompt is read: as long as all steps have
    /// had about the same number of rows, it is the best that is known. `None` before the first step.
    fn parts(&self, read: f64) -> Option<(f64, f64)> {
        if self.weight <= 0.0 {
            return None;
        }
        let mean = (self.rows / self.weight, self.seconds / self.weight);
        let spread = (self.rows_squared / self.weight - mean.0 * mean.0).max(0.0);
        let together = self.rows_seconds / self.weight - mean.0 * mean.1;
        // One row more or less is so little that the estimate counts as much as the measurement.
        let row = ((together + read) / (spread + 1.0)).clamp(0.0, mean.1 / mean.0.max(1.0));
        Some((mean.1 - row * mean.0, row))
    }
}

/// How many guessed tokens every answer should take into the step, so that most are written in a second: often none. No step is to take
/// longer than `longest` for their sake.
///
/// All answers take the same number, whoever has fewer guesses takes anything: llama.cpp computes sequences side by side as far as they
/// are of one length, and touches all weights anew for what is longer.
pub(super) fn worthwhile<T>(
    guesses: &[(&Guess<T>, &Odds)],
    cost: &StepCost,
    read: f64,
    longest: Duration,
) -> usize {
    let Some((step, row)) = cost.parts(read) else { return 0 };
    let answers = guesses.len() as f64;
    let takes = |draft: usize| step + row * answers * (1.0 + draft as f64);
    let rate = |draft: usize| {
        let right = |&(guess, odds): &(&Guess<T>, &Odds)| {
            let odds = odds.of(guess);
            let places = i32::try_from(draft.min(guess.tokens.len())).unwrap_or(0);
            (1..=places).map(|place| odds.powi(place)).sum::<f64>()
        };
        let tokens = answers + guesses.iter().map(right).sum::<f64>();
        tokens / takes(draft)
    };
    let most = guesses.iter().map(|(guess, _)| guess.tokens.len()).max().unwrap_or(0);
    let drafts = (1..=most).filter(|draft| takes(*draft) <= longest.as_secs_f64());
    let best = drafts.map(|draft| (draft, rate(draft))).max_by(|one, other| one.1.total_cmp(&other.1));
    best.filter(|(_, best)| *best > rate(0) * GAIN_MIN).map_or(0, |(draft, _)| draft)
}
