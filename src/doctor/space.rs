//! Room on the disks, and what the logs take of it.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use archond_models::catalogue::Source;
use archond_models::library::{Entry, State};

use super::finding::Finding;
use super::ground::Ground;
use super::memory::{best, fittings};
use crate::cli::moment::bytes;
use crate::logging::LOG_FILE_PREFIX;

/// Below this nothing can be relied on: a store of redb grows in steps of some megabytes, and the logs need room beside it.
const FREE_BYTES_MIN: u64 = 64 << 20;
/// What store and logs of a house may come to need in the time in which somebody looks again.
const FREE_BYTES_WANTED: u64 = 1 << 30;
/// More than a week of the level `info`, many times over: somebody left `debug` on.
const LOG_BYTES_MAX: u64 = 500 << 20;

/// The place of something, and the disk that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    what: &'static str,
    path: PathBuf,
    /// Identifies the file system.
    disk: u64,
    free: u64,
    /// Files that can still be made; some file systems have no such number.
    files: Option<u64>,
    /// What is to come there.
    wanted: u64,
}

/// The model that would be fetched next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Coming {
    id: String,
    bytes: u64,
}

/// The check of free space.
pub(super) fn disk(ground: &Ground) -> Finding {
    let coming = coming(ground);
    let store = std::fs::metadata(ground.store()).map_or(0, |file| file.len());
    let paths = &ground.settings.paths;
    let wanted_by_store = FREE_BYTES_WANTED.max(store);
    let wanted_by_model = coming.as_ref().map_or(0, |coming| coming.bytes);
    let places = [
        ("the store", ground.settings.house.data_dir.as_path(), wanted_by_store),
        ("models", ground.models(), wanted_by_model),
        ("logs", &paths.logs(), FREE_BYTES_MIN),
    ];
    let measured = places.map(|(what, path, wanted)| place(what, path, wanted));
    let (found, lost): (Vec<_>, Vec<_>) = measured.into_iter().partition(Result::is_ok);
    let lost = lost.into_iter().filter_map(Result::err);
    judge_disk(&found.into_iter().flatten().collect::<Vec<_>>(), coming.as_ref(), lost.collect())
}

/// Measures the nearest folder that exists: the rest is made on the same disk.
fn place(what: &'static str, path: &Path, wanted: u64) -> Result<Place, Finding> {
    let there = path.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let measured = rustix::fs::statvfs(there)
        .map_err(std::io::Error::from)
        .and_then(|disk| Ok((disk, std::fs::metadata(there)?.dev())));
    match measured {
        Ok((disk, dev)) => Ok(Place {
            what,
            path: path.to_owned(),
            disk: dev,
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            files: (disk.f_files > 0).then_some(disk.f_favail),
            wanted,
        }),
        Err(error) => Err(Finding::problem(
            format!("the disk of {} cannot be measured: {error}", there.display()),
            "look whether that disk is there",
        )),
    }
}

/// The best model that fits into the memory and is not on disk: what is missing of it, with the margin that a download asks for.
fn coming(ground: &Ground) -> Option<Coming> {
    let entries = ground.library.list();
    let fittings = fittings(&entries, &ground.limits());
    let best = best(&fittings).filter(|best| !best.on_disk)?;
    let entry = entries.iter().find(|entry| entry.model.id == best.id)?;
    Some(Coming { id: best.id.clone(), bytes: missing_bytes(entry) })
}

fn missing_bytes(entry: &Entry) -> u64 {
    let whole = match &entry.model.source {
        Source::PyPi { wheel_bytes, .. } => wheel_bytes.saturating_add(entry.model.weights.bytes.count()),
        _ => entry.model.weights.bytes.count(),
    };
    let here = match entry.state {
        State::Partial { bytes, .. } => bytes,
        _ => 0,
    };
    whole.saturating_add(whole / 20).saturating_sub(here)
}

