//! What holds for any answer, however its tokens cut it.
use proptest::prelude::*;

use super::strange::*;
use super::*;

/// What a reader may add to what it is fed: the arguments of a call as JSON, its name, the marks around it.
const GROWTH_MAX: usize = 8;

/// Any tokens: marks, words, fragments of marks, broken characters.
fn pieces(words: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<Token>> {
    let mark = proptest::sample::select(&GEMMA_MARKS[..]).prop_map(|mark| Token::Mark(mark.to_owned()));
    proptest::collection::vec(prop_oneof![1 => mark, 2 => words.prop_map(Token::Bytes)], 0..16)
}

/// The tokens with neighbouring bytes as one, and with all bytes cut anew.
fn cut_anew(tokens: &[Token], steps: &[usize]) -> (Vec<Token>, Vec<Token>) {
    let mut whole: Vec<Token> = Vec::new();
    for token in tokens {
        match (whole.last_mut(), token) {
            (Some(Token::Bytes(bytes)), Token::Bytes(more)) => bytes.extend_from_slice(more),
            _ => whole.push(token.clone()),
        }
    }
    let mut steps = steps.iter().cycle();
    let mut cut = Vec::new();
    for token in &whole {
        let Token::Bytes(bytes) = token else {
            cut.push(token.clone());
            continue;
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (run, behind) = rest.split_at((*steps.next().unwrap()).min(rest.len()));
            cut.push(Token::Bytes(run.to_vec()));
            rest = behind;
        }
    }
    (whole, cut)
}

fn formats() -> [ChatFormat; 4] {
    let gemma_marks = vocabulary(&GEMMA_MARKS);
    let list = "{{ messages }}[TOOL_CALLS][THINK]";
    [gemma(), chatml(true), chatml(false), ChatFamily::Template.format(Some(list), &gemma_marks).unwrap()]
}

fn bytes_of(parts: &[AnswerPart]) -> usize {
    let bytes = |part: &AnswerPart| match part {
        AnswerPart::Text(text) | AnswerPart::Thought(text) => text.len(),
        AnswerPart::Call(call) => call.name.len() + call.arguments.len(),
        AnswerPart::BadCall { written, .. } => written.len(),
    };
    parts.iter().map(bytes).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_tokens_give_the_same_parts_however_they_are_cut(
        tokens in pieces(prop_oneof![4 => strange().prop_map(String::into_bytes), 1 => proptest::collection::vec(any::<u8>(), 0..6)]),
        steps in steps(),
        by_model: bool,
    ) {
        let end = if by_model { AnswerEnd::ByModel } else { AnswerEnd::CutOff };
        let (whole, cut) = cut_anew(&tokens, &steps);
        let fed: usize = tokens.iter().map(|token| match token { Token::Mark(text) => text.len(), Token::Bytes(bytes) => bytes.len() }).sum();
        for format in formats() {
            let parts = parse(parser(&format), &whole, end);
            prop_assert!(bytes_of(&parts) <= fed * GROWTH_MAX, "{} bytes of {fed}", bytes_of(&parts));
            prop_assert_eq!(parse(parser(&format), &cut, end), parts);
        }
    }

    // The words hold no bracket, so whatever looks like a mark in what is shown came from one.
    #[test]
    fn no_mark_is_shown(tokens in pieces(tagless().prop_map(|text| text.replace(['<', '>', '|'], "").into_bytes())), by_model: bool) {
        let end = if by_model { AnswerEnd::ByModel } else { AnswerEnd::CutOff };
        for format in formats() {
            for part in parse(parser(&format), &tokens, end) {
                if let AnswerPart::Text(text) | AnswerPart::Thought(text) = &part {
                    prop_assert!(!text.contains(['<', '>', '|']), "{:?}", part);
                }
            }
        }
    }
}

#[test]
fn an_endless_call_is_not_kept() {
    for (format, open) in [(gemma(), "<|tool_call>"), (chatml(true), "<tool_call>")] {
        let mut parser = parser(&format);
        parser.push(if format.family == ChatFamily::Gemma4 {
            Shown::Mark(open)
        } else {
            Shown::Bytes(open.as_bytes())
        });
        let run = vec![b'a'; 1 << 19];
        for _ in 0..64 {
            assert_eq!(parser.push(Shown::Bytes(&run)), []);
        }
        let parts = parser.finish(AnswerEnd::ByModel);
        let [AnswerPart::BadCall { written, fault }] = &parts[..] else { panic!("{} parts", parts.len()) };
        assert!(written.len() <= (1 << 20) + open.len() && fault.contains("longer than"), "{fault}");
    }
}
