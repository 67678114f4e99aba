//! Any bytes as what a client sends to the admin socket.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::admin_lines(input));
