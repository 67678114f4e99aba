//! The daemon is killed at random moments while messages arrive over Telegram, Nostr and Gitea at once: none is lost, none is answered twice,
//! and each chat gets its answers in order.
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ChildStdin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use archond::channels::nostr::{NostrKey, publish};
use nostr::key::Keys;
use rustix::event::{Timespec, poll};
use serde_json::{Value, json};

use crate::gitea_kit::{Gitea, Hook, TOKEN};
use crate::kit::{Random, TestHouse, text};
use crate::nostr_kit::{Person, PythonRelay, account, peers, settings};
use crate::telegram_kit::{Judge, SECRET};

/// Kills of the daemon. `ARCHOND_CHANNEL_KILLS` changes it.
const KILLS: u64 = 12;
/// Messages of all chats. `ARCHOND_CHANNEL_MESSAGES` changes it.
const MESSAGES: u64 = 72;
/// Longest undisturbed time between two events of one life, in milliseconds.
const MOMENT_MAX_MS: u64 = 600;
/// Looks at what was answered, a fifth of a second apart, before it counts as lost.
const LOOKS_MAX: usize = 3000;
/// The issue in which the Archon arrives.
const ARRIVAL: u64 = 99;
/// The group of the tests on Telegram.
const GROUP: i64 = -100;

/// Where somebody writes, and gets his answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Chat {
    /// Alone with the bot.
    Telegram(i64),
    /// The same group for all.
    Group(i64),
    /// One of the persons.
    Nostr(usize),
    /// An issue.
    Gitea(u64),
}

/// Messages of one conversation: the tiny model was taught with short ones.
const CONVERSATION: usize = 12;
/// Who writes at the same time.
const AT_ONCE: [Chat; 18] = [
    Chat::Telegram(1),
    Chat::Gitea(1),
    Chat::Nostr(0),
    Chat::Telegram(2),
    Chat::Group(11),
    Chat::Telegram(3),
    Chat::Gitea(2),
    Chat::Nostr(1),
    Chat::Telegram(4),
    Chat::Gitea(3),
    Chat::Telegram(5),
    Chat::Group(12),
    Chat::Nostr(2),
    Chat::Telegram(6),
    Chat::Gitea(4),
    Chat::Telegram(7),
    Chat::Telegram(8),
    Chat::Gitea(5),
];
/// What is said in a message.
fn code(number: usize) -> u64 {
    1000 + number as u64
}

/// Persons on Nostr who write at the same time.
const PERSONS: usize = 3;

impl Chat {
    /// Where the message with this number is written: when a conversation is long enough, others begin.
    fn of(number: usize) -> Self {
        let round = number / (AT_ONCE.len() * CONVERSATION);
        match AT_ONCE[number % AT_ONCE.len()] {
            Self::Telegram(user) => Self::Telegram(user + 100 * round as i64),
            Self::Group(user) => Self::Group(user + 100 * round as i64),
            Self::Nostr(person) => Self::Nostr(person + PERSONS * round),
            Self::Gitea(issue) => Self::Gitea(issue + 100 * round as u64),
        }
    }
}

/// The platforms, and the house that is on all of them.
struct World {
    house: TestHouse,
    judge: Judge,
    gitea: Gitea,
    hook: Hook,
    persons: Vec<Mutex<ChildStdin>>,
    /// By these the house knows the persons.
    keys: Vec<String>,
    /// What each person was answered.
    answered: Arc<Mutex<Vec<Vec<String>>>>,
    _relay: PythonRelay,
}

