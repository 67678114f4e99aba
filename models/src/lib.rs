//! Everything archond knows about its models.
