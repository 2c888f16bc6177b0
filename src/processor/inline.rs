//! Records that come without a producer of their own, over HTTP: where each goes is decided in the request itself,
//! and its partitions get one batch each.
//!
//! They are a client's records all the same: interceptors judge them, and the topic's bounds hold. Nothing is
//! written before every record has its partition; from then on each partition stands for itself.

use super::definition::TaskLimits;
use super::partitioner::StickyPartition;
use super::placement::{
    Asked, ChoiceError, OutputTopic, Partitioner, Partitioners, input_to_place, partitioner_of,
};
use super::registry::{Registry, RegistryError};
use crate::broker::{Broker, BrokerError, ClientBatch};
use crate::error_code::ErrorCode;
use crate::ids::{Offset, PartitionIndex, TopicName, TopicPartition};
use crate::interceptor::Client;
use crate::metadata::image::is_internal_name;
use crate::plugin::{CounterSink, GiveWay, LogSink, PluginHost, PluginKind, ProcessFault};
use crate::wire::record_batch::{BatchBuilder, BatchOptions, NewRecord, ZstdRule};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The most records of one request.
pub const RECORDS_MAX: usize = 10_000;
/// Requests whose partitioners are asked at the same time, at most: each has instances of its own.
const CHOOSING_MAX: usize = 4;
/// Bytes of one call of a partitioner, about: as a processor's calls have.
const CALL_BYTES: usize = 1 << 20;

/// Headers in order: a key, and a value that may be null.
pub type SentHeaders = Vec<(String, Option<Vec<u8>>)>;

/// A record as a client sends it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SentRecord {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: SentHeaders,
    /// Its timestamp; the present, if it has none.
    pub timestamp: Option<i64>,
    /// Where it is to go, if the topic has no partitioner.
    pub partition: Option<PartitionIndex>,
}

/// The records of one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentRecords {
    /// Where to.
    pub topic: TopicName,
    /// In order.
    pub records: Vec<SentRecord>,
    /// What chooses the partitions that neither the topic's partitioner nor a record names. Its module is a name, a
    /// digest, or the beginning of one.
    pub partitioner: Option<Partitioner>,
}

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its offset; unused if an interceptor has dropped the record.
    pub offset: Offset,
}

/// Why a record was not written, though its request was in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotWritten {
    /// The protocol's answer.
    pub code: ErrorCode,
    /// Why.
    pub message: String,
}

/// Why a request came to nothing: no record of it was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InlineError {
    /// The topic is the broker's own.
    #[error("{0} is an internal topic; clients cannot write to it")]
    InternalTopic(TopicName),
    /// There is no such topic.
    #[error("there is no topic \"{0}\"")]
    UnknownTopic(TopicName),
    /// A record names a partition that there is not.
    #[error("record {record} is for partition {partition}, and topic \"{topic}\" has {partitions}")]
    UnknownPartition {
        /// Which record, from 0.
        record: usize,
        /// What it names.
        partition: PartitionIndex,
        /// The topic.
        topic: TopicName,
        /// How many it has.
        partitions: i32,
    },
    /// There is no module to ask.
    #[error(transparent)]
    Module(#[from] RegistryError),
    /// The partitioner did not choose.
    #[error("the partitioner \"{module}\" of {} {what}", whose(*.asked, .topic))]
    NotChosen {
        /// Its module.
        module: String,
        /// Whether it is the topic's or the request's.
        asked: Asked,
        /// The topic.
        topic: TopicName,
        /// What happened, and at which record, from 0, if that is known.
        what: String,
    },
    /// A bug of the broker.
    #[error("placing the records came to an unexpected end: {0}")]
    Bug(String),
}

fn whose(asked: Asked, topic: &TopicName) -> String {
    match asked {
        Asked::Always => format!("topic \"{topic}\""),
        Asked::WherePartitionIsOpen => "the request".to_owned(),
    }
}

/// Writes records for clients that have no producer of their own.
pub struct InlineProducer {
    broker: Arc<Broker>,
    host: Arc<dyn PluginHost>,
    registry: Arc<Registry>,
    limits: TaskLimits,
    choosing: Semaphore,
    /// Where the next request's records without a key go.
    sticky: Mutex<StickyPartition>,
}

impl InlineProducer {
    /// A producer whose partitioners have these limits.
    pub fn new(
        broker: Arc<Broker>,
        host: Arc<dyn PluginHost>,
        registry: Arc<Registry>,
        limits: TaskLimits,
    ) -> InlineProducer {
        let choosing = Semaphore::new(CHOOSING_MAX);
        let sticky = Mutex::new(StickyPartition::new(PartitionIndex::ZERO));
        InlineProducer { broker, host, registry, limits, choosing, sticky }
    }