impl World {
    /// `persons`: how many messages each of those on Nostr will write.
    fn new(persons: &[usize]) -> Option<Self> {
        let (peers, judge) = (peers()?, Judge::start()?);
        let (relay, gitea, house) = (PythonRelay::start(&peers), Gitea::start(), TestHouse::new());
        let folder = house.path().join("config/channels/ezra");
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, words: &str| {
            std::fs::write(house.path().join(name), words).unwrap();
            format!("file:{}", house.path().join(name).display())
        };
        let (ezra, key) = account(house.path());
        let NostrKey::Secret(reference) = &key else { panic!("a key of its own") };
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let hook = Hook { listen, secret: "a secret of forty characters, as it must be".into() };
        let files = [
            (
                "telegram.ron",
                format!(
                    "(token: \"{}\", api: \"http://127.0.0.1:{}\", access: Open, groups: [(id: \"{GROUP}\", everyone: true)])",
                    write("token", &format!("123:{SECRET}")),
                    judge.port
                ),
            ),
            ("nostr.ron", format!("(key: \"{reference}\", relays: [\"{}\"], access: Open)", relay.url)),
            (
                "gitea.ron",
                format!(
                    "(url: \"{}\", token: \"{}\", secret: \"{}\", listen: \"{}\", access: Open, groups: [(id: \"7\", everyone: true)])",
                    gitea.url,
                    write("gitea-token", TOKEN),
                    write("gitea-secret", &hook.secret),
                    hook.listen
                ),
            ),
        ];
        for (name, words) in files {
            std::fs::write(folder.join(name), words).unwrap();
        }
        let told = gitea.runtime.block_on(publish(&settings(key.clone(), &relay.url)));
        assert!(told.unwrap().relays[0].outcome.is_ok());
        let (answered, mut writers, mut known) =
            (Arc::new(Mutex::new(vec![Vec::new(); persons.len()])), Vec::new(), Vec::new());
        for (number, count) in persons.iter().enumerate() {
            let keys = Keys::generate();
            known.push(keys.public_key().to_hex());
            let mut person =
                Person::write(&peers, &relay.url, &ezra.public_key().to_hex(), &keys, *count, &[]);
            person.says("inbox");
            let (input, mut lines) = person.split();
            let answered = answered.clone();
            std::thread::spawn(move || {
                while let Some(said) = lines.may_say("answer") {
                    answered.lock().unwrap()[number].push(said["answer"].as_str().unwrap().to_owned());
                }
            });
            writers.push(Mutex::new(input));
        }
        let world =
            Self { house, judge, gitea, hook, persons: writers, keys: known, answered, _relay: relay };
        world.arrive();
        Some(world)
    }

    /// The Archon comes to where it was never before: what was written in Gitea until then was not written to it.
    fn arrive(&self) {
        let _daemon = self.house.start(&["ezra"]);
        for _ in 0..LOOKS_MAX {
            if std::net::TcpStream::connect(&self.hook.listen).is_ok() {
                break;
            }
            pause();
        }
        self.write(Chat::Gitea(ARRIVAL), ARRIVAL);
        for _ in 0..LOOKS_MAX {
            if !self.gitea.said(ARRIVAL).is_empty() {
                return;
            }
            pause();
        }
        panic!("{}", text(&self.house.run(&["channel", "ls"])));
    }

    /// Somebody writes.
    fn write(&self, chat: Chat, number: u64) {
        let words = format!("my code is {number}");
        match chat {
            Chat::Telegram(user) => {
                drop(self.judge.write(&json!({"chat": user, "user": user, "text": words})))
            }
            Chat::Group(user) => {
                let words = format!("@judge_bot {words}");
                self.judge.write(&json!({"chat": GROUP, "user": user, "text": words}));
            }
            Chat::Nostr(person) => writeln!(self.persons[person].lock().unwrap(), "{words}").unwrap(),
            Chat::Gitea(issue) => {
                let words = format!("@ezra {words}");
                self.gitea.comments(&self.hook, 1000 + number, 3, issue, &words);
            }
        }
    }

    /// What was answered so far in these places.
    fn said(&self, chats: impl IntoIterator<Item = Chat>) -> BTreeMap<Chat, Vec<String>> {
        let state = self.judge.state();
        let bot =
            state["messages"].as_array().unwrap().iter().filter(|message| message["from"]["is_bot"] == true);
        let bot: Vec<_> = bot
            .map(|message| {
                (message["chat"]["id"].as_i64(), message["_answers"].as_i64(), message["text"].as_str())
            })
            .collect();
        let by = |message: i64| {
            let all = state["messages"].as_array().unwrap();
            all.iter().find(|one| one["message_id"] == message).and_then(|one| one["from"]["id"].as_i64())
        };
        let of = |holds: &dyn Fn(i64, Option<i64>) -> bool| {
            let said = bot.iter().filter(|(chat, answers, _)| holds(chat.unwrap(), *answers));
            said.map(|(.., text)| text.unwrap_or_default().to_owned()).collect()
        };
        let said = |chat| match chat {
            Chat::Telegram(user) => of(&|chat, _| chat == user),
            // There it shows which message it answers.
            Chat::Group(user) => of(&|chat, answers| chat == GROUP && answers.and_then(by) == Some(user)),
            Chat::Nostr(person) => self.answered.lock().unwrap()[person].clone(),
            Chat::Gitea(issue) => self.gitea.said(issue),
        };
        chats.into_iter().map(|chat| (chat, said(chat))).collect()
    }

