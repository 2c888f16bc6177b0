//! One replica's log, in Kafka's files: segments, indexes, leader epochs, producer state, recovery,
//! retention and compaction. Synchronous and without locks of its own around changes: the caller serialises.
//!
//! Knows no partitions, replicas or topics: the high watermark and the leader epoch come in as
//! values. Batches pass through as they are; nothing here decompresses but lookups by timestamp and compaction.

mod append;
pub mod checkpoint_files;
mod cleaner;
mod config;
mod error;
mod index_file;
mod leader_epochs;
mod lookup;
mod offset_index;
mod producer_snapshot;
mod producer_state;
mod reader;
mod recovery;
mod retention;
mod roll;
mod scan;
mod segment;
mod time_index;
mod transaction_index;

pub use append::{Append, AppendKind, AppendOrigin, Appended, TransactionCheck};
pub use cleaner::{
    Cleanable, Cleaned, CleanedFiles, CleaningError, CleaningPass, CleaningRequest, Group, ReplacedSegments,
};
pub use config::{CleanupPolicy, LogConfig};
pub use error::{AppendError, LogError, ReadError};
pub use lookup::{AbortedTransaction, TimestampedOffset};
pub use reader::{AtLeastOneBatch, FileSlice, LogRead};
pub use recovery::{LastShutdown, OpenLog, RecoveryReport};
pub use retention::DeletedSegments;

use std::sync::Arc;

use leader_epochs::{Changed, LeaderEpochs};
use producer_state::ProducerStates;
use reader::ReadCache;
use segment::Segment;

use crate::clock::Timestamp;
use crate::disk::{Disk, JournalPosition};
use crate::ids::{CoordinatorEpoch, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

/// The file in which a log keeps its leaders' epochs, in Kafka's format.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";

/// One replica's log.
pub struct Log {
    disk: Disk,
    directory: String,
    config: LogConfig,
    /// In the order of their offsets; the last one takes the appends. Never empty.
    segments: Vec<Segment>,
    log_start_offset: Offset,
    recovery_point: Offset,
    leader_epochs: LeaderEpochs,
    /// Whether the table holds an epoch that its file does not.
    epochs_unwritten: Changed,
    producers: ProducerStates,
    read_cache: ReadCache,
    last_append: JournalPosition,
    /// Where the last flush took a snapshot of the producers.
    snapshot_at_flush: Option<Offset>,
    flushed: Flushed,
    failed: Option<Arc<str>>,
}

/// Whether this log was flushed since it was opened: the first flush also makes sure that the
/// directory's own name is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flushed {
    NotYet,
    Before,
}

/// A transaction that has data in this log and no end marker yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenTransaction {
    /// The producer's epoch.
    pub epoch: ProducerEpoch,
    /// The transaction's first offset here.
    pub first_offset: Offset,
    /// When this log saw its first batch; after a crash at the latest when it was recovered.
    pub start_time: Timestamp,
}

/// What DescribeProducers tells of one producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerView {
    /// The producer.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record, if it sent any in this epoch.
    pub last_sequence: Option<Sequence>,
    /// The timestamp of its last batch or marker; -1 for none.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that sent its last marker.
    pub coordinator_epoch: Option<CoordinatorEpoch>,
    /// Where its open transaction begins.
    pub current_transaction_start_offset: Option<Offset>,
}

impl Log {
    /// The directory, relative to the data directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The configuration in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Puts another configuration in force, from the next append on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> Offset {
        self.active().next_offset
    }

    /// Up to where the log was durable in its own files at the last flush.
    pub fn recovery_point(&self) -> Offset {
        self.recovery_point
    }

    /// The first offset whose transaction is open, or ended by a marker that may not be replicated.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        self.producers.first_unstable_offset().map(|offset| offset.max(self.log_start_offset))
    }

    /// Up to where (exclusive) read-committed readers may read: the first unstable offset if it lies
    /// below the high watermark, and else the high watermark.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        self.first_unstable_offset().map_or(high_watermark, |first| first.min(high_watermark))
    }

    /// Lets ended transactions go whose marker lies below the high watermark.
    pub fn high_watermark_advanced(&mut self, high_watermark: Offset) {
        self.producers.high_watermark_advanced(high_watermark);
    }

    /// Notes that this replica leads from its log end on, before it appends anything.
    pub fn become_leader(&mut self, epoch: LeaderEpoch) -> Result<(), LogError> {
        self.check_failed()?;
        // The first append writes it down. Lost before that, nothing is lost: the next epoch begins at
        // the same offset and takes its place. A broker with many partitions starts without a sync
        // for each.
        if self.leader_epochs.assign(epoch, self.log_end_offset()) == Changed::Yes {
            self.epochs_unwritten = Changed::Yes;
        }
        Ok(())
    }

    /// The epoch of the last batch or of the present leader.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epochs.latest()
    }

    /// For OffsetsForLeaderEpoch: the largest epoch here that is not above `epoch`, and where it
    /// ends. `None` if `epoch` is newer than all that this log knows.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.leader_epochs.end_offset_for(epoch, self.log_end_offset())
    }

    /// The epoch in which the record at `offset` was written.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.leader_epochs.epoch_at(offset)
    }

    /// The producer's transaction that has data here and no marker yet.
    pub fn open_transaction(&self, id: ProducerId) -> Option<OpenTransaction> {
        let producer = self.producers.get(id)?;
        let transaction = producer.transaction?;
        Some(OpenTransaction {
            epoch: producer.epoch,
            first_offset: transaction.first_offset,
            start_time: transaction.start_time,
        })
    }

    /// The producer's epoch, if it is known here.
    pub fn producer_epoch(&self, id: ProducerId) -> Option<ProducerEpoch> {
        self.producers.get(id).map(|producer| producer.epoch)
    }

    /// All producers that this log remembers, by their ids.
    pub fn producers(&self) -> Vec<ProducerView> {
        let view = |(id, producer): (&ProducerId, &producer_state::Producer)| ProducerView {
            producer_id: *id,
            epoch: producer.epoch,
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp,
            coordinator_epoch: producer.coordinator_epoch,
            current_transaction_start_offset: producer
                .transaction
                .map(|transaction| transaction.first_offset),
        };
        self.producers.producers().iter().map(view).collect()
    }

    /// Forgets producers that were silent for longer than `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.producers.expire(now, self.config.producer_id_expiration_ms);
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("a log always has an active segment")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("a log always has an active segment")
    }

    /// The index of the segment in which `offset` lies, or of the first one.
    fn segment_index(&self, offset: Offset) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }

    fn check_failed(&self) -> Result<(), LogError> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(LogError::Failed { log: self.directory.clone(), cause: Arc::clone(cause) }),
        }
    }

    /// Marks the log failed if `result` is a failure.
    fn guard<T>(&mut self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result {
            self.failed = Some(error.to_string().into());
        }
        result
    }

    fn assign_epoch(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> Result<(), LogError> {
        let assigned = self.leader_epochs.assign(epoch, start_offset);
        match (assigned, self.epochs_unwritten) {
            (Changed::No, Changed::No) => Ok(()),
            (Changed::Yes, _) | (Changed::No, Changed::Yes) => {
                let written = self.write_epochs();
                self.guard(written)
            }
        }
    }

    fn write_epochs(&mut self) -> Result<(), LogError> {
        let path = format!("{}/{LEADER_EPOCH_CHECKPOINT}", self.directory);
        checkpoint_files::write_epochs(&self.disk, &path, self.leader_epochs.entries())?;
        self.epochs_unwritten = Changed::No;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
