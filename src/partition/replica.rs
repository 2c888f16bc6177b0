//! One partition's replica on this broker.
//!
//! The high watermark follows durability: a record is readable once the disk says that it is
//! durable (under `flush=os` at once), so nobody ever reads what a power cut may take back. With
//! one replica the in-sync set is this broker; followers will bound the high watermark here too.

mod cleaning;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};

use crate::clock::Timestamp;
use crate::disk::{Disk, JournalPosition};
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, ProducerId, TopicId, TopicPartition};
use crate::log::{
    AbortedTransaction, Append, AppendError, AppendKind, AppendOrigin, Appended, AtLeastOneBatch,
    DeletedSegments, Log, LogConfig, LogError, LogRead, OpenTransaction, ProducerView, ReadError,
    TimestampedOffset, TransactionCheck,
};
use crate::partition::FetchSignal;
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};
use crate::wire::record_batch::{BatchHeader, RecordBatch};

pub use cleaning::{CleaningLimits, CleaningReport};

/// Dead waiters are swept out when a list has grown to this length.
const WAITERS_SWEEP_LENGTH: usize = 64;

/// What a reader may see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isolation {
    /// Everything below the high watermark.
    ReadUncommitted,
    /// Everything below the last stable offset, with the aborted transactions named.
    ReadCommitted,
}

/// Why a partition does not do what it is asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PartitionError {
    /// The request is refused and changed nothing.
    #[error("{code}: {message}")]
    Rejected {
        /// The protocol's answer.
        code: ErrorCode,
        /// Why.
        message: String,
    },
    /// The topic was deleted.
    #[error("the partition was deleted")]
    Deleted,
    /// Its log failed; the partition is offline until the broker restarts.
    #[error("the partition is offline: {0}")]
    Offline(String),
}

impl PartitionError {
    fn rejected(code: ErrorCode, message: impl Into<String>) -> PartitionError {
        PartitionError::Rejected { code, message: message.into() }
    }
}

/// Where an append landed. It counts only once `position` is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommittedAppend {
    /// The first record's offset; for a duplicate, the original's.
    pub base_offset: Offset,
    /// The last record's offset.
    pub last_offset: Offset,
    /// The time the broker stamped, if the topic asks for that.
    pub log_append_time: Option<Timestamp>,
    /// The start of the log at that moment.
    pub log_start_offset: Offset,
    /// Durable past here means that the append, or a duplicate's original, is.
    pub position: JournalPosition,
}

/// The four offsets of a partition, at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionOffsets {
    /// The first readable offset.
    pub log_start_offset: Offset,
    /// Below it all transactions are decided.
    pub last_stable_offset: Offset,
    /// Below it everything is durable on all in-sync replicas.
    pub high_watermark: Offset,
    /// The next offset to be written.
    pub log_end_offset: Offset,
}

/// What a fetch asks of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchSpec {
    /// From where.
    pub offset: Offset,
    /// How many bytes at most, unless the first batch alone is larger and `least` says yes.
    pub bytes_max: usize,
    /// Whether one batch is returned even if it is larger than `bytes_max`.
    pub least: AtLeastOneBatch,
    /// What the reader may see.
    pub isolation: Isolation,
}

/// What a fetch gets of one partition.
#[derive(Debug)]
pub struct Fetched {
    /// Whole batches, as slices of segment files.
    pub read: LogRead,
    /// The offsets, read before the data: nothing at or past them is returned.
    pub offsets: PartitionOffsets,
    /// For read-committed readers: the aborted transactions that overlap the data.
    pub aborted: Vec<AbortedTransaction>,
}

/// Names one try to add a partition to a transaction, so that a marker that comes in between
/// makes the try void (KIP-890: the ABA race of late produce requests).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerificationGuard(u64);

/// The coordinator's consent to a transactional append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// What `Partition::begin_verification` gave before the coordinator was asked.
    pub guard: VerificationGuard,
    /// Whose rules the transaction follows.
    pub version: TransactionVersion,
}

