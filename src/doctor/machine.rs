//! The machine: how this program was built, and the processor that it runs on.
use std::path::Path;

use archond_models::worker::BACK_ENDS;

use super::finding::Finding;
use crate::engine::idle_gpu_layers;

/// A set of instructions that matters for speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instructions {
    name: &'static str,
    /// The program was built for it.
    built: bool,
    /// The processor has it.
    here: bool,
}

#[cfg(target_arch = "x86_64")]
macro_rules! here {
    ($name:tt) => {
        std::arch::is_x86_feature_detected!($name)
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! here {
    ($name:tt) => {
        std::arch::is_aarch64_feature_detected!($name)
    };
}
macro_rules! instructions {
    ($($name:tt),* $(,)?) => {
        vec![$(Instructions { name: $name, built: cfg!(target_feature = $name), here: here!($name) }),*]
    };
}

#[cfg(target_arch = "x86_64")]
fn instructions() -> Vec<Instructions> {
    instructions!(
        "sse4.2",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "bmi2",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
    )
}
#[cfg(target_arch = "aarch64")]
fn instructions() -> Vec<Instructions> {
    instructions!("neon", "dotprod", "i8mm", "bf16", "sve", "sve2")
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn instructions() -> Vec<Instructions> {
    Vec::new()
}

/// Instructions for which this binary was built, of those that matter for speed.
pub(crate) fn built_for() -> Vec<&'static str> {
    instructions().iter().filter(|one| one.built).map(|one| one.name).collect()
}

fn names(of: &[Instructions], wanted: impl Fn(&Instructions) -> bool) -> String {
    let names: Vec<_> = of.iter().filter(|one| wanted(one)).map(|one| one.name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" ") }
}

/// What computes in this build, for people.
pub(crate) fn back_ends() -> String {
    std::iter::once("CPU").chain(BACK_ENDS.iter().copied()).collect::<Vec<_>>().join(", ")
}

/// The check of the build; `gpu_layers` is what the settings ask for.
pub(super) fn build(gpu_layers: i32) -> Finding {
    let optimised = !cfg!(debug_assertions);
    let idle = idle_gpu_layers(gpu_layers, BACK_ENDS);
    let finding = judge_build(&instructions(), optimised, idle);
    finding.detail(format!("computes on: {}", back_ends())).detail(tools_note(&missing_tools()))
}

fn judge_build(found: &[Instructions], optimised: bool, idle_gpu_layers: Option<String>) -> Finding {
    let anew = "build it on this machine: `./archond setup` in the folder of the sources";
    let profile = if optimised { "release" } else { "debug" };
    let what = format!("archond {}, {profile} for {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let mut faults = Vec::new();
    if found.iter().any(|one| one.built && !one.here) {
        let lacks = names(found, |one| one.built && !one.here);
        faults.push(Finding::problem(
            format!("{what}, for another processor: this one has no {lacks}; models will crash"),
            anew,
        ));
    }
    if found.iter().any(|one| one.here && !one.built) {
        let unused = names(found, |one| one.here && !one.built);
        faults.push(Finding::warning(
            format!("{what}, makes no use of this processor's {unused}; models answer more slowly"),
            anew,
        ));
    }
    if let Some(idle) = idle_gpu_layers {
        faults.push(Finding::warning(
            idle,
            "remove the setting, or build for your GPU: `ARCHOND_FEATURES=vulkan ./archond setup` in the folder of the sources",
        ));
    }
    if !optimised {
        faults.push(Finding::warning(format!("{what}, is slow: a build for finding faults"), anew));
    }
    let well = format!("{what}, for this very processor");
    Finding::worst(well, faults).detail(format!("built for {}", names(found, |one| one.built)))
}

/// What the launcher needs to build, as commands.
const TOOLS: [&str; 4] = ["cargo", "c++", "cmake", "python3"];

fn missing_tools() -> Vec<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(std::path::PathBuf::from)
        .or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(cargo_home.map(|home| home.join("bin")));
    let is_there =
        |tool: &str| folders.iter().any(|folder: &std::path::PathBuf| is_program(&folder.join(tool)));
    TOOLS.into_iter().filter(|tool| !is_there(tool)).collect()
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Only a note: what is built needs no tools, and the launcher gets most of them itself.
fn tools_note(missing: &[&str]) -> String {
    if missing.is_empty() {
        return format!("build tools: {} are there", TOOLS.join(", "));
    }
    format!(
        "build tools: no {} here; needed only to build anew, and the launcher says how",
        missing.join(", ")
    )
}

/// What is known of the processor.
#[derive(Debug, Clone)]
struct Processor {
    name: Option<String>,
    cores: u32,
    instructions: Vec<Instructions>,
}

/// The check of the processor; `threads` is what the settings ask for.
pub(super) fn cpu(threads: u32) -> Finding {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let processor = Processor {
        name: processor_name(&text),
        cores: u32::try_from(cores).unwrap_or(u32::MAX),
        instructions: instructions(),
    };
    judge_cpu(&processor, threads)
}

fn processor_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split_once(':')?.1.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn judge_cpu(processor: &Processor, threads: u32) -> Finding {
    let Processor { name, cores, instructions } = processor;
    let has = |wanted: &str| instructions.iter().any(|one| one.name == wanted && one.here);
    let vectors = match () {
        () if has("avx512f") => "AVX-512",
        () if has("avx2") => "AVX2",
        () if has("neon") => "NEON",
        () => "neither AVX2 nor NEON",
    };
    let noun = if *cores == 1 { "core" } else { "cores" };
    let name = name.as_deref().unwrap_or(std::env::consts::ARCH);
    let well = format!("{name}, {cores} {noun}, {vectors}");
    let mut faults = Vec::new();
    if !(has("avx2") || has("neon")) {
        faults.push(Finding::warning(
            format!("{well}: models answer slowly here"),
            "take a small model: `archond model ls --all`",
        ));
    }
    if *cores < 2 {
        faults.push(Finding::warning(
            format!("{well}: one core is little for thinking and everything else"),
            "give this machine two cores or more, or take a small model",
        ));
    }
    if threads > *cores {
        faults.push(Finding::warning(
            format!("{well}: `worker.threads` is {threads}, more than there are cores"),
            "leave `worker.threads` to \"auto\": more threads than cores slow each other down",
        ));
    }
    Finding::worst(well, faults)
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;
    use crate::settings::ALL_LAYERS;

    const fn one(name: &'static str, built: bool, here: bool) -> Instructions {
        Instructions { name, built, here }
    }

    #[test]
    fn the_build_is_held_against_the_processor() {
        let table = [
            (vec![one("avx2", true, true)], true, State::Ok, "for this very processor"),
            (vec![one("avx2", true, false)], true, State::Problem, "this one has no avx2"),
            (vec![one("avx2", false, true)], true, State::Warning, "no use of this processor's avx2"),
            (vec![one("avx2", true, true)], false, State::Warning, "debug"),
            (vec![one("avx2", false, false)], true, State::Ok, "for this very processor"),
        ];
        for (found, optimised, state, words) in table {
            let told = judge_build(&found, optimised, None);
            assert_eq!(told.state, state, "{told:?}");
            assert!(told.finding.contains(words), "{told:?}");
        }
    }

    #[test]
    fn layers_for_a_gpu_that_no_build_knows_are_told() {
        assert_eq!(idle_gpu_layers(ALL_LAYERS, &[]), None);
        assert_eq!(idle_gpu_layers(12, &["Vulkan"]), None);
        for layers in [0, 12] {
            let idle = idle_gpu_layers(layers, &[]);
            let told = judge_build(&[one("avx2", true, true)], true, idle);
            assert_eq!(told.state, State::Warning);
            assert!(told.finding.contains(&format!("`worker.gpu_layers` is {layers}")), "{told:?}");
        }
    }

    #[test]
    fn a_processor_is_told_in_one_line() {
        let check = |cores, instructions: &[Instructions], threads| {
            let name = processor_name("processor : 0\nmodel name\t: AMD EPYC\nflags : avx2\n");
            judge_cpu(&Processor { name, cores, instructions: instructions.to_vec() }, threads)
        };
        let fast = [one("avx2", true, true), one("avx512f", true, true)];
        assert_eq!(check(8, &fast, 8), Finding::ok("AMD EPYC, 8 cores, AVX-512"));
        let told = check(8, &fast, 9);
        assert!(told.state == State::Warning && told.finding.contains("`worker.threads` is 9"), "{told:?}");
        assert_eq!(check(1, &fast, 1).state, State::Warning);
        let told = check(4, &[one("avx2", false, false)], 4);
        assert_eq!(told.finding, "AMD EPYC, 4 cores, neither AVX2 nor NEON: models answer slowly here");
    }

    #[test]
    fn missing_tools_are_a_note() {
        assert_eq!(tools_note(&[]), "build tools: cargo, c++, cmake, python3 are there");
        assert!(tools_note(&["cmake"]).contains("no cmake here"));
    }
}
