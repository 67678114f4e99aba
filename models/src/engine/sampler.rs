//! Chooses the next token from the model's judgement of all of them.
use std::hash::{BuildHasher, RandomState};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

use super::SamplingParams;

/// How many of the answer's last tokens the penalties look at: llama.cpp's own default.
const PENALTY_TOKENS: i32 = 64;

/// The choice of one answer's tokens.
///
/// The prompt's tokens are not penalised: a chat answers with the peer's own words. The draw of the n-th token depends on
/// the seed and n alone, so an answer that another worker began goes on as it would have there.
#[derive(Debug)]
pub(super) struct Chooser {
    penalties: Option<LlamaSampler>,
    /// Top-k to temperature; `None` is greedy.
    filters: Option<LlamaSampler>,
    seed: u32,
    /// Tokens of the answer so far.
    chosen: u32,
}

impl Chooser {
    /// A chooser behind the tokens that the answer already has.
    pub(super) fn new(params: &SamplingParams, vocabulary: i32, answer: &[LlamaToken]) -> Self {
        let neutral =
            params.repeat_penalty == 1.0 && params.presence_penalty == 0.0 && params.frequency_penalty == 0.0;
        let mut penalties = (!neutral).then(|| {
            let (repeat, frequency, presence) =
                (params.repeat_penalty, params.frequency_penalty, params.presence_penalty);
            LlamaSampler::penalties(vocabulary, PENALTY_TOKENS, repeat, frequency, presence)
        });
        if let Some(penalties) = &mut penalties {
            penalties.accept_many(answer);
        }
        let filters = (params.temperature > 0.0).then(|| {
            let mut filters = Vec::new();
            if params.top_k > 0 {
                filters.push(LlamaSampler::top_k(i32::try_from(params.top_k).unwrap_or(i32::MAX)));
            }
            if params.top_p < 1.0 {
                filters.push(LlamaSampler::top_p(params.top_p, 1));
            }
            if params.min_p > 0.0 {
                filters.push(LlamaSampler::min_p(params.min_p, 1));
            }
            filters.push(LlamaSampler::temp(params.temperature));
            LlamaSampler::chain(filters, true)
        });
        let seed = params.seed.unwrap_or_else(|| RandomState::new().hash_one(0) as u32);
        Self { penalties, filters, seed, chosen: u32::try_from(answer.len()).unwrap_or(u32::MAX) }
    }

    /// Chooses by the row's logits and remembers the choice. `None`: the model's output is not usable.
    pub(super) fn choose(&mut self, context: &LlamaContext<'_>, row: i32) -> Option<LlamaToken> {
        let token = match (&mut self.penalties, &mut self.filters) {
            (None, None) => likeliest(context.get_logits_ith(row)),
            (penalties, filters) => {
                let mut candidates: LlamaTokenDataArray = context.token_data_array_ith(row);
                if let Some(penalties) = penalties {
                    candidates.apply_sampler(penalties);
                }
                match filters {
                    Some(filters) => {
                        candidates.apply_sampler(filters);
                        candidates.apply_sampler(&mut LlamaSampler::dist(draw_seed(self.seed, self.chosen)));
                    }
                    None => candidates.apply_sampler(&mut LlamaSampler::greedy()),
                }
                candidates.selected_token()
            }
        }?;
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
        self.chosen = self.chosen.saturating_add(1);
        Some(token)
    }
}

/// The first of the greatest; `None` if there is no number at all.
fn likeliest(logits: &[f32]) -> Option<LlamaToken> {
    let numbers = logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan());
    let best = numbers.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.and_then(|(index, _)| i32::try_from(index).ok()).map(LlamaToken)
}

/// The seed of one draw: SplitMix64 over the answer's seed and the token's place.
fn draw_seed(seed: u32, place: u32) -> u32 {
    let mut mixed = (u64::from(seed) << 32 | u64::from(place)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let drawn = (mixed ^ (mixed >> 31)) as u32;
    if drawn == u32::MAX { 0 } else { drawn } // llama.cpp draws a seed of its own for this one value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_logit_wins_and_the_first_of_equals() {
        assert_eq!(likeliest(&[0.0, 2.0, 2.0, -1.0]), Some(LlamaToken(1)));
        assert_eq!(likeliest(&[f32::NAN, -3.0, f32::NAN]), Some(LlamaToken(1)));
        assert_eq!(likeliest(&[f32::NAN]), None);
        assert_eq!(likeliest(&[]), None);
    }

    #[test]
    fn each_place_of_each_seed_has_a_draw_of_its_own() {
        let draws: std::collections::HashSet<_> =
            (0..100).flat_map(|seed| (0..100).map(move |place| draw_seed(seed, place))).collect();
        assert!(draws.len() > 9_990, "{}", draws.len());
        assert_eq!(draw_seed(7, 3), draw_seed(7, 3));
    }
}
