//! The seam to the cluster that a task reads from and writes to.
//!
//! The same calls that a client makes: fetch committed records, produce, commit offsets and end the
//! transaction. A closed set of clusters, so an enum; nothing of a cluster's kind leaks upward.

use super::commit_note::CommittedOffset;
use crate::broker::TopicPartitioner;
use crate::error_code::{ErrorCode, Retry};
use crate::ids::{GroupId, Offset, ProducerIdent, TopicId, TopicName, TopicPartition, TransactionalId};
use crate::wire::control_record::EndTransaction;
use crate::wire::record_batch::RecordBatch;
use std::time::Duration;

/// A topic as the cluster has it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDescription {
    /// Which topic it is: another one of the same name has another id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// What chooses among them, whoever writes.
    pub partitioner: Option<TopicPartitioner>,
}

/// Whether the cluster has taken these records before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Provenance {
    /// It has not: all bounds of the topic hold.
    New,
    /// It has, when a client sent them to the topic's ingress: their sizes and times are not questioned again.
    Moved,
}

/// What a reader of committed records can see of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogBounds {
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The end (exclusive) of what is committed.
    pub last_stable: Offset,
}

/// A processor's changelog: one partition of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChangelogBounds {
    /// Which topic it is.
    pub topic: TopicId,
    /// What can be read of it.
    pub bounds: LogBounds,
    /// For how long compaction keeps deletions, in milliseconds.
    pub delete_retention_ms: i64,
}

/// What one fetch found.
#[derive(Clone, Debug)]
pub struct FetchedBatches {
    /// Which topic was read: a task must notice when its topic was deleted and created again.
    pub topic_id: TopicId,
    /// Committed data only: control batches and aborted transactions are left out. The first batch
    /// may begin before the offset that was asked for.
    pub batches: Vec<RecordBatch>,
    /// After everything that was looked at, shown or not.
    pub next_offset: Offset,
    /// The end (exclusive) of what is committed.
    pub last_stable_offset: Offset,
    /// The end (exclusive) of what is replicated.
    pub high_watermark: Offset,
}

/// What a failed call means for the task that made it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BackendError {
    /// Another owner has taken the transactional id.
    #[error("{code}: {message}")]
    Fenced {
        /// Kafka's code.
        code: ErrorCode,
        /// What was said.
        message: String,
    },
    /// The same call may succeed a little later.
    #[error("{code}: {message}")]
    Retriable {
        /// Kafka's code.
        code: ErrorCode,
        /// What was said.
        message: String,
    },
    /// The transaction cannot go on, or nobody knows how it ended: begin again from the committed offset.
    #[error("{code}: {message}")]
    Abortable {
        /// Kafka's code.
        code: ErrorCode,
        /// What was said.
        message: String,
    },
    /// The topic or partition is not there.
    #[error("UNKNOWN_TOPIC_OR_PARTITION: {0} does not exist")]
    UnknownTopic(String),
    /// The offset is not in the log.
    #[error("OFFSET_OUT_OF_RANGE: the offset is not in the log")]
    OffsetOutOfRange,
    /// These very records will never be taken.
    #[error("{code}: {message}")]
    Rejected {
        /// Kafka's code.
        code: ErrorCode,
        /// What was said.
        message: String,
    },
    /// Nothing that the task does will help.
    #[error("{code}: {message}")]
    Fatal {
        /// Kafka's code.
        code: ErrorCode,
        /// What was said.
        message: String,
    },
}

impl BackendError {
    /// What Kafka's code means for a task, by the reactions of Kafka's own transactional clients
    /// (KIP-1050).
    pub fn from_code(code: ErrorCode, message: impl Into<String>) -> BackendError {
        let message = message.into();
        match code {
            ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => {
                BackendError::Fenced { code, message }
            }
            ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId => BackendError::UnknownTopic(message),
            ErrorCode::OffsetOutOfRange => BackendError::OffsetOutOfRange,
            ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::InvalidRecord
            | ErrorCode::InvalidTimestamp => BackendError::Rejected { code, message },
            // Not retriable by the table of codes, but by every client's behaviour.
            ErrorCode::ConcurrentTransactions => BackendError::Retriable { code, message },
            ErrorCode::TransactionAbortable
            | ErrorCode::InvalidTxnState
            | ErrorCode::InvalidProducerIdMapping
            | ErrorCode::OutOfOrderSequenceNumber
            | ErrorCode::UnknownProducerId
            | ErrorCode::TransactionCoordinatorFenced
            | ErrorCode::UnknownServerError => BackendError::Abortable { code, message },
            other if other.retry() == Retry::Retriable => BackendError::Retriable { code, message },
            _ => BackendError::Fatal { code, message },
        }
    }
}

