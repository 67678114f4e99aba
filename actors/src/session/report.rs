//! What a session says of itself to its peer: texts alone. Pure.
use crate::domain::{Busy, Footer, NewTurn, TurnRecord, Usage};

/// Width of a bar.
const BAR_CHARS: u64 = 24;
/// How much of a message is repeated.
const QUOTE_CHARS: usize = 60;

/// What fills a context. Lengths are in bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct ContextParts {
    pub(super) persona: usize,
    pub(super) tools: usize,
    pub(super) tools_len: usize,
    pub(super) summary: usize,
    pub(super) turns_covered: u64,
    /// What was said word for word.
    pub(super) words: usize,
    pub(super) turns_len: usize,
    /// Calls, and what came of them.
    pub(super) calls: usize,
    /// Pictures and recordings, in tokens, as the model counted them; 0 when unknown.
    pub(super) media_tokens: u32,
    /// The whole, as the model counted it; 0 when unknown.
    pub(super) tokens: u32,
    pub(super) tokens_max: u32,
    pub(super) compact_at_percent: u8,
}

/// The answer to `/context`. The whole is the model's count; the parts are shares of it by their length.
pub(super) fn context(parts: &ContextParts) -> String {
    let (tokens, tokens_max) = (u64::from(parts.tokens), u64::from(parts.tokens_max.max(1)));
    let media = u64::from(parts.media_tokens).min(tokens);
    let rows = [
        ("instructions".to_owned(), parts.persona),
        (format!("{} tools", parts.tools_len), parts.tools),
        (format!("summary of {} turns", parts.turns_covered), parts.summary),
        (format!("{} turns, word for word", parts.turns_len), parts.words),
        ("calls and their answers".to_owned(), parts.calls),
    ];
    let bytes: u64 = rows.iter().map(|(_, bytes)| *bytes as u64).sum();
    let mut lines = vec![match tokens {
        0 => {
            format!("My context holds {tokens_max} tokens; the model has not counted this conversation yet.")
        }
        _ => format!(
            "{tokens} of {tokens_max} tokens ({} %), as the model counted them after the last answer. Its parts, by their length:",
            tokens * 100 / tokens_max
        ),
    }];
    for (name, part) in rows.iter().filter(|(_, part)| *part > 0) {
        let part = *part as u64;
        let share = if tokens == 0 { part / 4 } else { (tokens - media) * part / bytes.max(1) };
        lines.push(format!("  {name:<26} {:<24} about {share}", bar(share, tokens_max)));
    }
    if media > 0 {
        lines.push(format!("  {:<26} {:<24} {media}", "pictures and recordings", bar(media, tokens_max)));
    }
    let threshold = tokens_max * u64::from(parts.compact_at_percent) / 100;
    lines.push(format!(
        "  {:<26} {:<24} {}",
        "free",
        bar(tokens_max.saturating_sub(tokens), tokens_max),
        tokens_max.saturating_sub(tokens)
    ));
    lines.push(format!("At {threshold} tokens the older part is summarised; /compact does it now."));
    lines.join("\n")
}

fn bar(part: u64, whole: u64) -> String {
    let length = (part * BAR_CHARS).div_ceil(whole.max(1)).min(BAR_CHARS);
    "█".repeat(usize::try_from(length).unwrap_or_default())
}

/// The answer to `/undo`.
pub(super) fn undone(turns: u64, left: u64, first: &str) -> String {
    let what = match turns {
        1 => "Taken back".to_owned(),
        turns => format!("Taken back {turns} turns, from"),
    };
    let what = format!("{what}: \"{}\". ", quote(first));
    format!("{what}{left} turns are left. What my tools have done stays done.")
}

/// The answer to `/busy`.
pub(super) fn busy(busy: Busy) -> String {
    let what = match busy {
        Busy::Queue => "a message waits for its turn",
        Busy::Steer => {
            "a message goes into the running answer before my next step, or waits where there is none"
        }
        Busy::Interrupt => "a message stops the running answer and is answered next",
    };
    let others = Busy::ALL.into_iter().filter(|other| *other != busy);
    let others: Vec<String> = others.map(|other| format!("`/busy {}`", other.as_str())).collect();
    format!("While I am at work, {what} ({}). {} would change that.", busy.as_str(), others.join(" or "))
}

/// The beginning of a text, on one line.
pub(crate) fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= QUOTE_CHARS {
        return line;
    }
    let head: String = line.chars().take(QUOTE_CHARS - 1).collect();
    format!("{head}…")
}

