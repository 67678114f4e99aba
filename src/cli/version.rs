//! `archond version`: what this binary is and how it was built.
use crate::doctor::machine;
use archond_models::worker::BACK_ENDS;
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
    back_ends: &'static [&'static str],
    llama_crate: String,
}

impl Version {
    fn of_this_binary() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            target: std::env::consts::ARCH,
            target_features: machine::built_for(),
            back_ends: BACK_ENDS,
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
    console.line(&format!("  computes   {}", machine::back_ends()))?;
    console.line(&format!("  llama.cpp  {}", version.llama_crate))?;
    Ok(ExitCode::Ok)
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
