//! Records on their way out: written straight into the flat layout `TMO1`.

use crate::bindings::typed::RecordOut;
use crate::body::{Body, Field, Parts};
use crate::input::Record;

const RECORD_HEADER_BYTES: usize = 24;

/// Collects the records that a processor sends.
#[derive(Debug, Default)]
pub struct Output {
    topics: Vec<String>,
    /// Room for the head, then the records. The head of the last batch is the guess for the next one: when
    /// it is right, and it nearly always is, the flat output needs no further copy.
    bytes: Vec<u8>,
    head_bytes: usize,
    capacity: usize,
    record_count: u32,
    pub(crate) source_index: u32,
}

/// A record just sent: add to it what is not usual. It is complete when this goes away.
pub struct Sent<'a> {
    out: &'a mut Output,
    start: usize,
    body: Body,
}

impl Output {
    /// Sends a record to a topic. Keys and values are texts, bytes, options of those, or `()` for null.
    #[inline]
    pub fn send(&mut self, topic: &str, key: impl Field, value: impl Field) -> Sent<'_> {
        let start = self.begin(topic);
        let body = Body::begin(&mut self.bytes, start, key, value);
        Sent { out: self, start, body }
    }

    /// Sends an input record on as it is: its key, its value and its headers. This copies them as one, which is quicker
    /// than to send them one by one.
    #[inline]
    pub fn forward(&mut self, topic: &str, record: &Record<'_>) -> Sent<'_> {
        let start = self.begin(topic);
        let body = Body::begin_like(&mut self.bytes, start, record);
        Sent { out: self, start, body }
    }

    /// Writes what stands in front of a record's body; answers where.
    #[inline]
    fn begin(&mut self, topic: &str) -> usize {
        let topic_index = self.topics.iter().position(|known| known == topic).unwrap_or_else(|| {
            self.topics.push(topic.to_owned());
            self.topics.len() - 1
        });
        let start = self.bytes.len();
        let mut header = [0xff; RECORD_HEADER_BYTES];
        header[4..8].copy_from_slice(&(topic_index as u32).to_le_bytes());
        header[8..12].copy_from_slice(&self.source_index.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.record_count += 1;
        start
    }

    /// The flat output. `clear` makes this one ready for the next batch.
    pub(crate) fn take_flat(&mut self) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.head_bytes);
        head.extend_from_slice(b"TMO1");
        head.extend_from_slice(&(self.topics.len() as u32).to_le_bytes());
        head.extend_from_slice(&self.record_count.to_le_bytes());
        for topic in &self.topics {
            // Longer names are no topics: the broker says so.
            let name = &topic.as_bytes()[..topic.len().min(usize::from(u16::MAX))];
            head.extend_from_slice(&(name.len() as u16).to_le_bytes());
            head.extend_from_slice(name);
        }
        let mut flat = std::mem::take(&mut self.bytes);
        if head.len() == self.head_bytes {
            flat[..head.len()].copy_from_slice(&head);
        } else {
            flat.splice(..self.head_bytes, head.iter().copied());
            self.head_bytes = head.len();
        }
        self.capacity = flat.len();
        flat
    }

    /// The records as the typed world gives them, and this one empty again.
    pub(crate) fn take_typed(&mut self) -> Vec<RecordOut> {
        let mut rest = &self.bytes[self.head_bytes..];
        let mut typed = Vec::with_capacity(self.record_count as usize);
        while let Some((header, body)) = rest.split_first_chunk::<RECORD_HEADER_BYTES>() {
            let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
            let (body, behind) = body.split_at(u32::from_le_bytes(word(0)) as usize);
            rest = behind;
            let timestamp = i64::from_le_bytes(std::array::from_fn(|at| header[16 + at]));
            let Parts { key, value, headers } = Parts::read(body);
            typed.push(RecordOut {
                topic: self.topics[u32::from_le_bytes(word(4)) as usize].clone(),
                partition: u32::try_from(i32::from_le_bytes(word(12))).ok(),
                timestamp: (timestamp >= 0).then_some(timestamp),
                key,
                value,
                headers,
                source: u32::from_le_bytes(word(8)),
            });
        }
        self.clear();
        typed
    }

    /// Forgets all records, and makes ready for a batch like the last one.
    pub(crate) fn clear(&mut self) {
        self.topics.clear();
        self.bytes.clear();
        self.bytes.reserve(self.capacity);
        self.bytes.resize(self.head_bytes, 0);
        self.record_count = 0;
    }
}

impl Sent<'_> {
    /// Adds a header.
    pub fn header(mut self, key: &str, value: impl Field) -> Self {
        self.body.header(&mut self.out.bytes, key, value);
        self
    }

    /// Adds all headers of an input record.
    pub fn headers_of(mut self, record: &Record<'_>) -> Self {
        self.body.headers_of(&mut self.out.bytes, record);
        self
    }

    /// Chooses the partition; else it follows from the key.
    pub fn partition(self, partition: u32) -> Self {
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        self.out.bytes[self.start + 12..self.start + 16].copy_from_slice(&partition.to_le_bytes());
        self
    }

    /// Chooses the timestamp, in milliseconds since 1970; else it is the input record's.
    pub fn timestamp(self, timestamp: i64) -> Self {
        self.out.bytes[self.start + 16..self.start + 24].copy_from_slice(&timestamp.max(0).to_le_bytes());
        self
    }
}

impl Drop for Sent<'_> {
    #[inline]
    fn drop(&mut self) {
        self.body.end(&mut self.out.bytes);
    }
}
