//! What a webhook or the API tells, and what of it is meant for the Archon. Pure.
//!
//! Fields: `modules/structs/hook.go`, `issue.go` and `issue_comment.go` of <https://github.com/go-gitea/gitea>. GitHub's have the same
//! names as far as they are read here.
use archond_actors::domain::{Inbound, PeerId, ReplyTo, ThreadId, Waybill};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::settings::platforms::gitea::Rule;

/// Begins every comment that archond writes, so that none of them is ever answered, whoever posts it.
pub(super) const MARKER: &str = "<!-- archond:";

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) login: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Label {
    name: String,
}

/// An issue, or a pull request as one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Issue {
    pub(super) number: u64,
    #[serde(default)]
    pub(super) title: String,
    #[serde(default)]
    pub(super) body: Option<String>,
    pub(super) user: User,
    #[serde(default)]
    pub(super) assignees: Option<Vec<User>>,
    #[serde(default)]
    pub(super) assignee: Option<User>,
    #[serde(default)]
    pub(super) labels: Option<Vec<Label>>,
    #[serde(default)]
    pub(super) requested_reviewers: Option<Vec<User>>,
    #[serde(default)]
    pub(super) created_at: String,
}

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) body: Option<String>,
    pub(super) user: User,
    #[serde(default)]
    pub(super) created_at: String,
    #[serde(default)]
    pub(super) issue_url: String,
    #[serde(default)]
    pub(super) pull_request_url: String,
}

/// A review's own words; a webhook does not tell its number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Review {
    #[serde(default)]
    content: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) full_name: String,
}

/// What a webhook brings, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Delivery {
    #[serde(default)]
    pub(super) action: String,
    pub(super) issue: Option<Issue>,
    pub(super) pull_request: Option<Issue>,
    pub(super) comment: Option<Comment>,
    pub(super) review: Option<Review>,
    #[serde(default)]
    pub(super) requested_reviewer: Option<User>,
    pub(super) repository: Repository,
    pub(super) sender: User,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// `owner/name`.
    pub(super) repository: String,
    /// Of the issue or pull request.
    pub(super) number: u64,
    /// The comment that is answered; `None`: the issue itself.
    pub(super) comment: Option<u64>,
    /// Who wrote it, to be named in the answer.
    pub(super) login: String,
}

/// What somebody wrote, wherever it was learned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written<'e> {
    /// The issue's own text.
    Issue,
    /// A comment to it.
    Comment(&'e Comment),
    /// A review, without a number.
    Review { words: &'e str, by: &'e User },
}

/// Whose words are meant for the Archon, and its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    /// Its account; nothing that it wrote itself is read.
    pub(super) account: User,
    /// See [`super::GiteaSettings::answers`].
    pub(super) rules: Vec<Rule>,
}

impl Reader {
    /// What a webhook tells, if it is for the Archon. `None`: it is not, or tells nothing new.
    pub(super) fn delivery(&self, event: &str, delivery: &Delivery) -> Option<Inbound> {
        let issue = delivery.issue.as_ref().or(delivery.pull_request.as_ref())?;
        let action = delivery.action.as_str();
        let asked = delivery.requested_reviewer.as_ref().is_some_and(|user| user.id == self.account.id);
        match event {
            "issue_comment" | "pull_request_comment" if action == "created" => {
                let comment = delivery.comment.as_ref()?;
                self.read(&delivery.repository, issue, &Written::Comment(comment), false)
            }
            "pull_request_review"
            | "pull_request_review_approved"
            | "pull_request_review_rejected"
            | "pull_request_review_comment" => {
                let words = delivery.review.as_ref()?.content.as_str();
                let written = Written::Review { words, by: &delivery.sender };
                self.read(&delivery.repository, issue, &written, false)
            }
            "issues"
            | "issue_assign"
            | "issue_label"
            | "pull_request"
            | "pull_request_assign"
            | "pull_request_label"
            | "pull_request_review_request"
                if matches!(
                    action,
                    "opened" | "reopened" | "assigned" | "label_updated" | "labeled" | "review_requested"
                ) =>
            {
                let mut inbound = self.read(&delivery.repository, issue, &Written::Issue, asked)?;
                if action != "opened" {
                    // Meant for the Archon from now on, however old its words are.
                    inbound.waybill.written_unix_ms = None;
                }
                Some(inbound)
            }
            _ => None,
        }
    }

