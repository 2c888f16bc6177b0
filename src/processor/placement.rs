//! Which partitions records go to: a topic's own partitioner decides for every record that comes into it; else
//! whoever writes the record; else the processor's partitioner for that topic; else the key.
//!
//! Partitioners are users' code: they are called on blocking threads, and their choices checked as a whole.

use super::engine::panic_text;
use super::partitioner::{StickyPartition, partition_for_key};
use super::registry::{Registry, RegistryError};
use crate::broker::TopicPartitioner;
use crate::ids::{PartitionIndex, TopicName};
use crate::plugin::{
    CounterSink, GiveWay, InputBatch, InputChunk, Limits, LogSink, ModuleDigest, PartitionerInstance,
    PartitionerOptions, PluginHost, PluginKind, ProcessFault,
};
use crate::wire::record_batch::{BatchBuilder, BatchOptions, RawRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A module that chooses partitions, and what it is configured with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Partitioner {
    /// Its SHA-256 digest in hexadecimal.
    pub module: String,
    /// Handed to it when an instance starts.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// For which records a partitioner is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// For all: it is the topic's.
    Always,
    /// For those whose partition nobody has named.
    WherePartitionIsOpen,
}

/// A topic that records go to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputTopic {
    /// How many partitions it has.
    pub partitions: i32,
    /// What chooses among them, if a module does.
    pub partitioner: Option<(Partitioner, Asked)>,
}

impl OutputTopic {
    /// The partitioner that chooses for a record with or without a named partition.
    pub fn partitioner_for(&self, named: Option<PartitionIndex>) -> Option<&Partitioner> {
        match (&self.partitioner, named) {
            (Some((partitioner, Asked::Always)), _) => Some(partitioner),
            (Some((partitioner, Asked::WherePartitionIsOpen)), None) => Some(partitioner),
            (Some((_, Asked::WherePartitionIsOpen)), Some(_)) | (None, _) => None,
        }
    }

    /// Where a record goes for which no partitioner is asked; `None` if there is no such partition.
    pub fn partition_for(
        &self,
        named: Option<PartitionIndex>,
        key: Option<&[u8]>,
        sticky: StickyPartition,
    ) -> Option<PartitionIndex> {
        match (named, key) {
            (Some(partition), _) => Some(partition).filter(|partition| partition.value() < self.partitions),
            (None, Some(key)) => partition_for_key(key, self.partitions),
            (None, None) => sticky.partition(self.partitions),
        }
    }
}

/// What chooses a topic's partitions: its own partitioner, whose module is looked up, comes before the writer's.
pub fn partitioner_of(
    own: Option<TopicPartitioner>,
    writers: Option<&Partitioner>,
    registry: &Registry,
) -> Result<Option<(Partitioner, Asked)>, RegistryError> {
    let Some(TopicPartitioner { module, config }) = own else {
        return Ok(writers.map(|partitioner| (partitioner.clone(), Asked::WherePartitionIsOpen)));
    };
    let module = registry.module_of_kind(&module, PluginKind::Partitioner)?.digest;
    Ok(Some((Partitioner { module, config }, Asked::Always)))
}

/// Why no partitions were chosen.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChoiceError {
    /// There is no instance to ask.
    #[error("the partitioner of topic \"{topic}\" does not start: {cause}")]
    NoInstance {
        /// Whose.
        topic: TopicName,
        /// Why.
        cause: String,
    },
    /// It failed, or its choices make no sense.
    #[error("the partitioner of topic \"{topic}\" failed: {fault}")]
    Fault {
        /// Whose.
        topic: TopicName,
        /// How.
        fault: ProcessFault,
    },
}

/// The instances of the partitioners that one writer asks.
pub struct Partitioners {
    host: Arc<dyn PluginHost>,
    limits: Limits,
    log: LogSink,
    counters: CounterSink,
    give_way: GiveWay,
    instances: BTreeMap<TopicName, (Partitioner, Box<dyn PartitionerInstance>)>,
}

impl Partitioners {
    /// No instances yet: each is made when it is first asked.
    pub fn new(
        host: Arc<dyn PluginHost>,
        limits: Limits,
        log: LogSink,
        counters: CounterSink,
        give_way: GiveWay,
    ) -> Partitioners {
        Partitioners { host, limits, log, counters, give_way, instances: BTreeMap::new() }
    }

