//! The choice of tokens.
use serde_json::{Value, json};

use super::*;
use crate::chat::{AnswerForm, CallRule, Shape};
use crate::engine::tests::{engine, model, request, start};
use crate::engine::{Chosen, EngineEvent, Finish, Refusal};
use crate::grammar::tests::samples::{self, Numbers};
use crate::grammar::tests::servers::server_tools;
use crate::grammar::tests::{arguments_of, tool, validator};

#[test]
fn the_greatest_logit_wins_and_the_first_of_equals() {
    assert_eq!(likeliest(&[0.0, 2.0, 2.0, -1.0]), Some(LlamaToken(1)));
    assert_eq!(likeliest(&[f32::NAN, -3.0, f32::NAN]), Some(LlamaToken(1)));
    assert_eq!(likeliest(&[f32::NAN]), None);
    assert_eq!(likeliest(&[]), None);
}

#[test]
fn each_place_of_each_seed_has_a_draw_of_its_own() {
    let draws: std::collections::HashSet<_> =
        (0..100).flat_map(|seed| (0..100).map(move |place| draw_seed(seed, place))).collect();
    assert!(draws.len() > 9_990, "{}", draws.len());
    assert_eq!(draw_seed(7, 3), draw_seed(7, 3));
}

/// Schemas that are tried; `ARCHOND_SCHEMAS=1000` tries more.
const SCHEMAS: u64 = 60;
/// Tokens after which an answer makes for its end.
const WANDERING: usize = 60;
/// No answer of these schemas is longer.
const TOKENS_MAX: usize = 4000;

fn token_of(text: &str) -> Option<i32> {
    let vocab = model().llama.vocab();
    match vocab.tokenize(text.as_bytes(), false, true).as_slice() {
        [token] => Some(token.0),
        _ => None,
    }
}

/// What ends values, strings before all others: a bracket is text in them.
fn closers(quote: &str) -> Vec<LlamaToken> {
    let vocab = model().llama.vocab();
    let mut closers: Vec<LlamaToken> =
        (0..vocab.n_tokens()).map(LlamaToken).filter(|t| vocab.is_eog(*t)).collect();
    let words = ["<tool_call|>", "<channel|>", quote, "}", "]"];
    closers.extend(words.iter().filter_map(|word| token_of(word)).map(LlamaToken));
    closers
}

/// The text that a model would write whose judgement of tokens is drawn by lot: as [`Chooser`] does, a token is drawn, tried, and drawn again
/// among those that fit.
fn drawn(held: &mut Held, numbers: &mut Numbers, quote: &str) -> String {
    let llama = &model().llama;
    let vocab = llama.vocab();
    let count = usize::try_from(vocab.n_tokens()).unwrap();
    let closers = closers(quote);
    let (mut bytes, mut suffix) = (Vec::new(), Vec::new());
    for length in 0..TOKENS_MAX {
        if length > WANDERING && suffix.is_empty() {
            // What patterns want to see at the end, and what ends a key, would hardly come by lot.
            suffix = vocab.tokenize(numbers.pick(&[".md", "@y", "b", ":", "", ""]).as_bytes(), false, false);
            suffix.reverse();
        }
        let by_lot = LlamaToken(i32::try_from(numbers.below(count)).unwrap());
        let by_lot = suffix.pop().unwrap_or(by_lot);
        let closes = length > WANDERING && numbers.below(3) > 0;
        let closing = closes.then(|| closers.iter().find(|token| held.fits(llama, **token))).flatten();
        let token = if let Some(closing) = closing {
            *closing
        } else if held.fits(llama, by_lot) {
            by_lot
        } else {
            let all = (0..vocab.n_tokens()).map(|token| LlamaTokenData::new(LlamaToken(token), 0.0, 0.0));
            let mut candidates = LlamaTokenDataArray::from_iter(all, false);
            held.mask(llama, &mut candidates);
            assert!(!candidates.data.is_empty(), "nothing may follow {:?}", String::from_utf8_lossy(&bytes));
            let chosen = candidates.data[numbers.below(candidates.data.len())].id();
            assert!(held.fits(llama, chosen), "the mask lets through what is refused alone: {chosen:?}");
            chosen
        };
        if vocab.is_eog(token) {
            return String::from_utf8(bytes).expect("whole characters");
        }
        assert!(held.accept(llama, token));
        vocab.token_to_piece_into(token, &mut bytes, true, None);
    }
    panic!("no end: {}", String::from_utf8_lossy(&bytes));
}

fn held(constraint: &grammar::Constraint) -> Held {
    Held::new(&model().llama, constraint).unwrap().expect("a grammar")
}

