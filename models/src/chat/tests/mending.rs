//! Calls that are not as they should be.
use super::*;

#[test]
fn what_can_only_mean_one_thing_is_mended() {
    let missing = gemma_answer("<|tool_call>call:f{a:{b:1", AnswerEnd::ByModel);
    assert_eq!(missing, [called("f", r#"{"a":{"b":1}}"#)]);
    let words = gemma_answer("<|tool_call>call:f{a:None,b:True,}<tool_call|>", AnswerEnd::ByModel);
    assert_eq!(words, [called("f", r#"{"a":null,"b":true}"#)]);
}

#[test]
fn a_call_that_may_lack_its_rest_is_named_bad() {
    let open_text = gemma_answer("<|tool_call>call:f{a:<|\"|>rm", AnswerEnd::ByModel);
    assert!(
        matches!(&open_text[..], [AnswerPart::BadCall { fault, .. }] if fault.contains("not closed")),
        "{open_text:?}"
    );
    let cut_off = gemma_answer("<|tool_call>call:f{a:1}", AnswerEnd::CutOff);
    assert!(
        matches!(&cut_off[..], [AnswerPart::BadCall { fault, .. }] if fault.contains("cut off")),
        "{cut_off:?}"
    );
}
