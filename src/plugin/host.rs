//! The two traits between the broker and its users' code, and what an instance is given to live with.
//!
//! What takes long or is in no hurry is synchronous, for blocking threads; interceptors' calls are futures.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{PartitionIndex, TopicName};
use futures_util::future::BoxFuture;

use crate::plugin::{
    InputBatch, InterceptorInstance, InterceptorOptions, ModuleDescription, ModuleDigest, OutputBatch,
    PartitionerInstance, PartitionerOptions, PluginError, PluginKind, ProcessFault, Surroundings,
    TimerDomain,
};

/// Keeps modules and makes instances of them.
pub trait PluginHost: Send + Sync {
    /// Checks a module (format, world, imports, size), compiles it and keeps both forms. The same
    /// module again answers at once. Costs seconds of CPU for big modules: call from a background thread.
    fn compile(&self, module: &[u8]) -> Result<ModuleDescription, PluginError>;

    /// Makes sure that a stored module is compiled and in memory, so that `instantiate` is quick.
    fn load(&self, digest: &ModuleDigest) -> Result<(), PluginError>;

    /// What is known about one stored module.
    fn describe(&self, digest: &ModuleDigest) -> Result<ModuleDescription, PluginError>;

    /// All stored modules, ordered by digest.
    fn list(&self) -> Result<Vec<ModuleDescription>, PluginError>;

    /// Forgets a module. Instances that run it live on until they are dropped.
    fn remove(&self, digest: &ModuleDigest) -> Result<(), PluginError>;

    /// Makes a processor's instance and runs the guest's `init`.
    fn instantiate(
        &self,
        digest: &ModuleDigest,
        options: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError>;

    /// Makes an interceptor's instance and runs the guest's `configure`. The module must be loaded: nothing is
    /// compiled here. A host that only knows processors leaves this out.
    fn instantiate_interceptor<'a>(
        &'a self,
        _digest: &'a ModuleDigest,
        _options: InterceptorOptions,
    ) -> BoxFuture<'a, Result<Box<dyn InterceptorInstance>, PluginError>> {
        Box::pin(std::future::ready(Err(PluginError::WrongKind { wanted: PluginKind::Interceptor })))
    }

    /// Makes a partitioner's instance and runs the guest's `configure`. A host that only knows processors leaves
    /// this out.
    fn instantiate_partitioner(
        &self,
        _digest: &ModuleDigest,
        _options: PartitionerOptions,
    ) -> Result<Box<dyn PartitionerInstance>, PluginError> {
        Err(PluginError::WrongKind { wanted: PluginKind::Partitioner })
    }
}

/// One running guest: its own memory, nothing shared with any other instance.
pub trait ProcessorInstance: Send {
    /// One call for a whole batch, with what the guest may ask for meanwhile. After a fault whose
    /// `instance_survives` says no, drop the instance: every further call answers `ProcessFault::Dead`. A fault says
    /// nothing about what the guest has written to the state before: the caller takes it back.
    fn process(
        &mut self,
        batch: &InputBatch,
        surroundings: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault>;

    /// One call for timers of one domain that are due: records with a timer's id as key, its payload as value and its
    /// time as timestamp. Everything else is as with `process`.
    fn on_timers(
        &mut self,
        domain: TimerDomain,
        due: &InputBatch,
        surroundings: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault>;

    /// Bytes of its linear memory, which grows and never shrinks; 0 once it is dead.
    fn memory_bytes(&self) -> u64;
}

/// Everything that an instance is given.
#[derive(Clone)]
pub struct InstanceOptions {
    /// What it may use.
    pub limits: Limits,
    /// Its configuration, as the guest's `config` import answers it.
    pub config: Vec<(String, String)>,
    /// Who it runs as.
    pub context: InstanceContext,
    /// Where its log lines go.
    pub log: LogSink,
    /// Where it counts.
    pub counters: CounterSink,
    /// Whom a long call lets go first.
    pub give_way: GiveWay,
}

/// Who an instance runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceContext {
    /// The processor's name.
    pub processor: String,
    /// The input topic of its task.
    pub topic: TopicName,
    /// The input partition of its task.
    pub partition: PartitionIndex,
}

/// What an instance may use. Crossing a bound is a fault, never a slow broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory.
    pub memory_bytes_max: usize,
    /// How long one `process` call may run; while it gives way no time passes.
    pub batch_time_max: Duration,
    /// Wall time of instantiation and the guest's `init`.
    pub init_time_max: Duration,
    /// Bytes of one call's output in the flat layout.
    pub output_bytes_max: usize,
    /// Log lines in any one second; more are counted and dropped.
    pub log_lines_per_second: u32,
    /// Bytes of one log line; longer ones are cut.
    pub log_line_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes_max: 64 << 20,
            batch_time_max: Duration::from_secs(2),
            init_time_max: Duration::from_secs(10),
            output_bytes_max: 16 << 20,
            log_lines_per_second: 100,
            log_line_bytes_max: 4096,
        }
    }
}

