//! Pictures and recordings that come with messages, in the whole house on doubles: shown, shown again, forgone, and noted.
use super::*;
use crate::domain::{
    Brought, Content, Enclosure, EnclosureKind, Refusal, Route, RouteCondition, RouteRule, Senses, TurnRecord,
};
use crate::ports::MediaFault;
use crate::testkit::{FakeFault, FakeMedia};

const EYES: Senses = Senses { sees: true, hears: false };

struct Gallery {
    world: World,
    media: FakeMedia,
}

impl Gallery {
    async fn of(engine: FakeEngine) -> Self {
        let (store, media) = (Arc::new(MemStore::new()), FakeMedia::default());
        let world = World::whole(engine, Arc::new(NoTools), store, Arc::new(media.clone())).await;
        Self { world, media }
    }

    async fn new() -> Self {
        let gallery = Self::of(FakeEngine::new([model()])).await;
        gallery.world.start("ezra").await;
        gallery
    }

    fn picture(&self, number: u8) -> Enclosure {
        self.media.keep(EnclosureKind::Picture, number)
    }

    async fn show(&self, key: &str, text: &str, enclosures: &[Enclosure]) -> String {
        let mut message = message("ezra", "p", key, text).unwrap();
        message.waybill.enclosures = enclosures.to_vec();
        self.world.hand_in(message).await.text
    }

    /// What the model was told with the last request: the peer's words, and a word for each medium.
    fn told(&self) -> Vec<String> {
        let requests = self.world.engine.requests();
        told(&requests[requests.len() - 1].prompt)
    }

    async fn kept(&self) -> Vec<TurnRecord> {
        self.world.house.memory().turns(&"ezra/cli/p/main".parse().unwrap(), 0, 100).await.unwrap()
    }

    /// Lets the conversation leave memory.
    async fn rest(&self) {
        pass(Duration::from_secs(601)).await;
        assert!(self.world.house.sessions(&id("ezra")).await.unwrap().is_empty(), "it rests");
    }
}

fn told(prompt: &crate::domain::Prompt) -> Vec<String> {
    let user = prompt.turns().iter().filter(|turn| turn.role == crate::domain::ChatRole::User);
    let content = user.flat_map(|turn| &turn.content).map(|content| match content {
        Content::Text(text) => text.to_string(),
        Content::Image(bytes) => format!("picture {}", bytes[0]),
        Content::Audio(bytes) => format!("recording {}", bytes[0]),
    });
    content.collect()
}

#[tokio::test(start_paused = true)]
async fn a_picture_stands_before_its_words_in_its_turn_and_in_later_ones() {
    let gallery = Gallery::new().await;
    let (picture, voice) = (gallery.picture(1), gallery.media.keep(EnclosureKind::Recording, 2));
    assert_eq!(gallery.show("1", "see", &[picture.clone(), voice]).await, "echo: see");
    let first = gallery.world.engine.requests()[0].clone();
    assert!(first.form.media_if_able && first.prompt.has_media());
    assert_eq!(told(&first.prompt), ["picture 1", "recording 2", "see"]);
    let kept = gallery.kept().await[0].clone();
    assert_eq!((kept.brought.len(), &kept.brought[0]), (2, &Brought { enclosure: picture, fault: None }));
    assert_eq!((kept.usage.media_tokens, kept.usage.prompt_tokens), (20, 24), "they are counted");
    gallery.show("2", "and", &[]).await;
    assert_eq!(gallery.told(), ["picture 1", "recording 2", "see", "and"]);
    let second = gallery.world.engine.requests()[1].clone();
    assert_eq!(second.prompt.turns()[..1], first.prompt.turns()[..], "what was read is not read again");
    gallery.rest().await;
    gallery.show("3", "also", &[]).await;
    assert_eq!(gallery.told(), ["picture 1", "recording 2", "see", "and", "also"]);
    let context = gallery.show("4", "/context", &[]).await;
    assert!(context.contains("pictures and recordings") && context.contains(" 20\n"), "{context}");
}

