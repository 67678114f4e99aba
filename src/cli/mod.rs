//! The command line: one thin client per command. Only `run` is the daemon itself.
//!
//! [`console`] is where words go, [`client`] the way to the daemon, [`exit`] and [`error`] how a command ends; the rest is one file
//! per command.
use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::Runtime;

mod approvals;
pub mod archon;
mod audit;
mod bench;
mod channel;
mod chat;
mod client;
pub mod config;
mod consent;
mod console;
mod doctor;
mod error;
pub mod exit;
mod lifecycle;
mod line_editor;
mod logs;
mod mcp;
mod memory;
pub mod model;
pub(crate) mod moment;
mod places;
mod plain;
mod ps;
mod repl;
mod run;
mod session;
pub mod settings_view;
mod skill;
mod start;
mod tool;
mod top;
mod version;

use console::Console;
use error::CliError;
use exit::ExitCode;
use settings_view::SettingsCommandError;

use crate::models_on_disk;
use crate::settings::Sources;

/// Keeps a house of AI agents, the Archons, alive on your own hardware. They think with Gemma 4 alone.
#[derive(Debug, Parser)]
#[command(name = "archond", version, max_term_width = 110, after_help = exit::help_text())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start Archons, and the daemon if it does not run, and wait until they are ready
    Start(start::StartArgs),
    /// Talk with an Archon
    Chat(chat::ChatArgs),
    /// Show the Archons and models that run
    Ps {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Stop Archons; their messages are kept
    Stop {
        /// Which
        #[arg(required = true, value_name = "ARCHON")]
        names: Vec<String>,
    },
    /// End the daemon and every Archon
    Shutdown,
    /// Look at sessions
    #[command(alias = "sessions")]
    Session {
        #[command(subcommand)]
        command: session::SessionCommand,
    },
    /// Look at what Archons remember
    #[command(alias = "memories")]
    Memory {
        #[command(subcommand)]
        command: memory::MemoryCommand,
    },
    /// Channels: the roads to platforms on which people write
    #[command(alias = "channels")]
    Channel {
        #[command(subcommand)]
        command: channel::ChannelCommand,
    },
    /// Pairing: let strangers in who write on a channel
    #[command(alias = "pairings")]
    Pairing {
        #[command(subcommand)]
        command: channel::PairingCommand,
    },
    /// Approvals: the calls of tools that wait for your yes
    Approvals {
        #[command(subcommand)]
        command: approvals::ApprovalsCommand,
    },
    Repl(repl::ReplArgs),
    /// Watch the running house: actors, models, tokens per second, queue
    Top(top::TopArgs),
    /// Show what the daemon wrote into its log
    Logs(logs::LogsArgs),
    Doctor(doctor::DoctorArgs),
    /// Prove what the house promises
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    Bench(bench::BenchArgs),
    /// Profiles: what an Archon is
    #[command(alias = "archons")]
    Archon {
        #[command(subcommand)]
        command: archon::ArchonCommand,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
    },
    /// Models: what an Archon thinks with
    #[command(alias = "models")]
    Model {
        #[command(subcommand)]
        command: ModelVerb,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
    },
    /// Tools: what an Archon can do
    #[command(alias = "tools")]
    Tool {
        #[command(subcommand)]
        command: tool::ToolCommand,
    },
    /// Skills: instructions that an Archon reads when it needs them
    #[command(alias = "skills")]
    Skill {
        #[command(subcommand)]
        command: skill::SkillCommand,
    },
    /// MCP servers: tools of other programs
    Mcp {
        #[command(subcommand)]
        command: mcp::McpCommand,
    },
    /// What holds the tools back
    Sandbox {
        #[command(subcommand)]
        command: tool::SandboxCommand,
    },
    /// The settings of the house
    Config {
        #[command(subcommand)]
        command: config::ConfigCommand,
        /// Print JSON
        #[arg(long, global = true)]
        json: bool,
    },
    /// Be the daemon, in the foreground: for systemd and containers
    Run(run::RunArgs),
    /// Show the version and how it was built
    Version {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the completion script of a shell
    #[command(alias = "completion")]
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
enum ModelVerb {
    /// Show the models that are in use
    Ps,
    #[command(flatten)]
    OnDisk(model::ModelCommand),
}

/// Reads the command line of this process and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The reader may have gone, as with `archond --help | head -1`.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage } else { ExitCode::Ok };
        }
    };
    let mut console = Console::of_process();
    match perform(&mut console, cli.command) {
        Ok(code) => code,
        Err(error) if error.is_broken_pipe() => ExitCode::Ok,
        Err(error) => {
            // Where the error stream is closed too, the exit code has to do.
            let _ = console.error(&error.to_string());
            error.exit_code()
        }
    }
}