fn judge_disk(places: &[Place], coming: Option<&Coming>, mut faults: Vec<Finding>) -> Finding {
    let mut told: Vec<u64> = Vec::new();
    let mut summary = Vec::new();
    for place in places {
        let (first, disk) = (!told.contains(&place.disk), place.disk);
        if !first {
            continue;
        }
        told.push(disk);
        let on_it: Vec<&Place> = places.iter().filter(|other| other.disk == disk).collect();
        let names: Vec<_> = on_it.iter().map(|place| place.what).collect();
        let (free, names) = (place.free, names.join(", "));
        summary.push(format!("{} free for {names}", bytes(free)));
        let wanted_by_house: u64 =
            on_it.iter().filter(|place| place.what != "models").map(|place| place.wanted).sum();
        let wanted_by_models: u64 =
            on_it.iter().filter(|place| place.what == "models").map(|place| place.wanted).sum();
        let path = place.path.display();
        if free < FREE_BYTES_MIN && wanted_by_house > 0 {
            faults.push(Finding::problem(
                format!("{} free for {names}: messages cannot be kept", bytes(free)),
                format!("free some space on the disk of {path}; archond goes on by itself"),
            ));
        } else if free < wanted_by_house {
            faults.push(Finding::warning(
                format!("{} free for {names}: little room to grow", bytes(free)),
                format!("free some space on the disk of {path}"),
            ));
        } else if let Some(coming) = coming
            && wanted_by_models > 0
            && free < wanted_by_house.saturating_add(wanted_by_models)
        {
            faults.push(Finding::warning(
                format!("{} free, and {} would need {}", bytes(free), coming.id, bytes(coming.bytes)),
                "free some space before you fetch it, or set `models_dir` to a folder on a larger disk",
            ));
        }
        if place.files.is_some_and(|files| files < 100) {
            faults.push(Finding::problem(
                format!("the disk of {path} has no room for more files"),
                "remove files that nobody needs: it is their number that counts",
            ));
        }
    }
    Finding::worst(summary.join("; "), faults)
}

/// The check of the logs' size.
pub(super) fn logs(folder: &Path) -> Finding {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::ok("none yet; they begin with the first start");
        }
        Err(error) => {
            let remedy = format!("give yourself the right to read {}", folder.display());
            return Finding::problem(format!("{} cannot be read: {error}", folder.display()), remedy);
        }
    };
    let ours =
        entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(LOG_FILE_PREFIX));
    let sizes: Vec<u64> = ours.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).collect();
    judge_logs(folder, sizes.len(), sizes.iter().sum())
}

fn judge_logs(folder: &Path, files: usize, size: u64) -> Finding {
    let noun = if files == 1 { "file" } else { "files" };
    let well = format!("{files} {noun}, {} in {}", bytes(size), folder.display());
    if size <= LOG_BYTES_MAX {
        return Finding::ok(well);
    }
    Finding::warning(
        well,
        "set `log_level` to \"info\"; logs older than a week go by themselves, and you may remove older ones",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::State as Judged;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn on(what: &'static str, disk: u64, free: u64, wanted: u64) -> Place {
        Place {
            what,
            path: Path::new("/x").join(what),
            disk,
            free: free * MIB,
            files: None,
            wanted: wanted * MIB,
        }
    }

    #[track_caller]
    fn check(places: &[Place], state: Judged, words: &str) {
        let coming = Coming { id: "gemma-4-e4b".into(), bytes: 5000 * MIB };
        let told = judge_disk(places, Some(&coming), Vec::new());
        assert_eq!(told.state, state, "{told:?}");
        assert!(told.finding.contains(words), "{told:?}");
    }

    #[test]
    fn each_disk_is_held_against_what_is_to_come_there() {
        let one =
            |free| [on("the store", 1, free, 1024), on("models", 1, free, 5000), on("logs", 1, free, 64)];
        check(&one(9000), Judged::Ok, "9.4 GB free for the store, models, logs");
        check(&one(5000), Judged::Warning, "gemma-4-e4b would need 5.2 GB");
        check(&one(900), Judged::Warning, "little room to grow");
        check(&one(20), Judged::Problem, "messages cannot be kept");
        let two = [on("the store", 1, 2000, 1024), on("models", 2, 5500, 5000), on("logs", 1, 2000, 64)];
        check(&two, Judged::Ok, "2.0 GB free for the store, logs; 5.7 GB free for models");
        let full_models = [on("the store", 1, 2000, 1024), on("models", 2, 10, 5000)];
        check(&full_models, Judged::Warning, "gemma-4-e4b would need");
        let no_model_to_come = [on("the store", 1, 2000, 1024), on("models", 2, 10, 0)];
        check(&no_model_to_come, Judged::Ok, "10.4 MB free for models");
        let crowded = [Place { files: Some(3), ..on("the store", 1, 2000, 1024) }];
        check(&crowded, Judged::Problem, "no room for more files");
    }

    #[test]
    fn logs_are_counted() {
        let home = tempfile::tempdir().unwrap();
        assert!(logs(&home.path().join("logs")).finding.starts_with("none yet"));
        std::fs::write(home.path().join("archond.log.2026-01-01"), "x".repeat(1500)).unwrap();
        std::fs::write(home.path().join("of-somebody-else"), "x").unwrap();
        assert!(logs(home.path()).finding.starts_with("1 file, 1.5 kB in /"));
        assert_eq!(judge_logs(Path::new("/x"), 7, LOG_BYTES_MAX + 1).state, Judged::Warning);
    }
}
