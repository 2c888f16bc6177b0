//! Appending: the checks of a batch, the write, and only then the change of what the log knows.
//! A batch goes to the disk as it came, but for base offset, leader epoch and the broker's own
//! timestamp where the topic asks for it.

use bytes::Bytes;

use super::producer_state::{DataCheck, Verdict};
use super::segment::{Fits, Incoming};
use super::{AppendError, Log, LogError};
use crate::clock::Timestamp;
use crate::disk::JournalPosition;
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset};
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES, RecordBatch, TimestampType};

/// Who wrote a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOrigin {
    /// A producer: all checks.
    Client,
    /// A producer, and an interceptor has changed it since: all checks, but it may lack records, as
    /// compaction leaves batches behind.
    Intercepted,
    /// The broker itself, with records that it took from a client before, in another partition: as a producer's,
    /// but sizes and times have been checked.
    Moved,
    /// A coordinator of this broker: epochs are checked, sequences are not there.
    Coordinator,
    /// The partition's leader: taken as it is, offsets and leader epoch too.
    Replication,
}

/// Whether the transaction coordinator vouches for a transactional batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionCheck {
    /// The partition was found in, or added to, the producer's transaction just now.
    Verified(TransactionVersion),
    /// Nobody asked: only a transaction that is open here already may go on.
    Unverified,
}

/// How a batch is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Append {
    /// Who wrote the batch.
    pub origin: AppendOrigin,
    /// The leader's epoch; a replicated batch carries its own.
    pub leader_epoch: LeaderEpoch,
    /// The present moment.
    pub now: Timestamp,
    /// Whether the transaction coordinator vouches for the batch.
    pub verified: TransactionCheck,
}

/// Whether an append wrote anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendKind {
    /// The batch was written.
    New,
    /// It was here before; the offsets are the first copy's.
    Duplicate,
}

/// Where a batch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its first offset.
    pub base_offset: Offset,
    /// Its last offset.
    pub last_offset: Offset,
    /// The timestamp that the broker gave it, if the topic asks for that.
    pub log_append_time: Option<Timestamp>,
    /// Once the journal is durable up to here, the batch is. For a duplicate this covers the first
    /// copy, which may be on its way still.
    pub journal_position: JournalPosition,
    /// Whether anything was written.
    pub kind: AppendKind,
}

impl Log {
    /// Appends a batch. A refusal leaves the log as it was; after a failure the log takes no more
    /// calls and must be opened again.
    pub fn append(&mut self, batch: &RecordBatch, how: Append) -> Result<Appended, AppendError> {
        self.check_failed()?;
        self.check_batch(batch.header(), how)?;
        let check = DataCheck { origin: how.origin, verified: how.verified };
        match how.origin {
            AppendOrigin::Replication => return Ok(self.append_replicated(batch, how)?),
            AppendOrigin::Client
            | AppendOrigin::Intercepted
            | AppendOrigin::Moved
            | AppendOrigin::Coordinator => {}
        }
        match self.producers.check_data(batch.header(), check)? {
            Verdict::Append => {}
            Verdict::Duplicate(original) => {
                return Ok(Appended {
                    base_offset: original.first_offset(),
                    last_offset: original.last_offset,
                    log_append_time: self.append_time(original.timestamp),
                    journal_position: self.last_append,
                    kind: AppendKind::Duplicate,
                });
            }
        }
        let timed;
        let batch = match self.config.message_timestamp_type {
            TimestampType::CreateTime => batch,
            TimestampType::LogAppendTime => {
                timed = batch.with_log_append_time(how.now);
                &timed
            }
        };
        let place =
            Place { base_offset: self.log_end_offset(), leader_epoch: how.leader_epoch, now: how.now };
        let (header, journal_position) = self.write(batch, place)?;
        self.producers.apply_data(&header, how.now);
        Ok(self.appended(&header, journal_position))
    }

