//! What a server sent, unfolded within bounds.
use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::{WebFault, words};

/// How many times larger than packed a page may be. Text is packed to a tenth of itself; gzip can do a thousandth.
const UNFOLDING_MAX: u64 = 200;
/// So much may come of anything, however small.
const UNFOLDED_BYTES_MIN: u64 = 64 << 10;

/// A body as it came.
pub(super) struct Packed {
    pub(super) kind: Option<String>,
    pub(super) packing: Option<String>,
    pub(super) bytes: Vec<u8>,
    /// Whether more would have come.
    pub(super) is_cut: bool,
}

/// A body as it is meant.
#[derive(Debug)]
pub(super) struct Body {
    /// Its type, as the server says.
    pub(super) kind: Option<String>,
    pub(super) bytes: Vec<u8>,
    /// Whether there would have been more.
    pub(super) is_cut: bool,
}

/// Unpacks it, to at most so many bytes.
pub(super) fn unfold(packed: Packed, bytes_max: u64) -> Result<Body, WebFault> {
    let Packed { kind, packing, bytes, is_cut } = packed;
    match packing.as_deref().map(|packing| packing.trim().to_ascii_lowercase()).as_deref() {
        None | Some("" | "identity") => Ok(Body { kind, bytes, is_cut }),
        Some("gzip" | "x-gzip") => {
            let mut unfolded = Vec::new();
            let mut from = MultiGzDecoder::new(bytes.as_slice()).take(bytes_max.saturating_add(1));
            let read = from.read_to_end(&mut unfolded);
            // By what was unfolded so far: a bomb is one also where it is cut.
            let used = bytes.len() - from.get_ref().get_ref().len();
            let fair = (used as u64).saturating_mul(UNFOLDING_MAX).max(UNFOLDED_BYTES_MIN);
            let length = unfolded.len() as u64;
            if length > fair {
                return Err(WebFault::Bomb(UNFOLDING_MAX));
            }
            match read {
                // The end was not read: what came before it is good.
                Err(_) if is_cut && !unfolded.is_empty() => {}
                other => drop(other.map_err(WebFault::Damaged)?),
            }
            unfolded.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
            Ok(Body { kind, bytes: unfolded, is_cut: is_cut || length > bytes_max })
        }
        Some(other) => Err(WebFault::Packing(words::shorten(other))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut to = GzEncoder::new(Vec::new(), Compression::best());
        to.write_all(bytes).unwrap();
        to.finish().unwrap()
    }

    fn packed(packing: Option<&str>, bytes: Vec<u8>, is_cut: bool) -> Packed {
        Packed { kind: None, packing: packing.map(str::to_owned), bytes, is_cut }
    }

    /// Text of which no part is like another.
    fn text() -> Vec<u8> {
        (0..20_000_u32)
            .flat_map(|number| format!("{} ", number.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    #[test]
    fn what_was_packed_comes_out_whole() {
        for packing in ["gzip", "x-gzip", " GZIP "] {
            let body = unfold(packed(Some(packing), gzip(&text()), false), 1 << 20).unwrap();
            assert!(body.bytes == text() && !body.is_cut);
        }
        for packing in [None, Some("identity")] {
            assert_eq!(
                unfold(packed(packing, b"as it is".to_vec(), false), 1 << 20).unwrap().bytes,
                b"as it is"
            );
        }
        let small = unfold(packed(Some("gzip"), gzip(&[b'a'; 60_000]), false), 1 << 20).unwrap();
        assert_eq!(small.bytes.len(), 60_000, "a small page may be as dull as it likes");
    }

    #[test]
    fn a_bomb_is_not_unfolded() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        for bytes_max in [64 << 20, 1 << 20] {
            let refused = unfold(packed(Some("gzip"), bomb.clone(), false), bytes_max);
            assert!(matches!(refused, Err(WebFault::Bomb(_))), "{bytes_max}");
        }
    }

    #[test]
    fn too_much_is_cut_and_half_of_it_is_half() {
        let body = unfold(packed(Some("gzip"), gzip(&text()), false), 1000).unwrap();
        assert!(body.bytes == text()[..1000] && body.is_cut);
        let half = |is_cut| {
            let mut bytes = gzip(&text());
            bytes.truncate(bytes.len() / 2);
            unfold(packed(Some("gzip"), bytes, is_cut), 1 << 20)
        };
        let body = half(true).unwrap();
        assert!(text().starts_with(&body.bytes) && body.is_cut && body.bytes.len() > 1000);
        assert!(matches!(half(false), Err(WebFault::Damaged(_))));
    }

    #[test]
    fn other_packings_are_not_read() {
        for other in ["br", "zstd", "deflate", "gzip, gzip"] {
            let refused = unfold(packed(Some(other), Vec::new(), false), 1000);
            assert!(matches!(refused, Err(WebFault::Packing(_))), "{other}");
        }
    }
}
