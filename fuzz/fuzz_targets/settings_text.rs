//! Any text as a profile and as the house file.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::settings_text(input));
