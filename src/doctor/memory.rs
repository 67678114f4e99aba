//! The machine's memory against the models: those on disk, and the best of the catalogue. The arithmetic is the daemon's own.
use std::path::{Path, PathBuf};

use archond_models::catalogue::{Model, Role};
use archond_models::library::{Entry, State, Stored};

use super::finding::Finding;
use super::ground::Ground;
use crate::cli::moment::bytes;
use crate::engine::WorkerLimits;
use crate::settings::Amount;

/// Rounding of kernels and containers: a bound that is this near to the machine's memory is none.
const BOUND_SLACK_PERCENT: u64 = 5;

/// What there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    total: u64,
    available: u64,
    /// What the container or service around us may use, where that is bounded.
    bound: Option<u64>,
}

/// A model and how it fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fitting {
    pub(super) id: String,
    pub(super) role: Role,
    pub(super) on_disk: bool,
    pub(super) weights_bytes: u64,
    /// Conversations at a time that it would be run with.
    slots: u32,
    /// Conversations at a time that there is room for.
    room: u32,
    /// What is taken from the memory with one conversation.
    least_bytes: u64,
}

/// How each model of the catalogue would be run.
pub(super) fn fittings(entries: &[Entry], limits: &WorkerLimits) -> Vec<Fitting> {
    entries.iter().map(|entry| fitting(entry, limits)).collect()
}

fn fitting(entry: &Entry, limits: &WorkerLimits) -> Fitting {
    let model: &Model = &entry.model;
    let (on_disk, weights_bytes) = match &entry.state {
        State::Ready(stored) => (true, stored.record.bytes),
        _ => (false, model.weights.bytes.count()),
    };
    let bytes_of = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.record.bytes);
    let need = limits.need(model, weights_bytes, bytes_of(&entry.projector), bytes_of(&entry.drafter));
    let fit = need.fit(limits.slots, limits.memory_bytes_max);
    Fitting {
        id: model.id.clone(),
        role: model.role,
        on_disk,
        weights_bytes,
        slots: fit.slots,
        room: fit.room,
        least_bytes: [need.repacked_bytes, need.sequence_bytes]
            .into_iter()
            .fold(need.weights_bytes, u64::saturating_add),
    }
}

/// The largest Gemma that there is room for.
pub(super) fn best(fittings: &[Fitting]) -> Option<&Fitting> {
    fittings
        .iter()
        .filter(|model| model.role == Role::Gemma && model.room > 0)
        .max_by_key(|model| model.weights_bytes)
}

/// The check.
pub(super) fn check(ground: &Ground, daemon_runs: bool) -> Finding {
    let limits = ground.limits();
    let Some(memory) = memory() else {
        let remedy = "mount /proc: archond and its models need it";
        return Finding::problem("the system does not say how much memory it has", remedy);
    };
    let automatic = ground.settings.house.worker.memory_max == Amount::Auto;
    let limit = limits.memory_bytes_max.unwrap_or(memory.total);
    judge(&memory, limit, automatic, daemon_runs, &fittings(&ground.library.list(), &limits))
}

fn judge(memory: &Memory, limit: u64, automatic: bool, daemon_runs: bool, models: &[Fitting]) -> Finding {
    let Memory { total, available, bound } = *memory;
    let best = best(models);
    let advice = match best {
        Some(best) => format!("the best model that fits is {}, {}", best.id, conversations(best.slots)),
        None => "no Gemma fits".to_owned(),
    };
    let well = format!("{}, {} free now; {advice}", bytes(total), bytes(available));
    let smaller = match best {
        Some(best) => format!("take one that fits: `archond model pull {}`", best.id),
        None => "take the starter, or a smaller `context.tokens_max` in the profiles".to_owned(),
    };
    let usable = bound.map_or(total, |bound| bound.min(total));
    let mut faults = Vec::new();
    if usable < total / 100 * (100 - BOUND_SLACK_PERCENT) && automatic && limit > usable {
        faults.push(Finding::warning(
            format!("this container or service may use only {} of {}", bytes(usable), bytes(total)),
            format!("set `worker.memory_max` to \"{} MiB\", or give it more", (usable / 5 * 4) >> 20),
        ));
    }
    if limit > total {
        faults.push(Finding::warning(
            format!("`worker.memory_max` is {}, the machine has {}", bytes(limit), bytes(total)),
            "leave `worker.memory_max` to \"auto\"",
        ));
    }
    for model in models.iter().filter(|model| model.on_disk) {
        let id = &model.id;
        if model.room == 0 {
            let needs = format!("{id} does not fit: {} of memory for models", bytes(limit));
            faults.push(Finding::warning(needs, smaller.clone()));
        } else if model.room < model.slots {
            faults.push(Finding::warning(
                format!("`worker.slots` is {}, {id} has room for {}", model.slots, model.room),
                "leave `worker.slots` to \"auto\", or lower it",
            ));
        } else if !daemon_runs && model.least_bytes > available {
            faults.push(Finding::warning(
                format!("{id} takes {}, and {} are free now", bytes(model.least_bytes), bytes(available)),
                "end other programs before you start it",
            ));
        }
    }
    let mut finding = Finding::worst(well.clone(), faults);
    if finding.remedy.is_some() {
        finding = finding.detail(well);
    }
    for model in models.iter().filter(|model| model.on_disk && model.room >= model.slots) {
        finding = finding.detail(format!("{}: {}", model.id, conversations(model.slots)));
    }
    finding
}

