//! Model files of strangers, who mean no good.
use crate::kit::{TestHouse, text};

/// A model file of a stranger: nothing but this chat template.
fn with_template(template: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &0_u64.to_le_bytes(), &2_u64.to_le_bytes()].concat();
    for (key, value) in [("general.architecture", "other"), ("tokenizer.chat_template", template)] {
        file.extend([text(key), 8_u32.to_le_bytes().to_vec(), text(value)].concat());
    }
    file
}

#[test]
fn a_chat_template_that_has_no_end_is_refused_and_takes_no_more_than_its_share() {
    let house = TestHouse::new();
    let models = std::fs::read_dir(house.path().join("data/models")).unwrap().count();
    let loops =
        "{% for a in range(99999) %}{% for b in range(99999) %}{% set x = a * b %}{% endfor %}{% endfor %}";
    let grows = "{% set n = namespace(s='x') %}{% for a in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}";
    let nests = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
    for (template, words) in [(loops, "steps"), (grows, "1024 MiB"), (nests, "recursion")] {
        let file = house.path().join("stranger.gguf");
        std::fs::write(&file, with_template(template)).unwrap();
        let output = house.command(&["model", "import"]).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(65), "{}", text(&output));
        assert!(
            text(&output).contains("its chat template is of no use") && text(&output).contains(words),
            "{}",
            text(&output)
        );
    }
    assert_eq!(std::fs::read_dir(house.path().join("data/models")).unwrap().count(), models);
}
