//! Voice messages: Opus in an Ogg stream (RFC 7845), one stream of one or two channels, decoded in Rust.
use std::io::Cursor;

use ogg::{Packet, PacketReader};
use ropus::{Channels, DecodeMode, Decoder};

use super::decoding::SECONDS_MAX;

/// The rate of Opus itself, by which its places are counted.
const OWN_RATE: u32 = 48_000;
/// Rates that the decoder gives.
const RATES: [u32; 5] = [8_000, 12_000, 16_000, 24_000, OWN_RATE];
/// Longest packet, in parts of a second: 120 ms.
const PACKETS_PER_SECOND: f64 = 1.0 / 0.12;
/// How the first packet begins, and the second.
const HEAD: &[u8] = b"OpusHead";
/// See [`HEAD`].
const TAGS: &[u8] = b"OpusTags";
/// Samples of silence that are decoded before the sound, in the first packet.
const SKIP_AT: usize = 10;
/// Gain, in 256ths of a decibel.
const GAIN_AT: usize = 16;

/// The samples of a recording, both channels in one, at the wanted rate or at another one that is told along.
pub(super) fn samples(bytes: &[u8], rate: u32) -> Result<(Vec<f32>, u32), String> {
    let rate = if RATES.contains(&rate) { rate } else { OWN_RATE };
    let damaged = |error: &dyn std::fmt::Display| format!("the Opus recording cannot be read: {error}");
    let mut reader = PacketReader::new(Cursor::new(bytes));
    let mut next = || reader.read_packet().map_err(|error| damaged(&error));
    let head = next()?.ok_or_else(|| damaged(&"it is empty"))?;
    let (skip, gain) = begin(&head).map_err(|fault| damaged(&fault))?;
    if !next()?.is_some_and(|packet| packet.data.starts_with(TAGS)) {
        return Err(damaged(&"its second packet is missing"));
    }
    let mut decoder = Decoder::new(rate, Channels::Mono).map_err(|error| damaged(&error))?;
    let samples_max = (SECONDS_MAX * f64::from(rate)) as usize;
    let at_rate = |places: u64| (places.saturating_mul(rate.into()) / u64::from(OWN_RATE)) as usize;
    let skip = at_rate(skip);
    let mut heard = Vec::new();
    let mut packet_samples = vec![0.0_f32; (f64::from(rate) / PACKETS_PER_SECOND) as usize];
    let mut end = None;
    while let Some(packet) = next()? {
        if packet.stream_serial() != head.stream_serial() || packet.data.is_empty() {
            continue;
        }
        let count = decoder.decode_float(&packet.data, &mut packet_samples, DecodeMode::Normal);
        let count = count.map_err(|error| damaged(&error))?;
        heard.extend(packet_samples.iter().take(count).map(|sample| sample * gain));
        if heard.len() > samples_max + skip {
            return Err(format!(
                "the Opus recording is longer than the {SECONDS_MAX:.0} seconds that the model hears; cut it"
            ));
        }
        end = packet.last_in_stream().then(|| at_rate(packet.absgp_page()));
    }
    // The last packet is mostly longer than what was left to say.
    heard.truncate(end.unwrap_or(heard.len()));
    heard.drain(..skip.min(heard.len()));
    if heard.is_empty() || heard.iter().any(|sample| !sample.is_finite()) {
        return Err("the Opus recording holds nothing that can be heard".to_owned());
    }
    Ok((heard, rate))
}

/// What the first packet says: how many places are skipped, and by what all is multiplied.
fn begin(head: &Packet) -> Result<(u64, f32), &'static str> {
    let data = head.data.strip_prefix(HEAD).ok_or("its first packet is missing")?;
    let number = |at: usize| {
        let bytes = data.get(at - HEAD.len()..)?.first_chunk::<2>()?;
        Some(u16::from_le_bytes(*bytes))
    };
    match data {
        // One or two channels, which are always in one stream.
        [0..16, 1..=2, _, _, _, _, _, _, _, _, 0, ..] => {}
        [0..16, ..] => return Err("it has more than two channels, which is not taken"),
        _ => return Err("it is of a version that is not known"),
    }
    let (Some(skip), Some(gain)) = (number(SKIP_AT), number(GAIN_AT)) else {
        return Err("its first packet is cut");
    };
    let decibels = f32::from(gain.cast_signed()) / 256.0;
    Ok((skip.into(), 10_f32.powf(decibels / 20.0)))
}

#[cfg(test)]
pub(super) mod tests {
    use ogg::PacketWriter;
    use ogg::writing::PacketWriteEndInfo;

    use super::*;

    /// A recording whose sound comes so many times.
    pub(in crate::engine::media) fn said_again(bytes: &[u8], times: u64) -> Vec<u8> {
        let mut reader = PacketReader::new(Cursor::new(bytes));
        let mut packets = Vec::new();
        while let Some(packet) = reader.read_packet().unwrap() {
            packets.push(packet.data);
        }
        let (heads, sound) = packets.split_at(2);
        let mut written = Vec::new();
        let mut writer = PacketWriter::new(&mut written);
        for head in heads {
            writer.write_packet(head.clone(), 1, PacketWriteEndInfo::EndPage, 0).unwrap();
        }
        let count = sound.len() as u64 * times;
        for (number, packet) in (1..).zip(sound.iter().cycle().take(count as usize)) {
            let info = match number == count {
                true => PacketWriteEndInfo::EndStream,
                false => PacketWriteEndInfo::NormalPacket,
            };
            writer.write_packet(packet.clone(), 1, info, number * 960).unwrap();
        }
        written
    }

    #[test]
    fn a_gain_is_obeyed_and_other_shapes_are_refused() {
        let head = |change: fn(&mut Vec<u8>)| {
            let mut data = b"OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00".to_vec();
            change(&mut data);
            let mut written = Vec::new();
            let mut writer = PacketWriter::new(&mut written);
            writer.write_packet(data, 1, PacketWriteEndInfo::EndStream, 0).unwrap();
            let packet = PacketReader::new(Cursor::new(written)).read_packet().unwrap().unwrap();
            begin(&packet)
        };
        assert_eq!(head(|_| {}), Ok((312, 1.0)));
        // Minus twenty decibels are a tenth.
        let quiet = head(|data| data[16..18].copy_from_slice(&(-20_i16 * 256).to_le_bytes())).unwrap();
        assert!((quiet.1 - 0.1).abs() < 1e-6);
        assert!(head(|data| data[8] = 16).unwrap_err().contains("version"));
        assert!(head(|data| data[9] = 3).unwrap_err().contains("two channels"));
        assert!(head(|data| data[18] = 1).unwrap_err().contains("two channels"));
        assert!(head(|data| data.truncate(12)).is_err());
        assert!(head(|data| data.truncate(4)).is_err());
    }
}