    /// The largest request: what the broker takes of any client.
    pub fn request_bytes_max(&self) -> usize {
        self.broker.config().net.request_bytes_max
    }

    /// Places the records and appends them; answers once all that were taken are durable, in their order.
    pub async fn produce(
        &self,
        sent: SentRecords,
        client: &Client,
    ) -> Result<Vec<Result<Written, NotWritten>>, InlineError> {
        let output = self.output_topic(&sent)?;
        let topic = sent.topic.clone();
        let mut appended = Vec::new();
        for Share { partition, bytes, numbers } in self.place(sent, output).await? {
            let topic_partition = TopicPartition::new(topic.clone(), partition);
            let batch = ClientBatch { topic_partition, bytes, zstd: ZstdRule::Allowed, transaction: None };
            appended.push((partition, numbers, self.broker.produce_placed(batch, client).await));
        }
        let mut outcomes = BTreeMap::new();
        for (partition, numbers, produced) in appended {
            let settled = match produced {
                Ok(produced) => self.broker.settle(produced).await,
                Err(error) => Err(error),
            };
            for (index, number) in (0i32..).zip(numbers) {
                let written = |base: &Offset| Written { partition, offset: base.plus(i64::from(index)) };
                outcomes.insert(number, settled.as_ref().map(written).map_err(|why| not_written(why, index)));
            }
        }
        Ok(outcomes.into_values().collect())
    }

    /// The topic with whatever chooses its partitions, once all partitions that are named are known to exist.
    fn output_topic(&self, sent: &SentRecords) -> Result<OutputTopic, InlineError> {
        let topic = &sent.topic;
        if is_internal_name(topic.as_str()) {
            return Err(InlineError::InternalTopic(topic.clone()));
        }
        let image = self.broker.metadata();
        let image = image.topic(topic.as_str()).ok_or_else(|| InlineError::UnknownTopic(topic.clone()))?;
        let partitions = image.partition_count();
        let named = sent.records.iter().enumerate().filter_map(|(at, record)| Some((at, record.partition?)));
        for (record, partition) in named {
            if partition.value() >= partitions {
                let topic = topic.clone();
                return Err(InlineError::UnknownPartition { record, partition, topic, partitions });
            }
        }
        let of_request = sent.partitioner.as_ref().map(|partitioner| {
            let module = self.registry.module_of_kind(&partitioner.module, PluginKind::Partitioner)?.digest;
            Ok::<_, RegistryError>(Partitioner { module, config: partitioner.config.clone() })
        });
        let own = self.broker.topic_partitioner(image);
        let partitioner = partitioner_of(own, of_request.transpose()?.as_ref(), &self.registry)?;
        Ok(OutputTopic { partitions, partitioner })
    }

    /// Users' code may take its time, and so may encoding: both on a blocking thread.
    async fn place(&self, sent: SentRecords, output: OutputTopic) -> Result<Vec<Share>, InlineError> {
        let _slot = match &output.partitioner {
            Some(_) => Some(self.choosing.acquire().await.map_err(|closed| bug(&closed))?),
            None => None,
        };
        let log = LogSink::new(|line| tracing::debug!(line = line.message, "a partitioner asked inline"));
        let placing = Placing {
            sticky: self.next_sticky(&sent, &output),
            now: self.broker.clock().now().ms(),
            partitioners: Partitioners::new(
                Arc::clone(&self.host),
                self.limits.of_instance(),
                log,
                CounterSink::none(),
                GiveWay::never(),
            ),
            topic: sent.topic,
            records: sent.records,
            output,
        };
        let placed = tokio::task::spawn_blocking(move || placing.run()).await;
        placed.map_err(|panic| bug(&panic))?.map_err(|error| self.with_name(error))
    }

    /// The same error with the module as people call it.
    fn with_name(&self, mut error: InlineError) -> InlineError {
        if let InlineError::NotChosen { module, .. } = &mut error
            && let Some(name) =
                self.registry.module(module).ok().and_then(|mut entry| entry.names.pop_first())
        {
            *module = name;
        }
        error
    }

    /// Where this request's records without a key go. The next such request's go elsewhere.
    fn next_sticky(&self, sent: &SentRecords, output: &OutputTopic) -> StickyPartition {
        let mut sticky = self.sticky.lock();
        let present = *sticky;
        let is_needed = |record: &SentRecord| record.key.is_none() && record.partition.is_none();
        if output.partitioner.is_none() && sent.records.iter().any(is_needed) {
            sticky.turn();
        }
        present
    }
}

