//! What is accepted of a worker, and what is not.
use super::*;
use crate::chat::AnswerForm;
use crate::engine::{Inquiry, Prompt, SamplingParams, Stretch};

fn ready() -> Conduct {
    let mut conduct = Conduct::new(2, 512);
    conduct.judge(FromWorker::Hello(Hello::own(), Landlock::Full)).unwrap();
    conduct.judge(FromWorker::Loading { percent: 100 }).unwrap();
    conduct
        .judge(FromWorker::Ready { slots: 2, context_tokens: 512, processor: "100% CPU".to_owned() })
        .unwrap();
    conduct
}

fn request(id: u64, answer_tokens_max: u32) -> Request {
    Request {
        id,
        prompt: Prompt::Text(String::new()),
        form: AnswerForm::default(),
        sampling: SamplingParams::GREEDY,
        resume: Vec::new(),
        answer_tokens_max,
        context_tokens_max: 100,
    }
}

/// A worker that has read the three tokens of a prompt.
fn answering(request: &Request) -> Conduct {
    let mut conduct = ready();
    conduct.begin(request);
    conduct.judge(prefill(request.id, 3, 3)).unwrap();
    conduct
}

fn said(text: String) -> Chosen {
    Chosen { parts: vec![AnswerPart::Text(text)], logprobs: None }
}

fn prefill(id: u64, done: u32, total: u32) -> FromWorker {
    FromWorker::Prefill { id, done, total }
}

fn token(id: u64) -> FromWorker {
    FromWorker::Token { id, token: 1, chosen: Chosen::default() }
}

fn finished(id: u64, prompt_tokens: u32, cached_tokens: u32, answer_tokens: u32) -> FromWorker {
    let usage = Usage { prompt_tokens, cached_tokens, answer_tokens, ..Usage::default() };
    FromWorker::Finished { id, reason: Finish::EndOfTurn, usage }
}

fn failed(detail: &str) -> FromWorker {
    FromWorker::Failed { detail: detail.to_owned(), unusable: true }
}

#[test]
fn an_orderly_life_is_accepted() {
    let mut conduct = ready();
    assert!(conduct.begin(&request(1, 2)));
    assert!(!conduct.begin(&request(1, 2)), "the id is in use");
    for message in [prefill(1, 0, 3), prefill(1, 3, 3), token(1), token(1), finished(1, 3, 0, 2)] {
        conduct.judge(message).unwrap();
    }
    let wanted = Accepted::LastWords { detail: "x".to_owned(), unusable: false };
    assert_eq!(conduct.judge(failed("x")), Ok(wanted), "a file that was loaded is not unusable");
}

#[test]
fn a_resumed_answer_counts_what_was_known() {
    let resumed = Request { resume: vec![1; 4], ..request(1, 5) };
    let mut conduct = answering(&resumed);
    conduct.judge(token(1)).unwrap();
    conduct.judge(finished(1, 3, 3, 5)).unwrap();
    let mut conduct = answering(&resumed);
    conduct.judge(token(1)).unwrap();
    check(conduct, token(1), "its token makes no sense: more tokens than were asked for");
    let mut conduct = ready();
    conduct.begin(&Request { resume: vec![1; 9], ..request(1, 5) });
    conduct.judge(finished(1, 3, 0, 9)).expect("more is known than is asked for: it ends at once");
}

#[test]
fn long_details_are_cut() {
    let long = "é".repeat(5000);
    let Ok(Accepted::LastWords { detail, .. }) = ready().judge(failed(&long)) else { panic!("last words") };
    assert_eq!(detail.len(), DETAIL_BYTES_MAX);
    let Ok(said) = ready().judge(failed("\x1b[2J\nx")) else { panic!("last words") };
    assert_eq!(said, Accepted::LastWords { detail: " [2J x".to_owned(), unusable: false });
    let mut conduct = ready();
    conduct.begin(&request(1, 1));
    let refused = FromWorker::Refused { id: 1, refusal: Refusal::Engine { detail: long } };
    let Ok(Accepted::Event(Event::Refused { refusal: Refusal::Engine { detail }, .. })) =
        conduct.judge(refused)
    else {
        panic!("refused")
    };
    assert_eq!(detail.len(), DETAIL_BYTES_MAX);
}

