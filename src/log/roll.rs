//! Closing a segment and beginning the next, and making all of a log durable in its own files.
//! A roll never waits for the disk: what it writes is made durable by the flush that moves the
//! recovery point past it.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::producer_snapshot;
use super::recovery::parent_of;
use super::segment::{SNAPSHOT, Segment, path_of};
use super::{Flushed, Log, LogError};
use crate::clock::Timestamp;
use crate::disk::OpenMode;
use crate::ids::Offset;

impl Log {
    /// Begins a new segment if the active one is older than `segment.ms`, so that quiet logs are
    /// cleaned too.
    pub fn roll_if_due(&mut self, now: Timestamp) -> Result<(), LogError> {
        self.check_failed()?;
        let age_ms = now.since(self.active().created).as_millis();
        if self.active().size > 0 && age_ms > u128::from(self.active_roll_ms()) {
            let rolled = self.roll_to(self.log_end_offset(), now);
            self.guard(rolled)?;
        }
        Ok(())
    }

    /// After how long the active segment is closed: the logs of a topic, begun together, do not all
    /// roll together.
    pub(super) fn active_roll_ms(&self) -> u64 {
        let mut seed = DefaultHasher::new();
        (&self.directory, self.active().base_offset).hash(&mut seed);
        self.config.jittered_roll_ms(seed.finish())
    }

    /// Closes the active segment and begins one at `base_offset`, at or after the log's end.
    pub(super) fn roll_to(&mut self, base_offset: Offset, now: Timestamp) -> Result<(), LogError> {
        if self.active().size == 0 {
            // Only a replicated batch far beyond the end comes here: the empty segment cannot name
            // its offset, so it makes way for one that can.
            let empty = self.segments.pop().expect("a log always has an active segment");
            self.remove_files_of(empty.base_offset)?;
        } else {
            self.write_snapshot()?;
            self.active_mut().close()?;
        }
        self.segments.push(Segment::create(&self.disk, &self.directory, base_offset, now)?);
        self.read_cache.rolled();
        Ok(())
    }

    /// Makes everything durable in the log's own files, and answers the new recovery point.
    pub fn flush(&mut self) -> Result<Offset, LogError> {
        self.check_failed()?;
        let flushed = self.try_flush();
        self.guard(flushed)
    }

    /// Flushes and ends the log. The caller keeps the recovery point, and that the shutdown was
    /// clean.
    pub fn close(mut self) -> Result<Offset, LogError> {
        self.flush()
    }

    pub(super) fn try_flush(&mut self) -> Result<Offset, LogError> {
        // First the journal: its replay makes a file what the journal knows of it, and would undo
        // what was synced ahead of it.
        self.disk.wait_durable_blocking(self.last_append)?;
        let from = self.segment_index(self.recovery_point);
        let end = self.log_end_offset();
        // Of a log that never had a record there is nothing to write down: most of many logs.
        let is_untouched = end == Offset::ZERO;
        if is_untouched || (self.recovery_point == end && self.snapshot_at_flush == Some(end)) {
            return Ok(end);
        }
        let snapshot = producer_snapshot::encode(&self.producers);
        self.disk.write_atomically(&path_of(&self.directory, end, SNAPSHOT), &snapshot)?;
        self.active_mut().write_indexes()?;
        for segment in self.segments.get(from..).unwrap_or_default() {
            segment.sync()?;
            self.sync_snapshot(segment.base_offset)?;
        }
        self.disk.sync_dir(&self.directory)?;
        if self.flushed == Flushed::NotYet {
            self.disk.sync_dir(parent_of(&self.directory))?;
            self.flushed = Flushed::Before;
        }
        let newest = self.snapshot_at_flush.replace(end);
        if let Some(old) = newest.filter(|old| *old != end) {
            self.remove_loose_snapshot(old)?;
        }
        self.recovery_point = end;
        Ok(end)
    }

    /// Writes, without waiting for the disk, all that a start after a crash needs up to the log's
    /// end, and answers that end. Once the disk has made everything durable that was written until
    /// now, it is the new recovery point: see [`Log::checkpointed`]. If it fails (a full disk) no record
    /// is in doubt: the recovery point stays, and the next one may succeed.
    pub fn begin_checkpoint(&mut self) -> Result<Offset, LogError> {
        self.check_failed()?;
        let end = self.log_end_offset();
        if self.recovery_point < end {
            self.write_snapshot()?;
            self.active_mut().write_indexes()?;
        }
        Ok(end)
    }

    /// Takes note that all below `recovery_point`, which a [`Log::begin_checkpoint`] gave, is
    /// durable in the log's own files.
    pub fn checkpointed(&mut self, recovery_point: Offset) -> Result<(), LogError> {
        self.check_failed()?;
        if recovery_point <= self.recovery_point || recovery_point > self.log_end_offset() {
            return Ok(());
        }
        self.recovery_point = recovery_point;
        match self.snapshot_at_flush.replace(recovery_point).filter(|old| *old != recovery_point) {
            Some(old) => self.remove_loose_snapshot(old),
            None => Ok(()),
        }
    }

    /// What a start after a crash found in the page cache counts as durable from now on, for readers
    /// and for duplicates of it, so it must be. The indexes that were built again replace what is in
    /// their files, which may be of batches that were cut.
    pub(super) fn keep_what_was_found(&mut self) -> Result<(), LogError> {
        self.active_mut().write_indexes()?;
        self.active().file()?.sync()?;
        self.disk.sync_dir(&self.directory)?;
        Ok(self.disk.sync_dir(parent_of(&self.directory))?)
    }

    /// Writes the producers' state at the log's end, unless a flush did. Not synced, and not by a rename: one that a
    /// crash leaves half written fails its checksum, and an older one is taken.
    fn write_snapshot(&self) -> Result<(), LogError> {
        if self.snapshot_at_flush == Some(self.log_end_offset()) {
            return Ok(());
        }
        let path = path_of(&self.directory, self.log_end_offset(), SNAPSHOT);
        let bytes = producer_snapshot::encode(&self.producers);
        let file = self.disk.open_file(&path, OpenMode::Create)?;
        file.truncate(0)?;
        Ok(file.write_at(0, &bytes)?)
    }

    fn sync_snapshot(&self, offset: Offset) -> Result<(), LogError> {
        match self.disk.open_file(&path_of(&self.directory, offset, SNAPSHOT), OpenMode::ReadWrite) {
            Ok(file) => Ok(file.sync()?),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Snapshots that a flush took within a segment serve only until the next flush.
    fn remove_loose_snapshot(&self, offset: Offset) -> Result<(), LogError> {
        if self.segments.iter().any(|segment| segment.base_offset == offset) {
            return Ok(());
        }
        match self.disk.remove_file(&path_of(&self.directory, offset, SNAPSHOT)) {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
