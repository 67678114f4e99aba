//! Pairing codes: drawn from the system's randomness, kept as hashes.
use std::fs::File;
use std::io::Read;

use archond_actors::access::{code, normal_code};
use archond_actors::domain::CodeHash;
use sha2::{Digest, Sha256};

/// Random bytes of one code: some are left out, to be fair; that so many are too few happens once in the age of the universe.
const RANDOM_BYTES: usize = 64;
/// Before what is hashed, so that the hash is of no use for anything else.
const PURPOSE: &[u8] = b"archond pairing code\n";

/// A new code and its hash. `None`: the system gives no randomness.
pub fn draw() -> Option<(String, CodeHash)> {
    let mut random = [0; RANDOM_BYTES];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random)).ok()?;
    let code = code(&random)?;
    let hash = hash(&code);
    Some((code, hash))
}

/// The hash of a code, as people write it.
pub fn hash(written: &str) -> CodeHash {
    let mut hasher = Sha256::new();
    hasher.update(PURPOSE);
    hasher.update(normal_code(written).as_bytes());
    CodeHash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_differ_and_are_known_again_as_people_write_them() {
        let (code, hashed) = draw().unwrap();
        assert_eq!(code.len(), 8);
        let dashed = format!(" {}-{} ", &code[..4].to_lowercase(), &code[4..]);
        assert_eq!(hash(&dashed), hashed);
        assert_ne!(draw().unwrap(), (code, hashed));
        assert_ne!(hash("AAAAAAAA"), hash("AAAAAAAB"));
    }
}
