//! A loaded model: its file, its vocabulary, and prompts as tokens.
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;
use llama_cpp_2::token_type::LlamaTokenAttr;

use super::gpu::computed_by;
use super::job::Span;
use super::media::{Medium, MediumRow, Row, is_place_holder};
use super::slots::common_prefix;
use super::{EngineError, Prompt, Refusal, Residence, raw};
use crate::chat::{
    AnswerParser, ChatError, ChatFamily, ChatFormat, Conversation, Piece, Role, Shown, Turn, Vocabulary,
    cut_inside_marks, is_mark,
};

/// A conversation's media are numbered by the chat format, and handed in by the engine: a bug if they do not agree.
const UNPLACED: &str = "a picture or recording has no place in the prompt";

/// A model in memory, ready for an [`Engine`](super::Engine).
#[derive(Debug)]
pub struct LoadedModel {
    pub(super) backend: LlamaBackend,
    pub(super) llama: LlamaModel,
    pub(super) format: ChatFormat,
    /// The tokens of the vocabulary's marks, by their texts.
    tokens: HashMap<String, LlamaToken>,
    /// The texts of the vocabulary's marks, by their tokens.
    marks: HashMap<LlamaToken, String>,
    /// Texts that would become a single mark's token even as plain text.
    dangerous: Arc<[String]>,
    /// How many tokens back the layers with a sliding window look, the present one included; `None` if there are no such layers.
    window_tokens: Option<u32>,
    /// What computes it, for people.
    processor: String,
}

impl LoadedModel {
    /// Reads a model file. `progress` is told each percent above 0 that is reached, in rising order.
    ///
    /// llama.cpp may end the process on a damaged file: call this only where that does no harm.
    pub fn load(
        path: &Path,
        family: ChatFamily,
        residence: Residence,
        mut progress: impl FnMut(u8),
    ) -> Result<Self, EngineError> {
        // llama.cpp would only say "null result": the system's own reason is of more use.
        std::fs::File::open(path).map_err(|source| EngineError::Open { path: path.to_owned(), source })?;
        llama_cpp_2::send_logs_to_tracing(llama_cpp_2::LogOptions::default());
        let backend =
            LlamaBackend::init().map_err(|error| EngineError::Backend { detail: error.to_string() })?;
        let mut last = 0;
        let tell = |done: f32| {
            let percent = (done.clamp(0.0, 1.0) * 100.0) as u8;
            if percent > last {
                last = percent;
                progress(percent);
            }
        };
        let llama = raw::load(&backend, path, residence, tell)
            .map_err(|error| EngineError::Load { path: path.to_owned(), detail: error.to_string() })?;
        let processor = computed_by(residence, llama.n_layer());
        Ok(Self { processor, ..Self::understand(backend, llama, family)? })
    }

    fn understand(backend: LlamaBackend, llama: LlamaModel, family: ChatFamily) -> Result<Self, EngineError> {
        let template = llama.chat_template(None).ok().and_then(|template| template.to_string().ok());
        let vocab = llama.vocab();
        let (mut tokens, mut marks, mut dangerous) = (HashMap::new(), HashMap::new(), Vec::new());
        for id in 0..vocab.n_tokens() {
            let token = LlamaToken(id);
            let is_control = vocab.is_control(token);
            if !is_control && !vocab.attr(token).contains(LlamaTokenAttr::UserDefined) {
                continue;
            }
            let text = vocab.text(token).map(|text| text.to_string_lossy().into_owned());
            let Some(text) = text.filter(|text| is_mark(text, is_control)) else { continue };
            if !is_control {
                dangerous.push(text.clone());
            }
            tokens.entry(text.clone()).or_insert(token);
            marks.insert(token, text);
        }
        if let Some(mark) = family.marks().iter().find(|mark| !tokens.contains_key(**mark)) {
            return Err(EngineError::NoMark { mark, family });
        }
        let text_of = |token| marks.get(&token).cloned();
        let vocabulary = Vocabulary {
            marks: tokens.keys().cloned().collect(),
            bos: text_of(vocab.bos()).filter(|_| vocab.should_add_bos()),
            eos: text_of(vocab.eos()).unwrap_or_default(),
        };
        let format = family.format(template.as_deref(), &vocabulary)?;
        let window_tokens = window_tokens(&llama);
        let (dangerous, processor) = (dangerous.into(), String::new());
        Ok(Self { backend, llama, format, tokens, marks, dangerous, window_tokens, processor })
    }

    /// How the model was taught to converse.
    pub(super) fn family(&self) -> ChatFamily {
        self.format.family
    }

    /// Longest context that the model was trained for, in tokens.
    pub fn context_tokens_trained(&self) -> u32 {
        self.llama.n_ctx_train()
    }

    /// What computes it, for people: `100% CPU`, `48%/52% CPU/GPU`, `100% GPU (Vulkan: NAME)`.
    pub fn processor(&self) -> &str {
        &self.processor
    }

    /// How many tokens back the layers with a sliding window look, the present one included; `None` if there are no such layers.
    pub(super) fn window_tokens(&self) -> Option<u32> {
        self.window_tokens
    }

