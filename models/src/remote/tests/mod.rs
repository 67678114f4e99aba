//! A worker whose server does everything that a real one does not do on demand: it breaks off, redirects, babbles, hangs and dies.
//! What a real server does is tested with a whole daemon on either side.
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::json;

mod server;

use server::{Reply, ScriptedServer, chunk, listing, stream};

use super::{Begun, Endpoint, RemoteSpec, RemoteWorker};
use crate::chat::{AnswerForm, AnswerPart, Conversation};
use crate::download::Token;
use crate::engine::{Finding, Finish, Inquiry, Prompt, Refusal, Request, SamplingParams, Stretch};
use crate::worker::Event;

/// Far above anything but a hang.
const PATIENCE: Duration = Duration::from_secs(60);

fn request(id: u64) -> Request {
    Request {
        id,
        prompt: Prompt::Chat(Conversation::of_texts("You are Ezra.", ["hello"])),
        form: AnswerForm::default(),
        sampling: SamplingParams::GREEDY,
        resume: Vec::new(),
        answer_tokens_max: 64,
        context_tokens_max: 4096,
    }
}

/// A worker of a server that answers with this script, and its events.
struct Rig {
    server: ScriptedServer,
    runtime: tokio::runtime::Runtime,
    worker: Option<RemoteWorker>,
    events: Receiver<Event>,
    begun: Begun,
}

impl Rig {
    fn new(script: impl Fn(&server::Asked) -> Reply + Send + Sync + 'static) -> Self {
        let server = ScriptedServer::start(script);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (_, events) = channel();
        let mut rig = Self { server, runtime, worker: None, events, begun: Begun::default() };
        rig.launch();
        rig
    }

    fn launch(&mut self) {
        let spec = RemoteSpec {
            endpoint: Endpoint::parse(&self.server.url(), &[].into()).unwrap(),
            key: Token::new("sesame"),
            model: None,
            slots: None,
            context_tokens: None,
        };
        let (tell, events) = channel();
        let _within = self.runtime.enter();
        let told =
            RemoteWorker::launch(&spec, &self.begun, move |event| tell.send(event).unwrap_or_default());
        (self.worker, self.events) = (Some(told.unwrap()), events);
    }

    fn ready(script: impl Fn(&server::Asked) -> Reply + Send + Sync + 'static) -> Self {
        let rig = Self::new(script);
        let first = rig.next();
        assert!(matches!(first, Event::Ready { .. }), "{first:?}");
        rig
    }

