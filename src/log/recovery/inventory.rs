//! What lies in a log's directory: segments with their indexes, and snapshots. Finishes interrupted
//! deletions and compactions, and removes what belongs to nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::super::cleaner::{CLEANED, Swap};
use super::super::index_file::Index;
use super::super::retention::{self, DELETED};
use super::super::segment::{
    FileState, LOG, OFFSET_INDEX, SNAPSHOT, Segment, TIME_INDEX, TRANSACTION_INDEX, path_of,
};
use super::super::{Log, LogError};
use super::{OpenLog, RecoveryReport};
use crate::disk::EntryKind;
use crate::ids::Offset;

/// The files of a directory, by the offset in their name.
pub(super) struct Inventory {
    logs: BTreeMap<Offset, u64>,
    indexes: BTreeMap<(Offset, &'static str), u64>,
    snapshots: BTreeSet<Offset>,
}

/// One segment's files.
pub(super) struct Found {
    pub(super) base_offset: Offset,
    size: u64,
    /// Lengths of offset, time and transaction index, if all are there.
    indexes: Option<[u64; 3]>,
    /// Whether any index is there.
    has_index: bool,
}

const INDEXES: [&str; 3] = [OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];

impl Inventory {
    pub(super) fn take(open: &OpenLog, report: &mut RecoveryReport) -> Result<Inventory, LogError> {
        if !open.disk.exists(&open.directory)? {
            open.disk.create_dir_all(&open.directory)?;
            // What is promised to be durable in here needs a directory that is.
            open.disk.sync_dir(parent_of(&open.directory))?;
        }
        let (logs, indexes, snapshots) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut inventory = Inventory { logs, indexes, snapshots };
        let mut swaps = Vec::new();
        for entry in open.disk.list(&open.directory)? {
            match entry.kind {
                EntryKind::File => {}
                EntryKind::Directory | EntryKind::Other => continue,
            }
            if entry.name.ends_with(DELETED) {
                open.disk.remove_file(&format!("{}/{}", open.directory, entry.name))?;
                report.deletions_finished += 1;
                continue;
            }
            if entry.name.ends_with(CLEANED) {
                open.disk.remove_file(&format!("{}/{}", open.directory, entry.name))?;
                continue;
            }
            if let Some(swap) = Swap::parse(&entry.name) {
                swaps.push((swap, entry.len));
                continue;
            }
            let Some((offset, suffix)) = parse_name(&entry.name) else { continue };
            if suffix == LOG {
                inventory.logs.insert(offset, entry.len);
            } else if suffix == SNAPSHOT {
                inventory.snapshots.insert(offset);
            } else if let Some(index) = INDEXES.into_iter().find(|index| *index == suffix) {
                inventory.indexes.insert((offset, index), entry.len);
            }
        }
        for (swap, len) in swaps {
            inventory.finish_swap(open, swap, len)?;
            report.swaps_finished += 1;
        }
        inventory.remove_below_start(open, report)?;
        inventory.remove_orphans(open)?;
        Ok(inventory)
    }

    /// The originals go, and the copy takes their place; its indexes are built again.
    fn finish_swap(&mut self, open: &OpenLog, swap: Swap, len: u64) -> Result<(), LogError> {
        let range = swap.base_offset..swap.end_offset;
        let indexed = self.indexes.keys().map(|(offset, _)| *offset);
        let mut bases: Vec<Offset> = self.logs.keys().copied().chain(indexed).collect();
        bases.dedup();
        swap.finish(&open.disk, &open.directory, &bases)?;
        self.logs.retain(|offset, _| !range.contains(offset));
        self.indexes.retain(|(offset, _), _| !range.contains(offset));
        self.logs.insert(swap.base_offset, len);
        Ok(())
    }

    /// Segments that end below the recorded start were to be deleted.
    fn remove_below_start(&mut self, open: &OpenLog, report: &mut RecoveryReport) -> Result<(), LogError> {
        let Some(log_start_offset) = open.log_start_offset else { return Ok(()) };
        let bases: Vec<Offset> = self.logs.keys().copied().collect();
        for (base_offset, next_base) in bases.iter().zip(bases.iter().skip(1)) {
            if *next_base <= log_start_offset {
                self.remove_segment(open, *base_offset)?;
                report.deletions_finished += 1;
            }
        }
        Ok(())
    }

