//! A loaded model: its file, its vocabulary, and prompts as tokens.
use std::collections::HashSet;
use std::path::Path;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;

use super::slots::common_prefix;
use super::{EngineError, Prompt};
use crate::chat::{ChatFamily, ChatFormat, Conversation, Piece, Role, Shown, Turn, cut_inside_marks};

/// A model in memory, ready for an [`Engine`](super::Engine).
#[derive(Debug)]
pub struct LoadedModel {
    pub(super) backend: LlamaBackend,
    pub(super) llama: LlamaModel,
    format: ChatFormat,
    /// The format's marks with their tokens.
    marks: Vec<(&'static str, LlamaToken)>,
    /// Texts that would become a single mark's token even as plain text.
    dangerous: Vec<String>,
    opening: HashSet<LlamaToken>,
    closing: HashSet<LlamaToken>,
    /// Marks by which nothing is shown.
    silent: HashSet<LlamaToken>,
    /// How many tokens back the layers with a sliding window look, the present one included; `None` if there are no such layers.
    window_tokens: Option<u32>,
}

impl LoadedModel {
    /// Reads a model file. `progress` is told each percent above 0 that is reached, in rising order.
    ///
    /// llama.cpp may end the process on a damaged file: call this only where that does no harm.
    pub fn load(
        path: &Path,
        family: ChatFamily,
        mut progress: impl FnMut(u8) + 'static,
    ) -> Result<Self, EngineError> {
        // llama.cpp would only say "null result": the system's own reason is of more use.
        std::fs::File::open(path).map_err(|source| EngineError::Open { path: path.to_owned(), source })?;
        llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
        let backend =
            LlamaBackend::init().map_err(|error| EngineError::Backend { detail: error.to_string() })?;
        let mut last = 0;
        let params = LlamaModelParams::default().with_progress_callback(move |done| {
            let percent = (done.clamp(0.0, 1.0) * 100.0) as u8;
            if percent > last {
                last = percent;
                progress(percent);
            }
            true
        });
        let llama = LlamaModel::load_from_file(&backend, path, &params)
            .map_err(|error| EngineError::Load { path: path.to_owned(), detail: error.to_string() })?;
        Self::understand(backend, llama, family)
    }

    fn understand(backend: LlamaBackend, llama: LlamaModel, family: ChatFamily) -> Result<Self, EngineError> {
        let template = llama.chat_template(None).ok().and_then(|template| template.to_string().ok());
        let vocab = llama.vocab();
        let token_of = |mark: &str| match vocab.tokenize(mark.as_bytes(), false, true).as_slice() {
            [token] => Some(*token),
            _ => None,
        };
        let mut marks = Vec::new();
        for mark in family.marks() {
            let token = token_of(mark).ok_or(EngineError::NoMark { mark, family })?;
            marks.push((*mark, token));
        }
        let set = |texts: &[&str]| texts.iter().filter_map(|mark| token_of(mark)).collect::<HashSet<_>>();
        let (opening, closing) = (set(family.opening_marks()), set(family.closing_marks()));
        let (mut dangerous, mut silent) = (Vec::new(), HashSet::new());
        for id in 0..vocab.n_tokens() {
            let token = LlamaToken(id);
            if vocab.is_control(token) {
                silent.insert(token);
            } else if vocab.attr(token).contains(LlamaTokenAttr::UserDefined) {
                // Other tokens of this type are ordinary text: runs of spaces, HTML tags.
                let text = vocab.text(token).map(|text| text.to_string_lossy().into_owned());
                if let Some(text) = text.filter(|text| text.starts_with("<|") || text.ends_with("|>")) {
                    silent.insert(token);
                    dangerous.push(text);
                }
            }
        }
        let format = family.format(template.as_deref());
        let window_tokens = window_tokens(&llama);
        Ok(Self { backend, llama, format, marks, dangerous, opening, closing, silent, window_tokens })
    }

    /// How the model was taught to converse.
    pub(super) fn family(&self) -> ChatFamily {
        self.format.family
    }

    /// Longest context that the model was trained for, in tokens.
    pub fn context_tokens_trained(&self) -> u32 {
        self.llama.n_ctx_train()
    }

