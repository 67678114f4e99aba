//! Schemas and grammars: a grammar that llama.cpp can read, of bounded size, or a reason why not.
use archond_models::chat::{AnswerForm, CallRule, Shape, Tool};
use archond_models::grammar::{Style, Trigger, for_answer, for_shape};

/// No grammar that is handed to llama.cpp is longer, in bytes.
const GRAMMAR_BYTES_MAX: usize = 520 << 10;

/// The first byte chooses what the rest is: the arguments of a tool, the shape of an answer, or a grammar; and the family.
pub fn json_schema(input: &[u8]) {
    let [choice, rest @ ..] = input else { return };
    let text = String::from_utf8_lossy(rest).into_owned();
    // Each mark and each reserved character is a token.
    let number = |mark: &str| mark.bytes().fold(7_i32, |sum, byte| (sum * 31 + i32::from(byte)) % 200_000);
    let style =
        if choice & 1 == 0 { Style::gemma4(|mark| Some(number(mark))) } else { Style::chatml(|_| None) };
    let mut form = AnswerForm { parallel_calls: choice & 8 != 0, ..AnswerForm::default() };
    let mut tools = Vec::new();
    match choice & 6 {
        0 => form.shape = Shape::JsonSchema(text),
        2 => form.shape = Shape::Grammar(text),
        calls => {
            form.calls = if calls == 4 { CallRule::Free } else { CallRule::Required };
            tools.push(Tool { name: "a.tool".to_owned(), description: String::new(), parameters: text });
        }
    }
    let made = for_answer(&tools, &form, &style);
    assert_eq!(made, for_answer(&tools, &form, &style), "equal schemas give equal grammars");
    let Ok(Some(constraint)) = made else { return };
    assert_eq!(constraint.lazy.is_some(), form.calls == CallRule::Free && !tools.is_empty());
    assert!(constraint.lazy.is_none_or(|trigger| trigger != Trigger::Words(String::new())));
    let Some(gbnf) = constraint.gbnf else { return };
    assert!(
        gbnf.starts_with("root ::= ") && gbnf.len() <= GRAMMAR_BYTES_MAX && !gbnf.contains('\0'),
        "{gbnf}"
    );
    assert!(
        constraint
            .marks
            .iter()
            .all(|(mark, witness)| gbnf.contains(&format!("(<[{mark}]> | <[{witness}]>)"))),
        "{gbnf}"
    );
    // What was written can be read.
    if constraint.marks.is_empty() && gbnf.len() < 200 << 10 {
        let again = for_shape(&Shape::Grammar(gbnf.clone()), &Style::chatml(|_| None));
        assert!(matches!(again, Ok(Some(_))), "{again:?}\n{gbnf}");
    }
}
