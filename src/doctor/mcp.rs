//! MCP servers: whether each is accepted as it is, and offers what was accepted. Nobody is asked anew: that is `archond mcp test`'s affair.
use super::finding::{Finding, State};
use crate::mcp::{Accepted, McpDirectory, Pins, Tally};
use crate::settings::{McpServer, Paths};

/// The check.
pub(super) fn check(paths: &Paths) -> Finding {
    let directory = McpDirectory::read(&paths.mcp_dir());
    let faulty = directory.faults.iter().map(|fault| {
        Finding::problem(format!("an MCP server is left out: {fault}"), "correct its file, or remove it")
    });
    let looked = directory.servers.iter().map(|server| of(server, paths));
    let (well, ill): (Vec<Finding>, Vec<Finding>) =
        faulty.chain(looked).partition(|finding| finding.state == State::Ok);
    if well.is_empty() && ill.is_empty() {
        return Finding::ok("there is no MCP server");
    }
    let well: Vec<String> = well.into_iter().map(|finding| finding.finding).collect();
    Finding::worst(well.join("; "), ill)
}

fn of(server: &McpServer, paths: &Paths) -> Finding {
    let name = &server.name;
    let remedy = format!("look at it with `archond mcp show {name}`, then `archond mcp accept {name}`");
    let accepted = match Pins::new(paths.mcp_accepted_dir()).read(name) {
        Err(error) => return Finding::problem(error.to_string(), remedy),
        Ok(None) => return Finding::warning(format!("{name} is not accepted, and has no tools"), remedy),
        Ok(Some(accepted)) if !accepted.is_of(server) => {
            let finding =
                format!("{name} is started in another way than when it was accepted, and has no tools");
            return Finding::warning(finding, remedy);
        }
        Ok(Some(accepted)) => accepted,
    };
    // What was seen last is a help: without it there is nothing to compare with.
    let seen: Option<Accepted> = Pins::new(paths.mcp_seen_dir()).read(name).ok().flatten();
    let tally = Tally::of(&accepted.compare(name, seen.as_ref().map_or(&accepted.tools, |seen| &seen.tools)));
    if tally.waiting + tally.lost > 0 {
        let finding = format!(
            "of {name} {} tools wait to be accepted, and {} are gone or unusable",
            tally.waiting, tally.lost
        );
        return Finding::warning(finding, remedy);
    }
    Finding::ok(format!("{name} has {} tools", tally.accepted))
}
