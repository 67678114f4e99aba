//! The formats as text, the guard against injected marks, answers taken apart.
use super::*;

mod answers;
mod forging;
mod gemma4;
mod malformed;
mod mending;
mod other_templates;
mod properties;
mod roundtrip;
mod strange;
mod tagged;

/// The marks of Gemma 4's vocabulary.
pub(super) const GEMMA_MARKS: [&str; 22] = [
    "<bos>",
    "<eos>",
    "<pad>",
    "<|turn>",
    "<turn|>",
    "<|think|>",
    "<|channel>",
    "<channel|>",
    "<|tool>",
    "<tool|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|tool_response>",
    "<tool_response|>",
    "<|\"|>",
    "<|image>",
    "<|image|>",
    "<image|>",
    "<|audio>",
    "<|audio|>",
    "<audio|>",
    "<|video|>",
];
/// Those of a ChatML vocabulary, which has no tags of its own.
pub(super) const CHATML_MARKS: [&str; 3] = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"];

pub(super) fn vocabulary(marks: &[&str]) -> Vocabulary {
    let marks: Vec<String> = marks.iter().map(|mark| (*mark).to_owned()).collect();
    Vocabulary { bos: marks.iter().find(|mark| *mark == "<bos>").cloned(), eos: "<eos>".to_owned(), marks }
}

pub(super) fn gemma() -> ChatFormat {
    ChatFamily::Gemma4.format(None, &vocabulary(&GEMMA_MARKS)).unwrap()
}

/// A ChatML format that thinks, or not.
pub(super) fn chatml(thinks: bool) -> ChatFormat {
    let template = if thinks { "<|im_start|><think></think>" } else { "<|im_start|>" };
    ChatFamily::ChatMl.format(Some(template), &vocabulary(&CHATML_MARKS)).unwrap()
}

/// A prompt as text.
pub(super) fn written(pieces: &[Piece]) -> String {
    let part = |piece: &Piece| match piece {
        Piece::Mark(mark) => mark.to_string(),
        Piece::Text(text) => text.clone(),
        Piece::Media(_) => "<|image|>".to_owned(),
    };
    pieces.iter().map(part).collect()
}

/// Turns of a user and the model, by turns.
pub(super) fn turns(texts: &[&str]) -> Vec<Turn> {
    let roles = [Role::User, Role::Assistant].into_iter().cycle();
    roles.zip(texts).map(|(role, text)| Turn::text(role, *text)).collect()
}

pub(super) fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() }
}

pub(super) fn calls(calls: &[ToolCall]) -> Turn {
    Turn { calls: calls.to_vec(), ..Turn::text(Role::Assistant, "") }
}

pub(super) fn result(id: &str, text: &str) -> Turn {
    Turn { answers: id.to_owned(), ..Turn::text(Role::Tool, text) }
}

/// A tool of one text argument for each name.
pub(super) fn tool(name: &str, description: &str, arguments: &[(&str, &str)]) -> Tool {
    let argument = |(name, description): &(&str, &str)| {
        let schema = serde_json::json!({"type": "string", "description": description});
        ((*name).to_owned(), schema)
    };
    let properties: serde_json::Map<_, _> = arguments.iter().map(argument).collect();
    let mut schema = serde_json::json!({"type": "object", "properties": properties});
    if !arguments.is_empty() {
        schema["required"] = arguments.iter().map(|(name, _)| *name).collect();
    }
    Tool { name: name.to_owned(), description: description.to_owned(), parameters: schema.to_string() }
}

/// A token that a test feeds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Mark(String),
    Bytes(Vec<u8>),
}

/// Cuts a text into tokens: the marks, and between them runs of so many bytes.
pub(super) fn tokens(pieces: &[Piece], step: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Mark(mark) => tokens.push(Token::Mark(mark.to_string())),
            Piece::Text(text) => {
                tokens.extend(text.as_bytes().chunks(step).map(|run| Token::Bytes(run.to_vec())))
            }
            Piece::Media(_) => {}
        }
    }
    tokens
}

/// A text with marks in it as pieces, as a model would write it.
pub(super) fn spoken(text: &str, marks: &[&str]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < text.len() {
        if let Some(mark) =
            marks.iter().filter(|mark| text[at..].starts_with(**mark)).max_by_key(|mark| mark.len())
        {
            pieces.push(Piece::Text(text[begin..at].to_owned()));
            pieces.push(Piece::Mark((*mark).to_owned().into()));
            at += mark.len();
            begin = at;
        } else {
            at += text[at..].chars().next().unwrap().len_utf8();
        }
    }
    pieces.push(Piece::Text(text[begin..].to_owned()));
    pieces
}

