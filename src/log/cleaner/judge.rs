//! What a pass keeps of each batch (Kafka's `Cleaner.cleanInto` and `MemoryRecords.filterTo`). Pure: batches
//! come in as they stand in the log, in order, and what takes their place goes out.
//!
//! Of data, each key's last committed record stays, and a tombstone until its horizon has passed. A marker
//! stays until a pass has met nothing of its transaction, and then until its horizon. The last batch
//! of each live producer stays, if only as a header, and so does each segment's last one: so no sequence is
//! forgotten, and no offset below a segment's end leads nowhere.

use std::collections::BTreeMap;
use std::time::Duration;

use super::key_map::KeyMap;
use super::transactions::{Aborted, Remains, Seen};
use crate::clock::Timestamp;
use crate::ids::{Offset, ProducerEpoch, ProducerId};
use crate::log::transaction_index::AbortedEntry;
use crate::wire::control_record::EndTransactionMarker;
use crate::wire::record_batch::{
    BatchError, BatchHeader, KeyRule, RecordBatch, RecordChange, RecordView, Records,
};

/// A batch was taken into the log within the bound that it was configured with, which may change.
pub(super) const DECOMPRESSED_BYTES_MAX: usize = i32::MAX as usize;

/// The last trace of a live producer, which must stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LastTrace {
    /// The batch that ends here has its last sequence.
    Batch(Offset),
    /// It has written nothing in this epoch: the last marker tells the epoch. Its offset if the dirty
    /// part has one; else all markers of the epoch are kept, of which passes leave few.
    Marker { epoch: ProducerEpoch, last: Option<Offset> },
}

/// All live producers' last traces.
pub(super) type LastTraces = BTreeMap<ProducerId, LastTrace>;

/// Where a batch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// At the end of what becomes a segment: its offset leads to the next one.
    Last,
    /// Anywhere else.
    Inner,
}

/// What becomes of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It stays as it is.
    Keep,
    /// Another takes its place.
    Rewrite(RecordBatch),
    /// It goes.
    Drop,
}

/// A batch's fate, with what the new transaction index must hold of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Judged {
    pub(super) fate: Fate,
    pub(super) aborted: Option<AbortedEntry>,
}

/// Judges the batches of one pass, from the log's first on.
pub(super) struct Judge {
    pub(super) keys: KeyMap,
    /// Where the map's keys end: what follows is not known to be anybody's last record.
    pub(super) keys_end: Offset,
    pub(super) aborted: Aborted,
    pub(super) seen: Seen,
    pub(super) traces: LastTraces,
    pub(super) now: Timestamp,
    pub(super) delete_retention_ms: u64,
}

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OfRecord {
    Keep,
    KeepTombstone,
    Drop,
}

impl Judge {
    /// The next batch's fate.
    pub(super) fn judge(&mut self, batch: &RecordBatch, place: Place) -> Result<Judged, BatchError> {
        let header = batch.header();
        if header.record_count == 0 {
            self.seen.batch(header);
            let fate = if self.must_stay(header, place) { Fate::Keep } else { Fate::Drop };
            return Ok(Judged { fate, aborted: None });
        }
        if header.is_control {
            return match EndTransactionMarker::from_batch(batch)? {
                Some(marker) => self.judge_marker(batch, &marker, place),
                // Nothing is known of other control records, so nothing is done to them.
                None => Ok(Judged { fate: Fate::Keep, aborted: None }),
            };
        }
        self.seen.batch(header);
        let fate = match self.aborted.contains(header) {
            true => self.without_records(batch, place)?,
            false => self.judge_data(batch, place)?,
        };
        Ok(Judged { fate, aborted: None })
    }

