//! The `archond` binary.
fn main() {}
