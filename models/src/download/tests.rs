//! Fetching, tried on real servers of this machine.