    /// Appends a transaction's end marker.
    pub fn append_marker(
        &mut self,
        marker: &EndTransactionMarker,
        version: TransactionVersion,
        leader_epoch: LeaderEpoch,
        now: Timestamp,
    ) -> Result<Appended, AppendError> {
        self.check_failed()?;
        self.producers.check_marker(marker, version)?;
        let place = Place { base_offset: self.log_end_offset(), leader_epoch, now };
        let (header, journal_position) = self.write(&marker.to_batch(now), place)?;
        self.apply_marker(marker, &header, now);
        Ok(self.appended(&header, journal_position))
    }

    /// Whether the batch is one of its producer's last ones, sent again.
    pub fn is_duplicate(&self, header: &BatchHeader) -> bool {
        self.producers.is_duplicate(header)
    }

    /// Whether `append_marker` would take the marker.
    pub fn check_marker(
        &self,
        marker: &EndTransactionMarker,
        version: TransactionVersion,
    ) -> Result<(), AppendError> {
        self.check_failed()?;
        self.producers.check_marker(marker, version)
    }

    /// A batch as its leader wrote it: no checks but that it continues the log.
    fn append_replicated(&mut self, batch: &RecordBatch, how: Append) -> Result<Appended, LogError> {
        let base_offset = batch.header().base_offset;
        if base_offset < self.log_end_offset() {
            let log_end_offset = self.log_end_offset();
            return Err(LogError::NotInOrder { log: self.directory.clone(), log_end_offset, base_offset });
        }
        let marker = EndTransactionMarker::from_batch(batch).map_err(|error| LogError::Corrupt {
            path: self.directory.clone(),
            detail: format!("the replicated batch at offset {base_offset}: {error}"),
        })?;
        let leader_epoch = batch.header().leader_epoch.unwrap_or(how.leader_epoch);
        let (header, journal_position) =
            self.write(batch, Place { base_offset, leader_epoch, now: how.now })?;
        match marker {
            Some(marker) => self.apply_marker(&marker, &header, how.now),
            None if !header.is_producers_own() => {}
            None => self.producers.apply_data(&header, how.now),
        }
        Ok(self.appended(&header, journal_position))
    }

    /// What holds for a batch whatever its producer.
    fn check_batch(&self, header: &BatchHeader, how: Append) -> Result<(), AppendError> {
        let may_lack_records = match how.origin {
            AppendOrigin::Replication => return Ok(()),
            AppendOrigin::Client | AppendOrigin::Moved | AppendOrigin::Coordinator => false,
            AppendOrigin::Intercepted => true,
        };
        let is_emptied = may_lack_records && header.record_count == 0;
        if header.is_control && !is_emptied {
            return Err(AppendError::reject(
                ErrorCode::InvalidRecord,
                "clients may not write control batches",
            ));
        }
        let is_whole = header.record_count > 0 && header.record_count - 1 == header.last_offset_delta;
        if !is_whole && !may_lack_records {
            let message = "the batch's record count does not match its offsets";
            return Err(AppendError::reject(ErrorCode::InvalidRecord, message));
        }
        let is_bounded = how.origin != AppendOrigin::Moved;
        if is_bounded && header.batch_bytes > self.config.max_message_bytes {
            let (bytes, max) = (header.batch_bytes, self.config.max_message_bytes);
            let message = format!("the batch has {bytes} bytes, and max.message.bytes is {max}");
            return Err(AppendError::reject(ErrorCode::MessageTooLarge, message));
        }
        if header.batch_bytes as u64 > self.config.segment_bytes_limit() {
            let message = format!("the batch has {} bytes, more than a segment holds", header.batch_bytes);
            return Err(AppendError::reject(ErrorCode::RecordListTooLarge, message));
        }
        match how.origin {
            AppendOrigin::Client | AppendOrigin::Intercepted => self.check_timestamps(header, how.now),
            AppendOrigin::Moved | AppendOrigin::Coordinator | AppendOrigin::Replication => Ok(()),
        }
    }

