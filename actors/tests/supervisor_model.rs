//! The supervisor against an ideal one, through random lives: first its policy alone, then real actors in paused time.
//!
//! Read `words` and `ideal` first (what must happen), then `story` (what may be met), then `pure` and `real` (who is held to it).
//! `PROPTEST_CASES` sets how many lives are lived.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "supervisor_model/ideal.rs"]
mod ideal;
#[path = "supervisor_model/pure.rs"]
mod pure;
#[path = "supervisor_model/real.rs"]
mod real;
#[path = "supervisor_model/record.rs"]
mod record;
#[path = "supervisor_model/story.rs"]
mod story;
#[path = "supervisor_model/words.rs"]
mod words;

use proptest::prelude::ProptestConfig;
use proptest_state_machine::prop_state_machine;

use pure::Bench;
use real::House;

/// So many lives unless `PROPTEST_CASES` says otherwise. A failure is printed as a story that can be told again by hand.
fn lives(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|asked| asked.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

prop_state_machine! {
    #![proptest_config(lives(2000))]
    #[test]
    fn the_policy_does_what_an_ideal_supervisor_does(sequential 1..80 => Bench);
}

prop_state_machine! {
    #![proptest_config(lives(200))]
    #[test]
    fn the_supervisor_does_what_an_ideal_one_does(sequential 1..60 => House);
}
