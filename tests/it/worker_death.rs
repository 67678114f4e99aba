//! The model's process is killed while answers stream: they go on, and nobody can tell from the text.
use std::collections::BTreeMap;

use archond::admin::protocol::{Op, Reply, TurnView};
use rustix::process::Signal;

use crate::kit::{Client, Daemon, TINY_ID, TestHouse};

/// What four people told; the tiny model's longest answers are summaries.
const TOLD: [[&str; 4]; 4] = [
    ["colour is teal", "dog is Rex", "city is Paris", "cat is Tom"],
    ["colour is red", "dog is Max", "city is Rome", "cat is Leo"],
    ["dog is Rex", "colour is blue", "cat is Tom", "city is Oslo"],
    ["city is Bern", "cat is Leo", "colour is green", "dog is Max"],
];

fn request(told: [&str; 4]) -> String {
    let lines = told.map(|fact| format!("user: my {fact}\nassistant: Noted, your {fact}."));
    format!("Summarise this conversation:\n\n{}", lines.join("\n"))
}

fn worker_pid(client: &mut Client) -> u32 {
    let status = client.status();
    status.models.iter().find(|model| model.model == TINY_ID).unwrap().pid.unwrap()
}

/// Four answers at once; `at_token` is called after so many pieces of text of all of them together.
fn four_answers(
    client: &mut Client,
    run: &str,
    at_piece: usize,
    mut act: impl FnMut(),
) -> (Vec<String>, usize) {
    let mut asked = BTreeMap::new();
    for (index, told) in TOLD.into_iter().enumerate() {
        let (key, thread) = (format!("{run}-{index}"), format!("{run}-{index}"));
        let op = Op::Chat { archon: "ezra".into(), text: request(told), key, thread: Some(thread) };
        asked.insert(client.send(op).unwrap(), index);
    }
    let (mut streamed, mut answers) = (vec![String::new(); 4], vec![None; 4]);
    let (mut pieces, mut replaced) = (0, 0);
    while answers.iter().any(Option::is_none) {
        let response = client.receive().unwrap();
        let index = asked[&response.id];
        match response.reply {
            Reply::Turn(TurnView::Text { text }) => {
                streamed[index].push_str(&text);
                pieces += 1;
                if pieces == at_piece {
                    act();
                }
            }
            Reply::Turn(TurnView::WorkerReplaced) => replaced += 1,
            Reply::Turn(TurnView::Retrying { .. }) => panic!("an answer began again"),
            Reply::Turn(TurnView::Ended(answer)) => {
                assert_eq!(answer.kind, "answer", "{}", answer.text);
                assert_eq!(streamed[index].trim_end(), answer.text, "what was streamed is what is kept");
                answers[index] = Some(answer.text);
            }
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (answers.into_iter().flatten().collect(), replaced)
}

#[test]
fn four_streaming_answers_survive_a_killed_worker_word_for_word() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let (undisturbed, replaced) = four_answers(&mut client, "calm", usize::MAX, || {});
    assert_eq!(replaced, 0);
    for (round, at_piece) in [1, 10, 40, 80].into_iter().enumerate() {
        // A worker that was killed when all was said is started again by the next message.
        client.chat("ezra", &format!("warm{round}"), "warm", "hello");
        let worker = Daemon::of(worker_pid(&mut client));
        let (answers, _) = four_answers(&mut client, &format!("r{round}"), at_piece, || worker.kill());
        assert_eq!(answers, undisturbed, "killed at piece {at_piece}");
    }
    assert_eq!(client.status().models.iter().find(|model| model.model == TINY_ID).unwrap().crashes, 4);
}

#[test]
fn a_worker_that_hangs_is_replaced_and_its_answers_go_on() {
    let house = TestHouse::new();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let (undisturbed, _) = four_answers(&mut client, "calm", usize::MAX, || {});
    let worker = Daemon::of(worker_pid(&mut client));
    let (answers, _) = four_answers(&mut client, "hung", 3, || worker.signal(Signal::STOP));
    assert_eq!(answers, undisturbed);
}

/// One answer whose worker is killed in its middle, or just behind its end, since answers of the tiny model are short; and how many
/// prompt tokens of all that ran were found in memory.
fn found_after_a_death(house: &TestHouse) -> (String, u64) {
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let worker = Daemon::of(worker_pid(&mut client));
    let op = Op::Chat { archon: "ezra".into(), text: request(TOLD[0]), key: "1".into(), thread: None };
    client.send(op).unwrap();
    let mut pieces = 0;
    let answer = loop {
        match client.receive().unwrap().reply {
            Reply::Turn(TurnView::Text { .. }) => {
                pieces += 1;
                if pieces == 3 {
                    worker.kill(); // its first step is kept by now
                }
            }
            Reply::Turn(TurnView::Ended(answer)) => break answer.text,
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let status = client.status();
    let model = status.models.iter().find(|model| model.model == TINY_ID).unwrap();
    (answer, model.cached_tokens)
}

#[test]
fn what_a_killed_worker_had_read_is_not_read_again() {
    let mut houses = (0..5).map(|_| found_after_a_death(&TestHouse::new()));
    let (answer, _) = houses.find(|(_, found)| *found > 0).expect("one of five was killed in the middle");
    let forgetful = TestHouse::new();
    let settings = "(worker: (keepsake_max: \"0 MiB\", disk_max: \"0 MiB\"))";
    std::fs::write(forgetful.path().join("config/archond.ron"), settings).unwrap();
    assert_eq!(found_after_a_death(&forgetful), (answer, 0), "without, everything is");
}

#[test]
fn a_restarted_house_does_not_read_its_instructions_again() {
    let house = TestHouse::new();
    let profile = house.path().join("config/archons/ezra.ron");
    let persona = format!("a helpful assistant. {}", "You are patient and kind. ".repeat(20));
    let text = std::fs::read_to_string(&profile).unwrap().replace("a helpful assistant.", &persona);
    std::fs::write(&profile, text).unwrap();
    let first = {
        let _daemon = house.start(&["ezra"]);
        house.client().chat("ezra", "1", "one", "hello").text
    };
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    assert_eq!(client.chat("ezra", "2", "two", "hello").text, first);
    let status = client.status();
    let model = status.models.iter().find(|model| model.model == TINY_ID).unwrap();
    assert!(model.cached_tokens > 64, "{model:?}");
    assert_eq!(model.written_tokens + 1, model.tokens, "one answer has ended: {model:?}");
}
