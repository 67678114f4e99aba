//! Any schema and any grammar.
#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| archond_fuzz::json_schema(input));
