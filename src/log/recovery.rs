//! Opening a log: finishing what a crash interrupted, checking what may be torn, and building
//! everything else again from the segments, which alone are the truth.
//!
//! Above the recovery point the log is cut at the first bad batch: that tail was never promised.
//! Below it nothing is cut: bytes that had been durable are damaged, and `open` says so and fails.

mod inventory;
mod replay;

pub(super) use inventory::parent_of;
use inventory::{Found, Inventory};
use replay::Replay;

use super::leader_epochs::{Changed, LeaderEpochs};
use super::producer_state::ProducerStates;
use super::reader::ReadCache;
use super::scan::{BatchScan, Found as FoundBatch};
use super::segment::{SNAPSHOT, Segment, path_of};
use super::{
    Flushed, LEADER_EPOCH_CHECKPOINT, Log, LogConfig, LogError, checkpoint_files, producer_snapshot,
};
use crate::clock::Timestamp;
use crate::disk::{Disk, JournalPosition};
use crate::ids::Offset;
use crate::wire::control_record::EndTransactionMarker;
use crate::wire::record_batch::RecordBatch;

/// How the broker ended the last time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastShutdown {
    /// Every log was closed: its files are believed.
    Clean,
    /// Not so: what lies above the recovery point is checked.
    Unclean,
}

/// What opening a log needs to know.
#[derive(Clone)]
pub struct OpenLog {
    /// The disk.
    pub disk: Disk,
    /// The log's directory, relative to the data directory: `topic-partition`. Made if missing.
    pub directory: String,
    /// The configuration.
    pub config: LogConfig,
    /// Up to where the log was durable in its own files, as last recorded.
    pub recovery_point: Offset,
    /// Where the log starts, as last recorded.
    pub log_start_offset: Option<Offset>,
    /// How the broker ended.
    pub shutdown: LastShutdown,
    /// The present moment.
    pub now: Timestamp,
}

/// What opening a log had to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// Segments there are.
    pub segments: usize,
    /// Segments whose every byte was checked.
    pub segments_scanned: usize,
    /// Bytes of those.
    pub bytes_scanned: u64,
    /// Bytes of the torn tail that were cut off, with the segments after it.
    pub bytes_cut: u64,
    /// Segments after the torn tail that were removed.
    pub segments_removed: usize,
    /// Segments whose missing or inconsistent indexes were built again.
    pub indexes_rebuilt: usize,
    /// Files of interrupted deletions that were removed.
    pub deletions_finished: usize,
    /// Compacted segments that took the place of their originals.
    pub swaps_finished: usize,
    /// The producer snapshot that was used, by its offset.
    pub snapshot: Option<Offset>,
    /// Where the log ends.
    pub log_end_offset: Offset,
}

impl Log {
    /// Opens the log in a directory, or begins a new one there.
    pub fn open(open: OpenLog) -> Result<(Log, RecoveryReport), LogError> {
        let mut recovery = Recovery::begin(open)?;
        recovery.check_nothing_is_gone()?;
        recovery.load_states()?;
        recovery.replay_segments()?;
        recovery.finish()
    }
}

/// Whether a segment's every byte is to be checked and its indexes built again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scan {
    Yes,
    No,
}

/// A log on its way to being open.
struct Recovery {
    open: OpenLog,
    inventory: Inventory,
    segments: Vec<(Segment, Scan)>,
    replay: Replay,
    epochs_lost: bool,
    report: RecoveryReport,
}