    /// By the header: its first and its largest timestamp. Each record's own is the business of
    /// `RecordBatch::check_from_client`, which reads the records anyway.
    fn check_timestamps(&self, header: &BatchHeader, now: Timestamp) -> Result<(), AppendError> {
        match header.timestamp_type {
            TimestampType::LogAppendTime => {
                let message = "only the broker may set the timestamp type LogAppendTime";
                return Err(AppendError::reject(ErrorCode::InvalidTimestamp, message));
            }
            TimestampType::CreateTime => {}
        }
        match self.config.message_timestamp_type {
            TimestampType::LogAppendTime => return Ok(()),
            TimestampType::CreateTime => {}
        }
        let bound = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let latest = now.ms().saturating_add(bound(self.config.timestamp_after_max_ms));
        let earliest = now.ms().saturating_sub(bound(self.config.timestamp_before_max_ms));
        for timestamp in [header.base_timestamp, header.max_timestamp] {
            let given = timestamp != NO_TIMESTAMP;
            if given && (timestamp > latest || timestamp < earliest) {
                let message = format!("timestamp {timestamp} is outside of {earliest} to {latest}");
                return Err(AppendError::reject(ErrorCode::InvalidTimestamp, message));
            }
        }
        Ok(())
    }

    /// Writes the batch and takes note of it in segment, epochs and read cache; not in the
    /// producers' state. Any failure in here marks the log failed.
    fn write(
        &mut self,
        batch: &RecordBatch,
        place: Place,
    ) -> Result<(BatchHeader, JournalPosition), LogError> {
        let written = self.try_write(batch, place);
        self.guard(written)
    }

    fn try_write(
        &mut self,
        batch: &RecordBatch,
        place: Place,
    ) -> Result<(BatchHeader, JournalPosition), LogError> {
        let mut header = *batch.header();
        header.base_offset = place.base_offset;
        header.leader_epoch = Some(place.leader_epoch);
        self.assign_epoch(place.leader_epoch, place.base_offset)?;
        let incoming = Incoming {
            bytes: header.batch_bytes as u64,
            max_timestamp: header.max_timestamp,
            last_offset: header.last_offset(),
            now: place.now,
            roll_ms: self.active_roll_ms(),
        };
        match self.active().fits(&self.config, incoming) {
            Fits::Yes => {}
            // Without a gap to the end, unless the offset could not be told relative to that.
            Fits::No => {
                let last = header.last_offset().value();
                let lowest = Offset::from_wire(last - i64::from(i32::MAX)).unwrap_or(Offset::ZERO);
                self.roll_to(lowest.max(self.log_end_offset()), place.now)?;
            }
        }
        let position = self.active().size;
        let stamped = batch.stamped_header(place.base_offset, place.leader_epoch);
        let parts = [Bytes::copy_from_slice(&stamped), batch.bytes().slice(HEADER_BYTES..)];
        let journal_position = self.active().file()?.append(position, &parts)?;
        let interval = self.config.index_interval_bytes;
        self.active_mut().added(&header, position, interval);
        self.read_cache.appended(&header, position);
        self.last_append = self.last_append.max(journal_position);
        Ok((header, journal_position))
    }

    /// The transaction index hears of an abort before the transaction leaves the open ones.
    fn apply_marker(&mut self, marker: &EndTransactionMarker, header: &BatchHeader, now: Timestamp) {
        let offset = header.base_offset;
        if let Some(aborted) = self.producers.aborted_by(marker, offset) {
            self.active_mut().aborted.push(aborted);
        }
        self.producers.apply_marker(marker, offset, header.max_timestamp, now);
    }

    fn appended(&self, header: &BatchHeader, journal_position: JournalPosition) -> Appended {
        Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            log_append_time: self.append_time(header.max_timestamp),
            journal_position,
            kind: AppendKind::New,
        }
    }

    fn append_time(&self, timestamp: i64) -> Option<Timestamp> {
        match self.config.message_timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(Timestamp::from_ms(timestamp)),
        }
    }
}

/// What a record without a timestamp carries.
const NO_TIMESTAMP: i64 = -1;

/// Where a batch goes.
#[derive(Clone, Copy, Debug)]
struct Place {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    now: Timestamp,
}
