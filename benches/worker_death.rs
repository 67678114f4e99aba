//! Prints what a killed worker costs its readers: four answers stream, the worker is killed in the middle, and the time until all
//! four have ended is set against an undisturbed run. Beside it, how long a worker takes to be ready again.
//!
//! `cargo bench --bench worker_death`; `ARCHOND_BENCH_MODEL=file.gguf` takes another model than the tiny one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    dead_code
)]
#![allow(clippy::disallowed_methods, reason = "a bench looks at the real clock")]

#[path = "../tests/it/kit.rs"]
mod kit;

use std::time::{Duration, Instant};

use archond::admin::protocol::{Op, Reply, TurnView};

const ROUNDS: usize = 15;
const BENCHED: &str = "benched";

fn main() {
    let house = kit::TestHouse::new();
    let file = std::env::var("ARCHOND_BENCH_MODEL").unwrap_or_else(|_| kit::TINY.to_owned());
    let imported = house.run(&["model", "import", &file, "--name", BENCHED]);
    assert!(imported.status.success(), "{}", kit::text(&imported));
    house.write_profile_for("ezra", BENCHED);
    // The times of the workers are read from the log.
    std::fs::write(house.path().join("config/archond.ron"), "(log_level: \"debug\")").unwrap();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let (mut calm, mut killed, mut silence, mut ready) = (vec![], vec![], vec![], vec![]);
    // Where the weights are rounded, a prompt that is read again gives slightly other numbers than one that was spoken.
    let mut identical = 0;
    for round in 0..ROUNDS {
        let (answers, took, _) = four(&mut client, &format!("calm{round}"), None);
        let worker = kit::Daemon::of(worker_pid(&mut client));
        let (survived, took_killed, gap) = four(&mut client, &format!("killed{round}"), Some(&worker));
        assert!(answers.len() == 4 && survived.len() == 4, "an answer is missing");
        identical += answers.iter().zip(&survived).filter(|(calm, survived)| calm == survived).count();
        calm.push(took);
        killed.push(took_killed);
        silence.push(gap);
        ready.push(last_start(&house));
    }
    println!("{file}, {ROUNDS} rounds, four answers each");
    row("four answers, undisturbed", &mut calm);
    row("four answers, worker killed", &mut killed);
    row("kill to the next text", &mut silence);
    row("worker started to model ready", &mut ready);
    println!("identical to the undisturbed run   {identical} of {}", ROUNDS * 4);
    let (added, load) = (median(&mut killed).saturating_sub(median(&mut calm)), median(&mut ready));
    println!("added delay {} ms = load {} ms + {} ms", ms(added), ms(load), ms(added.saturating_sub(load)));
}

fn four(
    client: &mut kit::Client,
    run: &str,
    kill: Option<&kit::Daemon>,
) -> (Vec<String>, Duration, Duration) {
    let begun = Instant::now();
    let mut ids = Vec::new();
    for number in 0..4 {
        let text = format!(
            "Summarise this conversation:\n\nuser: my colour is teal\nassistant: Noted, your colour is teal.\n\
             user: my dog is Rex\nassistant: Noted, your dog is Rex.\nuser: my number is {number}\nassistant: Noted."
        );
        let thread = Some(format!("{run}-{number}"));
        ids.push(
            client
                .send(Op::Chat { archon: "ezra".into(), text, key: format!("{run}-{number}"), thread })
                .unwrap(),
        );
    }
    let (mut answers, mut pieces, mut killed_at, mut gap) = (vec![None; 4], 0, None, Duration::ZERO);
    while answers.iter().any(Option::is_none) {
        let response = client.receive().unwrap();
        match response.reply {
            Reply::Turn(TurnView::Text { .. }) => {
                pieces += 1;
                if let Some(at) = killed_at.take() {
                    gap = Instant::now() - at;
                }
                if let (20, Some(worker)) = (pieces, kill) {
                    worker.kill();
                    killed_at = Some(Instant::now());
                }
            }
            Reply::Turn(TurnView::Ended(answer)) => {
                let index = ids.iter().position(|id| *id == response.id).unwrap();
                answers[index] = Some(answer.text);
            }
            Reply::Turn(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (answers.into_iter().flatten().collect(), begun.elapsed(), gap)
}

fn worker_pid(client: &mut kit::Client) -> u32 {
    client.status().models.iter().find(|model| model.model == BENCHED).unwrap().pid.unwrap()
}

/// The log's own times of the last worker.
fn last_start(house: &kit::TestHouse) -> Duration {
    let logs = std::fs::read_dir(house.path().join("state/logs")).unwrap();
    let text: String = logs
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("archond.log"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let at = |what: &str| {
        let line = text.lines().rev().find(|line| line.contains(what)).unwrap();
        // Minutes, seconds and microseconds of `2026-11-23T00:11:22.123456Z`.
        let minutes: f64 = line[14..16].parse().unwrap();
        let seconds: f64 = line[17..26].parse().unwrap();
        minutes * 60.0 + seconds
    };
    Duration::from_secs_f64((at("model ready") - at("worker started")).rem_euclid(3600.0))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1e3)
}

fn row(what: &str, times: &mut [Duration]) {
    let middle = median(times);
    let (least, most) = (times[0], times[times.len() - 1]);
    println!("{what:<32} median {:>6} ms   {} to {} ms", ms(middle), ms(least), ms(most));
}
