//! The exchange of a group of segments for its copy, and its end after a crash.
//!
//! The copy's data is renamed to `<base>.log.<end>.swap`, durably: with that the exchange has happened,
//! since recovery finishes it. Then the originals and their indexes go, the copy's indexes get their
//! names, and last the data gets its own, in the place of the original of that name.
//!
//! A rename over a file, and a removal, make the disk checkpoint first if its journal still speaks of the
//! file, and the originals get no entries any more: no entry of an original is ever replayed into the copy.

use super::CleaningError;
use super::output::{Cleaned, SUFFIXES};
use crate::disk::{Disk, DiskError};
use crate::ids::Offset;
use crate::log::segment::{LOG, SNAPSHOT, Segment, path_of};
use crate::log::{Log, LogError};

/// What follows the name of a file of a copy that is not complete.
pub(in crate::log) const CLEANED: &str = ".cleaned";
/// The end of the name of a copy that has taken the place of its originals.
pub(in crate::log) const SWAP: &str = ".swap";

/// An exchange that has happened and is not finished.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::log) struct Swap {
    /// The copy's base offset.
    pub(in crate::log) base_offset: Offset,
    /// Where its originals ended, exclusive.
    pub(in crate::log) end_offset: Offset,
}

impl Swap {
    /// The exchange that a file's name tells of.
    pub(in crate::log) fn parse(name: &str) -> Option<Swap> {
        let (base, end) = name.strip_suffix(SWAP)?.split_once(".log.")?;
        let offset = |digits: &str| {
            let is_offset = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_offset.then(|| digits.parse().ok().and_then(Offset::from_wire)).flatten()
        };
        Some(Swap { base_offset: offset(base)?, end_offset: offset(end)? })
    }

    fn path(&self, directory: &str) -> String {
        let end = format!("{LOG}.{:020}{SWAP}", self.end_offset.value());
        path_of(directory, self.base_offset, &end)
    }

    /// Finishes the exchange after a crash, whatever of it was done: removes what is left of the originals,
    /// their indexes too, and gives the copy its name.
    pub(in crate::log) fn finish(
        &self,
        disk: &Disk,
        directory: &str,
        bases: &[Offset],
    ) -> Result<(), LogError> {
        self.remove_originals(disk, directory, bases)?;
        disk.sync_dir(directory)?;
        Ok(disk.rename(&self.path(directory), &path_of(directory, self.base_offset, LOG))?)
    }

    /// Removes all files of the originals but the data of the first one, which the copy replaces. Not
    /// durable until the directory is synced.
    fn remove_originals(&self, disk: &Disk, directory: &str, bases: &[Offset]) -> Result<(), LogError> {
        let range = self.base_offset..self.end_offset;
        for base in bases.iter().filter(|base| range.contains(base)) {
            for suffix in SUFFIXES.into_iter().filter(|suffix| *base != self.base_offset || *suffix != LOG) {
                missing_is_fine(disk.remove_file(&path_of(directory, *base, suffix)))?;
            }
        }
        Ok(())
    }
}

/// Segments that are replaced; to be dropped without the log's lock, since closing a large file that has no name
/// takes its time.
pub struct ReplacedSegments {
    _segments: Vec<Segment>,
}

impl Log {
    /// Puts a copy in the place of its originals, unless they are gone.
    pub fn replace_segments(&mut self, cleaned: Cleaned) -> Result<ReplacedSegments, CleaningError> {
        let Some(at) = self.originals_of(&cleaned) else {
            cleaned.files.discard();
            return Err(CleaningError::Overtaken);
        };
        let (base_offset, end_offset) = (cleaned.segment.base_offset, cleaned.segment.next_offset);
        let swap = Swap { base_offset, end_offset };
        self.remove_snapshots_below(end_offset)?;
        let path = path_of(&self.directory, base_offset, LOG);
        self.disk.rename(&format!("{path}{CLEANED}"), &swap.path(&self.directory))?;
        let finished = self.finish_swap(swap, &cleaned);
        self.guard(finished)?;
        let mut segment = cleaned.segment;
        segment.indexes_saved();
        let old = self.segments.splice(at..at + cleaned.replaces.len(), [segment]).collect();
        self.read_cache.segments_replaced();
        Ok(ReplacedSegments { _segments: old })
    }

    /// Where the originals stand, if they are all there as they were, and closed.
    fn originals_of(&self, cleaned: &Cleaned) -> Option<usize> {
        self.check_failed().ok()?;
        let first = cleaned.replaces.first()?;
        let at =
            self.segments.binary_search_by_key(&first.base_offset, |segment| segment.base_offset).ok()?;
        let end = at + cleaned.replaces.len();
        let there = self.segments.get(at..end).filter(|_| end < self.segments.len())?;
        let same = there.iter().zip(&cleaned.replaces).all(|(segment, facts)| {
            let of_segment = (segment.base_offset, segment.next_offset, segment.size);
            of_segment == (facts.base_offset, facts.next_offset, facts.size)
        });
        same.then_some(at)
    }

    /// A snapshot from before some of these batches tells of transactions whose markers may go: only one
    /// from behind them may be replayed from. They are gone for good before the exchange happens.
    pub(super) fn remove_snapshots_below(&self, offset: Offset) -> Result<(), LogError> {
        let is_below = |name: &str| {
            let digits = name.strip_suffix(SNAPSHOT).and_then(|name| name.strip_suffix('.'));
            let at = digits.and_then(|digits| digits.parse().ok()).and_then(Offset::from_wire);
            at.is_some_and(|at| at < offset)
        };
        let names = self.disk.list(&self.directory)?.into_iter().map(|entry| entry.name);
        let below: Vec<String> = names.filter(|name| is_below(name)).collect();
        for name in &below {
            missing_is_fine(self.disk.remove_file(&format!("{}/{name}", self.directory)))?;
        }
        if !below.is_empty() {
            self.disk.sync_dir(&self.directory)?;
        }
        Ok(())
    }

    fn finish_swap(&self, swap: Swap, cleaned: &Cleaned) -> Result<(), LogError> {
        let directory = &self.directory;
        let bases: Vec<Offset> = cleaned.replaces.iter().map(|facts| facts.base_offset).collect();
        swap.remove_originals(&self.disk, directory, &bases)?;
        let index_names = SUFFIXES.into_iter().filter(|suffix| *suffix != LOG).map(|suffix| {
            let path = path_of(directory, swap.base_offset, suffix);
            (format!("{path}{CLEANED}"), path)
        });
        self.disk.rename_all(directory, &index_names.collect::<Vec<_>>())?;
        Ok(self.disk.rename(&swap.path(directory), &path_of(directory, swap.base_offset, LOG))?)
    }
}

fn missing_is_fine(result: Result<(), DiskError>) -> Result<(), LogError> {
    match result {
        Ok(()) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}
