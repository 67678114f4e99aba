//! How much thinking a message seems to need, from 0 to 1. Pure: its words alone decide.
//!
//! A sum of what can be seen of a message, weighed, and pressed between 0 and 1 by the logistic function. It is no understanding, and need
//! not be: it chooses between a large and a small model, and a wrong choice costs time or depth, never truth. The weights were set by hand
//! on messages that were labelled by the same hand (`labelled.tsv`, 40 hard and 66 easy ones): the test tells whether the two still agree,
//! not how well they fit English at large, and other languages are judged by their length and signs alone.
/// What begins a task that needs more than a look: to work something out, to weigh, to build, to find a fault.
const WORK: &[&str] = &[
    "prove",
    "derive",
    "design",
    "architect",
    "refactor",
    "debug",
    "optimise",
    "optimize",
    "analyse",
    "analyze",
    "compare",
    "evaluate",
    "implement",
    "plan",
    "strategy",
    "trade-off",
    "trade-offs",
    "tradeoffs",
    "algorithm",
    "explain why",
    "step by step",
    "in detail",
    "root cause",
    "complexity",
    "theorem",
    "integral",
    "equation",
    "probability",
    "schema",
    "migration",
    "concurrency",
    "deadlock",
    "race condition",
    "review",
    "critique",
    "pros and cons",
    "investigate",
    "diagnose",
    "estimate",
    "model",
    "simulate",
    "formal",
    "essay",
    "contract",
    "legal",
    "budget",
    "forecast",
    "proof",
    "constraints",
    "edge cases",
    "test cases",
    "benchmark",
];
/// What binds conditions together.
const BONDS: &[&str] = &[
    "if",
    "unless",
    "because",
    "although",
    "however",
    "assuming",
    "given",
    "whereas",
    "such that",
    "so that",
    "while",
    "without",
    "except",
    "both",
    "either",
    "respectively",
    "at least",
    "at most",
    "must",
    "should",
];
/// What is answered at once.
const LIGHT: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "thanks",
    "thank you",
    "ok",
    "okay",
    "yes",
    "no",
    "bye",
    "good morning",
    "good night",
    "what time",
    "what day",
    "weather",
    "translate",
    "spell",
    "define",
    "synonym",
    "capital of",
    "how old",
    "remind me",
    "who are you",
    "your name",
    "tell me a joke",
];

/// How much thinking a message seems to need: 0 none, 1 all there is.
pub fn complexity(message: &str) -> f32 {
    let text = message.to_lowercase();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '\'').collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let spoken = format!(" {} ", words.join(" "));
    let hits =
        |list: &[&str]| list.iter().filter(|entry| spoken.contains(&format!(" {entry} "))).count() as f32;
    let length = (words.len() as f32 + 1.0).ln();
    let parts = text.lines().filter(|line| is_item(line)).count() as f32;
    let code =
        if text.contains("```") || text.contains("fn ") || text.contains("def ") || text.contains("();") {
            1.0
        } else {
            0.0
        };
    let symbols = text.chars().filter(|c| "=<>+*/^∑∫√≤≥≠{}[]".contains(*c)).count() as f32;
    let sum = -2.5
        + 0.75 * length
        + 1.35 * hits(WORK).min(4.0)
        + 0.35 * hits(BONDS).min(4.0)
        + 0.5 * parts.min(4.0)
        + 1.2 * code
        + 0.25 * symbols.min(6.0)
        - 1.6 * hits(LIGHT).min(2.0);
    1.0 / (1.0 + (-sum).exp())
}

/// Whether a line is an item of a list of wishes.
fn is_item(line: &str) -> bool {
    let line = line.trim_start();
    let numbered = line.find(['.', ')']).is_some_and(|end| {
        (1..=2).contains(&end)
            && line.get(..end).is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    });
    numbered || line.starts_with("- ") || line.starts_with("* ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Messages with their labels: `hard` is for the largest model, `easy` for any other.
    const LABELLED: &str = include_str!("labelled.tsv");

    fn labelled() -> Vec<(bool, String)> {
        let line = |line: &str| {
            let (label, text) = line.split_once('\t').expect("a label and a text");
            (label == "hard", text.replace("\\n", "\n"))
        };
        LABELLED.lines().map(line).collect()
    }

    #[test]
    fn most_messages_are_weighed_as_they_are_labelled() {
        let share = |hard: bool| {
            let of_label: Vec<_> = labelled().into_iter().filter(|(label, _)| *label == hard).collect();
            let right = of_label.iter().filter(|(_, text)| (complexity(text) >= 0.8) == hard).count();
            right as f32 / of_label.len() as f32
        };
        let (hard, easy) = (share(true), share(false));
        assert!(hard >= 0.85 && easy >= 0.98, "{hard} of the hard, {easy} of the easy");
    }

    #[test]
    fn greetings_need_none_and_designs_need_much() {
        assert!(complexity("hi") < 0.1 && complexity("") < 0.1);
        assert!(
            complexity("Design a schema for a shop, compare two migrations, and analyse the trade-offs.")
                > 0.8
        );
    }

    proptest! {
        #[test]
        fn it_is_always_a_part(text in ".{0,2000}") {
            prop_assert!((0.0..=1.0).contains(&complexity(&text)));
        }
    }
}
