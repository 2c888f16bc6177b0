//! Questions about a log's content: aborted transactions of a range, and offsets by timestamp.

use super::index_file::Visit;
use super::segment::Segment;
use super::transaction_index::AbortedEntry;
use super::{Log, LogError};
use crate::clock::Timestamp;
use crate::ids::{LeaderEpoch, Offset, ProducerId};
use crate::wire::record_batch::{RecordBatch, TimestampType};

/// A transaction whose records a read-committed consumer must skip, from its first offset to its
/// marker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct AbortedTransaction {
    /// Where it begins.
    pub first_offset: Offset,
    /// Whose it is.
    pub producer_id: ProducerId,
}

/// A record found by its timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampedOffset {
    /// Where the record stands.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: i64,
    /// The leader epoch it was written in.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// A batch that a lookup decompresses may not grow past this.
const LOOKUP_DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

impl Log {
    /// The aborted transactions that overlap `from` to `to` (exclusive), by first offsets. `to` must
    /// not lie before the true end of the data that is handed out with them.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTransaction>, LogError> {
        self.check_failed()?;
        let aborted = |entry: AbortedEntry| AbortedTransaction {
            first_offset: entry.first_offset,
            producer_id: entry.producer_id,
        };
        let mut found: Vec<_> = self.aborted_entries(from, to)?.into_iter().map(aborted).collect();
        found.sort_unstable();
        Ok(found)
    }

    /// The entries of the aborted transactions that overlap `from` to `to` (exclusive), in the order of
    /// their markers, which may lie beyond `to`.
    pub(super) fn aborted_entries(&self, from: Offset, to: Offset) -> Result<Vec<AbortedEntry>, LogError> {
        let mut found = Vec::new();
        for segment in self.segments.get(self.segment_index(from)..).unwrap_or_default() {
            // The entries are in the order of their markers.
            let visited = segment.aborted.visit_after(
                |entry| entry.last_offset < from,
                |entry| {
                    if entry.first_offset < to {
                        found.push(*entry);
                    }
                    // No transaction that ended later begins below this entry's last stable offset.
                    if entry.last_stable_offset >= to { Visit::Done } else { Visit::More }
                },
            )?;
            if visited == Visit::Done {
                break;
            }
        }
        Ok(found)
    }

    /// The first record at or after the log's start whose timestamp is `timestamp` or later; none if
    /// it would lie at or past `upper`.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        upper: Offset,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        self.check_failed()?;
        for segment in &self.segments {
            if segment.base_offset >= upper {
                break;
            }
            if segment.max_timestamp.is_none_or(|max| max.timestamp < timestamp.ms()) {
                continue;
            }
            if let Some(found) = self.find_timestamp(segment, timestamp.ms())? {
                return Ok(Some(found).filter(|found| found.offset < upper));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp below `upper`, the first of them if there are several.
    pub fn offset_of_max_timestamp(&self, upper: Offset) -> Result<Option<TimestampedOffset>, LogError> {
        self.check_failed()?;
        let mut largest: Option<i64> = None;
        for segment in self.segments.iter().filter(|segment| segment.base_offset < upper) {
            let max = if segment.next_offset <= upper {
                segment.max_timestamp.map(|max| max.timestamp)
            } else {
                max_timestamp_below(segment, upper)?
            };
            largest = largest.max(max);
        }
        match largest {
            Some(largest) if largest >= 0 => self.offset_for_timestamp(Timestamp::from_ms(largest), upper),
            Some(_) | None => Ok(None),
        }
    }

    fn find_timestamp(
        &self,
        segment: &Segment,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        let before = segment.times.last_where(|entry| entry.timestamp <= timestamp)?;
        let from = before
            .map_or(segment.base_offset, |entry| segment.base_offset.plus(i64::from(entry.relative_offset)));
        let mut scan = segment.headers(segment.position_before(from)?)?;
        while let Some(batch) = scan.next()? {
            if batch.header.max_timestamp < timestamp || batch.header.last_offset() < self.log_start_offset {
                continue;
            }
            let batch = segment.read_batch(&batch)?;
            if let Some(found) = self.find_in_batch(segment, &batch, timestamp)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn find_in_batch(
        &self,
        segment: &Segment,
        batch: &RecordBatch,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, LogError> {
        let header = batch.header();
        let leader_epoch = header.leader_epoch;
        if header.record_count == 0 {
            return Ok(None);
        }
        match header.timestamp_type {
            // All records have the batch's time: no need to look into it.
            TimestampType::LogAppendTime => {
                let offset = header.base_offset.max(self.log_start_offset);
                return Ok(Some(TimestampedOffset { offset, timestamp: header.max_timestamp, leader_epoch }));
            }
            TimestampType::CreateTime => {}
        }
        let corrupt = |error: crate::wire::record_batch::BatchError| LogError::Corrupt {
            path: segment.path().to_owned(),
            detail: format!("the batch at offset {}: {error}", header.base_offset),
        };
        let records = batch.records(LOOKUP_DECOMPRESSED_BYTES_MAX).map_err(corrupt)?;
        for record in records.iter() {
            let record = record.map_err(corrupt)?;
            if record.timestamp >= timestamp && record.offset >= self.log_start_offset {
                let (offset, timestamp) = (record.offset, record.timestamp);
                return Ok(Some(TimestampedOffset { offset, timestamp, leader_epoch }));
            }
        }
        Ok(None)
    }
}

/// The largest timestamp of the batches that end below `upper`: by the last time index entry below
/// it, and the headers after that.
fn max_timestamp_below(segment: &Segment, upper: Offset) -> Result<Option<i64>, LogError> {
    let relative = upper.since(segment.base_offset);
    let entry = segment.times.last_where(|entry| i64::from(entry.relative_offset) < relative)?;
    let mut largest = entry.map(|entry| entry.timestamp);
    let from =
        entry.map_or(segment.base_offset, |entry| segment.base_offset.plus(i64::from(entry.relative_offset)));
    let mut scan = segment.headers(segment.position_before(from)?)?;
    while let Some(batch) = scan.next()? {
        if batch.header.last_offset() >= upper {
            break;
        }
        if batch.header.record_count > 0 {
            largest = largest.max(Some(batch.header.max_timestamp));
        }
    }
    Ok(largest)
}
