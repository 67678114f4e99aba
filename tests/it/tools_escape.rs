//! Ways out of the sandbox of tools. Each is tried through the real tool process, and beside it the same thing where it is allowed,
//! so that no test passes because the machine lacks something.
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use archond::tools::ProcessLimits;
use archond_actors::domain::Outcome;
use archond_actors::ports::ToolSource;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::tools_kit::{AMPLE, PROGRAM, Watched, Workshop, processes_with, runtime};

/// Nothing of the secret, and some reason.
#[track_caller]
fn keeps_the_secret(said: &str) {
    assert!(!said.contains("the secret"), "{said}");
    assert!(!said.is_empty());
}

/// What bash does outside of every sandbox.
fn free(command: &str) -> String {
    let output = Command::new("bash").args(["-c", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn paths_lead_nowhere_else() {
    let shop = Workshop::new();
    std::fs::copy(shop.secret(), shop.path("copy")).unwrap();
    assert_eq!(shop.done("read_file", json!({"path": "copy"})), "the secret\n");
    assert_eq!(shop.bash("cat copy"), "the secret\n");
    let secret = shop.secret();
    let workspace = shop.path("").display().to_string();
    let paths = [
        "../../../../secret.txt".to_owned(),
        "x/../../../../../secret.txt".to_owned(),
        format!("{workspace}../../../../secret.txt"),
        secret.clone(),
        format!("/proc/self/root{secret}"),
        format!("/proc/self/cwd/../../../../{secret}"),
        format!("//{secret}"),
        format!("{}/library/../secret.txt", shop.home().display()),
    ];
    std::fs::create_dir(shop.path("x")).unwrap();
    for path in paths {
        assert_eq!(
            free(&format!("cat '{}/'{path}", if path.starts_with('/') { "" } else { &workspace })),
            "the secret\n",
            "{path}"
        );
        keeps_the_secret(&shop.failed("read_file", json!({ "path": path })));
        keeps_the_secret(
            &shop.failed("edit_file", json!({"path": path, "old_string": "secret", "new_string": "x"})),
        );
        shop.failed("write_file", json!({"path": path, "content": "changed"}));
        keeps_the_secret(&shop.bash(&format!("cat {path}")));
        let folder = path.trim_end_matches("/secret.txt");
        keeps_the_secret(&shop.failed("grep_search", json!({"pattern": "secret", "path": folder})));
        keeps_the_secret(&shop.failed("glob_search", json!({"pattern": "*", "path": folder})));
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), "the secret\n");
}

#[test]
fn a_symbolic_link_leads_nowhere_else() {
    let shop = Workshop::new();
    std::fs::write(shop.path("inside"), "inside\n").unwrap();
    symlink("inside", shop.path("good")).unwrap();
    assert_eq!(shop.done("read_file", json!({"path": "good"})), "inside\n");
    assert_eq!(shop.bash("cat good"), "inside\n");
    symlink(shop.secret(), shop.path("file")).unwrap();
    symlink("../../../../secret.txt", shop.path("relative")).unwrap();
    symlink(shop.home(), shop.path("folder")).unwrap();
    for path in ["file", "relative", "folder/secret.txt"] {
        assert_eq!(std::fs::read_to_string(shop.path(path)).unwrap(), "the secret\n");
        keeps_the_secret(&shop.failed("read_file", json!({ "path": path })));
        keeps_the_secret(&shop.bash(&format!("cat {path}")));
        shop.failed("write_file", json!({"path": path, "content": "changed"}));
        shop.bash(&format!("echo changed > {path}; echo changed | tee -a {path}"));
    }
    shop.failed("write_file", json!({"path": "folder/new", "content": "new"}));
    assert!(!shop.home().join("new").exists());
    assert_eq!(std::fs::read_to_string(shop.secret()).unwrap(), "the secret\n");
    keeps_the_secret(&shop.done("grep_search", json!({"pattern": "the s.cret"})));
    keeps_the_secret(&shop.done("glob_search", json!({"pattern": "secret.txt"})));
}

#[test]
fn a_symbolic_link_that_changes_in_the_meantime_leads_nowhere_else() {
    let shop = Workshop::new();
    std::fs::create_dir(shop.path("d")).unwrap();
    std::fs::write(shop.path("d/secret.txt"), "inside\n").unwrap();
    symlink(shop.home(), shop.path("e")).unwrap();
    let (folder, link) = (shop.path("d"), shop.path("e"));
    let (ends, swaps) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let mut inside = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        for _ in 0..60 {
            match shop.call_within("read_file", &json!({"path": "d/secret.txt"}), AMPLE) {
                Outcome::Done { text } => {
                    assert_eq!(text, "inside\n");
                    inside += 1;
                }
                other => keeps_the_secret(&other.words()),
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    assert!(inside > 0, "the good file was never read");
    assert!(swaps.load(Ordering::Relaxed) > 1000);
}

#[test]
fn other_processes_cannot_be_looked_into() {
    let shop = Workshop::new();
    let pid = std::process::id();
    assert!(shop.bash("head -n 1 /proc/meminfo").starts_with("MemTotal:"));
    for file in
        ["environ", "mem", "maps", "cmdline", "status", "auxv", "root/etc/hostname", "cwd/Cargo.toml", "fd/0"]
    {
        let path = format!("/proc/{pid}/{file}");
        let said = shop.bash(&format!(
            "head -c 1 {path} > got; wc -c < got; cat {path} >> got; wc -c < got; ls -l /proc/{pid}/fd"
        ));
        assert_eq!(std::fs::read(shop.path("got")).unwrap(), b"", "{path}: {said}");
        assert!(said.contains("ermission denied"), "{said}");
        shop.failed("read_file", json!({ "path": path }));
    }
    assert!(!std::fs::read(format!("/proc/{pid}/environ")).unwrap().is_empty());
    assert!(shop.bash("cat /proc/$PPID/environ /proc/1/environ").contains("ermission denied"));
}

#[test]
fn a_fork_bomb_is_bounded_and_ends() {
    let shop = Workshop::with(ProcessLimits { processes_max: 48, ..ProcessLimits::default() });
    let some = shop.bash("for i in $(seq 20); do sleep 1000 & done; jobs -p | wc -l");
    assert_eq!(some, "20\n", "as many as that are allowed");
    let marked = "bomb-4711";
    let bomb = format!("f() {{ : {marked}; f | f & }}; f; sleep 1000");
    // Where the kernel's own limit comes first, the shell says so until its time is over.
    let outcome = shop.call_within("bash", &json!({ "command": bomb }), Duration::from_secs(20));
    let Outcome::Failed { text } = outcome else { panic!("{outcome:?}") };
    let is_bounded =
        text.contains("more than 48 processes") || text.contains("Resource temporarily unavailable");
    assert!(is_bounded, "{text}");
    assert_eq!(processes_with(marked), Vec::<String>::new());
}

#[test]
fn much_output_fills_neither_memory_nor_disk() {
    let shop = Workshop::with(ProcessLimits { file_bytes_max: 1 << 20, ..ProcessLimits::default() });
    let much = shop.bash("echo begin; head -c 10G /dev/zero | tr '\\0' x; echo end");
    assert!(much.starts_with("begin\nxxx") && much.ends_with("xxxend\n"));
    assert!(much.len() < 300_000, "{}", much.len());
    let left_out = 10 * (1u64 << 30) + 10 - (256 << 10);
    assert!(much.contains(&format!("[{left_out} bytes are left out here")));
    shop.bash("head -c 10G /dev/zero > big");
    assert_eq!(std::fs::metadata(shop.path("big")).unwrap().len(), 1 << 20);
    let without_end = shop.failed("bash", json!({"command": "yes", "timeout": 1}));
    assert!(without_end.len() < 300_000 && without_end.contains("bytes are left out here"));
    let hungry = shop.bash("head -c 3G /dev/zero | tail -n 1 | wc -c");
    assert!(hungry.contains("memory exhausted"), "{hungry}");
}

#[test]
fn nothing_reaches_the_network() {
    let shop = Workshop::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp_port = tcp.local_addr().unwrap().port();
    let udp_port = udp.local_addr().unwrap().port();
    let command = format!(
        "echo secret > /dev/tcp/127.0.0.1/{tcp_port}; echo secret > /dev/udp/127.0.0.1/{udp_port}; echo tried"
    );
    // Outside of the sandbox it arrives.
    assert_eq!(free(&command), "tried\n");
    let mut buffer = [0; 16];
    tcp.accept().unwrap().0.read_exact(&mut buffer[..7]).unwrap();
    assert_eq!(udp.recv(&mut buffer).unwrap(), 7);
    tcp.set_nonblocking(true).unwrap();
    udp.set_nonblocking(true).unwrap();
    let said = shop.bash(&command);
    assert!(said.contains("tried") && said.contains("not permitted"), "{said}");
    assert_eq!(tcp.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(udp.recv(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn nobody_outside_gets_a_signal() {
    let shop = Workshop::new();
    assert!(shop.bash("sleep 1000 & kill -9 $!; wait $!; echo $?").ends_with("137\n"));
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    let own = std::process::id();
    let said = shop.bash(&format!(
        "kill -9 {}; kill -9 {own}; kill -9 $PPID; kill -9 1; kill -0 {own} || echo alive",
        other.id()
    ));
    assert_eq!(said.matches("not permitted").count(), 5, "{said}");
    assert!(said.ends_with("alive\n"), "{said}");
    // To everybody who can be reached: that is nobody but itself.
    assert_eq!(shop.bash("kill -9 -1; echo here"), "here\n");
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn nothing_that_runs_gets_new_rights() {
    let shop = Workshop::new();
    let (pid, go) = (shop.pipe("pid"), shop.pipe("go"));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| shop.bash("echo $$ > pid; cat go; ulimit -c; umask"));
        let pid = std::fs::read_to_string(&pid).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
        let open = std::fs::read_dir(format!("/proc/{}/fd", pid.trim())).unwrap().count();
        assert!(open <= 4, "{open} descriptors");
        std::fs::write(&go, "went\n").unwrap();
        assert_eq!(call.join().unwrap(), "went\n0\n0077\n");
    });
}

#[test]
fn a_shell_in_a_shell_is_in_the_same_sandbox() {
    let shop = Workshop::new();
    std::fs::write(shop.path("inside"), "inside\n").unwrap();
    let nested = |path: &str| format!("env -i PATH=$PATH bash -c 'bash -c \"setsid -w cat {path}\"'");
    assert_eq!(shop.bash(&nested("inside")), "inside\n");
    let secret = shop.secret();
    assert_eq!(free(&nested(&secret)), "the secret\n");
    keeps_the_secret(&shop.bash(&nested(&secret)));
    for view in ["unshare -r true", "unshare -m true", "unshare -n true"] {
        assert!(shop.bash(view).contains("[exit code"), "{view}");
    }
    // A program of the workspace is not started, however it came there.
    let copied = shop.bash("cp /usr/bin/id tool; chmod +x tool; ./tool");
    assert!(copied.contains("ermission denied"), "{copied}");
}

#[test]
fn nothing_outside_is_written() {
    let shop = Workshop::new();
    let outside = shop.home().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let state = |folder: &std::path::Path| {
        let mut all: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
                (path.file_name().unwrap().to_owned(), metadata.mode(), metadata.mtime(), metadata.len())
            })
            .collect();
        all.sort();
        all
    };
    let commands = [
        "echo new > new",
        "echo more >> file",
        ": > file",
        "mkdir folder",
        "mv file moved",
        "rm file",
        "ln -s x link",
        "ln file hard",
        "chmod 777 file",
        "touch -d @1 file",
        "touch stamp",
        "truncate -s 0 file",
        "mkfifo pipe",
        "cp file copy",
    ];
    for command in commands {
        for folder in [&outside, &shop.path("")] {
            for name in ["new", "moved", "link", "hard", "stamp", "pipe", "copy", "file"] {
                let _absent = std::fs::remove_file(folder.join(name));
            }
            let _absent = std::fs::remove_dir(folder.join("folder"));
            std::fs::write(folder.join("file"), "as it was\n").unwrap();
        }
        let (before, here) = (state(&outside), state(&shop.path("")));
        shop.bash(&format!(
            "cd {} && {command}; mv {0}/file . ; cp {0}/file {0}/x; {command}",
            outside.display()
        ));
        assert_eq!(state(&outside), before, "{command}");
        shop.bash(command);
        // Modes and times are nobody's to change, where only the kernel's locks hold: said in `sandbox explain`.
        if !command.starts_with("chmod") && !command.starts_with("touch -d") {
            assert_ne!(state(&shop.path("")), here, "{command} does nothing in the workspace either");
        }
    }
}

#[test]
fn archond_itself_is_out_of_reach() {
    let shop = Workshop::new();
    let (config, store) = (shop.home().join("config"), shop.home().join("data"));
    for (folder, file) in [(&config, "archond.ron"), (&store, "archond.redb")] {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(file), "as it was").unwrap();
    }
    shop.done("todo", json!({"items": []}));
    let binary = std::fs::metadata(PROGRAM).unwrap();
    let own = shop.tools.grounds().own.display().to_string();
    let targets = [
        config.join("archond.ron").display().to_string(),
        store.join("archond.redb").display().to_string(),
        PROGRAM.to_owned(),
        format!("{own}/todo/cli+uid1000+main.json"),
    ];
    for target in &targets {
        let said =
            shop.bash(&format!("echo changed >> {target}; rm -f {target}; mv {target} .; cat {target}"));
        assert!(said.matches("ermission denied").count() >= 3, "{said}");
        shop.failed("write_file", json!({"path": target, "content": "changed"}));
        assert!(std::path::Path::new(target).exists(), "{target}");
    }
    assert_eq!(std::fs::read_to_string(&targets[0]).unwrap(), "as it was");
    assert_eq!(std::fs::metadata(PROGRAM).unwrap().len(), binary.len());
    // Nor can it be asked for more.
    assert!(shop.bash(&format!("{PROGRAM} version")).contains("ermission denied"));
    assert!(free(&format!("{PROGRAM} version")).starts_with("archond "));
}

#[test]
fn nothing_outlives_its_call() {
    let shop = Workshop::new();
    let marked = "outlives-4711";
    let ways = [
        format!("read pid < <(setsid nohup bash -c 'echo $$; exec -a {marked} sleep 1000'); echo $pid"),
        format!("( ( exec -a {marked} sleep 1000 & echo $! ) & )"),
        format!("bash -c 'trap \"\" TERM HUP; exec -a {marked} sleep 1000' & echo $!; disown -a"),
        format!("coproc exec -a {marked} sleep 1000; echo $!; kill -STOP $!"),
    ];
    for way in ways {
        let said = shop.bash(&way);
        let pid = said.lines().find_map(|line| line.trim().parse::<i32>().ok());
        assert!(pid.is_some(), "it was started: {said}");
        assert_eq!(processes_with(marked), Vec::<String>::new(), "{way}");
    }
}

#[test]
fn a_call_that_is_given_up_ends_with_all_that_it_started() {
    let shop = Workshop::new();
    let pid = shop.pipe("pid");
    let order =
        Workshop::order("bash", &json!({"command": "setsid sleep 1000 & echo $! > pid; sleep 1000"}), AMPLE);
    let started = runtime().block_on(async {
        let started =
            tokio::task::spawn_blocking(move || Watched::of(&std::fs::read_to_string(pid).unwrap()));
        tokio::select! {
            started = started => started.unwrap(),
            outcome = shop.tools.call(order) => panic!("{outcome:?}"),
        }
    });
    started.ends();
}

#[test]
fn a_call_ends_with_the_daemon_even_when_that_is_killed() {
    let shop = Workshop::new();
    let home = tempfile::tempdir().unwrap();
    let call = |command: &str| {
        let mut archond = Command::new(PROGRAM);
        archond
            .args(["tool", "call", "bash", &json!({ "command": command }).to_string()])
            .env("ARCHOND_HOME", home.path());
        archond.stdout(Stdio::null());
        archond
    };
    assert!(call("true").status().unwrap().success());
    let workspace = home.path().join("state/archons/ezra/workspace");
    let pipe = shop.pipe("pid");
    std::fs::rename(pipe, workspace.join("pid")).unwrap();
    let name = format!("left-behind-{}", std::process::id());
    let command = format!(
        "setsid bash -c 'exec -a {name} sleep 1000' & until grep -qa ^{name} /proc/$!/cmdline; do :; done; echo there > pid; sleep 1000"
    );
    let mut daemon = call(&command).spawn().unwrap();
    assert_eq!(std::fs::read_to_string(workspace.join("pid")).unwrap(), "there\n");
    let started = Watched::named(&name);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    started.ends();
}