    /// What is to be gone on with as tokens, up to where the answer begins, and what takes the answer apart. Bare text is gone on with by bare
    /// text: whoever writes the format himself reads it himself. `media` are the conversation's, as they were measured.
    pub(super) fn prompt(
        &self,
        prompt: &Prompt,
        media: &[MediumRow],
        id: u64,
    ) -> Result<(PromptTokens, AnswerParser), Refusal> {
        if self.family() == ChatFamily::Mute {
            return Err(Refusal::Engine { detail: ChatError::Mute.to_string() });
        }
        match prompt {
            Prompt::Chat(conversation) => self.conversation(conversation, media, id),
            Prompt::Inquiry(_) => Err(Refusal::Engine { detail: "it is no prompt".to_owned() }),
            // Whoever hands in bare text writes the format, if any, with his own hand.
            Prompt::Text(text) => Ok(self.bare(self.llama.vocab().tokenize(text.as_bytes(), true, true))),
            Prompt::Passage(passage) => Ok(self.bare(self.tokens_of(passage, true, true)?)),
        }
    }

    fn bare(&self, tokens: Vec<LlamaToken>) -> (PromptTokens, AnswerParser) {
        let parser = AnswerParser::of_bare_text(self.dangerous.clone());
        (PromptTokens { instructions: 0, lasting: usize::MAX, tokens, media: Vec::new() }, parser)
    }

    fn conversation(
        &self,
        conversation: &Conversation,
        media: &[MediumRow],
        id: u64,
    ) -> Result<(PromptTokens, AnswerParser), Refusal> {
        let refuse = |detail: String| Refusal::Engine { detail };
        let (mut tokens, mut ends, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        let pieces = self.pieces(conversation)?;
        for piece in &pieces {
            match piece {
                Piece::Mark(mark) => match self.tokens.get(mark.as_ref()) {
                    Some(token) => tokens.push(*token),
                    None => self.read_text(mark, &mut tokens),
                },
                Piece::Text(text) => self.read_text(text, &mut tokens),
                Piece::Media(number) => {
                    let (medium, row) = media.get(*number).ok_or_else(|| refuse(UNPLACED.to_owned()))?;
                    spans.extend(spans_of(medium, row, tokens.len()));
                    tokens.extend_from_slice(row);
                }
            }
            ends.push(tokens.len());
        }
        // Pieces become tokens one by one: what has the same pieces has the same tokens. What cannot be rendered shares nothing.
        let shared = |other: &Conversation| {
            let common = common_prefix(&pieces, &self.format.render(other).unwrap_or_default());
            common.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0)
        };
        let instructions = shared(&Conversation { turns: Vec::new(), ..conversation.clone() });
        let mut later = conversation.clone();
        later.turns.extend([Role::Assistant, Role::User].map(|role| Turn::text(role, "...")));
        let lasting = Some(shared(&later)).filter(|lasting| *lasting < tokens.len()).unwrap_or(usize::MAX);
        let parser = self.format.parser(conversation, &pieces, id);
        Ok((PromptTokens { instructions, lasting, tokens, media: spans }, parser))
    }

    /// A conversation in the model's own chat format.
    pub(super) fn pieces(&self, conversation: &Conversation) -> Result<Vec<Piece>, Refusal> {
        let refuse = |detail: String| Refusal::Engine { detail };
        self.format.render(conversation).map_err(|error| refuse(error.to_string()))
    }

    fn read_text(&self, text: &str, tokens: &mut Vec<LlamaToken>) {
        for part in cut_inside_marks(text, &self.dangerous) {
            tokens.extend(self.llama.vocab().tokenize(part.as_bytes(), false, false));
        }
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
    pub(super) fn shown<'b>(&'b self, token: LlamaToken, buffer: &'b mut Vec<u8>) -> Shown<'b> {
        if let Some(mark) = self.marks.get(&token) {
            return Shown::Mark(mark);
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
    /// Where among them rows of media stand.
    pub(super) media: Vec<Span>,
    /// How many of the first are instructions: what every conversation of the same Archon begins with.
    pub(super) instructions: usize,
    /// How many of the first the next turn's prompt begins with, whatever the answer is: fewer than all in formats that open an answer
    /// otherwise than they show a past one. Greater than all: the next prompt goes on behind the answer, as far as is known.
    pub(super) lasting: usize,
}

/// The stretches of place holders in a medium's row, which begins at `start`.
fn spans_of(medium: &Arc<Medium>, row: &Row, start: usize) -> Vec<Span> {
    let (mut spans, mut place, mut before) = (Vec::new(), start, 0);
    for stretch in row.chunk_by(|one, other| is_place_holder(*one) == is_place_holder(*other)) {
        let places = place..place + stretch.len();
        place = places.end;
        if stretch.first().copied().is_some_and(is_place_holder) {
            spans.push(Span { places, before, medium: Arc::clone(medium) });
            before += stretch.len();
        }
    }
    spans
}

/// Where the file says nothing that is understood, nothing is taken to slide: a memory that lacks anything is then not used.
fn window_tokens(llama: &LlamaModel) -> Option<u32> {
    let architecture = llama.meta_val_str("general.architecture").ok()?;
    let window = llama.meta_val_str(&format!("{architecture}.attention.sliding_window")).ok()?;
    window.parse().ok().filter(|window| *window > 0)
}