    fn next(&self) -> Event {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn send(&self, request: Request) {
        assert!(self.worker.as_ref().unwrap().send(request));
    }

    /// The words of an answer, and the event that ended it.
    fn answer(&self) -> (String, Event) {
        let mut words = String::new();
        loop {
            match self.next() {
                Event::Token { chosen, .. } => words += &chosen.words(),
                Event::Prefill { .. } | Event::Ready { .. } => {}
                end => return (words, end),
            }
        }
    }
}

/// A server that is well, but for how it answers chats.
fn well(
    chat: impl Fn(&server::Asked) -> Reply + Send + Sync + 'static,
) -> impl Fn(&server::Asked) -> Reply + Send + Sync {
    move |asked| match asked.path.as_str() {
        "/v1/models" => listing(&["gemma"]),
        "/v1/chat/completions/input_tokens" => Reply::json(200, &json!({ "input_tokens": 30 })),
        "/v1/chat/completions" => chat(asked),
        _ => Reply::json(404, &json!({ "error": { "message": "no such page" } })),
    }
}

#[test]
fn a_server_says_what_it_has_and_answers() {
    let rig = Rig::new(|asked| match asked.path.as_str() {
        "/v1/models" => Reply::json(200, &json!({ "data": [{ "id": "gemma", "max_model_len": 9000 }] })),
        "/props" => {
            let settings = json!({ "n_ctx": 5000 });
            Reply::json(200, &json!({ "total_slots": 3, "default_generation_settings": settings }))
        }
        _ => well(|_| stream(&[chunk("Hello, "), chunk("Ezra."), server::end("stop", 30, 4)]))(asked),
    });
    assert_eq!(rig.next(), Event::Ready { slots: 3, context_tokens: 5000 });
    rig.send(request(7));
    assert_eq!(rig.next(), Event::Prefill { id: 7, done: 30, total: 30 });
    let (words, end) = rig.answer();
    assert_eq!(words, "Hello, Ezra.");
    let Event::Finished { id: 7, reason: Finish::EndOfTurn, usage } = end else { panic!("{end:?}") };
    assert_eq!((usage.prompt_tokens, usage.answer_tokens), (30, 4));
    let asked = rig.server.asked();
    assert!(asked.iter().all(|asked| asked.head.contains("authorization: Bearer sesame")), "{asked:?}");
    let chat = asked.iter().find(|asked| asked.path == "/v1/chat/completions").unwrap();
    assert_eq!((&chat.body["model"], &chat.body["max_tokens"]), (&json!("gemma"), &json!(64)));
}

#[test]
fn an_answer_that_breaks_off_is_gone_on_with_by_the_next_worker() {
    let mut rig =
        Rig::ready(well(|asked| match asked.body["messages"].as_array().unwrap().last().unwrap() {
            last if last["role"] == "assistant" => {
                assert_eq!(last["content"], "Hello, ");
                stream(&[chunk("Ezra."), server::end("stop", 33, 2)])
            }
            _ => stream(&[chunk("Hello, ")]),
        }));
    rig.send(request(7));
    let (words, end) = rig.answer();
    assert_eq!(words, "Hello, ");
    let Event::Exited { detail, unusable: false } = end else { panic!("{end:?}") };
    assert!(detail.contains("in the middle of an answer"), "{detail}");
    assert!(!rig.worker.as_ref().unwrap().send(request(8)), "it is gone");
    rig.launch();
    assert!(matches!(rig.next(), Event::Ready { .. }));
    rig.send(Request { resume: vec![0], ..request(7) });
    let (words, end) = rig.answer();
    assert_eq!(words, "Ezra.");
    let Event::Finished { usage, .. } = end else { panic!("{end:?}") };
    assert_eq!(usage.answer_tokens, 3, "with the one from before the break");
    // What nobody has begun cannot be gone on with.
    rig.send(Request { resume: vec![0, 1], ..request(9) });
    let (_, end) = rig.answer();
    assert!(matches!(end, Event::Refused { refusal: Refusal::Unable { .. }, .. }), "{end:?}");
}

#[test]
fn a_prompt_that_does_not_fit_is_not_sent() {
    let rig = Rig::ready(well(|_| panic!("it is not to be asked")));
    rig.send(Request { context_tokens_max: 80, ..request(7) });
    let refusal = Refusal::PromptTooLong { tokens: 30, tokens_max: 16 };
    assert_eq!(rig.next(), Event::Refused { id: 7, refusal });
}

#[test]
fn an_answer_gets_no_more_room_than_there_is() {
    let rig = Rig::ready(well(|_| stream(&[chunk("a"), server::end("length", 30, 1)])));
    rig.send(Request { context_tokens_max: 100, answer_tokens_max: 1000, ..request(7) });
    assert!(matches!(rig.answer().1, Event::Finished { reason: Finish::Length, .. }));
    let asked = rig.server.asked();
    let chat = asked.iter().find(|asked| asked.path == "/v1/chat/completions").unwrap();
    assert_eq!(chat.body["max_tokens"], 70);
}

#[test]
fn what_one_request_is_refused_does_not_touch_the_others() {
    let rig = Rig::ready(well(|asked| match asked.body["max_tokens"].as_u64() {
        Some(1) => Reply::json(400, &json!({ "error": { "message": "no such field" } })),
        Some(2) => Reply::json(500, &json!({ "error": { "message": "out of memory" } })),
        Some(3) => Reply::json(429, &json!({})),
        Some(4) => stream(&["data: {\"error\":{\"message\":\"it failed\"}}\n\n".to_owned()]),
        Some(5) => stream(&["data: <html>\n\n".to_owned()]),
        _ => stream(&[chunk("well"), server::end("stop", 30, 1)]),
    }));
    let refused = |tokens: u32| {
        rig.send(Request { answer_tokens_max: tokens, ..request(tokens.into()) });
        match rig.answer().1 {
            Event::Refused { refusal, .. } => refusal,
            end => panic!("{end:?}"),
        }
    };
    assert!(matches!(refused(1), Refusal::Engine { detail } if detail.ends_with("no such field")));
    assert!(matches!(refused(2), Refusal::Unable { detail } if detail.ends_with("out of memory")));
    assert_eq!(refused(3), Refusal::NoFreeSlot);
    assert!(matches!(refused(4), Refusal::Unable { detail } if detail.ends_with("it failed")));
    assert!(matches!(refused(5), Refusal::Unable { .. }));
    rig.send(request(9));
    assert_eq!(rig.answer().0, "well");
}

#[test]
fn who_cancels_is_not_kept_waiting() {
    let rig = Rig::ready(well(|_| Reply::Hang(chunk("once "))));
    rig.send(request(7));
    while !matches!(rig.next(), Event::Token { .. }) {}
    rig.worker.as_ref().unwrap().cancel(7);
    assert!(matches!(rig.next(), Event::Finished { id: 7, reason: Finish::Cancelled, .. }));
    rig.server.connection_closed();
}

#[test]
fn servers_that_will_not_do_are_told_apart_from_those_that_are_down() {
    let end = |script: fn(&server::Asked) -> Reply| match Rig::new(script).next() {
        Event::Exited { detail, unusable } => (detail, unusable),
        event => panic!("{event:?}"),
    };
    let check = |script, words: &str, unusable: bool| {
        let (detail, is) = end(script);
        assert!(detail.contains(words) && is == unusable, "{detail}, unusable: {is}");
    };
    check(
        |_| listing(&["a", "b"]),
        "was to have one model, or `name` in its settings; its models: a, b",
        true,
    );
    check(|_| listing(&[]), "its models: none", true);
    check(
        |_| Reply::json(401, &json!({ "error": "no" })),
        "401 Unauthorized: no; `key` in its settings",
        true,
    );
    check(
        |_| {
            Reply::Raw(
                b"HTTP/1.1 302 Found\r\nLocation: http://8.8.8.8/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            )
        },
        "redirections are not followed",
        true,
    );
    check(|_| Reply::json(200, &json!({ "hello": "world" })), "is no OpenAI-compatible server", true);
    check(|_| Reply::json(503, &json!({ "error": "Loading model" })), "it may be loading its model", false);
    check(|_| Reply::Raw(Vec::new()), "http://127.0.0.1:", false);
    check(|_| Reply::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), "http://127.0.0.1:", false);
}

#[test]
fn a_stream_without_an_end_is_cut() {
    let rig = Rig::ready(well(|_| Reply::Endless));
    rig.send(request(7));
    let (_, end) = rig.answer();
    assert!(
        matches!(&end, Event::Exited { detail, .. } if detail.contains("an event has more than")),
        "{end:?}"
    );
}

#[test]
fn vectors_come_in_the_order_of_their_passages_and_have_length_one() {
    let rig = Rig::ready(|asked| match asked.path.as_str() {
        "/v1/embeddings" => {
            assert_eq!(asked.body["input"], json!(["one", "two"]));
            let row = |index: u32, vector: [f32; 2]| json!({ "index": index, "embedding": vector });
            let data = [row(1, [0.0, 2.0]), row(0, [3.0, 4.0])];
            Reply::json(200, &json!({ "data": data, "usage": { "prompt_tokens": 6 } }))
        }
        _ => well(|_| Reply::json(404, &json!({})))(asked),
    });
    let passages = ["one", "two"].map(|text| vec![Stretch::Text(text.to_owned())]).to_vec();
    rig.send(Request { prompt: Prompt::Inquiry(Inquiry::Vectors { passages }), ..request(7) });
    let found = |vector: &[f32]| Event::Found { id: 7, finding: Finding::Vector(vector.to_vec()) };
    assert_eq!(rig.next(), found(&[0.6, 0.8]));
    assert_eq!(rig.next(), found(&[0.0, 1.0]));
    assert!(matches!(rig.next(), Event::Finished { id: 7, .. }));
}

#[test]
fn a_call_comes_whole_behind_the_words() {
    let call = json!({ "index": 0, "id": "c", "function": { "name": "clock", "arguments": "{}" } });
    let call = format!("data: {}\n\n", json!({ "choices": [{ "delta": { "tool_calls": [call] } }] }));
    let rig =
        Rig::ready(well(move |_| stream(&[chunk("wait"), call.clone(), server::end("tool_calls", 30, 9)])));
    rig.send(request(7));
    let mut parts = Vec::new();
    while let Event::Prefill { .. } | Event::Token { .. } = match rig.next() {
        Event::Token { chosen, id, token } => {
            parts.extend(chosen.parts.clone());
            Event::Token { chosen, id, token }
        }
        event => event,
    } {}
    let [AnswerPart::Text(words), AnswerPart::Call(call)] = parts.as_slice() else { panic!("{parts:?}") };
    assert_eq!((words.as_str(), call.name.as_str()), ("wait", "clock"));
}
