//! One file from one address: continued where an earlier run ended, tried again when the connection breaks, hashed as it comes.
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{StatusCode, Url};

use super::http::{self, Answer, Fault};
use super::part::{self, Identity, Part};
use super::settings::{Limits, Token};
use super::{Downloader, PullError};
use crate::catalogue::Bytes;
use crate::library::{LibraryError, free_bytes};
use crate::progress::{OnProgress, Progress, Stage};

/// A try that brought so many bytes was a good one: the count of tries begins anew. A file is finite, so this ends.
const GOOD_TRY_BYTES: u64 = 8 * 1024 * 1024;

/// A file to fetch.
pub(super) struct Target<'a> {
    /// The model, for error texts.
    pub id: &'a str,
    pub url: Url,
    /// Where it is put.
    pub part: &'a Path,
    pub bytes: Bytes,
    /// Its sha256 by the catalogue.
    pub sha256: Option<&'a str>,
    /// For the address's own host.
    pub token: Option<&'a Token>,
    /// How such a file begins.
    pub magic: [u8; 4],
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    pub bytes: u64,
    pub sha256: String,
}

impl Downloader {
    /// Fetches a file into its part. The answer's sha256 is the expected one, where one is known.
    pub(super) async fn fetch(
        &self,
        target: &Target<'_>,
        progress: OnProgress<'_>,
    ) -> Result<Fetched, PullError> {
        let limits = self.settings.limits;
        let mut part = Part::open(target.part, target.sha256.is_some(), progress).await?;
        let mut attempt = 1;
        while !is_whole(target, &part) {
            let before = part.length;
            let tried = self.attempt(target, &mut part, progress).await;
            part.flush().await?;
            let (fault, reason) = match tried {
                Ok(()) => break,
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Changed) => {
                    part.restart().await?;
                    (None, "the file on the server has changed".to_owned())
                }
                Err(Fault::Broken(reason)) => (None, reason),
                Err(Fault::Unreachable(reason)) => (Some(()), reason),
            };
            attempt = if part.length >= before.saturating_add(GOOD_TRY_BYTES) { 1 } else { attempt + 1 };
            if attempt > limits.attempts_max {
                let host = target.url.host_str().unwrap_or_default().to_owned();
                return Err(match fault {
                    Some(()) => PullError::NoNetwork { host, reason, id: target.id.to_owned() },
                    None => {
                        PullError::GaveUp { host, attempts: limits.attempts_max, reason, kept: part.length }
                    }
                });
            }
            let stage = Stage::Waiting { attempt, attempts_max: limits.attempts_max, reason };
            progress(Progress { stage, done: part.length, total: part.identity.total });
            wait(&limits, attempt).await;
        }
        finish(target, &part)
    }

    async fn attempt(
        &self,
        target: &Target<'_>,
        part: &mut Part,
        progress: OnProgress<'_>,
    ) -> Result<(), Fault> {
        progress(Progress { stage: Stage::Asking, done: part.length, total: part.identity.total });
        let stall_timeout = self.settings.limits.stall_timeout;
        if part.length > 0 && !part.identity.can_continue(target.sha256.is_some()) {
            part.restart().await?;
        }
        let headers = range_headers(part);
        let answer = http::get(&self.client, &target.url, &headers, target.token, stall_timeout).await?;
        if let Some(fault) = http::of_status(&answer, target.id, target.token.is_some()) {
            return Err(fault);
        }
        let total = begin(target, part, &answer).await?;
        if answer.response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(());
        }
        read_body(target, part, answer, total, stall_timeout, progress).await
    }
}

/// Asks for the rest of a part, on the condition that it is still a part of the same file.
fn range_headers(part: &Part) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if part.length > 0 {
        if let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", part.length)) {
            headers.insert(RANGE, range);
        }
        if let Some(Ok(etag)) = part.identity.etag.as_deref().map(HeaderValue::from_str) {
            headers.insert(IF_RANGE, etag);
        }
    }
    headers
}

