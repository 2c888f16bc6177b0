//! A batch with some of its records replaced or left out, the way compaction leaves batches behind: base
//! offset, last offset delta, producer, sequences and every other record's offset stay as they are
//! (Kafka's `MemoryRecords.filterTo`).

use bytes::{Bytes, BytesMut};

use super::compression::CODEC_MASK;
use super::header::{CONTROL_BIT, DELETE_HORIZON_BIT};
use super::records::Framed;
use super::{
    ATTRIBUTES_AT, BASE_TIMESTAMP_AT, BatchError, BatchHeader, CRC_AT, Compression, HEADER_BYTES, KeyRule,
    LOG_OVERHEAD_BYTES, MAX_TIMESTAMP_AT, RECORD_COUNT_AT, RecordBatch, Records, TimestampType,
};
use crate::clock::Timestamp;
use crate::wire::varint::{ByteReader, put_varint, put_varlong, varint_bytes, varlong_bytes};

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordChange<'a> {
    /// It stays as it is.
    Keep,
    /// It is left out; its offset stays unused.
    Drop,
    /// Another takes its place and its offset.
    Replace {
        /// The timestamp, if it is another one.
        timestamp: Option<i64>,
        /// From the key's length to the last header, in the v2 layout.
        body: &'a [u8],
    },
}

impl Records {
    /// The same records with `change` asked about each, by its position from 0.
    pub fn rewritten<'a>(
        &self,
        mut change: impl FnMut(i32) -> RecordChange<'a>,
    ) -> Result<Records, BatchError> {
        let mut out = Vec::with_capacity(self.bytes().len());
        let mut record_count = 0;
        let mut reader = ByteReader::new(self.bytes());
        for index in 0..self.record_count() {
            let before = reader.rest();
            let record = Framed::read(&mut reader).map_err(|reason| BatchError::Record { index, reason })?;
            record_count += 1;
            match change(index) {
                RecordChange::Keep => {
                    let bytes = before.len() - reader.rest().len();
                    out.extend_from_slice(before.get(..bytes).unwrap_or_default());
                }
                RecordChange::Drop => record_count -= 1,
                RecordChange::Replace { timestamp, body } => {
                    let timestamp_delta = match timestamp {
                        None => record.timestamp_delta,
                        Some(timestamp) => timestamp.wrapping_sub(self.base_timestamp()),
                    };
                    put_record(&mut out, timestamp_delta, record.offset_delta, body);
                }
            }
        }
        Ok(self.with_region(Bytes::from(out), record_count))
    }

    /// The same records, their timestamps relative to another base.
    fn rebased(&self, base_timestamp: i64) -> Result<Records, BatchError> {
        let mut out = Vec::with_capacity(self.bytes().len() + self.bytes().len() / 4);
        let mut reader = ByteReader::new(self.bytes());
        for index in 0..self.record_count() {
            let mut raw = reader;
            let failed = |reason| BatchError::Record { index, reason };
            let record = Framed::read(&mut reader).map_err(failed)?;
            let body = body_of(&mut raw).ok_or(failed("it is cut off"))?;
            let timestamp = self.base_timestamp().wrapping_add(record.timestamp_delta);
            put_record(&mut out, timestamp.wrapping_sub(base_timestamp), record.offset_delta, body);
        }
        Ok(self.with_base_timestamp(base_timestamp, Bytes::from(out)))
    }
}

/// What follows the deltas of the record in front, whose framing has been checked.
fn body_of<'a>(reader: &mut ByteReader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(reader.varint()?).ok()?;
    let mut record = ByteReader::new(reader.take(length)?);
    let _attributes = record.u8()?;
    let _timestamp_delta = record.varlong()?;
    let _offset_delta = record.varint()?;
    Some(record.rest())
}

/// A record of which key, value and headers are in the v2 layout already.
fn put_record(out: &mut Vec<u8>, timestamp_delta: i64, offset_delta: i32, body: &[u8]) {
    let bytes = 1 + varlong_bytes(timestamp_delta) + varint_bytes(offset_delta) + body.len();
    put_varint(out, i32::try_from(bytes).expect("a record is far smaller than 2 GiB"));
    out.push(0);
    put_varlong(out, timestamp_delta);
    put_varint(out, offset_delta);
    out.extend_from_slice(body);
}

