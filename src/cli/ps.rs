//! `archond ps` and `archond model ps`: what runs.
use comfy_table::{ContentArrangement, Table};

use super::client::Client;
use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::moment::{ago, bytes, now_unix_ms};
use super::places::Places;
use super::plain::plain;
use super::runtime;
use crate::admin::channels::ChannelView;
use crate::admin::protocol::{ArchonView, HouseView, ModelView};

/// Shown where there is nothing to show.
const NOTHING: &str = "-";

/// Shows the house.
pub(super) fn run(console: &mut Console, json: bool) -> Result<ExitCode, CliError> {
    let house = house()?;
    if json {
        console.json(&house)?;
        return Ok(ExitCode::Ok);
    }
    show(console, &house)?;
    Ok(ExitCode::Ok)
}

/// Shows a house.
pub(super) fn show(console: &mut Console, house: &HouseView) -> Result<(), CliError> {
    console.line(&archon_table(&house.archons))?;
    if !house.models.is_empty() {
        console.line("")?;
        console.line(&model_table(&house.models))?;
    }
    if !house.channels.is_empty() {
        console.line("")?;
        console.line(&channel_table(&house.channels))?;
    }
    for line in troubles(house) {
        console.line(&line)?;
    }
    console.note(&format!(
        "\ndaemon {} (process {}, {}), started {}",
        house.version,
        house.pid,
        bytes(house.memory_bytes),
        ago(now_unix_ms(), house.started_unix_ms)
    ))?;
    if let Some(place) = &house.gateway {
        console.note(&format!("OpenAI API: {place}"))?;
    }
    for notice in notices(house) {
        console.note(&notice)?;
    }
    Ok(())
}

/// Shows the models.
pub(super) fn models(console: &mut Console, json: bool) -> Result<ExitCode, CliError> {
    let house = house()?;
    if json {
        console.json(&house.models)?;
    } else {
        console.line(&model_table(&house.models))?;
    }
    Ok(ExitCode::Ok)
}

fn house() -> Result<HouseView, CliError> {
    let places = Places::find()?;
    let house = runtime()?.block_on(async { Client::connect(&places.socket).await?.status().await })?;
    Ok(house)
}

/// What the operator should know: the house's own line, and that the daemon is older than this command.
pub(super) fn notices(house: &HouseView) -> Vec<String> {
    let mut lines: Vec<String> = house.notice.iter().cloned().collect();
    let ours = env!("CARGO_PKG_VERSION");
    if house.version != ours {
        lines.push(format!(
            "the daemon is version {}, this command {ours}; `archond shutdown` and `archond start` change over",
            house.version
        ));
    }
    lines
}

/// One line per Archon or model that is not well.
fn troubles(house: &HouseView) -> Vec<String> {
    let archons = house.archons.iter().map(|archon| (&archon.archon, &archon.last_error));
    let models = house.models.iter().map(|model| (&model.model, &model.last_error));
    let mut lines: Vec<String> = archons
        .chain(models)
        .filter_map(|(name, error)| error.as_ref().map(|error| format!("{name}: {error}")))
        .collect();
    lines.extend(house.channels.iter().filter_map(|channel| {
        let trouble = channel.trouble.as_ref()?;
        Some(format!("{}/{}: {trouble}", channel.archon, channel.channel))
    }));
    if lines.is_empty() { lines } else { std::iter::once(String::new()).chain(lines).collect() }
}

fn archon_table(archons: &[ArchonView]) -> String {
    let row = |archon: &ArchonView| {
        let model = match (&archon.model, &archon.wanted_model) {
            (Some(model), Some(wanted)) => format!("{model} (for {wanted})"),
            (Some(model), None) => model.clone(),
            (None, _) => NOTHING.to_owned(),
        };
        [
            archon.archon.clone(),
            archon.state.clone(),
            model,
            archon.channels.join(","),
            archon.sessions.to_string(),
            archon.in_flight.to_string(),
            archon.waiting.to_string(),
            archon.crashes.to_string(),
        ]
    };
    table(
        ["ARCHON", "STATE", "MODEL", "CHANNELS", "SESSIONS", "RUNNING", "WAITING", "CRASHES"],
        archons.iter().map(row),
    )
}

pub(super) fn model_table(models: &[ModelView]) -> String {
    let row = |model: &ModelView| {
        let state = match model.percent {
            Some(percent) => format!("{} {percent} %", model.state),
            None => model.state.clone(),
        };
        [
            model.model.clone(),
            state,
            model.pid.map_or(NOTHING.to_owned(), |pid| pid.to_string()),
            model.memory_bytes.map_or(NOTHING.to_owned(), bytes),
            model.processor.clone().unwrap_or_else(|| NOTHING.to_owned()),
            format!("{}/{}", model.slots_used, model.slots),
            model.queued.to_string(),
            model.context_tokens.to_string(),
            model.tokens.to_string(),
            tokens_per_second(model),
            model.crashes.to_string(),
        ]
    };
    table(
        [
            "MODEL",
            "STATE",
            "PID",
            "MEMORY",
            "PROCESSOR",
            "SLOTS",
            "QUEUE",
            "CONTEXT",
            "TOKENS",
            "TOK/S",
            "CRASHES",
        ],
        models.iter().map(row),
    )
}

