//! What a processor is: its module, its inputs and outputs, and how it commits and fails.
//!
//! A definition is a value: checked here, stored as a MessagePack record by whoever keeps the
//! catalogue, run by the supervisor. Refusals are plain sentences for the person who deploys. No
//! IO, no async.

use super::backend::Provenance;
use super::placement::Partitioner;
use crate::ids::{GroupId, Offset, TopicName, TransactionalId};
use crate::ids::{PartitionIndex, TopicPartition};
use crate::state::check_store_name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

mod loops;
pub use loops::find_loop;

/// The longest name of a topic that Kafka accepts.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// The longest name of a processor: room is left for `<name>.dlq`.
pub const PROCESSOR_NAME_BYTES_MAX: usize = 200;

/// Modules behind the first of a chain.
const STAGES_MAX: usize = 15;

/// One processor, as deployed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProcessorDefinition {
    /// Its name: also the consumer group under which it commits.
    pub name: String,
    /// The SHA-256 digest (hex) of the module that it runs.
    pub module: String,
    /// The topics that it reads; one task per partition of each.
    #[serde(with = "topic_names")]
    pub inputs: Vec<TopicName>,
    /// The topics that the module may write to.
    #[serde(with = "topic_names")]
    pub outputs: Vec<TopicName>,
    /// Where to begin where nothing has been committed yet.
    #[serde(default)]
    pub start: StartPosition,
    /// Handed to the module when an instance starts.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// When a transaction is closed.
    #[serde(default)]
    pub commit: CommitPolicy,
    /// What holds after a failure.
    #[serde(default, skip_serializing_if = "Guarantee::is_default")]
    pub guarantee: Guarantee,
    /// What it may use.
    #[serde(default)]
    pub limits: TaskLimits,
    /// What happens to a record that the module cannot process.
    #[serde(default)]
    pub on_error: ErrorPolicy,
    /// Whether its tasks run.
    #[serde(default)]
    pub run: RunMode,
    /// Why it is paused, if it was not a person who paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_cause: Option<String>,
    /// The modules behind the first, in one transaction with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Stage>,
    /// The names of the stores in which each task keeps its state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<String>,
    /// Whether its tasks may set timers though it names no store; with a store, they may anyhow.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timers: bool,
    /// What chooses the partitions of records for which the module names none, by output topic; else their keys do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitioners: BTreeMap<String, Partitioner>,
    /// What it does: only the broker's own processors are no users' modules.
    #[serde(skip)]
    pub work: Work,
}

/// What a processor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Work {
    /// It has its module process what it reads.
    #[default]
    RunModule,
    /// It moves records, as they are, from the ingress of a topic to the partitions that the topic's partitioner
    /// chooses.
    MoveToPartitions,
}

impl Work {
    /// Whether the cluster has taken before what is written.
    pub(super) fn provenance(self) -> Provenance {
        match self {
            Work::RunModule => Provenance::New,
            Work::MoveToPartitions => Provenance::Moved,
        }
    }
}

/// A module of a chain, behind the first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// The digest of the module.
    pub module: String,
    /// What it reads: records that a module before it sends to this name come to it instead of to a topic.
    pub input: String,
    /// Handed to it when an instance starts.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// What a task's failures do to its outputs and its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Nothing: outputs, state and consumed offset are one transaction.
    #[default]
    ExactlyOnce,
    /// What was done since the last commit may be done again, and its outputs and changes of the state are there twice.
    /// Outputs can be read as soon as they are written.
    AtLeastOnce,
}

impl Guarantee {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Guarantee::default()
    }
}

/// Where a task begins on a partition without a committed offset.
///
/// Written `committed`, `earliest`, `latest`, `offset:N` or `time:MS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StartPosition {
    /// Only ever where the group has committed; without that, at the earliest record.
    #[default]
    Committed,
    /// At the earliest record.
    Earliest,
    /// Behind the last stable record at the task's first start.
    Latest,
    /// At this offset of each partition, or where its log begins or ends if it does not reach there.
    Offset(Offset),
    /// At the first record whose timestamp is this or later, in milliseconds since 1970; else as `Latest`.
    Time(i64),
}

