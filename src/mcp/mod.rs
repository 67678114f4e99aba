//! MCP servers as sources of tools: programs of the user's that are kept running for each Archon, and servers that are reached by HTTP.
//!
//! Reading order: `offer` is what a server says of a tool, [`accepted`] what the user has said yes to, both pure but for their files;
//! `directory` is which servers there are; `answer` and `bounded` judge what a server says, `words` keeps what it says about itself;
//! `connection` is one conversation with a server, `life` its restarts, `source` what the house sees of it. The protocol is that of modelcontextprotocol.io, as `rmcp` speaks it.
//!
//! A server is an untrusted party: it is closed in like a shell, what it says is bounded, no risk is lowered on its word, and a tool whose
//! description or schema is not the one that the user accepted is not offered to any model.
pub mod accepted;
mod answer;
mod bounded;
mod connection;
mod directory;
mod life;
mod offer;
mod source;
mod words;

pub use accepted::{Accepted, PinError, Pins, Seen, Standing, Tally};
pub use connection::look;
pub(crate) use directory::free_name;
pub use directory::{McpDirectory, server_names};
pub use offer::Offer;
pub use source::McpSource;
