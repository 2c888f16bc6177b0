//! A run of source records in the uncompressed v2 layout, which can be cut between any two of them. Timers that are due
//! make one too, so that a failing one is found and dealt with like a record.
//!
//! Cuts share the bytes, so that a failing batch can be halved until only the bad record is left,
//! without copying. Bytes come from the log and are checked all the same.

use crate::ids::{Offset, TopicPartition};
use crate::plugin::{InputBatch, InputChunk, Timer, TimerDomain};
use crate::wire::record_batch::{
    BatchBuilder, BatchError, BatchOptions, Compression, RawHeaders, RawRecord, RecordBatch,
};
use crate::wire::varint::ByteReader;
use std::collections::VecDeque;

/// Decompressed bytes of one source batch, at most.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// A run of source records, or of timers, with the position after it.
#[derive(Clone, Debug)]
pub struct Span {
    what: What,
    compression: Compression,
    /// The number of the task's input that it comes from.
    pub input_number: usize,
    /// Where reading goes on once all of this is done.
    pub end: Offset,
}

#[derive(Clone, Debug)]
enum What {
    Records(Vec<InputChunk>),
    Timers(TimerDomain, Vec<Timer>),
}

/// What one fetch found, as spans of at most `bytes_max` bytes (or one source batch).
///
/// Records before `from` are left out: the first batch may begin before it. Offsets behind the last
/// record, which hold markers or aborted records, belong to the last span.
pub fn spans_of(
    batches: Vec<RecordBatch>,
    from: Offset,
    next_offset: Offset,
    bytes_max: usize,
) -> Result<VecDeque<Span>, BatchError> {
    let mut spans: VecDeque<(Vec<InputChunk>, Compression, Offset)> = VecDeque::new();
    let mut bytes_in_last = usize::MAX;
    for batch in batches {
        let end = batch.header().last_offset().next();
        let compression = batch.header().compression;
        let Some(chunk) = chunk_of(&batch, from)? else { continue };
        let bytes = chunk.records.len();
        match spans.back_mut() {
            Some((chunks, _, end_of_last)) if bytes_in_last.saturating_add(bytes) <= bytes_max => {
                chunks.push(chunk);
                *end_of_last = end;
                bytes_in_last += bytes;
            }
            Some(_) | None => {
                spans.push_back((vec![chunk], compression, end));
                bytes_in_last = bytes;
            }
        }
    }
    if let Some((_, _, end)) = spans.back_mut() {
        *end = next_offset.max(*end);
    }
    let span =
        |(chunks, compression, end)| Span { what: What::Records(chunks), compression, input_number: 0, end };
    Ok(spans.into_iter().map(span).collect())
}

fn chunk_of(batch: &RecordBatch, from: Offset) -> Result<Option<InputChunk>, BatchError> {
    let header = batch.header();
    let records = batch.records(DECOMPRESSED_BYTES_MAX)?;
    let mut count = 0;
    let mut before = 0;
    for record in &records {
        count += 1;
        before += u32::from(record?.offset < from);
    }
    let whole = InputChunk {
        base_offset: header.base_offset,
        base_timestamp: header.base_timestamp,
        record_count: count,
        records: records.bytes().clone(),
        append_time: records.log_append_time(),
    };
    let (_, rest) = cut(whole, before);
    Ok((rest.record_count > 0).then_some(rest))
}

/// The first `count` records of a chunk, and the rest.
fn cut(chunk: InputChunk, count: u32) -> (InputChunk, InputChunk) {
    let mut reader = ByteReader::new(&chunk.records);
    for _ in 0..count.min(chunk.record_count) {
        skip_record(&mut reader);
    }
    let at = chunk.records.len() - reader.rest().len();
    let count = count.min(chunk.record_count);
    let first = InputChunk { record_count: count, records: chunk.records.slice(..at), ..chunk.clone() };
    let rest_count = chunk.record_count - count;
    let rest = InputChunk { record_count: rest_count, records: chunk.records.slice(at..), ..chunk };
    (first, rest)
}

fn skip_record(reader: &mut ByteReader<'_>) -> Option<()> {
    let length = usize::try_from(reader.varint()?).ok()?;
    reader.take(length).map(|_| ())
}

impl Span {
    /// Timers that are due; reading goes on at `position`.
    pub fn of_timers(domain: TimerDomain, due: Vec<Timer>, position: Offset) -> Span {
        Span {
            what: What::Timers(domain, due),
            compression: Compression::default(),
            input_number: 0,
            end: position,
        }
    }