impl std::fmt::Display for StartPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartPosition::Committed => f.write_str("committed"),
            StartPosition::Earliest => f.write_str("earliest"),
            StartPosition::Latest => f.write_str("latest"),
            StartPosition::Offset(offset) => write!(f, "offset:{offset}"),
            StartPosition::Time(ms) => write!(f, "time:{ms}"),
        }
    }
}

impl From<StartPosition> for String {
    fn from(start: StartPosition) -> String {
        start.to_string()
    }
}

/// A text that names no position.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is none of committed, earliest, latest, offset:N and time:MS (milliseconds since 1970)")]
pub struct NoStartPosition(String);

impl TryFrom<String> for StartPosition {
    type Error = NoStartPosition;

    fn try_from(text: String) -> Result<StartPosition, NoStartPosition> {
        let number = |number: &str| number.parse::<i64>().ok();
        let position = match text.split_once(':') {
            None => match text.as_str() {
                "committed" => Some(StartPosition::Committed),
                "earliest" => Some(StartPosition::Earliest),
                "latest" => Some(StartPosition::Latest),
                _ => None,
            },
            Some(("offset", offset)) => number(offset).and_then(Offset::from_wire).map(StartPosition::Offset),
            Some(("time", ms)) => number(ms).filter(|ms| *ms >= 0).map(StartPosition::Time),
            Some(_) => None,
        };
        position.ok_or(NoStartPosition(text))
    }
}

/// Whether a processor's tasks run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunMode {
    /// They run.
    #[default]
    Running,
    /// They are stopped until someone resumes the processor.
    Paused,
}

/// The bounds that close a transaction, whichever comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CommitPolicy {
    /// The least time between two commits of a task under a steady stream.
    pub interval_ms: u64,
    /// Source records per transaction.
    pub records_max: u64,
    /// Output bytes per transaction; one call's output may go over it.
    pub bytes_max: u64,
}

impl Default for CommitPolicy {
    fn default() -> CommitPolicy {
        CommitPolicy { interval_ms: 100, records_max: 10_000, bytes_max: 8 << 20 }
    }
}

/// What a processor's tasks and their instances may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskLimits {
    /// Linear memory of the instance.
    pub memory_bytes: u64,
    /// Time for one call.
    pub batch_time_ms: u64,
    /// Output of one call.
    pub output_bytes: u64,
    /// Records that may come of one record or timer of a call: no single one floods the outputs.
    pub output_ratio: u64,
    /// State of one task: keys and values with something for each entry.
    pub state_bytes: u64,
    /// The share of the broker's cores that the calls of all its tasks may take together, in the mean.
    pub cpu_percent: u64,
    /// Lines of log that its tasks may write in a second, together; more are counted only.
    pub log_lines_per_second: u64,
}

impl Default for TaskLimits {
    fn default() -> TaskLimits {
        TaskLimits {
            memory_bytes: 64 << 20,
            batch_time_ms: 2_000,
            output_bytes: 16 << 20,
            output_ratio: 10_000,
            state_bytes: 1 << 30,
            cpu_percent: 100,
            log_lines_per_second: 100,
        }
    }
}

/// What happens when the module fails on a record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorPolicy {
    /// How often a failing record is tried again before `then`.
    pub retries: u32,
    /// The wait before the first retry; it doubles with each.
    pub backoff_ms: u64,
    /// What to do after the last retry.
    pub then: FailureAction,
    /// Where dead letters go; `<name>.dlq` if not said.
    #[serde(with = "optional_topic_name")]
    pub dead_letter_topic: Option<TopicName>,
    /// When so many records fail that the processor is paused.
    pub breaker: BreakerPolicy,
}

/// When a processor is paused because too many of its records fail: as dead letters or skipped, in one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BreakerPolicy {
    /// The time within which failures count together.
    pub window_ms: u64,
    /// The share of records that must have failed; 0 never pauses.
    pub failures_percent: u32,
    /// How many must have failed at least.
    pub failures_min: u64,
}

