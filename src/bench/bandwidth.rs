//! The bound that memory sets: each token that is written reads all weights that it uses once.
use std::path::Path;
use std::time::Duration;

use archond_models::gguf::{self, GgufError};
use serde::Serialize;
use tokio::time::Instant;

/// Read by each thread: far beyond any cache.
const READ_BYTES: usize = 256 << 20;
/// Rounds; the best counts, because neighbours can only make it slower.
const ROUNDS: usize = 3;

/// What the machine's memory allows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limit {
    /// What the processor reads from memory with so many threads, in bytes a second.
    pub bytes_per_second: f64,
    /// Weights that one token reads, in bytes.
    pub bytes_per_token: u64,
    /// The quotient: no program writes faster than this here, one answer alone.
    pub tokens_per_second: f64,
}

impl Limit {
    /// Measures the memory with so many threads.
    pub fn measure(threads: u32, bytes_per_token: u64) -> Self {
        let bytes_per_second = memory_bytes_per_second(threads);
        Self {
            bytes_per_second,
            bytes_per_token,
            tokens_per_second: bytes_per_second / bytes_per_token.max(1) as f64,
        }
    }
}

/// How many bytes of a model file one token reads: of experts only those that are used, of the embeddings of the input one row, where they
/// are not the output's, too.
pub fn bytes_per_token(model: &Path) -> Result<u64, GgufError> {
    let head = gguf::check(model)?;
    let architecture = head.text("general.architecture").unwrap_or_default();
    let number = |name: &str| head.number(&format!("{architecture}.{name}"));
    let (used, experts) = (number("expert_used_count").unwrap_or(1), number("expert_count").unwrap_or(0));
    let output_is_apart = head.tensors.iter().any(|tensor| tensor.name == "output.weight");
    let mut ends: Vec<u64> = head.tensors.iter().map(|tensor| tensor.offset).collect();
    ends.sort_unstable();
    let last = ends.last().copied().unwrap_or(0);
    // A tensor ends where the next begins; the last one is small beside the whole, whatever it is.
    let bytes = |offset: u64| {
        let next = ends.partition_point(|other| *other <= offset);
        ends.get(next).copied().unwrap_or(last).saturating_sub(offset)
    };
    let read = head.tensors.iter().map(|tensor| {
        let whole = bytes(tensor.offset);
        if tensor.name.contains("_exps") && experts > 0 {
            whole / experts * used
        } else if tensor.name.starts_with("per_layer_token_embd")
            || (tensor.name == "token_embd.weight" && output_is_apart)
        {
            0
        } else {
            whole
        }
    });
    Ok(read.sum())
}

/// Bytes a second that so many threads read together.
fn memory_bytes_per_second(threads: u32) -> f64 {
    let threads = usize::try_from(threads.max(1)).unwrap_or(1);
    let memory: Vec<Vec<u64>> = (0..threads).map(|thread| vec![thread as u64; READ_BYTES / 8]).collect();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let sum: u64 = std::thread::scope(|scope| {
            let readers: Vec<_> = memory.iter().map(|part| scope.spawn(|| sum(part))).collect();
            readers.into_iter().filter_map(|reader| reader.join().ok()).fold(0, u64::wrapping_add)
        });
        std::hint::black_box(sum);
        best = best.min(began.elapsed());
    }
    (READ_BYTES * threads) as f64 / best.as_secs_f64().max(1e-9)
}

/// Eight sums side by side: one alone would wait for the adder instead of the memory.
fn sum(part: &[u64]) -> u64 {
    let mut sums = [0_u64; 8];
    for chunk in part.chunks_exact(8) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*value);
        }
    }
    sums.into_iter().fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_model_reads_nearly_its_whole_file() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny-gemma4-tools.gguf");
        let (read, whole) = (bytes_per_token(&model).unwrap(), std::fs::metadata(&model).unwrap().len());
        assert!(read > whole / 2 && read < whole, "{read} of {whole}");
    }

    #[test]
    fn the_sum_is_that_of_all() {
        assert_eq!(sum(&(0..64).collect::<Vec<_>>()), 2016);
    }
}
