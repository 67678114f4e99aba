//! Where a command's words go: data to standard output, everything else to standard error.
//!
//! Colours and progress are only for terminals. A progress line is drawn behind the cursor and erased before anything is written,
//! so that a streamed answer and the progress of its next piece can share a line.
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use unicode_width::UnicodeWidthChar;

use super::plain::plain;

/// Width of a terminal that does not tell.
const WIDTH_DEFAULT: usize = 80;
/// Below this many free columns no progress is drawn: it could not be read.
const PROGRESS_WIDTH_MIN: usize = 16;
/// Distance of tab stops, as every terminal has it.
const TAB_WIDTH: usize = 8;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";
/// Erases from the cursor to the end of the screen.
const ERASE: &str = "\x1b[J";
const SAVE_CURSOR: &str = "\x1b7";
const RESTORE_CURSOR: &str = "\x1b8";

/// Takes everything off the screen and goes to its beginning.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// How a piece of text is shown where there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paint {
    /// As everything else.
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Odd,
    /// Not well.
    Bad,
    /// Beside the point.
    Dim,
}

impl Paint {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("\x1b[32m"),
            Self::Odd => Some("\x1b[33m"),
            Self::Bad => Some("\x1b[31m"),
            Self::Dim => Some(DIM),
        }
    }
}

/// Text with colours for those terminals that show them. Its words may come from anywhere: they are made plain when they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Painted(Vec<(Paint, String)>);

impl Painted {
    /// Adds a piece.
    pub(super) fn push(&mut self, paint: Paint, text: impl Into<String>) {
        self.0.push((paint, text.into()));
    }
}

impl From<String> for Painted {
    fn from(text: String) -> Self {
        Self(vec![(Paint::Plain, text)])
    }
}

impl std::fmt::Display for Painted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(_, text)| f.write_str(text))
    }
}

/// What the three standard streams are.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terminals {
    /// Somebody can type.
    pub(super) input: bool,
    /// Somebody reads the data as it comes.
    pub(super) output: bool,
    /// Somebody reads the progress.
    pub(super) error: bool,
    /// Colours are welcome, on those streams that are terminals.
    pub(super) colour: bool,
}

impl Terminals {
    /// Looks at this process.
    pub(super) fn detect() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            input: io::stdin().is_terminal(),
            output: io::stdout().is_terminal(),
            // A dumb terminal cannot erase a line: it is served like a file.
            error: io::stderr().is_terminal() && !dumb,
            colour: !is_set("NO_COLOR") && !dumb,
        }
    }
}

/// The two outgoing streams.
pub(super) struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    terminals: Terminals,
    width: usize,
    /// Where the cursor of the output's terminal is.
    column: usize,
    progress: Option<String>,
    /// What the person typed to run us, where that is not plainly `archond`.
    invoked_as: Option<String>,
}

