//! The broker in this process as a task's cluster: the same calls that a client's requests make.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backend::{
    BackendError, ChangelogBounds, FetchedBatches, LogBounds, Provenance, TopicDescription,
};
use super::commit_note::CommittedOffset;
use crate::broker::{
    Broker, BrokerError, FetchPartition, FetchRequest, NewTopic, OffsetQuery, TransactionalProduce,
};
use crate::clock::Timestamp;
use crate::coordinator::group::{
    CommittedPartition, Event, FetchPartitions, MemberOfGeneration, OffsetCommit, OffsetStability, Reply,
    UnknownGroup,
};
use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, Offset, ProducerId, ProducerIdent, TopicName, TopicPartition, TransactionalId};
use crate::log::{AbortedTransaction, AppendOrigin};
use crate::partition::Isolation;
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};
use crate::wire::record_batch::RecordBatch;

/// A processor speaks the newest dialect.
const API: ClientApi = ClientApi::TransactionAbortable;
const VERSION: TransactionVersion = TransactionVersion::V2;

/// The broker in this process.
pub struct BrokerBackend {
    broker: Arc<Broker>,
}

impl From<BrokerError> for BackendError {
    fn from(error: BrokerError) -> Self {
        BackendError::from_code(error.code(), error.to_string())
    }
}

impl BrokerBackend {
    /// A backend over this broker.
    pub fn new(broker: Arc<Broker>) -> BrokerBackend {
        BrokerBackend { broker }
    }