    /// Has a topic's partitioner choose among the topic's partitions, one for each record of the batch.
    pub fn choose(
        &mut self,
        partitioner: &Partitioner,
        partitions: i32,
        batch: &InputBatch,
    ) -> Result<Vec<PartitionIndex>, ChoiceError> {
        let topic = &batch.topic;
        let of = |fault| ChoiceError::Fault { topic: topic.clone(), fault };
        let count = u32::try_from(partitions).ok().filter(|count| *count > 0);
        let count = count.ok_or_else(|| of(ProcessFault::GaveUp("the topic does not exist".to_owned())))?;
        let instance = self.instance(topic, partitioner)?;
        // A host that panics is no better than a guest that traps.
        let call = std::panic::AssertUnwindSafe(|| instance.partition(topic, count, batch));
        let fault = match std::panic::catch_unwind(call) {
            Ok(Ok(chosen)) => return Ok(chosen),
            Ok(Err(fault)) => fault,
            Err(panic) => ProcessFault::Trap { message: panic_text(panic.as_ref()), function: None },
        };
        if !fault.instance_survives() {
            self.instances.remove(topic);
        }
        Err(of(fault))
    }

    /// The instance for a topic; a new one if it is to be another module, or configured otherwise.
    fn instance(
        &mut self,
        topic: &TopicName,
        partitioner: &Partitioner,
    ) -> Result<&mut Box<dyn PartitionerInstance>, ChoiceError> {
        let is_other = |(known, _): &(Partitioner, _)| known != partitioner;
        if self.instances.get(topic).is_some_and(is_other)
            && let Some((_, replaced)) = self.instances.remove(topic)
        {
            self.end(replaced);
        }
        if !self.instances.contains_key(topic) {
            let made = self.make(partitioner);
            let made = made.map_err(|cause| ChoiceError::NoInstance { topic: topic.clone(), cause })?;
            self.instances.insert(topic.clone(), (partitioner.clone(), made));
        }
        let (_, instance) = self.instances.get_mut(topic).expect("it was there or has just been made");
        Ok(instance)
    }

    fn make(&self, partitioner: &Partitioner) -> Result<Box<dyn PartitionerInstance>, String> {
        let digest = partitioner.module.parse::<ModuleDigest>().map_err(|error| error.to_string())?;
        let options = PartitionerOptions {
            limits: self.limits,
            config: partitioner.config.clone().into_iter().collect(),
            log: self.log.clone(),
            counters: self.counters.clone(),
            give_way: self.give_way.clone(),
        };
        self.host.instantiate_partitioner(&digest, options).map_err(|error| error.to_string())
    }

    /// Lets every instance say its last words.
    pub fn close(&mut self) {
        for (_, (_, instance)) in std::mem::take(&mut self.instances) {
            self.end(instance);
        }
    }

    fn end(&self, instance: Box<dyn PartitionerInstance>) {
        // What is wrong with an instance that goes away matters to nobody but its author.
        if let Err(fault) = instance.close() {
            self.log.send(crate::plugin::LogLine {
                level: crate::plugin::LogLevel::Warn,
                source: crate::plugin::LogSource::Log,
                message: format!("the partitioner failed when it was closed: {fault}"),
                dropped_before: 0,
            });
        }
    }
}

/// Records that are to be placed, as a partitioner is shown them.
pub fn batch_to_place<'a>(topic: &TopicName, records: impl IntoIterator<Item = RawRecord<'a>>) -> InputBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    records.into_iter().for_each(|record| builder.append_raw_body(record));
    input_to_place(topic, builder)
}

/// The same of records that are collected already.
pub fn input_to_place(topic: &TopicName, records: BatchBuilder) -> InputBatch {
    let batch = records.build();
    let header = batch.header();
    let chunk = InputChunk {
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        append_time: None,
        record_count: u32::try_from(header.record_count).unwrap_or(0),
        records: batch.records_region(),
    };
    InputBatch { topic: topic.clone(), partition: PartitionIndex::ZERO, attempt: 0, chunks: vec![chunk] }
}