impl Default for BreakerPolicy {
    fn default() -> BreakerPolicy {
        BreakerPolicy { window_ms: 60_000, failures_percent: 50, failures_min: 100 }
    }
}

impl Default for ErrorPolicy {
    fn default() -> ErrorPolicy {
        ErrorPolicy {
            retries: 2,
            backoff_ms: 100,
            then: FailureAction::DeadLetter,
            dead_letter_topic: None,
            breaker: BreakerPolicy::default(),
        }
    }
}

/// The end of a record that cannot be processed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureAction {
    /// It is written to the dead-letter topic in the same transaction, and the stream goes on.
    DeadLetter,
    /// The task stops in front of it.
    Stop,
    /// It is counted and left out.
    Skip,
}

/// Why a definition is refused, in a sentence for the person who deploys it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DefinitionError {
    /// Which rule it breaks: a stable name for programs.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl DefinitionError {
    fn new(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> DefinitionError {
        DefinitionError { code, message: message.into(), hint: hint.into() }
    }

    /// More memory than is left for it.
    pub(super) fn no_memory_left(asks: &MemoryAsked, taken: u64, bytes_max: u64) -> DefinitionError {
        let MemoryAsked { name, tasks, modules, bytes_each } = asks;
        let of_modules = if *modules == 1 { String::new() } else { format!(" of {modules} modules") };
        let message = format!(
            "Processor \"{name}\" may take {}: {tasks} tasks{of_modules} with {} each. All processors may have {} \
             together, of which the others have taken {}.",
            shown_bytes(asks.bytes()),
            shown_bytes(*bytes_each),
            shown_bytes(bytes_max),
            shown_bytes(taken),
        );
        let hint = "Give it less by limits.memory_bytes, read topics of fewer partitions, or raise the broker's tidemill.processors.memory.bytes.";
        DefinitionError::new("NO_MEMORY_LEFT", message, hint)
    }

    /// Inputs that are partitioned differently.
    pub(super) fn not_co_partitioned(cause: &str) -> DefinitionError {
        let message = format!("The inputs do not fit together: {cause}.");
        let hint = "Give the topics the same number of partitions, or have a processor without state write to one that fits.";
        DefinitionError::new("NOT_CO_PARTITIONED", message, hint)
    }
}

/// The memory that a processor may take.
pub(super) struct MemoryAsked {
    name: String,
    tasks: u64,
    modules: u64,
    bytes_each: u64,
}

impl MemoryAsked {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.tasks.saturating_mul(self.modules).saturating_mul(self.bytes_each)
    }
}

fn shown_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 { format!("{:.1} GiB", mib / 1024.0) } else { format!("{mib:.1} MiB") }
}

impl ProcessorDefinition {
    /// What so many tasks of it may take: an instance of each module and each partitioner has a memory of its own.
    pub(super) fn memory_asked(&self, tasks: u64) -> MemoryAsked {
        let modules = 1 + self.then.len() as u64 + self.partitioners.len() as u64;
        MemoryAsked { name: self.name.clone(), tasks, modules, bytes_each: self.limits.memory_bytes }
    }

    /// The consumer group under which its tasks commit: ordinary Kafka tools see the lag there.
    pub fn group(&self) -> GroupId {
        GroupId::new(self.name.as_str())
    }

    /// The transactional id of the task of one input partition.
    pub fn transactional_id(&self, input: &TopicPartition) -> TransactionalId {
        TransactionalId::new(format!("proc/{}/{input}", self.name))
    }

    /// Where its dead letters go, if its policy writes any.
    pub fn dead_letter_topic(&self) -> Option<TopicName> {
        match self.on_error.then {
            FailureAction::DeadLetter => Some(
                self.on_error
                    .dead_letter_topic
                    .clone()
                    .unwrap_or_else(|| TopicName::new(format!("{}.dlq", self.name))),
            ),
            FailureAction::Stop | FailureAction::Skip => None,
        }
    }

