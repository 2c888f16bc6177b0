//! Reading: which bytes of which segment answer a fetch. Whole batches only, never past the bound;
//! the bytes themselves are not touched here, so that they can go out by `sendfile`.
//!
//! A reader at the tail is answered from memory, one that reads on from where it stopped without an
//! index; all others by the offset index and a few headers.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use super::segment::Segment;
use super::{Log, LogError, ReadError};
use crate::disk::{DiskError, DiskFile};
use crate::ids::Offset;
use crate::wire::record_batch::BatchHeader;

/// Whether a read gives its first batch even if that is larger than asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtLeastOneBatch {
    /// It does, so that a large batch cannot stop a consumer (KIP-74).
    Yes,
    /// It gives nothing instead.
    No,
}

/// Some bytes of a file.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file; it stays readable while this lives, even if retention removes it.
    pub file: DiskFile,
    /// Where the bytes begin.
    pub position: u64,
    /// How many they are.
    pub bytes: usize,
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct LogRead {
    /// Whole batches, in order. The first may begin before the offset asked for.
    pub slices: Vec<FileSlice>,
    /// The offset after the last batch, or the offset asked for if there is none. In a compacted
    /// log it may lie further on than the last batch, where no batch is in between.
    pub next_offset: Offset,
}

impl LogRead {
    /// How many bytes were found.
    pub fn bytes_len(&self) -> usize {
        self.slices.iter().map(|slice| slice.bytes).sum()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Reads the bytes.
    pub fn to_bytes(&self) -> Result<Bytes, DiskError> {
        let mut bytes = Vec::with_capacity(self.bytes_len());
        for slice in &self.slices {
            slice.file.read_onto(slice.position, slice.bytes, &mut bytes)?;
        }
        Ok(Bytes::from(bytes))
    }
}

/// Where a batch stands, as far as a read needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Placed {
    base_offset: Offset,
    next_offset: Offset,
    position: u64,
    end: u64,
}

/// Where a reader stopped: it most likely comes back for what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stop {
    segment: Offset,
    next_offset: Offset,
    position: u64,
}

/// What makes reads cheap; holds nothing that the files do not.
#[derive(Debug, Default)]
pub(super) struct ReadCache {
    /// The active segment's last batches.
    tail: VecDeque<Placed>,
    stops: Mutex<VecDeque<Stop>>,
}

const TAIL_BATCHES_MAX: usize = 32;
const STOPS_MAX: usize = 8;

impl ReadCache {
    pub(super) fn appended(&mut self, header: &BatchHeader, position: u64) {
        if self.tail.len() == TAIL_BATCHES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(Placed {
            base_offset: header.base_offset,
            next_offset: header.last_offset().next(),
            position,
            end: position + header.batch_bytes as u64,
        });
    }

    pub(super) fn rolled(&mut self) {
        self.tail.clear();
    }

    /// Segments were written anew: positions in the old ones mean nothing in the new.
    pub(super) fn segments_replaced(&self) {
        self.stops.lock().clear();
    }

    /// The batches from the one that holds `offset` on, if it is among the last ones.
    fn tail_at(&self, offset: Offset) -> Option<impl Iterator<Item = &Placed>> {
        let first = self.tail.front()?;
        if offset < first.base_offset {
            return None;
        }
        let index = self.tail.partition_point(|batch| batch.next_offset <= offset);
        Some(self.tail.range(index..))
    }

    fn stop_at(&self, segment: Offset, offset: Offset) -> Option<u64> {
        let stops = self.stops.lock();
        let same = |stop: &&Stop| stop.segment == segment && stop.next_offset == offset;
        stops.iter().find(same).map(|stop| stop.position)
    }

    fn stopped(&self, stop: Stop, began_at: Offset) {
        let mut stops = self.stops.lock();
        // The reader's own earlier stop is of no more use.
        match stops.iter_mut().find(|old| old.segment == stop.segment && old.next_offset == began_at) {
            Some(old) => *old = stop,
            None => {
                if stops.len() == STOPS_MAX {
                    stops.pop_front();
                }
                stops.push_back(stop);
            }
        }
    }
}

/// The bounds of a read.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    offset: Offset,
    upper: Offset,
    bytes_max: u64,
    least: AtLeastOneBatch,
}

impl Bounds {
    /// Whether a batch that ends there may be part of the answer that began at `start`.
    fn admits(&self, start: u64, next_offset: Offset, end: u64) -> bool {
        next_offset <= self.upper && end - start <= self.bytes_max
    }
}

/// A run of whole batches in one segment.
struct Run {
    position: u64,
    end: u64,
    next_offset: Offset,
}

/// What a segment has for a read.
enum InSegment {
    Run(Run),
    /// A batch is there, but a bound forbids it.
    Forbidden,
    /// Nothing at or after the offset.
    Nothing,
}

