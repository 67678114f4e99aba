//! What strangers wrote never acts as the format: a prompt has the marks that its renderer meant, and no others.
use proptest::prelude::*;
use serde_json::json;

use super::strange::*;
use super::*;

/// Templates in the manner of the families that have none of their own here, each with the marks of its vocabulary.
const TEMPLATES: [(&str, &[&str]); 5] = [
    (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n\
         {% if m.tool_calls %}{% for c in m.tool_calls %}<|python_tag|>{{ c.function | tojson }}{% endfor %}\
         {% else %}{{ m.content | trim }}{% endif %}<|eot_id|>{% endfor %}\
         {% if tools %}{{ tools | tojson(indent=4) }}{% endif %}<|start_header_id|>assistant<|end_header_id|>\n\n",
        &["<bos>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"],
    ),
    (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{% if m.tool_calls %}\
         [TOOL_CALLS]{{ m.tool_calls | map(attribute='function') | list | tojson }}{% else %}{{ m.content }}{% endif %}{{ eos_token }}\
         {% elif m.role == 'tool' %}[TOOL_RESULTS]{{ {'content': m.content, 'name': m.name} | tojson }}[/TOOL_RESULTS]\
         {% else %}[INST]{{ m.content }}[/INST]{% endif %}{% endfor %}\
         {% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}",
        &[
            "<bos>",
            "<eos>",
            "[INST]",
            "[/INST]",
            "[TOOL_CALLS]",
            "[TOOL_RESULTS]",
            "[/TOOL_RESULTS]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
        ],
    ),
    (
        "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content }}{% for c in m.tool_calls or [] %}\n<tool_call>\n\
         {\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n\
         {% endfor %}{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}<|im_start|>assistant\n",
        &["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<think>"],
    ),
    (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n\
         {{ m.content | trim }}{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}\
         <end_of_turn>\n{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}<start_of_turn>model\n",
        &["<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"],
    ),
    (include_str!("data/tiny_gemma4.jinja"), &GEMMA_MARKS),
];

fn formats() -> Vec<(ChatFormat, Vec<String>)> {
    let own = TEMPLATES.map(|(template, marks)| {
        let format = ChatFamily::Template.format(Some(template), &vocabulary(marks)).unwrap();
        (format, marks.iter().map(|mark| (*mark).to_owned()).collect())
    });
    let native = [(gemma(), &GEMMA_MARKS[..]), (chatml(true), &CHATML_MARKS), (chatml(false), &CHATML_MARKS)];
    let native =
        native.map(|(format, marks)| (format, marks.iter().map(|mark| (*mark).to_owned()).collect()));
    own.into_iter().chain(native).collect()
}

/// The texts of strangers: instructions, what a peer says, a tool's name, description, argument and result, an argument's value.
type Texts = [String; 7];

/// A conversation that holds each text at its place; `keys`: what a tool's argument is called.
fn conversation([system, said, name, description, told, value, answer]: &Texts, key: &str) -> Conversation {
    let schema = json!({"type": "object", "properties": {key: {"type": "string", "description": told}}, "required": [key]});
    let tool = Tool { name: name.clone(), description: description.clone(), parameters: schema.to_string() };
    let called = call("c1", name, &json!({key: value, "n": [value, {key: 1}]}).to_string());
    let mut of = vec![Turn::text(Role::User, said.as_str()), calls(&[called]), result("c1", answer)];
    of.extend([Turn::text(Role::Assistant, answer.as_str()), Turn::text(Role::User, said.as_str())]);
    Conversation { system: system.clone(), turns: of, tools: vec![tool], thinking: false }
}

fn marks(prompt: &[Piece]) -> Vec<String> {
    let mark = |piece: &Piece| if let Piece::Mark(mark) = piece { Some(mark.to_string()) } else { None };
    prompt.iter().filter_map(mark).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    // A key of letters alone stands bare in Gemma's notation and any other between quotes, so both keys here are of the other kind.
    #[test]
    fn no_text_forges_a_mark(texts in proptest::array::uniform7(strange()), key in strange()) {
        // What is blank or not is the format's to see: it leaves out turns of nothing.
        let texts = texts.map(|text| format!("a{text}z"));
        let harmless = conversation(&std::array::from_fn(|_| "a z".to_owned()), "a:z");
        let hostile = conversation(&texts, &format!("a:{key}z"));
        for (at, (format, vocabulary)) in formats().into_iter().enumerate() {
            let meant = marks(&format.render(&harmless).unwrap());
            let prompt = format.render(&hostile).unwrap_or_else(|error| panic!("format {at}: {error}"));
            prop_assert_eq!(marks(&prompt), meant, "format {}", at);
            for piece in &prompt {
                let Piece::Text(text) = piece else { continue };
                for part in cut_inside_marks(text, &vocabulary) {
                    prop_assert!(!vocabulary.iter().any(|mark| part.contains(mark.as_str())), "{:?} of {:?}", part, text);
                }
            }
        }
    }

    #[test]
    fn what_came_before_stays_as_it_was(
        system in strange(),
        rounds in proptest::collection::vec((strange(), strange(), proptest::option::of((arguments(), strange()))), 1..5),
        more in strange(),
    ) {
        let mut turns = Vec::new();
        let mut prefixes = Vec::new(); // where an answer was asked for
        for (at, (said, answer, called)) in rounds.iter().enumerate() {
            let word = |text: &str| format!("a{text}z");
            turns.push(Turn::text(Role::User, word(said)));
            prefixes.push(turns.len());
            if let Some((arguments, got)) = called {
                let id = format!("c{at}");
                turns.extend([calls(&[call(&id, "f", &arguments.to_string())]), result(&id, got)]);
                prefixes.push(turns.len());
            }
            turns.push(Turn::text(Role::Assistant, word(answer)));
        }
        turns.push(Turn::text(Role::User, format!("a{more}z")));
        for (at, (format, _)) in formats().into_iter().enumerate() {
            // These two say the tools behind all messages, which no model's template does.
            let of = |turns: &[Turn]| Conversation { system: format!("a{system}z"), turns: turns.to_vec(), ..Conversation::default() };
            let longer = format.render(&of(&turns)).unwrap();
            for prefix in &prefixes {
                let shorter = format.render(&of(&turns[..*prefix])).unwrap();
                let kept = shorter.len() - opening(&shorter);
                // The last text before the opening may end with the line break before it.
                prop_assert_eq!(&shorter[..kept], &longer[..kept], "format {}", at);
            }
        }
    }
}

/// How many pieces at the end of a prompt open an answer: from the last mark that begins a turn, if nothing but a role follows it.
fn opening(prompt: &[Piece]) -> usize {
    let opens = ["<|turn>", "<|im_start|>", "<|start_header_id|>", "<start_of_turn>"];
    let last =
        prompt.iter().rposition(|piece| matches!(piece, Piece::Mark(mark) if opens.contains(&&**mark)));
    let role = |at: &usize| matches!(prompt.get(at + 1), Some(Piece::Text(role)) if role.starts_with("model") || role.starts_with("assistant"));
    // A call's turn of Gemma goes on: all but its last piece, which the answer makes longer, stays.
    last.filter(role)
        .filter(|at| {
            !prompt[*at..]
                .iter()
                .any(|piece| matches!(piece, Piece::Mark(mark) if mark == "<tool_response|>"))
        })
        .map_or(0, |at| prompt.len() - at)
}
