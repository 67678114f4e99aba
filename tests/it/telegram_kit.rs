//! A bot before the judge: a Bot API server that checks each request by aiogram's models and each text by Telegram's own parser
//! (`tests/telegram/judge.py`).
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use archond::channels::media::MediaFolder;
use archond::channels::telegram::{Telegram, TelegramSettings, WebhookSettings};
use archond::settings::KeyReference;
use archond_actors::domain::{AnswerKind, Attachment, ChannelId, Inbound, Parcel, Receipt, Shown};
use archond_actors::ports::{Channel, ChannelFault, Handed};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// What nobody may ever read in a log or an error.
pub(crate) const SECRET: &str = "AAF7-g0gYncWnm5IyfZlpPRqRRv6kNAGlao";
/// Far above anything but a hang.
pub(crate) const AMPLE: Duration = Duration::from_secs(60);

/// The judge's process. It ends with its standard input.
pub(crate) struct Judge {
    process: Child,
    pub(crate) port: u16,
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Judge {
    /// `None` on a machine where its libraries cannot be had. Machines that check the project must have them.
    pub(crate) fn start() -> Option<Self> {
        let mut process = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/telegram/judge.py"))
            .env("PYTHONPATH", libraries()?)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the judge says its port");
        Some(Self { process, port })
    }

    /// Does something to it.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", path, &body.to_string())
    }