fn perform(console: &mut Console, command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Start(args) => start::run(console, &args),
        Command::Chat(args) => chat::run(console, &args),
        Command::Ps { json } => ps::run(console, json),
        Command::Stop { names } => lifecycle::stop(console, &each_once(&names)),
        Command::Shutdown => lifecycle::shutdown(console),
        Command::Session { command } => session::run(console, command),
        Command::Memory { command } => memory::run(console, command),
        Command::Channel { command } => channel::run(console, &command),
        Command::Pairing { command } => channel::pairing(console, command),
        Command::Approvals { command } => approvals::run(console, command),
        Command::Repl(args) => repl::run(console, &args),
        Command::Top(args) => top::run(console, &args),
        Command::Logs(args) => logs::run(console, &args),
        Command::Doctor(args) => doctor::run(console, &args),
        Command::Audit { command } => audit::run(console, &command),
        Command::Bench(args) => bench::run(console, &args),
        Command::Archon { command, json } => {
            about_settings(console, |sources, out| archon::run(&command, sources, json, out))
        }
        Command::Model { command: ModelVerb::Ps, json } => ps::models(console, json),
        Command::Model { command: ModelVerb::OnDisk(command), json } => about_models(console, command, json),
        Command::Tool { command } => tool::run(console, command),
        Command::Skill { command } => skill::run(console, command),
        Command::Mcp { command } => mcp::run(console, command),
        Command::Sandbox { command } => tool::explain(console, command),
        Command::Config { command, json } => {
            about_settings(console, |sources, out| config::run(&command, sources, json, out))
        }
        Command::Run(args) => run::run(args),
        Command::Version { json } => version::run(console, json),
        Command::Completions { shell } => completions(console, shell),
    }
}

/// A command that needs the settings and no daemon.
fn about_settings(
    console: &mut Console,
    command: impl FnOnce(&Sources, &mut dyn std::io::Write) -> Result<(), SettingsCommandError>,
) -> Result<ExitCode, CliError> {
    let sources = models_on_disk::sources()?;
    let mut out = Vec::new();
    let outcome = command(&sources, &mut out);
    // What was found out before a fault is shown as well.
    console.exact(&String::from_utf8_lossy(&out))?;
    outcome?;
    Ok(ExitCode::Ok)
}

/// A command about the models on disk, which needs no daemon.
fn about_models(
    console: &mut Console,
    command: model::ModelCommand,
    json: bool,
) -> Result<ExitCode, CliError> {
    let (library, limits) = places::library_and_limits()?;
    let context = model::ModelContext { library, limits, json, terminal: console.terminals().error };
    runtime()?.block_on(model::run(console, command, &context))?;
    Ok(ExitCode::Ok)
}

/// What was named, in its order, without what was named before.
fn each_once(names: &[String]) -> Vec<String> {
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.contains(name) {
            once.push(name.clone());
        }
    }
    once
}

/// Clients do one thing at a time: one thread is enough, and there at once.
fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| CliError::Runtime { source })
}

fn completions(console: &mut Console, shell: clap_complete::Shell) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "archond", &mut script);
    console.exact(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn who_is_named_twice_is_meant_once() {
        let names = ["ezra", "electra", "ezra"].map(str::to_owned);
        assert_eq!(each_once(&names), ["ezra", "electra"]);
    }
}
