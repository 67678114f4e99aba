//! A conversation of three hundred turns with a real model that calls a real tool in each, in a window that holds a few dozen of them: it is
//! summarised again and again, never longer than the window, and what was read before is not read again.
use archond::admin::protocol::{CallEnd, Op, Reply, TurnsView};

use crate::kit::TestHouse;

const TURNS: usize = 300;
/// The window of the tiny model, which is smaller than the profile's.
const WINDOW: u32 = 4096;

fn kept(house: &TestHouse, session: &str) -> TurnsView {
    let mut whole: Option<TurnsView> = None;
    loop {
        let from = whole.as_ref().map_or(0, |whole| whole.turns.len() as u64);
        let op = Op::Turns { session: session.to_owned(), from };
        let Reply::Turns(more) = house.client().ask(op).unwrap() else { panic!("no turns of {session}") };
        if more.turns.is_empty() {
            return whole.expect("a session");
        }
        match &mut whole {
            Some(whole) => whole.turns.extend(more.turns),
            None => whole = Some(more),
        }
    }
}

#[test]
fn three_hundred_turns_with_calls_stay_within_the_window_and_are_mostly_not_read_again() {
    let house = TestHouse::new();
    house.write_profile("ezra", r#"tools: ["read_file"], context: (tokens_max: 8192),"#);
    let workspace = house.path().join("state/archons/ezra/workspace");
    std::fs::create_dir_all(&workspace).unwrap();
    std::fs::write(workspace.join("notes.txt"), "milk and honey\n").unwrap();
    let _daemon = house.start(&["ezra"]);
    let mut client = house.client();
    let mut session = String::new();
    for turn in 0..TURNS {
        let answer = client.chat("ezra", &turn.to_string(), "main", "read the file notes.txt");
        assert_eq!(answer.kind, "answer", "turn {turn}: {}", answer.text);
        session = answer.session;
    }
    let TurnsView { session, summary, turns } = kept(&house, &session);
    assert_eq!(turns.len(), TURNS, "the transcript is whole");
    assert!(summary.is_some() && session.summarised > 100, "{session:?}");
    let longest = turns.iter().map(|turn| turn.prompt_tokens + turn.answer_tokens).max().unwrap();
    assert!(longest <= WINDOW, "{longest}");
    let shortened = turns.windows(2).filter(|two| two[1].prompt_tokens < two[0].prompt_tokens).count();
    assert!(shortened >= 3, "it was full {shortened} times");
    let (read, known) = turns.iter().fold((0, 0), |(read, known), turn| {
        (read + u64::from(turn.prompt_tokens), known + u64::from(turn.cached_tokens))
    });
    assert!(known * 100 >= read * 95, "{known} of {read} were known");
    let done = turns.iter().filter(|turn| turn.calls.iter().any(|call| call.ended == CallEnd::Done)).count();
    assert_eq!(done, TURNS, "each turn read the file");
    eprintln!(
        "{TURNS} turns: longest {longest}, {shortened} times shortened, {known} of {read} tokens known"
    );
}
