//! A whole conversation in an issue: joined by the command line, a webhook as Gitea sends it, a tool, a question to the owner, comments.
//!
//! The server is of our own and answers as Gitea's sources say; everything on this side of it is the real program.
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::gitea_kit::{Gitea, Hook, TOKEN};
use crate::kit::{Daemon, TestHouse, text};

/// Longest wait for a comment: many times what it takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// The issue of the tests.
const ISSUE: u64 = 12;

struct Lab {
    gitea: Gitea,
    house: TestHouse,
    listen: String,
}

impl Lab {
    fn new() -> Self {
        let house = TestHouse::new();
        house.write_profile("ezra", r#"tools: ["clock", "read_file"], permissions: (read: Ask),"#);
        let workspace = house.path().join("state/archons/ezra/workspace");
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Self { gitea: Gitea::start(), house, listen }
    }

    /// `archond channel add gitea`, with the token piped.
    fn join(&self, token: &str, owner: &str) -> std::process::Output {
        let mut command = self.house.command(&["channel", "add", "gitea", "ezra", "--url", &self.gitea.url]);
        command.args(["--repository", "maria/site", "--owner", owner, "--listen", &self.listen]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{token}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn secret(&self) -> String {
        let path = self.house.path().join("data/secrets/ezra/gitea-webhook");
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    }

    fn hook(&self) -> Hook {
        Hook { listen: self.listen.clone(), secret: self.secret() }
    }

    fn comments(&self, id: u64, by: u64, words: &str) -> Option<u16> {
        self.gitea.comments(&self.hook(), id, by, ISSUE, words)
    }

    fn said(&self) -> Vec<String> {
        self.gitea.said(ISSUE)
    }

    /// Waits until it has commented so often.
    fn wait(&self, count: usize) -> Vec<String> {
        let waited = async {
            let mut looks = tokio::time::interval(Duration::from_millis(50));
            while self.said().len() < count {
                looks.tick().await;
            }
        };
        let in_time = self.gitea.runtime.block_on(async { tokio::time::timeout(PATIENCE, waited).await });
        assert!(in_time.is_ok(), "{:?}\n{}", self.said(), text(&self.house.run(&["channel", "ls"])));
        self.said()
    }

    /// Starts the daemon, and waits until somebody listens for webhooks.
    fn start(&self) -> Daemon {
        let daemon = self.house.start(&["ezra"]);
        let waited = async {
            let mut looks = tokio::time::interval(Duration::from_millis(50));
            while tokio::net::TcpStream::connect(&self.listen).await.is_err() {
                looks.tick().await;
            }
        };
        let in_time = self.gitea.runtime.block_on(async { tokio::time::timeout(PATIENCE, waited).await });
        assert!(in_time.is_ok(), "{}", text(&self.house.run(&["channel", "ls"])));
        daemon
    }
}

#[test]
fn an_issue_is_a_conversation_with_tools_and_questions() {
    let lab = Lab::new();
    let refused = text(&lab.join("another token", "maria"));
    assert!(refused.contains("Gitea does not take the token"), "{refused}");
    let itself = text(&lab.join(TOKEN, "ezra"));
    assert!(itself.contains("it would talk with itself"), "{itself}");
    assert!(
        std::fs::read_dir(lab.house.path().join("data/secrets/ezra")).unwrap().next().is_none(),
        "nothing is left"
    );
    // What somebody left there may be all that he has of it.
    let left = lab.house.path().join("data/secrets/ezra/gitea-token");
    std::fs::write(&left, "somebody's").unwrap();
    let kept = text(&lab.join(TOKEN, "maria"));
    assert!(
        kept.contains("there is a secret in") && std::fs::read_to_string(&left).unwrap() == "somebody's",
        "{kept}"
    );
    std::fs::remove_file(&left).unwrap();
    let joined = text(&lab.join(TOKEN, "maria"));
    assert!(joined.contains("ezra speaks as @ezra") && joined.contains(&lab.secret()), "{joined}");
    assert!(!joined.contains(TOKEN), "{joined}");
    let listed = text(&lab.house.run(&["channel", "ls"]));
    assert!(listed.contains("stopped") && listed.contains("archond is not running"), "{listed}");
    let tested = text(&lab.house.run(&["channel", "test", "gitea", "ezra"]));
    assert!(tested.contains("@ezra, number 9"), "{tested}");

    let daemon = lab.start();
    assert_eq!(lab.comments(41, 3, "@ezra read the file notes.txt"), Some(204));
    let said = lab.wait(1);
    assert!(
        said[0].starts_with("May I use `read_file`?") && said[0].contains("read_file notes.txt"),
        "{said:?}"
    );
    // A stranger's yes is nobody's, and an unlisted one is not answered.
    assert_eq!(lab.comments(42, 5, "@ezra /approve"), Some(204));
    assert_eq!(lab.comments(43, 3, "@ezra /approve"), Some(204));
    let said = lab.wait(3);
    assert!(said[1..].iter().any(|text| text == "I will: read_file notes.txt"), "{said:?}");
    assert!(said[1..].iter().any(|text| text == "notes.txt says: milk and honey"), "{said:?}");
    assert!(lab.gitea.site.lock().unwrap().reactions >= 1);
    let forged = json!({"action": "created"}).to_string();
    assert_eq!(lab.gitea.send(&Hook { secret: "guessed".into(), ..lab.hook() }, &forged), Some(401));
    let huge = json!({"action": "created", "pad": "GARBAGE".repeat(1 << 20)}).to_string();
    // It may be refused before all of it was sent.
    assert!(matches!(lab.gitea.send(&lab.hook(), &huge), Some(413) | None));
    // The comment of before under another id of its delivery: it is the same message.
    assert_eq!(lab.comments(41, 3, "@ezra read the file notes.txt"), Some(204));
    let log = lab.house.log();
    // One line for each that was refused, with nothing of what it said.
    for said in ["its signature was wrong", "it was too long", "was not heard"] {
        assert_eq!(log.matches(said).count(), 1, "{said}: {log}");
    }
    assert!(!log.contains("GARBAGE") && !log.contains("guessed") && !log.contains("/approve"), "{log}");

    // What comes while nobody is there is found by looking, and nothing is answered twice.
    daemon.kill();
    drop(daemon);
    assert_eq!(lab.comments(44, 3, "@ezra what is your name?"), None);
    let _daemon = lab.start();
    let said = lab.wait(4);
    assert_eq!(said[3], "I am Ezra.", "{said:?}");
    assert_eq!(said.len(), 4, "{said:?}");
    let log = lab.house.log();
    assert!(!log.contains(TOKEN) && !log.contains(&lab.secret()));
}

#[test]
fn a_channel_that_is_left_is_gone_with_its_secrets() {
    let lab = Lab::new();
    assert!(lab.join(TOKEN, "maria").status.success());
    let again = text(&lab.join(TOKEN, "maria"));
    assert!(again.contains("is joined to gitea already"), "{again}");
    let asked = text(&lab.house.run(&["channel", "remove", "gitea", "ezra"]));
    assert!(asked.contains("add --yes"), "{asked}");
    let removed = lab.house.run(&["channel", "remove", "gitea", "ezra", "--yes"]);
    assert!(removed.status.success(), "{}", text(&removed));
    for folder in ["data/secrets/ezra", "config/channels/ezra"] {
        assert!(std::fs::read_dir(lab.house.path().join(folder)).unwrap().next().is_none(), "{folder}");
    }
    let gone = text(&lab.house.run(&["channel", "test", "gitea", "ezra"]));
    assert!(gone.contains("is not joined to gitea"), "{gone}");
}
