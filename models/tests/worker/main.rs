//! The worker process, as the daemon uses it, with the real tiny model.
//!
//! This binary is three things: the tests; the worker (`model-worker`, as the daemon's own binary would be); and a
//! stand-in for the daemon (`hold-a-worker`), which is killed to see what becomes of its worker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial, run};

mod answers;
mod bounds;
mod deaths;
mod keepsakes;
mod rig;

/// Lists a module's tests by name.
macro_rules! trials {
    ($($module:ident: $($test:ident),+ $(,)?;)+) => {
        vec![$($(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            $module::$test();
            Ok(())
        })),+),+]
    };
}

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("model-worker") => return archond_models::worker::run_worker(),
        Some("hold-a-worker") => return deaths::hold_a_worker(),
        _ => {}
    }
    let trials = trials![
        answers:
            a_greeting_is_answered,
            a_conversation_is_remembered,
            eight_answers_at_once,
            a_cancelled_answer_ends_within_a_step,
            an_answer_goes_on_where_it_was_left,
            equal_seeds_give_equal_answers,
            limits_are_kept,
            a_full_worker_refuses,
            nonsense_is_refused,
            strangers_cannot_forge_turns;
        bounds:
            the_kernel_confirms_the_sandbox,
            what_is_forbidden_is_refused,
            what_the_daemon_left_open_is_closed,
            by_hand_it_explains_itself;
        deaths:
            a_killed_worker_is_noticed_at_once,
            a_stopped_worker_can_be_killed,
            a_dropped_worker_is_gone,
            a_worker_dies_with_its_daemon,
            too_little_memory_is_said,
            damaged_files_are_unusable,
            an_abort_while_loading_is_told_with_its_words,
            absent_files_are_unusable,
            another_kind_of_model_is_unusable,
            impossible_orders_are_said,
            another_program_is_no_worker,
            a_worker_that_talks_nonsense_is_killed,
            an_absent_program_is_an_error;
        keepsakes:
            the_next_worker_goes_on_with_what_was_computed,
            another_context_or_file_finds_nothing,
            a_worker_holds_no_descriptor_of_it,
            it_does_not_count_as_the_workers_memory,
            memory_that_is_of_no_use_is_done_without;
    ];
    // Each test runs a worker or more that computes: more at once than cores would only wait for each other.
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(2));
    run(&arguments, trials).exit_code()
}