    /// What was asked and answered in each conversation, as the house keeps it.
    fn kept(&self) -> BTreeMap<Chat, Vec<(String, String)>> {
        let ask = |args: &[&str]| -> Value {
            let output = self.house.run(args);
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)))
        };
        let listed = ask(&["session", "list", "ezra", "--json"]);
        let keys = listed.as_array().unwrap().iter().map(|session| session["session"].as_str().unwrap());
        let chats = keys.filter_map(|key| Some((key, self.chat_of(key)?)));
        chats
            .map(|(key, chat)| {
                let whole = ask(&["session", "export", key, "--json"]);
                let said = |turn: &Value, who: &str| turn[who].as_str().unwrap().to_owned();
                let turns = whole["turns"].as_array().unwrap().iter();
                (chat, turns.map(|turn| (said(turn, "user"), said(turn, "answer"))).collect())
            })
            .collect()
    }

    /// `None`: the conversation in which the Archon arrived.
    fn chat_of(&self, session: &str) -> Option<Chat> {
        let parts: Vec<&str> = session.split('/').collect();
        let (channel, peer, thread) = (parts[1], parts[2], parts[3]);
        match channel {
            "telegram" => Some(match peer.split_once('@') {
                Some((user, _)) => Chat::Group(user.parse().unwrap()),
                None => Chat::Telegram(peer.parse().unwrap()),
            }),
            "nostr" => Some(Chat::Nostr(self.keys.iter().position(|key| key == peer).unwrap())),
            _ => {
                let issue = thread.strip_prefix("issue-").unwrap().parse().unwrap();
                Some(Chat::Gitea(issue)).filter(|_| issue != ARRIVAL)
            }
        }
    }

    /// Answers that are there in all.
    fn count(&self, chats: &BTreeSet<Chat>) -> usize {
        self.said(chats.iter().copied()).values().map(Vec::len).sum()
    }

    /// Waits until so many answers are there in all.
    fn wait(&self, chats: &BTreeSet<Chat>, count: usize) {
        for _ in 0..LOOKS_MAX {
            if self.count(chats) >= count {
                return;
            }
            pause();
        }
        let shown = text(&self.house.run(&["channel", "ls"]));
        panic!("{count} are to be answered: {:?}\n{shown}", self.said(chats.iter().copied()));
    }
}

/// Between two looks at a foreign process, which tells no one.
fn pause() {
    poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 200_000_000 })).unwrap();
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn killed_at_random_moments_it_answers_every_message_of_every_platform_once_and_in_order() {
    let (kills, messages) = (
        from_environment("ARCHOND_CHANNEL_KILLS", KILLS),
        from_environment("ARCHOND_CHANNEL_MESSAGES", MESSAGES),
    );
    let mut numbers = (0..messages as usize).map(|number| (Chat::of(number), code(number)));
    let chats: BTreeSet<Chat> = numbers.clone().map(|(chat, _)| chat).collect();
    // One more of each chat, when all is over.
    let of_person = |person| numbers.clone().filter(|(chat, _)| *chat == Chat::Nostr(person)).count() + 1;
    let persons = chats.iter().filter(|chat| matches!(chat, Chat::Nostr(_))).count();
    let persons: Vec<usize> = (0..persons).map(of_person).collect();
    let Some(world) = World::new(&persons) else { return };
    let (mut random, mut written) = (Random::seeded(), BTreeMap::<Chat, Vec<u64>>::new());
    let mut write = |(chat, number): (Chat, u64)| {
        world.write(chat, number);
        written.entry(chat).or_default().push(number);
    };
    let per_life = numbers.len().div_ceil(kills as usize + 1);
    for _ in 0..kills {
        let mut now = numbers.by_ref().take(per_life);
        let while_away = random.below(3);
        now.by_ref().take(while_away as usize).for_each(&mut write);
        let daemon = world.house.start(&["ezra"]);
        let mut moment = || Duration::from_millis(random.below(MOMENT_MAX_MS));
        for number in now {
            daemon.wait(moment());
            write(number);
        }
        daemon.wait(moment());
        daemon.kill();
    }
    numbers.by_ref().for_each(&mut write);
    println!("{} answers before the last life", world.count(&chats));
    let _daemon = world.house.start(&["ezra"]);
    world.wait(&chats, messages as usize);
    // Answers of one chat go in order: whatever would come twice has come when this one is there.
    for (at, chat) in chats.iter().enumerate() {
        write((*chat, code(messages as usize + at)));
    }
    world.wait(&chats, messages as usize + chats.len());
    let answered = world.said(chats.iter().copied());
    let kept = world.kept();
    assert_eq!(kept.len(), written.len());
    for (chat, numbers) in &written {
        let (asked, answers): (Vec<String>, Vec<String>) = kept[chat].iter().cloned().unzip();
        let wanted: Vec<String> = numbers.iter().map(|number| format!("my code is {number}")).collect();
        assert!(
            asked.iter().zip(&wanted).all(|(asked, wanted)| asked.contains(wanted)),
            "{chat:?}: {asked:?}, {wanted:?}"
        );
        assert_eq!(asked.len(), wanted.len(), "{chat:?}");
        // What the model made of it is its own affair: the platform has what the house has.
        assert_eq!(answered[chat], answers, "{chat:?}");
    }
    world.judge.requests("");
}
