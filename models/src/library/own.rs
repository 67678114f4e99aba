//! Describes a user's own GGUF file from what the file says about itself. Pure.
use std::path::Path;

use crate::catalogue::{Artifact, Bytes, Family, KvBytes, Model, Prefixes, Role, Source, is_id};
use crate::chat::{self, Vocabulary};
use crate::gguf::Head;

/// Most layers whose memory is counted; real models have up to 130.
const LAYERS_MAX: u64 = 4_096;
/// Longest context that is believed, in tokens: the longest of any model so far is ten million.
const CONTEXT_TOKENS_MAX: u32 = 1 << 24;

/// llama.cpp's numbers for the ways in which a text's vector is made of those of its tokens: the mean, the first one, the last one.
const POOLINGS: std::ops::RangeInclusive<u64> = 1..=3;

/// How an embedding model makes the vector of a text; `None` of a model that was taught to write.
fn pooling_of(head: &Head) -> Option<u64> {
    let architecture = head.text("general.architecture")?;
    head.number(&format!("{architecture}.pooling_type")).filter(|pooling| POOLINGS.contains(pooling))
}

/// What an embedding model was taught to be told, from the cards of those that were taught that and can be told by their architecture: "EmbeddingGemma"
/// (Google, 2025) and "Nomic Embed" (Nomic AI, 2024). Others do without, or their owner writes it into their catalogue file.
fn prefixes_of(head: &Head) -> Prefixes {
    let (query, text) = match head.text("general.architecture") {
        Some("gemma-embedding") => ("task: search result | query: ", "title: none | text: "),
        Some("nomic-bert" | "nomic-bert-moe") => ("search_query: ", "search_document: "),
        _ => ("", ""),
    };
    Prefixes { query: query.to_owned(), text: text.to_owned() }
}

/// How the model of a head is spoken to, or why the house cannot.
pub(super) fn family_of(head: &Head) -> Result<Family, String> {
    let architecture = head.text("general.architecture").unwrap_or("unnamed");
    let template = head.text("tokenizer.chat_template").unwrap_or_default();
    match architecture {
        "gemma4" => Ok(Family::Gemma4),
        "gemma4-assistant" => {
            Err("this is a drafter and has no answers of its own; import its model, with it as `--drafter`"
                .to_owned())
        }
        "clip" => Err("this is a projector for pictures and sound, not a language model".to_owned()),
        // Nobody speaks with it.
        _ if pooling_of(head).is_some() => Ok(Family::Mute),
        _ if template.contains("<|im_start|>") => Ok(Family::ChatMl),
        _ if !template.is_empty() => match chat::check(template, &Vocabulary::default()) {
            Ok(()) => Ok(Family::Template),
            Err(error) => Err(format!("its chat template is of no use: {error}")),
        },
        other => Err(format!(
            "archond takes Gemma 4, embedding models, and models with a chat template; this one's architecture is `{other}` and it has none"
        )),
    }
}

/// A name for a file: its stem, in the characters of a name.
pub(super) fn id_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?.to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let id: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(64).collect();
    let id = id.trim_matches(['-', '.']).to_owned();
    is_id(&id).then_some(id)
}

