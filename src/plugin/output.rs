//! What comes out of a call: one run of bytes in the flat layout of `wit/FLAT.md`, checked once, then
//! lent out record by record. Bodies are v2 fields, so that a batch can be built by copying them.

use bytes::Bytes;

use crate::ids::PartitionIndex;
use crate::plugin::reader::Reader;
use crate::plugin::varint;

/// The first bytes of a flat output; the digit is the layout's version.
pub(crate) const OUTPUT_MAGIC: [u8; 4] = *b"TMO1";
/// The fixed part in front of each record's body.
pub(crate) const OUTPUT_RECORD_HEADER_BYTES: usize = 24;
/// Kafka's own bound on the length of a topic's name.
const TOPIC_NAME_BYTES_MAX: usize = 249;
/// The smallest body: a null key, a null value, no headers.
const BODY_BYTES_MIN: usize = 3;

/// Why a guest's output is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOutput(pub String);

/// A guest's output, already checked: every record can be lent out without a further check.
#[derive(Clone, Debug, Default)]
pub struct OutputBatch {
    bytes: Bytes,
    topics: Vec<Span>,
    records: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    bytes: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    topic_index: u32,
    source_index: u32,
    partition: Option<PartitionIndex>,
    timestamp: Option<i64>,
    body: Span,
    key: Option<Span>,
    value: Option<Span>,
    headers: Span,
    header_field: Span,
    header_count: u32,
}

/// One output record, borrowing from the guest's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputRecord<'a> {
    /// The topic to write to.
    pub topic: &'a str,
    /// The topic's index in `OutputBatch::topics`: for grouping without comparing names.
    pub topic_index: u32,
    /// The partition, if the guest chose one.
    pub partition: Option<PartitionIndex>,
    /// The timestamp, if the guest chose one; else the source record's.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in the v2 layout.
    pub headers: RawHeaders<'a>,
    /// Key, value and headers as they stand in a v2 record, from the key's length on.
    pub body: &'a [u8],
    /// The index of the input record that this comes from.
    pub source_index: u32,
}

/// What a v2 record holds besides its place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    /// The key.
    pub(crate) key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub(crate) value: Option<&'a [u8]>,
    /// The headers.
    pub(crate) headers: RawHeaders<'a>,
}

/// A record's headers in the v2 layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawHeaders<'a> {
    /// How many there are.
    pub count: u32,
    /// The headers, without the count in front.
    pub bytes: &'a [u8],
    /// Count and headers, as they stand in a v2 record.
    pub field: &'a [u8],
}

impl<'a> RawHeaders<'a> {
    /// No headers.
    pub const NONE: RawHeaders<'static> = RawHeaders { count: 0, bytes: &[], field: &[0] };

    /// Checks a headers field (count and headers) that fills `bytes`.
    pub(crate) fn check(mut bytes: &'a [u8]) -> Result<RawHeaders<'a>, &'static str> {
        let field = bytes;
        let count = varint::take_i32(&mut bytes).ok_or("its count of headers cannot be read")?;
        let count = u32::try_from(count).map_err(|_| "its count of headers is negative")?;
        let headers = RawHeaders { count, bytes, field };
        for _ in 0..count {
            let key = varint::take_nullable(&mut bytes).ok_or("a header's key cannot be read")?;
            let key = key.ok_or("a header's key is null")?;
            std::str::from_utf8(key).map_err(|_| "a header's key is not UTF-8")?;
            varint::take_nullable(&mut bytes).ok_or("a header's value cannot be read")?;
        }
        if bytes.is_empty() { Ok(headers) } else { Err("bytes lie behind its last header") }
    }

    /// The headers one by one.
    pub fn iter(&self) -> Headers<'a> {
        Headers { left: self.count, rest: self.bytes }
    }
}

/// Iterates over checked headers.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = varint::take_nullable(&mut self.rest)??;
        let value = varint::take_nullable(&mut self.rest)?;
        Some((std::str::from_utf8(key).ok()?, value))
    }
}

