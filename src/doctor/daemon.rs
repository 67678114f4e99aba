//! The daemon, by its own word.
use std::path::PathBuf;

use super::finding::Finding;
use crate::admin::channels::ChannelView;
use crate::admin::protocol::{ArchonView, HouseView, ModelView, SessionView};
use crate::cli::moment::bytes;

/// The daemon without its workers takes some 20 MB; this much is a leak.
const MEMORY_BYTES_MAX: u64 = 500_000_000;

/// What came of asking it.
#[derive(Debug, Clone)]
pub enum Daemon {
    /// Nobody listens.
    Away,
    /// It answers.
    Runs {
        /// The house.
        house: Box<HouseView>,
        /// Its sessions, which it had to read from the store.
        sessions: Result<Vec<SessionView>, String>,
    },
    /// Somebody listens, who does not answer as a daemon should.
    Silent {
        /// In which way.
        why: String,
    },
    /// It is another user's.
    Foreign {
        /// What the system says.
        why: String,
    },
}

impl Daemon {
    /// Whether it answers.
    pub fn runs(&self) -> bool {
        matches!(self, Self::Runs { .. })
    }
}

/// The check.
pub(super) fn check(daemon: &Daemon) -> Finding {
    let program = match daemon {
        Daemon::Runs { house, .. } => std::fs::read_link(format!("/proc/{}/exe", house.pid)).ok(),
        _ => None,
    };
    judge(daemon, program)
}

/// `program` is the path of the daemon's program, as the kernel tells it.
fn judge(daemon: &Daemon, program: Option<PathBuf>) -> Finding {
    match daemon {
        Daemon::Away => Finding::ok("it does not run; `archond start ezra` starts it"),
        Daemon::Silent { why } => Finding::problem(
            why.clone(),
            "look at `archond logs`; if it stays so, end it: `pgrep -a archond` shows its process, `kill -9` with that number ends it, and nothing is lost",
        ),
        Daemon::Foreign { why } => {
            Finding::problem(why.clone(), "run this as the user who started the daemon")
        }
        Daemon::Runs { house, .. } => judge_house(house, program),
    }
}

fn judge_house(house: &HouseView, program: Option<PathBuf>) -> Finding {
    let ours = env!("CARGO_PKG_VERSION");
    let change_over = "`archond shutdown` and `archond start ezra` change over; nothing is lost";
    let mut faults = Vec::new();
    if house.version != ours {
        let finding = format!("it is version {}, this command {ours}", house.version);
        faults.push(Finding::warning(finding, change_over));
    } else if program.is_some_and(|path| path.to_string_lossy().ends_with(" (deleted)")) {
        faults.push(Finding::warning("its program was replaced since it started", change_over));
    }
    if house.memory_bytes > MEMORY_BYTES_MAX {
        let finding = format!("it takes {} of memory without its workers", bytes(house.memory_bytes));
        faults.push(Finding::warning(finding, "`archond shutdown` and `archond start ezra` give it back"));
    }
    faults.extend(house.archons.iter().filter_map(judge_archon));
    faults.extend(house.models.iter().filter_map(judge_model));
    faults.extend(house.channels.iter().filter_map(judge_channel));
    let archons = match house.archons.len() {
        1 => "1 Archon".to_owned(),
        count => format!("{count} Archons"),
    };
    let (version, pid, memory) = (&house.version, house.pid, bytes(house.memory_bytes));
    let well = format!("it runs: version {version}, process {pid}, {memory}, {archons}");
    Finding::worst(well, faults)
}

fn judge_archon(archon: &ArchonView) -> Option<Finding> {
    let name = &archon.archon;
    if archon.state != "quarantined" {
        return None;
    }
    let why = archon.last_error.as_deref().unwrap_or("`archond logs` says why");
    let remedy = format!("see `archond logs`, then `archond start {name}`");
    Some(Finding::problem(format!("{name} is quarantined: {why}"), remedy))
}

fn judge_model(model: &ModelView) -> Option<Finding> {
    let name = &model.model;
    if model.state != "failed" {
        return None;
    }
    let why = model.last_error.as_deref().unwrap_or("`archond logs` says why");
    let remedy = format!("`archond model verify {name}`, then `archond logs`");
    Some(Finding::problem(format!("the model {name} has failed: {why}"), remedy))
}