/// One partition's replica on this broker.
pub struct Partition {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    disk: Disk,
    /// The same as the log's, for those who do not wait for its lock.
    config: ArcSwap<LogConfig>,
    state: Mutex<State>,
}

struct State {
    log: Log,
    leader_epoch: LeaderEpoch,
    high_watermark: Offset,
    in_flight: VecDeque<InFlight>,
    waiting: Vec<Weak<FetchSignal>>,
    guards: BTreeMap<ProducerId, VerificationGuard>,
    guards_given: u64,
    stopped: Option<PartitionError>,
    /// Where the last compaction ended.
    cleaned_to: Option<Offset>,
}

/// An append that is not known to be durable yet.
struct InFlight {
    position: JournalPosition,
    end_offset: Offset,
}

impl Partition {
    /// A partition that this broker leads, over its opened log; all that recovery kept is durable.
    pub fn lead(
        topic_partition: TopicPartition,
        topic_id: TopicId,
        disk: Disk,
        mut log: Log,
        leader_epoch: LeaderEpoch,
    ) -> Result<Partition, LogError> {
        log.become_leader(leader_epoch)?;
        let high_watermark = log.log_end_offset();
        log.high_watermark_advanced(high_watermark);
        let config = ArcSwap::from_pointee(log.config().clone());
        let state = State {
            log,
            leader_epoch,
            high_watermark,
            in_flight: VecDeque::new(),
            waiting: Vec::new(),
            guards: BTreeMap::new(),
            guards_given: 0,
            stopped: None,
            cleaned_to: None,
        };
        Ok(Partition { topic_partition, topic_id, disk, config, state: Mutex::new(state) })
    }