impl Console {
    /// The streams of this process.
    pub(super) fn of_process() -> Self {
        // A terminal that knows no width says 0.
        let width = rustix::termios::tcgetwinsize(io::stderr())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|&width| width > 0)
            .unwrap_or(WIDTH_DEFAULT);
        let mut console =
            Self::new(Box::new(io::stdout()), Box::new(io::stderr()), Terminals::detect(), width);
        console.invoked_as = std::env::args().next().filter(|name| is_path_to_type(name));
        console
    }

    /// Other streams, for tests.
    pub(super) fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        terminals: Terminals,
        width: usize,
    ) -> Self {
        Self { out, err, terminals, width, column: 0, progress: None, invoked_as: None }
    }

    /// What the streams are.
    pub(super) fn terminals(&self) -> Terminals {
        self.terminals
    }

    /// Writes what people read, and shows it at once. A terminal has nothing to obey in it, wherever it comes from.
    pub(super) fn write(&mut self, text: &str) -> io::Result<()> {
        self.put(&plain(text))
    }

    /// Writes what programs read: a file gets it to the byte. A terminal obeys that as little as anything else.
    pub(super) fn exact(&mut self, text: &str) -> io::Result<()> {
        if self.terminals.output { self.put(&plain(text)) } else { self.put(text) }
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.erase_progress()?;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        self.column = column_after(self.column, text, self.width);
        Ok(())
    }

    /// The text with its commands as the person has to type them: a checkout is not on the `PATH`.
    pub(super) fn typed<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.invoked_as {
            Some(name) => text.replace("`archond ", &format!("`{name} ")).into(),
            None => text.into(),
        }
    }

    /// Writes one line for people.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.write(&format!("{text}\n"))
    }

    /// Writes one line for people, in bold where standard output shows colours.
    pub(super) fn headline(&mut self, text: &str) -> io::Result<()> {
        let text = plain(text);
        if self.terminals.output && self.terminals.colour {
            self.put(&format!("{BOLD}{text}{RESET}\n"))
        } else {
            self.put(&format!("{text}\n"))
        }
    }

    /// Writes painted text and ends its line.
    pub(super) fn painted(&mut self, text: &Painted) -> io::Result<()> {
        let colours = self.terminals.output && self.terminals.colour;
        for (paint, text) in &text.0 {
            match paint.code().filter(|_| colours) {
                // The codes take no room: the column is counted without them.
                Some(code) => {
                    self.out.write_all(code.as_bytes())?;
                    self.put(&plain(text))?;
                    self.out.write_all(RESET.as_bytes())?;
                }
                None => self.put(&plain(text))?,
            }
        }
        self.put("\n")
    }

    /// Empties the screen of the output's terminal.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.erase_progress()?;
        if self.terminals.output {
            self.out.write_all(CLEAR.as_bytes())?;
            self.column = 0;
        }
        Ok(())
    }

    /// Writes one object of data, for programs.
    pub(super) fn json<T: serde::Serialize>(&mut self, value: &T) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.exact(&format!("{text}\n"))
    }

    /// Ends the line on the output's terminal, if one is begun.
    pub(super) fn end_line(&mut self) -> io::Result<()> {
        if self.column > 0 { self.write("\n") } else { Ok(()) }
    }

    /// Says something that is not data: a hint, a stage that is reached.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.end_line_of_terminal()?;
        let text = self.dim(&plain(&self.typed(text)));
        writeln!(self.err, "{text}")
    }

    /// Says what went wrong.
    pub(super) fn error(&mut self, text: &str) -> io::Result<()> {
        self.end_line_of_terminal()?;
        let text = self.typed(text);
        let text = plain(&text);
        if self.colours_errors() {
            writeln!(self.err, "{BOLD}archond:{RESET} {text}")
        } else {
            writeln!(self.err, "archond: {text}")
        }
    }

    /// Asks for one line on the error stream, without a line end.
    pub(super) fn ask(&mut self, question: &str) -> io::Result<()> {
        self.end_line_of_terminal()?;
        self.err.write_all(plain(question).as_bytes())?;
        self.err.flush()
    }

    /// Shows what is going on until something else is written. Only on a terminal.
    pub(super) fn progress(&mut self, text: &str) -> io::Result<()> {
        if !self.terminals.error || self.progress.as_deref() == Some(text) {
            return Ok(());
        }
        // What is begun on the same terminal stays; a file that gets the output leaves the whole line free.
        let column = if self.terminals.output { self.column } else { 0 };
        let lead = usize::from(column > 0);
        let free = self.width.saturating_sub(column + lead + 1);
        if free < PROGRESS_WIDTH_MIN {
            return self.erase_progress();
        }
        let shown = cut(&plain(text), free);
        let shown = self.dim(&shown);
        let space = if lead > 0 { " " } else { "" };
        write!(self.err, "{ERASE}{SAVE_CURSOR}{space}{shown}{RESTORE_CURSOR}")?;
        self.err.flush()?;
        self.progress = Some(text.to_owned());
        Ok(())
    }

    /// Takes the progress away.
    pub(super) fn erase_progress(&mut self) -> io::Result<()> {
        if self.progress.take().is_some() {
            write!(self.err, "{ERASE}")?;
            self.err.flush()?;
        }
        Ok(())
    }

    fn dim(&self, text: &str) -> String {
        if self.colours_errors() { format!("{DIM}{text}{RESET}") } else { text.to_owned() }
    }

    fn colours_errors(&self) -> bool {
        self.terminals.error && self.terminals.colour
    }

    fn end_line_of_terminal(&mut self) -> io::Result<()> {
        self.erase_progress()?;
        if self.terminals.output && self.terminals.error { self.end_line() } else { Ok(()) }
    }
}

/// Whether the name that we were run by is a path that a person typed: that of a checkout's launcher, not of a build's output.
fn is_path_to_type(name: &str) -> bool {
    name.contains('/') && !name.contains("target/release/")
}

/// The cursor's column after the text, on a terminal that wraps at `width`.
fn column_after(column: usize, text: &str, width: usize) -> usize {
    text.chars().fold(column, |column, c| match c {
        '\n' => 0,
        '\t' => ((column / TAB_WIDTH + 1) * TAB_WIDTH).min(width.saturating_sub(1)),
        _ => {
            let after = column + c.width().unwrap_or(0);
            // A wide character that does not fit goes to the next line whole.
            if after > width { after - column } else { after }
        }
    })
}

