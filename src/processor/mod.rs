//! Processors: the read-process-write loop that runs a user's module exactly once.
//!
//! A processor is one task per input partition; a task reads committed records, calls the module,
//! and commits outputs, dead letters and the consumed offset in one transaction. It goes through
//! the same broker calls as a client's request: no side door. Nothing here knows sockets or wasmtime.

pub mod backend;
mod dead_letter;
pub mod definition;
mod engine;
pub mod logs;
#[cfg(any(test, feature = "testing"))]
pub mod memory_backend;
pub mod partitioner;
pub mod registry;
mod span;
pub mod status;
mod unit;