    /// Which partition this is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The topic's id: another one means that the topic was created again.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The leader epoch.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.state.lock().leader_epoch
    }

    /// The four offsets, at one moment.
    pub fn offsets(&self) -> PartitionOffsets {
        let mut state = self.state.lock();
        state.advance(self.disk.durable_position());
        state.offsets()
    }

    /// Appends one batch; the answer counts once its position is durable.
    ///
    /// `verified` holds what `begin_verification` gave, where the coordinator was asked in between.
    pub fn append(
        &self,
        batch: &RecordBatch,
        origin: AppendOrigin,
        verified: Option<Verified>,
        now: Timestamp,
    ) -> Result<CommittedAppend, PartitionError> {
        let mut state = self.running()?;
        let producer = batch.header().producer.map(|producer| producer.ident.id);
        let verified = match (origin, producer, verified) {
            // The group coordinator has asked before it let its shard decide.
            (AppendOrigin::Coordinator | AppendOrigin::Replication, _, _) => {
                TransactionCheck::Verified(TransactionVersion::V1)
            }
            (
                AppendOrigin::Client | AppendOrigin::Intercepted | AppendOrigin::Moved,
                Some(id),
                Some(Verified { guard, version }),
            ) if state.guards.get(&id) == Some(&guard) => TransactionCheck::Verified(version),
            (AppendOrigin::Client | AppendOrigin::Intercepted | AppendOrigin::Moved, _, _) => {
                TransactionCheck::Unverified
            }
        };
        let how = Append { origin, leader_epoch: state.leader_epoch, now, verified };
        let appended = state.log.append(batch, how);
        let committed = self.appended(&mut state, appended)?;
        if let Some(id) = producer {
            state.guards.remove(&id);
        }
        Ok(committed)
    }

    /// Whether the batch is here already, so that `append` would only answer where.
    pub fn is_duplicate(&self, header: &BatchHeader) -> bool {
        self.state.lock().log.is_duplicate(header)
    }

    /// Appends the end of a transaction.
    pub fn append_marker(
        &self,
        marker: &EndTransactionMarker,
        version: TransactionVersion,
        now: Timestamp,
    ) -> Result<CommittedAppend, PartitionError> {
        let mut state = self.running()?;
        let leader_epoch = state.leader_epoch;
        let appended = state.log.append_marker(marker, version, leader_epoch, now);
        state.guards.remove(&marker.producer.id);
        self.appended(&mut state, appended)
    }

    /// Whether `append_marker` would take the marker: for those who must not change anything before
    /// they know.
    pub fn check_marker(
        &self,
        marker: &EndTransactionMarker,
        version: TransactionVersion,
    ) -> Result<(), PartitionError> {
        let state = self.running()?;
        state.log.check_marker(marker, version).map_err(append_failed)
    }

    /// Makes what has become durable readable, and wakes the fetches that wait for it.
    pub fn advance_high_watermark(&self) {
        self.state.lock().advance(self.disk.durable_position());
    }

    /// The open transaction of a producer, if it has one here.
    pub fn open_transaction(&self, producer: ProducerId) -> Option<OpenTransaction> {
        self.state.lock().log.open_transaction(producer)
    }

    /// Starts to ask the coordinator about a producer's first append of a transaction.
    pub fn begin_verification(&self, producer: ProducerId) -> VerificationGuard {
        let mut state = self.state.lock();
        if let Some(guard) = state.guards.get(&producer) {
            return *guard;
        }
        state.guards_given += 1;
        let guard = VerificationGuard(state.guards_given);
        state.guards.insert(producer, guard);
        guard
    }

    /// Whether no end of a transaction has come since `begin_verification` gave this guard.
    pub fn is_verifying(&self, producer: ProducerId, guard: VerificationGuard) -> bool {
        self.state.lock().guards.get(&producer) == Some(&guard)
    }

    /// Reads whole batches below the bound that the isolation level sets.
    pub fn fetch(&self, spec: FetchSpec) -> Result<Fetched, PartitionError> {
        let mut state = self.running()?;
        state.advance(self.disk.durable_position());
        let offsets = state.offsets();
        if spec.offset < offsets.log_start_offset || spec.offset > offsets.log_end_offset {
            let message = format!(
                "offset {} is outside {} to {}",
                spec.offset, offsets.log_start_offset, offsets.log_end_offset
            );
            return Err(PartitionError::rejected(ErrorCode::OffsetOutOfRange, message));
        }
        let upper = match spec.isolation {
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => offsets.last_stable_offset,
        };
        let read = match spec.offset < upper {
            true => state.log.read(spec.offset, upper, spec.bytes_max, spec.least).map_err(read_failed)?,
            false => LogRead { slices: Vec::new(), next_offset: spec.offset },
        };
        let aborted = match spec.isolation {
            Isolation::ReadCommitted if !read.slices.is_empty() => state
                .log
                .aborted_transactions(spec.offset, read.next_offset)
                .map_err(|error| PartitionError::Offline(error.to_string()))?,
            Isolation::ReadCommitted | Isolation::ReadUncommitted => Vec::new(),
        };
        Ok(Fetched { read, offsets, aborted })
    }

    /// Fires the signal as soon as the high watermark or the last stable offset has moved.
    pub fn watch(&self, signal: &Arc<FetchSignal>) {
        let mut state = self.state.lock();
        if state.waiting.len() >= WAITERS_SWEEP_LENGTH {
            state.waiting.retain(|waiter| waiter.strong_count() > 0);
        }
        state.waiting.push(Arc::downgrade(signal));
        if state.stopped.is_some() {
            signal.fire();
        }
    }

    /// The first record at or after a time that the reader may see.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>, PartitionError> {
        self.look_up(isolation, |log, upper| log.offset_for_timestamp(timestamp, upper))
    }

    /// The record with the largest timestamp that the reader may see.
    pub fn offset_of_max_timestamp(
        &self,
        isolation: Isolation,
    ) -> Result<Option<TimestampedOffset>, PartitionError> {
        self.look_up(isolation, Log::offset_of_max_timestamp)
    }

    /// The last epoch that is not above `epoch`, with the offset where it ended.
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.state.lock().log.end_offset_for_epoch(epoch)
    }

    /// The producers that this partition remembers.
    pub fn producers(&self) -> Vec<ProducerView> {
        self.state.lock().log.producers()
    }

    /// How many bytes its segments hold.
    pub fn size_bytes(&self) -> u64 {
        self.state.lock().log.size_bytes()
    }

    /// Moves the log's start: records before it are gone for readers. The segments are for the
    /// caller to remove, once the new start is recorded.
    pub fn delete_records_before(
        &self,
        offset: Option<Offset>,
        now: Timestamp,
    ) -> Result<DeletedSegments, PartitionError> {
        let mut state = self.running()?;
        state.advance(self.disk.durable_position());
        let offset = offset.unwrap_or(state.high_watermark);
        if offset > state.high_watermark {
            let message = format!("offset {offset} is above the high watermark {}", state.high_watermark);
            return Err(PartitionError::rejected(ErrorCode::OffsetOutOfRange, message));
        }
        let deleted = state.log.delete_records_before(offset, now);
        deleted.map_err(read_failed)
    }

    /// The topic settings that its log heeds.
    pub fn config(&self) -> Guard<Arc<LogConfig>> {
        self.config.load()
    }

    /// Takes over changed topic settings.
    pub fn set_config(&self, config: LogConfig) {
        let mut state = self.state.lock();
        self.config.store(Arc::new(config.clone()));
        state.log.set_config(config);
    }

    /// Rolls what is due, forgets idle producers, and takes out what retention no longer keeps: the
    /// segments are for the caller to remove, once the new start is recorded.
    pub fn maintain(&self, now: Timestamp) -> Result<DeletedSegments, PartitionError> {
        let mut state = self.running()?;
        state.advance(self.disk.durable_position());
        let high_watermark = state.high_watermark;
        let offline = |error: LogError| PartitionError::Offline(error.to_string());
        state.log.roll_if_due(now).map_err(offline)?;
        state.log.expire_producers(now);
        state.log.enforce_retention(now, high_watermark).map_err(offline)
    }

    /// Writes what a start after a crash needs; gives the offset up to which the log will be durable
    /// in its own files once the disk is checkpointed, and the log's start.
    /// A log that has failed stays at its last recovery point; one whose topic was deleted writes
    /// nothing, as its directory may be another topic's by now.
    pub fn begin_checkpoint(&self) -> (Offset, Offset) {
        let mut state = self.state.lock();
        if state.stopped.is_some() {
            return (state.log.recovery_point(), state.log.log_start_offset());
        }
        let recovery_point = state.log.begin_checkpoint().unwrap_or_else(|error| {
            tracing::warn!(partition = %self.topic_partition, %error, "not checkpointed");
            state.log.recovery_point()
        });
        (recovery_point, state.log.log_start_offset())
    }

    /// The disk was checkpointed after `begin_checkpoint` gave this offset.
    pub fn checkpointed(&self, recovery_point: Offset) {
        let mut state = self.state.lock();
        if state.stopped.is_some() {
            return;
        }
        if let Err(error) = state.log.checkpointed(recovery_point) {
            tracing::warn!(partition = %self.topic_partition, %error, "not checkpointed");
        }
    }

    /// Ends the partition because its topic was deleted: waiting fetches wake and find it gone.
    pub fn stop(&self) {
        self.state.lock().stop(PartitionError::Deleted);
    }

    /// Flushes and closes the log in an orderly shutdown; gives the recovery point and the start.
    pub fn close(&self) -> Result<(Offset, Offset), PartitionError> {
        let mut state = self.running()?;
        let closed = state.log.flush().map_err(|error| PartitionError::Offline(error.to_string()));
        let start = state.log.log_start_offset();
        state.stop(PartitionError::Offline("the broker is shutting down".to_owned()));
        closed.map(|recovery_point| (recovery_point, start))
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, PartitionError> {
        let state = self.state.lock();
        match &state.stopped {
            Some(error) => Err(error.clone()),
            None => Ok(state),
        }
    }

    fn look_up(
        &self,
        isolation: Isolation,
        find: impl Fn(&Log, Offset) -> Result<Option<TimestampedOffset>, LogError>,
    ) -> Result<Option<TimestampedOffset>, PartitionError> {
        let mut state = self.running()?;
        state.advance(self.disk.durable_position());
        let upper = match isolation {
            Isolation::ReadUncommitted => state.high_watermark,
            Isolation::ReadCommitted => state.log.last_stable_offset(state.high_watermark),
        };
        find(&state.log, upper).map_err(|error| PartitionError::Offline(error.to_string()))
    }

    fn appended(
        &self,
        state: &mut State,
        appended: Result<Appended, AppendError>,
    ) -> Result<CommittedAppend, PartitionError> {
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => {
                let error = append_failed(error);
                match &error {
                    PartitionError::Offline(_) => {
                        let partition = &self.topic_partition;
                        tracing::error!(%partition, %error, "offline until the broker starts again");
                        state.stop(error.clone());
                    }
                    PartitionError::Rejected { .. } | PartitionError::Deleted => {}
                }
                return Err(error);
            }
        };
        let end_offset = appended.last_offset.next();
        let position = match appended.kind {
            AppendKind::New => {
                let position = appended.journal_position;
                state.in_flight.push_back(InFlight { position, end_offset });
                position
            }
            AppendKind::Duplicate => state.position_of(end_offset),
        };
        state.advance(self.disk.durable_position());
        Ok(CommittedAppend {
            base_offset: appended.base_offset,
            last_offset: appended.last_offset,
            log_append_time: appended.log_append_time,
            log_start_offset: state.log.log_start_offset(),
            position,
        })
    }
}