#[tokio::test(start_paused = true)]
async fn a_picture_goes_with_the_turn_that_is_answered_again_and_with_the_one_that_is_summarised() {
    let gallery = Gallery::new().await;
    gallery.show("1", "see", &[gallery.picture(1)]).await;
    gallery.show("2", "/retry", &[]).await;
    assert_eq!(gallery.told(), ["picture 1", "see"]);
    assert_eq!((gallery.kept().await.len(), gallery.kept().await[0].brought.len()), (1, 1));
    gallery.show("3", "/compact", &[]).await;
    assert!(gallery.world.engine.requests().last().is_some_and(|request| !request.prompt.has_media()));
    gallery.show("4", "hm", &[]).await;
    assert_eq!(gallery.told(), ["hm"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_or_unfit_leaves_a_note() {
    let gallery = Gallery::new().await;
    let (gone, unfit) = (gallery.picture(1), gallery.picture(2));
    gallery.media.set(&unfit.id, MediaFault::Unfit { detail: "it is odd".into() });
    gallery.show("1", "see", &[gone.clone(), unfit]).await;
    let odd = "see\n[you cannot look into the picture: it is odd]";
    assert_eq!(gallery.told(), ["picture 1", odd]);
    gallery.media.set(&gone.id, MediaFault::Gone);
    gallery.rest().await;
    let reads = gallery.media.reads();
    gallery.show("2", "and", &[]).await;
    let both = "see\n[you cannot look into the picture: it is not kept any more]\n[you cannot look into the picture: it is odd]";
    assert_eq!(gallery.told(), [both, "and"]);
    assert_eq!(gallery.media.reads(), reads + 1, "what is unfit is not looked at again");
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_refuses_costs_no_answer_and_is_not_tried_again() {
    let gallery = Gallery::new().await;
    let (bad, good) = (gallery.picture(1), gallery.picture(2));
    let refusal = Refusal::Medium { id: bad.id.clone(), detail: "the PNG picture is damaged".into() };
    gallery.world.engine.fail_once(FakeFault::Refuses(refusal));
    assert!(gallery.show("1", "see", &[bad, good]).await.starts_with("echo: see"));
    let told = ["picture 2", "see\n[you cannot look into the picture: the PNG picture is damaged]"];
    assert_eq!(gallery.told(), told);
    gallery.rest().await;
    gallery.show("2", "and", &[]).await;
    assert_eq!(gallery.told(), [&told[..], &["and"]].concat());
    assert_eq!(gallery.world.engine.requests().len(), 3, "one was asked again");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_breaks_before_its_first_word_is_asked_again_without_media() {
    let gallery = Gallery::new().await;
    gallery.show("1", "see", &[gallery.picture(1)]).await;
    gallery.world.engine.fail_once(FakeFault::Dies { after_tokens: 0 });
    assert!(gallery.show("2", "more", &[gallery.picture(2)]).await.starts_with("echo: more"));
    let why = "[you cannot look into the picture: m broke over a picture or recording]";
    let told = [format!("see\n{why}"), format!("more\n{why}")];
    assert_eq!(gallery.told(), told);
    assert_eq!(gallery.world.engine.launches(&model()), 2);
    let faults: Vec<bool> = gallery.kept().await.iter().map(|turn| turn.brought[0].fault.is_some()).collect();
    assert_eq!(faults, [false, true], "what was shown before is tried again another day");
    gallery.rest().await;
    gallery.show("3", "hm", &[]).await;
    assert_eq!(gallery.told(), ["picture 1", "see", &told[1], "hm"]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_breaks_in_the_middle_of_an_answer_goes_on_with_the_picture() {
    let gallery = Gallery::new().await;
    gallery.world.engine.fail_once(FakeFault::Dies { after_tokens: 1 });
    assert_eq!(gallery.show("1", "see", &[gallery.picture(1)]).await, "echo: see");
    assert_eq!(gallery.told(), ["picture 1", "see"]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_sees_goes_before_one_that_does_not_and_says_why() {
    let (plain, seeing, ears) = (ModelId::new("plain").unwrap(), ModelId::new("seeing").unwrap(), model());
    let engine = FakeEngine::new([plain.clone(), seeing.clone(), ears.clone()]);
    engine.set_senses(&seeing, EYES);
    let gallery = Gallery::of(engine).await;
    let rule = RouteRule { when: RouteCondition::Audio, model: ears.clone() };
    let route = Route { default: plain.clone(), rules: vec![rule], fallback: vec![seeing.clone()] };
    let spec = ArchonSpec { route, ..archon_spec("ezra", &plain).unwrap() };
    gallery.world.house.start_archon(spec).await.unwrap();
    gallery.show("1", "hi", &[]).await;
    gallery.show("2", "see", &[gallery.picture(1)]).await;
    let status = gallery.show("3", "/status", &[]).await;
    let why = "the last answer came from seeing: no rule of the profile held, so its default; that names plain, but seeing looks at pictures";
    assert!(status.contains(why), "{status}");
    gallery.show("4", "and now?", &[]).await;
    gallery.show("5", "hear", &[gallery.media.keep(EnclosureKind::Recording, 2)]).await;
    let models: Vec<ModelId> = gallery.kept().await.into_iter().map(|turn| turn.model).collect();
    // The picture still stands in the prompt; and one takes as much as the other of what does.
    assert_eq!(models, [plain.clone(), seeing.clone(), seeing.clone(), seeing]);
    gallery.show("6", "/new", &[]).await;
    gallery.show("7", "hear", &[gallery.media.keep(EnclosureKind::Recording, 2)]).await;
    let status = gallery.show("8", "/status", &[]).await;
    assert!(status.contains("the last answer came from m: a recording came with the message"), "{status}");
}