fn judge_channel(channel: &ChannelView) -> Option<Finding> {
    let name = format!("{}'s channel {}", channel.archon, channel.channel);
    let trouble = channel.trouble.as_deref().unwrap_or("`archond logs` says why");
    if channel.has_failed() {
        let remedy = format!("mend what it says, then `archond start {}`", channel.archon);
        return Some(Finding::problem(format!("{name} has failed: {trouble}"), remedy));
    }
    let silent = channel.polled_ago_ms.is_some_and(|ago| ago > 3 * channel.poll_max_ms);
    if silent || channel.trouble.is_some() {
        let finding = format!("{name} hears nothing of {}: {trouble}", channel.leads_to);
        return Some(Finding::warning(finding, "it tries again by itself; `archond logs` shows how often"));
    }
    (channel.given_up > 0).then(|| {
        let finding = format!("{name} could not deliver {} answers", channel.given_up);
        Finding::warning(finding, "`archond logs` says why")
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::finding::State;
    use super::*;

    pub(in crate::doctor) fn house() -> HouseView {
        HouseView {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: 1,
            gateway: None,
            started_unix_ms: 0,
            memory_bytes: 20_000_000,
            socket: String::new(),
            logs: String::new(),
            archons: Vec::new(),
            models: Vec::new(),
            channels: Vec::new(),
            notice: None,
        }
    }

    fn check(house: HouseView, program: &str) -> Finding {
        judge(&Daemon::Runs { house: Box::new(house), sessions: Ok(Vec::new()) }, Some(program.into()))
    }

    #[test]
    fn a_daemon_is_well_or_says_why_not() {
        let told = check(house(), "/usr/bin/archond");
        assert!(told.state == State::Ok && told.finding.contains("process 1, 20.0 MB"), "{told:?}");
        assert_eq!(check(house(), "/usr/bin/archond (deleted)").state, State::Warning);
        let old = HouseView { version: "0.0.1".into(), ..house() };
        assert!(check(old, "/x").finding.starts_with("it is version 0.0.1, this command"));
        assert_eq!(check(HouseView { memory_bytes: 900_000_000, ..house() }, "/x").state, State::Warning);
        let quarantined = ArchonView {
            archon: "electra".into(),
            display_name: "Electra".into(),
            state: "quarantined".into(),
            model: None,
            wanted_model: None,
            channels: Vec::new(),
            sessions: 0,
            in_flight: 0,
            waiting: 0,
            crashes: 6,
            last_error: Some("session ended".into()),
        };
        let told = check(HouseView { archons: vec![quarantined], ..house() }, "/x");
        assert_eq!(told.finding, "electra is quarantined: session ended");
        assert_eq!(told.state, State::Problem);
    }

    #[test]
    fn a_channel_is_well_or_says_why_not() {
        let well = ChannelView {
            archon: "ezra".into(),
            channel: "telegram".into(),
            leads_to: "@ezra_bot".into(),
            state: "ready".into(),
            polled_ago_ms: Some(20_000),
            silence_max_ms: 25_000,
            poll_max_ms: 60_000,
            replaced: 0,
            received: 1,
            delivered: 1,
            given_up: 0,
            waiting: 0,
            trouble: None,
        };
        let check = |channel| check(HouseView { channels: vec![channel], ..house() }, "/x");
        assert_eq!(check(well.clone()).state, State::Ok);
        let trouble = Some("the token is not known".to_owned());
        let failed = check(ChannelView { state: "failed".into(), trouble: trouble.clone(), ..well.clone() });
        assert_eq!(failed.finding, "ezra's channel telegram has failed: the token is not known");
        assert_eq!(failed.state, State::Problem);
        for ill in [
            ChannelView { trouble, ..well.clone() },
            ChannelView { polled_ago_ms: Some(200_000), ..well.clone() },
            ChannelView { given_up: 2, ..well },
        ] {
            assert_eq!(check(ill).state, State::Warning);
        }
    }

    #[test]
    fn who_is_away_is_no_problem_and_who_is_silent_is_one() {
        assert_eq!(judge(&Daemon::Away, None).state, State::Ok);
        let silent = Daemon::Silent { why: "it did not answer within 5 s".into() };
        assert_eq!(judge(&silent, None).state, State::Problem);
        let foreign = Daemon::Foreign { why: "the socket is not ours".into() };
        assert_eq!(judge(&foreign, None).state, State::Problem);
    }
}