/// Draws calls of a tool with these arguments and checks each.
fn check_calls(name: &str, schema: &Value, numbers: &mut Numbers, is_widened: bool) {
    let judge = validator(schema);
    for (style, is_gemma) in [(Style::gemma4(token_of), true), (Style::chatml(token_of), false)] {
        let tools = [tool("do_it", schema)];
        let constraint = grammar::for_calls(&tools, &CallRule::Required, false, &style);
        let constraint = constraint.unwrap_or_else(|error| panic!("{name}: {error}\n{schema}")).unwrap();
        let text = drawn(&mut held(&constraint), numbers, if is_gemma { "<|\"|>" } else { "\"" });
        let arguments = arguments_of(&text, is_gemma);
        assert!(arguments.is_object(), "{name}: {text}");
        assert!(is_widened || judge.is_valid(&arguments), "{name}: {text}\n{schema}");
    }
}

#[test]
fn every_call_that_llama_cpp_lets_through_fits_its_schema() {
    let schemas =
        std::env::var("ARCHOND_SCHEMAS").ok().and_then(|count| count.parse().ok()).unwrap_or(SCHEMAS);
    for seed in 0..schemas {
        let mut numbers = Numbers(seed + 5_000_000);
        let (schema, _) = samples::object_schema(&mut numbers);
        check_calls(&format!("seed {seed}"), &schema, &mut numbers, false);
    }
}

#[test]
fn tools_of_servers_are_called_through_llama_cpp_as_they_ask() {
    let mut numbers = Numbers(7);
    for server in server_tools() {
        for _ in 0..3 {
            check_calls(&server.name, &server.schema, &mut numbers, server.is_widened());
        }
    }
}

/// Runs one request on an engine of its own; the tokens, the text of the words, the probabilities, the end.
fn answered(request: &Request) -> (Vec<LlamaToken>, Vec<Chosen>, Finish) {
    let mut engine = engine(1);
    start(&mut engine, request);
    let (mut tokens, mut all, mut end) = (Vec::new(), Vec::new(), None);
    while !engine.is_idle() {
        engine
            .step(&mut |event| match event {
                EngineEvent::Token { token, chosen, .. } => {
                    tokens.push(LlamaToken(token));
                    all.push(chosen);
                }
                EngineEvent::Finished { reason, .. } => end = Some(reason),
                EngineEvent::Prefill { .. } => {}
                EngineEvent::Refused { .. } | EngineEvent::Found { .. } => panic!("{event:?}"),
            })
            .unwrap();
    }
    (tokens, all, end.unwrap())
}

fn text_of(tokens: &[LlamaToken]) -> String {
    let bytes: Vec<u8> =
        tokens.iter().flat_map(|token| model().llama.vocab().token_to_piece(*token, true, None)).collect();
    String::from_utf8(bytes).unwrap()
}

fn with_tool(mut request: Request, schema: &Value) -> Request {
    let Prompt::Chat(conversation) = &mut request.prompt else { return request };
    conversation.tools = vec![tool("do_it", schema)];
    request
}

fn hot(seed: u32) -> SamplingParams {
    SamplingParams { temperature: 3.0, seed: Some(seed), ..SamplingParams::GREEDY }
}

#[test]
fn a_call_that_must_be_made_is_made_and_ends() {
    let schema = json!({ "type": "object", "properties": {
        "unit": { "enum": ["<", "<=", "kelvin"] }, "days": { "type": "integer", "minimum": 1, "maximum": 30 },
    }, "required": ["unit", "days"] });
    let judge = validator(&schema);
    for sampling in (0..12).map(hot).chain([SamplingParams::GREEDY]) {
        let mut asked = with_tool(request(1, &["hello"]), &schema);
        asked.sampling = sampling;
        asked.form.calls = CallRule::Named("do_it".to_owned());
        let (tokens, _, end) = answered(&asked);
        assert_eq!(end, Finish::EndOfTurn);
        let arguments = arguments_of(&text_of(&tokens), true);
        assert!(judge.is_valid(&arguments), "{arguments}");
        // Half of it given out before, perhaps by another worker: the same end.
        if sampling.temperature > 0.0 {
            asked.resume = tokens[..tokens.len() / 2].iter().map(|token| token.0).collect();
            assert_eq!(answered(&asked).0, tokens[tokens.len() / 2..]);
        }
    }
}

