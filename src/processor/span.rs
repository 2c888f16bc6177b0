//! A run of source records in the uncompressed v2 layout, which can be cut between any two of them.
//!
//! Cuts share the bytes, so that a failing batch can be halved until only the bad record is left,
//! without copying. Bytes come from the log and are checked all the same.

use crate::ids::{Offset, TopicPartition};
use crate::plugin::{InputBatch, InputChunk};
use crate::wire::record_batch::{BatchError, Compression, RecordBatch};
use crate::wire::varint::ByteReader;
use std::collections::VecDeque;

/// Decompressed bytes of one source batch, at most.
const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// A run of source records, with the position after it.
#[derive(Clone, Debug)]
pub struct Span {
    chunks: Vec<InputChunk>,
    compression: Compression,
    /// Where reading goes on once all of this is done.
    pub end: Offset,
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
    let mut spans: VecDeque<Span> = VecDeque::new();
    let mut bytes_in_last = usize::MAX;
    for batch in batches {
        let end = batch.header().last_offset().next();
        let compression = batch.header().compression;
        let Some(chunk) = chunk_of(&batch, from)? else { continue };
        let bytes = chunk.records.len();
        match spans.back_mut() {
            Some(last) if bytes_in_last.saturating_add(bytes) <= bytes_max => {
                last.chunks.push(chunk);
                last.end = end;
                bytes_in_last += bytes;
            }
            Some(_) | None => {
                spans.push_back(Span { chunks: vec![chunk], compression, end });
                bytes_in_last = bytes;
            }
        }
    }
    if let Some(last) = spans.back_mut() {
        last.end = last.end.max(next_offset);
    }
    Ok(spans)
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
    /// What a call hands to the module.
    pub fn input(&self, from: &TopicPartition, attempt: u32) -> InputBatch {
        let chunks = self.chunks.clone();
        InputBatch { topic: from.topic.clone(), partition: from.partition, attempt, chunks }
    }

    /// The codec of the first source batch.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.chunks.iter().map(|chunk| chunk.record_count).sum()
    }

    /// The offset of the first record.
    pub fn first_offset(&self) -> Option<Offset> {
        self.chunks.iter().find(|chunk| chunk.record_count > 0).and_then(first_offset)
    }

    /// The first `count` records, and the rest; the first part ends where the rest begins.
    pub fn split_at(self, count: u32) -> (Span, Span) {
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        let mut missing = count;
        for chunk in self.chunks {
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
        let compression = self.compression;
        let rest = Span { chunks: rest, compression, end: self.end };
        let middle = rest.first_offset().unwrap_or(self.end);
        (Span { chunks: first, compression, end: middle }, rest)
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
