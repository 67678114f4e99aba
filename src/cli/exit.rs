//! What the command line says with its exit code. The numbers above 63 are those of `sysexits.h`.
use std::fmt::Write as _;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// It was tried and did not work.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Settings or a profile are wrong.
    BadSettings = 64,
    /// The input is too long or not UTF-8.
    BadInput = 65,
    /// The named model, Archon or session does not exist.
    NotFound = 66,
    /// The daemon does not run, or the Archon is stopped or quarantined.
    Unavailable = 69,
    /// A fault in archond, or the daemon gave up.
    Internal = 70,
    /// A file or directory cannot be created or written.
    CannotCreate = 73,
    /// Busy; later it will work.
    Busy = 75,
    /// The operating system refuses.
    Permission = 77,
    /// Ended by Ctrl-C.
    Interrupted = 130,
}

impl ExitCode {
    /// Every code with its meaning, as `--help` shows it.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::Ok, "done"),
        (Self::Failed, "it was tried and did not work"),
        (Self::Usage, "the command line is wrong"),
        (Self::BadSettings, "settings or a profile are wrong"),
        (Self::BadInput, "the input is too long or not UTF-8"),
        (Self::NotFound, "no such model, Archon or session"),
        (Self::Unavailable, "the daemon does not run, or the Archon is stopped or quarantined"),
        (Self::Internal, "a fault in archond, or the daemon gave up"),
        (Self::CannotCreate, "a file or directory cannot be created"),
        (Self::Busy, "busy, try again later"),
        (Self::Permission, "the operating system refuses"),
        (Self::Interrupted, "ended by Ctrl-C"),
    ];

    /// The number that the shell sees.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

/// The table of exit codes for `--help`.
pub fn help_text() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in ExitCode::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:>3}  {meaning}", code.number());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_we_promise() {
        let numbers = ExitCode::ALL.map(|(code, _)| code.number());
        assert_eq!(numbers, [0, 1, 2, 64, 65, 66, 69, 70, 73, 75, 77, 130]);
    }
}