impl Log {
    /// The batches from `offset` up to `upper` (exclusive), as many whole ones as `bytes_max`
    /// takes, all of one segment.
    pub fn read(
        &self,
        offset: Offset,
        upper: Offset,
        bytes_max: usize,
        least: AtLeastOneBatch,
    ) -> Result<LogRead, ReadError> {
        self.check_failed()?;
        self.check_offset(offset)?;
        let bounds = Bounds { offset, upper, bytes_max: bytes_max as u64, least };
        let nothing = LogRead { slices: Vec::new(), next_offset: offset };
        if offset >= upper.min(self.log_end_offset()) {
            return Ok(nothing);
        }
        for segment in self.segments.get(self.segment_index(offset)..).unwrap_or_default() {
            if segment.base_offset >= upper {
                break;
            }
            match self.read_segment(segment, bounds)? {
                InSegment::Run(run) => return Ok(self.answer(segment, run, offset)?),
                InSegment::Forbidden => break,
                InSegment::Nothing => {}
            }
        }
        Ok(nothing)
    }

    pub(super) fn check_offset(&self, offset: Offset) -> Result<(), ReadError> {
        let (log_start_offset, log_end_offset) = (self.log_start_offset, self.log_end_offset());
        if (log_start_offset..=log_end_offset).contains(&offset) {
            Ok(())
        } else {
            Err(ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset })
        }
    }

    fn answer(&self, segment: &Segment, run: Run, offset: Offset) -> Result<LogRead, LogError> {
        let stop = Stop { segment: segment.base_offset, next_offset: run.next_offset, position: run.end };
        self.read_cache.stopped(stop, offset);
        let bytes = usize::try_from(run.end - run.position).expect("a segment is smaller than 2 GiB");
        let slice = FileSlice { file: segment.file()?.clone(), position: run.position, bytes };
        Ok(LogRead { slices: vec![slice], next_offset: run.next_offset })
    }

    fn read_segment(&self, segment: &Segment, bounds: Bounds) -> Result<InSegment, LogError> {
        let active = segment.base_offset == self.active().base_offset;
        if active && let Some(batches) = self.read_cache.tail_at(bounds.offset) {
            return Ok(run_of(batches.copied(), bounds));
        }
        let known = self.read_cache.stop_at(segment.base_offset, bounds.offset);
        let position = match known {
            Some(position) => position,
            None => match segment.find(bounds.offset)? {
                Some(batch) => batch.position,
                None => return Ok(InSegment::Nothing),
            },
        };
        if position >= segment.size {
            return Ok(InSegment::Nothing);
        }
        if bounds.admits(position, segment.next_offset, segment.size) {
            return Ok(InSegment::Run(Run { position, end: segment.size, next_offset: segment.next_offset }));
        }
        find_end(segment, position, bounds)
    }
}

/// The end of the run that begins at `position`, by the index and the headers after the last entry
/// that is surely part of it.
fn find_end(segment: &Segment, position: u64, bounds: Bounds) -> Result<InSegment, LogError> {
    let inside = segment.offsets.last_where(|entry| {
        let entry_position = entry.position as u64;
        let next_offset = segment.base_offset.plus(i64::from(entry.relative_offset) + 1);
        // The batch at the entry must fit by its offsets, and all before it by their bytes.
        entry_position <= position || bounds.admits(position, next_offset, entry_position)
    })?;
    let sure = inside.map_or(position, |entry| position.max(entry.position as u64));
    // Up to here all batches fit, but the scan must still learn the last one's offset.
    let mut run: Option<Run> = None;
    let mut scan = segment.headers(sure)?;
    while let Some(batch) = scan.next()? {
        let next_offset = batch.header.last_offset().next();
        let admitted = bounds.admits(position, next_offset, batch.end());
        let first_of_all =
            batch.position == position && bounds.least == AtLeastOneBatch::Yes && next_offset <= bounds.upper;
        if !admitted && !first_of_all {
            if run.is_none() && sure > position {
                run = Some(Run { position, end: sure, next_offset: batch.header.base_offset });
            }
            break;
        }
        run = Some(Run { position, end: batch.end(), next_offset });
        if !admitted {
            break;
        }
    }
    Ok(run.map_or(InSegment::Forbidden, InSegment::Run))
}

/// As `find_end`, over batches that are known.
fn run_of(batches: impl Iterator<Item = Placed>, bounds: Bounds) -> InSegment {
    let mut run: Option<Run> = None;
    for batch in batches {
        let position = run.as_ref().map_or(batch.position, |run| run.position);
        let admitted = bounds.admits(position, batch.next_offset, batch.end);
        let forced =
            run.is_none() && bounds.least == AtLeastOneBatch::Yes && batch.next_offset <= bounds.upper;
        if !admitted && !forced {
            return run.map_or(InSegment::Forbidden, InSegment::Run);
        }
        run = Some(Run { position, end: batch.end, next_offset: batch.next_offset });
    }
    run.map_or(InSegment::Nothing, InSegment::Run)
}
