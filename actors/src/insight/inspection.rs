//! The state of an actor, as it tells it. Numbers, ids and states: never what a person or a model said.
use std::time::Duration;

/// One value of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An id, a name, a state word.
    Text(String),
    /// How many.
    Count(u64),
    /// How long.
    Duration(Duration),
    /// Whether.
    Flag(bool),
    /// Several ids or names.
    List(Vec<String>),
}

/// The state of an actor: name and value, in the order in which a person reads them.
pub type Inspection = Vec<(&'static str, Fact)>;

impl From<usize> for Fact {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<u32> for Fact {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<u64> for Fact {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<bool> for Fact {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Duration> for Fact {
    fn from(duration: Duration) -> Self {
        Self::Duration(duration)
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<String>> for Fact {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}
