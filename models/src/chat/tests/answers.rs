//! Answers of Gemma models taken apart.
use super::*;

#[test]
fn words_thoughts_and_calls_are_told_apart() {
    let answer = "<|channel>thought\nhm, well\n<channel|>Let me see.<|tool_call>call:clock{}<tool_call|>";
    let parts = gemma_answer(answer, AnswerEnd::ByModel);
    assert_eq!(parts, [thought("hm, well"), text("Let me see."), called("clock", "{}")]);
}

#[test]
fn nested_arguments_become_json() {
    let answer = "<|tool_call>call:f{a:[1,-2.5,true,null],b:{c:<|\"|>say \"hi\" {é}<|\"|>,d:{}}}<tool_call|>";
    let arguments = r#"{"a":[1,-2.5,true,null],"b":{"c":"say \"hi\" {é}","d":{}}}"#;
    assert_eq!(gemma_answer(answer, AnswerEnd::ByModel), [called("f", arguments)]);
}

#[test]
fn equal_seeds_name_calls_alike() {
    let format = gemma();
    let id = |seed| {
        let mut parser = format.parser(&Conversation::default(), &[], seed);
        parser.push(Shown::Mark("<|tool_call>"));
        parser.push(Shown::Bytes(b"call:f{}"));
        match parser.push(Shown::Mark("<tool_call|>")).pop() {
            Some(AnswerPart::Call(call)) => call.id,
            other => panic!("{other:?} is no call"),
        }
    };
    assert_eq!(id(3), id(3));
    assert_ne!(id(3), id(4));
}

#[test]
fn bare_text_is_gone_on_with_by_words_alone() {
    let mut parser =
        AnswerParser::of_bare_text(["<|tool_call>".to_owned(), "<tool_call|>".to_owned()].into());
    let answer = [
        Shown::Mark("<|turn>"),
        Shown::Bytes(b"hm "),
        Shown::Mark("<|tool_call>"),
        Shown::Bytes(b"call:f{}"),
        Shown::Mark("<tool_call|>"),
    ];
    let mut parts: Vec<AnswerPart> = answer.into_iter().flat_map(|token| parser.push(token)).collect();
    parts.extend(parser.finish(AnswerEnd::ByModel));
    assert_eq!(parts, ["hm ", "<|tool_call>", "call:f{}", "<tool_call|>"].map(text));
}
