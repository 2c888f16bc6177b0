//! The work of one transaction: output batches by partition, and the offset to commit with them.
//!
//! Filled by the reading stage, committed by the committing one. The producer's id, epoch and
//! sequences are put in last, because only the committer knows the epoch. No IO, no async.

use super::commit_note::{CallNote, CommitNote, CommittedOffset, FailedTimer};
use super::span::Span;
use crate::ids::{Offset, ProducerIdent, Sequence, TopicPartition};
use crate::plugin::{Timer, TimerDomain};
use crate::state::PendingUnit;
use crate::wire::record_batch::{
    BatchBuilder, BatchOptions, BatchProducer, Compression, RawRecord, RecordBatch,
};
use std::collections::BTreeMap;

/// A new batch is begun before one would grow over this: well under Kafka's default
/// `max.message.bytes` of 1048588.
const BATCH_BYTES_MAX: usize = 900 << 10;

/// What a unit has in it, to be counted once it is committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UnitCounts {
    /// Source records.
    pub records_in: u64,
    /// Output records, dead letters not among them.
    pub records_out: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Source records and timers left out by policy.
    pub skipped: u64,
    /// Timers that were dealt with.
    pub timers: u64,
}

impl UnitCounts {
    /// Source records and timers.
    pub fn taken(&self) -> u64 {
        self.records_in + self.timers
    }
}

/// How far a unit has come in one input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The offset that was `next_offset` when the unit was begun.
    pub first_offset: Offset,
    /// The offset of the first source record that is not done yet.
    pub next_offset: Offset,
    /// The offset of the first source record in it.
    pub first_record: Option<Offset>,
    /// Nothing was ever committed, and is to be even if it has not moved.
    pub is_first: bool,
}

impl Progress {
    /// None yet.
    pub fn at(position: Offset) -> Progress {
        Progress { first_offset: position, next_offset: position, first_record: None, is_first: false }
    }

    /// Whether it has moved.
    pub fn has_moved(&self) -> bool {
        self.next_offset > self.first_offset
    }
}

/// The work of one transaction.
pub struct Unit {
    outputs: BTreeMap<TopicPartition, Vec<BatchBuilder>>,
    bytes: usize,
    /// How far it has come in each of the task's inputs.
    pub progress: Vec<Progress>,
    /// The timestamp of the first record of the batch that its first record is from.
    pub oldest: Option<i64>,
    /// The first timer in it.
    pub first_timer: Option<(TimerDomain, Timer)>,
    /// What it has in it.
    pub counts: UnitCounts,
    /// The codec of batches that are begun from now on.
    pub compression: Compression,
    /// The wall clock when it was begun, in milliseconds since 1970: what its calls take for the present.
    pub now: i64,
    /// Its calls, for the note beside the committed offset.
    pub calls: Vec<CallNote>,
    /// How often the record at an input's `next_offset` has failed, and the input's number.
    pub failed: (usize, u32),
    /// A timer that is due and has failed.
    pub failed_timer: Option<FailedTimer>,
    /// What it changes in the task's state, and the changelog's partition that gets the records.
    pub state: Option<(TopicPartition, PendingUnit)>,
}

impl Unit {
    /// A unit without work, at a position of each input.
    pub fn new(positions: impl IntoIterator<Item = Offset>) -> Unit {
        Unit {
            outputs: BTreeMap::new(),
            bytes: 0,
            progress: positions.into_iter().map(Progress::at).collect(),
            oldest: None,
            first_timer: None,
            counts: UnitCounts::default(),
            compression: Compression::default(),
            now: -1,
            calls: Vec::new(),
            failed: (0, 0),
            failed_timer: None,
            state: None,
        }
    }

    /// Adds a record to a partition's output.
    pub fn append(&mut self, partition: &TopicPartition, record: RawRecord<'_>) {
        let parts = [record.key.map_or(0, <[u8]>::len), record.value.map_or(0, <[u8]>::len)];
        let record_bytes = parts.iter().sum::<usize>() + record.headers.bytes().len() + 32;
        let compression = self.compression;
        let options = BatchOptions { compression, ..BatchOptions::default() };
        if !self.outputs.contains_key(partition) {
            self.outputs.insert(partition.clone(), vec![BatchBuilder::new(options)]);
        }
        let Some(builders) = self.outputs.get_mut(partition) else { return };
        let full =
            |last: &BatchBuilder| !last.is_empty() && last.len_bytes() + record_bytes > BATCH_BYTES_MAX;
        if builders.last().is_none_or(full) {
            // Where one was filled, the next most likely is.
            builders.push(BatchBuilder::with_capacity(options, BATCH_BYTES_MAX));
        }
        if let Some(builder) = builders.last_mut() {
            builder.append_raw_body(record);
        }
        self.bytes += record_bytes;
    }

