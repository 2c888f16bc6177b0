//! Runs users' WebAssembly components: the only room that names wasmtime. Implements `plugin::PluginHost`.
//!
//! Checks and compiles modules at upload, keeps both forms in a directory, and makes instances that can
//! reach nothing but their log and config, and processors their state, within memory, time and output limits. Must not know topics
//! beyond their names, sockets, or the broker; generated bindings and engine types do not leave the room.
//!
//! Calls may run WASI's own executor for a moment: call from a thread outside of any async task, as
//! tokio's blocking threads are.

mod bindings;
mod engine;
mod fault;
mod host;
mod instance;
mod interceptor;
mod log;
mod partitioner;
mod random;
mod state;
mod store;
mod surroundings;
mod upload;

pub use host::{WasmHost, WasmHostOptions};

#[cfg(test)]
mod tests;
