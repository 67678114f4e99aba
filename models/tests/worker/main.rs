//! Tests of the worker process. This binary is also the worker, so it has a `main` of its own.
fn main() {}
