//! Chooses the next token from the model's judgement of all of them.
use std::hash::{BuildHasher, RandomState};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;

mod held;
#[cfg(test)]
mod tests;

use held::Held;

use super::model::LoadedModel;
use super::{Prompt, Request, SamplingParams, TokenLogprob};
use crate::chat::ChatFamily;
use crate::grammar::{self, GrammarError, Style};

/// How many of the answer's last tokens the penalties look at: llama.cpp's own default.
const PENALTY_TOKENS: i32 = 64;

/// Why an answer cannot be held to its form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    /// There is no grammar for it.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// llama.cpp cannot use the grammar.
    #[error("llama.cpp cannot use the grammar: {detail}")]
    Refused {
        /// What it says.
        detail: String,
    },
    /// The grammar names a token that has no place in it.
    #[error("the grammar names the token {token}, which ends answers or is none of this model's")]
    Named {
        /// Which token.
        token: i32,
    },
    /// A bias makes no sense.
    #[error(
        "the bias of token {token} must be a number or negative infinity, and the token one of this model's"
    )]
    Bias {
        /// Which token.
        token: i32,
    },
    /// What the answer already has is not of its form.
    #[error("the tokens to resume do not fit the form that is asked for")]
    Resumed,
}

/// The choice of one answer's tokens.
///
/// The prompt's tokens are not penalised: a chat answers with the peer's own words. The draw of the n-th token depends on
/// the seed and n alone, so an answer that another worker began goes on as it would have there.
#[derive(Debug)]
pub(super) struct Chooser {
    penalties: Option<LlamaSampler>,
    /// Top-k to temperature; `None` is greedy.
    filters: Option<LlamaSampler>,
    /// Added to the logits of single tokens; negative infinity forbids one.
    bias: Vec<(LlamaToken, f32)>,
    held: Option<Held>,
    /// How many of the likeliest tokens are told.
    told: Option<u8>,
    seed: u32,
    /// Tokens of the answer so far.
    chosen: u32,
}

impl Chooser {
    /// A chooser behind the tokens that the answer already has.
    pub(super) fn new(
        model: &LoadedModel,
        request: &Request,
        answer: &[LlamaToken],
    ) -> Result<Self, FormError> {
        let params = &request.sampling;
        let mut penalties = penalties(params, model.llama.n_vocab());
        if let Some(penalties) = &mut penalties {
            penalties.accept_many(answer);
        }
        let form = &request.form;
        let mut bias = Vec::new();
        for (token, bonus) in &form.bias {
            if bonus.is_nan() || *bonus == f32::INFINITY || !model.has(LlamaToken(*token)) {
                return Err(FormError::Bias { token: *token });
            }
            bias.push((LlamaToken(*token), *bonus));
        }
        let vocab = model.llama.vocab();
        if form.ignores_end {
            let ends = (0..vocab.n_tokens()).map(LlamaToken).filter(|token| vocab.is_eog(*token));
            bias.extend(ends.map(|token| (token, f32::NEG_INFINITY)));
        }
        let (tools, thinking) = match &request.prompt {
            Prompt::Chat(conversation) => (conversation.tools.as_slice(), conversation.thinking),
            Prompt::Text(_) | Prompt::Passage(_) | Prompt::Inquiry(_) => (&[][..], false),
        };
        let style = if thinking { style(model) } else { style(model).without_thought() };
        let mut held = None;
        if let Some(constraint) = grammar::for_answer(tools, form, &style)? {
            bias.extend(constraint.banned.iter().map(|token| (LlamaToken(*token), f32::NEG_INFINITY)));
            held = Held::new(&model.llama, &constraint)?;
            for widening in &constraint.widened {
                tracing::debug!(request = request.id, %widening, "a schema is not enforced in full");
            }
        }
        if let Some(held) = &mut held
            && !answer.iter().all(|token| held.accept(&model.llama, *token))
        {
            return Err(FormError::Resumed);
        }
        let seed = params.seed.unwrap_or_else(|| RandomState::new().hash_one(0) as u32);
        let chosen = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        Ok(Self { penalties, filters: filters(params), bias, held, told: form.logprobs, seed, chosen })
    }

    /// Chooses by the row's logits and remembers the choice. `None`: the model's output is not usable.
    ///
    /// A grammar is asked about the choice first; only when it refuses are all tokens tried, which takes much longer. Where nothing may
    /// follow, the answer ends.
    pub(super) fn choose(
        &mut self,
        model: &LlamaModel,
        context: &LlamaContext<'_>,
        row: i32,
    ) -> Option<LlamaToken> {
        let logits = context.get_logits_ith(row);
        let best = likeliest(logits)?;
        let is_greedy = self.penalties.is_none() && self.filters.is_none();
        let greedy = if is_greedy { likeliest_with(logits, best, &self.bias) } else { None };
        let first = greedy.or_else(|| self.draw(candidates(logits, &self.bias)));
        let mut token = first;
        if let (Some(held), Some(first)) = (&mut self.held, first)
            && !held.fits(model, first)
        {
            let mut candidates = candidates(logits, &self.bias);
            held.mask(model, &mut candidates);
            token = self.draw(candidates);
        }
        let vocab = model.vocab();
        let token = token.filter(|token| {
            let accepted = self.held.as_mut().is_none_or(|held| held.accept(model, *token));
            accepted || vocab.is_eog(*token)
        });
        let token =
            token.or_else(|| (0..vocab.n_tokens()).map(LlamaToken).find(|token| vocab.is_eog(*token)))?;
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
        self.chosen = self.chosen.saturating_add(1);
        Some(token)
    }