/// What a batch becomes, beside its records.
#[derive(Clone, Copy)]
struct Rebuild {
    codec: Compression,
    more_attributes: i16,
}

impl RecordBatch {
    /// This batch with other records, which [`Records::rewritten`] made of its own: in the same codec, with
    /// the largest timestamp and the CRC that follow from them.
    ///
    /// A batch that is left without records keeps its timestamp and names no codec, as Kafka's
    /// `DefaultRecordBatch.writeEmptyHeader` has it. It becomes a control batch, which no client shows to
    /// anybody: librdkafka takes an answer of nothing but empty data batches for one that was cut off, asks
    /// for twice as much each time, and ends with an error.
    pub fn with_records(&self, records: &Records, keys: KeyRule) -> Result<RecordBatch, BatchError> {
        self.rebuilt(records, keys, Rebuild { codec: self.header().compression, more_attributes: 0 })
    }

    /// The same, with the moment from which compaction may drop the batch's tombstones, or its marker
    /// (KIP-534). It takes the place of the base timestamp; the records keep their own timestamps.
    pub fn with_delete_horizon(
        &self,
        records: &Records,
        horizon: Timestamp,
    ) -> Result<RecordBatch, BatchError> {
        let rebuild = Rebuild { codec: self.header().compression, more_attributes: DELETE_HORIZON_BIT };
        self.rebuilt(&records.rebased(horizon.ms())?, KeyRule::Optional, rebuild)
    }

    /// The same records in another codec (`compression.type`); a batch without records names none.
    pub fn recompressed(
        &self,
        codec: Compression,
        decompressed_bytes_max: usize,
    ) -> Result<RecordBatch, BatchError> {
        if self.header().compression == codec || self.header().record_count == 0 {
            return Ok(self.clone());
        }
        let records = self.records(decompressed_bytes_max)?;
        self.rebuilt(&records, KeyRule::Optional, Rebuild { codec, more_attributes: 0 })
    }

    fn rebuilt(&self, records: &Records, keys: KeyRule, rebuild: Rebuild) -> Result<RecordBatch, BatchError> {
        let header = self.header();
        let mut max_timestamp = None;
        for record in records {
            let record = record?;
            if record.key.is_none() && keys == KeyRule::Required {
                let reason = "a compacted topic's record must have a key";
                return Err(BatchError::Record { index: record.index, reason });
            }
            max_timestamp = max_timestamp.max(Some(record.timestamp));
        }
        let max_timestamp = match header.timestamp_type {
            TimestampType::CreateTime => max_timestamp.unwrap_or(header.max_timestamp),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        let codec = match records.record_count() {
            0 => Compression::None,
            _ => rebuild.codec,
        };
        let region = match codec {
            Compression::None => records.bytes().clone(),
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                Bytes::from(codec.compress(records.bytes()))
            }
        };
        let mut fixed = self.header_bytes();
        let length = HEADER_BYTES - LOG_OVERHEAD_BYTES + region.len();
        let length = i32::try_from(length).map_err(|_| BatchError::Header("it grew beyond 2 GiB"))?;
        let control = if records.record_count() == 0 { CONTROL_BIT } else { 0 };
        let attributes = self.attributes() & !CODEC_MASK | codec.attribute_bits() | control;
        let attributes = attributes | rebuild.more_attributes;
        let mut put = |at: usize, bytes: &[u8]| fixed[at..at + bytes.len()].copy_from_slice(bytes);
        put(8, &length.to_be_bytes());
        put(ATTRIBUTES_AT, &attributes.to_be_bytes());
        put(BASE_TIMESTAMP_AT, &records.base_timestamp().to_be_bytes());
        put(MAX_TIMESTAMP_AT, &max_timestamp.to_be_bytes());
        put(RECORD_COUNT_AT, &records.record_count().to_be_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&fixed[ATTRIBUTES_AT..]), &region);
        fixed[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + region.len());
        bytes.extend_from_slice(&fixed);
        bytes.extend_from_slice(&region);
        BatchHeader::parse(&bytes)?;
        Ok(RecordBatch::trusted(bytes.freeze()))
    }
}

#[cfg(test)]
mod tests;
