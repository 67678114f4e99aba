//! A question before something that cannot be undone.
use std::io;

use super::console::Console;
use super::error::CliError;

/// Whether whoever runs the command wants it: he says so with `--yes`, or when he is asked. Without a terminal nobody can be asked.
pub(super) fn is_given(console: &mut Console, yes: bool, what: &str) -> Result<bool, CliError> {
    if yes {
        return Ok(true);
    }
    if !console.terminals().input {
        return Err(CliError::Usage {
            message: format!("this is to {what} for ever; add --yes if you mean it"),
        });
    }
    console.ask(&format!("{what} for ever? [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|source| CliError::Input { source })?;
    let given = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !given {
        console.note("nothing is changed")?;
    }
    Ok(given)
}
