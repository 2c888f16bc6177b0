//! The state of the cluster in memory: a plain value with the rules of a transactional log.
//!
//! Strict where a real broker is: fenced epochs, gaps in sequences and offsets outside the log are
//! errors, so that a task that breaks a rule fails its test. Never shipped.

use crate::broker::TopicPartitioner;
use crate::error_code::ErrorCode;
use crate::ids::{
    GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, ProducerIdent, TopicId,
    TopicName, TopicPartition, TransactionalId,
};
use crate::processor::backend::{BackendError, FetchedBatches, LogBounds, TopicDescription};
use crate::processor::commit_note::CommittedOffset;
use crate::wire::control_record::EndTransaction;
use crate::wire::record_batch::{BatchBuilder, BatchOptions, NewRecord, RecordBatch};
use std::collections::{BTreeMap, BTreeSet};

type Fail = BackendError;

/// A record as a reader of committed data sees it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CommittedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: i64,
    /// Its key, as text.
    pub key: Option<String>,
    /// Its value, as text.
    pub value: Option<String>,
    /// Its headers, as text.
    pub headers: Vec<(String, Option<String>)>,
}

#[derive(Clone, Debug)]
enum Entry {
    Data { batch: RecordBatch, producer: Option<ProducerIdent> },
    Marker { offset: Offset },
}

impl Entry {
    fn end(&self) -> Offset {
        match self {
            Entry::Data { batch, .. } => batch.header().last_offset().next(),
            Entry::Marker { offset } => offset.next(),
        }
    }
}

#[derive(Clone, Debug)]
struct Sequences {
    epoch: ProducerEpoch,
    next: i32,
    last: Option<(i32, Offset)>,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    start: Offset,
    end: Offset,
    sequences: BTreeMap<ProducerId, Sequences>,
    open: BTreeMap<ProducerIdent, Offset>,
}

#[derive(Clone, Debug)]
struct Topic {
    id: TopicId,
    partitions: Vec<Partition>,
    partitioner: Option<TopicPartitioner>,
}

#[derive(Clone, Debug)]
struct Transaction {
    producer: ProducerIdent,
    partitions: BTreeSet<TopicPartition>,
    offsets: Vec<((GroupId, TopicPartition), CommittedOffset)>,
    open: bool,
    last_end: Option<(ProducerIdent, EndTransaction)>,
}

/// Everything that the cluster knows.
#[derive(Clone, Debug)]
pub struct Cluster {
    topics: BTreeMap<TopicName, Topic>,
    topics_ever: u8,
    producers_ever: i64,
    transactions: BTreeMap<TransactionalId, Transaction>,
    ended: BTreeMap<ProducerIdent, EndTransaction>,
    committed: BTreeMap<(GroupId, TopicPartition), CommittedOffset>,
    /// What was written beside committed offsets, in the order of the commits.
    pub notes: Vec<(TopicPartition, String)>,
    /// How many transactions have been committed.
    pub commits: usize,
    /// How many have been aborted.
    pub aborts: usize,
    /// The largest batch that any topic takes.
    pub max_message_bytes: usize,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            topics: BTreeMap::new(),
            topics_ever: 0,
            producers_ever: 0,
            transactions: BTreeMap::new(),
            ended: BTreeMap::new(),
            committed: BTreeMap::new(),
            notes: Vec::new(),
            commits: 0,
            aborts: 0,
            max_message_bytes: usize::MAX,
        }
    }
}

fn partition_of(topic: &str, partition: i32) -> TopicPartition {
    let index = PartitionIndex::from_wire(partition).expect("tests name real partitions");
    TopicPartition::new(TopicName::new(topic), index)
}

impl Cluster {
    /// Creates a topic unless it exists.
    pub fn ensure_topic(&mut self, name: &str, partitions: i32) {
        self.topics_ever += 1;
        let id = TopicId::from_bytes([self.topics_ever; 16]).expect("not zero");
        let count = usize::try_from(partitions).expect("tests ask for some partitions");
        let topic = Topic { id, partitions: vec![Partition::default(); count], partitioner: None };
        self.topics.entry(TopicName::new(name)).or_insert(topic);
    }

