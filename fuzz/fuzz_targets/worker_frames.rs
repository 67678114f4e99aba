//! Any bytes as what a model worker says.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::worker_frames(input));