#[test]
fn what_computes_is_told_in_one_short_line() {
    assert_eq!(Conduct::new(2, 512).processor(), None);
    assert_eq!(ready().processor(), Some("100% CPU"));
    let mut hostile = Conduct::new(2, 512);
    hostile.judge(FromWorker::Hello(Hello::own(), Landlock::Full)).unwrap();
    let processor = "\x1b[2J\n".to_owned() + &"é".repeat(5000);
    hostile.judge(FromWorker::Ready { slots: 2, context_tokens: 512, processor }).unwrap();
    let told = hostile.processor().unwrap();
    assert!(told.starts_with(" [2J é") && told.len() <= PROCESSOR_BYTES_MAX, "{told}");
}

#[track_caller]
fn check(mut conduct: Conduct, message: FromWorker, wanted: &str) {
    assert_eq!(conduct.judge(message).unwrap_err().to_string(), wanted);
}

#[test]
fn disorder_is_named() {
    let fresh = || Conduct::new(2, 512);
    check(fresh(), FromWorker::Loading { percent: 1 }, "it said loading while it was starting");
    check(ready(), FromWorker::Hello(Hello::own(), Landlock::Full), "it said hello while it was ready");
    check(ready(), token(5), "it said token of request 5, which does not run");
    let other = Hello { protocol: 9, build: "x".to_owned() };
    let wanted = "it is `x` with protocol 9; restart the daemon, its binary was replaced";
    check(fresh(), FromWorker::Hello(other, Landlock::Full), wanted);

    let mut late = answering(&request(1, 9));
    late.judge(finished(1, 3, 0, 0)).unwrap();
    check(late, token(1), "it said token of request 1, which does not run");

    let mut loading = fresh();
    loading.judge(FromWorker::Hello(Hello::own(), Landlock::Full)).unwrap();
    let more = FromWorker::Ready { slots: 9, context_tokens: 512, processor: String::new() };
    check(loading, more, "its ready makes no sense: other slots or more context than asked for");

    let mut ending = ready();
    ending.judge(failed("")).unwrap();
    check(ending, failed(""), "it said failed while it was ending");
}

#[test]
fn progress_must_be_progress() {
    for percent in [0, 49, 50] {
        let mut loading = Conduct::new(2, 512);
        loading.judge(FromWorker::Hello(Hello::own(), Landlock::Full)).unwrap();
        loading.judge(FromWorker::Loading { percent: 50 }).unwrap();
        let wanted = "its loading makes no sense: no more percent than before";
        check(loading, FromWorker::Loading { percent }, wanted);
    }
    for (done, total, wanted) in [
        (3, 10, "another length than before"),
        (10, 9, "more read than there is"),
        (3, 101, "more to read than the context holds"),
    ] {
        let mut conduct = ready();
        conduct.begin(&request(1, 9));
        conduct.judge(prefill(1, 2, 9)).unwrap();
        check(conduct, prefill(1, done, total), &format!("its prefill makes no sense: {wanted}"));
    }
    for done in [1, 2] {
        let mut conduct = ready();
        conduct.begin(&request(1, 9));
        for done in [2, done, 3] {
            conduct.judge(prefill(1, done, 9)).expect("it may fall back once");
        }
        check(conduct, prefill(1, 3, 9), "its prefill makes no sense: no more read than before");
    }
}

#[test]
fn an_answer_keeps_its_bounds() {
    check(answering(&request(1, 0)), token(1), "its token makes no sense: more tokens than were asked for");
    let mut unread = ready();
    unread.begin(&request(1, 9));
    unread.judge(prefill(1, 2, 3)).unwrap();
    check(unread, token(1), "its token makes no sense: it comes before the prompt was read");
    let mut full = answering(&request(1, 1000));
    for _ in 0..97 {
        full.judge(token(1)).unwrap();
    }
    check(full, token(1), "its token makes no sense: more tokens than the context holds");
    let long = FromWorker::Token { id: 1, token: 1, chosen: said("x".repeat(TOKEN_BYTES_MAX as usize + 1)) };
    check(answering(&request(1, 9)), long, "its token makes no sense: more text than its tokens have");
    for (prompt, cached, answer, wanted) in [
        (3, 4, 0, "more cached than the prompt has"),
        (3, 0, 1, "a longer answer than was told"),
        (101, 0, 0, "more tokens than the context holds"),
        (u32::MAX, 0, 0, "more tokens than the context holds"),
    ] {
        let usage = finished(1, prompt, cached, answer);
        check(answering(&request(1, 9)), usage, &format!("its finished makes no sense: {wanted}"));
    }
    let guessed = Usage { prompt_tokens: 3, accepted_tokens: 1, ..Usage::default() };
    let usage = FromWorker::Finished { id: 1, reason: Finish::EndOfTurn, usage: guessed };
    let wanted = "its finished makes no sense: more guesses right than were made";
    check(answering(&request(1, 9)), usage, wanted);
}

