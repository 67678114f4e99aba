//! Tests of the pool, through its handle alone.