/// Brings the part into line with the answer: continued, or begun anew. Answers the whole file's size, where known.
async fn begin(target: &Target<'_>, part: &mut Part, answer: &Answer) -> Result<Option<u64>, Fault> {
    let headers = answer.response.headers();
    let number = |name: &str| http::text(headers, name)?.parse::<u64>().ok();
    let mut identity = Identity {
        etag: http::etag(headers),
        sha256: answer.linked_sha256.clone(),
        total: answer.linked_bytes,
    };
    match answer.response.status() {
        StatusCode::OK => {
            identity.total = number(CONTENT_LENGTH.as_str()).or(identity.total);
            part.restart().await?;
        }
        status => {
            let range = http::text(headers, CONTENT_RANGE.as_str()).unwrap_or_default();
            let (start, total) = parse_range(&range).ok_or(Fault::Changed)?;
            identity.total = total.or(identity.total);
            // A part that is as long as the file has nothing left to ask for.
            let start = if status == StatusCode::PARTIAL_CONTENT { start } else { total };
            if start != Some(part.length) || !part.identity.agrees(&identity) {
                return Err(Fault::Changed);
            }
        }
    }
    let total = identity.total;
    if let (Bytes::Exact(expected), Some(found)) = (target.bytes, total)
        && expected != found
    {
        part::remove(target.part)?;
        return Err(PullError::WrongSize { url: answer.shown.clone(), expected, found }.into());
    }
    ensure_room(target.part, total.unwrap_or(0).saturating_sub(part.length))?;
    part.identify(identity)?;
    Ok(total)
}

/// The size is known now and may be larger than the catalogue's guess.
fn ensure_room(part: &Path, needed: u64) -> Result<(), PullError> {
    let dir = part.parent().unwrap_or(part);
    let free = free_bytes(dir)?;
    match free < needed {
        true => Err(LibraryError::NoSpace { path: dir.to_path_buf(), free, needed }.into()),
        false => Ok(()),
    }
}

async fn read_body(
    target: &Target<'_>,
    part: &mut Part,
    mut answer: Answer,
    total: Option<u64>,
    stall_timeout: Duration,
    progress: OnProgress<'_>,
) -> Result<(), Fault> {
    // Without a known size, twice the catalogue's is more than any real file.
    let length_max = total.unwrap_or(target.bytes.count().saturating_mul(2));
    let mut looked = part.length >= target.magic.len() as u64;
    loop {
        let chunk = match tokio::time::timeout(stall_timeout, answer.response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => return Err(http::of_request(error)),
            Err(_) => return Err(Fault::Broken(format!("no data for {} s", stall_timeout.as_secs_f32()))),
        };
        part.append(&chunk).await?;
        if part.length > length_max {
            part::remove(target.part)?;
            let (expected, found) = (length_max, part.length);
            return Err(PullError::WrongSize { url: answer.shown, expected, found }.into());
        }
        if !looked && part.head.len() >= target.magic.len() {
            if part.head != target.magic {
                part::remove(target.part)?;
                let found = String::from_utf8_lossy(&part.head).into_owned();
                return Err(PullError::NotTheFile { url: answer.shown, found }.into());
            }
            looked = true;
        }
        progress(Progress { stage: Stage::Fetching, done: part.length, total });
    }
    match total {
        Some(total) if part.length < total => Err(Fault::Broken("the connection ended early".to_owned())),
        _ => Ok(()),
    }
}

/// Whether a part needs no more bytes, so that no server need be asked.
fn is_whole(target: &Target<'_>, part: &Part) -> bool {
    let sha256_known = target.sha256.is_some() || part.identity.sha256.is_some();
    let total = match target.bytes {
        Bytes::Exact(count) => Some(count),
        Bytes::About(_) => part.identity.total,
    };
    sha256_known && part.length > 0 && Some(part.length) == total
}

/// Compares what came with what is known of it.
fn finish(target: &Target<'_>, part: &Part) -> Result<Fetched, PullError> {
    let found = part.sha256();
    for expected in target.sha256.into_iter().chain(part.identity.sha256.as_deref()) {
        if expected != found {
            part::remove(target.part)?;
            let file =
                target.url.path_segments().and_then(|mut s| s.next_back()).unwrap_or_default().to_owned();
            return Err(PullError::WrongHash { file, expected: expected.to_owned(), found });
        }
    }
    Ok(Fetched { bytes: part.length, sha256: found })
}

/// Start and whole size of `bytes 5-9/10`, `bytes 5-9/*` or `bytes */10`.
fn parse_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Some((start, total.trim().parse().ok()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pull is one task that a person waits for; there is no actor to send a delayed message to"
)]
pub(super) async fn wait(limits: &Limits, attempt: u32) {
    let doubled = limits.backoff_first.saturating_mul(1 << attempt.saturating_sub(2).min(16));
    tokio::time::sleep(doubled.min(limits.backoff_max)).await;
}