    /// Whether a task reads the partition of its number of all inputs, because its state is made of all of them.
    pub fn is_co_partitioned(&self) -> bool {
        self.has_state() && self.inputs.len() > 1
    }

    /// The topics for whose partitions there is a task each.
    pub fn task_topics(&self) -> &[TopicName] {
        if self.is_co_partitioned() { self.inputs.get(..1).unwrap_or_default() } else { &self.inputs }
    }

    /// The topics of which the task of an input reads its partition.
    pub fn inputs_of<'a>(&'a self, input: &'a TopicPartition) -> impl Iterator<Item = &'a TopicName> {
        let is_its = move |topic: &&TopicName| self.is_co_partitioned() || **topic == input.topic;
        self.inputs.iter().filter(is_its)
    }

    /// Whether its tasks have state: stores, timers, or both.
    pub fn has_state(&self) -> bool {
        self.timers || !self.stores.is_empty()
    }

    /// The topic that holds its state: a compacted log with a partition for each of the input's.
    pub fn changelog_topic(&self) -> Option<TopicName> {
        self.has_state().then(|| TopicName::new(format!("__changelog.{}", self.name)))
    }

    /// Every topic that it may write to: outputs and dead letters.
    pub fn written_topics(&self) -> BTreeSet<TopicName> {
        self.outputs.iter().cloned().chain(self.dead_letter_topic()).collect()
    }

    /// The wait before retry number `attempt` (from 1).
    pub fn backoff(&self, attempt: u32) -> Duration {
        const BACKOFF_MS_MAX: u64 = 10_000;
        let factor = 1u64 << attempt.saturating_sub(1).min(16);
        Duration::from_millis(self.on_error.backoff_ms.saturating_mul(factor).min(BACKOFF_MS_MAX))
    }

