//! Tests of the memory actor, through its handle alone.
