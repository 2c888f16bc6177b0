//! Builds batches in the layout that Kafka's Java client builds (`MemoryRecordsBuilder`): deltas
//! relative to the first record's timestamp, header fields from what was appended.

use bytes::Bytes;

use super::header::{CONTROL_BIT, TIMESTAMP_TYPE_BIT, TRANSACTIONAL_BIT};
use super::{
    ATTRIBUTES_AT, BatchProducer, CRC_AT, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC, RawHeaders,
    RecordBatch, TimestampType,
};
use crate::wire::varint::{put_varint, put_varlong, varint_bytes, varlong_bytes};

const NO_TIMESTAMP: i64 = -1;
const NULL_LENGTH: i32 = -1;

/// Whether a batch belongs to a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transactional {
    /// It does.
    Yes,
    /// It does not.
    #[default]
    No,
}

/// Whose records a batch holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BatchKind {
    /// A client's or the broker's own data.
    #[default]
    Data,
    /// Control records, which no client sees.
    Control,
}

/// What a builder must know beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchOptions {
    /// The codec.
    pub compression: Compression,
    /// The producer, for idempotent and transactional batches.
    pub producer: Option<BatchProducer>,
    /// Whether the batch belongs to a transaction.
    pub transactional: Transactional,
    /// Data or control records.
    pub kind: BatchKind,
    /// Who sets the timestamps.
    pub timestamp_type: TimestampType,
    /// What deltas are relative to; by default the first record's timestamp.
    pub base_timestamp: Option<i64>,
}

/// A record to append.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NewRecord<'a> {
    /// Its timestamp; -1 for none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// A record whose headers are in the v2 layout already, as plugins hand them over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRecord<'a> {
    /// Its timestamp; -1 for none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers, checked.
    pub headers: RawHeaders<'a>,
}

/// Collects records and makes one batch of them, at base offset 0 and without a leader epoch.
#[derive(Debug)]
pub struct BatchBuilder {
    options: BatchOptions,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    record_count: i32,
    /// Room for the header, then the records: one buffer from the first append to the end.
    buffer: Vec<u8>,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new(options: BatchOptions) -> BatchBuilder {
        BatchBuilder::with_capacity(options, HEADER_BYTES)
    }

    /// An empty builder with room for so many bytes, before compression.
    pub fn with_capacity(options: BatchOptions, bytes: usize) -> BatchBuilder {
        let mut buffer = Vec::with_capacity(bytes.max(HEADER_BYTES));
        buffer.resize(HEADER_BYTES, 0);
        BatchBuilder {
            options,
            base_timestamp: options.base_timestamp,
            max_timestamp: NO_TIMESTAMP,
            record_count: 0,
            buffer,
        }
    }

    /// Appends a record. Its parts must be shorter than 2 GiB, which is the caller's to see to.
    pub fn append(&mut self, record: NewRecord<'_>) {
        let headers_bytes = record
            .headers
            .iter()
            .map(|(key, value)| nullable_bytes_len(Some(key)) + nullable_bytes_len(*value));
        let header_count = length_of(record.headers.len());
        let headers_bytes = varint_bytes(header_count) + headers_bytes.sum::<usize>();
        self.start_record(record.timestamp, record.key, record.value, headers_bytes);
        put_varint(&mut self.buffer, header_count);
        for (key, value) in record.headers {
            put_nullable_bytes(&mut self.buffer, Some(key));
            put_nullable_bytes(&mut self.buffer, *value);
        }
    }

    /// Appends a record whose headers are taken as they are.
    pub fn append_raw_body(&mut self, record: RawRecord<'_>) {
        let headers = record.headers.bytes();
        self.start_record(record.timestamp, record.key, record.value, headers.len());
        self.buffer.extend_from_slice(headers);
    }