    /// Checks the definition by itself and against the others that are deployed.
    pub fn validate<'a>(
        &'a self,
        others: impl IntoIterator<Item = &'a ProcessorDefinition>,
    ) -> Result<(), DefinitionError> {
        self.validate_names()?;
        self.validate_topics()?;
        self.validate_partitioners()?;
        self.validate_chain()?;
        self.validate_state()?;
        self.validate_numbers()?;
        let others = others.into_iter().filter(|other| other.name != self.name).collect::<Vec<_>>();
        match find_loop(self, &others) {
            None => Ok(()),
            Some(path) => Err(DefinitionError::new(
                "PROCESSOR_LOOP",
                format!("Processor \"{}\" would feed itself without end: {path}.", self.name),
                "Write to a topic that does not lead back to one of the inputs.",
            )),
        }
    }

    fn validate_chain(&self) -> Result<(), DefinitionError> {
        let refuse = |message: String, hint: &str| Err(DefinitionError::new("INVALID_CHAIN", message, hint));
        if self.then.len() > STAGES_MAX {
            let message = format!("The chain has {} modules behind the first.", self.then.len());
            return refuse(message, "Chain at most 15; let another processor go on from a topic.");
        }
        let topics = self.written_topics();
        for (number, stage) in self.then.iter().enumerate() {
            let input = &stage.input;
            if let Err(why) = check_name(input, TOPIC_NAME_BYTES_MAX) {
                let message = format!("\"{input}\" cannot be what a module of the chain reads: {why}.");
                return refuse(message, "Use letters, digits, '.', '_' and '-'.");
            }
            let is_topic = |topic: &TopicName| topic.as_str() == input;
            if topics.iter().chain(&self.inputs).any(is_topic) {
                let message = format!(
                    "\"{input}\" is both a topic of the processor and what a module of its chain reads."
                );
                return refuse(
                    message,
                    "Give what goes between modules a name that is no input, output or dead-letter topic.",
                );
            }
            if self.then.iter().take(number).any(|before| before.input == *input) {
                let message = format!("Two modules of the chain read \"{input}\".");
                return refuse(message, "Give each module of the chain a name of its own to read.");
            }
        }
        Ok(())
    }

    fn validate_state(&self) -> Result<(), DefinitionError> {
        let refuse = |message: String, hint: &str| Err(DefinitionError::new("INVALID_STATE", message, hint));
        for (number, store) in self.stores.iter().enumerate() {
            if let Err(reason) = check_store_name(store) {
                let message = format!("\"{store}\" cannot be the name of a state store: {reason}.");
                return refuse(message, "Use letters, digits, '.', '_' and '-'.");
            }
            if self.stores.iter().take(number).any(|other| other == store) {
                return refuse(
                    format!("Store \"{store}\" is named twice in \"stores\"."),
                    "Name each store once.",
                );
            }
        }
        Ok(())
    }

    fn validate_partitioners(&self) -> Result<(), DefinitionError> {
        match self
            .partitioners
            .keys()
            .find(|topic| self.outputs.iter().all(|output| output.as_str() != **topic))
        {
            None => Ok(()),
            Some(topic) => Err(DefinitionError::new(
                "PARTITIONER_OF_NO_OUTPUT",
                format!("\"{topic}\" has a partitioner and is not among the outputs."),
                "Name the topic in \"outputs\" too, or leave its partitioner out.",
            )),
        }
    }

    fn validate_names(&self) -> Result<(), DefinitionError> {
        if self.name.starts_with("__") {
            return Err(DefinitionError::new(
                "INVALID_PROCESSOR_NAME",
                format!("\"{}\" cannot be a processor's name: it begins with \"__\".", self.name),
                "Such names are the broker's own; use another.",
            ));
        }
        if let Err(why) = check_name(&self.name, PROCESSOR_NAME_BYTES_MAX) {
            return Err(DefinitionError::new(
                "INVALID_PROCESSOR_NAME",
                format!("\"{}\" cannot be a processor's name: {why}.", self.name),
                "Use letters, digits, '.', '_' and '-'.",
            ));
        }
        if self.module.len() != 64 || !self.module.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DefinitionError::new(
                "INVALID_MODULE_DIGEST",
                format!("\"{}\" is not a module's SHA-256 digest in hexadecimal.", self.module),
                "Name the module by its digest, or by the name it was uploaded under.",
            ));
        }
        Ok(())
    }

    fn validate_topics(&self) -> Result<(), DefinitionError> {
        if self.inputs.is_empty() {
            return Err(DefinitionError::new(
                "NO_INPUTS",
                format!("Processor \"{}\" reads no topic.", self.name),
                "Name at least one topic in \"inputs\".",
            ));
        }
        let written = self.outputs.iter().chain(&self.on_error.dead_letter_topic);
        for (topic, role) in self.inputs.iter().map(|t| (t, "read")).chain(written.map(|t| (t, "written"))) {
            if let Err(why) = check_name(topic.as_str(), TOPIC_NAME_BYTES_MAX) {
                return Err(DefinitionError::new(
                    "INVALID_TOPIC_EXCEPTION",
                    format!("\"{topic}\" cannot be a topic's name: {why}."),
                    "Use letters, digits, '.', '_' and '-'.",
                ));
            }
            if topic.as_str().starts_with("__") {
                return Err(DefinitionError::new(
                    "INTERNAL_TOPIC",
                    format!("\"{topic}\" belongs to the broker itself and cannot be {role} by a processor."),
                    "Topics whose names begin with \"__\" are internal; use another topic.",
                ));
            }
        }
        for (list, what) in [(&self.inputs, "inputs"), (&self.outputs, "outputs")] {
            let mut seen = BTreeSet::new();
            if let Some(twice) = list.iter().find(|topic| !seen.insert(*topic)) {
                return Err(DefinitionError::new(
                    "DUPLICATE_TOPIC",
                    format!("Topic \"{twice}\" is named twice in \"{what}\"."),
                    "Name each topic once.",
                ));
            }
        }
        match self.dead_letter_topic().filter(|dead_letters| self.outputs.contains(dead_letters)) {
            None => Ok(()),
            Some(topic) => Err(DefinitionError::new(
                "DEAD_LETTERS_IN_OUTPUT",
                format!("Topic \"{topic}\" is both an output and the dead-letter topic."),
                "Give dead letters a topic of their own in \"on_error\".\"dead_letter_topic\".",
            )),
        }
    }

    fn validate_numbers(&self) -> Result<(), DefinitionError> {
        let ranges = [
            ("commit.interval_ms", self.commit.interval_ms, 0, 60_000),
            ("commit.records_max", self.commit.records_max, 1, 10_000_000),
            ("commit.bytes_max", self.commit.bytes_max, 1, 256 << 20),
            ("limits.memory_bytes", self.limits.memory_bytes, 64 << 10, 4 << 30),
            ("limits.batch_time_ms", self.limits.batch_time_ms, 1, 30_000),
            ("limits.output_bytes", self.limits.output_bytes, 1, 256 << 20),
            ("limits.output_ratio", self.limits.output_ratio, 1, u64::MAX),
            ("limits.state_bytes", self.limits.state_bytes, 1, 1 << 50),
            ("limits.cpu_percent", self.limits.cpu_percent, 1, 100),
            ("limits.log_lines_per_second", self.limits.log_lines_per_second, 0, 10_000),
            ("on_error.retries", u64::from(self.on_error.retries), 0, 1_000),
            ("on_error.backoff_ms", self.on_error.backoff_ms, 0, 60_000),
            ("on_error.breaker.window_ms", self.on_error.breaker.window_ms, 1, 86_400_000),
            ("on_error.breaker.failures_percent", u64::from(self.on_error.breaker.failures_percent), 0, 100),
            ("on_error.breaker.failures_min", self.on_error.breaker.failures_min, 1, u64::MAX),
        ];
        match ranges.into_iter().find(|(_, value, least, most)| value < least || value > most) {
            None => Ok(()),
            Some((name, value, least, most)) => Err(DefinitionError::new(
                "OUT_OF_RANGE",
                format!("\"{name}\" is {value}, outside {least} to {most}."),
                format!("Choose a value from {least} to {most}, or leave it out for the default."),
            )),
        }
    }
}