    /// Adds partitions to a topic.
    pub fn grow_topic(&mut self, name: &str, partitions: i32) {
        let topic = self.topics.get_mut(name).expect("the topic exists");
        topic.partitions.resize(usize::try_from(partitions).expect("some"), Partition::default());
    }

    /// Deletes a topic with its records and the offsets committed on it.
    pub fn delete_topic(&mut self, name: &str) {
        self.topics.remove(name);
        self.committed.retain(|(_, partition), _| partition.topic.as_str() != name);
    }

    /// Forgets the records before an offset, as retention does.
    pub fn delete_records_before(&mut self, topic: &str, partition: i32, offset: i64) {
        let log = self.log_mut(&partition_of(topic, partition)).expect("the topic exists");
        log.start = Offset::from_wire(offset).expect("a real offset");
        log.entries.retain(|entry| entry.end() > log.start);
    }

    /// Gives a topic a partitioner.
    pub fn set_partitioner(&mut self, topic: &str, partitioner: TopicPartitioner) {
        let topic = self.topics.get_mut(&TopicName::new(topic)).expect("the topic exists");
        topic.partitioner = Some(partitioner);
    }

    pub(super) fn describe(&self, name: &TopicName) -> Option<TopicDescription> {
        let topic = self.topics.get(name)?;
        let partitions = i32::try_from(topic.partitions.len()).expect("few");
        Some(TopicDescription { id: topic.id, partitions, partitioner: topic.partitioner.clone() })
    }

    /// Whether there is such a topic, and with how many partitions.
    pub fn partitions(&self, name: &str) -> Option<i32> {
        self.describe(&TopicName::new(name)).map(|topic| topic.partitions)
    }

    /// Appends one batch of (key, value) records from a producer without a transaction.
    pub fn append(&mut self, topic: &str, partition: i32, records: &[(&str, &str)]) {
        let batch = batch_of(records);
        self.log_mut(&partition_of(topic, partition)).expect("the topic exists").append(batch, None);
    }

