//! What the engine without a model finds out: a token is a byte, and texts of the like letters mean the like.
use crate::domain::{ChatTurn, Finding, Inquiry, Passage, Stretch, Token};

/// The words of what is to be found out, where these have vectors.
pub(super) fn words(inquiry: &Inquiry) -> String {
    match inquiry {
        Inquiry::Vectors { passages } => passages.iter().map(|passage| text(passage) + "\n").collect(),
        Inquiry::Tokens { .. } | Inquiry::Text { .. } | Inquiry::Format { .. } => String::new(),
    }
}

pub(super) fn found(inquiry: &Inquiry) -> Vec<Finding> {
    match inquiry {
        Inquiry::Tokens { passage, .. } => {
            let bytes = passage.iter().flat_map(|stretch| match stretch {
                Stretch::Text(text) => text.bytes().collect(),
                Stretch::Token(token) => vec![token.0 as u8],
            });
            vec![Finding::Tokens(bytes.map(|byte| (Token(byte.into()), vec![byte])).collect())]
        }
        Inquiry::Text { tokens } => {
            let bytes: Vec<u8> = tokens.iter().map(|token| token.0 as u8).collect();
            vec![Finding::Text(String::from_utf8_lossy(&bytes).into_owned())]
        }
        Inquiry::Format { conversation } => {
            vec![Finding::Text(conversation.turns.iter().map(ChatTurn::words).collect())]
        }
        Inquiry::Vectors { passages } => {
            passages.iter().map(|passage| Finding::Vector(letters(&text(passage)))).collect()
        }
    }
}

fn text(passage: &Passage) -> String {
    let texts = passage.iter().map(|stretch| match stretch {
        Stretch::Text(text) => &**text,
        Stretch::Token(_) => "",
    });
    texts.collect()
}

/// How often each letter comes, and a little of everything.
pub fn letters(text: &str) -> Vec<f32> {
    let count = |letter: char| text.chars().filter(|c| c.eq_ignore_ascii_case(&letter)).count();
    #[expect(clippy::cast_precision_loss, reason = "texts of tests are short")]
    ('a'..='z').map(|letter| count(letter) as f32 + 0.01).collect()
}
