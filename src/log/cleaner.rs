//! Compaction: of each key the last committed record stays (Kafka's `LogCleaner`).
//!
//! A pass works on closed segments below the recovery point and below the first undecided offset. It
//! takes what it must know under the log's lock (`begin_cleaning`), then reads and writes without it: the
//! dirty part's keys into a bounded map, then from the log's first segment on a copy of each group of
//! segments. Only the exchange of old for new (`replace_segments`) needs the lock again. Groups go in the
//! order of their offsets, so that a tombstone never goes before what it hides.

mod judge;
mod key_map;
mod output;
mod plan;
mod swap;
mod transactions;

use std::collections::BTreeMap;
use std::ops::Range;

pub use output::{Cleaned, CleanedFiles};
pub use plan::Cleanable;
pub use swap::ReplacedSegments;
pub(super) use swap::{CLEANED, Swap};

use judge::{Judge, LastTrace, LastTraces};
use key_map::{KeyMap, Put};
use output::Output;
use plan::{Bounds, SegmentFacts};
use transactions::{Aborted, Seen};

use super::scan::{BatchScan, Found};
use super::segment::Segment;
use super::{Log, LogConfig, LogError};
use crate::clock::Timestamp;
use crate::disk::{Disk, DiskError, DiskFile};
use crate::ids::{Offset, ProducerIdent};
use crate::wire::control_record::EndTransactionMarker;
use crate::wire::record_batch::{BatchError, RecordBatch};

/// Why a pass ended early. What it had replaced until then is right, and the next pass begins anew.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CleaningError {
    /// The broker stops.
    #[error("compaction was asked to stop")]
    Stopped,
    /// The segments that it worked on were deleted meanwhile.
    #[error("the segments were deleted meanwhile")]
    Overtaken,
    /// The log or its disk failed.
    #[error(transparent)]
    Failed(#[from] LogError),
}

impl From<DiskError> for CleaningError {
    fn from(error: DiskError) -> CleaningError {
        CleaningError::Failed(LogError::Disk(error))
    }
}

/// What a pass is told.
#[derive(Clone, Copy, Debug)]
pub struct CleaningRequest {
    /// The partition's high watermark.
    pub high_watermark: Offset,
    /// Where the last pass ended, as recorded.
    pub cleaned_to: Option<Offset>,
    /// The most bytes that the keys may take.
    pub key_map_bytes_max: usize,
    /// The present moment.
    pub now: Timestamp,
}

/// One segment that a pass reads.
struct Source {
    facts: SegmentFacts,
    created: Timestamp,
    path: String,
    file: DiskFile,
}

/// A pass over one log, with all that it needs to know: it may go on without the log's lock.
pub struct CleaningPass {
    disk: Disk,
    directory: String,
    config: LogConfig,
    first_dirty_offset: Offset,
    key_map_bytes_max: usize,
    sources: Vec<Source>,
    judge: Judge,
}

/// Some neighbouring segments that become one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group(Range<usize>);

impl Log {
    /// What of the log can be compacted now.
    pub fn cleanable(&self, request: CleaningRequest) -> Result<Cleanable, LogError> {
        self.check_failed()?;
        Ok(self.plan(&self.closed_facts(request)?, request))
    }

    /// Begins a pass; none if there is nothing to do below the recovery point.
    pub fn begin_cleaning(&self, request: CleaningRequest) -> Result<Option<CleaningPass>, LogError> {
        self.check_failed()?;
        let mut closed = self.closed_facts(request)?;
        // What lies above is in the journal still, and a start after a crash checks and may cut it.
        closed.retain(|segment| segment.next_offset <= self.recovery_point);
        let cleanable = self.plan(&closed, request);
        closed.retain(|segment| segment.next_offset <= cleanable.end_offset);
        if cleanable.dirty_bytes == 0 {
            return Ok(None);
        }
        let mut sources = Vec::with_capacity(closed.len());
        for (segment, facts) in self.segments.iter().zip(closed) {
            let (path, file) = (segment.path().to_owned(), segment.file()?.clone());
            sources.push(Source { facts, created: segment.created, path, file });
        }
        let first = sources.first().map_or(Offset::ZERO, |source| source.facts.base_offset);
        let judge = Judge {
            // Room for keys is made without the lock.
            keys: KeyMap::new(0, 0),
            keys_end: cleanable.first_dirty_offset,
            aborted: Aborted::new(self.aborted_entries(first, cleanable.end_offset)?),
            seen: Seen::default(),
            traces: self.last_traces(),
            now: request.now,
            delete_retention_ms: self.config.delete_retention_ms,
        };
        Ok(Some(CleaningPass {
            disk: self.disk.clone(),
            directory: self.directory.clone(),
            config: self.config.clone(),
            first_dirty_offset: cleanable.first_dirty_offset,
            key_map_bytes_max: request.key_map_bytes_max,
            sources,
            judge,
        }))
    }