    /// Appends one record with a time of its own.
    pub fn append_at(&mut self, topic: &str, partition: i32, timestamp: i64, value: &str) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(NewRecord { timestamp, key: None, value: Some(value.as_bytes()), headers: &[] });
        let log = self.log_mut(&partition_of(topic, partition)).expect("the topic exists");
        log.append(builder.build(), None);
    }

    /// Appends records in a transaction of their own which ends like this.
    pub fn append_transaction(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[(&str, &str)],
        result: EndTransaction,
    ) {
        let ident = self.fresh_producer();
        let log = self.log_mut(&partition_of(topic, partition)).expect("the topic exists");
        log.append(batch_of(records), Some(ident));
        log.open.remove(&ident);
        log.mark();
        self.ended.insert(ident, result);
    }

    /// Opens a transaction that holds the last stable offset back; answers what ends it.
    pub fn open_transaction(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[(&str, &str)],
    ) -> ProducerIdent {
        let ident = self.fresh_producer();
        self.log_mut(&partition_of(topic, partition)).expect("exists").append(batch_of(records), Some(ident));
        ident
    }

    /// Every committed record of a topic, by partition and offset.
    pub fn committed_records(&self, topic: &str) -> Vec<CommittedRecord> {
        let Some(found) = self.topics.get(topic) else { return Vec::new() };
        let mut all = Vec::new();
        for (partition, log) in (0i32..).zip(&found.partitions) {
            for batch in log.entries.iter().filter_map(|entry| self.visible(entry, log.last_stable())) {
                let records = batch.records(usize::MAX).expect("built by this process");
                for record in records.iter().map(|record| record.expect("built by this process")) {
                    all.push(CommittedRecord {
                        partition,
                        offset: record.offset.value(),
                        timestamp: record.timestamp,
                        key: record.key.map(text),
                        value: record.value.map(text),
                        headers: record.headers().map(|(key, value)| (text(key), value.map(text))).collect(),
                    });
                }
            }
        }
        all
    }

    /// The first visible record at or after a time.
    pub(super) fn offset_for_time(&self, partition: &TopicPartition, ms: i64) -> Option<Offset> {
        let log = self.log(partition).ok()?;
        let visible = log.entries.iter().filter_map(|entry| self.visible(entry, log.last_stable()));
        visible
            .flat_map(|batch| {
                let records = batch.records(usize::MAX).expect("built by this process");
                let all = records.iter().map(|record| record.expect("built by this process"));
                all.map(|record| (record.offset, record.timestamp)).collect::<Vec<_>>()
            })
            .find_map(|(offset, timestamp)| (timestamp >= ms).then_some(offset))
    }

    /// The values of a topic's committed records, sorted: what exactly-once is about.
    pub fn committed_values(&self, topic: &str) -> Vec<String> {
        let records = self.committed_records(topic);
        let mut values = records.into_iter().map(|r| r.value.unwrap_or_default()).collect::<Vec<_>>();
        values.sort();
        values
    }

    /// The group's committed offset.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let key = (GroupId::new(group), partition_of(topic, partition));
        self.committed.get(&key).map(|committed| committed.offset.value())
    }

    /// The end of a partition.
    pub fn end_offset(&self, topic: &str, partition: i32) -> i64 {
        self.log(&partition_of(topic, partition)).map_or(0, |log| log.end.value())
    }

    fn fresh_producer(&mut self) -> ProducerIdent {
        self.producers_ever += 1;
        let id = ProducerId::from_wire(self.producers_ever).expect("counts up from 1");
        ProducerIdent { id, epoch: ProducerEpoch::ZERO }
    }

    fn log(&self, partition: &TopicPartition) -> Result<&Partition, Fail> {
        let index = usize::try_from(partition.partition.value()).unwrap_or(usize::MAX);
        self.topics
            .get(&partition.topic)
            .and_then(|topic| topic.partitions.get(index))
            .ok_or_else(|| BackendError::UnknownTopic(partition.to_string()))
    }

    fn log_mut(&mut self, partition: &TopicPartition) -> Result<&mut Partition, Fail> {
        let index = usize::try_from(partition.partition.value()).unwrap_or(usize::MAX);
        self.topics
            .get_mut(&partition.topic)
            .and_then(|topic| topic.partitions.get_mut(index))
            .ok_or_else(|| BackendError::UnknownTopic(partition.to_string()))
    }

    fn visible<'a>(&self, entry: &'a Entry, last_stable: Offset) -> Option<&'a RecordBatch> {
        match entry {
            Entry::Marker { .. } => None,
            Entry::Data { batch, .. } if batch.header().base_offset >= last_stable => None,
            Entry::Data { batch, producer: None } => Some(batch),
            Entry::Data { batch, producer: Some(producer) } => {
                (self.ended.get(producer) == Some(&EndTransaction::Commit)).then_some(batch)
            }
        }
    }

    pub(super) fn log_bounds(&self, partition: &TopicPartition) -> Result<LogBounds, Fail> {
        let log = self.log(partition)?;
        Ok(LogBounds { log_start: log.start, last_stable: log.last_stable() })
    }

    /// Committed records from an offset on.
    pub fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<FetchedBatches, Fail> {
        let log = self.log(partition)?;
        if from < log.start || from > log.end {
            return Err(BackendError::OffsetOutOfRange);
        }
        let last_stable = log.last_stable();
        let mut batches = Vec::new();
        let mut next_offset = from;
        let mut bytes = 0;
        for entry in log.entries.iter().filter(|entry| entry.end() > from) {
            if entry.end() > last_stable || (bytes > 0 && bytes >= bytes_max) {
                break;
            }
            if let Some(batch) = self.visible(entry, last_stable) {
                bytes += batch.bytes().len();
                batches.push(batch.clone());
            }
            next_offset = entry.end();
        }
        let unknown = || BackendError::UnknownTopic(partition.to_string());
        Ok(FetchedBatches {
            topic_id: self.describe(&partition.topic).ok_or_else(unknown)?.id,
            batches,
            next_offset,
            last_stable_offset: last_stable,
            high_watermark: log.end,
        })
    }

    pub(super) fn stable_committed_offset(
        &self,
        group: &GroupId,
        partition: &TopicPartition,
    ) -> Result<Option<CommittedOffset>, Fail> {
        let key = (group.clone(), partition.clone());
        let pending = |t: &Transaction| t.open && t.offsets.iter().any(|(at, _)| *at == key);
        if self.transactions.values().any(pending) {
            return Err(BackendError::from_code(ErrorCode::UnstableOffsetCommit, "a transaction is open"));
        }
        Ok(self.committed.get(&key).cloned())
    }

    pub(super) fn init_producer_id(&mut self, id: &TransactionalId) -> ProducerIdent {
        let Some(known) = self.transactions.get(id).cloned() else {
            let fresh = self.fresh_producer();
            let empty = Transaction {
                producer: fresh,
                partitions: BTreeSet::new(),
                offsets: Vec::new(),
                open: false,
                last_end: None,
            };
            self.transactions.insert(id.clone(), empty);
            return fresh;
        };
        if known.open {
            self.finish(id, EndTransaction::Abort);
        }
        let transaction = self.transactions.get_mut(id).expect("it was there");
        transaction.producer = next_epoch(transaction.producer);
        transaction.last_end = None;
        transaction.producer
    }

    /// Lets the coordinator's timeout strike: aborts and fences whoever has the transaction open.
    pub fn time_out(&mut self, id: &str) {
        self.finish(&TransactionalId::new(id), EndTransaction::Abort);
    }

    /// The transactional ids that have a transaction open.
    pub fn open_transactional_ids(&self) -> Vec<String> {
        self.transactions.iter().filter(|(_, t)| t.open).map(|(id, _)| id.to_string()).collect()
    }

    fn owned(&mut self, id: &TransactionalId, producer: ProducerIdent) -> Result<&mut Transaction, Fail> {
        match self.transactions.get_mut(id) {
            Some(transaction) if transaction.producer == producer => Ok(transaction),
            Some(transaction) => Err(BackendError::from_code(
                ErrorCode::InvalidProducerEpoch,
                format!("{producer} is fenced by {}", transaction.producer),
            )),
            None => Err(BackendError::from_code(ErrorCode::InvalidProducerIdMapping, "unknown id")),
        }
    }

    pub(super) fn produce(
        &mut self,
        producer: ProducerIdent,
        id: &TransactionalId,
        partition: &TopicPartition,
        batch: &RecordBatch,
    ) -> Result<Offset, Fail> {
        self.log(partition)?;
        let (bytes, most) = (batch.bytes().len(), self.max_message_bytes);
        let transaction = self.owned(id, producer)?;
        if bytes > most {
            let why = format!("{bytes} bytes, at most {most}");
            return Err(BackendError::from_code(ErrorCode::MessageTooLarge, why));
        }
        transaction.open = true;
        transaction.partitions.insert(partition.clone());
        self.log_mut(partition)?.append_in_sequence(batch, producer)
    }

    pub(super) fn produce_plain(
        &mut self,
        partition: &TopicPartition,
        batch: &RecordBatch,
    ) -> Result<Offset, Fail> {
        let (bytes, most) = (batch.bytes().len(), self.max_message_bytes);
        if bytes > most {
            let why = format!("{bytes} bytes, at most {most}");
            return Err(BackendError::from_code(ErrorCode::MessageTooLarge, why));
        }
        assert!(!batch.header().is_transactional && batch.header().producer.is_none());
        Ok(self.log_mut(partition)?.append(batch.clone(), None))
    }

    pub(super) fn commit(&mut self, key: (GroupId, TopicPartition), committed: CommittedOffset) {
        self.notes.push((key.1.clone(), committed.metadata.clone()));
        self.committed.insert(key, committed);
    }

    pub(super) fn commit_in_transaction(
        &mut self,
        id: &TransactionalId,
        producer: ProducerIdent,
        key: (GroupId, TopicPartition),
        offset: CommittedOffset,
    ) -> Result<(), Fail> {
        let transaction = self.owned(id, producer)?;
        transaction.open = true;
        transaction.offsets.push((key, offset));
        Ok(())
    }

    pub(super) fn end_transaction(
        &mut self,
        id: &TransactionalId,
        producer: ProducerIdent,
        result: EndTransaction,
    ) -> Result<ProducerIdent, Fail> {
        if let Some(known) = self.transactions.get(id) {
            match known.last_end {
                Some((ended, how)) if ended == producer && how == result && !known.open => {
                    return Ok(known.producer);
                }
                Some(_) | None => {}
            }
        }
        let transaction = self.owned(id, producer)?;
        if !transaction.open && result == EndTransaction::Commit {
            return Err(BackendError::from_code(ErrorCode::InvalidTxnState, "nothing to commit"));
        }
        self.finish(id, result);
        Ok(self.transactions.get(id).expect("it was there").producer)
    }

    fn finish(&mut self, id: &TransactionalId, result: EndTransaction) {
        let Some(transaction) = self.transactions.get_mut(id) else { return };
        let ended = transaction.producer;
        transaction.producer = next_epoch(ended);
        transaction.last_end = Some((ended, result));
        transaction.open = false;
        let partitions = std::mem::take(&mut transaction.partitions);
        let offsets = std::mem::take(&mut transaction.offsets);
        for partition in partitions {
            if let Ok(log) = self.log_mut(&partition) {
                log.open.remove(&ended);
                log.mark();
            }
        }
        self.ended.insert(ended, result);
        match result {
            EndTransaction::Commit => {
                self.commits += 1;
                offsets.into_iter().for_each(|(key, offset)| self.commit(key, offset));
            }
            EndTransaction::Abort => self.aborts += 1,
        }
    }
}

