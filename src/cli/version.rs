//! `archond version`: what this binary is and how it was built.
use serde::Serialize;

use super::console::Console;
use super::error::CliError;
use super::exit::ExitCode;

/// The crate that carries llama.cpp. Kept equal to `Cargo.lock` by a test.
const LLAMA_CRATE: (&str, &str) = ("llama-cpp-2", "0.1.160");

#[derive(Serialize)]
struct Version {
    version: &'static str,
    profile: &'static str,
    target: &'static str,
    target_features: Vec<&'static str>,
    llama_crate: String,
}

impl Version {
    fn of_this_binary() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            target: std::env::consts::ARCH,
            target_features: target_features(),
            llama_crate: format!("{} {}", LLAMA_CRATE.0, LLAMA_CRATE.1),
        }
    }
}

/// Shows it.
pub(super) fn run(console: &mut Console, json: bool) -> Result<ExitCode, CliError> {
    let version = Version::of_this_binary();
    if json {
        console.json(&version)?;
        return Ok(ExitCode::Ok);
    }
    let features = match version.target_features.as_slice() {
        [] => "none beyond the baseline".to_owned(),
        features => features.join(" "),
    };
    console.line(&format!("archond {}", version.version))?;
    console.line(&format!("  build      {} for {}", version.profile, version.target))?;
    console.line(&format!("  features   {features}"))?;
    console.line(&format!("  llama.cpp  {}", version.llama_crate))?;
    Ok(ExitCode::Ok)
}

/// Instructions for which this binary was built, of those that matter for speed.
fn target_features() -> Vec<&'static str> {
    macro_rules! enabled {
        ($($name:tt),*) => { [$(($name, cfg!(target_feature = $name))),*] };
    }
    enabled!(
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
        "neon",
        "dotprod",
        "i8mm",
        "sve"
    )
    .into_iter()
    .filter_map(|(name, is_enabled)| is_enabled.then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_crate_is_the_one_that_is_built() {
        let (name, version) = LLAMA_CRATE;
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock")).unwrap();
        let entry = format!("name = \"{name}\"\nversion = \"{version}\"");
        assert!(lock.contains(&entry), "write the version of {name} in Cargo.lock into LLAMA_CRATE");
    }
}
