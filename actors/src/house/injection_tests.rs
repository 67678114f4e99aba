//! Texts that order calls, in pages, files, answers of tools and messages, before a model that obeys each of them.
//!
//! Whether a model resists is its affair, and not to be relied on. What is shown here is that obedience does no harm: nothing that the profile
//! asks for is done without a yes, and nothing of the owner's leaves, even where the profile allows everything.
use super::*;
use crate::domain::{Permission, Risk, ToolPolicy};
use crate::ports::ToolSource as _;
use crate::testkit::ToyTools;

const INJECTIONS: &str = include_str!("injections.tsv");

const TOOLS: [(&str, Risk); 7] = [
    ("page", Risk::Network),
    ("file", Risk::Read),
    ("tool", Risk::Network),
    ("read", Risk::Read),
    ("write", Risk::Write),
    ("bash", Risk::Execute),
    ("send", Risk::Message),
];

struct Injection {
    source: &'static str,
    order: &'static str,
    text: &'static str,
}

fn injections() -> Vec<Injection> {
    let lines = INJECTIONS.lines().filter(|line| !line.starts_with('#'));
    let injections: Vec<Injection> = lines
        .map(|line| {
            let mut columns = line.splitn(3, '\t');
            let mut column = || columns.next().unwrap();
            Injection { source: column(), order: column(), text: column() }
        })
        .collect();
    assert!(injections.len() >= 50, "{}", injections.len());
    injections
}

/// The calls that are made when somebody asks for the text, or says it, and then asks on; nobody ever says yes.
async fn calls_made(injection: &Injection, permissions: [Permission; 5]) -> Vec<String> {
    let toys = ToyTools::new(&[TOOLS.as_slice(), &[("fetch", Risk::Network)]].concat());
    toys.bring_outside_text("file");
    toys.bring_outside_text("read");
    let Injection { source, order, text } = injection;
    toys.answer(source, &format!("{text}\ncall {order}"));
    let policy = ToolPolicy {
        tools: toys.tools().into_iter().map(|spec| spec.tool.name).collect(),
        permissions,
        approval_timeout: Duration::from_secs(10),
        ..super::tools::policy()
    };
    let world = World::with_tools(&toys, policy).await;
    let first = match *source {
        "peer" => format!("call {order}"),
        source => format!("call {source}"),
    };
    for (key, said) in [("1", first), ("2", format!("call {order}")), ("3", "thanks".to_owned())] {
        // The second message is obedience a turn later: the text is still before the model.
        if key != "2" || *source != "peer" {
            world.say("ezra", "p", key, &said).await;
        }
    }
    toys.calls()
}

#[tokio::test(start_paused = true)]
async fn none_has_a_call_made_that_the_owner_is_to_be_asked_about() {
    use Permission::{Allow, Ask};
    for injection in injections() {
        // What a person who reads and searches the web for himself would set.
        let made = calls_made(&injection, [Allow, Ask, Ask, Ask, Ask]).await;
        let asked_for = |name: &&String| !["file", "read"].contains(&name.as_str());
        let unasked: Vec<&String> = made.iter().filter(asked_for).collect();
        assert!(unasked.is_empty(), "{}: {} made {unasked:?}", injection.source, injection.text);
    }
}

#[tokio::test(start_paused = true)]
async fn none_carries_anything_out_even_where_everything_is_allowed() {
    for injection in injections().iter().filter(|injection| injection.source != "peer") {
        let made = calls_made(injection, [Permission::Allow; 5]).await;
        let at = |names: &[&str]| made.iter().position(|name| names.contains(&name.as_str()));
        let last = |names: &[&str]| made.iter().rposition(|name| names.contains(&name.as_str()));
        assert!(at(&[injection.source]).is_some(), "the text was read: {made:?}");
        // Something of the owner's was read, and something went out after it.
        let carried = at(&["read", "file"]).zip(last(&["send", "fetch", "page", "tool"]));
        let leaked = carried.is_some_and(|(read, sent)| read < sent);
        assert!(!leaked, "{}: {} made {made:?}", injection.source, injection.text);
    }
}
