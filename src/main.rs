//! The `archond` binary.
use std::process::ExitCode;

fn main() -> ExitCode {
    // A worker closes its sandbox while the process has one thread: nothing may be started before.
    if std::env::args_os().nth(1).is_some_and(|verb| verb == "model-worker") {
        return archond_models::worker::run_worker();
    }
    // The same holds for a tool.
    if archond::tools::is_runner(std::env::args_os()) {
        return archond::tools::runner::run_tool();
    }
    archond::cli::main().into()
}
