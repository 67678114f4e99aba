//! Whether this kernel confines the model workers: a worker tries it out on itself.
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::finding::Finding;

/// Most of the probe's words that are read: it says some fifty lines.
const WORDS_BYTES_MAX: u64 = 64 * 1024;

/// A file for the probe, removed at the end.
struct Scrap(PathBuf);

impl Scrap {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("archond-doctor-{}.probe", std::process::id()));
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scrap {
    fn drop(&mut self) {
        // Empty, and in a folder for such files.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the probe said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// All was as it must be.
    tight: bool,
    out: String,
    err: String,
}

/// The check.
pub(super) fn check() -> Finding {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let said = Scrap::new().and_then(|scrap| probe(&scrap.0));
    match said {
        Ok(said) => judge(&said, &kernel),
        Err(error) => Finding::warning(
            format!("it could not be tried: {error}"),
            format!("make {} writable for a moment, or set TMPDIR", std::env::temp_dir().display()),
        ),
    }
}

fn probe(file: &Path) -> io::Result<Said> {
    // A group of its own: should the confinement not hold, its signals reach nobody.
    let mut child = Command::new("/proc/self/exe")
        .args(["model-worker", "--probe-sandbox"])
        .arg(file)
        .env_clear()
        .process_group(0)
        .stdin(Stdio::from(File::open("/dev/null")?))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut out, mut err) = (String::new(), String::new());
    // Together they are smaller than a pipe: one after the other blocks nobody.
    if let Some(pipe) = child.stdout.take() {
        pipe.take(WORDS_BYTES_MAX).read_to_string(&mut out)?;
    }
    if let Some(pipe) = child.stderr.take() {
        pipe.take(WORDS_BYTES_MAX).read_to_string(&mut err)?;
    }
    Ok(Said { tight: child.wait()?.success(), out, err })
}

fn judge(said: &Said, kernel: &str) -> Finding {
    let newer =
        "run a Linux of 6.12 or newer, with `landlock` among the security modules that it starts with";
    if said.tight {
        return Finding::ok(format!(
            "Linux {kernel}: Landlock bounds a model worker's files completely, seccomp its system calls; {} ways out were tried and refused",
            said.out.lines().filter(|line| line.contains(": refused (")).count()
        ));
    }
    if !said.err.trim().is_empty() || said.out.trim().is_empty() {
        let why = said.err.trim().lines().next().unwrap_or("it said nothing");
        return Finding::problem(
            format!("Linux {kernel}: model workers cannot be confined, and do not run: {why}"),
            "use a kernel with seccomp; in a container, allow what archond's workers do to themselves (its seccomp profile)",
        );
    }
    let possible = said.out.lines().filter(|line| line.contains(": POSSIBLE"));
    let by_filter: Vec<_> = possible
        .filter(|line| !["read /etc/passwd", "list /"].iter().any(|files| line.starts_with(files)))
        .collect();
    let [first, rest @ ..] = by_filter.as_slice() else {
        return Finding::warning(
            format!(
                "Linux {kernel} has no Landlock, or an old one: a model worker may read what you may read"
            ),
            newer,
        );
    };
    let mut finding = Finding::problem(
        format!("Linux {kernel}: a model worker is not confined: {first}"),
        "use no model from strangers on this machine; report this, with the kernel's version",
    );
    finding.details.extend(rest.iter().map(|line| (*line).to_owned()));
    finding
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn the_probe_is_judged_by_what_was_possible() {
        let tight = "files bounded: true\nmodel readable: true\nrun a program: refused (EPERM)\n";
        let table = [
            (true, tight, "", State::Ok, "1 ways out"),
            (false, "", "the sandbox cannot be probed: no seccomp\n", State::Problem, "no seccomp"),
            (false, "", "", State::Problem, "it said nothing"),
            (
                false,
                "files bounded: false\nlist /: POSSIBLE (it worked)\nconnect: refused (x)\n",
                "",
                State::Warning,
                "may read what you may read",
            ),
            (
                false,
                "files bounded: true\nrun a program: POSSIBLE (it worked)\n",
                "",
                State::Problem,
                "run a program",
            ),
        ];
        for (tight, out, err, state, words) in table {
            let said = Said { tight, out: out.to_owned(), err: err.to_owned() };
            let told = judge(&said, "6.18");
            assert_eq!(told.state, state, "{told:?}");
            assert!(told.finding.contains(words), "{told:?}");
        }
    }
}