/// Kafka's rule for names of topics (`org.apache.kafka.common.internals.Topic`), used for processors too.
fn check_name(name: &str, bytes_max: usize) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() {
        Err("it is empty".into())
    } else if name == "." || name == ".." {
        Err("it is a path, not a name".into())
    } else if name.len() > bytes_max {
        Err(format!("it is longer than {bytes_max} characters"))
    } else if let Some(wrong) = name.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
        Err(format!("it contains {wrong:?}"))
    } else {
        Ok(())
    }
}

/// Why topics are not partitioned alike, in a sentence; `None` if they are.
pub fn not_co_partitioned<'a>(topics: impl IntoIterator<Item = (&'a TopicName, i32)>) -> Option<String> {
    let mut topics = topics.into_iter();
    let (first, count) = topics.next()?;
    let (other, others) = topics.find(|(_, others)| *others != count)?;
    Some(format!(
        "topic \"{first}\" has {count} partitions and topic \"{other}\" has {others}: a processor with state needs the \
         same number in all of its inputs, so that a key's records come to one task"
    ))
}

/// The input partitions of a topic with `partitions` partitions.
pub fn input_partitions(topic: &TopicName, partitions: i32) -> impl Iterator<Item = TopicPartition> + '_ {
    (0..partitions)
        .filter_map(PartitionIndex::from_wire)
        .map(|partition| TopicPartition::new(topic.clone(), partition))
}

mod topic_names {
    //! Topic names as a list of strings.
    use super::TopicName;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(names: &[TopicName], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(names.iter().map(TopicName::as_str))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TopicName>, D::Error> {
        Ok(Vec::<String>::deserialize(deserializer)?.into_iter().map(TopicName::new).collect())
    }
}

mod optional_topic_name {
    //! A topic name as a string, or nothing.
    use super::TopicName;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(name: &Option<TopicName>, serializer: S) -> Result<S::Ok, S::Error> {
        name.as_ref().map(TopicName::as_str).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TopicName>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.map(TopicName::new))
    }
}

#[cfg(test)]
pub(crate) mod tests;