/// The beginning of the text that fits.
fn cut(text: &str, width_max: usize) -> String {
    let mut width = 0;
    text.chars()
        .take_while(|c| {
            width += c.width().unwrap_or(0);
            width <= width_max && !c.is_control()
        })
        .collect()
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A stream that can be looked at while a console owns it.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A console whose two streams are one captured stream, as on a terminal, or a file each.
    pub(in crate::cli) fn console(is_terminal: bool) -> (Console, Captured, Captured) {
        let out = Captured::default();
        let err = if is_terminal { out.clone() } else { Captured::default() };
        let terminals =
            Terminals { input: is_terminal, output: is_terminal, error: is_terminal, colour: false };
        (Console::new(Box::new(out.clone()), Box::new(err.clone()), terminals, 40), out, err)
    }

    #[test]
    fn progress_is_drawn_behind_the_text_and_erased_before_the_next() {
        let (mut console, screen, _) = console(true);
        console.progress("reading 1 of 2").unwrap();
        console.write("Hello").unwrap();
        console.progress("loading 5 %").unwrap();
        console.write(" world").unwrap();
        assert_eq!(
            screen.text(),
            "\x1b[J\x1b7reading 1 of 2\x1b8\x1b[JHello\x1b[J\x1b7 loading 5 %\x1b8\x1b[J world"
        );
    }

    #[test]
    fn colours_are_for_terminals_that_show_them_and_words_stay_words() {
        let mut text = Painted::default();
        text.push(Paint::Plain, "ezra ");
        text.push(Paint::Bad, "failed\x1b[2J");
        for (colour, wanted) in [(true, "ezra \x1b[31mfailed␛[2J\x1b[0m\n"), (false, "ezra failed␛[2J\n")]
        {
            let (mut console, screen, _) = console(true);
            console.terminals.colour = colour;
            console.painted(&text).unwrap();
            assert_eq!(screen.text(), wanted);
        }
        let (mut console, file, _) = console(false);
        console.clear().unwrap();
        console.painted(&text).unwrap();
        assert_eq!(file.text(), "ezra failed␛[2J\n");
    }

    #[test]
    fn a_full_line_leaves_no_room_for_progress() {
        let (mut console, screen, _) = console(true);
        console.write(&"x".repeat(30)).unwrap();
        console.progress("loading").unwrap();
        assert_eq!(screen.text(), "x".repeat(30));
    }

    #[test]
    fn files_get_data_and_notes_but_neither_progress_nor_colour() {
        let (mut console, out, err) = console(false);
        console.progress("loading").unwrap();
        console.write("data").unwrap();
        console.note("a note \x1b]0;title\x07").unwrap();
        console.error("it failed\x1b[2J").unwrap();
        assert_eq!(out.text(), "data");
        assert_eq!(err.text(), "a note ␛]0;title␇\narchond: it failed␛[2J\n");
    }

    /// Erases the screen, and turns the reading direction.
    const HOSTILE: &str = "\u{9b}2J\u{202e}";

    #[test]
    fn no_road_to_a_terminal_lets_it_obey_what_is_shown() {
        let (mut console, screen, _) = console(true);
        console.write(HOSTILE).unwrap();
        console.line(HOSTILE).unwrap();
        console.headline(HOSTILE).unwrap();
        console.exact(HOSTILE).unwrap();
        console.json(&HOSTILE).unwrap();
        console.note(HOSTILE).unwrap();
        console.error(HOSTILE).unwrap();
        console.ask(HOSTILE).unwrap();
        console.progress(HOSTILE).unwrap();
        let shown = screen.text();
        assert!(!shown.contains('\u{9b}') && !shown.contains('\u{202e}'), "{shown:?}");
        assert_eq!(shown.matches("\u{fffd}2J\u{fffd}").count(), 9, "{shown:?}");
    }

    #[test]
    fn a_file_gets_data_to_the_byte_and_words_made_plain() {
        let (mut console, out, _) = console(false);
        console.exact(HOSTILE).unwrap();
        console.json(&HOSTILE).unwrap();
        console.line(HOSTILE).unwrap();
        assert_eq!(out.text(), format!("{HOSTILE}\"{HOSTILE}\"\n\u{fffd}2J\u{fffd}\n"));
    }

    #[test]
    fn columns_are_counted_as_a_terminal_counts() {
        let table = [
            ("", 0),
            ("abc", 3),
            ("abc\nd", 1),
            ("\t", 8),
            ("你好", 4),
            ("abcdefghijk", 1),
            ("abcdefghi你", 2),
        ];
        for (text, column) in table {
            assert_eq!(column_after(0, text, 10), column, "{text:?}");
        }
    }
}
