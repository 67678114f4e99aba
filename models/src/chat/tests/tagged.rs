//! Answers with tags, as ChatML's models write them.
use super::*;

#[test]
fn thoughts_and_json_calls_are_told_apart() {
    let answer = "<think>\nhm\n</think>\n\nWell.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"é\"}}\n</tool_call>";
    let parts = cut_anyhow(&chatml(true), &[Piece::Text(answer.to_owned())], AnswerEnd::ByModel);
    assert_eq!(parts, [thought("hm"), text("Well."), called("f", r#"{"a":"é"}"#)]);
}
