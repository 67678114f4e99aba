//! Files as they come from cameras, and as they come from enemies.
use image::{ImageFormat, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;

use super::*;

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn gradient() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 128]))
}

fn wav(spec: hound::WavSpec, samples: impl IntoIterator<Item = i32>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    samples.into_iter().for_each(|sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16) -> hound::WavSpec {
    hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format: hound::SampleFormat::Int }
}

#[test]
fn each_format_gives_the_picture() {
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Jpeg] {
        let picture = pixels(&encoded(gradient(), format)).unwrap();
        assert_eq!((picture.width, picture.height), (40, 30), "{format:?}");
        let wanted = gradient().into_raw();
        let far = picture.rgb.iter().zip(&wanted).filter(|(a, b)| a.abs_diff(**b) > 24).count();
        assert!(far * 20 < wanted.len(), "{format:?}: {far} of {} colours are far off", wanted.len());
    }
}

#[test]
fn what_is_transparent_is_white() {
    let clear = RgbaImage::from_fn(2, 1, |x, _| Rgba([10, 20, 30, if x == 0 { 0 } else { 255 }]));
    assert_eq!(pixels(&encoded(clear, ImageFormat::Png)).unwrap().rgb, [255, 255, 255, 10, 20, 30]);
}

/// A PNG's head that promises a size; nothing follows it.
fn promise(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(RgbImage::new(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn what_would_fill_the_memory_is_refused_by_its_head() {
    let fault = |width, height| pixels(&promise(width, height)).unwrap_err();
    assert_eq!(
        fault(6_000, 5_000),
        "the PNG picture has 6000 x 5000 pixels, more than 24 million; make it smaller"
    );
    for (width, height) in [(60_000, 60_000), (u32::MAX >> 1, 1), (1, 20_000), (0, 5)] {
        let fault = fault(width, height);
        assert!(fault.contains("PNG picture"), "{width} x {height}: {fault}");
    }
}

#[test]
fn what_is_no_picture_is_not_guessed_at() {
    for bytes in [&b""[..], b"<svg/>", b"RIFF\0\0\0\0AVI LIST", b"BM\0\0", b"\0\0\0 ftypmp42"] {
        assert_eq!(pixels(bytes).unwrap_err(), "the picture is no PNG, JPEG, WebP or GIF");
    }
    assert_eq!(samples(b"ID3\x03rest", 16_000).unwrap_err(), "the recording is neither WAV nor Opus in Ogg");
}

#[test]
fn recordings_become_one_channel_of_the_rate_that_is_wanted() {
    let tone = (0..4_800).flat_map(|at| [if at % 2 == 0 { 8_192 } else { 24_576 }, 0]);
    let heard = samples(&wav(spec(2, 48_000, 16), tone), 16_000).unwrap();
    assert_eq!(heard.len(), 1_600);
    assert!(heard.iter().all(|sample| (0.16..=0.34).contains(sample)), "{:?}", &heard[..4]);
    let slow = wav(spec(1, 8_000, 8), [0, 64, 0, -64]);
    let heard = samples(&slow, 16_000).unwrap();
    assert_eq!(heard, [0.0, 0.25, 0.5, 0.25, 0.0, -0.25, -0.5, -0.5]);
}

#[test]
fn recordings_have_bounds() {
    let fault = |spec, count| samples(&wav(spec, std::iter::repeat_n(0, count)), 16_000).unwrap_err();
    assert!(fault(spec(1, 4_000, 8), 4_000 * 31).contains("is 31 seconds long, and the model hears 30"));
    assert!(fault(spec(9, 16_000, 16), 9).contains("9 channels"));
    assert!(fault(spec(1, 1_000, 16), 9).contains("1000 samples a second"));
    assert!(fault(spec(1, 16_000, 16), 0).contains("nothing that can be heard"));
}

/// As telephones record it: a voice of 1.5 seconds, by another implementation. `tests/data/voice.py` makes it.
const VOICE: &[u8] = include_bytes!("../../../../tests/data/voice.ogg");

#[test]
fn a_voice_message_is_heard_as_it_was_said() {
    for (rate, count) in [(16_000, 24_000), (48_000, 72_000), (44_100, 66_150)] {
        let heard = samples(VOICE, rate).unwrap();
        assert_eq!(heard.len(), count);
        // The same sum of waves that was recorded.
        let mut phase = 0.0;
        let said = (0..count).map(|at| {
            let time = at as f64 / f64::from(rate);
            phase += std::f64::consts::TAU * (140.0 + 40.0 * (std::f64::consts::TAU * 2.5 * time).sin())
                / f64::from(rate);
            let sum: f64 = (1..15).map(|number| (f64::from(number) * phase).sin() / f64::from(number)).sum();
            sum * 0.15 * (0.6 + 0.4 * (std::f64::consts::TAU * 3.0 * time).sin())
        });
        let (mut both, mut ours, mut theirs) = (0.0, 0.0, 0.0);
        for (said, heard) in said.zip(&heard) {
            let heard = f64::from(*heard);
            (both, ours, theirs) = (both + said * heard, ours + heard * heard, theirs + said * said);
        }
        let likeness = both / (ours * theirs).sqrt();
        assert!(likeness > 0.95, "{likeness} at {rate}");
    }
}

#[test]
fn a_voice_message_has_bounds() {
    let fault = |bytes: &[u8]| samples(bytes, 16_000).unwrap_err();
    let changed = |at: usize, byte: u8| {
        let mut bytes = VOICE.to_vec();
        bytes[at] = byte;
        // The page's checksum covers it.
        fault(&bytes)
    };
    assert!(changed(37, 9).contains("cannot be read"), "{}", changed(37, 9));
    assert!(fault(&VOICE[..60]).contains("Opus recording"), "{}", fault(&VOICE[..60]));
    let cut = samples(&VOICE[..VOICE.len() / 2], 16_000);
    assert!(cut.is_err() || cut.is_ok_and(|heard| heard.len() < 24_000));
    let long = opus::tests::said_again(VOICE, 21);
    assert!(fault(&long).contains("longer than the 30 seconds"), "{}", fault(&long));
    assert_eq!(samples(&opus::tests::said_again(VOICE, 2), 16_000).unwrap().len() / 24_000, 2);
}

proptest! {
    #[test]
    fn damaged_files_are_told_and_nothing_else_happens(
        which in 0_usize..6, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let formats = [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Jpeg];
        let mut bytes = match formats.get(which) {
            Some(format) => encoded(gradient(), *format),
            None if which == 4 => wav(spec(1, 8_000, 16), 0..100),
            None => VOICE.to_vec(),
        };
        let place = at.index(bytes.len());
        bytes[place] = byte;
        drop((pixels(&bytes), samples(&bytes, 16_000)));
        bytes.truncate(cut.index(bytes.len()));
        drop((pixels(&bytes), samples(&bytes, 16_000)));
    }
}