    /// See `Backend::ensure_topic`.
    pub async fn ensure_topic(&self, name: &TopicName, partitions: Option<i32>) -> Result<(), BackendError> {
        if self.broker.metadata().topic(name.as_str()).is_some() {
            return Ok(());
        }
        let new = NewTopic { name: name.clone(), partitions, configs: Default::default() };
        match self.broker.create_topic(&new).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// See `Backend::ensure_changelog`.
    pub async fn ensure_changelog(&self, name: &TopicName, partitions: i32) -> Result<(), BackendError> {
        let settings = [("cleanup.policy", "compact"), ("segment.bytes", "67108864")];
        let configs = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let new = NewTopic { name: name.clone(), partitions: Some(partitions), configs };
        match self.broker.create_topic(&new).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => {
                Ok(self.broker.grow_internal_topic(name, partitions).await?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// See `Backend::ensure_log_topic`. Its settings can be changed as any topic's.
    pub async fn ensure_log_topic(&self, name: &TopicName) -> Result<(), BackendError> {
        if self.broker.metadata().topic(name.as_str()).is_some() {
            return Ok(());
        }
        let settings =
            [("retention.ms", "86400000"), ("retention.bytes", "67108864"), ("segment.bytes", "16777216")];
        let configs = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let new = NewTopic { name: name.clone(), partitions: Some(1), configs };
        match self.broker.create_topic(&new).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// See `Backend::topic`.
    pub async fn topic(&self, name: &TopicName) -> Result<Option<TopicDescription>, BackendError> {
        let image = self.broker.metadata();
        let describe = |topic: &Arc<crate::metadata::TopicImage>| TopicDescription {
            id: topic.id,
            partitions: topic.partition_count(),
            partitioner: self.broker.topic_partitioner(topic),
        };
        Ok(image.topic(name.as_str()).map(describe))
    }

    /// See `Backend::init_producer_id`.
    pub async fn init_producer_id(
        &self,
        id: &TransactionalId,
        timeout: Duration,
    ) -> Result<ProducerIdent, BackendError> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        Ok(self.broker.init_producer_id(id.clone(), timeout_ms, None, API).await?)
    }

    /// See `Backend::committed_offset`.
    pub async fn committed_offset(
        &self,
        group: &GroupId,
        partition: &TopicPartition,
    ) -> Result<Option<CommittedOffset>, BackendError> {
        let (of, partitions) = (group.clone(), FetchPartitions::These(vec![partition.clone()]));
        let stability = OffsetStability::RequireStable;
        let event =
            move |request| Event::OffsetFetch { request, group: of, member: None, partitions, stability };
        let reply = self.broker.ask_group(group, event).await?.answer().await?;
        let Reply::OffsetFetch(Ok(offsets)) = reply else {
            return Err(BrokerError::CoordinatorUnavailable.into());
        };
        match offsets.into_iter().next() {
            Some(fetched) if fetched.error == ErrorCode::None => {
                let metadata = fetched.metadata;
                Ok(fetched.offset.map(|offset| CommittedOffset { offset, metadata }))
            }
            Some(fetched) => {
                Err(BackendError::from_code(fetched.error, format!("the committed offset of {partition}")))
            }
            None => Ok(None),
        }
    }

    /// See `Backend::log_bounds`.
    pub async fn log_bounds(&self, partition: &TopicPartition) -> Result<LogBounds, BackendError> {
        let offsets = self.broker.partition(partition)?.offsets();
        Ok(LogBounds { log_start: offsets.log_start_offset, last_stable: offsets.last_stable_offset })
    }

    /// See `Backend::changelog_bounds`.
    pub async fn changelog_bounds(
        &self,
        partition: &TopicPartition,
    ) -> Result<ChangelogBounds, BackendError> {
        let bounds = self.log_bounds(partition).await?;
        let image = self.broker.metadata();
        let topic = image.topic(partition.topic.as_str()).ok_or(BrokerError::UnknownPartition)?;
        let retention = self.broker.topic_config(topic).delete_retention;
        let delete_retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        Ok(ChangelogBounds { topic: topic.id, bounds, delete_retention_ms })
    }

    /// See `Backend::offset_for_time`.
    pub async fn offset_for_time(
        &self,
        partition: &TopicPartition,
        ms: i64,
    ) -> Result<Option<Offset>, BackendError> {
        let query = OffsetQuery::AtOrAfter(Timestamp::from_ms(ms));
        let found = self.broker.list_offset(partition, query, Isolation::ReadCommitted, None)?;
        Ok(found.map(|found| found.offset))
    }

    /// See `Backend::fetch`.
    pub async fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<FetchedBatches, BackendError> {
        let topic_id = self.broker.partition(partition)?.topic_id();
        let wanted = FetchPartition {
            topic_partition: partition.clone(),
            topic_id: None,
            offset: from,
            bytes_max,
            current_leader_epoch: None,
        };
        let request = FetchRequest {
            partitions: vec![wanted],
            isolation: Isolation::ReadCommitted,
            bytes_min: 1,
            bytes_max,
            wait_max,
        };
        let fetched = match self.broker.fetch(&request).await.pop() {
            Some(fetched) => fetched?,
            None => return Err(BrokerError::UnknownPartition.into()),
        };
        let bytes = fetched.read.to_bytes().map_err(BrokerError::from)?;
        Ok(FetchedBatches {
            topic_id,
            batches: committed_batches(bytes, fetched.aborted)?,
            next_offset: fetched.read.next_offset,
            last_stable_offset: fetched.offsets.last_stable_offset,
            high_watermark: fetched.offsets.high_watermark,
        })
    }

    /// See `Backend::produce`.
    pub async fn produce(
        &self,
        producer: ProducerIdent,
        id: &TransactionalId,
        partition: &TopicPartition,
        batch: RecordBatch,
        records: Provenance,
    ) -> Result<Offset, BackendError> {
        assert_eq!(batch.header().producer.map(|p| p.ident), Some(producer), "the batch names its producer");
        let transaction = TransactionalProduce { transactional_id: id.clone(), version: VERSION, api: API };
        let partition = self.broker.partition(partition)?;
        let (partition, committed) =
            self.broker.append(partition, &batch, origin_of(records), Some(transaction)).await?;
        self.broker.committed(&partition, committed.position).await?;
        Ok(committed.base_offset)
    }

    /// See `Backend::produce_plain`.
    pub async fn produce_plain(
        &self,
        partition: &TopicPartition,
        batch: RecordBatch,
        records: Provenance,
    ) -> Result<Offset, BackendError> {
        let partition = self.broker.partition(partition)?;
        let (partition, committed) = self.broker.append(partition, &batch, origin_of(records), None).await?;
        self.broker.committed(&partition, committed.position).await?;
        Ok(committed.base_offset)
    }

    /// See `Backend::commit_offset_in_transaction`.
    pub async fn commit_offset_in_transaction(
        &self,
        id: &TransactionalId,
        producer: ProducerIdent,
        group: &GroupId,
        partition: &TopicPartition,
        committed: &CommittedOffset,
    ) -> Result<(), BackendError> {
        let commit = self.offset_commit(group, partition, committed);
        let pending =
            self.broker.commit_offsets_in_transaction(id.clone(), producer, commit, VERSION, API).await?;
        check_commit(partition, committed, pending.await?)
    }

    /// See `Backend::commit_offset`.
    pub async fn commit_offset(
        &self,
        group: &GroupId,
        partition: &TopicPartition,
        committed: &CommittedOffset,
    ) -> Result<(), BackendError> {
        let commit = self.offset_commit(group, partition, committed);
        let unknown_group = UnknownGroup::GroupIdNotFound;
        let event = move |request| Event::OffsetCommit { request, commit, unknown_group };
        let reply = self.broker.ask_group(group, event).await?.answer().await?;
        let Reply::OffsetCommit(answers) = reply else {
            return Err(BrokerError::CoordinatorUnavailable.into());
        };
        check_commit(partition, committed, answers)
    }

    fn offset_commit(
        &self,
        group: &GroupId,
        partition: &TopicPartition,
        committed: &CommittedOffset,
    ) -> OffsetCommit {
        // Without its note a commit is as good, and a cluster may be told to take no long ones.
        let fits = committed.metadata.len() <= self.broker.offset_metadata_bytes_max();
        let metadata = if fits { committed.metadata.clone() } else { String::new() };
        let partition = partition.clone();
        let committed =
            CommittedPartition { partition, offset: committed.offset, leader_epoch: None, metadata };
        OffsetCommit { group: group.clone(), member: MemberOfGeneration::NOBODY, partitions: vec![committed] }
    }

    /// See `Backend::end_transaction`.
    pub async fn end_transaction(
        &self,
        id: &TransactionalId,
        producer: ProducerIdent,
        result: EndTransaction,
    ) -> Result<ProducerIdent, BackendError> {
        Ok(self.broker.end_transaction(id.clone(), producer, result, API, VERSION).await?)
    }
}

fn origin_of(records: Provenance) -> AppendOrigin {
    match records {
        Provenance::New => AppendOrigin::Client,
        Provenance::Moved => AppendOrigin::Moved,
    }
}

fn check_commit(
    partition: &TopicPartition,
    committed: &CommittedOffset,
    answers: Vec<(TopicPartition, ErrorCode)>,
) -> Result<(), BackendError> {
    match answers.into_iter().find(|(_, code)| *code != ErrorCode::None) {
        Some((_, code)) => {
            let offset = committed.offset;
            Err(BackendError::from_code(code, format!("committing {partition} at {offset}")))
        }
        None => Ok(()),
    }
}

/// Drops control batches and the batches of aborted transactions, as a read-committed consumer does
/// (`org.apache.kafka.clients.consumer.internals.CompletedFetch`).
fn committed_batches(
    mut bytes: Bytes,
    mut aborted: Vec<AbortedTransaction>,
) -> Result<Vec<RecordBatch>, BackendError> {
    let unreadable = |error: crate::wire::record_batch::BatchError| {
        BackendError::from_code(ErrorCode::CorruptMessage, error.to_string())
    };
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut aborting: std::collections::BTreeSet<ProducerId> = Default::default();
    let mut batches = Vec::new();
    while let Some(batch) = RecordBatch::take_first(&mut bytes).map_err(unreadable)? {
        let header = batch.header();
        while let Some(begun) = aborted.next_if(|begun| begun.first_offset <= header.last_offset()) {
            aborting.insert(begun.producer_id);
        }
        let producer = header.producer.map(|producer| producer.ident.id);
        if header.is_control {
            let marker = EndTransactionMarker::from_batch(&batch).map_err(unreadable)?;
            if let Some(EndTransactionMarker { producer, result: EndTransaction::Abort, .. }) = marker {
                aborting.remove(&producer.id);
            }
            continue;
        }
        let is_aborted = header.is_transactional && producer.is_some_and(|id| aborting.contains(&id));
        if !is_aborted && header.record_count > 0 {
            batches.push(batch);
        }
    }
    Ok(batches)
}
