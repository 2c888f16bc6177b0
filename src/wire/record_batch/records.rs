//! Records read lazily out of the v2 layout, without a copy or an allocation per record.
//!
//! A record: varint length of what follows, attributes i8 (unused), varlong timestamp delta, varint
//! offset delta, varint-prefixed key and value (-1 for null), varint header count, headers.

use bytes::Bytes;

use super::{BatchError, BatchHeader, TimestampType};
use crate::ids::Offset;
use crate::wire::varint::ByteReader;

/// The records of one batch, decompressed.
#[derive(Clone, Debug)]
pub struct Records {
    base_offset: Offset,
    base_timestamp: i64,
    log_append_time: Option<i64>,
    last_offset_delta: i32,
    record_count: i32,
    bytes: Bytes,
}

impl Records {
    pub(super) fn new(header: &BatchHeader, bytes: Bytes) -> Records {
        Records {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            log_append_time: match header.timestamp_type {
                TimestampType::CreateTime => None,
                TimestampType::LogAppendTime => Some(header.max_timestamp),
            },
            last_offset_delta: header.last_offset_delta,
            record_count: header.record_count,
            bytes,
        }
    }

    /// The records in order. After an error nothing more comes.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { records: self, reader: ByteReader::new(&self.bytes), next_index: 0, ended: false }
    }

    /// The same batch's records after a change.
    pub(super) fn with_region(&self, bytes: Bytes, record_count: i32) -> Records {
        Records { bytes, record_count, ..self.clone() }
    }

    /// The same records in other bytes, relative to another base timestamp.
    pub(super) fn with_base_timestamp(&self, base_timestamp: i64, bytes: Bytes) -> Records {
        Records { bytes, base_timestamp, ..self.clone() }
    }

    /// The records region in the v2 layout, uncompressed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What the records' offset deltas are relative to.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// What the records' timestamp deltas are relative to.
    pub fn base_timestamp(&self) -> i64 {
        self.base_timestamp
    }

    /// The timestamp of all records, if the broker set it.
    pub fn log_append_time(&self) -> Option<i64> {
        self.log_append_time
    }

    /// How many records there are.
    pub fn record_count(&self) -> i32 {
        self.record_count
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<RecordView<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Iterates over the records of a batch.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    records: &'a Records,
    reader: ByteReader<'a>,
    next_index: i32,
    ended: bool,
}

impl<'a> RecordIter<'a> {
    fn read(&mut self, index: i32) -> Result<RecordView<'a>, &'static str> {
        let raw = RawView::read(&mut self.reader)?;
        if !(0..=self.records.last_offset_delta).contains(&raw.offset_delta) {
            return Err("its offset lies outside the batch");
        }
        Ok(RecordView {
            index,
            offset: self.records.base_offset.plus(i64::from(raw.offset_delta)),
            timestamp: self
                .records
                .log_append_time
                .unwrap_or(self.records.base_timestamp.wrapping_add(raw.timestamp_delta)),
            key: raw.key,
            value: raw.value,
            raw_headers: raw.headers,
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let index = self.next_index;
        if index == self.records.record_count {
            self.ended = true;
            return (!self.reader.is_empty())
                .then_some(Err(BatchError::Header("there are more bytes than records")));
        }
        self.next_index += 1;
        let record = self.read(index).map_err(|reason| BatchError::Record { index, reason });
        self.ended = record.is_err();
        Some(record)
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordView<'a> {
    /// Its position in the batch, from 0.
    pub index: i32,
    /// Its offset, absolute by the batch's base offset.
    pub offset: Offset,
    /// Its timestamp, or the batch's if the broker set it.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    raw_headers: RawHeaders<'a>,
}

impl<'a> RecordView<'a> {
    /// The headers: key (UTF-8 by custom, unchecked) and value.
    pub fn headers(&self) -> HeaderIter<'a> {
        self.raw_headers.iter()
    }

    /// The headers region as it stands: varint count, then the headers.
    pub fn raw_headers(&self) -> RawHeaders<'a> {
        self.raw_headers
    }
}

/// A record's headers in the v2 layout, framing checked: varint count, then for each a
/// varint-prefixed key and a varint-prefixed value (-1 for null).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawHeaders<'a> {
    count: i32,
    /// With the count.
    bytes: &'a [u8],
    /// Without it.
    headers: &'a [u8],
}