    fn plan(&self, closed: &[SegmentFacts], request: CleaningRequest) -> Cleanable {
        let bounds = Bounds {
            log_start_offset: self.log_start_offset,
            log_end_offset: self.log_end_offset(),
            last_stable_offset: self.last_stable_offset(request.high_watermark),
            cleaned_to: request.cleaned_to,
        };
        plan::cleanable(closed, bounds, &self.config, request.now)
    }

    fn closed_facts(&self, request: CleaningRequest) -> Result<Vec<SegmentFacts>, LogError> {
        let closed = self.segments.split_last().map_or(&[][..], |(_active, closed)| closed);
        closed.iter().map(|segment| self.facts_of(segment, request)).collect()
    }

    fn facts_of(&self, segment: &Segment, request: CleaningRequest) -> Result<SegmentFacts, LogError> {
        let is_dirty = request.cleaned_to.is_none_or(|cleaned_to| segment.next_offset > cleaned_to);
        let oldest = match self.config.max_compaction_lag_ms {
            Some(_) if is_dirty => segment.first_batch_timestamp()?,
            Some(_) | None => None,
        };
        Ok(SegmentFacts {
            base_offset: segment.base_offset,
            next_offset: segment.next_offset,
            size: segment.size,
            index_bytes: segment.index_bytes(),
            newest: segment.newest(),
            oldest: oldest.filter(|oldest| *oldest > 0).map(Timestamp::from_ms),
        })
    }

    fn last_traces(&self) -> LastTraces {
        let trace = |producer: &super::producer_state::Producer| match producer.batches.back() {
            Some(last) => LastTrace::Batch(last.last_offset),
            None => LastTrace::Marker { epoch: producer.epoch, last: None },
        };
        self.producers.producers().iter().map(|(id, producer)| (*id, trace(producer))).collect()
    }
}

impl CleaningPass {
    /// Up to where the log is clean once the pass is done; known after `build_key_map`.
    pub fn end_offset(&self) -> Offset {
        self.judge.keys_end
    }

    /// How many keys were found in the dirty part.
    pub fn key_count(&self) -> usize {
        self.judge.keys.len()
    }

    /// Reads the dirty part's keys, as many as there is room for. `should_stop` is asked now and then.
    pub fn build_key_map(&mut self, should_stop: &dyn Fn() -> bool) -> Result<(), CleaningError> {
        let end_offset = self.sources.last().map_or(Offset::ZERO, |source| source.facts.next_offset);
        let keys_max = u64::try_from(end_offset.since(self.first_dirty_offset)).unwrap_or(0);
        self.judge.keys = KeyMap::new(self.key_map_bytes_max, keys_max);
        let mut last_markers = BTreeMap::new();
        for source in &self.sources {
            if source.facts.next_offset <= self.first_dirty_offset {
                continue;
            }
            let mut batches = Batches::of(source);
            while let Some((batch, _)) = batches.next(should_stop)? {
                if batch.header().last_offset() < self.first_dirty_offset {
                    continue;
                }
                let corrupt = |error| source.corrupt(&batch, &error);
                if let Some(marker) = EndTransactionMarker::from_batch(&batch).map_err(corrupt)? {
                    last_markers.insert(marker.producer, batch.header().base_offset);
                }
                if let Some(refused) = self.judge.note(&batch, self.first_dirty_offset).map_err(corrupt)? {
                    self.judge.keys_end = refused;
                    return Ok(());
                }
            }
            self.judge.keys_end = source.facts.next_offset;
        }
        self.judge.narrow_traces(&last_markers);
        Ok(())
    }

    /// The groups to copy, in this order.
    pub fn groups(&self) -> Vec<Group> {
        let within = |source: &&Source| source.facts.base_offset < self.judge.keys_end;
        let facts: Vec<SegmentFacts> =
            self.sources.iter().take_while(within).map(|source| source.facts).collect();
        plan::groups(&facts, &self.config).into_iter().map(Group).collect()
    }