fn conversations(count: u32) -> String {
    if count == 1 {
        "1 conversation at a time".to_owned()
    } else {
        format!("{count} conversations at a time")
    }
}

fn memory() -> Option<Memory> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = kibibytes(&text, "MemTotal:")?;
    // Linux before 3.14 does not tell it.
    let available = kibibytes(&text, "MemAvailable:").or_else(|| kibibytes(&text, "MemFree:"))?;
    Some(Memory { total, available, bound: bound() })
}

/// A line of `/proc/meminfo`, in bytes.
fn kibibytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least memory bound of the control groups around this process.
fn bound() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    bound_files(&groups)
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}

/// Where bounds would be written, for a `/proc/self/cgroup` of either version.
fn bound_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // A container sees its own group as the root of the tree, under a path from outside: both are looked for.
        let inner = Path::new(path.trim_start_matches('/'));
        files.extend(inner.ancestors().map(|folder| Path::new(root).join(folder).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::finding::State as Judged;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn model(id: &str, role: Role, on_disk: bool, gib: u64, room: u32) -> Fitting {
        let least_bytes = gib * GIB;
        Fitting {
            id: id.into(),
            role,
            on_disk,
            weights_bytes: gib * GIB,
            slots: room.clamp(1, 8),
            room,
            least_bytes,
        }
    }

    #[test]
    fn memory_is_held_against_the_models() {
        let free = Memory { total: 16 * GIB, available: 12 * GIB, bound: None };
        let small = model("small", Role::Gemma, true, 3, 20);
        let large = model("large", Role::Gemma, true, 17, 0);
        let check =
            |memory: &Memory, limit: u64, models: &[Fitting]| judge(memory, limit * GIB, true, false, models);
        let told = check(&free, 12, from_ref(&small));
        assert_eq!(told.state, Judged::Ok);
        assert_eq!(
            told.finding,
            "17.1 GB, 12.8 GB free now; the best model that fits is small, 8 conversations at a time"
        );
        let told = check(&free, 12, &[small.clone(), large.clone()]);
        assert_eq!(told.state, Judged::Warning);
        assert_eq!(told.remedy.as_deref(), Some("take one that fits: `archond model pull small`"));
        let absent = Fitting { on_disk: false, ..large };
        assert_eq!(check(&free, 12, from_ref(&absent)).state, Judged::Ok);
        assert!(check(&free, 12, &[absent]).finding.ends_with("no Gemma fits"));

        let busy = Memory { available: 2 * GIB, ..free };
        assert_eq!(check(&busy, 12, from_ref(&small)).state, Judged::Warning);
        assert_eq!(judge(&busy, 12 * GIB, true, true, from_ref(&small)).state, Judged::Ok);
        let bounded = Memory { bound: Some(4 * GIB), ..free };
        let told = check(&bounded, 12, from_ref(&small));
        assert_eq!(told.finding, "this container or service may use only 4.2 GB of 17.1 GB");
        assert_eq!(judge(&bounded, 3 * GIB, false, false, from_ref(&small)).state, Judged::Ok);
        assert_eq!(judge(&free, 32 * GIB, false, false, from_ref(&small)).state, Judged::Warning);
        let crowded = Fitting { slots: 64, room: 5, ..small };
        assert_eq!(check(&free, 12, &[crowded]).finding, "`worker.slots` is 64, small has room for 5");
    }

    #[test]
    fn the_largest_gemma_that_fits_is_the_best() {
        let models = [
            model("e2b", Role::Gemma, false, 3, 8),
            model("e4b", Role::Gemma, false, 5, 2),
            model("31b", Role::Gemma, false, 19, 0),
            model("starter", Role::Starter, true, 1, 9),
        ];
        assert_eq!(best(&models).map(|model| model.id.as_str()), Some("e4b"));
        assert_eq!(best(&models[2..]), None);
    }

    #[test]
    fn the_kernel_is_read_as_it_writes() {
        let text = "MemTotal:       24113888 kB\nMemFree: 1 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(kibibytes(text, "MemTotal:"), Some(24_113_888 * 1024));
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(23_000_000 * 1024));
        assert_eq!(kibibytes("", "MemTotal:"), None);
        let files = bound_files("0::/user.slice/a\n5:cpu,memory:/docker\n3:cpu:/x\n");
        let files: Vec<_> = files.iter().filter_map(|file| file.to_str()).collect();
        assert_eq!(
            files,
            [
                "/sys/fs/cgroup/user.slice/a/memory.max",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
    }
}
