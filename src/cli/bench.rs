//! `archond bench`: measures a model on this machine, and holds it against the line of 20 tokens a second.
use std::fmt::Write;
use std::path::PathBuf;

use archond_actors::domain::ModelId;
use archond_models::catalogue::Role;
use archond_models::worker::{Spawner, WorkerSpec};
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;
use super::runtime;
use crate::bench::{self, LINE_TOKENS_PER_SECOND, Limit, Report};
use crate::daemon::worker_limits;
use crate::engine::LlamaEngine;
use crate::models_on_disk::{self, ModelsOnDisk};
use crate::settings::Settings;

/// Measure how fast a model reads and writes on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 0: it writes at least 20 tokens a second. Exit code 1: it does not.\n\
    Measures in a worker of its own, beside the daemon: what the daemon computes meanwhile disturbs the figures.")]
pub(super) struct BenchArgs {
    /// Which; else the first Gemma on disk, or the starter
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Draw the loads into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// How often the single figures are measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    repetitions: u8,
    /// Threads that compute; else as in the settings
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512))]
    threads: Option<u32>,
    /// Answers at once; else as in the settings
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    slots: Option<u32>,
}

/// Measures, tells, draws.
pub(super) fn run(console: &mut Console, args: &BenchArgs) -> Result<ExitCode, CliError> {
    let sources = models_on_disk::sources()?;
    let settings = Settings::load(&sources)?;
    let models = ModelsOnDisk::new(&settings.paths, settings.house.models_dir.clone());
    let model = choose(&models, args.model.as_deref())?;
    let mut limits = worker_limits(&settings);
    limits.threads = args.threads.unwrap_or(limits.threads);
    limits.draft_tokens_max = 0; // what the machine does, not what the text makes easy
    limits.slots = args.slots.map_or(limits.slots, crate::settings::Amount::Fixed);
    let failed = |error: &dyn std::fmt::Display| CliError::Bench { message: error.to_string() };
    let spec: WorkerSpec = LlamaEngine::spec(&models, "/proc/self/exe".into(), limits, &model)
        .map_err(|error| failed(&error))?;
    let _shown = console.progress("measuring the memory");
    let limit =
        bench::bytes_per_token(&spec.model_path).ok().map(|bytes| Limit::measure(spec.threads, bytes));
    let spawner = Spawner::start().map_err(|error| failed(&error))?;
    let repetitions = usize::from(args.repetitions);
    let measured = {
        // Where nobody can be shown the progress, the measuring goes on all the same.
        let tell = |text: &str| drop(console.progress(text));
        runtime()?.block_on(bench::run(&spawner, spec, model.as_str(), limit, repetitions, tell))
    };
    console.erase_progress()?;
    let report = measured.map_err(|error| failed(&error))?;
    if let Some(file) = &args.svg {
        let svg = bench::draw(&report).map_err(|error| failed(&error))?;
        let cannot = |error| CliError::Bench { message: format!("cannot write {}: {error}", file.display()) };
        std::fs::write(file, svg).map_err(cannot)?;
    }
    if args.json {
        console.json(&report)?;
    } else {
        console.exact(&page(&report))?;
    }
    Ok(if report.passed { ExitCode::Ok } else { ExitCode::Failed })
}

fn choose(models: &ModelsOnDisk, wanted: Option<&str>) -> Result<ModelId, CliError> {
    let library = models.library()?;
    let wrong = |message: String| CliError::Usage { message };
    let id = match wanted {
        Some(name) => library.catalogue().find(name).map_err(|error| wrong(error.to_string()))?.id.clone(),
        None => {
            let mut there: Vec<_> = library
                .list()
                .into_iter()
                .filter(|entry| library.path_of(&entry.model.id).is_some())
                .collect();
            there.retain(|entry| entry.model.role != Role::Embedding);
            there.sort_by_key(|entry| entry.model.role == Role::Starter);
            let first = there
                .first()
                .ok_or_else(|| wrong("no model is on disk; `archond model pull` fetches one".to_owned()))?;
            first.model.id.clone()
        }
    };
    ModelId::new(&id).map_err(|error| wrong(error.to_string()))
}

fn page(report: &Report) -> String {
    let mut page =
        format!("{}, {} threads, ready in {:.1} s\n\n", report.model, report.threads, report.load_seconds);
    let figures = [
        (format!("reads (pp{})", report.prompt_tokens), &report.prompt),
        ("writes (tg128)".to_owned(), &report.generation),
    ];
    for (name, figure) in figures {
        let _ =
            writeln!(page, "{name:<16}{:>8.1} tok/s   {:.1} to {:.1}", figure.median, figure.min, figure.max);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["SESSIONS", "TOK/S", "FIRST TOKEN", "SLOWEST", "LONGEST GAP", "REUSED", "CPU"]);
    for load in &report.sessions {
        table.add_row([
            load.sessions.to_string(),
            format!("{:.1}", load.tokens_per_second),
            format!("{:.2} s", load.first_token_p50),
            format!("{:.2} s", load.first_token_p95),
            format!("{:.2} s", load.gap_max),
            format!("{} %", load.reused_tokens * 100 / load.prompt_tokens.max(1)),
            format!("{:.1} s", load.cpu_seconds),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2)).set_cell_alignment(CellAlignment::Right);
    }
    let _ = writeln!(page, "\nseveral at once, with the same instructions\n{}\n", table.trim_fmt());
    let _ =
        writeln!(page, "memory          {:>8.0} MiB at most", report.memory_peak_bytes as f64 / 1_048_576.0);
    if let Some(limit) = report.limit {
        let _ = writeln!(
            page,
            "limit           {:>8.1} tok/s   this memory reads {:.1} GB/s, one token {:.2} GB",
            limit.tokens_per_second,
            limit.bytes_per_second / 1e9,
            limit.bytes_per_token as f64 / 1e9,
        );
    }
    let verdict = if report.passed { "PASSED" } else { "TOO SLOW" };
    let writes = report.generation.median;
    let _ = writeln!(page, "\n{verdict}: {writes:.1} tok/s against the line of {LINE_TOKENS_PER_SECOND:.0}");
    page
}