    /// What a call hands to the module.
    pub fn input(&self, from: &TopicPartition, attempt: u32) -> InputBatch {
        let chunks = match &self.what {
            What::Records(chunks) => chunks.clone(),
            What::Timers(_, timers) => vec![chunk_of_timers(timers)],
        };
        InputBatch { topic: from.topic.clone(), partition: from.partition, attempt, chunks }
    }

    /// Its timers, if it has those and no records.
    pub fn timers(&self) -> Option<(TimerDomain, &[Timer])> {
        match &self.what {
            What::Records(_) => None,
            What::Timers(domain, timers) => Some((*domain, timers)),
        }
    }

    /// The codec of the first source batch.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// How many records or timers there are.
    pub fn count(&self) -> u32 {
        match &self.what {
            What::Records(chunks) => chunks.iter().map(|chunk| chunk.record_count).sum(),
            What::Timers(_, timers) => u32::try_from(timers.len()).unwrap_or(u32::MAX),
        }
    }

    /// The first source batches that come to at most so many bytes together, one at the least, and the rest if there is
    /// one. Timers stay together.
    pub fn cut_within(self, bytes_max: usize) -> (Span, Option<Span>) {
        let What::Records(chunks) = &self.what else { return (self, None) };
        let (mut count, mut bytes) = (0, 0);
        for chunk in chunks {
            bytes += chunk.records.len();
            if count > 0 && bytes > bytes_max {
                let (first, rest) = self.split_at(count);
                return (first, Some(rest));
            }
            count += chunk.record_count;
        }
        (self, None)
    }

    /// The timestamp of the first record of the batch that the first record is from; timers have none.
    pub fn first_timestamp(&self) -> Option<i64> {
        match &self.what {
            What::Records(chunks) => {
                let first = chunks.iter().find(|chunk| chunk.record_count > 0)?;
                Some(first.append_time.unwrap_or(first.base_timestamp))
            }
            What::Timers(..) => None,
        }
    }

    /// The offset of the first record; timers have none.
    pub fn first_offset(&self) -> Option<Offset> {
        match &self.what {
            What::Records(chunks) => {
                chunks.iter().find(|chunk| chunk.record_count > 0).and_then(first_offset)
            }
            What::Timers(..) => None,
        }
    }

    /// The first `count` records or timers, and the rest; the first part ends where the rest begins.
    pub fn split_at(self, count: u32) -> (Span, Span) {
        let Span { what, compression, input_number, end } = self;
        let (first, rest) = match what {
            What::Records(chunks) => {
                let (first, rest) = split_chunks(chunks, count);
                (What::Records(first), What::Records(rest))
            }
            What::Timers(domain, mut timers) => {
                let at = usize::try_from(count).unwrap_or(usize::MAX).min(timers.len());
                let rest = timers.split_off(at);
                (What::Timers(domain, timers), What::Timers(domain, rest))
            }
        };
        let rest = Span { what: rest, compression, input_number, end };
        let middle = rest.first_offset().unwrap_or(end);
        (Span { what: first, compression, input_number, end: middle }, rest)
    }
}

fn split_chunks(chunks: Vec<InputChunk>, count: u32) -> (Vec<InputChunk>, Vec<InputChunk>) {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    let mut missing = count;
    for chunk in chunks {
        if missing >= chunk.record_count {
            missing -= chunk.record_count;
            first.push(chunk);
        } else if missing == 0 {
            rest.push(chunk);
        } else {
            let (left, right) = cut(chunk, missing);
            missing = 0;
            first.push(left);
            rest.push(right);
        }
    }
    (first, rest)
}

/// Records with the timers' ids, payloads and times.
fn chunk_of_timers(timers: &[Timer]) -> InputChunk {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for timer in timers {
        let (key, value) = (Some(&timer.id[..]), Some(&timer.payload[..]));
        builder.append_raw_body(RawRecord { timestamp: timer.at, key, value, headers: RawHeaders::NONE });
    }
    let batch = builder.build();
    InputChunk {
        base_offset: Offset::ZERO,
        base_timestamp: batch.header().base_timestamp,
        append_time: None,
        record_count: u32::try_from(timers.len()).unwrap_or(u32::MAX),
        records: batch.records_region(),
    }
}

/// The offset of a chunk's first record.
fn first_offset(chunk: &InputChunk) -> Option<Offset> {
    let mut reader = ByteReader::new(&chunk.records);
    let length = usize::try_from(reader.varint()?).ok()?;
    let mut body = ByteReader::new(reader.take(length)?);
    let _attributes = body.u8()?;
    let _timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    (offset_delta >= 0).then(|| chunk.base_offset.plus(i64::from(offset_delta)))
}

#[cfg(test)]
mod tests;
