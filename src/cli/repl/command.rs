//! What an operator can type, read by the same rules as the command line.
use clap::{Parser, Subcommand};

/// One typed line.
#[derive(Debug, Parser)]
#[command(
    name = "repl",
    no_binary_name = true,
    disable_version_flag = true,
    help_template = "{subcommands}",
    subcommand_help_heading = "Commands"
)]
pub(super) struct Typed {
    #[command(subcommand)]
    pub(super) command: ReplCommand,
    /// Print JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// A path is an actor's, as `tree` shows it; its end is enough where it is unique, such as `ezra/hermes`.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum ReplCommand {
    /// Every actor: state, age, restarts, mailbox, what it does and whom it waits for
    Tree {
        /// Only what is below this actor
        path: Option<String>,
    },
    /// The Archons and models
    Ps,
    /// The state of one actor
    Inspect {
        /// Which
        path: String,
    },
    /// The messages of an actor as it handles them
    Trace {
        /// Which
        path: String,
        /// For how long
        #[arg(short, long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3600))]
        seconds: u32,
    },
    /// The sessions in memory
    Sessions,
    /// One session: its state, and what fills its window
    Session {
        /// Which: archon/channel/peer/thread
        session: String,
    },
    /// The models: worker, memory, slots, queue with places, tokens, reuse
    Pool,
    /// Messages that have no answer yet
    Inbox,
    /// Answers that no client has confirmed
    Outbox,
    /// The last crashes
    Crashes,
    /// One crash with its stack
    Crash {
        /// Its number
        id: u64,
    },
    /// End an actor at its next wait; its supervisor decides what follows
    Kill {
        /// Which
        path: String,
    },
    /// End an actor in order; it stays down
    Stop {
        /// Which
        path: String,
    },
    /// Start an actor, after ending it in order if it is up
    Restart {
        /// Which
        path: String,
    },
    /// Hold the messages of an actor back
    Suspend {
        /// Which
        path: String,
    },
    /// Let them go again
    Resume {
        /// Which
        path: String,
    },
    /// Who is quarantined, and the way out of it
    Quarantine {
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// What is limited, and how near it is
    Limits,
    /// Change what is logged, until the daemon ends
    SetLog {
        /// A part of the program, as log lines name it, such as archond_actors::pool
        target: String,
        /// off, error, warn, info, debug, trace, or default
        level: String,
    },
    /// Repeat a command until Ctrl-C
    Watch {
        /// Seconds between two looks
        #[arg(short = 'n', long, default_value_t = 2.0, value_parser = period)]
        every: f64,
        /// How many looks
        #[arg(short, long)]
        count: Option<u64>,
        /// Which
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Leave
    #[command(visible_aliases = ["exit", "q"])]
    Quit,
}

/// What to do with the quarantined.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum QuarantineCommand {
    /// Show them, and why
    List,
    /// Start one again
    Release {
        /// Which Archon
        archon: String,
    },
}

/// Shortest time between two looks: faster than anybody reads.
const PERIOD_MIN: f64 = 0.2;
/// Longest.
const PERIOD_MAX: f64 = 86_400.0;

fn period(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (PERIOD_MIN..=PERIOD_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("not between {PERIOD_MIN} and {PERIOD_MAX} seconds"))
}

impl Typed {
    /// Reads a line. The error is clap's own: help is one, too.
    pub(super) fn read(line: &str) -> Result<Self, clap::Error> {
        let words = shell_words::split(line)
            .map_err(|error| clap::Error::raw(clap::error::ErrorKind::InvalidValue, format!("{error}\n")))?;
        Self::try_parse_from(words)
    }
}

/// Whether the word after this command is a path.
pub(super) fn takes_path(command: &str) -> bool {
    matches!(command, "tree" | "inspect" | "trace" | "kill" | "stop" | "restart" | "suspend" | "resume")
}

/// Every command, for completion.
pub(super) fn names() -> Vec<String> {
    use clap::CommandFactory;
    let commands = Typed::command();
    let names = commands.get_subcommands().map(|command| command.get_name().to_owned());
    names.chain(["help".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_well_formed() {
        use clap::CommandFactory;
        Typed::command().debug_assert();
        assert!(names().contains(&"set-log".to_owned()));
    }

    #[test]
    fn lines_are_read_as_a_shell_reads_them() {
        let Ok(Typed { command: ReplCommand::Watch { every, command, .. }, json }) =
            Typed::read("watch -n 0.5 tree 'ezra/hermes'")
        else {
            panic!("not read")
        };
        assert_eq!((every, command, json), (0.5, vec!["tree".to_owned(), "ezra/hermes".to_owned()], false));
        assert!(Typed::read("inspect pool --json").is_ok_and(|typed| typed.json));
        for wrong in ["", "tre", "inspect", "watch", "watch -n 0 tree", "kill 'half", "trace pool -s 0"] {
            assert!(Typed::read(wrong).is_err(), "{wrong}");
        }
    }
}
