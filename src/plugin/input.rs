//! What goes into a call: source batches as slices of the log, framed for the flat world without
//! touching a record, and an iterator over the records for those who need them one by one.

use bytes::Bytes;

use crate::ids::{Offset, PartitionIndex, TopicName};
use crate::plugin::output::RawHeaders;
use crate::plugin::varint;

/// The first bytes of a flat input; the digit is the layout's version.
pub(crate) const INPUT_MAGIC: [u8; 4] = *b"TMI1";
/// The fixed part in front of each chunk's records.
pub(crate) const INPUT_CHUNK_HEADER_BYTES: usize = 40;

/// The records of one call: several source batches of one partition, in order.
#[derive(Clone, Debug)]
pub struct InputBatch {
    /// The topic that they come from.
    pub topic: TopicName,
    /// The partition that they come from.
    pub partition: PartitionIndex,
    /// How often these records were tried before, 0 at first.
    pub attempt: u32,
    /// The source batches.
    pub chunks: Vec<InputChunk>,
}

/// One source batch: its records region, uncompressed, in Kafka's v2 layout. A caller that resumes in
/// the middle of a batch slices `records` at a record's start and lowers `record_count`.
#[derive(Clone, Debug)]
pub struct InputChunk {
    /// What the records' offset deltas count from.
    pub base_offset: Offset,
    /// What the records' timestamp deltas count from.
    pub base_timestamp: i64,
    /// The time of appending, if the topic's records carry that instead of their own
    /// (`message.timestamp.type=LogAppendTime`).
    pub append_time: Option<i64>,
    /// How many records `records` holds.
    pub record_count: u32,
    /// The records.
    pub records: Bytes,
}

/// A record of an input batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputRecord<'a> {
    /// Its index within the whole batch: what `source_index` and faults name.
    pub index: u32,
    /// Its offset in the source partition.
    pub offset: Offset,
    /// Its timestamp, with the append time put in if the chunk has one.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in the v2 layout.
    pub headers: RawHeaders<'a>,
}

/// An input whose records are not what its chunks say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {index} of the batch is malformed: {what}")]
pub struct MalformedInput {
    /// Where.
    pub index: u32,
    /// What is wrong with it.
    pub what: &'static str,
}

impl InputBatch {
    /// How many records all chunks hold together.
    pub fn record_count(&self) -> u32 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.record_count))
    }

    /// The size of the flat input that `write_flat` makes.
    pub fn flat_bytes(&self) -> usize {
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| INPUT_CHUNK_HEADER_BYTES.saturating_add(chunk.records.len()))
            .sum();
        chunks.saturating_add(16 + 2 + self.topic.as_str().len())
    }

    /// Writes the flat input of `wit/FLAT.md` into `out`, which is cleared first: headers, and each
    /// chunk's records copied as one run.
    pub fn write_flat(&self, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(self.flat_bytes());
        out.extend_from_slice(&INPUT_MAGIC);
        put_u32(out, self.attempt);
        put_u32(out, 1);
        put_u32(out, bound(self.chunks.len()));
        let topic = self.topic.as_str().as_bytes();
        let topic = topic.get(..usize::from(u16::MAX)).unwrap_or(topic);
        out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(topic);
        for chunk in &self.chunks {
            put_u32(out, 0);
            out.extend_from_slice(&self.partition.value().to_le_bytes());
            out.extend_from_slice(&chunk.base_offset.value().to_le_bytes());
            out.extend_from_slice(&chunk.base_timestamp.to_le_bytes());
            out.extend_from_slice(&chunk.append_time.unwrap_or(-1).to_le_bytes());
            put_u32(out, chunk.record_count);
            put_u32(out, bound(chunk.records.len()));
            out.extend_from_slice(&chunk.records);
        }
    }

    /// The records one by one.
    pub fn records(&self) -> InputRecords<'_> {
        InputRecords { chunks: self.chunks.iter(), chunk: None, left: 0, rest: &[], index: 0 }
    }
}

fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn bound(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Iterates over the records of an input batch; stops after the first malformed one.
#[derive(Clone, Debug)]
pub struct InputRecords<'a> {
    chunks: std::slice::Iter<'a, InputChunk>,
    chunk: Option<&'a InputChunk>,
    left: u32,
    rest: &'a [u8],
    index: u32,
}

impl<'a> InputRecords<'a> {
    fn read(&mut self) -> Result<Option<InputRecord<'a>>, &'static str> {
        let chunk = loop {
            match self.chunk {
                Some(chunk) if self.left > 0 => break chunk,
                Some(_) if !self.rest.is_empty() => return Err("bytes lie behind the chunk's last record"),
                Some(_) | None => {}
            }
            let Some(next) = self.chunks.next() else { return Ok(None) };
            (self.chunk, self.left, self.rest) = (Some(next), next.record_count, &next.records);
        };
        let length = varint::take_i32(&mut self.rest).ok_or("its length cannot be read")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let (mut record, rest) = self.rest.split_at_checked(length).ok_or("it is longer than its chunk")?;
        self.rest = rest;
        let (_attributes, fields) = record.split_first().ok_or("it is empty")?;
        record = fields;
        let timestamp_delta = varint::take_i64(&mut record).ok_or("its timestamp cannot be read")?;
        let offset_delta = varint::take_i32(&mut record).ok_or("its offset cannot be read")?;
        if offset_delta < 0 {
            return Err("its offset lies before its batch");
        }
        let key = varint::take_nullable(&mut record).ok_or("its key cannot be read")?;
        let value = varint::take_nullable(&mut record).ok_or("its value cannot be read")?;
        let headers = RawHeaders::check(record)?;
        let index = self.index;
        self.left -= 1;
        self.index = self.index.saturating_add(1);
        Ok(Some(InputRecord {
            index,
            offset: chunk.base_offset.plus(i64::from(offset_delta)),
            timestamp: chunk.append_time.unwrap_or(chunk.base_timestamp.saturating_add(timestamp_delta)),
            key,
            value,
            headers,
        }))
    }
}

impl<'a> Iterator for InputRecords<'a> {
    type Item = Result<InputRecord<'a>, MalformedInput>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(record) => record.map(Ok),
            Err(what) => {
                // Nothing behind a broken length can be trusted.
                (self.chunks, self.chunk, self.left, self.rest) = ([].iter(), None, 0, &[]);
                Some(Err(MalformedInput { index: self.index, what }))
            }
        }
    }
}

#[cfg(test)]
mod tests;
