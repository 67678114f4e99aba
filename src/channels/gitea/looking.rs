//! Finds what no webhook told: Gitea sends each only once, whether or not anybody was there to take it.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use archond_actors::domain::{Batch, PeerId};
use archond_actors::ports::ChannelFault;

use super::api::Api;
use super::events::{Comment, Issue, Reader, Written, unix_ms};

/// How much further back is looked than the last time: the clocks of two machines differ, and a comment may be seen late. What is found
/// again is recognised.
const OVERLAP_MS: u64 = 10 * 60 * 1000;

/// What was written since the last look. `since` is where that left off; the first look of all finds nothing, since what was written
/// before the Archon came was not written to it.
pub(super) async fn look(
    api: &Api,
    reader: &Reader,
    repositories: &[PeerId],
    since: Option<&str>,
    now_unix_ms: u64,
) -> Result<Batch, ChannelFault> {
    let mut batch = Batch { messages: Vec::new(), place: Some(Arc::from(now_unix_ms.to_string())) };
    let Some(last) = since.and_then(|since| since.parse::<u64>().ok()) else { return Ok(batch) };
    let from = last.saturating_sub(OVERLAP_MS);
    let time = written(from);
    for id in repositories {
        let repository = match api.repository(id.as_str()).await {
            Ok(repository) => repository,
            // One that is gone, or not to be seen any more, holds up none of the others.
            Err(ChannelFault::Refused { reason }) => {
                tracing::warn!(repository = %id, reason, "a repository cannot be looked at");
                continue;
            }
            Err(fault) => return Err(fault),
        };
        let name = &repository.full_name;
        let mut issues: HashMap<u64, Issue> = HashMap::new();
        for issue in api.issues(name, &time).await? {
            // One that only changed was told of when it was new, or has a comment.
            if unix_ms(&issue.created_at).is_some_and(|at| at >= from) {
                batch.messages.extend(reader.read(&repository, &issue, &Written::Issue, false));
            }
            issues.insert(issue.number, issue);
        }
        for comment in api.comments(name, &time).await? {
            let is_new = unix_ms(&comment.created_at).is_some_and(|at| at >= from);
            let number = number(&comment).filter(|_| is_new && comment.user.id != reader.account.id);
            let Some(number) = number else { continue };
            let issue = match issues.entry(number) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(api.issue(name, number).await?),
            };
            batch.messages.extend(reader.read(&repository, issue, &Written::Comment(&comment), false));
        }
    }
    batch.messages.sort_by_key(|message| message.waybill.written_unix_ms);
    Ok(batch)
}

/// Where to look for one's own comment that was written then: the server's clock may be a day behind.
pub(super) fn since(unix_ms: u64) -> String {
    const DAY_MS: u64 = 86_400_000;
    written(unix_ms.saturating_sub(DAY_MS))
}

/// A time as the API reads it.
fn written(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms / 1000).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// The issue that a comment belongs to: the last part of its address.
fn number(comment: &Comment) -> Option<u64> {
    let url = if comment.issue_url.is_empty() { &comment.pull_request_url } else { &comment.issue_url };
    url.rsplit('/').next()?.parse().ok()
}
