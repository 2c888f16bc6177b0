//! The plugin contract in plain types: what a host of users' WebAssembly offers to the rooms above.
//!
//! `PluginHost` keeps modules and makes instances; a `ProcessorInstance` turns an `InputBatch` into an
//! `OutputBatch`. The flat byte layout that crosses into guests (`wit/FLAT.md`) lives here, so that
//! every host and every test speaks the same one. Must not name wasmtime, and knows no topics beyond
//! their names, no logs and no sockets.

mod counters;
mod disabled;
mod error;
mod fault;
mod host;
mod input;
mod interceptor;
mod module;
mod output;
mod partitioner;
mod reader;
mod state;
mod varint;

pub use counters::{OTHER_COUNTER, OWN_COUNTERS_MAX, OwnCounters};
pub use disabled::DisabledHost;
pub use error::PluginError;
pub use fault::{FaultReason, ProcessFault};
pub use host::{
    CounterSink, GiveWay, InstanceContext, InstanceOptions, Limits, LogLevel, LogLine, LogSink, LogSource,
    PluginHost, ProcessorInstance,
};
pub use input::{InputBatch, InputChunk, InputRecord, InputRecords, MalformedInput};
pub(crate) use interceptor::cut_message;
pub use interceptor::{
    Acknowledgement, Direction, InterceptorInstance, InterceptorOptions, Origin, RejectionCode, Verdict,
    Verdicts,
};
pub use module::{CONTRACT_VERSION, ModuleDescription, ModuleDigest, PluginKind, World};
pub(crate) use output::put_body;
pub use output::{BadOutput, Headers, NewOutput, OutputBatch, OutputBuilder, OutputRecord, RawHeaders};
pub use partitioner::{PartitionerInstance, PartitionerOptions, check_choices};
pub use state::{
    KeyRange, NoState, Page, PageLimits, ScanDirection, StateAccess, StateError, StoreId, Surroundings,
    Timer, TimerDomain,
};