#[test]
fn a_call_is_held_to_its_schema_only_once_it_begins() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let plain = answered(&request(1, &["hello"])).0;
    let with = answered(&with_tool(request(1, &["hello"]), &schema)).0;
    assert_eq!(text_of(&with), text_of(&plain), "no call, nothing to hold to");
    let open = token_of("<|tool_call>").unwrap();
    let mut begun = with_tool(request(1, &["hello"]), &schema);
    begun.resume = vec![with[0].0, with[1].0, open];
    begun.sampling = hot(3);
    let call = answered(&begun).0;
    let text = format!("<|tool_call>{}", text_of(&call));
    assert!(arguments_of(&text, true)["n"].is_i64(), "{text}");
}

#[test]
fn words_that_begin_a_call_are_found_in_any_tokens() {
    let tools = [tool("do_it", &json!({ "type": "object", "properties": { "n": { "enum": [7] } } }))];
    let constraint =
        grammar::for_calls(&tools, &CallRule::Free, false, &Style::chatml(token_of)).unwrap().unwrap();
    let llama = &model().llama;
    let of = |text: &str| llama.vocab().tokenize(text.as_bytes(), false, false);
    let mut held = held(&constraint);
    for token in of("any <tool_ca text, {and} </tool_call> <tool_") {
        assert!(held.accept(llama, token));
    }
    for token in of("call>{\"name\": \"do_it\"") {
        assert!(held.accept(llama, token));
    }
    assert!(!held.accept(llama, of("}")[0]), "the arguments are missing");
    assert!(held.accept(llama, of(",")[0]));
    let rest = drawn(&mut held, &mut Numbers(1), "\"");
    let call = format!("<tool_call>{{\"name\": \"do_it\",{rest}");
    assert!([json!({}), json!({ "n": 7 })].contains(&arguments_of(&call, false)), "{call}");
}

#[test]
fn words_are_held_to_their_shape() {
    let ask = |shape: Shape, sampling: SamplingParams| {
        let mut asked = request(1, &["hello"]);
        asked.form.shape = shape;
        asked.sampling = sampling;
        asked.answer_tokens_max = 300;
        answered(&asked)
    };
    let schema =
        json!({ "type": "array", "items": { "enum": ["teal", "red"] }, "minItems": 2, "maxItems": 3 });
    for seed in 0..10 {
        let (tokens, _, end) = ask(Shape::JsonSchema(schema.to_string()), hot(seed));
        assert_eq!(end, Finish::EndOfTurn);
        let value: Value = serde_json::from_str(&text_of(&tokens)).unwrap();
        assert!(validator(&schema).is_valid(&value), "{value}");
    }
    let (tokens, _, _) = ask(Shape::JsonObject, hot(1));
    assert!(text_of(&tokens).starts_with('{'));
    let grammar = "root ::= \"Hello, \" name\nname ::= [A-Z] [a-z]{2,4} \"!\"";
    let (tokens, _, end) = ask(Shape::Grammar(grammar.to_owned()), SamplingParams::GREEDY);
    assert_eq!(end, Finish::EndOfTurn);
    let text = text_of(&tokens);
    assert!(text.starts_with("Hello, ") && text.ends_with('!') && (11..=13).contains(&text.len()), "{text}");
}

#[test]
fn a_form_that_makes_no_sense_is_refused_with_its_reason() {
    let refused = |form: AnswerForm| {
        let mut asked = request(1, &["hello"]);
        asked.form = form;
        let Some(EngineEvent::Refused { refusal: Refusal::Engine { detail }, .. }) = engine(1).start(&asked)
        else {
            panic!("not refused")
        };
        detail
    };
    let shaped = |shape: Shape| AnswerForm { shape, ..AnswerForm::default() };
    let end = model().llama.vocab().eos().0;
    for (form, reason) in [
        (shaped(Shape::JsonSchema("{".to_owned())), "not JSON"),
        (shaped(Shape::JsonSchema("false".to_owned())), "nothing satisfies"),
        (shaped(Shape::Grammar("root ::= x".to_owned())), "no rule `x`"),
        (shaped(Shape::Grammar("root ::= <|turn>".to_owned())), "a token by its number"),
        (shaped(Shape::Grammar("root ::= !<[3]>".to_owned())), "a token by its number"),
        (shaped(Shape::Grammar(format!("root ::= <[{end}]> \"a\""))), "ends answers"),
        (shaped(Shape::Grammar("root ::= <[9999999]>".to_owned())), "none of this model's"),
        (AnswerForm { calls: CallRule::Required, ..AnswerForm::default() }, "no such tool"),
        (AnswerForm { bias: vec![(0, f32::NAN)], ..AnswerForm::default() }, "bias of token 0"),
        (AnswerForm { bias: vec![(-5, 1.0)], ..AnswerForm::default() }, "bias of token -5"),
    ] {
        let detail = refused(form);
        assert!(detail.contains(reason), "{detail}");
    }
    let mut asked = request(1, &["hello"]);
    asked.form = shaped(Shape::JsonObject);
    asked.resume =
        model().llama.vocab().tokenize(b"Hello", false, false).iter().map(|token| token.0).collect();
    assert!(matches!(engine(1).start(&asked), Some(EngineEvent::Refused { .. })));
}

