//! A source's actor: whatever happens to a call, whoever asked is told once.
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::domain::{Outcome, Risk, ToolCall, ToolOrder};
use crate::ports::Sink;
use crate::supervision::{
    ChildSpec, Exceeded, Intensity, Strategy, SupervisorSpec, spawn_supervisor, start_fn,
};
use crate::testkit::ToyTools;

fn order(name: &str) -> ToolOrder {
    ToolOrder {
        archon: "ezra".parse().unwrap(),
        session: "ezra/cli/p/main".parse().unwrap(),
        call: ToolCall { id: "1".into(), name: name.into(), arguments: "{}".into() },
        time_max: Duration::from_secs(10),
    }
}

async fn started(toys: &ToyTools) -> ToolsHandle {
    let handle = ToolsHandle::new(Arc::new(toys.clone()));
    let child = handle.clone();
    let start = start_fn(move |supervisor| {
        let child = child.clone();
        async move { child.spawn(supervisor).await }
    });
    let spec = SupervisorSpec {
        name: "tools".into(),
        strategy: Strategy::OneForOne,
        intensity: Intensity { restarts_max: 3, period: Duration::from_secs(60) },
        exceeded: Exceeded::GiveUp,
        count_temporary: false,
        children: vec![ChildSpec::new("toys", start)],
        report: Arc::new(|_| {}),
    };
    spawn_supervisor(spec, None).await.unwrap();
    handle
}

/// Where outcomes come to, and what has come.
fn told() -> (Sink<Outcome>, Arc<Mutex<Vec<Outcome>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = told.clone();
    (Arc::new(move |outcome| sink.lock().unwrap().push(outcome)), told)
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if what() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it did not happen");
}

#[tokio::test(start_paused = true)]
async fn calls_run_side_by_side_and_each_is_told_once() {
    let toys = ToyTools::new(&[("hang", Risk::Read), ("clock", Risk::Read)]);
    let tools = started(&toys).await;
    let ((slow, slow_told), (quick, quick_told)) = (told(), told());
    let _slow = tools.call(order("hang"), &slow);
    let _quick = tools.call(order("clock"), &quick);
    until(|| quick_told.lock().unwrap().len() == 1).await;
    assert!(slow_told.lock().unwrap().is_empty(), "it hangs");
    toys.release();
    until(|| slow_told.lock().unwrap().len() == 1).await;
    assert_eq!(*slow_told.lock().unwrap(), [Outcome::Done { text: "hang".into() }]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_or_takes_too_long_is_unknown() {
    let toys = ToyTools::new(&[("hang", Risk::Write)]);
    let tools = started(&toys).await;
    let (sink, outcomes) = told();
    let given_up = tools.call(order("hang"), &sink);
    until(|| toys.calls().len() == 1).await;
    drop(given_up);
    until(|| outcomes.lock().unwrap().len() == 1).await;
    let _late = tools.call(order("hang"), &sink);
    until(|| toys.calls().len() == 2).await;
    tokio::time::advance(Duration::from_secs(16)).await;
    until(|| outcomes.lock().unwrap().len() == 2).await;
    assert_eq!(*outcomes.lock().unwrap(), [Outcome::Unknown, Outcome::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_does_not_run_begins_nothing_and_says_so() {
    let toys = ToyTools::new(&[("clock", Risk::Read)]);
    let (sink, outcomes) = told();
    let _call = ToolsHandle::new(Arc::new(toys.clone())).call(order("clock"), &sink);
    assert!(
        matches!(&outcomes.lock().unwrap()[..], [Outcome::Failed { text }] if text.starts_with("it was not begun"))
    );
    assert!(toys.calls().is_empty());
}