impl<'a> RawHeaders<'a> {
    /// No headers.
    pub const NONE: RawHeaders<'static> = RawHeaders { count: 0, bytes: &[0], headers: &[] };

    /// Checks that `bytes` are a headers region and nothing else.
    pub fn parse(bytes: &'a [u8]) -> Result<RawHeaders<'a>, BatchError> {
        let invalid = |reason| BatchError::Record { index: 0, reason };
        let mut reader = ByteReader::new(bytes);
        let count = skip_headers(&mut reader).map_err(invalid)?;
        if !reader.is_empty() {
            return Err(invalid("bytes follow its headers"));
        }
        Ok(RawHeaders::checked(count, bytes))
    }

    fn checked(count: i32, bytes: &'a [u8]) -> RawHeaders<'a> {
        let mut reader = ByteReader::new(bytes);
        reader.varint().expect("the count was read before");
        RawHeaders { count, bytes, headers: reader.rest() }
    }

    /// The region: count and headers.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many headers there are.
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// The headers in order.
    pub fn iter(&self) -> HeaderIter<'a> {
        HeaderIter { reader: ByteReader::new(self.headers) }
    }
}

/// Iterates over headers whose framing has been checked.
#[derive(Clone, Debug)]
pub struct HeaderIter<'a> {
    reader: ByteReader<'a>,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = nullable_bytes(&mut self.reader)??;
        let value = nullable_bytes(&mut self.reader)?;
        Some((key, value))
    }
}

impl std::iter::FusedIterator for HeaderIter<'_> {}

/// A record with its deltas as they stand.
pub(super) struct RawView<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: RawHeaders<'a>,
}

impl<'a> RawView<'a> {
    fn read(reader: &mut ByteReader<'a>) -> Result<RawView<'a>, &'static str> {
        let framed = Framed::read(reader)?;
        Ok(RawView {
            timestamp_delta: framed.timestamp_delta,
            offset_delta: framed.offset_delta,
            key: framed.key,
            value: framed.value,
            headers: RawHeaders::checked(framed.header_count, framed.headers),
        })
    }
}

/// One record's framing, all of it checked: what the produce path looks at.
pub(super) struct Framed<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    header_count: i32,
    headers: &'a [u8],
}

impl<'a> Framed<'a> {
    /// Reads one record off the front of `reader`, headers included.
    #[inline]
    pub(super) fn read(reader: &mut ByteReader<'a>) -> Result<Framed<'a>, &'static str> {
        let length = reader.varint().ok_or("its length is cut off")?;
        let length = usize::try_from(length).map_err(|_| "its length is negative")?;
        let mut body = ByteReader::new(reader.take(length).ok_or("it is cut off")?);
        let _attributes = body.u8().ok_or("it has no attributes")?;
        let timestamp_delta = body.varlong().ok_or("its timestamp is malformed")?;
        let offset_delta = body.varint().ok_or("its offset is malformed")?;
        let key = nullable_bytes(&mut body).ok_or("its key is malformed")?;
        let value = nullable_bytes(&mut body).ok_or("its value is malformed")?;
        let headers = body.rest();
        let header_count = match *headers {
            // By far the most usual: no headers.
            [0] => 0,
            _ => {
                let count = skip_headers(&mut body)?;
                if !body.is_empty() {
                    return Err("bytes follow its headers");
                }
                count
            }
        };
        Ok(Framed { timestamp_delta, offset_delta, key, value, header_count, headers })
    }
}

/// `None` if malformed, `Some(None)` if null. Any negative length is null, as in Kafka's
/// `DefaultRecord`.
#[inline]
fn nullable_bytes<'a>(reader: &mut ByteReader<'a>) -> Option<Option<&'a [u8]>> {
    let length = reader.varint()?;
    match usize::try_from(length) {
        Ok(length) => reader.take(length).map(Some),
        Err(_) => Some(None),
    }
}

/// Walks over a headers region and gives their count. A count too large for the bytes fails at the
/// first header that is not there.
fn skip_headers(reader: &mut ByteReader<'_>) -> Result<i32, &'static str> {
    let count = reader.varint().ok_or("its header count is malformed")?;
    if count < 0 {
        return Err("its header count is negative");
    }
    for _ in 0..count {
        let key = nullable_bytes(reader).ok_or("a header's key is malformed")?;
        if key.is_none() {
            return Err("a header's key is null");
        }
        nullable_bytes(reader).ok_or("a header's value is malformed")?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