    /// A span has been dealt with: reading goes on behind it.
    pub fn passed(&mut self, span: &Span) {
        if let Some((domain, timers)) = span.timers() {
            self.counts.timers += u64::from(span.count());
            if self.first_timer.is_none() {
                self.first_timer = timers.first().map(|timer| (domain, timer.clone()));
            }
            return;
        }
        self.counts.records_in += u64::from(span.count());
        if let Some(progress) = self.progress.get_mut(span.input_number) {
            progress.first_record = progress.first_record.or(span.first_offset());
            progress.next_offset = span.end;
        }
    }

    /// How far it has come in an input.
    pub fn progress_in(&self, input: usize) -> Progress {
        self.progress.get(input).copied().unwrap_or(Progress::at(Offset::ZERO))
    }

    /// Whether its position has moved in any input.
    pub fn has_moved(&self) -> bool {
        self.progress.iter().any(Progress::has_moved)
    }

    /// A unit without work where this one ends.
    pub fn next(&self) -> Unit {
        Unit::new(self.progress.iter().map(|progress| progress.next_offset))
    }

    /// Whether there is nothing in it but a moved position, or not even that.
    pub fn is_without_records(&self) -> bool {
        self.counts == UnitCounts::default()
    }

    /// Output bytes so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The offsets to commit, by number of the input. What the calls were stands beside the first input's.
    pub fn commits(&self) -> Vec<(usize, CommittedOffset)> {
        let (failed_in, failed) = self.failed;
        let commit = |(number, progress): (usize, &Progress)| {
            let failed = if number == failed_in { failed } else { 0 };
            if number > 0 && !progress.has_moved() && !progress.is_first && failed == 0 {
                return None;
            }
            let note = match number {
                0 => CommitNote {
                    first_offsets: self
                        .progress
                        .iter()
                        .map(|progress| progress.first_offset.value())
                        .collect(),
                    now: self.now,
                    calls: self.calls.clone(),
                    failed,
                    failed_timer: self.failed_timer.clone(),
                },
                _ => CommitNote { failed, ..CommitNote::default() },
            };
            Some((number, CommittedOffset { offset: progress.next_offset, metadata: note.to_text() }))
        };
        self.progress.iter().enumerate().filter_map(commit).collect()
    }

    /// Notes a call that has gone well, before `passed` is told.
    pub fn called(&mut self, span: &Span, attempt: u32) {
        let note = match (span.timers(), span.first_offset()) {
            (Some((domain, _)), _) => CallNote::timers(domain, span.count(), attempt),
            (None, Some(first)) => {
                let at = first.since(self.progress_in(span.input_number).first_offset);
                CallNote::records(span.input_number, at, span.count(), attempt)
            }
            (None, None) => return,
        };
        self.calls.push(note);
    }

    /// Notes a record or timer that a policy has dealt with, before `passed` is told.
    pub fn gave_up(&mut self, span: &Span) {
        let note = match (span.timers(), span.first_offset()) {
            (Some((domain, _)), _) => CallNote::timer_given_up(domain),
            (None, Some(first)) => {
                let at = first.since(self.progress_in(span.input_number).first_offset);
                CallNote::given_up(span.input_number, at)
            }
            (None, None) => return,
        };
        self.calls.push(note);
    }

    /// The batches of each partition: as this producer's first in its epoch, or as nobody's, outside of a transaction.
    ///
    /// Every transaction has an epoch of its own (KIP-890), so its sequences begin at 0.
    pub fn into_batches(self, producer: Option<ProducerIdent>) -> Vec<(TopicPartition, Vec<RecordBatch>)> {
        let mut all = Vec::with_capacity(self.outputs.len());
        for (partition, builders) in self.outputs {
            let mut sequence = Sequence::ZERO;
            let mut batches = Vec::with_capacity(builders.len());
            for builder in builders.into_iter().filter(|builder| !builder.is_empty()) {
                let records = builder.record_count();
                let claim = producer.map(|ident| BatchProducer { ident, base_sequence: Some(sequence) });
                batches.push(builder.build_in_name_of(claim));
                sequence = sequence.plus(records);
            }
            all.push((partition, batches));
        }
        all
    }
}

#[cfg(test)]
mod tests;
