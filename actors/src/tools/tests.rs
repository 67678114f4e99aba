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
    start_source(Arc::new(toys.clone())).await
}

async fn start_source(source: Arc<dyn crate::ports::ToolSource>) -> ToolsHandle {
    let handle = ToolsHandle::new(source);
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

/// A source that attends until it is told to break off.
struct Attending {
    begun: Mutex<u32>,
    breaks: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl crate::ports::ToolSource for Attending {
    fn name(&self) -> &str {
        "attending"
    }

    fn tools(&self) -> Vec<crate::domain::ToolSpec> {
        vec![]
    }

    async fn call(&self, _: ToolOrder) -> Outcome {
        Outcome::Done { text: "answered".into() }
    }

    async fn call_telling(&self, order: ToolOrder, progress: Sink<String>) -> Outcome {
        progress("half way".into());
        self.call(order).await
    }

    async fn attend(&self) {
        *self.begun.lock().unwrap() += 1;
        self.breaks.notified().await;
        panic!("as it was told to");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_source_attends_to_is_begun_with_its_actor_and_again_after_a_panic() {
    let source = Arc::new(Attending { begun: Mutex::new(0), breaks: tokio::sync::Notify::new() });
    let tools = start_source(source.clone()).await;
    until(|| *source.begun.lock().unwrap() == 1).await;
    source.breaks.notify_one();
    for _ in 0..100 {
        // The end is told before the delay of the restart begins.
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    until(|| *source.begun.lock().unwrap() == 2).await;
    let ((done, outcomes), progress) = (told(), Arc::new(Mutex::new(Vec::new())));
    let heard = progress.clone();
    let _call =
        tools.call_telling(order("any"), &done, Arc::new(move |text| heard.lock().unwrap().push(text)));
    until(|| outcomes.lock().unwrap().len() == 1).await;
    assert_eq!(*outcomes.lock().unwrap(), [Outcome::Done { text: "answered".into() }]);
    assert_eq!(*progress.lock().unwrap(), ["half way"]);
}

#[tokio::test]
async fn a_source_is_had_as_a_whole_behind_the_tools_that_are_named() {
    let toys = |tools| ToolsHandle::new(Arc::new(ToyTools::new(tools)));
    let sources = [toys(&[("b", Risk::Read), ("a", Risk::Read), ("c", Risk::Read)])];
    let names = |tools: &[&str], wanted: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let policy = crate::domain::ToolPolicy {
            tools: owned(tools),
            sources: owned(wanted),
            ..crate::domain::ToolPolicy::default()
        };
        let kit = ToolKit::new(&sources, Arc::new(policy));
        kit.tools().iter().map(|tool| tool.spec.tool.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["c"], &[]), ["c"]);
    assert_eq!(names(&["c"], &["toys"]), ["c", "b", "a"]);
    assert_eq!(names(&[], &["others"]), [""; 0]);
}