    /// What was written somewhere, if it is for the Archon.
    pub(super) fn read(
        &self,
        repository: &Repository,
        issue: &Issue,
        written: &Written<'_>,
        review_asked: bool,
    ) -> Option<Inbound> {
        let (by, body, at) = match written {
            Written::Issue => (&issue.user, issue.body.as_deref().unwrap_or_default(), &issue.created_at),
            Written::Comment(comment) => {
                (&comment.user, comment.body.as_deref().unwrap_or_default(), &comment.created_at)
            }
            Written::Review { words, by } => (*by, *words, &String::new()),
        };
        let own = by.id == self.account.id || body.trim_start().starts_with(MARKER);
        if own || !self.is_meant(repository, issue, body, review_asked) {
            return None;
        }
        let (words, is_command) = self.words(body);
        if words.is_empty() && !matches!(written, Written::Issue) {
            return None;
        }
        let place = Place {
            repository: repository.full_name.clone(),
            number: issue.number,
            comment: if let Written::Comment(comment) = written { Some(comment.id) } else { None },
            login: by.login.clone(),
        };
        let text = if is_command { words } else { headed(&place, &issue.title, written, &words) };
        Some(Inbound {
            key: key(repository, issue, written),
            peer: PeerId::new(&by.id.to_string()).ok()?,
            group: Some(PeerId::new(&repository.id.to_string()).ok()?),
            thread: Some(ThreadId::new(&format!("issue-{}", issue.number)).ok()?),
            text,
            enclosed: Vec::new(),
            waybill: Waybill {
                reply_to: ReplyTo::new(&serde_json::to_string(&place).ok()?).ok()?,
                written_unix_ms: unix_ms(at),
                enclosures: Vec::new(),
                tier: None,
            },
        })
    }

    fn is_meant(&self, repository: &Repository, issue: &Issue, body: &str, review_asked: bool) -> bool {
        let is_own = |users: Option<&Vec<User>>| {
            users.is_some_and(|users| users.iter().any(|user| user.id == self.account.id))
        };
        self.rules.iter().any(|rule| match rule {
            Rule::Mention => self.mention(body).is_some(),
            Rule::Assigned => {
                is_own(issue.assignees.as_ref())
                    || issue.assignee.as_ref().is_some_and(|user| user.id == self.account.id)
            }
            Rule::ReviewRequested => review_asked || is_own(issue.requested_reviewers.as_ref()),
            Rule::Label(name) => {
                issue.labels.iter().flatten().any(|label| label.name.eq_ignore_ascii_case(name))
            }
            Rule::Repository(name) => repository.full_name.eq_ignore_ascii_case(name),
        })
    }

    /// Where the account is named, as a word of its own.
    fn mention(&self, body: &str) -> Option<std::ops::Range<usize>> {
        let lower = body.to_ascii_lowercase();
        let name = format!("@{}", self.account.login.to_ascii_lowercase());
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        lower.match_indices(&name).map(|(start, found)| start..start + found.len()).find(|range| {
            let before = lower.get(..range.start).and_then(|text| text.chars().next_back());
            let mut after = lower.get(range.end..).unwrap_or_default().chars();
            let next = after.next();
            // A full stop behind the name ends the sentence, unless the name goes on behind it.
            let goes_on = next.is_some_and(|c| is_part(c) && (c != '.' || after.next().is_some_and(is_part)));
            !self.account.login.is_empty() && !before.is_some_and(|c| is_part(c) || c == '@') && !goes_on
        })
    }

    /// What is said to the Archon: without its own name at the beginning. And whether that is a command of archond's.
    fn words(&self, body: &str) -> (String, bool) {
        let body = body.trim();
        let words = match self.mention(body) {
            Some(range) if range.start == 0 => body
                .get(range.end..)
                .unwrap_or_default()
                .trim_start_matches([',', ':', ' ', '\n', '\r', '\t']),
            _ => body,
        };
        (words.to_owned(), words.starts_with('/'))
    }
}

/// What somebody wrote, with where that was: one who reads it has not seen the page.
fn headed(place: &Place, title: &str, written: &Written<'_>, words: &str) -> String {
    let Place { repository, number, login, .. } = place;
    let what = match written {
        Written::Issue => "opened by",
        Written::Comment(_) => "comment by",
        Written::Review { .. } => "review by",
    };
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("[{repository}#{number} \"{title}\", {what} {login}]\n{words}").trim().to_owned()
}

/// The same whenever the same words are told of, by whichever road: a webhook that is sent again, one that is replayed under another
/// number, and what is found by looking are one message.
fn key(repository: &Repository, issue: &Issue, written: &Written<'_>) -> String {
    let place = format!("{}#{}", repository.id, issue.number);
    match written {
        Written::Issue => place,
        Written::Comment(comment) => format!("{place}/c{}", comment.id),
        Written::Review { words, by } => {
            let digest = Sha256::digest(format!("{}\n{words}", by.id).as_bytes());
            let start: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            format!("{place}/r{start}")
        }
    }
}

/// A time as the API writes it (RFC 3339).
pub(super) fn unix_ms(text: &str) -> Option<u64> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}
