//! What a worker may do, seen from outside and tried from inside.
use std::fs;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use crate::rig::{Rig, endless, model_path, spec};

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

pub(crate) fn the_kernel_confirms_the_sandbox() {
    let rig = Rig::ready(archond_models::worker::WorkerSpec { memory_bytes_max: Some(1 << 30), ..spec() });
    rig.send(endless(1));
    rig.next();
    let pid = rig.worker().pid();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert_eq!(
            (field(&status, "Seccomp"), field(&status, "NoNewPrivs")),
            ("2".to_owned(), "1".to_owned())
        );
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max core file size").contains(" 0 "), "{limits}");
    assert!(limit("Max data size").contains("1073741824"), "{limits}");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim(), "900");
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut names: Vec<_> =
        environment.split('\0').filter_map(|entry| Some(entry.split_once('=')?.0)).collect();
    names.sort_unstable();
    assert_eq!(names, ["GGML_NO_BACKTRACE", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "OMP_WAIT_POLICY"]);
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().collect();
    for descriptor in open {
        let target = fs::read_link(descriptor.path()).unwrap_or_default().to_string_lossy().into_owned();
        let known = ["socket:", "pipe:", "/dev/null"].iter().any(|start| target.starts_with(start))
            || target == model_path().to_string_lossy();
        assert!(known, "{target} is open in the worker");
    }
}

pub(crate) fn what_the_daemon_left_open_is_closed() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    // As a careless ancestor of the daemon would leave it.
    for end in [&reader, &writer] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::empty()).unwrap();
    }
    let own = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).unwrap();
    let rig = Rig::ready(spec());
    let pid = rig.worker().pid();
    for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        assert_ne!(fs::read_link(descriptor.path()).unwrap_or_default(), own, "{descriptor:?}");
    }
}

fn by_hand(arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.arg("model-worker").args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

pub(crate) fn what_is_forbidden_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (tight, found, complaint) = by_hand(&["--probe-sandbox", file.path().to_str().unwrap()]);
    assert!(tight, "{found}{complaint}");
    assert!(found.contains("model readable: true"), "{found}");
    assert_eq!(found.matches(": refused").count(), 39, "{found}");
    assert_eq!(found.matches("POSSIBLE").count(), 0, "{found}");
}

pub(crate) fn by_hand_it_explains_itself() {
    for arguments in [&[][..], &["--parent"], &["--parent", "x"], &["--parent", "-3"], &["--help", "me"]] {
        let (fine, _, complaint) = by_hand(arguments);
        assert!(!fine && complaint.contains("started by the daemon"), "{arguments:?}: {complaint}");
    }
    let (fine, _, complaint) = by_hand(&["--parent", "1"]);
    assert!(!fine && complaint.contains("orphaned"), "{complaint}");
}
