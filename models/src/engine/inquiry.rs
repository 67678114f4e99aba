//! What is found out without an answer in words: at once from the vocabulary and the chat format, or by the [`Embedder`].
use llama_cpp_2::token::LlamaToken;

use super::batch::Engine;
use super::embedder::Embedder;
use super::job::count;
use super::model::LoadedModel;
use super::{EngineEvent, Finding, Finish, Inquiry, PASSAGE_TOKENS_MAX, Prompt, Refusal, Stretch, Usage};
use crate::chat::{Conversation, Piece};

/// Longest text, and most tokens with their texts, in bytes: half of a frame.
const FINDING_BYTES_MAX: usize = 4 << 20;
/// What a token takes up of that beside its text.
const TOKEN_BYTES: usize = 8;
/// llama.cpp's numbers for no vector of the whole text, and for a rank instead, where a model's file says how its vectors are made.
const POOLING_NONE: &str = "0";
const POOLING_RANK: &str = "4";

fn refuse(detail: impl Into<String>) -> Refusal {
    Refusal::Engine { detail: detail.into() }
}

fn unable(detail: &str) -> Refusal {
    Refusal::Unable { detail: detail.to_owned() }
}

impl Engine<'_> {
    /// Answers with what was found, or with the beginning of the search.
    pub(super) fn inquire(&mut self, id: u64, inquiry: &Inquiry) -> Result<EngineEvent, Refusal> {
        let (finding, tokens) = match inquiry {
            Inquiry::Tokens { passage, adds_special, reads_marks } => {
                let tokens = self.model.tokens_of(passage, *adds_special, *reads_marks)?;
                (Finding::Tokens(self.model.spelled(&tokens)?), tokens.len())
            }
            Inquiry::Text { tokens } => (Finding::Text(self.model.text_of(tokens)?), tokens.len()),
            Inquiry::Format { conversation } => {
                if conversation.media().next().is_some() {
                    return Err(refuse(
                        "pictures and recordings are no text; leave them out, or send the chat itself",
                    ));
                }
                let (prompt, _) = self.model.prompt(&Prompt::Chat(conversation.clone()), &[], id)?;
                (Finding::Text(self.model.written(conversation)?), prompt.tokens.len())
            }
            Inquiry::Vectors { passages } => return self.embed(id, passages),
        };
        let usage = Usage { prompt_tokens: count(tokens), ..Usage::default() };
        self.untold.push(EngineEvent::Finished { id, reason: Finish::EndOfTurn, usage });
        Ok(EngineEvent::Found { id, finding })
    }

    fn embed(&mut self, id: u64, passages: &[Vec<Stretch>]) -> Result<EngineEvent, Refusal> {
        self.model.makes_vectors()?;
        let tokens_max = PASSAGE_TOKENS_MAX.min(self.context_tokens).min(self.model.context_tokens_trained());
        let read = |passage: &Vec<Stretch>| {
            let tokens = self.model.tokens_of(passage, true, true)?;
            match count(tokens.len()) {
                0 => Err(refuse("an empty text has no vector")),
                tokens if tokens > tokens_max => Err(Refusal::PromptTooLong { tokens, tokens_max }),
                _ => Ok(tokens),
            }
        };
        let passages = passages.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if passages.is_empty() {
            return Err(refuse("there is no text"));
        }
        let embedder = match &mut self.embedder {
            Some(embedder) => embedder,
            none => none.insert(Embedder::new(self.model, tokens_max, self.threads)?),
        };
        Ok(embedder.begin(id, passages))
    }

    /// Gives back the memory that vectors were computed in, if nobody wants any.
    pub fn put_embedder_away(&mut self) {
        self.embedder.take_if(|embedder| embedder.is_idle());
    }
}

impl LoadedModel {
    /// What a passage becomes. The tokens that texts begin and end with go around the first text, as at llama-server.
    pub(super) fn tokens_of(
        &self,
        passage: &[Stretch],
        adds_special: bool,
        reads_marks: bool,
    ) -> Result<Vec<LlamaToken>, Refusal> {
        let (mut tokens, mut is_first) = (Vec::new(), true);
        for stretch in passage {
            match stretch {
                Stretch::Text(text) => {
                    let special = adds_special && std::mem::take(&mut is_first);
                    tokens.extend(self.llama.vocab().tokenize(text.as_bytes(), special, reads_marks));
                }
                Stretch::Token(token) => {
                    tokens.push(self.checked(*token)?);
                    is_first = false;
                }
            }
        }
        Ok(tokens)
    }

    fn checked(&self, token: i32) -> Result<LlamaToken, Refusal> {
        let token = LlamaToken(token);
        self.has(token).then_some(token).ok_or_else(|| refuse(format!("the model has no token {}", token.0)))
    }

    /// Tokens with their texts.
    fn spelled(&self, tokens: &[LlamaToken]) -> Result<Vec<(i32, Vec<u8>)>, Refusal> {
        let mut room = FINDING_BYTES_MAX;
        let spell = |token: &LlamaToken| {
            let piece = self.llama.vocab().token_to_piece(*token, true, None);
            room =
                room.checked_sub(piece.len() + TOKEN_BYTES).ok_or_else(|| refuse("the text is too long"))?;
            Ok((token.0, piece))
        };
        tokens.iter().map(spell).collect()
    }

    fn text_of(&self, tokens: &[i32]) -> Result<String, Refusal> {
        let tokens = tokens.iter().map(|token| self.checked(*token)).collect::<Result<Vec<_>, _>>()?;
        let mut bytes = Vec::new();
        for token in tokens {
            bytes.extend(self.llama.vocab().token_to_piece(token, true, None));
            if bytes.len() > FINDING_BYTES_MAX {
                return Err(refuse("the tokens' text is too long"));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A conversation as text, marks included.
    fn written(&self, conversation: &Conversation) -> Result<String, Refusal> {
        let pieces = self.pieces(conversation)?;
        let text: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Mark(mark) => mark.as_ref(),
                Piece::Text(text) => text,
                Piece::Media(_) => "",
            })
            .collect();
        if text.len() > FINDING_BYTES_MAX {
            return Err(refuse("the conversation is too long"));
        }
        Ok(text)
    }

    /// Whether it makes vectors of texts at all.
    fn makes_vectors(&self) -> Result<(), Refusal> {
        match self.pooling().as_deref() {
            Some(POOLING_RANK) => {
                Err(unable("this model ranks pairs of texts and has no vectors; take another one"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a text has to be put before it whole: an embedding model, whose file says how it makes vectors, and any that reads in both
    /// directions. Of others the mean of all tokens stands for a text, and these can be read one after the other.
    pub(super) fn reads_whole(&self) -> bool {
        let both_ways = self.said("attention.causal").is_some_and(|causal| causal == "false");
        both_ways || self.pooling().is_some_and(|pooling| pooling != POOLING_NONE)
    }

    fn pooling(&self) -> Option<String> {
        self.said("pooling_type")
    }

    fn said(&self, key: &str) -> Option<String> {
        let architecture = self.llama.meta_val_str("general.architecture").ok()?;
        self.llama.meta_val_str(&format!("{architecture}.{key}")).ok()
    }
}
