//! One task's instance of the module, and what its answers become: records in a transaction's unit.
//!
//! Synchronous, and always called on a blocking thread: a guest may take as long as its limit
//! allows. A guest's answer is checked as a whole before anything of it is kept.

use super::dead_letter::{DeadLetter, write_dead_letter};
use super::definition::ProcessorDefinition;
use super::partitioner::{StickyPartition, partition_for_key};
use super::span::Span;
use super::unit::Unit;
use crate::ids::{TopicName, TopicPartition};
use crate::plugin::{
    FaultReason, InputBatch, InstanceContext, InstanceOptions, Limits, LogSink, ModuleDigest, OutputBatch,
    OutputRecord, PluginHost, ProcessFault, ProcessorInstance,
};
use crate::wire::record_batch::{RawHeaders, RawRecord};
use crate::wire::varint::varint_bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Whether trying a failed record again may help.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// It may.
    Worthwhile,
    /// The module has said that it never will.
    Useless,
    /// The module has said that no record will.
    StopTask,
}

/// A call that failed because of what was in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which record, if the module said so.
    pub index: Option<u32>,
    /// A short stable name of the kind of failure.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// Whether trying again may help.
    pub again: Again,
}

/// Why a call gave nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CallError {
    /// Because of the records.
    Fault(Fault),
    /// Because there is no instance to call.
    NoInstance(String),
}

/// How many partitions each written topic has.
pub type PartitionCounts = BTreeMap<TopicName, i32>;

/// One task's instance of the module.
pub struct Engine {
    host: Arc<dyn PluginHost>,
    definition: Arc<ProcessorDefinition>,
    input: TopicPartition,
    log: LogSink,
    instance: Option<Box<dyn ProcessorInstance>>,
    sticky: StickyPartition,
    /// How many partitions each written topic has.
    pub counts: PartitionCounts,
}

impl Engine {
    /// An engine that makes its instance at the first call.
    pub fn new(
        host: Arc<dyn PluginHost>,
        definition: Arc<ProcessorDefinition>,
        input: TopicPartition,
        log: LogSink,
    ) -> Engine {
        let sticky = StickyPartition::new(input.partition);
        Engine { host, definition, input, log, instance: None, sticky, counts: BTreeMap::new() }
    }

    /// Has the module process a span, and adds what it writes to the unit: all of it, or nothing.
    pub fn process(&mut self, span: &Span, attempt: u32, unit: &mut Unit) -> Result<(), CallError> {
        let input = span.input(&self.input, attempt);
        let instance = match &mut self.instance {
            Some(instance) => instance,
            None => self.instance.insert(instantiate(
                self.host.as_ref(),
                &self.definition,
                &self.input,
                self.log.clone(),
            )?),
        };
        // A host that panics is no better than a guest that traps.
        let called = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| instance.process(&input)));
        let output = match called {
            Ok(Ok(output)) => output,
            Ok(Err(fault)) => {
                if !fault.instance_survives() {
                    self.instance = None;
                }
                return Err(CallError::Fault(fault_of(fault)));
            }
            Err(panic) => {
                self.instance = None;
                return Err(CallError::Fault(fault("panic", panic_text(panic.as_ref()))));
            }
        };
        let placed = self.place(&output).map_err(CallError::Fault)?;
        append_all(unit, &input, &output, placed).map_err(CallError::Fault)?;
        unit.counts.records_out += u64::try_from(output.len()).unwrap_or(0);
        unit.passed(span);
        Ok(())
    }

    /// Moves records without a key on to the next partition: for a new transaction.
    pub fn turn(&mut self) {
        self.sticky.turn();
    }

    /// Writes the single record of a span to the dead-letter topic.
    pub fn dead_letter(
        &self,
        span: &Span,
        topic: &TopicName,
        letter: &DeadLetter<'_>,
        unit: &mut Unit,
    ) -> Result<(), Fault> {
        let input = span.input(&self.input, 0);
        let unreadable = || fault("bad-input", "the source record cannot be read".into());
        let record = input.records().next().and_then(Result::ok).ok_or_else(unreadable)?;
        let count = self.counts.get(topic).copied().unwrap_or(1).max(1);
        // Dead letters keep their source's partition where they can: their order means something.
        let partition = crate::ids::PartitionIndex::from_wire(self.input.partition.value() % count)
            .unwrap_or(crate::ids::PartitionIndex::ZERO);
        write_dead_letter(unit, &TopicPartition::new(topic.clone(), partition), &record, letter);
        unit.counts.dead_letters += 1;
        unit.passed(span);
        Ok(())
    }

    /// Where each output record goes, or why one of them cannot go anywhere.
    fn place(&self, output: &OutputBatch) -> Result<Vec<TopicPartition>, Fault> {
        output.iter().map(|record| self.place_record(&record)).collect()
    }

    fn place_record(&self, record: &OutputRecord<'_>) -> Result<TopicPartition, Fault> {
        let bad = |message: String| Fault {
            index: Some(record.source_index),
            code: "bad-output",
            message,
            again: Again::Useless,
        };
        let topic = self.definition.outputs.iter().find(|topic| topic.as_str() == record.topic);
        let Some(topic) = topic else {
            return Err(bad(format!(
                "it writes to topic \"{}\", which is not among the processor's outputs",
                record.topic
            )));
        };
        let count = self.counts.get(topic).copied().unwrap_or(0);
        let chosen = match (record.partition, record.key) {
            (Some(partition), _) => Some(partition).filter(|partition| partition.value() < count),
            (None, Some(key)) => partition_for_key(key, count),
            (None, None) => self.sticky.partition(count),
        };
        match (chosen, record.partition) {
            (Some(partition), _) => Ok(TopicPartition::new(topic.clone(), partition)),
            (None, Some(asked)) => Err(bad(format!(
                "it writes to partition {asked} of topic \"{topic}\", which has {count} partitions"
            ))),
            (None, None) => Err(bad(format!("it writes to topic \"{topic}\", which does not exist"))),
        }
    }
}

