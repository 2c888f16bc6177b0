//! The state of processors' tasks: stores of keys and values that change together with a task's transactions.
//!
//! The truth is a compacted changelog topic with one partition a task; what is kept here is a cache of it, which
//! is rebuilt when in doubt. `StateDatabase` is the cache of the whole broker, `TaskState` what one task sees:
//! layers of what is not committed yet above what is. No topics, no transactions, no guests: records go out as keys
//! and values and come back the same way. All of it is synchronous and may touch the disk: call it on blocking
//! threads.

mod access;
mod cache;
mod codec;
mod core;
mod database;
mod error;
mod hot;
mod layer;
mod limits;
mod mark;
mod reader;
mod task;
mod timers;
mod view;

pub use access::CallState;
pub use codec::{ChangelogError, check_store_name};
pub use database::{Changelog, StateDatabase, TaskKey, TaskOptions, TaskSummary};
pub use error::StoreError;
pub use limits::{KEY_BYTES_MAX, STORE_NAME_BYTES_MAX, StateLimits, VALUE_BYTES_MAX};
pub use reader::StateReader;
pub use task::{ChangelogRecord, PendingUnit, TaskState};

#[cfg(test)]
mod tests;