/// The answer to `/usage`.
pub(super) fn usage(turns: &[TurnRecord], footer: Footer) -> String {
    let sum = |of: fn(&Usage) -> u32| turns.iter().map(|turn| u64::from(of(&turn.usage))).sum::<u64>();
    let prompt = sum(|usage| usage.prompt_tokens);
    let cached = sum(|usage| usage.cached_tokens);
    let (answer, decode_ms) = (sum(|usage| usage.answer_tokens), sum(|usage| usage.decode_ms));
    let calls = turns.iter().flat_map(|turn| &turn.steps).map(|step| step.calls.len()).sum::<usize>();
    let below = match footer {
        Footer::Off => "off",
        Footer::Tokens => "tokens",
        Footer::Full => "full",
    };
    let rows = [
        ("turns".to_owned(), turns.len().to_string()),
        ("calls of tools".to_owned(), calls.to_string()),
        (
            "tokens read".to_owned(),
            format!("{prompt}, {} % of them known already", cached * 100 / prompt.max(1)),
        ),
        ("tokens written".to_owned(), format!("{answer}, {} a second", per_second(answer, decode_ms))),
        ("time reading and writing".to_owned(), seconds(sum(|usage| usage.prefill_ms) + decode_ms)),
        ("below each answer".to_owned(), below.to_owned()),
    ];
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<26} {value}")).collect();
    format!("This session so far, by the last model call of each turn:\n{}", lines.join("\n"))
}

/// What is said below an answer; begins with a gap, or is empty.
pub(super) fn footer(footer: Footer, turn: &NewTurn, tokens_max: u32) -> String {
    let usage = turn.usage;
    let cost = format!(
        "{} tokens read, {} of them known; {} written; {}",
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.answer_tokens,
        seconds(u64::from(usage.prefill_ms) + u64::from(usage.decode_ms)),
    );
    match footer {
        Footer::Off => String::new(),
        Footer::Tokens => format!("\n\n[{cost}]"),
        Footer::Full => format!(
            "\n\n[{cost}; {}, {} tokens a second; context {} %]",
            turn.model,
            per_second(u64::from(usage.answer_tokens), u64::from(usage.decode_ms)),
            u64::from(usage.context_tokens()) * 100 / u64::from(tokens_max.max(1)),
        ),
    }
}

fn per_second(tokens: u64, ms: u64) -> String {
    let tenths = tokens * 10_000 / ms.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ModelId;

    #[test]
    fn the_parts_of_a_context_make_up_the_whole_that_the_model_counted() {
        let parts = ContextParts {
            persona: 400,
            words: 1200,
            turns_len: 3,
            tokens: 400,
            tokens_max: 1000,
            compact_at_percent: 75,
            ..ContextParts::default()
        };
        let text = context(&parts);
        assert!(text.starts_with("400 of 1000 tokens (40 %)"), "{text}");
        assert!(text.contains("about 100\n") && text.contains("about 300\n"), "{text}");
        assert!(text.contains("free") && text.contains(" 600\n") && text.contains("At 750 tokens"), "{text}");
        assert!(!text.contains("0 tools") && !text.contains("summary of"), "{text}");
        let unknown = context(&ContextParts { tokens: 0, ..parts });
        assert!(unknown.starts_with("My context holds 1000 tokens; the model has not counted"), "{unknown}");
    }

    #[test]
    fn what_an_answer_cost_is_said_as_wished() {
        let usage = Usage {
            prompt_tokens: 500,
            cached_tokens: 480,
            answer_tokens: 30,
            prefill_ms: 200,
            decode_ms: 1500,
            ..Usage::default()
        };
        let turn = NewTurn {
            user: String::new(),
            answer: String::new(),
            stopped: false,
            model: ModelId::new("m").unwrap(),
            steps: Vec::new(),
            asides: Vec::new(),
            brought: Vec::new(),
            usage,
            replaces_last: false,
        };
        let of = |wish| footer(wish, &turn, 1000);
        assert_eq!(of(Footer::Off), "");
        assert_eq!(of(Footer::Tokens), "\n\n[500 tokens read, 480 of them known; 30 written; 1.7 s]");
        assert!(
            of(Footer::Full).ends_with("1.7 s; m, 20.0 tokens a second; context 53 %]"),
            "{}",
            of(Footer::Full)
        );
    }

    #[test]
    fn long_messages_are_quoted_by_their_beginning() {
        assert_eq!(quote(" a\n b "), "a b");
        assert_eq!(quote(&"ä".repeat(100)).chars().count(), QUOTE_CHARS);
        assert_eq!(
            undone(1, 4, "hello"),
            "Taken back: \"hello\". 4 turns are left. What my tools have done stays done."
        );
    }
}
