//! Letting old segments go: by age, by size, and below the log's start. Whole segments only, from
//! the oldest on, and none with data at or above the high watermark.
//!
//! The files go last: first the log forgets them and its start moves, then the caller records the
//! new start, then `DeletedSegments::remove`. A crash in between brings segments back or finishes
//! their removal at the next open; it never leaves a hole.

use super::segment::{LOG, OFFSET_INDEX, SNAPSHOT, Segment, TIME_INDEX, TRANSACTION_INDEX, path_of};
use super::{Log, LogError, ReadError};
use crate::clock::Timestamp;
use crate::disk::{Disk, DiskError};
use crate::ids::Offset;

use super::leader_epochs::Changed;

/// What a file is called between its end and its removal.
pub(super) const DELETED: &str = ".deleted";

/// Segments that the log has forgotten and whose files are there still.
#[must_use = "the files stay until `remove`"]
pub struct DeletedSegments {
    disk: Disk,
    directory: String,
    base_offsets: Vec<Offset>,
    /// Bytes of their batches.
    pub bytes: u64,
    /// Where the log starts now: to be recorded before `remove`.
    pub log_start_offset: Offset,
}

impl DeletedSegments {
    /// How many segments there are.
    pub fn len(&self) -> usize {
        self.base_offsets.len()
    }

    /// Whether there is nothing to remove.
    pub fn is_empty(&self) -> bool {
        self.base_offsets.is_empty()
    }

    /// Removes the files, once the log's new start is recorded. May run without the log's lock.
    pub fn remove(self) -> Result<(), LogError> {
        for base_offset in self.base_offsets {
            remove_files(&self.disk, &self.directory, base_offset)?;
        }
        Ok(())
    }
}

/// Renames all files of a segment, the data first, and then removes them: so that an interrupted
/// removal is seen for what it is.
pub(super) fn remove_files(disk: &Disk, directory: &str, base_offset: Offset) -> Result<(), LogError> {
    let paths = [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX, SNAPSHOT]
        .map(|suffix| path_of(directory, base_offset, suffix));
    for path in &paths {
        missing_is_fine(disk.rename(path, &format!("{path}{DELETED}")))?;
    }
    for path in &paths {
        missing_is_fine(disk.remove_file(&format!("{path}{DELETED}")))?;
    }
    Ok(())
}

fn missing_is_fine(result: Result<(), DiskError>) -> Result<(), LogError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Log {
    /// Lets go what `retention.ms`, `retention.bytes` and the log's start no longer keep.
    pub fn enforce_retention(
        &mut self,
        now: Timestamp,
        high_watermark: Offset,
    ) -> Result<DeletedSegments, LogError> {
        self.check_failed()?;
        let count = self.expired_segments(now, high_watermark);
        let deleted = self.let_go(count, now);
        self.guard(deleted)
    }

    /// Moves the log's start to `offset` (DeleteRecords), at most to the log's end, and lets go the
    /// segments that lie wholly below it. An offset below the start changes nothing.
    pub fn delete_records_before(
        &mut self,
        offset: Offset,
        now: Timestamp,
    ) -> Result<DeletedSegments, ReadError> {
        self.check_failed()?;
        if offset > self.log_end_offset() {
            self.check_offset(offset)?;
        }
        let moved = self.move_start(offset);
        self.guard(moved)?;
        let below =
            self.segments.iter().take_while(|segment| segment.size > 0 && segment.next_offset <= offset);
        let count = below.count();
        let deleted = self.let_go(count, now);
        Ok(self.guard(deleted)?)
    }

    /// How many segments, from the oldest on, nothing keeps.
    fn expired_segments(&self, now: Timestamp, high_watermark: Offset) -> usize {
        let mut excess = match self.config.retention_bytes {
            Some(retention_bytes) => self.size_bytes().saturating_sub(retention_bytes),
            None => 0,
        };
        let mut count = 0;
        for segment in &self.segments {
            if segment.size == 0 || segment.next_offset > high_watermark {
                break;
            }
            let too_many = segment.size <= excess;
            let below_start = segment.next_offset <= self.log_start_offset;
            let by_policy = self.config.cleanup_policy.deletes() && (self.too_old(segment, now) || too_many);
            if !by_policy && !below_start {
                break;
            }
            excess = excess.saturating_sub(segment.size);
            count += 1;
        }
        count
    }

    fn too_old(&self, segment: &Segment, now: Timestamp) -> bool {
        let Some(retention_ms) = self.config.retention_ms else { return false };
        now.since(segment.newest()).as_millis() > u128::from(retention_ms)
    }

    /// Forgets the first `count` segments; if that is all of them, a new one begins first.
    fn let_go(&mut self, count: usize, now: Timestamp) -> Result<DeletedSegments, LogError> {
        if count > 0 {
            // What these segments tell of producers must be durable elsewhere before they go.
            self.try_flush()?;
        }
        if count == self.segments.len() {
            self.roll_to(self.log_end_offset(), now)?;
        }
        let gone: Vec<Segment> = self.segments.drain(..count).collect();
        let first_left = self.segments.first().map(|segment| segment.base_offset);
        if let (false, Some(first_left)) = (gone.is_empty(), first_left) {
            self.move_start(first_left)?;
        }
        Ok(DeletedSegments {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            base_offsets: gone.iter().map(|segment| segment.base_offset).collect(),
            bytes: gone.iter().map(|segment| segment.size).sum(),
            log_start_offset: self.log_start_offset,
        })
    }

    fn move_start(&mut self, offset: Offset) -> Result<(), LogError> {
        if offset <= self.log_start_offset {
            return Ok(());
        }
        self.log_start_offset = offset;
        match self.leader_epochs.truncate_to_start(offset) {
            Changed::Yes => self.write_epochs(),
            Changed::No => Ok(()),
        }
    }

    pub(super) fn remove_files_of(&self, base_offset: Offset) -> Result<(), LogError> {
        remove_files(&self.disk, &self.directory, base_offset)
    }
}
