//! Where tools may go in the web. Pure: which addresses can be written, which hosts are asked, which addresses they may lead to.
//!
//! What is decided here is decided for a stranger: a model that read somebody's page may have been told to ask for this address.
//! [`Place`] is what is written, [`WebRules`] is where it may lead. What an address is, `archond_models::remote` knows.
mod place;
mod rules;

pub use place::{Place, PlaceFault, URL_BYTES_MAX};
pub use rules::{Ground, Named, Refusal, WebRules};