impl Recovery {
    fn begin(open: OpenLog) -> Result<Recovery, LogError> {
        let mut report = RecoveryReport::default();
        let inventory = Inventory::take(&open, &mut report)?;
        let path = format!("{}/{LEADER_EPOCH_CHECKPOINT}", open.directory);
        let (epochs, epochs_lost) = match checkpoint_files::read_epochs(&open.disk, &path) {
            Ok(Some(entries)) => (LeaderEpochs::from_entries(entries), false),
            Ok(None) | Err(LogError::Corrupt { .. }) => (LeaderEpochs::default(), true),
            Err(other) => return Err(other),
        };
        let replay = Replay {
            producers: ProducerStates::default(),
            from: Offset::ZERO,
            epochs,
            epochs_changed: Changed::No,
            now: open.now,
        };
        let mut recovery = Recovery { open, inventory, segments: Vec::new(), replay, epochs_lost, report };
        recovery.open_segments()?;
        Ok(recovery)
    }

    fn open_segments(&mut self) -> Result<(), LogError> {
        let found: Vec<Found> = self.inventory.segments();
        for (index, item) in found.iter().enumerate() {
            let next_base = found.get(index + 1).map(|next| next.base_offset);
            let indexed = item.open(&self.open, next_base)?;
            let (segment, scan) = match indexed {
                Some(segment) => {
                    let scan = self.must_scan(&segment, next_base);
                    (segment, scan)
                }
                // Nothing is in doubt where nothing was written: indexes begin with the first flush.
                None if next_base.is_none() && item.is_untouched() => (item.unindexed(&self.open), Scan::No),
                None => {
                    self.report.indexes_rebuilt += 1;
                    (item.unindexed(&self.open), Scan::Yes)
                }
            };
            self.segments.push((segment, scan));
        }
        Ok(())
    }

    /// Only what may hold anything above the recovery point is in doubt.
    fn must_scan(&self, segment: &Segment, next_base: Option<Offset>) -> Scan {
        match (self.open.shutdown, next_base) {
            // The last segment's end was found by its headers. If that is no more than was durable,
            // nothing was written since.
            (LastShutdown::Unclean, None) if segment.next_offset > self.open.recovery_point => Scan::Yes,
            (LastShutdown::Unclean, Some(end)) if end > self.open.recovery_point => Scan::Yes,
            (LastShutdown::Unclean | LastShutdown::Clean, _) => Scan::No,
        }
    }

    /// All that was durable once must be covered by a segment or lie below the log's start.
    fn check_nothing_is_gone(&self) -> Result<(), LogError> {
        let log_start_offset = self.open.log_start_offset.unwrap_or(Offset::ZERO);
        let none_left = self.segments.is_empty() && self.open.recovery_point > log_start_offset;
        if none_left { Err(self.ends_too_early(log_start_offset)) } else { Ok(()) }
    }

    fn ends_too_early(&self, end: Offset) -> LogError {
        let last = self.segments.last().map(|(segment, _)| (segment.path().to_owned(), segment.size));
        let (path, position) = last.unwrap_or_else(|| (self.open.directory.clone(), 0));
        LogError::Damaged {
            path,
            position,
            offset: end,
            recovery_point: self.open.recovery_point,
            reason: "the log ends before the recovery point".to_owned(),
        }
    }

    /// Takes the newest producer snapshot that is valid and lies before all that must be replayed.
    fn load_states(&mut self) -> Result<(), LogError> {
        let first_scanned = self.segments.iter().find(|(_, scan)| *scan == Scan::Yes);
        let limit = match (first_scanned, self.segments.last()) {
            (Some((scanned, _)), _) => scanned.base_offset,
            (None, Some((last, _))) => last.next_offset,
            (None, None) => self.open.log_start_offset.unwrap_or(Offset::ZERO),
        };
        self.replay.from = self.segments.first().map_or(limit, |(segment, _)| segment.base_offset);
        for offset in self.inventory.snapshots_up_to(limit) {
            let path = path_of(&self.open.directory, offset, SNAPSHOT);
            match producer_snapshot::decode(&self.open.disk.read(&path)?, self.open.now) {
                Ok(states) => {
                    self.replay.producers = states;
                    self.replay.from = offset;
                    self.report.snapshot = Some(offset);
                    return Ok(());
                }
                Err(reason) => {
                    tracing::warn!(path, reason, "a producer snapshot is no good; an older one serves");
                    self.inventory.remove_snapshot(&self.open, offset)?;
                }
            }
        }
        Ok(())
    }

