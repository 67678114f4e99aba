//! Holds an answer to a grammar, with llama.cpp's own grammar sampler.
//!
//! llama.cpp ends the process when a token is accepted that its grammar refuses, so each one is tried first. What begins a grammar that
//! holds only from a mark on is looked for here: llama.cpp would search the whole answer with a regular expression for each token.
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token::data::LlamaTokenData;
use llama_cpp_2::token::data_array::LlamaTokenDataArray;
use llama_cpp_2::token_type::LlamaTokenAttr;

use super::FormError;
use crate::grammar::{Constraint, Trigger};

/// A grammar at work.
#[derive(Debug)]
pub(super) struct Held {
    grammar: LlamaSampler,
    /// What it waits for, with the end of the text before; `None`: it holds.
    waits: Option<(Trigger, Vec<u8>)>,
    /// The tokens that the grammar names, with their witnesses.
    marks: Vec<(LlamaToken, LlamaToken)>,
    /// For each token whether it is another mark of the vocabulary, or a witness: its text could fit, but it is no text.
    strangers: Vec<bool>,
    /// The bytes of a character whose end is still to come.
    unfinished: Vec<u8>,
}

impl Held {
    /// `None` where the constraint has no grammar.
    pub(super) fn new(model: &LlamaModel, constraint: &Constraint) -> Result<Option<Self>, FormError> {
        let Some(text) = &constraint.gbnf else { return Ok(None) };
        let grammar = LlamaSampler::grammar(model, text, "root")
            .map_err(|error| FormError::Refused { detail: error.to_string() })?;
        let marks: Vec<_> = constraint
            .marks
            .iter()
            .map(|(mark, witness)| (LlamaToken(*mark), LlamaToken(*witness)))
            .collect();
        let vocab = model.vocab();
        // llama.cpp ends the process where such a token is accepted before the grammar's end.
        let cannot_be_named =
            |token: LlamaToken| !(0..vocab.n_tokens()).contains(&token.0) || vocab.is_eog(token);
        if let Some((mark, _)) = marks.iter().find(|(mark, _)| cannot_be_named(*mark)) {
            return Err(FormError::Named { token: mark.0 });
        }
        let is_stranger = |token: LlamaToken| {
            let attributes = vocab.attr(token);
            // Other tokens of the type "user defined" are ordinary text: runs of spaces, HTML tags.
            let has_marks_text = |text: &[u8]| text.starts_with(b"<|") || text.ends_with(b"|>");
            let is_mark = attributes.contains(LlamaTokenAttr::Control)
                || (attributes.contains(LlamaTokenAttr::UserDefined)
                    && vocab.text(token).is_some_and(|text| has_marks_text(text.to_bytes())));
            let is_witness = marks.iter().any(|(_, witness)| *witness == token);
            let is_named = marks.iter().any(|(mark, _)| *mark == token);
            is_witness || (is_mark && !is_named && !vocab.is_eog(token))
        };
        let strangers = (0..vocab.n_tokens()).map(|token| is_stranger(LlamaToken(token))).collect();
        let waits = constraint.lazy.clone().map(|trigger| (trigger, Vec::new()));
        Ok(Some(Self { grammar, waits, marks, strangers, unfinished: Vec::new() }))
    }

    /// Whether the answer may go on with this token.
    pub(super) fn fits(&mut self, model: &LlamaModel, token: LlamaToken) -> bool {
        match self.begun_by(model, token) {
            Begins::Not => true,
            Begins::Before => self.allows(model, token),
            Begins::With(tokens) => {
                let fits = self.feed(model, &tokens);
                self.reset();
                fits
            }
        }
    }

    fn reset(&mut self) {
        self.grammar.reset();
        self.unfinished.clear();
    }

    /// Goes on with a token; `false`: it does not fit, and nothing has changed.
    pub(super) fn accept(&mut self, model: &LlamaModel, token: LlamaToken) -> bool {
        match self.begun_by(model, token) {
            Begins::Not => {
                if let Some((Trigger::Words(words), tail)) = &mut self.waits {
                    model.vocab().token_to_piece_into(token, tail, true, None);
                    tail.drain(..tail.len().saturating_sub(words.len().saturating_sub(1)));
                }
                true
            }
            Begins::Before => self.feed(model, &[token]),
            Begins::With(tokens) => {
                let fits = self.feed(model, &tokens);
                if fits {
                    self.waits = None;
                } else {
                    self.reset();
                }
                fits
            }
        }
    }