pub(super) fn channel_table(channels: &[ChannelView]) -> String {
    let row = |channel: &ChannelView| {
        let polled = channel.polled_ago_ms.map(|ago| format!("{} s ago", ago / 1000));
        [
            channel.archon.clone(),
            channel.channel.clone(),
            channel.state.clone(),
            channel.leads_to.clone(),
            polled.unwrap_or_else(|| NOTHING.to_owned()),
            format!("{} s", channel.silence_max_ms.div_ceil(1000)),
            channel.replaced.to_string(),
            channel.received.to_string(),
            channel.delivered.to_string(),
            channel.waiting.to_string(),
            channel.given_up.to_string(),
        ]
    };
    table(
        [
            "ARCHON", "CHANNEL", "STATE", "LEADS TO", "POLLED", "SILENT", "HUNG", "IN", "OUT", "WAITING",
            "GIVEN UP",
        ],
        channels.iter().map(row),
    )
}

/// How fast its answers were written so far, each for itself.
fn tokens_per_second(model: &ModelView) -> String {
    match model.written_ms {
        0 => NOTHING.to_owned(),
        milliseconds => format!("{:.1}", model.written_tokens as f64 * 1000.0 / milliseconds as f64),
    }
}

/// Columns without lines, never wrapped: `awk` and `grep` can read them.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_shown_in_columns() {
        let archon = ArchonView {
            archon: "ezra".into(),
            display_name: "Ezra".into(),
            state: "ready".into(),
            model: Some("smollm2-135m-instruct".into()),
            wanted_model: Some("gemma-4-e4b".into()),
            channels: vec!["cli".into()],
            sessions: 2,
            in_flight: 1,
            waiting: 0,
            crashes: 0,
            last_error: None,
        };
        let quarantined = ArchonView {
            archon: "electra".into(),
            state: "quarantined".into(),
            model: None,
            wanted_model: None,
            channels: Vec::new(),
            crashes: 6,
            last_error: Some("session ended".into()),
            ..archon.clone()
        };
        let model = ModelView {
            model: "smollm2-135m-instruct".into(),
            state: "loading".into(),
            percent: Some(40),
            pid: Some(4711),
            processor: Some("100% CPU".into()),
            memory_bytes: Some(212_000_000),
            slots: 8,
            slots_used: 1,
            queued: 0,
            context_tokens: 8192,
            crashes: 1,
            tokens: 1234,
            prompt_tokens: 0,
            cached_tokens: 0,
            written_tokens: 1000,
            written_ms: 44_000,
            last_error: None,
        };
        let archons = [archon, quarantined];
        insta::assert_snapshot!(archon_table(&archons), @r"
        ARCHON   STATE        MODEL                                    CHANNELS  SESSIONS  RUNNING  WAITING  CRASHES
        ezra     ready        smollm2-135m-instruct (for gemma-4-e4b)  cli       2         1        0        0
        electra  quarantined  -                                                  2         1        0        6
        ");
        insta::assert_snapshot!(model_table(&[model]), @r"
        MODEL                  STATE         PID   MEMORY  PROCESSOR  SLOTS  QUEUE  CONTEXT  TOKENS  TOK/S  CRASHES
        smollm2-135m-instruct  loading 40 %  4711  212 MB  100% CPU   1/8    0      8192     1234    22.7   1
        ");
        let house = HouseView {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: 1,
            gateway: None,
            started_unix_ms: 0,
            memory_bytes: 0,
            socket: String::new(),
            logs: String::new(),
            archons: archons.to_vec(),
            models: Vec::new(),
            channels: Vec::new(),
            notice: None,
        };
        assert_eq!(troubles(&house), ["", "electra: session ended"]);
        assert!(notices(&house).is_empty());
        let older = HouseView { version: "0.0.9".into(), ..house };
        assert!(notices(&older).concat().contains("version 0.0.9"));
    }

    #[test]
    fn channels_are_shown_in_columns_with_what_is_wrong() {
        let channel = ChannelView {
            archon: "ezra".into(),
            channel: "telegram".into(),
            leads_to: "@ezra_bot".into(),
            state: "failed".into(),
            polled_ago_ms: Some(21_500),
            silence_max_ms: 61_500,
            poll_max_ms: 60_000,
            replaced: 1,
            received: 12,
            delivered: 11,
            given_up: 0,
            waiting: 1,
            trouble: Some("the token is not known".into()),
        };
        insta::assert_snapshot!(channel_table(std::slice::from_ref(&channel)), @r"
        ARCHON  CHANNEL   STATE   LEADS TO   POLLED    SILENT  HUNG  IN  OUT  WAITING  GIVEN UP
        ezra    telegram  failed  @ezra_bot  21 s ago  62 s    1     12  11   1        0
        ");
        let house = HouseView {
            version: String::new(),
            pid: 1,
            gateway: None,
            started_unix_ms: 0,
            memory_bytes: 0,
            socket: String::new(),
            logs: String::new(),
            archons: Vec::new(),
            models: Vec::new(),
            channels: vec![channel],
            notice: None,
        };
        assert_eq!(troubles(&house), ["", "ezra/telegram: the token is not known"]);
    }
}
