//! One answer on its way to the screen: what was shown of it, and what is still to be shown.
use std::io;

use crate::admin::protocol::{AnswerView, AttachmentView, TurnView};
use crate::cli::console::Console;

/// Longest line about a call, in characters.
const CALL_CHARS_MAX: usize = 100;

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    /// Piece by piece, for a person.
    Stream,
    /// Whole, when it is final: what a file got cannot be taken back.
    Whole,
    /// Whole, as one JSON object.
    Json,
    /// Not at all.
    Hidden,
}

/// What is left to show of a final answer.
#[derive(Debug, PartialEq, Eq)]
enum Remainder<'a> {
    /// This behind what is on the screen.
    Rest(&'a str),
    /// The whole, because something else is on the screen.
    Anew(&'a str),
}

/// One answer while it comes.
pub(super) struct AnswerOnScreen {
    display: Display,
    /// What is on the screen, as it came.
    shown: String,
    /// Characters that came after the connection was lost. They are counted, not shown: whether they begin at the beginning or in
    /// the middle is known only when the answer is final.
    held: Option<usize>,
    worker_replaced: bool,
}

impl AnswerOnScreen {
    /// Nothing of it came so far.
    pub(super) fn new(display: Display) -> Self {
        Self { display, shown: String::new(), held: None, worker_replaced: false }
    }

    /// Shows progress.
    pub(super) fn on_progress(&mut self, console: &mut Console, view: &TurnView) -> io::Result<()> {
        match view {
            TurnView::Accepted { duplicate, .. } => self.on_accepted(console, *duplicate),
            TurnView::Queued { position: 1 } => console.progress("waiting: next in the queue"),
            TurnView::Queued { position } => {
                console.progress(&format!("waiting: number {position} in the queue"))
            }
            TurnView::Loading { model, percent } => {
                console.progress(&format!("loading {model}: {percent} %"))
            }
            // Another machine reads without telling how far it is.
            TurnView::Reading { total: 0, .. } => console.progress("waiting for the first word"),
            TurnView::Reading { done, total } => {
                console.progress(&format!("reading: {done} of {total} tokens"))
            }
            TurnView::Compacting => console.progress("summarising the conversation"),
            TurnView::Text { text } => self.on_text(console, text),
            TurnView::CallBegun { tool, shown } => self.on_call(console, tool, shown),
            TurnView::CallProgress { tool, text } => console.progress(&format!("{tool}: {text}")),
            TurnView::CallEnded { tool, failed: true } => self.beside(console, &format!("  {tool}: failed")),
            TurnView::CallEnded { failed: false, .. } => console.progress("waiting for the next word"),
            TurnView::ApprovalWanted { shown, why, timeout_s, .. } => {
                self.end_words(console)?;
                console.note(&format!("May I do this? ({why})\n{shown}"))?;
                let minutes = timeout_s.div_ceil(60);
                console.note(&format!(
                    "yes (y), for this session (s), for good (a) or no (n); from elsewhere /approve or /deny; after {minutes} min it is no"
                ))
            }
            TurnView::WorkerReplaced => {
                self.worker_replaced = true;
                console.progress("the model's process died; a new one goes on")
            }
            TurnView::Retrying { .. } => self.on_retrying(console),
            TurnView::Ended(_) => Ok(()),
        }
    }

    /// After a lost connection the message is handed in again. The daemon that knows it is somewhere in its answer; one that does
    /// not begins.
    fn on_accepted(&mut self, console: &mut Console, duplicate: bool) -> io::Result<()> {
        if duplicate {
            self.held = Some(0);
        } else if !self.shown.is_empty() {
            return self.on_retrying(console);
        }
        console.progress("waiting for the answer")
    }

    fn on_text(&mut self, console: &mut Console, text: &str) -> io::Result<()> {
        if let Some(held) = &mut self.held {
            *held += text.chars().count();
            return console.progress(&format!("the answer goes on: {held} characters"));
        }
        if self.display != Display::Stream {
            self.shown.push_str(text);
            return console.progress(&format!("answering: {} characters", self.shown.chars().count()));
        }
        // A terminal shows no empty lines before the answer.
        let text = if self.shown.is_empty() { text.trim_start() } else { text };
        self.shown.push_str(text);
        console.write(text)
    }

    /// What was said before a call is no part of the answer behind it.
    fn end_words(&mut self, console: &mut Console) -> io::Result<()> {
        if self.display == Display::Stream && !self.shown.is_empty() {
            console.end_line()?;
        }
        self.shown.clear();
        Ok(())
    }

    fn on_call(&mut self, console: &mut Console, tool: &str, shown: &str) -> io::Result<()> {
        self.end_words(console)?;
        let first = shown.lines().next().unwrap_or_default();
        let mut line: String = first.chars().take(CALL_CHARS_MAX).collect();
        if line.len() < shown.len() {
            line.push('…');
        }
        let line = if line.starts_with(tool) { line } else { format!("{tool} {line}") };
        self.beside(console, &format!("· {line}"))?;
        console.progress(&format!("{tool} runs"))
    }

    /// A line beside the answer, for a person who looks.
    fn beside(&self, console: &mut Console, line: &str) -> io::Result<()> {
        if self.display == Display::Stream { console.note(line) } else { console.progress(line) }
    }

    fn on_retrying(&mut self, console: &mut Console) -> io::Result<()> {
        let was_visible = self.display == Display::Stream && !self.shown.is_empty();
        self.shown.clear();
        self.held = None;
        if was_visible {
            console.note("(the answer starts again)")
        } else {
            console.progress("the answer starts again")
        }
    }

    /// Shows what is left. A failure goes to the error stream, except as JSON.
    pub(super) fn finish(mut self, console: &mut Console, answer: &AnswerView) -> io::Result<()> {
        if self.display != Display::Stream {
            self.shown.clear();
        }
        match (self.display, answer.kind.as_str()) {
            (Display::Hidden, kind) if kind != FAILURE => return console.erase_progress(),
            (Display::Json, _) => return console.json(answer),
            (_, FAILURE) => {
                if self.display == Display::Stream {
                    console.end_line()?;
                }
                return console.error(answer.text.trim_end());
            }
            _ => {}
        }
        match remainder(&self.shown, &answer.text) {
            Remainder::Rest(rest) => console.write(rest)?,
            Remainder::Anew(whole) => {
                console.end_line()?;
                console.note("(the whole answer)")?;
                console.write(whole)?;
            }
        }
        if console.terminals().output {
            console.end_line()?;
        } else if !answer.text.ends_with('\n') {
            console.write("\n")?;
        }
        for AttachmentView { path, bytes, media_type, caption, .. } in &answer.attachments {
            let caption = caption.as_ref().map(|caption| format!(": {caption}")).unwrap_or_default();
            console.note(&format!("attached: {path} ({media_type}, {bytes} bytes){caption}"))?;
        }
        if self.worker_replaced && console.terminals().error {
            console.note("(the model's process was replaced meanwhile)")?;
        }
        Ok(())
    }
}

/// The kind of an answer that says why there is none.
pub(super) const FAILURE: &str = "failure";

fn remainder<'a>(shown: &str, answer: &'a str) -> Remainder<'a> {
    let answer = answer.trim();
    if let Some(rest) = answer.strip_prefix(shown) {
        return Remainder::Rest(rest);
    }
    // The final text may have lost white space at its end that was streamed already.
    if shown.trim_end() == answer { Remainder::Rest("") } else { Remainder::Anew(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::tests::console;

    fn text(text: &str) -> TurnView {
        TurnView::Text { text: text.into() }
    }

    fn accepted(duplicate: bool) -> TurnView {
        TurnView::Accepted { inbox: 1, session: "ezra/cli/uid0/main".into(), duplicate }
    }

    fn answer(kind: &str, text: &str) -> AnswerView {
        AnswerView {
            outbox: 1,
            inbox: 1,
            key: "k".into(),
            session: "ezra/cli/uid0/main".into(),
            kind: kind.into(),
            text: text.into(),
            attachments: Vec::new(),
            created_unix_ms: 0,
        }
    }

    #[test]
    fn what_is_left_follows_from_what_was_shown() {
        let table = [
            ("", "Hello", Remainder::Rest("Hello")),
            ("Hel", "Hello", Remainder::Rest("lo")),
            ("Hello", "Hello", Remainder::Rest("")),
            ("Hello \n", "Hello", Remainder::Rest("")),
            ("Hi", "\n Hi there\n", Remainder::Rest(" there")),
            ("Good day", "Hello", Remainder::Anew("Hello")),
            ("Hello there", "Hello", Remainder::Anew("Hello")),
        ];
        for (shown, answer, left) in table {
            assert_eq!(remainder(shown, answer), left, "{shown:?} {answer:?}");
        }
    }

    /// What a terminal of 40 columns gets, escapes of the progress line taken out.
    fn on_terminal(display: Display, steps: &[TurnView], last: &AnswerView) -> String {
        let (mut console, screen, _) = console(true);
        let mut answer = AnswerOnScreen::new(display);
        for step in steps {
            answer.on_progress(&mut console, step).unwrap();
        }
        answer.finish(&mut console, last).unwrap();
        let mut text = screen.text();
        while let (Some(start), Some(end)) = (text.find("\x1b7"), text.find("\x1b8")) {
            text.replace_range(start..end + 2, "");
        }
        text.replace("\x1b[J", "")
    }

    #[test]
    fn pieces_are_shown_once() {
        let steps = [TurnView::Queued { position: 2 }, text("\nHel"), text("lo")];
        assert_eq!(on_terminal(Display::Stream, &steps, &answer("answer", "Hello you")), "Hello you\n");
    }

    #[test]
    fn after_a_lost_connection_only_the_rest_is_shown() {
        let steps = [accepted(false), text("Hel"), accepted(true), text("Hel"), text("lo")];
        assert_eq!(on_terminal(Display::Stream, &steps, &answer("answer", "Hello")), "Hello\n");
        let other = on_terminal(Display::Stream, &steps, &answer("answer", "Good day"));
        assert_eq!(other, "Hel\n(the whole answer)\nGood day\n");
    }

    #[test]
    fn a_message_that_had_not_arrived_is_answered_from_the_beginning() {
        let steps = [text("Hel"), accepted(false), text("Good "), text("day")];
        let shown = on_terminal(Display::Stream, &steps, &answer("answer", "Good day"));
        assert_eq!(shown, "Hel\n(the answer starts again)\nGood day\n");
    }

    #[test]
    fn a_retried_answer_starts_again() {
        let steps = [text("Wrong"), TurnView::Retrying { attempt: 2 }, text("Right")];
        let shown = on_terminal(Display::Stream, &steps, &answer("answer", "Right"));
        assert_eq!(shown, "Wrong\n(the answer starts again)\nRight\n");
    }

    #[test]
    fn calls_stand_beside_the_answer() {
        let call = TurnView::CallBegun { tool: "bash".into(), shown: "ls\nid".into() };
        let read = TurnView::CallBegun { tool: "read_file".into(), shown: "read_file a.txt".into() };
        let failed = TurnView::CallEnded { tool: "read_file".into(), failed: true };
        let steps = [text("Let me look."), call, read, failed, text("Two files.")];
        let shown = on_terminal(Display::Stream, &steps, &answer("answer", "Two files."));
        assert_eq!(shown, "Let me look.\n· bash ls…\n· read_file a.txt\n  read_file: failed\nTwo files.\n");
    }

    #[test]
    fn a_replaced_worker_is_mentioned_after_the_answer() {
        let steps = [text("One "), TurnView::WorkerReplaced, text("two")];
        let shown = on_terminal(Display::Stream, &steps, &answer("answer", "One two"));
        assert_eq!(shown, "One two\n(the model's process was replaced meanwhile)\n");
    }

    #[test]
    fn a_file_gets_the_final_answer_alone() {
        let (mut console, out, err) = console(false);
        let mut shown = AnswerOnScreen::new(Display::Whole);
        for step in [text("Wrong"), TurnView::Retrying { attempt: 2 }, text("Right")] {
            shown.on_progress(&mut console, &step).unwrap();
        }
        shown.finish(&mut console, &answer("answer", "Right\x1b[2J")).unwrap();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("Right␛[2J\n", ""));
    }

    #[test]
    fn a_failure_is_no_data() {
        let (mut console, out, err) = console(false);
        let shown = AnswerOnScreen::new(Display::Whole);
        shown.finish(&mut console, &answer(FAILURE, "the model failed")).unwrap();
        assert_eq!((out.text().as_str(), err.text().as_str()), ("", "archond: the model failed\n"));
    }
}
