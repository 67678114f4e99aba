//! What holds tools, where it is missing, where there is more of it, and that calls leave nothing behind.
use std::io::Write;
use std::process::Command;

use serde_json::json;

use crate::tools_kit::{Workshop, processes_with, runtime};

#[test]
fn without_landlock_nothing_runs() {
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch, apply_filter};
    let shop = Workshop::new();
    std::fs::write(shop.path("a"), "hello\n").unwrap();
    assert_eq!(shop.done("read_file", json!({"path": "a"})), "hello\n");
    let older = Workshop::new();
    std::fs::write(older.path("a"), "hello\n").unwrap();
    // A thread whose kernel says that it has no Landlock, as does that of all threads and processes that come of it.
    let asked = std::thread::spawn(move || {
        let rules = [(libc::SYS_landlock_create_ruleset, Vec::new())].into_iter().collect();
        let (no, arch) =
            (SeccompAction::Errno(libc::ENOSYS.unsigned_abs()), TargetArch::try_from(std::env::consts::ARCH));
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, no, arch.unwrap()).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        apply_filter(&program).unwrap();
        let calls = [
            ("read_file", json!({"path": "a"})),
            ("write_file", json!({"path": "b", "content": ""})),
            ("bash", json!({"command": "cat a > c"})),
        ];
        for (name, arguments) in calls {
            let said = older.failed(name, arguments);
            assert!(said.contains("this kernel has no Landlock") && said.contains("bubblewrap"), "{said}");
        }
        assert_eq!(std::fs::read_dir(older.path("")).unwrap().count(), 1, "nothing was written");
        let reach = archond::tools::Reach::of(&older.tools, &runtime().block_on(older.tools.mechanisms()));
        assert!(!reach.is_closed);
    });
    asked.join().unwrap();
}

/// Where bubblewrap lies, unless it is in its usual place.
const BUBBLEWRAP: &str = "ARCHOND_TEST_BUBBLEWRAP";

#[test]
fn behind_bubblewrap_the_rest_of_the_machine_is_not_even_seen() {
    let place =
        std::env::var_os(BUBBLEWRAP).map_or_else(|| "/usr/bin/bwrap".into(), std::path::PathBuf::from);
    if !place.exists() {
        println!("not tried: there is no {}", place.display());
        return;
    }
    let shop = Workshop::behind(Some(place.clone()));
    let mechanisms = runtime().block_on(shop.tools.mechanisms());
    if mechanisms.bubblewrap.is_err() {
        println!("not tried: {mechanisms:?}");
        return;
    }
    std::fs::write(shop.path("a"), "hello\n").unwrap();
    assert_eq!(shop.bash("cat a; echo bye > b"), "hello\n");
    assert_eq!(shop.done("read_file", json!({"path": "b"})), "bye\n");
    assert_eq!(shop.bash(&format!("cat {}/library/book.txt", shop.home().display())), "of the library\n");
    let secret = shop.secret();
    assert!(shop.bash(&format!("ls {secret}")).contains("No such file"));
    let programs = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    let all = Command::new("bash").args(["-c", programs]).output().unwrap().stdout;
    let own = std::env::args().next().unwrap();
    assert!(String::from_utf8_lossy(&all).contains(&own));
    let seen = shop.bash(programs);
    assert!(seen.contains("tool-runner") && !seen.contains(&own), "only its own processes: {seen}");
    assert!(shop.bash(&format!("kill -9 {}", std::process::id())).contains("kill:"));
    assert!(shop.bash("grep -c : /proc/net/dev; cat /proc/net/dev").contains("lo:"));
    assert!(!shop.bash("cat /proc/net/dev").contains("eth0"));
    let marked = "wrapped-4711";
    let hides = format!(
        "read pid < <(setsid nohup bash -c 'echo $$; exec -a {marked} sleep 1000'); kill -0 $pid; echo $?"
    );
    assert_eq!(shop.bash(&hides), "0\n");
    assert_eq!(processes_with(marked), Vec::<String>::new());
    let slow = shop.failed("bash", json!({"command": format!("exec -a {marked} sleep 1000"), "timeout": 1}));
    assert!(slow.contains("took longer than 1 s"), "{slow}");
    assert_eq!(processes_with(marked), Vec::<String>::new());
    assert_eq!(shop.bash("chmod 640 a; stat -c %a a"), "640\n");
}

#[test]
fn calls_leave_no_process_and_no_open_file_behind() {
    const INNER: &str = "ARCHOND_TEST_COUNTS_ITS_OWN";
    if std::env::var_os(INNER).is_none() {
        // Alone in a process: other tests open files, too.
        let own = std::env::current_exe().unwrap();
        let name = "tools_locks::calls_leave_no_process_and_no_open_file_behind";
        let output = Command::new(own).args(["--exact", name]).env(INNER, "1").output().unwrap();
        assert!(output.status.success(), "{}", crate::kit::text(&output));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("1 passed"),
            "{}",
            crate::kit::text(&output)
        );
        return;
    }
    let shop = Workshop::new();
    let count = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let children: String = tasks
            .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default())
            .collect();
        (files, children)
    };
    shop.bash("true");
    let before = count();
    for _ in 0..5 {
        shop.bash("setsid sleep 1000 & true");
        shop.failed("read_file", json!({"path": "nowhere"}));
        shop.failed("bash", json!({"command": "sleep 1000", "timeout": "0.0", "nonsense": 1}));
        let mut out = std::io::stdout();
        out.flush().unwrap();
    }
    assert_eq!(count(), before);
    assert!(before.1.is_empty(), "{before:?}");
}