    /// How likely the chosen token was, and the likeliest, where that is asked for.
    pub(super) fn logprobs(
        &self,
        model: &LlamaModel,
        logits: &[f32],
        token: LlamaToken,
    ) -> Option<(TokenLogprob, Vec<TokenLogprob>)> {
        let count = usize::from(self.told?);
        let total = log_of_sum(logits);
        let told = |index: usize| {
            let token = i32::try_from(index).unwrap_or(i32::MAX);
            let bytes = model.vocab().token_to_piece(LlamaToken(token), true, None);
            let logprob =
                logits.get(index).map_or(f32::NEG_INFINITY, |logit| (f64::from(*logit) - total) as f32);
            TokenLogprob { token, bytes, logprob }
        };
        let first = likeliest_of(logits, count).into_iter().map(told).collect();
        Some((told(usize::try_from(token.0).ok()?), first))
    }

    /// One of the candidates; `None` if there is none.
    fn draw(&mut self, mut candidates: LlamaTokenDataArray) -> Option<LlamaToken> {
        if candidates.data.is_empty() {
            return None;
        }
        if let Some(penalties) = &mut self.penalties {
            candidates.apply_sampler(penalties);
        }
        match &mut self.filters {
            Some(filters) => {
                candidates.apply_sampler(filters);
                candidates.apply_sampler(&mut LlamaSampler::dist(draw_seed(self.seed, self.chosen)));
            }
            None => candidates.apply_sampler(&mut LlamaSampler::greedy()),
        }
        candidates.selected_token()
    }
}

/// Every token with its logit and bias, without those that are forbidden.
fn candidates(logits: &[f32], bias: &[(LlamaToken, f32)]) -> LlamaTokenDataArray {
    let tokens = (0..).zip(logits).map(|(token, logit)| LlamaTokenData::new(LlamaToken(token), *logit, 0.0));
    let mut candidates = LlamaTokenDataArray::from_iter(tokens, false);
    for (token, bonus) in bias {
        let index = usize::try_from(token.0).unwrap_or(usize::MAX);
        if let Some(candidate) = candidates.data.get_mut(index) {
            candidate.set_logit(candidate.logit() + bonus);
        }
    }
    if !bias.is_empty() {
        candidates.data.retain(|candidate| candidate.logit() > f32::NEG_INFINITY);
    }
    candidates
}

fn penalties(params: &SamplingParams, vocabulary: i32) -> Option<LlamaSampler> {
    let (repeat, frequency, presence) =
        (params.repeat_penalty, params.frequency_penalty, params.presence_penalty);
    let neutral = repeat == 1.0 && presence == 0.0 && frequency == 0.0;
    (!neutral).then(|| LlamaSampler::penalties(vocabulary, PENALTY_TOKENS, repeat, frequency, presence))
}

fn filters(params: &SamplingParams) -> Option<LlamaSampler> {
    (params.temperature > 0.0).then(|| {
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
    })
}

/// How the model's family writes calls, with this vocabulary's marks.
fn style(model: &LoadedModel) -> Style {
    let vocab = model.llama.vocab();
    let token_of = |text: &str| match vocab.tokenize(text.as_bytes(), false, true).as_slice() {
        [token] if vocab.token_to_piece(*token, true, None) == text.as_bytes() => Some(token.0),
        _ => None,
    };
    match model.family() {
        ChatFamily::Gemma4 => Style::gemma4(token_of),
        // Other templates that know calls mostly have these.
        ChatFamily::ChatMl | ChatFamily::Template | ChatFamily::Mute => Style::chatml(token_of),
    }
}

/// The logarithm of the sum of the exponentials: what a logit lacks to be a probability's.
fn log_of_sum(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().filter(|logit| !logit.is_nan()).fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 =
        logits.iter().filter(|logit| !logit.is_nan()).map(|logit| f64::from(logit - most).exp()).sum();
    f64::from(most) + sum.ln()
}

/// The places of the greatest logits, the greatest first, the first of equals first.
fn likeliest_of(logits: &[f32], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..logits.len()).filter(|place| logits[*place].is_finite()).collect();
    let order = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}

/// The first of the greatest; `None` if there is no number at all.
///
/// Once a token over a quarter of a million numbers: in lanes, which the compiler turns into a few instructions.
fn likeliest(logits: &[f32]) -> Option<LlamaToken> {
    let mut lanes = [f32::NEG_INFINITY; 32];
    let (whole, rest) = logits.as_chunks::<32>();
    for chunk in whole {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = if *logit > *lane { *logit } else { *lane }; // never by what is no number
        }
    }
    let greatest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let index = logits.iter().position(|logit| *logit == greatest)?;
    i32::try_from(index).ok().map(LlamaToken)
}

/// The likeliest with biases, where `best` is that without; `None` where that takes a look at all of them.
fn likeliest_with(logits: &[f32], best: LlamaToken, bias: &[(LlamaToken, f32)]) -> Option<LlamaToken> {
    let logit =
        |token: LlamaToken| usize::try_from(token.0).ok().and_then(|index| logits.get(index)).copied();
    let untouched = bias.iter().all(|(token, bonus)| *token != best && *bonus <= 0.0);
    (bias.is_empty() || (untouched && logit(best).is_some())).then_some(best)
}

/// The seed of one draw: SplitMix64 over the answer's seed and the token's place.
fn draw_seed(seed: u32, place: u32) -> u32 {
    let mut mixed = (u64::from(seed) << 32 | u64::from(place)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let drawn = (mixed ^ (mixed >> 31)) as u32;
    if drawn == u32::MAX { 0 } else { drawn } // llama.cpp draws a seed of its own for this one value
}