fn bug(error: &dyn std::fmt::Display) -> InlineError {
    InlineError::Bug(error.to_string())
}

/// What became of the record at this place of a batch that was refused.
fn not_written(error: &BrokerError, index: i32) -> NotWritten {
    let blamed = error.refused_records().iter().find(|refused| refused.index == index);
    let mut message = blamed.map_or_else(|| error.explanation(), |refused| refused.message.clone());
    if error.code() == ErrorCode::MessageTooLarge {
        message += "; all records of a request for one partition are one batch";
    }
    NotWritten { code: error.code(), message }
}

/// The records of one partition.
struct Share {
    partition: PartitionIndex,
    /// One batch of them.
    bytes: Bytes,
    /// Which records of the request they are, in order.
    numbers: Vec<usize>,
}

/// One request's records on their way to their partitions.
struct Placing {
    topic: TopicName,
    output: OutputTopic,
    records: Vec<SentRecord>,
    sticky: StickyPartition,
    /// The timestamp of records that have none.
    now: i64,
    partitioners: Partitioners,
}

impl Placing {
    fn run(mut self) -> Result<Vec<Share>, InlineError> {
        let placed = self.place();
        self.partitioners.close();
        let mut shares = BTreeMap::new();
        for (number, (record, partition)) in self.records.iter().zip(placed?).enumerate() {
            let new = || (BatchBuilder::new(BatchOptions::default()), Vec::new());
            let (batch, numbers) = shares.entry(partition).or_insert_with(new);
            append(batch, record, self.now);
            numbers.push(number);
        }
        let share = |(partition, (batch, numbers)): (_, (BatchBuilder, _))| Share {
            partition,
            bytes: batch.build().bytes().clone(),
            numbers,
        };
        Ok(shares.into_iter().map(share).collect())
    }

    /// Each record's partition.
    fn place(&mut self) -> Result<Vec<PartitionIndex>, InlineError> {
        let mut chosen = match self.output.partitioner.clone() {
            Some((partitioner, asked)) => self.choose(&partitioner, asked)?.into_iter(),
            None => Vec::new().into_iter(),
        };
        let place = |record: &SentRecord| match self.output.partitioner_for(record.partition) {
            Some(_) => chosen.next(),
            None => self.output.partition_for(record.partition, record.key.as_deref(), self.sticky),
        };
        let placed = self.records.iter().map(place).collect::<Option<_>>();
        placed.ok_or_else(|| bug(&"a record has no partition"))
    }

    /// Has the partitioner choose for all records for which it is asked, in calls of bounded size.
    fn choose(
        &mut self,
        partitioner: &Partitioner,
        asked: Asked,
    ) -> Result<Vec<PartitionIndex>, InlineError> {
        let mut all = Vec::with_capacity(self.records.len());
        let mut records = self.records.iter().enumerate().peekable();
        while records.peek().is_some() {
            let mut shown = BatchBuilder::new(BatchOptions::default());
            let mut numbers = Vec::new();
            for (number, record) in records.by_ref() {
                if self.output.partitioner_for(record.partition).is_some() {
                    append(&mut shown, record, self.now);
                    numbers.push(number);
                }
                if shown.len_bytes() >= CALL_BYTES {
                    break;
                }
            }
            if numbers.is_empty() {
                break;
            }
            let batch = input_to_place(&self.topic, shown);
            let chosen = self.partitioners.choose(partitioner, self.output.partitions, &batch);
            all.extend(chosen.map_err(|error| InlineError::NotChosen {
                module: partitioner.module.clone(),
                asked,
                topic: self.topic.clone(),
                what: what_failed(&numbers, error),
            })?);
        }
        Ok(all)
    }
}

/// What went wrong in a call that was shown the records of these numbers.
fn what_failed(numbers: &[usize], error: ChoiceError) -> String {
    match error {
        ChoiceError::NoInstance { cause, .. } => format!("does not start: {cause}"),
        ChoiceError::Fault { fault: ProcessFault::Record { index, message, .. }, .. } => {
            let number = usize::try_from(index).ok().and_then(|index| numbers.get(index));
            match number {
                Some(number) => format!("failed at record {number}: {message}"),
                None => format!("failed: {message}"),
            }
        }
        ChoiceError::Fault { fault, .. } => format!("failed: {fault}"),
    }
}

fn append(batch: &mut BatchBuilder, record: &SentRecord, now: i64) {
    let headers = record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
    let headers = headers.collect::<Vec<_>>();
    batch.append(NewRecord {
        timestamp: record.timestamp.unwrap_or(now),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    });
}

#[cfg(test)]
mod tests;