    /// How many tokens back the layers with a sliding window look, the present one included; `None` if there are no such layers.
    pub(super) fn window_tokens(&self) -> Option<u32> {
        self.window_tokens
    }

    /// What is to be gone on with as tokens, up to where the answer begins.
    pub(super) fn prompt(&self, prompt: &Prompt) -> PromptTokens {
        match prompt {
            Prompt::Chat(conversation) => self.conversation(conversation),
            // Whoever hands in bare text writes the format, if any, with his own hand.
            Prompt::Text(text) => {
                let tokens = self.llama.vocab().tokenize(text.as_bytes(), true, true);
                PromptTokens { instructions: 0, lasting: usize::MAX, tokens }
            }
        }
    }

    fn conversation(&self, conversation: &Conversation) -> PromptTokens {
        let pieces = self.pieces(conversation);
        let mut tokens = Vec::new();
        let mut ends = Vec::new();
        for piece in &pieces {
            match piece {
                Piece::Mark(mark) => {
                    tokens.extend(self.marks.iter().find(|(text, _)| text == mark).map(|(_, token)| *token));
                }
                Piece::Text(text) => {
                    for part in cut_inside_marks(text, &self.dangerous) {
                        tokens.extend(self.llama.vocab().tokenize(part.as_bytes(), false, false));
                    }
                }
            }
            ends.push(tokens.len());
        }
        // Pieces become tokens one by one: what has the same pieces has the same tokens.
        let shared = |other: &Conversation| {
            let common = common_prefix(&pieces, &self.pieces(other));
            common.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0)
        };
        let instructions = shared(&Conversation { turns: Vec::new(), ..conversation.clone() });
        let mut later = conversation.clone();
        later.turns.extend([Role::Assistant, Role::User].map(|role| Turn::text(role, "...")));
        let lasting = Some(shared(&later)).filter(|lasting| *lasting < tokens.len()).unwrap_or(usize::MAX);
        PromptTokens { instructions, lasting, tokens }
    }

    fn pieces(&self, conversation: &Conversation) -> Vec<Piece> {
        let turns: Vec<_> = conversation.turns.iter().map(|turn| (turn.role, turn.words())).collect();
        self.format.render(&conversation.system, &turns)
    }

    /// Whether the model ends its turn with this token.
    pub(super) fn ends_turn(&self, token: LlamaToken) -> bool {
        self.llama.vocab().is_eog(token)
    }

    /// Whether the vocabulary has such a token: llama.cpp takes others for memory addresses.
    pub(super) fn has(&self, token: LlamaToken) -> bool {
        (0..self.llama.vocab().n_tokens()).contains(&token.0)
    }

    /// What the token means to the reader. `buffer` lends the room for its bytes.
    pub(super) fn shown<'b>(&self, token: LlamaToken, buffer: &'b mut Vec<u8>) -> Shown<'b> {
        if self.opening.contains(&token) {
            return Shown::Opens;
        }
        if self.closing.contains(&token) {
            return Shown::Closes;
        }
        if self.silent.contains(&token) {
            return Shown::Nothing;
        }
        buffer.clear();
        self.llama.vocab().token_to_piece_into(token, buffer, false, None);
        Shown::Bytes(buffer)
    }
}

/// A prompt as tokens.
#[derive(Debug)]
pub(super) struct PromptTokens {
    pub(super) tokens: Vec<LlamaToken>,
    /// How many of the first are instructions: what every conversation of the same Archon begins with.
    pub(super) instructions: usize,
    /// How many of the first the next turn's prompt begins with, whatever the answer is: fewer than all in formats that open an answer
    /// otherwise than they show a past one. Greater than all: the next prompt goes on behind the answer, as far as is known.
    pub(super) lasting: usize,
}

/// Where the file says nothing that is understood, nothing is taken to slide: a memory that lacks anything is then not used.
fn window_tokens(llama: &LlamaModel) -> Option<u32> {
    let architecture = llama.meta_val_str("general.architecture").ok()?;
    let window = llama.meta_val_str(&format!("{architecture}.attention.sliding_window")).ok()?;
    window.parse().ok().filter(|window| *window > 0)
}