impl State {
    fn offsets(&self) -> PartitionOffsets {
        let offsets = PartitionOffsets {
            log_start_offset: self.log.log_start_offset(),
            last_stable_offset: self.log.last_stable_offset(self.high_watermark),
            high_watermark: self.high_watermark,
            log_end_offset: self.log.log_end_offset(),
        };
        assert!(offsets.last_stable_offset <= offsets.high_watermark);
        assert!(offsets.high_watermark <= offsets.log_end_offset);
        offsets
    }

    /// Where a record that may still be in flight becomes durable.
    fn position_of(&self, end_offset: Offset) -> JournalPosition {
        let covering = self.in_flight.iter().find(|append| append.end_offset >= end_offset);
        covering.map_or(JournalPosition::ZERO, |append| append.position)
    }

    fn advance(&mut self, durable: JournalPosition) {
        let mut reached = None;
        while let Some(append) = self.in_flight.front() {
            if append.position > durable {
                break;
            }
            reached = Some(append.end_offset);
            self.in_flight.pop_front();
        }
        let Some(high_watermark) = reached else { return };
        assert!(high_watermark >= self.high_watermark, "the high watermark never goes back");
        self.high_watermark = high_watermark;
        self.log.high_watermark_advanced(high_watermark);
        self.wake();
    }

    fn stop(&mut self, why: PartitionError) {
        self.stopped.get_or_insert(why);
        self.wake();
    }

    fn wake(&mut self) {
        for signal in self.waiting.drain(..).filter_map(|waiter| waiter.upgrade()) {
            signal.fire();
        }
    }
}

fn append_failed(error: AppendError) -> PartitionError {
    match error {
        AppendError::Reject { code, message } => PartitionError::Rejected { code, message },
        AppendError::Failed(error) => PartitionError::Offline(error.to_string()),
    }
}

fn read_failed(error: ReadError) -> PartitionError {
    match error {
        ReadError::OffsetOutOfRange { .. } => {
            PartitionError::rejected(ErrorCode::OffsetOutOfRange, error.to_string())
        }
        ReadError::Failed(_) => PartitionError::Offline(error.to_string()),
    }
}
