//! Shows how far a download or check is: a bar on a terminal, a line every tenth elsewhere.
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

use archond_models::progress::{Progress, Stage};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::moment::bytes;
use super::super::plain::plain;

/// The bar while bytes come at a rate that can be told.
const BAR: &str = "{msg} [{bar:24}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
/// The bar while there is nothing to count.
const SPINNER: &str = "{spinner} {msg} {decimal_bytes}";
/// How often the bar is drawn, also when nothing moves: a bar that stands still looks hung.
const TICK: Duration = Duration::from_millis(200);

/// Shows the progress of one file.
pub(super) struct Meter {
    name: String,
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// Elsewhere: what was said last.
    said: Mutex<Option<(Stage, u64)>>,
}

impl Meter {
    pub(super) fn new(terminal: bool, name: &str) -> Self {
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { name: name.to_owned(), bar, said: Mutex::new(None) }
    }

    /// Shows a report.
    pub(super) fn show(&self, progress: Progress) {
        match &self.bar {
            Some(bar) => self.draw(bar, &progress),
            None => {
                if let Some(line) = self.line(progress) {
                    // Progress that nobody can read is no reason to stop the work.
                    let _ = writeln!(io::stderr().lock(), "{}", plain(&line));
                }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn draw(&self, bar: &ProgressBar, progress: &Progress) {
        let message = match &progress.stage {
            Stage::Waiting { .. } => format!("{}: {}", self.name, words(&progress.stage)),
            stage => format!("{} {}", words(stage), self.name),
        };
        // The name is a path as it was typed, the reason a server's.
        let message = plain(&message).into_owned();
        if bar.message() != message {
            // A new stage has a rate of its own. Bytes of earlier runs are no part of it.
            let template = if progress.total.is_some() { BAR } else { SPINNER };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(message);
            bar.set_position(progress.done);
            bar.reset_eta();
        }
        if let Some(total) = progress.total {
            bar.set_length(total);
        }
        bar.set_position(progress.done);
    }

    /// The line for a report, if it says something new: another stage, or another tenth.
    fn line(&self, progress: Progress) -> Option<String> {
        let tenth = progress.total.map_or(0, |total| progress.done.saturating_mul(10) / total.max(1));
        let now = (progress.stage, tenth);
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Asking again after a pause was announced with the pause.
        let retries = now.0 == Stage::Asking && said.is_some();
        if retries || said.as_ref() == Some(&now) {
            return None;
        }
        let (stage, tenth) = said.insert(now);
        let words = words(stage);
        Some(match (stage, progress.total) {
            (Stage::Waiting { .. }, _) => format!("{}: {words}", self.name),
            (Stage::Asking, _) | (_, None) => format!("{words} {}", self.name),
            (_, Some(total)) => {
                format!(
                    "{words} {}: {} % ({} of {})",
                    self.name,
                    *tenth * 10,
                    bytes(progress.done),
                    bytes(total)
                )
            }
        })
    }
}

fn words(stage: &Stage) -> String {
    match stage {
        Stage::Asking => "looking for".to_owned(),
        Stage::Fetching => "fetching".to_owned(),
        Stage::Unpacking => "unpacking".to_owned(),
        Stage::Copying => "copying".to_owned(),
        Stage::Checking => "checking".to_owned(),
        Stage::Waiting { attempt, attempts_max, reason } => {
            format!("{reason}; trying again ({attempt} of {attempts_max})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_one_line_for_each_stage_and_tenth() {
        let meter = Meter::new(false, "m");
        let report = |stage: Stage, done, total| meter.line(Progress { stage, done, total });
        let waiting = Stage::Waiting { attempt: 2, attempts_max: 5, reason: "no data for 30 s".into() };
        let lines: Vec<_> = [
            report(Stage::Asking, 0, None),
            report(Stage::Fetching, 1_000, Some(1_000_000)),
            report(Stage::Fetching, 99_999, Some(1_000_000)),
            report(Stage::Fetching, 100_000, Some(1_000_000)),
            report(waiting, 100_000, Some(1_000_000)),
            report(Stage::Fetching, 1_000_000, Some(1_000_000)),
        ]
        .into_iter()
        .flatten()
        .collect();
        assert_eq!(
            lines,
            [
                "looking for m",
                "fetching m: 0 % (1.0 kB of 1.0 MB)",
                "fetching m: 10 % (100 kB of 1.0 MB)",
                "m: no data for 30 s; trying again (2 of 5)",
                "fetching m: 100 % (1.0 MB of 1.0 MB)",
            ]
        );
    }
}
