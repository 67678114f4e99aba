//! Files that go with an answer: what is sent and what never is, in the answer's record, in the terminal and over the API.
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use archond::admin::protocol::AnswerView;
use archond::store::RedbStore;
use archond::tools::ProcessLimits;
use archond_actors::domain::{
    AnswerKind, ArchonSpec, Attachment, ModelId, Permission, SEND_FILE, ToolPolicy, TurnEvent,
};
use archond_actors::house::{House, HouseArgs};
use archond_actors::memory::MemorySettings;
use archond_actors::pool::PoolSettings;
use archond_actors::ports::{RuntimeThreads, Store, ToolShed, ToolSource};
use archond_actors::testkit::{FakeEngine, StoppedClock, archon_spec, message};
use serde_json::json;

use crate::api::Api;
use crate::kit::{TestHouse, text};
use crate::tools_kit::{AMPLE, Workshop};

/// Of `milk and honey` and a line's end.
const HASH: &str = "cf775abb8fa186efbdc15b8b63f01142a21e8b1fa576a9548a5ecbd2e48aab1b";

fn sent(shop: &Workshop, arguments: serde_json::Value) -> Attachment {
    Attachment::read(&shop.done(SEND_FILE, arguments)).unwrap()
}

#[test]
fn a_file_of_the_workspace_is_described_as_it_is() {
    let shop = Workshop::new();
    std::fs::create_dir(shop.path("out")).unwrap();
    std::fs::write(shop.path("out/notes, old.txt"), "milk and honey\n").unwrap();
    std::fs::write(shop.path("picture"), b"\x89PNG\r\n\x1a\n\0").unwrap();
    std::fs::write(shop.path("empty"), "").unwrap();
    let wanted = Attachment {
        path: "out/notes, old.txt".into(),
        bytes: 15,
        sha256: HASH.into(),
        media_type: "text/plain".into(),
        caption: Some("for you: two words".into()),
    };
    let arguments = json!({"path": "./out//notes, old.txt", "caption": " for you:\n two words "});
    assert_eq!(sent(&shop, arguments), wanted);
    let whole = shop.path("out/notes, old.txt").display().to_string();
    assert_eq!(sent(&shop, json!({"path": whole})), Attachment { caption: None, ..wanted.clone() });
    // A link inside is followed, as far as it stays inside.
    symlink("out/notes, old.txt", shop.path("link")).unwrap();
    assert_eq!(
        sent(&shop, json!({"path": "~/link"})),
        Attachment { path: "link".into(), caption: None, ..wanted }
    );
    assert_eq!(sent(&shop, json!({"path": "picture"})).media_type, "image/png");
    assert_eq!(sent(&shop, json!({"path": "empty"})).bytes, 0);
}

#[test]
fn nothing_but_a_file_of_the_workspace_is_sent() {
    let shop = Workshop::with(ProcessLimits { sent_bytes_max: 100, ..ProcessLimits::default() });
    std::fs::create_dir(shop.path("folder")).unwrap();
    std::fs::write(shop.path("folder/small"), "x").unwrap();
    std::fs::write(shop.path("large"), "x".repeat(101)).unwrap();
    std::fs::write(shop.path("line\nbreak"), "x").unwrap();
    symlink(shop.secret(), shop.path("out")).unwrap();
    symlink(shop.home(), shop.path("up")).unwrap();
    symlink("/dev/zero", shop.path("zero")).unwrap();
    shop.pipe("pipe");
    let library = shop.home().join("library/book.txt").display().to_string();
    for (path, why) in [
        ("../../../../secret.txt", "is not sent"),
        ("folder/../folder/small", "is not sent"),
        ("line\nbreak", "is not sent"),
        (library.as_str(), "is not sent"),
        (shop.secret().as_str(), "leads out of the workspace"),
        ("/dev/zero", "leads out of the workspace"),
        ("/proc/self/environ", "leads out of the workspace"),
        ("out", "leads out of the workspace"),
        ("up/secret.txt", "leads out of the workspace"),
        ("zero", "leads out of the workspace"),
        ("pipe", "is neither a file nor a directory"),
        ("folder", "is a directory; name a file in it"),
        (".", "is a directory; name a file in it"),
        ("", "there is no ``"),
        ("missing", "there is no `missing`"),
        ("large", "has 101 bytes, and at most 100 are sent (`tool_limits.send_max` of the profile)"),
    ] {
        let failed = shop.failed(SEND_FILE, json!({ "path": path }));
        assert!(failed.contains(why), "{path}: {failed}");
        assert_eq!(Attachment::read(&failed), None);
    }
    assert!(shop.failed(SEND_FILE, json!({})).contains("missing field `path`"));
    std::fs::write(shop.path("large"), "x".repeat(100)).unwrap();
    assert_eq!(sent(&shop, json!({"path": "large"})).bytes, 100);
}

struct Shed(Workshop);

