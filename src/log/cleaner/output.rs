//! The copy of a group of segments: its files under names that recovery removes, filled, indexed and synced
//! before anything is replaced. Written beside the journal: it knows nothing of them, so that a replay
//! can never touch them.

use bytes::Bytes;

use super::judge::{Fate, Judged};
use super::plan::SegmentFacts;
use super::swap::CLEANED;
use crate::clock::Timestamp;
use crate::disk::{Disk, DiskError, DiskFile, OpenMode};
use crate::ids::Offset;
use crate::log::LogError;
use crate::log::segment::{FileState, LOG, OFFSET_INDEX, Segment, TIME_INDEX, TRANSACTION_INDEX, path_of};
use crate::wire::record_batch::{BatchHeader, RecordBatch};

/// The files of a segment in the making, all of them named `….cleaned`.
pub struct CleanedFiles {
    disk: Disk,
    pub(super) data: DiskFile,
    /// Offset, time and transaction index.
    pub(super) indexes: [DiskFile; 3],
}

/// The files' suffixes, as they are called in the end: data first.
pub(super) const SUFFIXES: [&str; 4] = [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];

impl CleanedFiles {
    pub(super) fn make(disk: &Disk, directory: &str, base_offset: Offset) -> Result<CleanedFiles, DiskError> {
        let make = |suffix: &str| {
            let path = format!("{}{CLEANED}", path_of(directory, base_offset, suffix));
            // What a failed pass left must not show through.
            if disk.exists(&path)? {
                disk.remove_file(&path)?;
            }
            disk.open_file(&path, OpenMode::Create)
        };
        let [data, offsets, times, aborted] = SUFFIXES;
        let data = make(data)?;
        Ok(CleanedFiles { disk: disk.clone(), data, indexes: [make(offsets)?, make(times)?, make(aborted)?] })
    }

    /// Removes the files. What cannot be removed goes at the next start.
    pub fn discard(self) {
        for file in std::iter::once(&self.data).chain(&self.indexes) {
            let _ = self.disk.remove_file(&file.path());
        }
    }
}

/// How many bytes are written at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Positions in an index are 32 bits wide.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// A segment in the making.
pub(super) struct Output {
    segment: Segment,
    replaces: Vec<SegmentFacts>,
    chunk: Vec<u8>,
    written: u64,
    is_changed: bool,
}

/// A copy that is ready to take the place of its originals.
#[must_use = "the originals stay until they are replaced"]
pub struct Cleaned {
    pub(super) segment: Segment,
    pub(super) replaces: Vec<SegmentFacts>,
    pub(super) files: CleanedFiles,
}

impl Cleaned {
    /// Bytes before and after.
    pub fn bytes(&self) -> (u64, u64) {
        (self.replaces.iter().map(|facts| facts.size).sum(), self.segment.size)
    }
}

impl Output {
    pub(super) fn new(
        disk: &Disk,
        directory: &str,
        replaces: impl Iterator<Item = (SegmentFacts, Timestamp)>,
    ) -> Output {
        let (replaces, created): (Vec<SegmentFacts>, Vec<Timestamp>) = replaces.unzip();
        let base_offset = replaces.first().map_or(Offset::ZERO, |facts| facts.base_offset);
        let now = created.into_iter().max().unwrap_or(Timestamp::ZERO);
        let segment = Segment::unindexed(disk, directory, base_offset, FileState { size: 0, now });
        let is_changed = replaces.len() > 1;
        Output { segment, replaces, chunk: Vec::new(), written: 0, is_changed }
    }

    /// Takes a batch by its fate.
    pub(super) fn take(
        &mut self,
        batch: &RecordBatch,
        judged: Judged,
        files: &CleanedFiles,
        index_interval_bytes: u64,
    ) -> Result<(), LogError> {
        match judged.fate {
            Fate::Keep => self.push(batch.header(), batch.bytes(), files, index_interval_bytes)?,
            Fate::Rewrite(other) => {
                self.is_changed = true;
                self.push(other.header(), other.bytes(), files, index_interval_bytes)?;
            }
            Fate::Drop => self.is_changed = true,
        }
        if let Some(entry) = judged.aborted {
            self.segment.aborted.push(entry);
        }
        Ok(())
    }

    fn push(
        &mut self,
        header: &BatchHeader,
        bytes: &Bytes,
        files: &CleanedFiles,
        index_interval_bytes: u64,
    ) -> Result<(), LogError> {
        let position = self.segment.size;
        // Timestamps relative to a horizon take more room than they did.
        if position + bytes.len() as u64 > SEGMENT_BYTES_MAX {
            let detail = "compacted it would grow beyond 2 GiB".to_owned();
            return Err(LogError::Corrupt { path: self.segment.path().to_owned(), detail });
        }
        self.chunk.extend_from_slice(bytes);
        self.segment.added(header, position, index_interval_bytes);
        if self.chunk.len() >= CHUNK_BYTES { self.write_chunk(files) } else { Ok(()) }
    }

    fn write_chunk(&mut self, files: &CleanedFiles) -> Result<(), LogError> {
        files.data.write_at(self.written, &self.chunk)?;
        self.written += self.chunk.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    /// Makes data and indexes durable under the names that they have so far; nothing, if all is as it was.
    pub(super) fn sync(&mut self, files: &CleanedFiles) -> Result<(), LogError> {
        if !self.is_changed {
            return Ok(());
        }
        self.write_chunk(files)?;
        files.data.sync()?;
        self.segment.next_offset =
            self.replaces.last().map_or(self.segment.next_offset, |facts| facts.next_offset);
        self.segment.save_indexes_beside(&files.indexes)
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub(super) fn finish(self, files: CleanedFiles) -> Cleaned {
        let segment = self.segment.over(files.data.clone());
        Cleaned { segment, replaces: self.replaces, files }
    }
}