/// The cluster behind a processor's tasks.
pub enum Backend {
    /// The broker in this process.
    Broker(super::broker_backend::BrokerBackend),
    /// A model of a cluster in memory, for tests.
    #[cfg(any(test, feature = "testing"))]
    Memory(super::memory_backend::MemoryBackend),
}

/// The same calls for every kind of cluster: each arm forwards to methods of the same names.
macro_rules! backend_calls {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)*) => {
        impl Backend {
            $($(#[$doc])*
            pub async fn $name(&self $(, $argument: $kind)*) -> Result<$answer, BackendError> {
                match *self {
                    Backend::Broker(ref broker) => broker.$name($($argument),*).await,
                    #[cfg(any(test, feature = "testing"))]
                    Backend::Memory(ref cluster) => cluster.$name($($argument),*).await,
                }
            })*
        }
    };
}

backend_calls! {
    /// Makes sure that a topic exists; one that has to be created gets this many partitions, or the
    /// cluster's default.
    fn ensure_topic(&self, name: &TopicName, partitions: Option<i32>) -> ();
    /// Makes sure that a processor's changelog exists, compacted, with at least this many partitions.
    fn ensure_changelog(&self, name: &TopicName, partitions: i32) -> ();
    /// Makes sure that the topic of plugins' logs exists: one partition, bounded in time and size.
    fn ensure_log_topic(&self, name: &TopicName) -> ();
    /// The topic as it is now; `None` if there is none.
    fn topic(&self, name: &TopicName) -> Option<TopicDescription>;
    /// Takes the transactional id: aborts what an earlier owner left open, and fences it.
    fn init_producer_id(&self, id: &TransactionalId, timeout: Duration) -> ProducerIdent;
    /// What the group has committed, once no transaction can change it any more (`requireStable`).
    fn committed_offset(&self, group: &GroupId, partition: &TopicPartition) -> Option<CommittedOffset>;
    /// Where committed records begin and end.
    fn log_bounds(&self, partition: &TopicPartition) -> LogBounds;
    /// A partition of a changelog as it is now.
    fn changelog_bounds(&self, partition: &TopicPartition) -> ChangelogBounds;
    /// The first committed record whose timestamp is this or later (milliseconds since 1970).
    fn offset_for_time(&self, partition: &TopicPartition, ms: i64) -> Option<Offset>;
    /// Committed records from an offset on, waiting up to `wait_max` for the first.
    fn fetch(&self, partition: &TopicPartition, from: Offset, bytes_max: usize, wait_max: Duration) -> FetchedBatches;
    /// Appends a transactional batch; the partition joins the transaction. A batch that was appended
    /// before (same epoch and sequences) answers with its first offset.
    fn produce(&self, producer: ProducerIdent, id: &TransactionalId, partition: &TopicPartition, batch: RecordBatch, records: Provenance) -> Offset;
    /// Appends a batch outside of any transaction.
    fn produce_plain(&self, partition: &TopicPartition, batch: RecordBatch, records: Provenance) -> Offset;
    /// Commits the group's offset if the transaction commits.
    fn commit_offset_in_transaction(&self, id: &TransactionalId, producer: ProducerIdent, group: &GroupId, partition: &TopicPartition, committed: &CommittedOffset) -> ();
    /// Commits the group's offset at once.
    fn commit_offset(&self, group: &GroupId, partition: &TopicPartition, committed: &CommittedOffset) -> ();
    /// Ends the transaction; answers the producer's next epoch (KIP-890). The same end asked for
    /// again answers the same.
    fn end_transaction(&self, id: &TransactionalId, producer: ProducerIdent, result: EndTransaction) -> ProducerIdent;
}

#[cfg(test)]
mod tests;
