//! Pictures and voice messages over Telegram, in a real house: the real worker decodes, encodes and counts them.
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::json;

use crate::kit::{TINY, TINY_ID, TestHouse, text};
use crate::media::{PROJECTOR, SEEING, SQUARES};
use crate::telegram_house::{join, said};
use crate::telegram_kit::Judge;

/// A voice message of a second and a half, as telephones record it; `tests/data/voice.py` makes it.
const VOICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/voice.ogg");

/// A conversation of person 7 with Ezra, who answers with this model.
struct Talk {
    judge: Judge,
    said: usize,
}

impl Talk {
    /// Sends a file, and waits for the answer.
    fn send(&mut self, file: &Path, form: &str, caption: &str) -> String {
        let mut fields = json!({"chat": 7, "user": 7, "file": file, "as": form});
        if !caption.is_empty() {
            fields["text"] = json!(caption);
        }
        self.judge.write(&fields);
        self.next()
    }

    fn say(&mut self, text: &str) -> String {
        self.judge.write(&json!({"chat": 7, "user": 7, "text": text}));
        self.next()
    }

    fn next(&mut self) -> String {
        self.said += 1;
        let messages = said(&self.judge, 7, self.said);
        assert_eq!(messages.len(), self.said, "{messages:?}");
        messages[self.said - 1]["text"].as_str().unwrap().to_owned()
    }

    /// Rows of pictures and recordings in the last prompt, as `/context` says it.
    fn rows(&mut self) -> Option<u32> {
        let context = self.say("/context");
        let line = context.lines().find(|line| line.contains("pictures and recordings"))?;
        line.split_whitespace().last()?.parse().ok()
    }
}

fn file(house: &TestHouse, name: &str, bytes: &[u8]) -> PathBuf {
    let path = house.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn squares() -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(SQUARES).unwrap()
}

#[test]
fn a_model_with_a_projector_gets_what_is_sent_and_is_told_of_what_it_cannot_get() {
    let Some(judge) = Judge::start() else { return };
    let house = TestHouse::new();
    let imported = house.run(&["model", "import", TINY, "--name", SEEING, "--projector", PROJECTOR]);
    assert!(imported.status.success(), "{}", text(&imported));
    house.write_profile_for("ezra", SEEING);
    join(&judge, &house);
    let daemon = house.start(&["ezra"]);
    let mut talk = Talk { judge, said: 0 };
    assert!(!talk.send(&file(&house, "photo.png", &squares()), "photo", "hello").is_empty());
    let picture = talk.rows().unwrap();
    assert!(picture >= 70, "a picture has 70 rows at least: {picture}");
    let workers = daemon.worker_pids();
    talk.say("and now?");
    assert_eq!(talk.rows(), Some(picture), "it stands where it stood");
    talk.send(Path::new(VOICE), "voice", "hello");
    let both = talk.rows().unwrap();
    assert!(both - picture >= 30, "25 rows a second: {both} after {picture}");

    // A picture that is cut, and one that is none, cost no answer and no worker.
    assert!(!talk.send(&file(&house, "cut.png", &squares()[..80]), "photo", "hello").is_empty());
    assert_eq!(talk.rows(), Some(both));
    assert!(!talk.send(&file(&house, "odd.png", b"hello"), "photo", "hello").is_empty());
    assert!(!talk.say("hello").is_empty());
    assert_eq!(talk.rows(), Some(both));
    assert_eq!(daemon.worker_pids(), workers, "nothing that was sent ended a worker");
    let shown = house.run(&["session", "export", "ezra/telegram/7/main"]);
    assert!(text(&shown).contains("[a picture `photo.jpg` of"), "{}", text(&shown));

    // Files that are gone leave a note, after a restart of everything.
    drop(daemon);
    std::fs::remove_dir_all(house.path().join("data/media")).unwrap();
    let _daemon = house.start(&["ezra"]);
    assert!(!talk.say("hello").is_empty());
    assert_eq!(talk.rows(), None);
}

#[test]
fn a_model_without_a_projector_answers_and_gets_none_of_it() {
    let Some(judge) = Judge::start() else { return };
    let house = TestHouse::new();
    house.write_profile_for("ezra", TINY_ID);
    join(&judge, &house);
    let _daemon = house.start(&["ezra"]);
    let mut talk = Talk { judge, said: 0 };
    assert!(!talk.send(&file(&house, "photo.png", &squares()), "photo", "hello").is_empty());
    assert_eq!(talk.rows(), None);
    assert!(!talk.send(Path::new(VOICE), "voice", "").is_empty());
    assert_eq!(talk.rows(), None);
}