#[test]
fn a_bias_changes_the_choice_and_an_end_may_be_forbidden() {
    let plain = answered(&request(1, &["hello"]));
    assert_eq!((text_of(&plain.0).as_str(), plain.2), ("Hello, I am Ezra.", Finish::EndOfTurn));
    let mut asked = request(1, &["hello"]);
    asked.form.ignores_end = true;
    let (tokens, _, end) = answered(&asked);
    assert_eq!((tokens.len(), end), (64, Finish::Length));
    assert_eq!(tokens[..plain.0.len()], plain.0);
    asked.form = AnswerForm { bias: vec![(plain.0[0].0, f32::NEG_INFINITY)], ..AnswerForm::default() };
    assert_ne!(answered(&asked).0[0], plain.0[0]);
    asked.form.bias = vec![(300, 1000.0)];
    assert_eq!(answered(&asked).0, vec![LlamaToken(300); 64]);
    let count = model().llama.n_vocab();
    asked.form.bias = (0..count).map(|token| (token, f32::NEG_INFINITY)).collect();
    assert_eq!(answered(&asked).2, Finish::EndOfTurn, "where nothing may be said, nothing is");
    // The end of a grammar is an end, even where the model may not end by itself.
    asked.form = AnswerForm {
        shape: Shape::Grammar("root ::= \"ab\"".to_owned()),
        ignores_end: true,
        ..AnswerForm::default()
    };
    let (tokens, _, end) = answered(&asked);
    assert_eq!((text_of(&tokens).as_str(), end), ("ab", Finish::EndOfTurn));
}

#[test]
fn probabilities_are_told_as_the_model_has_them() {
    let mut asked = request(1, &["hello"]);
    asked.form.logprobs = Some(5);
    asked.sampling = SamplingParams { temperature: 0.2, top_k: 3, seed: Some(1), ..SamplingParams::GREEDY };
    let (tokens, chosen, _) = answered(&asked);
    for (token, chosen) in tokens.iter().zip(&chosen) {
        let (own, first) = chosen.logprobs.as_ref().unwrap();
        assert_eq!((own.token, first.len()), (token.0, 5));
        assert_eq!(own.bytes, model().llama.vocab().token_to_piece(*token, true, None));
        assert!(first.is_sorted_by(|a, b| a.logprob >= b.logprob) && first[0].logprob >= own.logprob);
        assert!(first.iter().map(|one| one.logprob.exp()).sum::<f32>() <= 1.000_1);
    }
    assert!(answered(&request(1, &["hello"])).1.iter().all(|chosen| chosen.logprobs.is_none()));
    asked.form.logprobs = Some(0);
    assert!(answered(&asked).1[0].logprobs.as_ref().unwrap().1.is_empty());
}

#[test]
fn probabilities_of_known_logits() {
    let logits = [1.0, 3.0, f32::NEG_INFINITY, 3.0, f32::NAN];
    assert_eq!(likeliest_of(&logits, 2), [1, 3]);
    assert_eq!(likeliest_of(&logits, 9), [1, 3, 0]);
    let wanted = (1_f64.exp() + 2.0 * 3_f64.exp()).ln();
    assert!((log_of_sum(&logits) - wanted).abs() < 1e-9);
}

/// Figures for people: `--nocapture` shows them.
#[test]
fn all_tools_of_servers_together_are_held_to_in_little_time() {
    let tools: Vec<_> = server_tools().iter().map(|server| tool(&server.name, &server.schema)).collect();
    let mut numbers = Numbers(3);
    let began = crate::engine::batch::now();
    let constraint =
        grammar::for_calls(&tools, &CallRule::Required, false, &Style::gemma4(token_of)).unwrap().unwrap();
    let made = crate::engine::batch::now();
    let mut grammar = held(&constraint);
    let read = crate::engine::batch::now();
    let text = drawn(&mut grammar, &mut numbers, "<|\"|>");
    eprintln!(
        "{} bytes, made in {:?}, read in {:?}, {} bytes drawn in {:?}",
        constraint.gbnf.unwrap().len(),
        made - began,
        read - made,
        text.len(),
        read.elapsed()
    );
    assert!(text.contains("<|tool_call>call:") && text.ends_with("<tool_call|>"), "{text}");
}
