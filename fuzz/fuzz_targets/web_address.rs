//! Any text as an address in the web.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::web_address(input));
