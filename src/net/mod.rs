//! Listeners and the connection loop: bytes in, frames to the handlers, responses out in order.
//!
//! A connection runs in one task where it arrived. Knows nothing of what the requests mean.

mod connection;
mod listener;
mod write;

pub use connection::{ConnectionLimits, serve_connection};
pub use listener::{BoundListener, ListenError, accept_connections};