    fn replay_segments(&mut self) -> Result<(), LogError> {
        let from = self.replay.from;
        let mut segments = std::mem::take(&mut self.segments).into_iter().peekable();
        while let Some((mut segment, scan)) = segments.next() {
            let next_base = segments.peek().map(|(next, _)| next.base_offset);
            let cut = match scan {
                Scan::Yes => self.scan(&mut segment, next_base)?,
                Scan::No if segment.next_offset > from => {
                    self.replay.headers(&segment)?;
                    Cut::No
                }
                Scan::No => Cut::No,
            };
            // A segment that is missing above the recovery point is a torn tail as well.
            let gap = next_base.is_some_and(|next| next > segment.next_offset)
                && segment.next_offset >= self.open.recovery_point;
            match next_base {
                Some(next_base) if scan == Scan::Yes => {
                    if cut == Cut::No && !gap {
                        segment.next_offset = next_base;
                        segment.close()?;
                        segment.sync()?;
                    }
                }
                Some(_) | None => {}
            }
            self.segments.push((segment, scan));
            if cut == Cut::Yes || (scan == Scan::Yes && gap) {
                self.remove_rest(segments)?;
                break;
            }
        }
        Ok(())
    }

    /// Checks every batch of a segment, building its indexes again.
    fn scan(&mut self, segment: &mut Segment, next_base: Option<Offset>) -> Result<Cut, LogError> {
        let size = segment.size;
        self.report.segments_scanned += 1;
        self.report.bytes_scanned += size;
        segment.forget_indexes(&self.open.directory);
        let file = segment.file()?.clone();
        let mut scan = BatchScan::new(&file, 0..size);
        loop {
            let (batch, position) = match scan.next()? {
                FoundBatch::Batch { batch, position } => (batch, position),
                FoundBatch::Bad { position, reason } => {
                    return self.cut(segment, Tear { position, size, reason });
                }
                FoundBatch::End => return Ok(Cut::No),
            };
            let checked = check_place(segment, next_base, &batch);
            let marker = checked
                .and_then(|()| EndTransactionMarker::from_batch(&batch).map_err(|error| error.to_string()));
            match marker {
                Ok(marker) => {
                    segment.added(batch.header(), position, self.open.config.index_interval_bytes);
                    self.replay.batch(batch.header(), marker, Some(&mut segment.aborted));
                }
                Err(reason) => return self.cut(segment, Tear { position, size, reason }),
            }
        }
    }

    /// Cuts a segment where its good batches end, if nothing below that was promised.
    fn cut(&mut self, segment: &mut Segment, tear: Tear) -> Result<Cut, LogError> {
        if segment.next_offset < self.open.recovery_point {
            return Err(LogError::Damaged {
                path: segment.path().to_owned(),
                position: tear.position,
                offset: segment.next_offset,
                recovery_point: self.open.recovery_point,
                reason: tear.reason,
            });
        }
        let bytes = tear.size - tear.position;
        tracing::warn!(
            path = segment.path(),
            position = tear.position,
            bytes,
            reason = tear.reason,
            "the end of a log was never made durable and is cut off"
        );
        let file = segment.file()?;
        file.truncate(tear.position)?;
        file.sync()?;
        segment.size = tear.position;
        self.report.bytes_cut += bytes;
        Ok(Cut::Yes)
    }