/// Receives an instance's log lines, on the thread that calls the instance.
#[derive(Clone)]
pub struct LogSink(Arc<dyn Fn(LogLine) + Send + Sync>);

impl LogSink {
    /// A sink that calls `receive` for each line. It must be quick: the guest's deadline runs on.
    pub fn new(receive: impl Fn(LogLine) + Send + Sync + 'static) -> LogSink {
        LogSink(Arc::new(receive))
    }

    /// A sink that drops every line.
    pub fn none() -> LogSink {
        LogSink::new(|_| {})
    }

    /// Hands over one line.
    pub fn send(&self, line: LogLine) {
        (self.0)(line);
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSink")
    }
}

/// Asked by a call on its own thread after each slice of its time: it may wait there while others have theirs.
#[derive(Clone)]
pub struct GiveWay(Arc<dyn Fn() + Send + Sync>);

impl GiveWay {
    /// Calls `wait`, which comes back when the call may go on.
    pub fn new(wait: impl Fn() + Send + Sync + 'static) -> GiveWay {
        GiveWay(Arc::new(wait))
    }

    /// Calls go on without asking.
    pub fn never() -> GiveWay {
        GiveWay::new(|| {})
    }

    /// A slice is over.
    pub fn now(&self) {
        (self.0)();
    }
}

impl fmt::Debug for GiveWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GiveWay")
    }
}

/// Receives what a guest adds to its counters, on the thread that calls the instance.
#[derive(Clone)]
pub struct CounterSink(Arc<AddToCounter>);

type AddToCounter = dyn Fn(&str, u64) + Send + Sync;

impl CounterSink {
    /// A sink that calls `add` with a counter's name, as the guest gave it, and what to add.
    pub fn new(add: impl Fn(&str, u64) + Send + Sync + 'static) -> CounterSink {
        CounterSink(Arc::new(add))
    }

    /// A sink that counts nothing.
    pub fn none() -> CounterSink {
        CounterSink::new(|_, _| {})
    }

    /// Adds to a counter.
    pub fn add(&self, counter: &str, value: u64) {
        (self.0)(counter, value);
    }
}

impl fmt::Debug for CounterSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CounterSink")
    }
}

/// One line that a guest wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How grave it is.
    pub level: LogLevel,
    /// How the guest wrote it.
    pub source: LogSource,
    /// The text, cut at the limit.
    pub message: String,
    /// How many lines before this one were dropped for coming too fast.
    pub dropped_before: u64,
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever debugs the plugin.
    Trace,
    /// For whoever develops the plugin.
    Debug,
    /// What happens.
    Info,
    /// What should be looked at.
    Warn,
    /// What went wrong.
    Error,
}

/// How a guest wrote a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// By the contract's `log` import.
    Log,
    /// To its standard output.
    Stdout,
    /// To its standard error.
    Stderr,
}