impl OutputBatch {
    /// Checks a guest's flat output against the number of records that went in. One pass; nothing is
    /// copied, and nothing is allocated that the bytes do not account for.
    pub fn check(bytes: Bytes, source_records: u32) -> Result<OutputBatch, BadOutput> {
        let mut reader = Reader::new(&bytes);
        let start = |at: usize| BadOutput(format!("it ends within its header, at byte {at}"));
        let magic = reader.take::<4>().ok_or_else(|| start(0))?;
        if magic != OUTPUT_MAGIC {
            return Err(BadOutput(format!("it starts with {magic:02x?}, not with `TMO1`")));
        }
        let topic_count = reader.u32().ok_or_else(|| start(4))?;
        let record_count = reader.u32().ok_or_else(|| start(8))?;
        let topics = check_topics(&mut reader, topic_count)?;
        let least = OUTPUT_RECORD_HEADER_BYTES + BODY_BYTES_MIN;
        let room = reader.left() / least;
        if usize::try_from(record_count).map_or(true, |count| count > room) {
            return Err(BadOutput(format!(
                "it announces {record_count} records, and has bytes for at most {room}"
            )));
        }
        let mut records = Vec::with_capacity(room.min(record_count as usize));
        for index in 0..record_count {
            let entry = check_record(&mut reader, topic_count, source_records)
                .map_err(|what| BadOutput(format!("output record {index}: {what}")))?;
            records.push(entry);
        }
        if reader.left() > 0 {
            return Err(BadOutput(format!("{} bytes lie behind its last record", reader.left())));
        }
        Ok(OutputBatch { topics, records, bytes })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether the guest wrote nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The guest's bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The topics that records name by their `topic_index`.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|&span| self.text(span))
    }

    /// The records in the order in which the guest wrote them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = OutputRecord<'_>> {
        self.records.iter().map(|entry| OutputRecord {
            topic: self.topics.get(entry.topic_index as usize).map_or("", |&span| self.text(span)),
            topic_index: entry.topic_index,
            partition: entry.partition,
            timestamp: entry.timestamp,
            key: entry.key.map(|span| self.slice(span)),
            value: entry.value.map(|span| self.slice(span)),
            headers: RawHeaders {
                count: entry.header_count,
                bytes: self.slice(entry.headers),
                field: self.slice(entry.header_field),
            },
            body: self.slice(entry.body),
            source_index: entry.source_index,
        })
    }

    fn slice(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        self.bytes.get(start..start + span.bytes as usize).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

fn check_topics(reader: &mut Reader<'_>, topic_count: u32) -> Result<Vec<Span>, BadOutput> {
    let mut topics = Vec::new();
    for index in 0..topic_count {
        let bad = |what: &str| BadOutput(format!("output topic {index} {what}"));
        let bytes = reader.take::<2>().map(u16::from_le_bytes).ok_or_else(|| bad("is cut short"))?;
        let start = reader.at;
        let name = reader.slice(usize::from(bytes)).ok_or_else(|| bad("is cut short"))?;
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() || name.len() > TOPIC_NAME_BYTES_MAX || !name.iter().all(legal) {
            let shown: String = String::from_utf8_lossy(name).chars().take(64).collect();
            return Err(bad(&format!("has an illegal name {shown:?}")));
        }
        if name == b"." || name == b".." {
            return Err(bad("has an illegal name"));
        }
        topics.push(Span { start: fit(start)?, bytes: u32::from(bytes) });
    }
    Ok(topics)
}

fn check_record(reader: &mut Reader<'_>, topic_count: u32, source_records: u32) -> Result<Entry, String> {
    let cut = || "it is cut short".to_owned();
    let body_bytes = reader.u32().ok_or_else(cut)?;
    let topic_index = reader.u32().ok_or_else(cut)?;
    let source_index = reader.u32().ok_or_else(cut)?;
    let partition = reader.take::<4>().map(i32::from_le_bytes).ok_or_else(cut)?;
    let timestamp = reader.take::<8>().map(i64::from_le_bytes).ok_or_else(cut)?;
    if topic_index >= topic_count {
        return Err(format!("it names topic {topic_index} of {topic_count}"));
    }
    if source_index >= source_records {
        return Err(format!("it names source record {source_index} of {source_records}"));
    }
    if partition < -1 {
        return Err(format!("its partition is {partition}"));
    }
    if timestamp < -1 {
        return Err(format!("its timestamp is {timestamp}"));
    }
    let whole = reader.bytes;
    let body = reader
        .slice(body_bytes as usize)
        .ok_or_else(|| format!("its body has {body_bytes} bytes, and {} are left", reader.left()))?;
    let Body { key, value, headers } = read_body(body)?;
    let span = |field: &[u8]| -> Result<Span, String> {
        let start = field.as_ptr().addr() - whole.as_ptr().addr();
        Ok(Span { start: fit(start).map_err(|bad| bad.0)?, bytes: fit(field.len()).map_err(|bad| bad.0)? })
    };
    Ok(Entry {
        topic_index,
        source_index,
        partition: PartitionIndex::from_wire(partition),
        timestamp: (timestamp >= 0).then_some(timestamp),
        body: span(body)?,
        key: key.map(span).transpose()?,
        value: value.map(span).transpose()?,
        headers: span(headers.bytes)?,
        header_field: span(headers.field)?,
        header_count: headers.count,
    })
}

/// The parts of a v2 record from its key's length to its last header, all checked.
pub(crate) fn read_body(mut body: &[u8]) -> Result<Body<'_>, &'static str> {
    let key = varint::take_nullable(&mut body).ok_or("its key cannot be read")?;
    let value = varint::take_nullable(&mut body).ok_or("its value cannot be read")?;
    Ok(Body { key, value, headers: RawHeaders::check(body)? })
}

/// Appends a v2 record's parts from its key's length to its last header.
pub(crate) fn put_body<'a>(
    out: &mut Vec<u8>,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl ExactSizeIterator<Item = (&'a str, Option<&'a [u8]>)>,
) {
    varint::put_nullable(out, key);
    varint::put_nullable(out, value);
    varint::put(out, i64::try_from(headers.len()).unwrap_or(i64::MAX));
    for (key, value) in headers {
        varint::put_nullable(out, Some(key.as_bytes()));
        varint::put_nullable(out, value);
    }
}