    fn remove_orphans(&mut self, open: &OpenLog) -> Result<(), LogError> {
        let orphans: Vec<(Offset, &'static str)> =
            self.indexes.keys().filter(|(offset, _)| !self.logs.contains_key(offset)).copied().collect();
        for (offset, suffix) in orphans {
            open.disk.remove_file(&path_of(&open.directory, offset, suffix))?;
            self.indexes.remove(&(offset, suffix));
        }
        Ok(())
    }

    pub(super) fn segments(&self) -> Vec<Found> {
        let found = |(base_offset, size): (&Offset, &u64)| {
            let length = |suffix| self.indexes.get(&(*base_offset, suffix)).copied();
            let [offsets, times, aborted] = INDEXES.map(length);
            let indexes = offsets.zip(times).zip(aborted);
            Found {
                base_offset: *base_offset,
                size: *size,
                has_index: offsets.is_some() || times.is_some() || aborted.is_some(),
                indexes: indexes.map(|((offsets, times), aborted)| [offsets, times, aborted]),
            }
        };
        self.logs.iter().map(found).collect()
    }

    /// The newest first.
    pub(super) fn snapshots_up_to(&self, limit: Offset) -> Vec<Offset> {
        self.snapshots.range(..=limit).rev().copied().collect()
    }

    pub(super) fn remove_snapshot(&mut self, open: &OpenLog, offset: Offset) -> Result<(), LogError> {
        if self.snapshots.remove(&offset) {
            open.disk.remove_file(&path_of(&open.directory, offset, SNAPSHOT))?;
        }
        Ok(())
    }

    pub(super) fn remove_segment(&mut self, open: &OpenLog, base_offset: Offset) -> Result<(), LogError> {
        retention::remove_files(&open.disk, &open.directory, base_offset)?;
        self.logs.remove(&base_offset);
        self.snapshots.remove(&base_offset);
        INDEXES.iter().for_each(|suffix| {
            self.indexes.remove(&(base_offset, *suffix));
        });
        Ok(())
    }

    /// The newest snapshot that does not lie beyond the log's end.
    pub(super) fn newest_snapshot(&self, log_end_offset: Offset) -> Option<Offset> {
        self.snapshots.range(..=log_end_offset).next_back().copied()
    }

    /// Keeps the snapshots at segments' bases and the newest, none beyond the log's end.
    pub(super) fn drop_snapshots(&self, log: &Log, newest: Option<Offset>) -> Result<(), LogError> {
        let bases: BTreeSet<Offset> = log.segments.iter().map(|segment| segment.base_offset).collect();
        let end = log.log_end_offset();
        let kept = |offset: &Offset| *offset <= end && (bases.contains(offset) || Some(*offset) == newest);
        for offset in self.snapshots.iter().filter(|offset| !kept(offset)) {
            log.disk.remove_file(&path_of(&log.directory, *offset, SNAPSHOT))?;
        }
        Ok(())
    }
}

impl Found {
    /// The segment with its indexes, if these are there and make sense; of the last segment, whose
    /// headers are walked from the last index entry to its end, if those make sense too.
    pub(super) fn open(
        &self,
        open: &OpenLog,
        next_base: Option<Offset>,
    ) -> Result<Option<Segment>, LogError> {
        match self.try_open(open, next_base) {
            Ok(segment) => Ok(segment),
            Err(LogError::Corrupt { path, detail }) => {
                tracing::warn!(path, detail, "a segment is checked and its indexes are built again");
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn try_open(&self, open: &OpenLog, next_base: Option<Offset>) -> Result<Option<Segment>, LogError> {
        let Some([offsets, times, aborted]) = self.indexes else { return Ok(None) };
        let path = |suffix| path_of(&open.directory, self.base_offset, suffix);
        let offsets = Index::in_file(&open.disk, path(OFFSET_INDEX), offsets);
        let times = Index::in_file(&open.disk, path(TIME_INDEX), times);
        let aborted = Index::in_file(&open.disk, path(TRANSACTION_INDEX), aborted);
        let (Some(offsets), Some(times), Some(aborted)) = (offsets, times, aborted) else { return Ok(None) };
        let mut segment = self.unindexed(open);
        (segment.offsets, segment.times, segment.aborted) = (offsets, times, aborted);
        segment.next_offset = next_base.unwrap_or(self.base_offset);
        if next_base.is_none() {
            segment.offsets.load(|a, b| a.relative_offset < b.relative_offset && a.position < b.position)?;
            segment.times.load(|a, b| a.timestamp < b.timestamp && a.relative_offset <= b.relative_offset)?;
            segment.aborted.load(|a, b| a.last_offset < b.last_offset)?;
        }
        let last = segment.offsets.last()?;
        if last.is_some_and(|entry| entry.position as u64 >= segment.size) {
            return Ok(None);
        }
        segment.indexes_loaded()?;
        if next_base.is_none() {
            let mut scan = segment.headers(last.map_or(0, |entry| entry.position as u64))?;
            let mut next_offset = self.base_offset;
            while let Some(batch) = scan.next()? {
                if batch.header.base_offset < next_offset {
                    return Ok(None);
                }
                next_offset = batch.header.last_offset().next();
            }
            segment.next_offset = next_offset;
        }
        Ok(self.agrees(&segment)?.then_some(segment))
    }

    /// Whether it was made and nothing was ever written to it.
    pub(super) fn is_untouched(&self) -> bool {
        self.size == 0 && !self.has_index
    }

    /// Whether the indexes speak of offsets that the segment has.
    fn agrees(&self, segment: &Segment) -> Result<bool, LogError> {
        let length = segment.next_offset.since(self.base_offset);
        let offsets = segment.offsets.last()?.is_none_or(|entry| i64::from(entry.relative_offset) < length);
        let times = segment.times.last()?.is_none_or(|entry| i64::from(entry.relative_offset) < length);
        let aborted = segment.aborted.last()?.is_none_or(|entry| entry.last_offset < segment.next_offset);
        Ok(offsets && times && aborted)
    }

    pub(super) fn unindexed(&self, open: &OpenLog) -> Segment {
        let state = FileState { size: self.size, now: open.now };
        Segment::unindexed(&open.disk, &open.directory, self.base_offset, state)
    }
}

/// The directory in which a log's directory lies.
pub(in super::super) fn parent_of(directory: &str) -> &str {
    directory.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The offset and the suffix of a file of twenty digits.
fn parse_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, suffix) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((Offset::from_wire(digits.parse().ok()?)?, suffix))
}
