//! Looks over a house as `archond doctor` shows it: facts gathered by a little I/O, judged by pure functions, each for a limited time.
//!
//! Reading order: [`finding`], [`ground`], then one file per subject. Nothing here knows a terminal, and nothing but [`repair`]
//! changes anything.
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub mod daemon;
pub mod finding;
pub mod ground;
mod leftovers;
pub(crate) mod machine;
mod mcp;
mod memory;
mod models;
mod overlay;
mod remotes;
mod repair;
mod rights;
mod sandbox;
mod space;
mod store;

pub use daemon::Daemon;
pub use finding::{Check, Finding, Note, Row, State, Unanswered, within};
pub use ground::Ground;
pub use repair::repair;

use crate::cli::moment::now_unix_ms;

/// Time for a look at the system or some files: it takes milliseconds, unless something hangs.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Beyond the store's own limit, so that its own words are heard.
const STORE_TIMEOUT: Duration = store::STORE_TIMEOUT.saturating_add(LOOK_TIMEOUT);

/// All checks of a house, in the order in which they are shown. `deep` reads the models' files.
pub fn checks(ground: &Arc<Ground>, daemon: &Arc<Daemon>, deep: bool) -> Vec<Check> {
    type Look = fn(&Ground, &Daemon) -> Finding;
    let look = |name, look: Look| {
        let (ground, daemon) = (ground.clone(), daemon.clone());
        Check::new(name, LOOK_TIMEOUT, move |_| look(&ground, &daemon))
    };
    // Read once, for two checks.
    let store_fact = Arc::new(OnceLock::new());
    let of_store = |name, judge: fn(&Ground, &store::StoreFact) -> Finding| {
        let (ground, daemon, fact) = (ground.clone(), daemon.clone(), store_fact.clone());
        Check::new(name, STORE_TIMEOUT, move |_| {
            judge(&ground, fact.get_or_init(|| store::examine(&ground.store(), &daemon)))
        })
    };
    let for_models = ground.clone();
    vec![
        look("build", |ground, _| machine::build(ground.limits().gpu_layers)),
        look("processor", |ground, _| machine::cpu(ground.limits().threads)),
        look("memory", |ground, daemon| memory::check(ground, daemon.runs())),
        look("disk", |ground, _| space::disk(ground)),
        look("settings", |ground, _| ground::settings(ground)),
        look("daemon", |_, daemon| daemon::check(daemon)),
        of_store("store", |ground, fact| store::judge(&ground.store(), fact)),
        of_store("clock", |_, fact| store::clock(now_unix_ms(), fact)),
        look("rights", |ground, _| {
            rights::judge(&rights::gather(ground), rustix::process::geteuid().as_raw())
        }),
        look("leftovers", |ground, daemon| leftovers::judge(&leftovers::gather(ground, daemon), daemon)),
        Check::new("models", models::limit(ground, deep), move |note| models::check(&for_models, deep, note)),
        Check::new("remotes", remotes::limit(&ground.settings.house.remotes), {
            let ground = ground.clone();
            move |note| remotes::check(&ground.settings.house.remotes, note)
        }),
        look("mcp", |ground, _| mcp::check(&ground.settings.paths)),
        look("sandbox", |_, _| sandbox::check()),
        look("logs", |ground, _| space::logs(&ground.settings.paths.logs())),
    ]
}