    pub(crate) fn state(&self) -> Value {
        self.ask("GET", "/_state", "")
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(AMPLE)).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.0\r\nhost: judge\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{path}: {answer}");
        serde_json::from_str(body).unwrap()
    }

    /// Somebody writes.
    pub(crate) fn write(&self, fields: &Value) -> Value {
        self.post("/_user", fields)
    }

    /// The bot's messages in a chat that are there now.
    pub(crate) fn said(&self, chat: i64) -> Vec<Value> {
        let state = self.state();
        let messages = state["messages"].as_array().unwrap().iter();
        messages
            .filter(|message| message["chat"]["id"] == chat && message["from"]["is_bot"] == true)
            .cloned()
            .collect()
    }

    pub(crate) fn texts(&self, chat: i64) -> Vec<String> {
        self.said(chat)
            .iter()
            .map(|message| message["text"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The requests of a method, and none of anything may have been against the rules.
    pub(crate) fn requests(&self, method: &str) -> Vec<Value> {
        let state = self.state();
        let log = state["log"].as_array().unwrap();
        for entry in log {
            let error = entry["error"].as_str().unwrap_or_default();
            assert!(!error.contains("JUDGE"), "{entry}");
        }
        log.iter().filter(|entry| entry["method"] == method).cloned().collect()
    }
}

fn libraries() -> Option<PathBuf> {
    static LIBRARIES: OnceLock<Option<PathBuf>> = OnceLock::new();
    static TELLS: Mutex<()> = Mutex::new(());
    let libraries = LIBRARIES.get_or_init(|| {
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("archond");
        let output = Command::new(launcher).args(["setup", "--test-telegram"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
        }
        assert!(std::env::var_os("CI").is_none(), "the judge of the Telegram tests cannot be had: {said}");
        let _one_at_a_time = TELLS.lock();
        println!("SKIPPED: the tests of Telegram; their judge cannot be had on this machine: {said}");
        None
    });
    libraries.clone()
}

/// A bot, its judge, and a folder with its workspace and media.
pub(crate) struct World {
    pub(crate) judge: Judge,
    pub(crate) bot: Arc<Telegram>,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Option<Self> {
        let judge = Judge::start()?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("workspace")).unwrap();
        std::fs::write(folder.path().join("token"), format!("123:{SECRET}\n")).unwrap();
        let bot = bot(&folder, &settings(&folder, judge.port));
        Some(Self { judge, bot, folder })
    }

    pub(crate) fn settings(&self) -> TelegramSettings {
        settings(&self.folder, self.judge.port)
    }

    pub(crate) fn with_webhook(&mut self, webhook: WebhookSettings) {
        self.bot = bot(&self.folder, &TelegramSettings { webhook: Some(webhook), ..self.settings() });
    }

    pub(crate) fn workspace(&self, name: &str) -> PathBuf {
        self.folder.path().join("workspace").join(name)
    }

    /// What is received next, which is something.
    pub(crate) async fn receive(&self) -> Vec<Inbound> {
        tokio::time::timeout(AMPLE, self.bot.receive(None)).await.unwrap().unwrap().messages
    }

    /// The one message that is received next.
    pub(crate) async fn received(&self, fields: &Value) -> Inbound {
        self.judge.write(fields);
        let mut messages = self.receive().await;
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// Shows the words so far until they are there.
    pub(crate) async fn shown(&self, mut to: Parcel, words: &str) -> Parcel {
        let chat = to.reply_to.as_str().split(' ').next().unwrap().parse().unwrap();
        while self.judge.texts(chat).is_empty() {
            let receipt = self.bot.show(to.clone(), Shown::Text(words.into())).await.unwrap();
            to.receipt = receipt.or(to.receipt);
            let _next = tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await;
        }
        to
    }

    /// Hands an answer over as the house does; answers how many steps it took.
    pub(crate) async fn deliver(&self, parcel: Parcel) -> Result<usize, ChannelFault> {
        let mut parcel = parcel;
        for steps in 1..100 {
            match checked(self.bot.deliver(parcel.clone()).await)? {
                Handed::Whole => return Ok(steps),
                Handed::Step(receipt) => parcel.receipt = Some(receipt),
            }
        }
        panic!("it takes too many steps");
    }
}

/// An error has no secret in it.
pub(crate) fn checked<T>(came: Result<T, ChannelFault>) -> Result<T, ChannelFault> {
    if let Err(fault) = &came {
        let said = format!("{fault} {fault:?}");
        assert!(!said.contains(SECRET) && !said.contains("bot123"), "{said}");
    }
    came
}

fn settings(folder: &TempDir, port: u16) -> TelegramSettings {
    let api = format!("http://127.0.0.1:{port}").parse().unwrap();
    TelegramSettings { token: KeyReference::File(folder.path().join("token")), api, webhook: None }
}

/// A bot of such settings.
pub(crate) fn bot(folder: &TempDir, settings: &TelegramSettings) -> Arc<Telegram> {
    let media = MediaFolder::new(folder.path().join("media"));
    let channel = ChannelId::new("telegram").unwrap();
    let models = vec!["gemma-4-e4b".parse().unwrap(), "gemma-4-e2b".parse().unwrap()];
    Arc::new(Telegram::new(channel, settings.clone(), media, folder.path().join("workspace"), models))
}

/// The answer to a message.
pub(crate) fn answer(inbound: &Inbound, text: &str) -> Parcel {
    Parcel {
        outbox: None,
        key: inbound.key.clone(),
        peer: inbound.session_peer().unwrap(),
        reply_to: inbound.waybill.reply_to.clone(),
        kind: AnswerKind::Answer,
        text: text.into(),
        attachments: Vec::new(),
        created_unix_ms: 0,
        receipt: None,
        tries: 0,
    }
}

/// A file of the workspace that goes with an answer.
pub(crate) fn attachment(path: &str, bytes: &[u8], media_type: &str) -> Attachment {
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let caption = Some(format!("this is {path}"));
    Attachment {
        path: path.into(),
        bytes: bytes.len() as u64,
        sha256,
        media_type: media_type.into(),
        caption,
    }
}

/// The same answer when so much of it is done.
pub(crate) fn after(parcel: &Parcel, receipt: Option<Receipt>) -> Parcel {
    Parcel { receipt, ..parcel.clone() }
}

/// A message in a group that speaks to the bot.
pub(crate) fn in_group(text: &str) -> Value {
    json!({"chat": -100, "user": 7, "text": format!("@judge_bot {text}")})
}