/// Neighbouring words as one part, and the ids of calls without their accidental digits.
pub(super) fn joined(parts: Vec<AnswerPart>) -> Vec<AnswerPart> {
    let mut joined: Vec<AnswerPart> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(AnswerPart::Text(text)), AnswerPart::Text(more))
            | (Some(AnswerPart::Thought(text)), AnswerPart::Thought(more)) => text.push_str(&more),
            (_, AnswerPart::Call(call)) => {
                let id = format!("{}{}", &call.id[..5], call.id.len());
                joined.push(AnswerPart::Call(ToolCall { id, ..call }));
            }
            (_, part) => joined.push(part),
        }
    }
    joined
}

pub(super) fn parse(mut parser: AnswerParser, tokens: &[Token], end: AnswerEnd) -> Vec<AnswerPart> {
    let mut parts = Vec::new();
    for token in tokens {
        parts.extend(parser.push(match token {
            Token::Mark(mark) => Shown::Mark(mark),
            Token::Bytes(bytes) => Shown::Bytes(bytes),
        }));
    }
    parts.extend(parser.finish(end));
    joined(parts)
}

/// A parser for the answer to a conversation with tools.
pub(super) fn parser(format: &ChatFormat) -> AnswerParser {
    let conversation = Conversation { tools: vec![tool("x", "", &[])], ..Conversation::default() };
    format.parser(&conversation, &[], 7)
}

/// Parses what a Gemma model writes, and sees that it does not matter how tokens cut it.
#[track_caller]
pub(super) fn gemma_answer(text: &str, end: AnswerEnd) -> Vec<AnswerPart> {
    cut_anyhow(&gemma(), &spoken(text, &GEMMA_MARKS), end)
}

#[track_caller]
pub(super) fn cut_anyhow(format: &ChatFormat, pieces: &[Piece], end: AnswerEnd) -> Vec<AnswerPart> {
    let whole = parse(parser(format), &tokens(pieces, usize::MAX), end);
    for step in [1, 2, 3, 7] {
        assert_eq!(parse(parser(format), &tokens(pieces, step), end), whole, "cut every {step} bytes");
    }
    whole
}

pub(super) fn text(words: &str) -> AnswerPart {
    AnswerPart::Text(words.to_owned())
}

pub(super) fn thought(words: &str) -> AnswerPart {
    AnswerPart::Thought(words.to_owned())
}

/// A call as [`joined`] leaves it.
pub(super) fn called(name: &str, arguments: &str) -> AnswerPart {
    AnswerPart::Call(call("call_13", name, arguments))
}

#[test]
fn families_are_known_by_architecture_and_template() {
    assert_eq!(ChatFamily::detect("gemma4", ""), Some(ChatFamily::Gemma4));
    assert_eq!(ChatFamily::detect("llama", "{{'<|im_start|>'}}"), Some(ChatFamily::ChatMl));
    assert_eq!(ChatFamily::detect("llama", "[INST]"), Some(ChatFamily::Template));
    assert_eq!(ChatFamily::detect("llama", " \n"), None);
}

#[test]
fn marks_are_told_from_ordinary_user_defined_tokens() {
    assert!(is_mark("<|\"|>", false) && is_mark("<channel|>", false) && is_mark("<think>", false));
    assert!(is_mark("[INST]", true), "the vocabulary says so");
    assert!(!is_mark("<div>", false) && !is_mark("    ", false) && !is_mark("\n\n", false));
}

#[test]
fn texts_are_cut_inside_marks() {
    let marks = ["<|\"|>", "<|channel>", "<channel|>", "<|tool_call>"].map(str::to_owned);
    let cut = |text| cut_inside_marks(text, &marks);
    assert_eq!(cut("plain <| text |>"), ["plain <| text |>"]);
    assert_eq!(cut("a<|\"|>b"), ["a<", "|\"|>b"]);
    assert_eq!(cut("<|channel><channel|>"), ["<", "|channel><", "channel|>"]);
    assert_eq!(cut(""), Vec::<&str>::new());
}

#[test]
fn media_are_numbered_through_all_turns() {
    let (image, sound) = (Content::Image(vec![1]), Content::Audio(vec![2]));
    let mut of = turns(&["a", "b", "c"]);
    of[0].content.push(image.clone());
    of[2].content.insert(0, sound.clone());
    let conversation = Conversation { turns: of, ..Conversation::default() };
    assert_eq!(conversation.media().collect::<Vec<_>>(), [&image, &sound]);
    for format in [gemma(), chatml(false)] {
        let pieces = format.render(&conversation).unwrap();
        let media: Vec<_> = pieces.iter().filter(|piece| matches!(piece, Piece::Media(_))).collect();
        assert_eq!(media, [&Piece::Media(0), &Piece::Media(1)]);
    }
}

#[test]
fn a_tool_without_a_schema_is_refused_by_name() {
    let tool = Tool { parameters: "{\"type\":".to_owned(), ..tool("clock", "", &[]) };
    let conversation = Conversation { turns: turns(&["hi"]), tools: vec![tool], ..Conversation::default() };
    for format in [gemma(), chatml(false)] {
        let refused = format.render(&conversation);
        assert!(
            matches!(&refused, Err(ChatError::Parameters { tool, .. }) if tool == "clock"),
            "{refused:?}"
        );
    }
}
