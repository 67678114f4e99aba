//! Pictures and recordings in the real engine, with the tiny model and a tiny projector. Neither was taught to see: what counts is which
//! rows come into which memory.
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{ImageFormat, Rgb, RgbImage};

use super::super::tests::{engine, model, request, run};
use super::super::{Engine, EngineEvent, Finish, Keepsake, Prompt, Refusal, Request};
use super::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

fn seeing(slots: u32) -> Engine<'static> {
    let mut engine = engine(slots);
    engine.see_with(Projector::load(&data("tiny-mmproj.gguf"), model(), 1).unwrap()).unwrap();
    engine
}

/// A picture that no other number has.
fn picture(number: u8) -> Content {
    let image = RgbImage::from_fn(96, 64, |x, y| Rgb([number * 40, (x * 2) as u8, (y * 3) as u8 ^ number]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    Content::Image(bytes.into_inner())
}

fn tone(hertz: f32) -> Content {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for at in 0..16_000 {
        let phase = at as f32 / 16_000.0 * hertz * std::f32::consts::TAU;
        writer.write_sample((phase.sin() * 9_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    Content::Audio(bytes.into_inner())
}

/// Shows media before the words of the last turn.
fn showing(id: u64, media: &[Content], said: &[&str]) -> Request {
    let mut request = request(id, said);
    if let Prompt::Chat(conversation) = &mut request.prompt
        && let Some(turn) = conversation.turns.last_mut()
    {
        turn.content.splice(0..0, media.iter().cloned());
    }
    request
}

/// Starts a request that has to be measured first.
fn ask(engine: &mut Engine<'_>, request: &Request) {
    let event = engine.start(request);
    assert!(event.is_none() || matches!(event, Some(EngineEvent::Prefill { .. })), "{event:?}");
}

fn answer(engine: &mut Engine<'_>, request: &Request) -> (String, super::super::Usage) {
    ask(engine, request);
    let (_, text, usage) = run(engine).remove(0);
    (text, usage)
}

/// Steps until something is told that `wanted` accepts.
fn step_until(engine: &mut Engine<'_>, wanted: impl Fn(&EngineEvent) -> bool) -> EngineEvent {
    let mut found = None;
    while found.is_none() {
        assert!(!engine.is_idle(), "it did not come");
        engine.step(&mut |event| found = found.take().or_else(|| wanted(&event).then_some(event))).unwrap();
    }
    found.unwrap()
}

/// What the first slot's memory says, as llama.cpp writes it.
fn memory(engine: &Engine<'_>) -> Vec<u8> {
    use super::super::keepsake::{state_bytes, write_state};
    let mut bytes = vec![0; state_bytes(&engine.context, 0)];
    assert!(write_state(&engine.context, 0, &mut bytes));
    bytes
}

#[test]
fn a_picture_is_read_and_an_answer_comes() {
    let mut engine = seeing(1);
    let (text, usage) = answer(&mut engine, &showing(1, &[picture(1)], &["hello"]));
    assert!(!text.is_empty());
    let (_, plain) = answer(&mut engine, &request(2, &["hello"]));
    // The two marks around it, and at least the 70 rows that Gemma 4 makes of the smallest picture.
    assert!(usage.prompt_tokens >= plain.prompt_tokens + 72, "{usage:?} {plain:?}");
    let slot = &engine.slots[0].tokens;
    assert!(!slot.iter().any(|token| is_place_holder(*token)), "the second prompt has no picture");
}

#[test]
fn a_recording_is_heard_between_words_and_pictures() {
    let mut engine = seeing(1);
    let media = [tone(440.0), picture(3)];
    let (_, usage) = answer(&mut engine, &showing(1, &media, &["hello"]));
    let (_, heard) = answer(&mut engine, &showing(2, &media[..1], &["hello"]));
    assert!(usage.prompt_tokens > heard.prompt_tokens + 70, "{usage:?} {heard:?}");
    let before = memory(&engine);
    answer(&mut engine, &showing(3, &[tone(880.0)], &["hello"]));
    assert_ne!(before, memory(&engine), "another sound is another memory");
}

#[test]
fn the_same_picture_is_not_read_again_and_another_is() {
    let mut engine = seeing(1);
    let shown = |id, number| showing(id, &[picture(number)], &["what is my colour?"]);
    let (first, fresh) = answer(&mut engine, &shown(1, 1));
    assert_eq!(fresh.cached_tokens, 0);
    let memory_of_one = memory(&engine);
    let (again, cached) = answer(&mut engine, &shown(2, 1));
    assert_eq!(
        cached.cached_tokens,
        cached.prompt_tokens - 1,
        "all but the last token, which is always read"
    );
    assert_eq!(again, first);
    let (_, other) = answer(&mut engine, &shown(3, 2));
    assert!(other.cached_tokens < other.prompt_tokens - 70, "{other:?}");
    assert_ne!(memory(&engine), memory_of_one);
    // Neither picture has left anything behind in the other's memory.
    let mut new = seeing(1);
    answer(&mut new, &shown(1, 2));
    assert_eq!(new.slots[0].tokens, engine.slots[0].tokens);
}

#[test]
fn rows_that_were_read_while_others_wrote_are_the_same_rows() {
    let alone = {
        let mut engine = seeing(2);
        answer(&mut engine, &showing(1, &[picture(4)], &["hello"])).0
    };
    let mut engine = seeing(2);
    let long = Request { answer_tokens_max: 400, ..showing(7, &[], &["hello"]) };
    let long = Request { form: crate::chat::AnswerForm { ignores_end: true, ..Default::default() }, ..long };
    ask(&mut engine, &long);
    step_until(&mut engine, |event| matches!(event, EngineEvent::Token { id: 7, .. }));
    ask(&mut engine, &showing(8, &[picture(4)], &["hello"]));
    let (mut written, mut shown, mut text) = (0, false, String::new());
    while !engine.is_idle() {
        let step = &mut |event| match event {
            EngineEvent::Token { id: 7, .. } if !shown => written += 1,
            EngineEvent::Token { id: 8, chosen, .. } => {
                shown = true;
                text.push_str(&chosen.words());
            }
            EngineEvent::Refused { .. } => panic!("{event:?}"),
            _ => {}
        };
        engine.step(step).unwrap();
    }
    assert_eq!(text, alone);
    assert!(written > 0, "the other answer went on while the picture was measured, encoded and read");
}

#[test]
fn an_answer_can_be_cancelled_while_its_picture_is_encoded() {
    let mut engine = seeing(1);
    ask(&mut engine, &showing(1, &[picture(5)], &["hello"]));
    let ended = engine.cancel(1);
    assert!(
        matches!(ended, Some(EngineEvent::Finished { id: 1, reason: Finish::Cancelled, .. })),
        "{ended:?}"
    );
    assert!(engine.is_idle(), "the slot is free though the encoder still works");
    ask(&mut engine, &showing(2, &[picture(5)], &["hello"]));
    step_until(&mut engine, |event| matches!(event, EngineEvent::Prefill { id: 2, .. }));
    let ended = engine.cancel(2);
    assert!(
        matches!(ended, Some(EngineEvent::Finished { id: 2, reason: Finish::Cancelled, .. })),
        "{ended:?}"
    );
    let (text, _) = answer(&mut engine, &showing(3, &[picture(5)], &["hello"]));
    let (alone, _) = answer(&mut seeing(1), &showing(3, &[picture(5)], &["hello"]));
    assert_eq!(text, alone);
}

#[test]
fn what_cannot_be_seen_is_refused_and_the_slot_stays_free() {
    let mut engine = seeing(1);
    let refused = |engine: &mut Engine<'_>, media: &[Content]| {
        let event = engine
            .start(&showing(1, media, &["hello"]))
            .unwrap_or_else(|| step_until(engine, |event| matches!(event, EngineEvent::Refused { .. })));
        assert!(engine.is_idle());
        match event {
            EngineEvent::Refused { id: 1, refusal: Refusal::Engine { detail } } => detail,
            EngineEvent::Refused { id: 1, refusal: Refusal::Medium { sha256, detail } } => {
                // The last one: what comes before it can be used.
                let (Content::Image(bytes) | Content::Audio(bytes)) = media.last().unwrap() else { panic!() };
                assert_eq!(sha256[..], Sha256::digest(bytes)[..]);
                detail
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(&mut engine, &[Content::Image(b"GIF89a".to_vec())]).contains("GIF picture"));
    assert!(refused(&mut engine, &[Content::Image(b"hello".to_vec())]).contains("no PNG, JPEG, WebP or GIF"));
    assert!(refused(&mut engine, &[Content::Audio(vec![0; 100])]).contains("neither WAV"));
    assert!(refused(&mut engine, &[picture(1), Content::Image(vec![])]).contains("no PNG"));
    assert!(refused(&mut engine, &vec![picture(1); 17]).contains("16 are taken"));
    assert!(refused(&mut engine, &[Content::Image(vec![0; (6 << 20) + 1])]).contains("6 MiB"));
    answer(&mut engine, &showing(2, &[picture(1)], &["hello"]));
    let mut blind = super::super::tests::engine(1);
    assert!(refused(&mut blind, &[picture(1)]).contains("no projector on disk"));
}

#[test]
fn the_next_worker_goes_on_without_looking_again() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(16 << 20).unwrap();
    // A recording is shorter than a picture: all of it is within the window, so that the next turn can go on from it.
    let first = showing(1, &[tone(660.0)], &["my colour is teal"]);
    let said = {
        let mut engine = seeing(1);
        engine.keep_in(Keepsake::open(&file, 1).unwrap());
        let (text, _) = answer(&mut engine, &first);
        engine.keep_now();
        text
    };
    let mut later = request(2, &["my colour is teal", &said, "what is my colour?"]);
    if let (Prompt::Chat(later), Prompt::Chat(first)) = (&mut later.prompt, &first.prompt) {
        later.turns[0] = first.turns[0].clone();
    }
    {
        let mut next = seeing(1);
        assert!(next.keep_in(Keepsake::open(&file, 1).unwrap()) > 0);
        let (_, usage) = answer(&mut next, &later);
        let last_row = next.slots[0].tokens.iter().rposition(|token| is_place_holder(*token)).unwrap();
        assert!(usage.cached_tokens as usize > last_row, "{usage:?} {last_row}");
        next.keep_now();
    }
    let mut blind = engine(1);
    assert_eq!(
        blind.keep_in(Keepsake::open(&file, 1).unwrap()),
        0,
        "who sees nothing can do nothing with it"
    );
}

#[test]
fn a_projector_of_something_else_is_refused_before_it_is_loaded() {
    let fault = |path: &Path| Projector::load(path, model(), 1).unwrap_err().to_string();
    assert!(fault(&data("tiny-gemma4-tools.gguf")).contains("its architecture is `gemma4`"));
    let bytes = std::fs::read(data("tiny-mmproj.gguf")).unwrap();
    let key = b"clip.vision.projection_dim";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    let other = tempfile::NamedTempFile::new().unwrap();
    let mut wider = bytes.clone();
    wider[at..at + 4].copy_from_slice(&256_u32.to_le_bytes());
    std::fs::write(other.path(), &wider).unwrap();
    assert!(fault(other.path()).contains("its rows have 256 numbers, the model's 128"));
    std::fs::write(other.path(), &bytes[..bytes.len() / 2]).unwrap();
    assert!(fault(other.path()).contains("cut off"));
    assert!(fault(Path::new("/nowhere")).contains("/nowhere"));
}

#[test]
fn a_picture_that_rested_is_not_read_again() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(64 << 20).unwrap();
    let shelved = || {
        let mut engine = seeing(1);
        engine.shelve_in(Keepsake::open_on_disk(&file, 1).unwrap());
        engine
    };
    let shown = |id| showing(id, &[picture(1)], &["what is my colour?"]);
    let mut engine = shelved();
    let (first, _) = answer(&mut engine, &shown(1));
    while engine.shelve_resting() {}
    let (again, rested) = answer(&mut engine, &shown(2));
    assert_eq!(again, first);
    assert!(rested.cached_tokens > 70, "{rested:?}");
    while engine.shelve_resting() {}
    drop(engine);
    let (restarted, found) = answer(&mut shelved(), &shown(3));
    assert_eq!(restarted, first);
    assert!(found.restored_tokens > 70, "{found:?}");
}
