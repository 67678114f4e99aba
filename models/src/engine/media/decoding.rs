//! From the bytes of a file to pixels and samples. Pure Rust, bounded before anything is allocated.
//!
//! The bytes come from strangers. Formats are told by their first bytes, never by what somebody says; nothing else is tried.
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use super::opus;
use crate::media::{AudioKind, ImageKind};

/// Most pixels of a picture: a photograph of a good telephone has 12 to 24 million, and the model sees under a million of them.
const PIXELS_MAX: u64 = 24_000_000;
/// Longest side, in pixels: nothing that is wider is a picture.
const SIDE_MAX: u32 = 16_384;
/// Most memory of a decoder, in bytes: 24 million pixels of 4 bytes, and its own tables.
const DECODER_BYTES_MAX: u64 = 128 << 20;
/// Longest recording, in seconds: what Gemma 4 was taught to listen to at once.
pub(super) const SECONDS_MAX: f64 = 30.0;
/// Rates of recordings that are taken, in samples a second.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// Most channels: a surround recording.
const CHANNELS_MAX: u16 = 8;

/// A picture: red, green and blue of each pixel, row by row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rgb: Vec<u8>,
}

/// Decodes a picture; of one that moves, its first moment.
pub(super) fn pixels(bytes: &[u8]) -> Result<Pixels, String> {
    let kind = ImageKind::of(bytes).ok_or("the picture is no PNG, JPEG, WebP or GIF")?;
    guarded(&format!("the {kind} picture"), || {
        let format = match kind {
            ImageKind::Png => image::ImageFormat::Png,
            ImageKind::Jpeg => image::ImageFormat::Jpeg,
            ImageKind::Webp => image::ImageFormat::WebP,
            ImageKind::Gif => image::ImageFormat::Gif,
        };
        let damaged = |error: image::ImageError| format!("the {kind} picture cannot be read: {error}");
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_image_width = Some(SIDE_MAX);
        limits.max_image_height = Some(SIDE_MAX);
        limits.max_alloc = Some(DECODER_BYTES_MAX);
        reader.limits(limits.clone());
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let (width, height) = decoder.dimensions();
        if u64::from(width) * u64::from(height) > PIXELS_MAX {
            return Err(format!(
                "the {kind} picture has {width} x {height} pixels, more than {} million; make it smaller",
                PIXELS_MAX / 1_000_000
            ));
        }
        limits.reserve(decoder.total_bytes()).map_err(damaged)?;
        decoder.set_limits(limits).map_err(damaged)?;
        let rgb = match DynamicImage::from_decoder(decoder).map_err(damaged)? {
            DynamicImage::ImageRgb8(image) => image,
            other => on_white(&other),
        };
        Ok(Pixels { width, height, rgb: rgb.into_raw() })
    })
}

/// What is transparent is shown on white, as paper and most programs do: its own colour is mostly black.
fn on_white(image: &DynamicImage) -> image::RgbImage {
    if !image.color().has_alpha() {
        return image.to_rgb8();
    }
    let image = image.to_rgba8();
    let mut rgb = image::RgbImage::new(image.width(), image.height());
    for (to, from) in rgb.pixels_mut().zip(image.pixels()) {
        let [red, green, blue, opacity] = from.0;
        let mixed = |colour: u8| {
            let opacity = u32::from(opacity);
            ((u32::from(colour) * opacity + 255 * (255 - opacity) + 127) / 255) as u8
        };
        to.0 = [red, green, blue].map(mixed);
    }
    rgb
}

/// Decodes a recording into one channel of so many samples a second, each between -1 and 1.
pub(super) fn samples(bytes: &[u8], rate: u32) -> Result<Vec<f32>, String> {
    match AudioKind::of(bytes).ok_or("the recording is neither WAV nor Opus in Ogg")? {
        AudioKind::Wav => guarded("the WAV recording", || wav_samples(bytes, rate)),
        AudioKind::Opus => guarded("the Opus recording", || {
            let (samples, own_rate) = opus::samples(bytes, rate)?;
            Ok(resampled(&samples, own_rate, rate))
        }),
    }
}

fn wav_samples(bytes: &[u8], rate: u32) -> Result<Vec<f32>, String> {
    let damaged = |error: hound::Error| format!("the WAV recording cannot be read: {error}");
    let mut reader = hound::WavReader::new(Cursor::new(bytes)).map_err(damaged)?;
    let spec = reader.spec();
    if !RATES.contains(&spec.sample_rate) || !(1..=CHANNELS_MAX).contains(&spec.channels) {
        return Err(format!(
            "the WAV recording has {} channels of {} samples a second, which is not taken",
            spec.channels, spec.sample_rate
        ));
    }
    let seconds = f64::from(reader.duration()) / f64::from(spec.sample_rate);
    if seconds > SECONDS_MAX {
        return Err(format!(
            "the WAV recording is {seconds:.0} seconds long, and the model hears {SECONDS_MAX:.0}; cut it"
        ));
    }
    let all: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>().map_err(damaged)?,
        hound::SampleFormat::Int => {
            let full = 2_f32.powi(i32::from(spec.bits_per_sample) - 1);
            let samples = reader.samples::<i32>().map(|sample| Ok(sample? as f32 / full));
            samples.collect::<Result<_, _>>().map_err(damaged)?
        }
    };
    let channels = usize::from(spec.channels);
    let mono: Vec<f32> =
        all.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect();
    if mono.is_empty() || mono.iter().any(|sample| !sample.is_finite()) {
        return Err("the WAV recording holds nothing that can be heard".to_owned());
    }
    Ok(resampled(&mono, spec.sample_rate, rate))
}

/// At another rate. Each sample is the mean of the stretch of the old ones that it stands for (a box, which keeps out most of what the
/// new rate cannot carry), or lies on the line between two of them where there are more new than old ones.
fn resampled(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return samples.to_vec();
    }
    let step = f64::from(from) / f64::from(to);
    let count = (samples.len() as f64 / step) as usize;
    let at = |place: usize| samples.get(place.min(samples.len().saturating_sub(1))).copied().unwrap_or(0.0);
    let new = (0..count.max(1)).map(|place| {
        let begin = place as f64 * step;
        if step <= 1.0 {
            let (low, part) = (begin as usize, begin.fract() as f32);
            return at(low) * (1.0 - part) + at(low + 1) * part;
        }
        let end = ((begin + step) as usize).max(begin as usize + 1);
        let stretch = begin as usize..end;
        let length = stretch.len() as f32;
        stretch.map(at).sum::<f32>() / length
    });
    new.collect()
}

/// A decoder's bug is a damaged file to us.
fn guarded<T>(what: &str, decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|_| Err(format!("{what} is damaged")))
}

#[cfg(test)]
#[path = "decoding_tests.rs"]
mod tests;
