//! One model of the catalogue: the words of its file, and the memory that it needs.
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::Fault;

/// The engine's context of one sequence is rounded up to a multiple of this, as llama.cpp wants it.
const CONTEXT_STEP_TOKENS: u64 = 256;
/// Most tokens that the engine reads in one step: sliding-window layers have cells for these beside the window.
pub(crate) const READ_STEP_TOKENS: u64 = 512;

/// One model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name in commands, settings and profiles.
    pub id: String,
    /// Other names that commands accept.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The name that people read.
    pub name: String,
    /// How the model is spoken to.
    pub family: Family,
    /// What the house uses it for.
    pub role: Role,
    /// SPDX name of the weights' licence.
    pub licence: String,
    /// Weights, counted.
    pub parameters: u64,
    /// How the weights are stored.
    pub quantisation: String,
    /// Longest context that the model is run with, in tokens: at most what it was trained for.
    pub context_tokens: u32,
    /// Where the files come from.
    pub source: Source,
    /// The weights.
    pub weights: Artifact,
    /// The projector for pictures and sound.
    #[serde(default)]
    pub mmproj: Option<Artifact>,
    /// The model that drafts tokens for this one.
    #[serde(default)]
    pub drafter: Option<Drafter>,
    /// Memory of a conversation.
    pub kv: KvBytes,
    /// Of an embedding model.
    #[serde(default)]
    pub prefixes: Option<Prefixes>,
}

/// How a model is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// Gemma 4's own turns, thoughts and calls.
    Gemma4,
    /// `<|im_start|>role … <|im_end|>`.
    ChatMl,
    /// Whatever the model file's own template says.
    Template,
    /// Not at all: it computes vectors.
    Mute,
}

/// What the house uses a model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The house's thinking.
    Gemma,
    /// Answers only while no Gemma is on disk.
    Starter,
    /// A user's own model, used where a profile names it.
    Own,
    /// Computes vectors, by which things are found by their meaning; it answers nobody.
    Embedding,
}

/// What an embedding model was taught to be told before a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefixes {
    /// Before a question.
    pub query: String,
    /// Before a text that is to be found.
    pub text: String,
}

/// Where a model's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Source {
    /// `{base}/{repository}/resolve/main/{file}`.
    HuggingFace {
        /// `owner/name`.
        repository: String,
    },
    /// A member of a wheel of a Python package index.
    PyPi {
        /// The project.
        project: String,
        /// Its version.
        version: String,
        /// The wheel's file name.
        wheel: String,
        /// The wheel's size, for the disk space check before the index has answered.
        wheel_bytes: u64,
        /// The wheel's sha256; the index must name the same one.
        wheel_sha256: String,
        /// The weights' path inside the wheel.
        member: String,
    },
    /// It was imported and cannot be fetched again.
    Import,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name, without directories.
    pub file: String,
    /// Its size.
    pub bytes: Bytes,
    /// Its sha256 in hex, where known.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// A size, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bytes {
    /// Another size is another file.
    Exact(u64),
    /// Good enough for a disk space check and a progress bar.
    About(u64),
}

impl Bytes {
    /// The number.
    pub fn count(self) -> u64 {
        match self {
            Self::Exact(count) | Self::About(count) => count,
        }
    }

    /// Whether a file of this size can be the one that is meant: equal, or within a tenth of an approximate size.
    pub fn allows(self, bytes: u64) -> bool {
        match self {
            Self::Exact(count) => bytes == count,
            Self::About(count) => bytes.abs_diff(count) <= count / 10,
        }
    }
}

/// The model that drafts tokens for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drafter {
    /// `owner/name` on the hub.
    pub repository: String,
}

/// Memory of one token of conversation, keys and values at f16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvBytes {
    /// In the layers that see everything, for each token.
    pub full_bytes_per_token: u64,
    /// In the sliding-window layers, for each cell. There are cells for the window and for what one step of the engine reads.
    pub window_bytes_per_cell: u64,
    /// The sliding window's length; 0 when there is none.
    pub window_tokens: u64,
}

impl KvBytes {
    /// Memory that the engine takes for one sequence of this length, all of it when the worker starts.
    pub fn sequence_bytes(&self, context_tokens: u64) -> u64 {
        let round = |cells: u64| cells.checked_next_multiple_of(CONTEXT_STEP_TOKENS).unwrap_or(u64::MAX);
        let cells = round(context_tokens);
        let window_cells = cells.min(round(self.window_tokens.saturating_add(READ_STEP_TOKENS)));
        let full = self.full_bytes_per_token.saturating_mul(cells);
        full.saturating_add(self.window_bytes_per_cell.saturating_mul(window_cells))
    }
}

impl Model {
    /// Memory that a worker needs for this model: the weights and the conversations of all slots. llama.cpp's scratch buffers
    /// come on top: up to 0.6 GB for a Gemma are reserved, a small part of it is used.
    pub fn memory_bytes(&self, context_tokens: u64, slots: u64) -> u64 {
        let kv = self.kv.sequence_bytes(context_tokens).saturating_mul(slots);
        self.weights.bytes.count().saturating_add(kv)
    }

    /// What is wrong beyond the grammar of the file.
    pub(super) fn faults(&self, path: &Path) -> Vec<Fault> {
        let mut reasons = Vec::new();
        if !is_id(&self.id) {
            reasons.push(format!("id `{}`: use 1 to 64 characters a-z, 0-9, `.`, `_` and -", self.id));
        } else if path.file_stem().is_none_or(|stem| stem != self.id.as_str()) {
            reasons.push(format!(
                "id `{}` must be the file's name: rename the file to `{}.ron`",
                self.id, self.id
            ));
        }
        if self.context_tokens == 0 {
            reasons.push("context_tokens is 0".to_owned());
        }
        for artifact in [Some(&self.weights), self.mmproj.as_ref()].into_iter().flatten() {
            if !is_file_name(&artifact.file) {
                reasons.push(format!("file `{}` must be a plain file name", artifact.file));
            }
            if artifact.sha256.as_deref().is_some_and(|text| !is_sha256(text)) {
                reasons
                    .push(format!("sha256 of `{}` must be 64 hexadecimal digits, lower case", artifact.file));
            }
        }
        match &self.source {
            Source::HuggingFace { repository }
                if repository.split('/').filter(|p| !p.is_empty()).count() != 2 =>
            {
                reasons.push(format!("repository `{repository}` must be `owner/name`"));
            }
            Source::PyPi { wheel, wheel_sha256, .. } if !is_file_name(wheel) || !is_sha256(wheel_sha256) => {
                reasons.push(
                    "wheel must be a plain file name and wheel_sha256 64 hexadecimal digits".to_owned(),
                );
            }
            _ => {}
        }
        reasons.into_iter().map(|reason| Fault::whole(path, reason)).collect()
    }
}

/// Whether a text can be a model's id: it becomes a directory's name.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
        && !text.starts_with('.')
}

/// Whether a text is 32 bytes in lower-case hex.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_file_name(text: &str) -> bool {
    let mut parts = Path::new(text).components();
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(name)), None) if name == text);
    plain && text.len() <= 200 && !text.starts_with('.') && !text.chars().any(char::is_control)
}
