//! The owner is asked in a chat of his own about the turns of those who may not say yes.
use super::*;
use crate::domain::{InboundMessage, Permission, Question, Risk, ToolPolicy, TurnEvent};
use crate::testkit::{ToyTools, message};

impl World {
    /// Ezra with a tool that needs a yes, and an owner and a user who write to him.
    async fn asking(toys: &ToyTools, owners: &[&str]) -> Self {
        let owners: Vec<_> = owners.iter().map(|owner| owner.parse().unwrap()).collect();
        let change = |spec: ArchonSpec| {
            let tools = ToolPolicy {
                tools: vec!["write".into()],
                permissions: [Permission::Ask; 5],
                ..ToolPolicy::default()
            };
            let groups = vec![GroupAccess { id: "-100".parse().unwrap(), everyone: false }];
            let open = AccessPolicy { mode: AccessMode::Open, owners, groups, ..AccessPolicy::default() };
            let access = spec.channels.iter().map(|channel| (channel.clone(), open.clone())).collect();
            let channels = spec.channels.into_iter().chain(["api".parse().unwrap()]).collect();
            ArchonSpec { tools: Arc::new(tools), access, channels, ..spec }
        };
        let tools = Arc::new(toys.clone());
        Self::with_tools(FakePlatform::new(), Arc::new(MemStore::new()), tools, change).await
    }

    /// What owners were asked in chats of their own so far.
    fn asked(&self) -> Vec<Question> {
        let questions = self.platform.shown().into_iter().filter_map(|(_, shown)| match shown {
            Shown::Asked(question) => Some(question),
            _ => None,
        });
        questions.collect()
    }

    async fn asked_of(&self, count: usize) -> Question {
        self.until(|| self.asked().len() >= count).await;
        self.asked().remove(count - 1)
    }

    /// Says something over the API; the answer.
    async fn over_the_api(&self, text: &str) -> String {
        let channel = "api".parse().unwrap();
        let said = InboundMessage { channel, ..message("ezra", "program", "api-1", text).unwrap() };
        let mut observer = self.house.observers().observe(said.message_key());
        self.house.submit(said).await.unwrap();
        loop {
            match observer.next().await {
                Some(TurnEvent::Ended { answer }) => return answer.text,
                Some(_) => {}
                None => panic!("the observer was replaced"),
            }
        }
    }

    /// The answer to a message, once it was delivered.
    async fn answer(&self, key: &str) -> String {
        let of = || self.platform.seen().into_iter().find(|seen| seen.key == key);
        self.until(|| of().is_some()).await;
        of().unwrap().text
    }
}

fn toys() -> ToyTools {
    ToyTools::new(&[("write", Risk::Write)])
}