/// The catalogue entry of a user's own file.
pub(super) fn model_of(
    head: &Head,
    id: &str,
    family: Family,
    bytes: u64,
    sha256: &str,
) -> Result<Model, String> {
    let architecture = head.text("general.architecture").unwrap_or_default();
    let context = match head.number(&format!("{architecture}.context_length")) {
        None | Some(0) => return Err("it does not say how long its context is".to_owned()),
        Some(tokens) => {
            u32::try_from(tokens).ok().filter(|&tokens| tokens <= CONTEXT_TOKENS_MAX).ok_or_else(|| {
                format!("it says that its context holds {tokens} tokens; at most {CONTEXT_TOKENS_MAX} can be")
            })?
        }
    };
    let role = if pooling_of(head).is_some() { Role::Embedding } else { Role::Own };
    let text =
        |key: &str, default: &str| head.text(key).unwrap_or(default).chars().take(120).collect::<String>();
    Ok(Model {
        id: id.to_owned(),
        aliases: Vec::new(),
        name: text("general.name", id),
        family,
        role,
        licence: text("general.license", "unknown"),
        parameters: head.parameters(),
        quantisation: quantisation_of(head),
        context_tokens: context,
        source: Source::Import,
        weights: Artifact {
            file: format!("{id}.gguf"),
            bytes: Bytes::Exact(bytes),
            sha256: Some(sha256.to_owned()),
        },
        mmproj: None,
        drafter: None,
        prefixes: (role == Role::Embedding).then(|| prefixes_of(head)),
        kv: kv_of(head, architecture),
    })
}

/// llama.cpp's name of a file type; where the file does not say, the type that most of its weights have.
fn quantisation_of(head: &Head) -> String {
    let name = match head.number("general.file_type") {
        Some(0) => "F32",
        Some(1) => "F16",
        Some(2) => "Q4_0",
        Some(3) => "Q4_1",
        Some(7) => "Q8_0",
        Some(8) => "Q5_0",
        Some(9) => "Q5_1",
        Some(10) => "Q2_K",
        Some(11) => "Q3_K_S",
        Some(12) => "Q3_K_M",
        Some(13) => "Q3_K_L",
        Some(14) => "Q4_K_S",
        Some(15) => "Q4_K_M",
        Some(16) => "Q5_K_S",
        Some(17) => "Q5_K_M",
        Some(18) => "Q6_K",
        Some(25) => "IQ4_NL",
        Some(30) => "IQ4_XS",
        Some(32) => "BF16",
        _ => match head.tensors.iter().max_by_key(|t| t.elements).map(|t| t.kind) {
            Some(0) => "F32",
            Some(1) => "F16",
            Some(2) => "Q4_0",
            Some(8) => "Q8_0",
            Some(12) => "Q4_K",
            Some(14) => "Q6_K",
            Some(30) => "BF16",
            _ => "unknown",
        },
    };
    name.to_owned()
}

/// Memory of one token of conversation at f16, layer by layer; layers that borrow another's keys and values have none.
fn kv_of(head: &Head, architecture: &str) -> KvBytes {
    let key = |name: &str| format!("{architecture}.{name}");
    let number = |name: &str| head.number(&key(name));
    let heads = head.number_of_layer(&key("attention.head_count"), 0).unwrap_or(1).max(1);
    let width = number("embedding_length").unwrap_or(0) / heads;
    let size = |name: &str, default: u64| number(name).unwrap_or(default);
    let full = size("attention.key_length", width).saturating_add(size("attention.value_length", width));
    let window = size("attention.key_length_swa", full / 2)
        .saturating_add(size("attention.value_length_swa", full / 2));
    let window_tokens = number("attention.sliding_window").unwrap_or(0);
    let layers = number("block_count").unwrap_or(0).min(LAYERS_MAX);
    let own_layers = layers.saturating_sub(number("attention.shared_kv_layers").unwrap_or(0));
    let mut kv = KvBytes { full_bytes_per_token: 0, window_bytes_per_cell: 0, window_tokens };
    for layer in (0..own_layers).filter_map(|l| usize::try_from(l).ok()) {
        let kv_heads = head.number_of_layer(&key("attention.head_count_kv"), layer).unwrap_or(heads);
        let slides = head.number_of_layer(&key("attention.sliding_window_pattern"), layer) == Some(1);
        let (sum, values) = match slides && window_tokens > 0 {
            true => (&mut kv.window_bytes_per_cell, window),
            false => (&mut kv.full_bytes_per_token, full),
        };
        // Two bytes for each value.
        *sum = sum.saturating_add(kv_heads.saturating_mul(values).saturating_mul(2));
    }
    kv
}