fn fit(value: usize) -> Result<u32, BadOutput> {
    u32::try_from(value).map_err(|_| BadOutput("it is larger than 4 GiB".to_owned()))
}

/// A record for `OutputBuilder`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewOutput<'a> {
    /// The topic to write to.
    pub topic: &'a str,
    /// The partition, if it is to be a certain one.
    pub partition: Option<PartitionIndex>,
    /// The timestamp, if it is not the source record's.
    pub timestamp: Option<i64>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// The index of the input record that this comes from.
    pub source_index: u32,
}

/// Writes the flat output layout: for hosts whose guests answer with typed records, and for tests.
#[derive(Clone, Debug, Default)]
pub struct OutputBuilder {
    topics: Vec<String>,
    records: Vec<u8>,
    record_count: u32,
}

impl OutputBuilder {
    /// An output without records.
    pub fn new() -> OutputBuilder {
        OutputBuilder::default()
    }

    /// How many bytes the output has so far.
    pub fn len_bytes(&self) -> usize {
        12 + self.topics.iter().map(|topic| 2 + topic.len()).sum::<usize>() + self.records.len()
    }

    /// Adds a record.
    pub fn push(&mut self, record: NewOutput<'_>) {
        let topic_index = self.topics.iter().position(|topic| topic == record.topic).unwrap_or_else(|| {
            self.topics.push(record.topic.to_owned());
            self.topics.len() - 1
        });
        let start = self.records.len();
        let out = &mut self.records;
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&u32::try_from(topic_index).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&record.source_index.to_le_bytes());
        out.extend_from_slice(&record.partition.map_or(-1, PartitionIndex::value).to_le_bytes());
        out.extend_from_slice(&record.timestamp.unwrap_or(-1).to_le_bytes());
        put_body(out, record.key, record.value, record.headers.iter().copied());
        let body_bytes = out.len() - start - OUTPUT_RECORD_HEADER_BYTES;
        let body_bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        if let Some(field) = out.get_mut(start..start + 4) {
            field.copy_from_slice(&body_bytes.to_le_bytes());
        }
        self.record_count = self.record_count.saturating_add(1);
    }

    /// The output, checked like any other.
    pub fn build(self, source_records: u32) -> Result<OutputBatch, BadOutput> {
        let mut out = Vec::with_capacity(self.len_bytes());
        out.extend_from_slice(&OUTPUT_MAGIC);
        out.extend_from_slice(&u32::try_from(self.topics.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&self.record_count.to_le_bytes());
        for topic in &self.topics {
            let name = topic.as_bytes().get(..usize::from(u16::MAX)).unwrap_or(topic.as_bytes());
            out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
            out.extend_from_slice(name);
        }
        out.extend_from_slice(&self.records);
        OutputBatch::check(Bytes::from(out), source_records)
    }
}

#[cfg(test)]
mod tests;
