//! One segment: its `.log` file and the three indexes beside it. Finds batches by offset and by
//! position, and keeps the indexes up as batches are added; decides nothing about what is added.

use std::sync::OnceLock;

use bytes::Bytes;

use super::index_file::Index;
use super::offset_index::OffsetEntry;
use super::scan::{BatchAt, HeaderScan};
use super::time_index::TimeEntry;
use super::transaction_index::AbortedEntry;
use super::{LogConfig, LogError};
use crate::clock::Timestamp;
use crate::disk::{Disk, DiskError, DiskFile, OpenMode};
use crate::ids::Offset;
use crate::wire::record_batch::{BatchHeader, RecordBatch};

/// The files of a segment, by what follows the dot.
pub(super) const LOG: &str = "log";
pub(super) const OFFSET_INDEX: &str = "index";
pub(super) const TIME_INDEX: &str = "timeindex";
pub(super) const TRANSACTION_INDEX: &str = "txnindex";
pub(super) const SNAPSHOT: &str = "snapshot";

/// The path of a file that belongs to `offset`.
pub(super) fn path_of(directory: &str, offset: Offset, suffix: &str) -> String {
    format!("{directory}/{:020}.{suffix}", offset.value())
}

/// A timestamp and the last offset of the batch that first had it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MaxTimestamp {
    pub(super) timestamp: i64,
    pub(super) offset: Offset,
}

/// A file that is opened when it is first needed: most segments of most logs are never read.
struct LazyFile {
    disk: Disk,
    path: String,
    file: OnceLock<DiskFile>,
}

impl LazyFile {
    fn get(&self) -> Result<&DiskFile, DiskError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.disk.open_file(&self.path, OpenMode::ReadWrite)?;
        Ok(self.file.get_or_init(|| file))
    }
}

/// One segment of a log.
pub(super) struct Segment {
    pub(super) base_offset: Offset,
    /// The offset after the last batch; for a segment that is closed, the next one's base.
    pub(super) next_offset: Offset,
    pub(super) size: u64,
    pub(super) offsets: Index<OffsetEntry>,
    pub(super) times: Index<TimeEntry>,
    pub(super) aborted: Index<AbortedEntry>,
    pub(super) max_timestamp: Option<MaxTimestamp>,
    /// The max timestamp of the first batch, from which `segment.ms` counts.
    pub(super) first_timestamp: Option<i64>,
    pub(super) created: Timestamp,
    bytes_since_entry: u64,
    file: LazyFile,
}

/// What a batch about to come would do to a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    pub(super) bytes: u64,
    pub(super) max_timestamp: i64,
    pub(super) last_offset: Offset,
    pub(super) now: Timestamp,
    /// After how long the segment is closed.
    pub(super) roll_ms: u64,
}

/// Whether a batch fits a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fits {
    Yes,
    No,
}

impl Segment {
    /// Makes a new, empty segment. A file of that name is what a failed roll left: it is emptied.
    pub(super) fn create(
        disk: &Disk,
        directory: &str,
        base_offset: Offset,
        now: Timestamp,
    ) -> Result<Segment, LogError> {
        let path = path_of(directory, base_offset, LOG);
        let file = disk.open_file(&path, OpenMode::Create)?;
        if file.len()? > 0 {
            file.truncate(0)?;
        }
        let segment = Segment::unindexed(disk, directory, base_offset, FileState { size: 0, now });
        Ok(Segment { file: LazyFile { disk: disk.clone(), path, file: file.into() }, ..segment })
    }

    /// A segment whose file exists and whose indexes must be built.
    pub(super) fn unindexed(disk: &Disk, directory: &str, base_offset: Offset, state: FileState) -> Segment {
        let path = |suffix| path_of(directory, base_offset, suffix);
        Segment {
            base_offset,
            next_offset: base_offset,
            size: state.size,
            offsets: Index::rebuilt(disk, path(OFFSET_INDEX)),
            times: Index::rebuilt(disk, path(TIME_INDEX)),
            aborted: Index::rebuilt(disk, path(TRANSACTION_INDEX)),
            max_timestamp: None,
            first_timestamp: None,
            created: state.now,
            bytes_since_entry: 0,
            file: LazyFile { disk: disk.clone(), path: path(LOG), file: OnceLock::new() },
        }
    }

