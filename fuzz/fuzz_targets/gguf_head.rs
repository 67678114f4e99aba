//! Any bytes as the head of a model file.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::gguf_head(input));
