//! The ways of the last answers, as an auditor sees them. Nothing here holds what a person or a model said.
use archond_actors::domain::AnswerKind;
use archond_actors::insight::{AnswerTrail, Station};
use serde::{Deserialize, Serialize};

/// The way of one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TrailView {
    /// The message's place in the inbox.
    pub inbox: u64,
    /// `archon/channel/peer/thread`.
    pub session: String,
    /// `answer`, `notice` or `failure`.
    pub kind: String,
    /// Who spoke: `model`, `harness`, or of failures alone `hermes`.
    pub speaker: String,
    /// When it was put into the outbox, in milliseconds since the Unix epoch.
    pub answered_unix_ms: u64,
    /// In their order.
    pub stations: Vec<StationView>,
    /// Those that such an answer must have passed and has not.
    pub missing: Vec<String>,
}

/// One station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StationView {
    /// `inbox`, `hermes`, `harness`, `session`, `journal`, `pool` or `worker`.
    pub station: String,
    /// Which try, of those that try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The request to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// The model that a worker runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// That worker's process, where it is one of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

impl From<&AnswerTrail> for TrailView {
    fn from(answer: &AnswerTrail) -> Self {
        let kind = match answer.kind {
            AnswerKind::Answer => "answer",
            AnswerKind::Notice => "notice",
            AnswerKind::Failure => "failure",
        };
        Self {
            inbox: answer.inbox.0,
            session: answer.session.to_string(),
            kind: kind.to_owned(),
            speaker: answer.speaker().to_owned(),
            answered_unix_ms: answer.answered_unix_ms,
            stations: answer.stations.iter().map(StationView::from).collect(),
            missing: answer.missing().into_iter().map(str::to_owned).collect(),
        }
    }
}

impl From<&Station> for StationView {
    fn from(station: &Station) -> Self {
        let view =
            Self { station: station.name().to_owned(), attempt: None, request: None, model: None, pid: None };
        match station {
            Station::Inbox | Station::Journal => view,
            Station::Hermes { attempt } | Station::Harness { attempt } | Station::Session { attempt } => {
                Self { attempt: Some(*attempt), ..view }
            }
            Station::Pool { request } => Self { request: Some(request.0), ..view },
            Station::Worker { model, pid } => Self { model: Some(model.to_string()), pid: *pid, ..view },
        }
    }
}