/// A worker that was asked to find something out.
fn finding_out(inquiry: Inquiry) -> Conduct {
    let mut conduct = ready();
    conduct.begin(&Request { prompt: Prompt::Inquiry(inquiry), ..request(1, 9) });
    conduct
}

fn found(finding: Finding) -> FromWorker {
    FromWorker::Found { id: 1, finding }
}

fn vectors(passages: usize) -> Conduct {
    let passages = vec![vec![Stretch::Text("hi".to_owned())]; passages];
    finding_out(Inquiry::Vectors { passages })
}

fn tokens() -> Conduct {
    let passage = vec![Stretch::Text("hi".to_owned()), Stretch::Token(7)];
    finding_out(Inquiry::Tokens { passage, adds_special: true, reads_marks: true })
}

#[test]
fn what_was_asked_for_is_found_and_then_it_ends() {
    let vector = || found(Finding::Vector(vec![0.6, -0.8]));
    let orderly = |mut conduct: Conduct, messages: Vec<FromWorker>| {
        messages.into_iter().for_each(|message| drop(conduct.judge(message).unwrap()));
        assert!(conduct.running.is_empty());
    };
    // More than a context, which is no measure for passages.
    let read = [prefill(1, 0, 2048), prefill(1, 9, 2048), vector(), prefill(1, 2048, 2048), vector()];
    orderly(vectors(2), [read.to_vec(), vec![finished(1, 2048, 0, 0)]].concat());
    orderly(tokens(), vec![found(Finding::Tokens(vec![(5, vec![0xff]); 19])), finished(1, 19, 0, 0)]);
    let text = Inquiry::Text { tokens: vec![1, 2] };
    orderly(finding_out(text), vec![found(Finding::Text("x".repeat(1 << 20))), finished(1, 2, 0, 0)]);
    let cancelled = |reason| FromWorker::Finished { id: 1, reason, usage: Usage::default() };
    orderly(vectors(2), vec![vector(), cancelled(Finish::Cancelled)]);
}

#[test]
fn nothing_else_is_found() {
    let nonsense = |conduct, finding, wanted: &str| {
        check(conduct, found(finding), &format!("its found makes no sense: {wanted}"));
    };
    let other = "it is not what was asked for";
    nonsense(answering(&request(1, 9)), Finding::Text(String::new()), other);
    nonsense(tokens(), Finding::Text(String::new()), other);
    nonsense(tokens(), Finding::Tokens(vec![(5, vec![]); 20]), "more tokens than the text has bytes");
    nonsense(tokens(), Finding::Tokens(vec![(-1, vec![])]), "a negative token");
    nonsense(vectors(1), Finding::Tokens(Vec::new()), other);
    for (vector, wanted) in [
        (vec![], "a vector of no usual length"),
        (vec![0.0; 65_537], "a vector of no usual length"),
        (vec![1.0, 1.0], "a vector whose length is not 1"),
        (vec![f32::NAN], "a vector whose length is not 1"),
        (vec![f32::INFINITY], "a vector whose length is not 1"),
    ] {
        nonsense(vectors(1), Finding::Vector(vector), wanted);
    }
    let began = |left| {
        let mut conduct = vectors(left);
        conduct.judge(found(Finding::Vector(vec![1.0, 0.0]))).unwrap();
        conduct
    };
    nonsense(began(1), Finding::Vector(vec![1.0, 0.0]), "more vectors than passages");
    nonsense(began(2), Finding::Vector(vec![1.0]), "vectors of different lengths");
    let mut told = tokens();
    told.judge(found(Finding::Tokens(Vec::new()))).unwrap();
    nonsense(told, Finding::Tokens(Vec::new()), other);
    check(ready(), found(Finding::Text(String::new())), "it said found of request 1, which does not run");

    check(vectors(1), token(1), "its token makes no sense: words where none are wanted");
    let early = "its finished makes no sense: something is still to be found out";
    check(began(2), finished(1, 2, 0, 0), early);
    check(tokens(), finished(1, 2, 0, 0), early);
    let wanted = "its prefill makes no sense: more to read than the context holds";
    check(vectors(2), prefill(1, 0, 2049), wanted);
    let wanted = "its finished makes no sense: more tokens than the context holds";
    check(began(1), finished(1, 1025, 0, 0), wanted);
}