    /// Makes the empty files that a group is copied to. Under the log's lock, so that they are never made in a
    /// directory that belongs to another log by now.
    pub fn make_files(&self, group: &Group) -> Result<CleanedFiles, CleaningError> {
        let first = self.sources.get(group.0.start).ok_or(CleaningError::Overtaken)?;
        Ok(CleanedFiles::make(&self.disk, &self.directory, first.facts.base_offset)?)
    }

    /// Copies what a group keeps; `None` if it keeps everything, so that there is nothing to replace. The
    /// files are removed again then, and after a failure.
    pub fn copy(
        &mut self,
        group: &Group,
        files: CleanedFiles,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Cleaned>, CleaningError> {
        match self.try_copy(group, &files, should_stop) {
            Ok(Some(output)) => Ok(Some(output.finish(files))),
            Ok(None) => {
                files.discard();
                Ok(None)
            }
            Err(error) => {
                files.discard();
                Err(error)
            }
        }
    }

    fn try_copy(
        &mut self,
        group: &Group,
        files: &CleanedFiles,
        should_stop: &dyn Fn() -> bool,
    ) -> Result<Option<Output>, CleaningError> {
        let sources = self.sources.get(group.0.clone()).unwrap_or_default();
        let Some((last, _)) = sources.split_last() else { return Ok(None) };
        let mut output =
            Output::new(&self.disk, &self.directory, sources.iter().map(|s| (s.facts, s.created)));
        for source in sources {
            let mut batches = Batches::of(source);
            while let Some((batch, position)) = batches.next(should_stop)? {
                let end = position + batch.bytes().len() as u64;
                let is_last = source.path == last.path && end == source.facts.size;
                let place = if is_last { judge::Place::Last } else { judge::Place::Inner };
                let judged =
                    self.judge.judge(&batch, place).map_err(|error| source.corrupt(&batch, &error))?;
                output.take(&batch, judged, files, self.config.index_interval_bytes)?;
            }
        }
        output.sync(files).map(|()| output.is_changed().then_some(output)).map_err(CleaningError::from)
    }
}

impl Judge {
    /// Notes the keys of a batch of the dirty part; answers the offset of the first record for which there was
    /// no room.
    fn note(&mut self, batch: &RecordBatch, from: Offset) -> Result<Option<Offset>, BatchError> {
        let header = batch.header();
        if header.is_control || self.aborted.contains(header) {
            return Ok(None);
        }
        for record in &batch.records(judge::DECOMPRESSED_BYTES_MAX)? {
            let record = record?;
            let Some(key) = record.key.filter(|_| record.offset >= from) else { continue };
            match self.keys.put(key, record.offset) {
                Put::Done => {}
                Put::Full => return Ok(Some(record.offset)),
            }
        }
        Ok(None)
    }

    /// Of a producer whose last marker was found, only that one is its last trace.
    fn narrow_traces(&mut self, last_markers: &BTreeMap<ProducerIdent, Offset>) {
        for (id, trace) in &mut self.traces {
            if let LastTrace::Marker { epoch, last } = trace {
                let ident = ProducerIdent { id: *id, epoch: *epoch };
                *last = last_markers.get(&ident).copied();
            }
        }
    }
}

impl Source {
    fn corrupt(&self, batch: &RecordBatch, error: &BatchError) -> CleaningError {
        let detail = format!("the batch at offset {}: {error}", batch.header().base_offset);
        CleaningError::Failed(LogError::Corrupt { path: self.path.clone(), detail })
    }
}

/// Walks over a segment's batches, each checked.
struct Batches<'a> {
    source: &'a Source,
    scan: BatchScan<'a>,
}

impl<'a> Batches<'a> {
    fn of(source: &'a Source) -> Batches<'a> {
        Batches { source, scan: BatchScan::new(&source.file, 0..source.facts.size) }
    }

    fn next(&mut self, should_stop: &dyn Fn() -> bool) -> Result<Option<(RecordBatch, u64)>, CleaningError> {
        if should_stop() {
            return Err(CleaningError::Stopped);
        }
        match self.scan.next()? {
            Found::Batch { batch, position } => Ok(Some((batch, position))),
            Found::End => Ok(None),
            Found::Bad { position, reason } => {
                let detail = format!("the batch at byte {position}: {reason}");
                Err(CleaningError::Failed(LogError::Corrupt { path: self.source.path.clone(), detail }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