#[tokio::test(start_paused = true)]
async fn an_owner_says_yes_in_his_own_chat_to_what_a_user_wants() {
    let toys = toys();
    let world = World::asking(&toys, &["7"]).await;
    world.write("1", "8", "call write");
    let question = world.asked_of(1).await;
    assert_eq!(question.elsewhere, Some("ezra/double/8".parse().unwrap()));
    assert_eq!((question.tool.as_str(), question.shown.as_str()), ("write", "write {}"));
    assert!(question.opening().starts_with("double/8 wants something of me"), "{}", question.opening());

    world.write("2", "8", &question.answers()[0]);
    assert_eq!(world.answer("2").await, "Only my owner may decide that.");
    world.write("3", "7", "/approve");
    let said = world.answer("3").await;
    assert!(said.contains("In other chats") && said.contains(&question.answers()[0]), "{said}");
    assert!(said.ends_with("\n│ write {}"), "{said}");
    world.write("4", "7", "/approve 99.1.1");
    assert!(world.answer("4").await.starts_with("Nothing waits for a yes to 99.1.1 any more."));
    assert!(toys.calls().is_empty());

    world.write("5", "7", &question.answers()[0]);
    assert_eq!(world.answer("5").await, "I will: write {}");
    assert_eq!(world.answer("1").await, "echo: write");
    assert_eq!(toys.calls(), ["write"]);
    world.write("6", "7", &question.answers()[0]);
    assert!(world.answer("6").await.starts_with("Nothing waits for a yes to"), "a yes counts once");
    assert_eq!(world.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_no_and_silence_are_both_no() {
    let toys = toys();
    let world = World::asking(&toys, &["7"]).await;
    world.write("1", "8", "call write");
    let question = world.asked_of(1).await;
    world.write("2", "7", &question.answers()[1]);
    assert_eq!(world.answer("2").await, "I will not: write {}");
    world.answer("1").await;
    world.write("3", "8", "call write");
    let second = world.asked_of(2).await;
    assert_ne!(second.call, question.call, "a name is never given twice");
    world.answer("3").await;
    assert!(toys.calls().is_empty(), "nobody said yes");
    let outcomes = world.house.memory().turns(&"ezra/double/8/main".parse().unwrap(), 0, 9).await.unwrap();
    let told: Vec<String> = outcomes
        .iter()
        .flat_map(|turn| &turn.steps)
        .flat_map(|step| &step.calls)
        .map(|record| format!("{:?}", record.outcome))
        .collect();
    assert!(told[0].contains("the owner said no") && told[1].contains("did not answer in time"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn where_no_owner_has_a_chat_it_is_no_at_once() {
    let toys = toys();
    let world = World::asking(&toys, &[]).await;
    let began = Instant::now();
    world.write("1", "8", "call write");
    world.answer("1").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(toys.calls().is_empty() && world.asked().is_empty());

    let paired = "ezra/double/9".parse().unwrap();
    let (memory, now) = (world.house.memory(), StoppedClock.now_unix_ms());
    memory.offer_code(paired, CodeHash([7; 32]), now).await.unwrap();
    memory.approve_code(CodeHash([7; 32]), Tier::Owner, now).await.unwrap();
    world.write("2", "8", "call write");
    let question = world.asked_of(1).await;
    world.write("3", "9", &question.answers()[0]);
    assert_eq!(world.answer("3").await, "I will: write {}", "one who was paired as an owner is one");
    world.answer("2").await;
    assert_eq!(toys.calls(), ["write"]);
}

#[tokio::test(start_paused = true)]
async fn the_house_lists_what_waits_and_takes_a_yes_from_its_machine() {
    let toys = toys();
    let world = World::asking(&toys, &["7"]).await;
    world.write("1", "8", "call write");
    world.write("2", "7", "call write");
    world.asked_of(2).await;
    let asked = world.house.asked().await;
    let [(others, call), (own, _)] = asked.as_slice() else { panic!("{asked:?}") };
    let of = |session: &crate::domain::SessionKey| session.peer.to_string();
    let (user, _) = if of(others) == "8" { (call, own) } else { (&asked[1].1, others) };
    assert_eq!(world.house.decide(&user.call, crate::session::Decision::Once).await.unwrap(), "write {}");
    assert_eq!(world.answer("1").await, "echo: write");
    let gone = world.house.decide(&user.call, crate::session::Decision::Once).await.unwrap_err();
    assert!(gone.to_string().contains("archond approvals"), "{gone}");
    world.write("3", "7", "/deny");
    assert_eq!(world.answer("3").await, "I will not: write {}");
    world.answer("2").await;
    assert_eq!(toys.calls(), ["write"]);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_told_has_not_been_asked() {
    let toys = toys();
    let world = World::asking(&toys, &["7"]).await;
    let began = Instant::now();
    world.platform.close("chat-7", Some(ChannelFault::Refused { reason: "he never wrote".into() }));
    world.write("1", "8", "call write");
    world.answer("1").await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    world.platform.close("chat-7", Some(ChannelFault::transient("gone")));
    world.write("2", "8", "call write");
    world.answer("2").await;
    let took = began.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_secs(60), "tried again: {took:?}");
    assert!(toys.calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_yes_by_name_comes_from_a_private_chat_and_counts_for_no_longer_than_the_session() {
    let toys = toys();
    let world = World::asking(&toys, &["7"]).await;
    world.write("1", "8", "call write");
    let question = world.asked_of(1).await;
    let [yes, _] = question.answers();
    let group = Inbound { group: Some("-100".parse().unwrap()), ..inbound("2", "7", &yes).unwrap() };
    world.platform.write(group);
    assert_eq!(world.answer("2").await, "That is to be said where you and I are alone.");
    // A program speaks for whoever reaches the API.
    let api = world.over_the_api(&yes).await;
    assert_eq!(api, "That is to be said where you and I are alone.");
    world.write("3", "7", &yes.replace("/approve", "/approve always"));
    assert!(world.answer("3").await.contains("nothing was decided"));
    assert!(toys.calls().is_empty());
    world.write("4", "7", &yes.replace("/approve", "/approve session"));
    world.answer("1").await;
    world.write("5", "8", "call write");
    world.answer("5").await;
    assert_eq!((toys.calls().len(), world.asked().len()), (2, 1), "its like too, for the session");
}

#[tokio::test(start_paused = true)]
async fn what_one_owner_is_asked_himself_is_nothing_for_another() {
    let toys = toys();
    let world = World::asking(&toys, &["7", "9"]).await;
    world.write("1", "9", "call write");
    world.asked_of(1).await;
    let call = world.house.asked().await.remove(0).1.call;
    world.write("2", "7", &format!("/approve {call}"));
    assert_eq!(world.answer("2").await, format!("Nothing waits for a yes to {call} any more."));
    world.write("3", "7", "/approve");
    assert_eq!(world.answer("3").await, "I have not asked you for anything.");
    world.write("4", "9", &format!("/approve {call}"));
    assert_eq!(world.answer("4").await, "I will: write {}");
    world.answer("1").await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_at_a_terminal_is_asked_as_long_as_he_looks() {
    let toys = toys();
    let world = World::asking(&toys, &[]).await;
    world.house.owner_watches(&"ezra".parse().unwrap());
    world.write("1", "8", "call write");
    let began = Instant::now();
    while world.house.asked().await.is_empty() {
        assert!(began.elapsed() < PATIENCE);
        pass(Duration::from_millis(10)).await;
    }
    let (_, asked) = world.house.asked().await.remove(0);
    assert!(asked.of_user);
    world.house.decide(&asked.call, crate::session::Decision::Once).await.unwrap();
    assert_eq!(world.answer("1").await, "echo: write");
    pass(crate::channel::WATCH_MAX).await;
    world.write("2", "8", "call write");
    world.answer("2").await;
    assert_eq!(toys.calls().len(), 1, "he has left");
}

#[tokio::test(start_paused = true)]
async fn a_user_may_talk_and_not_decide() {
    let world = World::new().await;
    for (key, peer, said) in [("1", "7", "Nothing is waiting"), ("2", "8", "Only my owner may decide that.")]
    {
        world.write(key, peer, "/approve");
        world.until(|| world.platform.seen().iter().any(|seen| seen.key == key)).await;
        let seen = world.platform.seen().into_iter().find(|seen| seen.key == key).unwrap();
        assert_eq!(peer == "8", seen.text == said, "{seen:?}");
    }
}