impl Partition {
    fn last_stable(&self) -> Offset {
        self.open.values().min().copied().unwrap_or(self.end)
    }

    fn append(&mut self, batch: RecordBatch, producer: Option<ProducerIdent>) -> Offset {
        let base = self.end;
        let batch = batch.stamped(base, LeaderEpoch::ZERO);
        if let Some(producer) = producer {
            self.open.entry(producer).or_insert(base);
        }
        self.end = batch.header().last_offset().next();
        self.entries.push(Entry::Data { batch, producer });
        base
    }

    fn mark(&mut self) {
        self.entries.push(Entry::Marker { offset: self.end });
        self.end = self.end.next();
    }

    fn append_in_sequence(&mut self, batch: &RecordBatch, producer: ProducerIdent) -> Result<Offset, Fail> {
        let header = batch.header();
        let claimed = header.producer.filter(|claimed| claimed.ident == producer && header.is_transactional);
        let sequence = claimed.and_then(|claimed| claimed.base_sequence).map(|sequence| sequence.value());
        let wrong = |why: String| BackendError::from_code(ErrorCode::OutOfOrderSequenceNumber, why);
        let Some(sequence) = sequence else {
            return Err(wrong("the batch is not one of this producer's transaction".into()));
        };
        let fresh = Sequences { epoch: producer.epoch, next: 0, last: None };
        let state = self.sequences.entry(producer.id).or_insert(fresh.clone());
        if state.epoch < producer.epoch {
            *state = fresh;
        }
        if let Some((known, base)) = state.last.filter(|(known, _)| *known == sequence) {
            assert_eq!(known, sequence);
            return Ok(base);
        }
        if sequence != state.next {
            return Err(wrong(format!("sequence {sequence} where {} was expected", state.next)));
        }
        let base = self.end;
        state.next += header.record_count;
        state.last = Some((sequence, base));
        Ok(self.append(batch.clone(), Some(producer)))
    }
}

fn next_epoch(producer: ProducerIdent) -> ProducerIdent {
    ProducerIdent { epoch: producer.epoch.next().expect("tests are short"), ..producer }
}

fn batch_of(records: &[(&str, &str)]) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (timestamp, (key, value)) in (1_000..).zip(records) {
        let key = Some(key.as_bytes()).filter(|key| !key.is_empty());
        builder.append(NewRecord { timestamp, key, value: Some(value.as_bytes()), headers: &[] });
    }
    builder.build()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
