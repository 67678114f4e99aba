//! Models on other machines: where each is, whether it answers, and what it says of itself.
use std::time::Duration;

use archond_models::remote::{RemoteSpec, look};

use super::finding::{Finding, Note, State};
use crate::engine::remote::spec;
use crate::settings::RemoteSettings;

/// Time for one server: to look its name up, to connect and for its two answers.
const SERVER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the check may take: the servers are asked one after the other.
pub(super) fn limit(remotes: &[RemoteSettings]) -> Duration {
    SERVER_TIMEOUT.saturating_mul(u32::try_from(remotes.len()).unwrap_or(u32::MAX).max(1))
}

/// The check.
pub(super) fn check(remotes: &[RemoteSettings], note: &Note) -> Finding {
    if remotes.is_empty() {
        return Finding::ok("no model is run by another machine");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Finding::warning(format!("the servers could not be asked: {error}"), "try again");
        }
    };
    let found = remotes.iter().map(|remote| {
        note.say(format!("asking {}", remote.endpoint));
        runtime.block_on(ask(remote))
    });
    let (well, ill): (Vec<Finding>, Vec<Finding>) = found.partition(|finding| finding.state == State::Ok);
    let well: Vec<String> = well.into_iter().map(|finding| finding.finding).collect();
    Finding::worst(well.join("; "), ill)
}

async fn ask(remote: &RemoteSettings) -> Finding {
    let model = &remote.model;
    let spec: RemoteSpec = match spec(remote) {
        Ok(spec) => spec,
        Err(error) => return Finding::problem(error.to_string(), "write the key where `key` says it is"),
    };
    if let Err(fault) = spec.endpoint.check().await {
        let remedy = "the daemon does not start with it; correct `url` in `remotes`";
        return Finding::problem(format!("the server of {model}, {}, {fault}", spec.endpoint), remedy);
    }
    match look(&spec).await {
        Ok(looked) => {
            let or_not =
                |number: Option<u32>| number.map_or("unknown".to_owned(), |number| number.to_string());
            let (slots, context) = (or_not(looked.slots), or_not(looked.context_tokens));
            Finding::ok(format!(
                "{model} is {} at {}, slots {slots}, context {context}",
                looked.model, spec.endpoint
            ))
        }
        Err(detail) => Finding::warning(
            format!("{model}: {detail}"),
            "see that the server runs, and what it says in its log",
        ),
    }
}
