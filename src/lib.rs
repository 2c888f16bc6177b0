//! Tidemill: a Kafka-wire-compatible stream broker with full transactions that runs its users'
//! WebAssembly inside the broker, exactly once.
//!
//! The rooms, from the ground up, and what each may import: see `ARCHITECTURE.md`;
//! `tests/it/tidy.rs` checks it.

pub mod admin;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod disk;
pub mod error_code;
pub mod handlers;
pub mod ids;
pub mod interceptor;
pub mod log;
pub mod metadata;
pub mod metrics;
pub mod net;
pub mod partition;
pub mod plugin;
pub mod processor;
pub mod quota;
pub mod server;
pub mod state;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "wasm")]
pub mod wasm;
pub mod wire;