    fn remove_rest(&mut self, rest: impl Iterator<Item = (Segment, Scan)>) -> Result<(), LogError> {
        for (segment, _) in rest {
            self.report.bytes_cut += segment.size;
            self.report.segments_removed += 1;
            self.inventory.remove_segment(&self.open, segment.base_offset)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Log, RecoveryReport), LogError> {
        let mut log_start_offset = self.open.log_start_offset.unwrap_or(Offset::ZERO);
        if let Some((first, _)) = self.segments.first() {
            log_start_offset = log_start_offset.max(first.base_offset);
        }
        let end = self.segments.last().map_or(log_start_offset, |(segment, _)| segment.next_offset);
        if end < self.open.recovery_point && end >= log_start_offset && !self.segments.is_empty() {
            return Err(self.ends_too_early(end));
        }
        if end < log_start_offset {
            // The tail below the recorded start was lost; what the start hides is of no use.
            let gone = std::mem::take(&mut self.segments);
            self.remove_rest(gone.into_iter())?;
        }
        if self.segments.is_empty() {
            let Recovery { open, .. } = &self;
            let new = Segment::create(&open.disk, &open.directory, log_start_offset, open.now)?;
            self.segments.push((new, Scan::No));
        }
        let doubtful = self.segments.iter().any(|(_, scan)| *scan == Scan::Yes);
        self.into_log(log_start_offset, if doubtful { Scan::Yes } else { Scan::No })
    }

    fn into_log(mut self, log_start_offset: Offset, doubt: Scan) -> Result<(Log, RecoveryReport), LogError> {
        let mut segments: Vec<Segment> = self.segments.into_iter().map(|(segment, _)| segment).collect();
        if self.epochs_lost {
            self.replay.epochs = LeaderEpochs::default();
            for segment in &segments {
                self.replay.epochs_of(segment)?;
            }
        }
        let active = segments.last_mut().expect("one was made if there was none");
        active.first_timestamp = active.headers(0)?.next()?.map(|batch| batch.header.max_timestamp);
        let log_end_offset = active.next_offset;
        let newest = match doubt {
            // Others may be torn: they were not looked at.
            Scan::Yes => self.report.snapshot,
            Scan::No => self.inventory.newest_snapshot(log_end_offset),
        };
        let Replay { mut producers, mut epochs, epochs_changed, .. } = self.replay;
        producers.expire(self.open.now, self.open.config.producer_id_expiration_ms);
        let ends = [epochs.truncate_to_end(log_end_offset), epochs.truncate_to_start(log_start_offset)];
        self.report.segments = segments.len();
        self.report.log_end_offset = log_end_offset;
        let mut log = Log {
            disk: self.open.disk,
            directory: self.open.directory,
            config: self.open.config,
            segments,
            log_start_offset,
            recovery_point: self.open.recovery_point.min(log_end_offset),
            leader_epochs: epochs,
            epochs_unwritten: Changed::No,
            producers,
            read_cache: ReadCache::default(),
            last_append: JournalPosition::ZERO,
            snapshot_at_flush: newest,
            flushed: Flushed::NotYet,
            failed: None,
        };
        if epochs_changed == Changed::Yes || ends.contains(&Changed::Yes) {
            log.write_epochs()?;
        }
        match doubt {
            Scan::Yes => log.keep_what_was_found()?,
            Scan::No => {}
        }
        self.inventory.drop_snapshots(&log, newest)?;
        Ok((log, self.report))
    }
}

/// Whether a segment lost its tail.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Yes,
    No,
}

/// Where a segment's good batches end, and why.
struct Tear {
    position: u64,
    size: u64,
    reason: String,
}

/// Offsets grow, and stay within the segment.
fn check_place(segment: &Segment, next_base: Option<Offset>, batch: &RecordBatch) -> Result<(), String> {
    let header = batch.header();
    if header.base_offset < segment.next_offset {
        return Err(format!("offset {} comes where {} must", header.base_offset, segment.next_offset));
    }
    if next_base.is_some_and(|next_base| header.last_offset() >= next_base) {
        return Err(format!("offset {} belongs to the next segment", header.last_offset()));
    }
    if header.last_offset().since(segment.base_offset) > i64::from(i32::MAX) {
        return Err(format!("offset {} is too far from the segment's base", header.last_offset()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
