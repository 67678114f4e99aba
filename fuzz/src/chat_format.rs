//! Chat formats: no text becomes a mark on the way in, and no mark becomes text on the way out.
use crate::chat::{
    AnswerEnd, AnswerPart, ChatFamily, ChatFormat, Conversation, Piece, Shown, Vocabulary, cut_inside_marks,
};

/// Ends a text of the conversation in the input.
const SEPARATOR: char = '\u{1e}';
/// The marks of both families' vocabularies.
const MARKS: [&str; 17] = [
    "<bos>",
    "<eos>",
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
    "<|im_start|>",
    "<|im_end|>",
    "<tool_call>",
];

/// The first byte chooses the format; the rest is the system prompt and the turns, and once more the bytes of an answer.
pub fn chat_format(input: &[u8]) {
    let [choice, rest @ ..] = input else { return };
    let family = if choice & 1 == 0 { ChatFamily::Gemma4 } else { ChatFamily::ChatMl };
    let marks: Vec<String> = MARKS.iter().map(|mark| (*mark).to_owned()).collect();
    let vocabulary =
        Vocabulary { marks: marks.clone(), bos: Some("<bos>".to_owned()), eos: "<eos>".to_owned() };
    let format = family.format((choice & 2 == 0).then_some("<think></think>"), &vocabulary);
    let format = format.expect("a native format takes any template");
    let text = String::from_utf8_lossy(rest);
    let mut texts = text.split(SEPARATOR);
    let mut conversation = Conversation::of_texts(texts.next().unwrap_or_default(), texts);
    conversation.thinking = choice & 4 != 0;
    no_text_holds_a_mark(&format, &conversation, &marks);
    no_text_makes_a_mark(&format, &conversation);
    a_longer_conversation_begins_with_the_shorter(&format, &conversation);
    an_answer_is_the_same_however_it_is_cut(&format, &conversation, rest);
}

/// The marks of a prompt are its vocabulary's, and its texts stay whole when they are cut so that they hold none.
fn no_text_holds_a_mark(format: &ChatFormat, conversation: &Conversation, marks: &[String]) {
    let prompt = format.render(conversation).expect("a native format takes any conversation of texts");
    assert_eq!(prompt, format.render(conversation).expect("and does so again"));
    for piece in &prompt {
        match piece {
            Piece::Mark(mark) => assert!(marks.iter().any(|known| known == mark), "`{mark}` is no mark"),
            Piece::Text(text) => {
                let parts = cut_inside_marks(text, marks);
                assert_eq!(parts.concat(), *text, "cutting loses nothing");
                for part in parts {
                    let forged = marks.iter().find(|mark| part.contains(mark.as_str()));
                    assert_eq!(forged, None, "{part:?} of {text:?}");
                }
            }
            Piece::Media(number) => panic!("medium {number} in a conversation of texts"),
        }
    }
}

/// The marks of a prompt are those of the same conversation about nothing.
fn no_text_makes_a_mark(format: &ChatFormat, conversation: &Conversation) {
    let plain = |text: &str| if text.trim().is_empty() { text.to_owned() } else { "x".to_owned() };
    let said: Vec<String> = conversation.turns.iter().map(|turn| plain(&turn.words())).collect();
    let mut nothing = Conversation::of_texts(&plain(&conversation.system), said.iter().map(String::as_str));
    nothing.thinking = conversation.thinking;
    let marks = |conversation: &Conversation| -> Vec<Piece> {
        let prompt = format.render(conversation).expect("a native format takes any conversation of texts");
        prompt.into_iter().filter(|piece| matches!(piece, Piece::Mark(_))).collect()
    };
    assert_eq!(marks(conversation), marks(&nothing));
}

/// What was read of a conversation is of use for its next turn: both begin alike, up to the opening of the shorter one's answer.
fn a_longer_conversation_begins_with_the_shorter(format: &ChatFormat, conversation: &Conversation) {
    let written = |conversation: &Conversation| -> String {
        let prompt = format.render(conversation).expect("a native format takes any conversation of texts");
        let piece = |piece: Piece| match piece {
            Piece::Mark(mark) => format!("{SEPARATOR}{mark}{SEPARATOR}"), // no text holds a separator
            Piece::Text(text) => text,
            Piece::Media(number) => panic!("medium {number} in a conversation of texts"),
        };
        prompt.into_iter().map(piece).collect()
    };
    let mut before = conversation.clone();
    if before.turns.pop().is_none() || before.turns.is_empty() {
        return;
    }
    let (shorter, longer) = (written(&before), written(conversation));
    let openings = ["<|turn>", "<|im_start|>"].map(|mark| format!("{SEPARATOR}{mark}{SEPARATOR}"));
    let opening = openings.iter().filter_map(|mark| shorter.rfind(mark)).max().expect("an answer is opened");
    assert!(longer.starts_with(&shorter[..opening]), "{longer:?} does not begin with {shorter:?}");
}

/// Bytes above 0xf7, which no text holds, stand for marks.
fn an_answer_is_the_same_however_it_is_cut(format: &ChatFormat, conversation: &Conversation, answer: &[u8]) {
    let whole = parts(format, conversation, answer, usize::MAX);
    for step in [1, 3] {
        assert_eq!(parts(format, conversation, answer, step), whole, "cut every {step} bytes");
    }
}

fn parts(format: &ChatFormat, conversation: &Conversation, answer: &[u8], step: usize) -> Vec<AnswerPart> {
    let mut parser = format.parser(conversation, &[], 7);
    let mut parts = Vec::new();
    for run in answer.chunk_by(|before, next| *before < 0xf8 && *next < 0xf8) {
        if let [mark @ 0xf8..=0xff] = run {
            let mark = MARKS.get(usize::from(mark - 0xf8) + 5).unwrap_or(&MARKS[13]);
            parts.extend(parser.push(Shown::Mark(mark)));
            continue;
        }
        for bytes in run.chunks(step) {
            parts.extend(parser.push(Shown::Bytes(bytes)));
        }
    }
    parts.extend(parser.finish(AnswerEnd::ByModel));
    joined(parts)
}

/// Neighbouring words of one kind as one part.
fn joined(parts: Vec<AnswerPart>) -> Vec<AnswerPart> {
    let mut joined: Vec<AnswerPart> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (Some(AnswerPart::Text(text)), AnswerPart::Text(more))
            | (Some(AnswerPart::Thought(text)), AnswerPart::Thought(more)) => text.push_str(&more),
            (_, part) => joined.push(part),
        }
    }
    joined
}