    /// Bytes of the batch so far, header included, before compression.
    pub fn len_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// How many records there are so far.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether no record has been appended.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The batch. A builder without records gives a batch without records, which no client may send
    /// and no log appends.
    pub fn build(self) -> RecordBatch {
        let attributes = self.attributes();
        let options = self.options;
        let mut bytes = match options.compression {
            Compression::None => self.buffer,
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                let records = self.buffer.get(HEADER_BYTES..).unwrap_or_default();
                let mut bytes = vec![0; HEADER_BYTES];
                bytes.extend_from_slice(&options.compression.compress(records));
                bytes
            }
        };
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&0i64.to_be_bytes());
        header.extend_from_slice(&length_of(bytes.len() - LOG_OVERHEAD_BYTES).to_be_bytes());
        header.extend_from_slice(&(-1i32).to_be_bytes());
        header.push(MAGIC as u8);
        header.extend_from_slice(&[0; ATTRIBUTES_AT - CRC_AT]);
        header.extend_from_slice(&attributes.to_be_bytes());
        header.extend_from_slice(&(self.record_count - 1).max(0).to_be_bytes());
        header.extend_from_slice(&self.base_timestamp.unwrap_or(NO_TIMESTAMP).to_be_bytes());
        header.extend_from_slice(&self.max_timestamp.to_be_bytes());
        put_producer(&mut header, options.producer);
        header.extend_from_slice(&self.record_count.to_be_bytes());
        assert_eq!(header.len(), HEADER_BYTES);
        bytes[..HEADER_BYTES].copy_from_slice(&header);
        let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        RecordBatch::trusted(Bytes::from(bytes))
    }

    /// The batch as a producer's, in its transaction; or as nobody's, outside of any.
    pub fn build_in_name_of(mut self, producer: Option<BatchProducer>) -> RecordBatch {
        self.options.producer = producer;
        self.options.transactional = if producer.is_some() { Transactional::Yes } else { Transactional::No };
        self.build()
    }

    fn attributes(&self) -> i16 {
        let mut attributes = self.options.compression.attribute_bits();
        if self.options.timestamp_type == TimestampType::LogAppendTime {
            attributes |= TIMESTAMP_TYPE_BIT;
        }
        if self.options.transactional == Transactional::Yes {
            attributes |= TRANSACTIONAL_BIT;
        }
        if self.options.kind == BatchKind::Control {
            attributes |= CONTROL_BIT;
        }
        attributes
    }

    /// Everything of a record up to its headers, of which only the size is known here.
    fn start_record(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers_bytes: usize,
    ) {
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        let offset_delta = self.record_count;
        let body_bytes = 1
            + varlong_bytes(timestamp_delta)
            + varint_bytes(offset_delta)
            + nullable_bytes_len(key)
            + nullable_bytes_len(value)
            + headers_bytes;
        let length = length_of(body_bytes);
        self.buffer.reserve(varint_bytes(length) + body_bytes);
        put_varint(&mut self.buffer, length);
        self.buffer.push(0);
        put_varlong(&mut self.buffer, timestamp_delta);
        put_varint(&mut self.buffer, offset_delta);
        put_nullable_bytes(&mut self.buffer, key);
        put_nullable_bytes(&mut self.buffer, value);
        self.record_count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
    }
}

fn put_producer(header: &mut Vec<u8>, producer: Option<BatchProducer>) {
    let (id, epoch, base_sequence) = match producer {
        None => (-1, -1, -1),
        Some(producer) => (
            producer.ident.id.value(),
            producer.ident.epoch.value(),
            producer.base_sequence.map_or(-1, |sequence| sequence.value()),
        ),
    };
    header.extend_from_slice(&id.to_be_bytes());
    header.extend_from_slice(&epoch.to_be_bytes());
    header.extend_from_slice(&base_sequence.to_be_bytes());
}

fn nullable_bytes_len(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => varint_bytes(NULL_LENGTH),
        Some(bytes) => varint_bytes(length_of(bytes.len())) + bytes.len(),
    }
}

fn put_nullable_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, NULL_LENGTH),
        Some(bytes) => {
            put_varint(out, length_of(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn length_of(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("batches and their parts are kept far below 2 GiB")
}

#[cfg(test)]
mod tests;