fn instantiate(
    host: &dyn PluginHost,
    definition: &ProcessorDefinition,
    input: &TopicPartition,
    log: LogSink,
) -> Result<Box<dyn ProcessorInstance>, CallError> {
    let no_instance = |error: &dyn std::fmt::Display| CallError::NoInstance(error.to_string());
    let digest: ModuleDigest = definition.module.parse().map_err(|error| no_instance(&error))?;
    let context = InstanceContext {
        processor: definition.name.clone(),
        topic: input.topic.clone(),
        partition: input.partition,
    };
    let limits = Limits {
        memory_bytes_max: usize::try_from(definition.limits.memory_bytes).unwrap_or(usize::MAX),
        batch_time_max: Duration::from_millis(definition.limits.batch_time_ms),
        output_bytes_max: usize::try_from(definition.limits.output_bytes).unwrap_or(usize::MAX),
        ..Limits::default()
    };
    let config = definition.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    host.instantiate(&digest, InstanceOptions { limits, config, context, log })
        .map_err(|error| no_instance(&error))
}

fn append_all(
    unit: &mut Unit,
    input: &InputBatch,
    output: &OutputBatch,
    placed: Vec<TopicPartition>,
) -> Result<(), Fault> {
    let timestamps = if output.iter().any(|record| record.timestamp.is_none()) {
        let read = input.records().map(|record| record.map(|record| record.timestamp));
        read.collect::<Result<Vec<_>, _>>().map_err(|error| fault("bad-input", error.to_string()))?
    } else {
        Vec::new()
    };
    let mut records = Vec::with_capacity(output.len());
    for record in output.iter() {
        let source = usize::try_from(record.source_index).ok().and_then(|at| timestamps.get(at));
        let timestamp = record.timestamp.or(source.copied()).unwrap_or(-1);
        let count_bytes = varint_bytes(i32::try_from(record.headers.count).unwrap_or(i32::MAX));
        let headers_at = record.body.len().saturating_sub(record.headers.bytes.len() + count_bytes);
        let headers = RawHeaders::parse(record.body.get(headers_at..).unwrap_or_default())
            .map_err(|error| fault("bad-output", error.to_string()))?;
        records.push(RawRecord { timestamp, key: record.key, value: record.value, headers });
    }
    for (partition, record) in placed.iter().zip(records) {
        unit.append(partition, record);
    }
    Ok(())
}

/// What a panic says.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}

fn fault(code: &'static str, message: String) -> Fault {
    Fault { index: None, code, message, again: Again::Worthwhile }
}

fn fault_of(fault: ProcessFault) -> Fault {
    let (index, again) = match &fault {
        ProcessFault::Record { index, reason, .. } => {
            let again = match reason {
                FaultReason::Reject => Again::Useless,
                FaultReason::Retry => Again::Worthwhile,
                FaultReason::Fatal => Again::StopTask,
            };
            (Some(*index), again)
        }
        ProcessFault::Trap { .. }
        | ProcessFault::StackOverflow { .. }
        | ProcessFault::Timeout { .. }
        | ProcessFault::OutOfMemory { .. }
        | ProcessFault::GaveUp(_)
        | ProcessFault::Dead => (None, Again::Worthwhile),
        // The same bytes give the same answer; only a smaller batch may do better.
        ProcessFault::OutputTooLarge { .. }
        | ProcessFault::BadOutput(_)
        | ProcessFault::BadInput(_)
        | ProcessFault::InputTooLarge { .. } => (None, Again::Useless),
    };
    let code = fault.kind();
    let message = match fault {
        ProcessFault::Record { message, .. } => message,
        other @ (ProcessFault::Trap { .. }
        | ProcessFault::StackOverflow { .. }
        | ProcessFault::Timeout { .. }
        | ProcessFault::OutOfMemory { .. }
        | ProcessFault::OutputTooLarge { .. }
        | ProcessFault::BadOutput(_)
        | ProcessFault::BadInput(_)
        | ProcessFault::InputTooLarge { .. }
        | ProcessFault::GaveUp(_)
        | ProcessFault::Dead) => other.to_string(),
    };
    Fault { index, code, message, again }
}
