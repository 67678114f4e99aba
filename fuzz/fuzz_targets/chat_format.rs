//! Any conversation and any output of a model.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::chat_format(input));