    /// The same, over a file that is open under another name still.
    pub(super) fn over(self, file: DiskFile) -> Segment {
        Segment { file: LazyFile { file: file.into(), ..self.file }, ..self }
    }

    /// The largest timestamp that a reader may look for; without any, when the segment was made.
    pub(super) fn newest(&self) -> Timestamp {
        match self.max_timestamp {
            Some(max) if max.timestamp >= 0 => Timestamp::from_ms(max.timestamp),
            Some(_) | None => self.created,
        }
    }

    pub(super) fn file(&self) -> Result<&DiskFile, DiskError> {
        self.file.get()
    }

    pub(super) fn path(&self) -> &str {
        &self.file.path
    }

    /// Forgets what the indexes held, to build them again.
    pub(super) fn forget_indexes(&mut self, directory: &str) {
        let state = FileState { size: self.size, now: self.created };
        let fresh = Segment::unindexed(&self.file.disk, directory, self.base_offset, state);
        *self = fresh;
    }

    /// Takes note of a batch that stands at `position`, which is the segment's end so far.
    pub(super) fn added(&mut self, header: &BatchHeader, position: u64, index_interval_bytes: u64) {
        let last_offset = header.last_offset();
        if position == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        // A batch without records keeps its timestamp, but nobody can find a record by it.
        let has_records = header.record_count > 0;
        if has_records && self.max_timestamp.is_none_or(|max| header.max_timestamp > max.timestamp) {
            self.max_timestamp = Some(MaxTimestamp { timestamp: header.max_timestamp, offset: last_offset });
        }
        if self.bytes_since_entry > index_interval_bytes {
            if let (Some(relative_offset), Ok(position)) =
                (self.relative(last_offset), i32::try_from(position))
            {
                self.offsets.push(OffsetEntry { relative_offset, position });
            }
            // In memory, so no failure can hide behind this.
            let _ = self.note_max_timestamp();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.batch_bytes as u64;
        self.size = position + header.batch_bytes as u64;
        self.next_offset = last_offset.next();
    }

    /// Adds the largest timestamp to the time index, if it is not there yet.
    pub(super) fn note_max_timestamp(&mut self) -> Result<(), LogError> {
        let Some(max) = self.max_timestamp else { return Ok(()) };
        let newer = self.times.last()?.is_none_or(|last| max.timestamp > last.timestamp);
        if let (true, Some(relative_offset)) = (newer && max.timestamp >= 0, self.relative(max.offset)) {
            self.times.push(TimeEntry { timestamp: max.timestamp, relative_offset });
        }
        Ok(())
    }

    /// Takes the state of the indexes after they were loaded from their files.
    pub(super) fn indexes_loaded(&mut self) -> Result<(), LogError> {
        let last = self.offsets.last()?;
        self.bytes_since_entry = self.size - last.map_or(0, |entry| entry.position as u64).min(self.size);
        self.max_timestamp = self.times.last()?.map(|entry| MaxTimestamp {
            timestamp: entry.timestamp,
            offset: self.base_offset.plus(i64::from(entry.relative_offset)),
        });
        Ok(())
    }

    fn relative(&self, offset: Offset) -> Option<i32> {
        i32::try_from(offset.since(self.base_offset)).ok()
    }

    /// Whether the batch may go into this segment by the configuration; an empty segment takes any.
    pub(super) fn fits(&self, config: &LogConfig, incoming: Incoming) -> Fits {
        let overflows = self.relative(incoming.last_offset).is_none();
        if overflows {
            return Fits::No;
        }
        if self.size == 0 {
            return Fits::Yes;
        }
        let waited_ms = match self.first_timestamp {
            Some(first) if first >= 0 && incoming.max_timestamp >= 0 => {
                incoming.max_timestamp.saturating_sub(first)
            }
            Some(_) | None => incoming.now.ms().saturating_sub(self.created.ms()),
        };
        let too_old = u64::try_from(waited_ms).is_ok_and(|waited| waited > incoming.roll_ms);
        let too_large = self.size + incoming.bytes > config.segment_bytes_limit();
        let index_bytes = (self.offsets.len() * 8).max((self.times.len() + 1) * 12) as u64;
        let index_full = index_bytes >= config.segment_index_bytes_max.max(24);
        if too_old || too_large || index_full { Fits::No } else { Fits::Yes }
    }

    /// Where to begin to look for the batch with `offset`.
    pub(super) fn position_before(&self, offset: Offset) -> Result<u64, LogError> {
        let relative = offset.since(self.base_offset);
        let entry = self.offsets.last_where(|entry| i64::from(entry.relative_offset) <= relative)?;
        Ok(entry.map_or(0, |entry| entry.position as u64))
    }

    /// The first batch that ends at or after `offset`.
    pub(super) fn find(&self, offset: Offset) -> Result<Option<BatchAt>, LogError> {
        let mut scan = self.headers(self.position_before(offset)?)?;
        while let Some(batch) = scan.next()? {
            if batch.header.last_offset() >= offset {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The batch headers from `position` to the end.
    pub(super) fn headers(&self, position: u64) -> Result<HeaderScan<'_>, LogError> {
        Ok(HeaderScan::new(self.file()?, self.path(), position..self.size))
    }

    /// Reads and checks the whole batch.
    pub(super) fn read_batch(&self, batch: &BatchAt) -> Result<RecordBatch, LogError> {
        let mut bytes = Vec::new();
        self.file()?.read_onto(batch.position, batch.header.batch_bytes, &mut bytes)?;
        RecordBatch::check(Bytes::from(bytes)).map_err(|error| LogError::Corrupt {
            path: self.path().to_owned(),
            detail: format!("the batch at byte {}: {error}", batch.position),
        })
    }

    /// Writes the indexes' new entries.
    pub(super) fn write_indexes(&mut self) -> Result<(), LogError> {
        self.note_max_timestamp()?;
        self.offsets.write_out()?;
        self.times.write_out()?;
        self.aborted.write_out()
    }

    /// The segment takes no more batches: its indexes leave the memory.
    pub(super) fn close(&mut self) -> Result<(), LogError> {
        self.note_max_timestamp()?;
        self.offsets.seal()?;
        self.times.seal()?;
        self.aborted.seal()
    }

    /// Writes the indexes that were just built to files beside, durably: offset, time and transaction
    /// index.
    pub(super) fn save_indexes_beside(&mut self, files: &[DiskFile; 3]) -> Result<(), LogError> {
        self.note_max_timestamp()?;
        let [offsets, times, aborted] = files;
        self.offsets.save_beside(offsets)?;
        self.times.save_beside(times)?;
        self.aborted.save_beside(aborted)
    }

    /// The files beside have the indexes' names now.
    pub(super) fn indexes_saved(&mut self) {
        self.offsets.saved();
        self.times.saved();
        self.aborted.saved();
    }

    /// The larger one of offset and time index.
    pub(super) fn index_bytes(&self) -> u64 {
        (self.offsets.len() * 8).max(self.times.len() * 12) as u64
    }

    /// The max timestamp of the first batch.
    pub(super) fn first_batch_timestamp(&self) -> Result<Option<i64>, LogError> {
        match self.first_timestamp {
            Some(first) => Ok(Some(first)),
            None => Ok(self.headers(0)?.next()?.map(|batch| batch.header.max_timestamp)),
        }
    }

    /// Makes all of the segment's files durable.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file()?.sync()?;
        self.offsets.sync()?;
        self.times.sync()?;
        self.aborted.sync()
    }
}

/// What is known of a segment's file when it is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileState {
    pub(super) size: u64,
    pub(super) now: Timestamp,
}