impl ToolShed for Shed {
    fn sources(&self, _: &ArchonSpec) -> Vec<Arc<dyn ToolSource>> {
        vec![Arc::new(self.0.tools.clone())]
    }
}

async fn house(store: &Path, shop: Workshop) -> House {
    let model = ModelId::new("m").unwrap();
    let args = HouseArgs {
        store: Arc::new(RedbStore::open(store).unwrap()),
        engine: Arc::new(FakeEngine::new([model.clone()])),
        tools: Arc::new(Shed(shop)),
        media: Arc::new(archond_actors::ports::NoMedia),
        channels: Arc::new(archond_actors::ports::NoChannels),
        clock: Arc::new(StoppedClock),
        calls: Arc::new(RuntimeThreads),
        memory: MemorySettings::default(),
        pool: PoolSettings::default(),
        report: Arc::new(|_| {}),
    };
    let house = House::start(args).await.unwrap();
    let policy = ToolPolicy {
        tools: vec![SEND_FILE.into()],
        permissions: [Permission::Allow; 5],
        ..ToolPolicy::default()
    };
    let spec = ArchonSpec { tools: Arc::new(policy), ..archon_spec("ezra", &model).unwrap() };
    house.start_archon(spec).await.unwrap();
    house
}

#[tokio::test]
async fn what_was_sent_goes_with_the_answer_and_is_there_after_the_store_is_opened_again() {
    let (shop, folder) = (Workshop::new(), tempfile::tempdir().unwrap());
    std::fs::write(shop.path("notes.txt"), "milk and honey\n").unwrap();
    let store = folder.path().join("store.redb");
    let house = house(&store, shop).await;
    let call = r#"call send_file={"path":"notes.txt","caption":"here"} send_file={"path":"missing"}"#;
    let message = message("ezra", "p", "1", call).unwrap();
    let mut observer = house.observers().observe(message.message_key());
    house.submit(message).await.unwrap();
    let answer = loop {
        match tokio::time::timeout(AMPLE, observer.next()).await.unwrap() {
            Some(TurnEvent::Ended { answer }) => break answer,
            Some(_) => {}
            None => panic!("the observer was replaced"),
        }
    };
    let wanted = Attachment {
        path: "notes.txt".into(),
        bytes: 15,
        sha256: HASH.into(),
        media_type: "text/plain".into(),
        caption: Some("here".into()),
    };
    assert_eq!((answer.kind, &answer.attachments[..]), (AnswerKind::Answer, &[wanted][..]));
    house.shutdown().await.unwrap();
    drop(house);
    crate::mcp_kit::until("the store is free", || RedbStore::open(&store).is_ok()).await;
    let store = RedbStore::open(&store).unwrap();
    assert_eq!(store.answer_to(answer.answers), Ok(Some(answer)));
}

fn with_notes(house: &TestHouse) {
    house.write_profile("ezra", r#"tools: ["send_file"], permissions: (message: Allow),"#);
    let workspace = house.path().join("state/archons/ezra/workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
}

/// As the tiny model was taught to be told.
const ASKED: &str = r#"Use the send_file tool: path="notes.txt""#;

#[test]
fn the_terminal_shows_where_the_file_is() {
    let house = TestHouse::new();
    with_notes(&house);
    let _daemon = house.start(&["ezra"]);
    let path = house.path().join("state/archons/ezra/workspace/notes.txt").display().to_string();
    let shown = house.run(&["chat", "ezra", "-m", ASKED]);
    let said = String::from_utf8_lossy(&shown.stderr).into_owned();
    assert!(said.contains(&format!("attached: {path} (text/plain, 15 bytes)")), "{}", text(&shown));
    let told = house.run(&["chat", "ezra", "--json", "-m", ASKED]);
    let answer: AnswerView = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (answer.attachments[0].path.as_str(), answer.attachments[0].sha256.as_str()),
        (path.as_str(), HASH)
    );
    // An answer without files is as it was.
    let told = house.run(&["chat", "ezra", "--json", "-m", "what is your name?"]);
    assert!(!String::from_utf8_lossy(&told.stdout).contains("attachments"), "{}", text(&told));
}

#[test]
fn over_the_api_the_file_is_named() {
    let house = TestHouse::new();
    with_notes(&house);
    let api = Api::of(house, "()");
    let body = json!({"model": "archon:ezra", "messages": [{"role": "user", "content": ASKED}]});
    let whole = api.post("/v1/chat/completions", &body).json();
    let content = whole["choices"][0]["message"]["content"].as_str().unwrap();
    let line = "\n\n[file in the workspace: notes.txt, text/plain, 15 bytes]";
    assert!(content.ends_with(line), "{whole}");
    let body = json!({"stream": true, "model": "archon:ezra", "messages": body["messages"]});
    let pieces = api.post("/v1/chat/completions", &body).pieces();
    let texts = pieces.iter().filter_map(|piece| piece["choices"][0]["delta"]["content"].as_str());
    assert!(texts.collect::<String>().ends_with(line), "{pieces:?}");
}