    /// Leaves only what the answer may go on with.
    pub(super) fn mask(&mut self, model: &LlamaModel, candidates: &mut LlamaTokenDataArray) {
        if self.waits.is_some() {
            // Only a token that ends the awaited words, with more behind them, can be refused: one by one would take too long.
            let likeliest = |a: &&LlamaTokenData, b: &&LlamaTokenData| a.logit().total_cmp(&b.logit());
            while let Some(token) = candidates.data.iter().max_by(likeliest).map(LlamaTokenData::id) {
                if self.fits(model, token) {
                    return;
                }
                candidates.data.retain(|candidate| candidate.id() != token);
            }
            return;
        }
        candidates.apply_sampler(&mut self.grammar);
        let mut refused: Vec<LlamaToken> = self.marks.iter().map(|(mark, _)| *mark).collect();
        refused.retain(|mark| !self.allows(model, *mark));
        candidates.data.retain(|candidate| {
            let token = candidate.id();
            candidate.logit() > f32::NEG_INFINITY
                && !refused.contains(&token)
                && !self.is_stranger(token)
                && (self.unfinished.is_empty() || self.rest_behind(model, token).is_some())
        });
    }

    fn begun_by(&self, model: &LlamaModel, token: LlamaToken) -> Begins {
        match &self.waits {
            None => Begins::Before,
            Some((Trigger::Token(awaited), _)) if *awaited == token.0 => Begins::With(vec![token]),
            Some((Trigger::Token(_), _)) => Begins::Not,
            Some((Trigger::Words(words), tail)) => {
                let mut text = tail.clone();
                model.vocab().token_to_piece_into(token, &mut text, true, None);
                let found = text.windows(words.len().max(1)).position(|part| part == words.as_bytes());
                let Some(text) = found.and_then(|at| text.get(at..)) else { return Begins::Not };
                let tokens = model.vocab().tokenize(text, false, false);
                let mut spelled = Vec::new();
                tokens
                    .iter()
                    .for_each(|token| model.vocab().token_to_piece_into(*token, &mut spelled, true, None));
                // A vocabulary that puts a blank before each text cannot spell the words alone.
                if spelled == text { Begins::With(tokens) } else { Begins::Not }
            }
        }
    }

    fn is_stranger(&self, token: LlamaToken) -> bool {
        usize::try_from(token.0).ok().and_then(|token| self.strangers.get(token)).copied().unwrap_or(true)
    }

    /// The bytes behind the last whole character when the token has come; `None` where they are no beginning of a character: llama.cpp
    /// understands characters that are written in more bytes than they need, others do not.
    fn rest_behind(&self, model: &LlamaModel, token: LlamaToken) -> Option<Vec<u8>> {
        let mut bytes = self.unfinished.clone();
        model.vocab().token_to_piece_into(token, &mut bytes, true, None);
        match str::from_utf8(&bytes) {
            Ok(_) => Some(Vec::new()),
            Err(error) if error.error_len().is_none() => Some(bytes.split_off(error.valid_up_to())),
            Err(_) => None,
        }
    }

    /// Whether the grammar allows this token; the answer may always be ended where the grammar may.
    fn allows(&mut self, model: &LlamaModel, token: LlamaToken) -> bool {
        let witness = self.marks.iter().find(|(mark, _)| *mark == token).map(|(_, witness)| *witness);
        if (witness.is_none() && self.is_stranger(token)) || self.rest_behind(model, token).is_none() {
            return false;
        }
        let one = LlamaTokenData::new(witness.unwrap_or(token), 0.0, 0.0);
        let mut candidates = LlamaTokenDataArray::new(vec![one], false);
        candidates.apply_sampler(&mut self.grammar);
        candidates.data.first().is_some_and(|candidate| candidate.logit() > f32::NEG_INFINITY)
    }

    fn feed(&mut self, model: &LlamaModel, tokens: &[LlamaToken]) -> bool {
        tokens.iter().all(|token| {
            let allowed = self.allows(model, *token);
            if allowed {
                self.grammar.accept(*token);
                self.unfinished = self.rest_behind(model, *token).unwrap_or_default();
            }
            allowed
        })
    }
}

/// Whether a grammar holds with a token.
enum Begins {
    /// It still waits.
    Not,
    /// It held before.
    Before,
    /// It holds from these tokens on, the last of which may be a part of the token.
    With(Vec<LlamaToken>),
}
