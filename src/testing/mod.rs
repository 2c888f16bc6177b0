//! Room `testing`: what tests need that is no part of the broker. A feature, never in the shipped
//! binary.

mod wire_client;

pub use wire_client::{WireClient, encode_request};
