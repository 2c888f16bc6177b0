//! Processors: the read-process-write loop that runs a user's module exactly once.
//!
//! A processor is one task per input partition; a task reads committed records, calls the module,
//! and commits outputs, dead letters and the consumed offset in one transaction. It goes through
//! the same broker calls as a client's request: no side door. Nothing here knows sockets or wasmtime.

pub mod attachments;
pub mod backend;
mod breaker;
mod broker_backend;
mod chain;
pub mod commit_note;
mod commit_stage;
pub mod context;
mod dead_letter;
pub mod definition;
mod engine;
#[cfg(test)]
pub(crate) mod fake_host;
pub mod inline;
mod isolation;
pub mod log_topic;
pub mod logs;
mod manager;
#[cfg(any(test, feature = "testing"))]
pub mod memory_backend;
pub mod meters;
pub mod movers;
pub mod partitioner;
pub mod placement;
mod read_stage;
pub mod registry;
mod span;
pub mod state_queries;
mod state_restore;
pub mod status;
pub mod supervisor;
mod task;
mod turns;
mod unit;

pub use broker_backend::BrokerBackend;

#[cfg(test)]
pub(crate) mod tests;