    fn judge_marker(
        &mut self,
        batch: &RecordBatch,
        marker: &EndTransactionMarker,
        place: Place,
    ) -> Result<Judged, BatchError> {
        let header = batch.header();
        let aborted = match self.seen.marker(marker.producer.id) {
            Remains::Data => {
                let aborted = self.aborted.ended_at(marker.producer.id, header.base_offset);
                return Ok(Judged { fate: Fate::Keep, aborted });
            }
            Remains::Nothing => None,
        };
        let fate = match header.delete_horizon() {
            _ if self.must_stay(header, place) => Fate::Keep,
            Some(horizon) if horizon <= self.now => Fate::Drop,
            Some(_) => Fate::Keep,
            None => {
                let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
                Fate::Rewrite(batch.with_delete_horizon(&records, self.horizon())?)
            }
        };
        Ok(Judged { fate, aborted })
    }

    fn judge_data(&self, batch: &RecordBatch, place: Place) -> Result<Fate, BatchError> {
        let header = batch.header();
        if header.base_offset >= self.keys_end {
            return Ok(Fate::Keep);
        }
        let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
        let mut fates = Vec::with_capacity(usize::try_from(header.record_count).unwrap_or(0).min(1 << 16));
        for record in &records {
            fates.push(self.judge_record(header, &record?));
        }
        let tombstones = fates.contains(&OfRecord::KeepTombstone);
        // A horizon says that nothing older of the batch's keys is left, which holds once the map has
        // had all of its records.
        let sets_horizon = tombstones && !header.has_delete_horizon && header.last_offset() < self.keys_end;
        let dropped = fates.iter().filter(|fate| **fate == OfRecord::Drop).count();
        if dropped == fates.len() {
            return self.without_records(batch, place);
        }
        if dropped == 0 && !sets_horizon {
            return Ok(Fate::Keep);
        }
        let left = keep_only(&records, &fates)?;
        Ok(Fate::Rewrite(match sets_horizon {
            true => batch.with_delete_horizon(&left, self.horizon())?,
            false => batch.with_records(&left, KeyRule::Optional)?,
        }))
    }

    fn judge_record(&self, header: &BatchHeader, record: &RecordView<'_>) -> OfRecord {
        let is_tombstone = record.value.is_none();
        if record.offset >= self.keys_end {
            return OfRecord::Keep;
        }
        // Written before the topic was compacted: nothing can ever replace it.
        let Some(key) = record.key else { return OfRecord::Drop };
        if self.keys.last_offset(key).is_some_and(|last| record.offset < last) {
            return OfRecord::Drop;
        }
        match header.delete_horizon() {
            Some(horizon) if is_tombstone && horizon <= self.now => OfRecord::Drop,
            Some(_) | None if is_tombstone => OfRecord::KeepTombstone,
            Some(_) | None => OfRecord::Keep,
        }
    }

    fn without_records(&self, batch: &RecordBatch, place: Place) -> Result<Fate, BatchError> {
        if !self.must_stay(batch.header(), place) {
            return Ok(Fate::Drop);
        }
        let none = batch.records(DECOMPRESSED_BYTES_MAX)?.rewritten(|_| RecordChange::Drop)?;
        Ok(Fate::Rewrite(batch.with_records(&none, KeyRule::Optional)?))
    }

    /// Whether the batch stays whatever becomes of its records.
    fn must_stay(&self, header: &BatchHeader, place: Place) -> bool {
        let trace =
            header.producer.and_then(|producer| Some((producer, self.traces.get(&producer.ident.id)?)));
        let is_last_trace = trace.is_some_and(|(producer, trace)| match *trace {
            LastTrace::Batch(last) => header.is_producers_own() && header.last_offset() == last,
            LastTrace::Marker { epoch, last } => {
                let is_last = last.is_none_or(|last| last == header.base_offset);
                !header.is_producers_own() && producer.ident.epoch == epoch && is_last
            }
        });
        is_last_trace || place == Place::Last
    }

    fn horizon(&self) -> Timestamp {
        self.now.plus(Duration::from_millis(self.delete_retention_ms))
    }
}

fn keep_only(records: &Records, fates: &[OfRecord]) -> Result<Records, BatchError> {
    records.rewritten(|index| match usize::try_from(index).ok().and_then(|index| fates.get(index)) {
        Some(OfRecord::Keep | OfRecord::KeepTombstone) => RecordChange::Keep,
        Some(OfRecord::Drop) | None => RecordChange::Drop,
    })
}

#[cfg(test)]
mod tests;
