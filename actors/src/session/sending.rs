//! Files that an answer names in lines of their own, `MEDIA: path`, as models of other agents were taught it. Pure.
//!
//! Each such line stands for a call of the tool that sends a file: judged, asked about, written down and made like any other. The turn ends
//! with these calls. The line of a file that goes with the answer is taken out; the line of one that does not stays, with the reason.
use super::turn::{Effect, Phase, Turn};
use crate::domain::{AnswerKind, FinishReason, NewAnswer, Outcome, SEND_FILE, ToolCall, ToolStep, Usage};

/// How such a line begins.
const MARK: &str = "MEDIA:";
/// Files of one answer; lines beyond stay as they are.
const FILES_MAX: usize = 10;
/// In the ids of these calls, so that they are known again.
const NAMED: &str = "media";
/// Longest reason behind a line, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The lines that name files, by their numbers, with the paths. Program text names none.
fn named(text: &str) -> Vec<(usize, &str)> {
    let mut fence = None;
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let begins = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| begins.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                let path = line.strip_prefix(MARK).map(|path| path.trim().trim_matches(['`', '"', '\'']));
                let path = path.filter(|path| !path.is_empty() && !path.contains(char::is_control));
                found.extend(path.map(|path| (number, path)));
            }
        }
    }
    found.truncate(FILES_MAX);
    found
}

/// The calls that the lines of an answer stand for.
fn calls(text: &str) -> Vec<ToolCall> {
    let call = |(_, path): (usize, &str)| {
        let path = path.replace('\\', r"\\").replace('"', r#"\""#);
        let arguments = format!(r#"{{"path":"{path}"}}"#);
        ToolCall { id: String::new(), name: SEND_FILE.to_owned(), arguments }
    };
    named(text).into_iter().map(call).collect()
}

/// What is said once these calls have ended.
fn said(text: &str, step: &ToolStep) -> String {
    let named = named(text);
    let outcome = |number: usize| {
        let at = named.iter().position(|(line, _)| *line == number)?;
        step.calls.get(at).map(|record| &record.outcome)
    };
    let line = |(number, line): (usize, &str)| match outcome(number) {
        None => Some(line.to_owned()),
        Some(Outcome::Done { .. }) => None,
        Some(Outcome::Failed { text }) => {
            let reason = text.lines().next().unwrap_or_default();
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            Some(format!("{line} [not sent: {reason}]"))
        }
        Some(Outcome::Unknown) => Some(format!("{line} [not sent]")),
    };
    let lines: Vec<String> = text.lines().enumerate().filter_map(line).collect();
    let text = lines.join("\n").trim().to_owned();
    if !text.is_empty() {
        return text;
    }
    // Nothing but files.
    named.iter().map(|(_, path)| format!("`{path}`")).collect::<Vec<_>>().join("\n")
}

impl Turn {
    /// The answer is whole. Sends the files that it names; `None`: it names none, or the Archon has no tool for that.
    pub(super) fn send_named(&mut self, reason: FinishReason, usage: Usage) -> Option<Vec<Effect>> {
        self.kit.find(SEND_FILE)?;
        let calls = if reason == FinishReason::Length { Vec::new() } else { calls(&self.answer) };
        let tokens = u64::from(usage.context_tokens());
        (!calls.is_empty()).then(|| self.begin_step(calls, NAMED, tokens))
    }

    /// Ends the turn with a step that was begun so, once its calls have ended. A turn that another life began has to ask the model on.
    pub(super) fn end_with_files(&mut self, step: &mut ToolStep) -> Option<Vec<Effect>> {
        let is_named = |id: &str| id.rsplit('.').next().is_some_and(|number| number.starts_with(NAMED));
        self.last.as_ref()?;
        if step.calls.is_empty() || !step.calls.iter().all(|record| is_named(&record.call.id)) {
            return None;
        }
        // What it said is the answer, and said once.
        let text = said(&std::mem::take(&mut step.text), step);
        self.steps.push(step.clone());
        self.phase = Phase::Ended;
        self.answer.clone_from(&text);
        let answer = NewAnswer { kind: AnswerKind::Answer, text };
        Some(vec![Effect::End { turn: self.kept(false), answer }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CallRecord;

    #[test]
    fn lines_outside_of_program_text_name_files() {
        let text = "Here:\nMEDIA: a.png\n MEDIA: no\nMEDIA:`out/b c.pdf`\n```\nMEDIA: code\n~~~\n```\nMEDIA:\nMEDIA: \"d\"\n~~~sh\nMEDIA: e";
        assert_eq!(named(text), [(1, "a.png"), (3, "out/b c.pdf"), (9, "d")]);
        assert_eq!(named(&"MEDIA: x\n".repeat(20)).len(), FILES_MAX);
        assert!(named("I write MEDIA: a.png in the middle").is_empty());
        assert_eq!(calls("MEDIA: a\"b\\c")[0].arguments, r#"{"path":"a\"b\\c"}"#);
    }

    #[test]
    fn what_went_is_taken_out_and_what_did_not_says_why() {
        let step = |outcomes: &[Outcome]| ToolStep {
            text: String::new(),
            calls: outcomes
                .iter()
                .map(|outcome| CallRecord { call: calls("MEDIA: x").remove(0), outcome: outcome.clone() })
                .collect(),
        };
        let done = || Outcome::Done { text: "goes".into() };
        let failed = || Outcome::Failed { text: "there is no `b`\nmore".into() };
        let text = "Here:\nMEDIA: a\nMEDIA: b\nthat is all";
        assert_eq!(said(text, &step(&[done(), done()])), "Here:\nthat is all");
        let told = "Here:\nMEDIA: b [not sent: there is no `b`]\nthat is all";
        assert_eq!(said(text, &step(&[done(), failed()])), told);
        assert_eq!(said("MEDIA: a", &step(&[done()])), "`a`");
        assert_eq!(said("MEDIA: a", &step(&[Outcome::Unknown])), "MEDIA: a [not sent]");
    }
}
