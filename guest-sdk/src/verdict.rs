//! What an interceptor says about records: written straight into the flat layout `TMV1`.

use std::fmt::{self, Display, Write};

use crate::bindings::interception;
use crate::bindings::interceptor_typed::{NewRecord, Verdict as TypedVerdict};
use crate::body::{Body, Field, Parts};
use crate::input::{Reader, Record};

const HEAD_BYTES: usize = 12;
const MESSAGE_BYTES_MAX: usize = 1024;
const DROP: u8 = 1;
const REPLACE: u8 = 2;
const REJECT: u8 = 3;

/// The error code that a client gets for a rejected record. None of them makes a client send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionCode {
    /// INVALID_RECORD: the record breaks a rule.
    InvalidRecord,
    /// POLICY_VIOLATION: the record may be well made, but may not go there.
    PolicyViolation,
    /// TOPIC_AUTHORIZATION_FAILED: this client may not. On the fetch path use this one: consumers know it.
    TopicAuthorizationFailed,
}

/// What is to become of one record. It is kept as it is unless one of these is called.
#[derive(Debug)]
pub struct Verdict<'a> {
    verdicts: &'a mut Verdicts,
    index: u32,
}

impl<'a> Verdict<'a> {
    /// The record is left out. Its offset stays unused, as after compaction.
    pub fn drop(self) {
        self.begin(DROP);
    }

    /// The record is refused, and the client gets to know why. On the produce path this refuses the whole batch,
    /// as Kafka's own validation does. What is beyond 1024 bytes of the message is cut.
    pub fn reject(self, code: RejectionCode, message: impl Display) {
        let bytes = self.begin(REJECT);
        bytes.push(match code {
            RejectionCode::InvalidRecord => 0,
            RejectionCode::PolicyViolation => 1,
            RejectionCode::TopicAuthorizationFailed => 2,
        });
        let length_at = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        let mut text = Bounded { bytes, room: MESSAGE_BYTES_MAX };
        // It fails where it cuts.
        let _ = write!(text, "{message}");
        let length = (bytes.len() - length_at - 4) as u32;
        bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }

    /// The record passes with this key and value instead, in its place, with no headers and its own timestamp
    /// unless what comes back is told more. Keys and values are texts, bytes, options of those, or `()` for null.
    #[inline]
    pub fn replace(self, key: impl Field, value: impl Field) -> Replaced<'a> {
        let bytes = self.begin(REPLACE);
        let timestamp_at = bytes.len();
        bytes.extend_from_slice(&(-1i64).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        let body = Body::begin(bytes, timestamp_at + 8, key, value);
        Replaced { bytes, timestamp_at, body }
    }

    fn begin(self, kind: u8) -> &'a mut Vec<u8> {
        self.verdicts.verdict_count += 1;
        self.verdicts.bytes.extend_from_slice(&self.index.to_le_bytes());
        self.verdicts.bytes.push(kind);
        &mut self.verdicts.bytes
    }
}

/// A record just replaced: add to it what is not usual. It is complete when this goes away.
#[derive(Debug)]
pub struct Replaced<'a> {
    bytes: &'a mut Vec<u8>,
    timestamp_at: usize,
    body: Body,
}

impl Replaced<'_> {
    /// Adds a header.
    pub fn header(mut self, key: &str, value: impl Field) -> Self {
        self.body.header(self.bytes, key, value);
        self
    }

    /// Adds all headers of a record, mostly those of the one that is replaced.
    pub fn headers_of(mut self, record: &Record<'_>) -> Self {
        self.body.headers_of(self.bytes, record);
        self
    }

    /// Chooses the timestamp, in milliseconds since 1970; else it is the replaced record's.
    pub fn timestamp(self, timestamp: i64) -> Self {
        self.bytes[self.timestamp_at..self.timestamp_at + 8].copy_from_slice(&timestamp.max(0).to_le_bytes());
        self
    }
}

impl Drop for Replaced<'_> {
    #[inline]
    fn drop(&mut self) {
        self.body.end(self.bytes);
    }
}

/// The verdicts on a batch. Ready for the first one only after `clear`.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    bytes: Vec<u8>,
    capacity: usize,
    record_count: u32,
    verdict_count: u32,
}

impl Verdicts {
    /// The verdict on the next record.
    #[inline]
    pub(crate) fn of(&mut self, index: u32) -> Verdict<'_> {
        self.record_count = index + 1;
        Verdict { verdicts: self, index }
    }

    /// The flat answer. `clear` makes this one ready for the next batch.
    pub(crate) fn take_flat(&mut self) -> Vec<u8> {
        let mut flat = std::mem::take(&mut self.bytes);
        flat[..4].copy_from_slice(b"TMV1");
        flat[4..8].copy_from_slice(&self.record_count.to_le_bytes());
        flat[8..HEAD_BYTES].copy_from_slice(&self.verdict_count.to_le_bytes());
        self.capacity = flat.len();
        flat
    }

    /// The verdicts as the typed world gives them: one for each record.
    pub(crate) fn take_typed(&mut self) -> Vec<TypedVerdict> {
        let mut typed: Vec<_> = (0..self.record_count).map(|_| TypedVerdict::Keep).collect();
        let mut reader = Reader(self.bytes.get(HEAD_BYTES..).unwrap_or_default());
        while let Some((index, verdict)) = take_verdict(&mut reader) {
            if let Some(slot) = typed.get_mut(index as usize) {
                *slot = verdict;
            }
        }
        typed
    }

    /// Forgets all verdicts, and makes ready for a batch like the last one.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.reserve(self.capacity);
        self.bytes.resize(HEAD_BYTES, 0);
        (self.record_count, self.verdict_count) = (0, 0);
    }
}

fn take_verdict(reader: &mut Reader<'_>) -> Option<(u32, TypedVerdict)> {
    let index = reader.u32()?;
    let verdict = match reader.u8()? {
        DROP => TypedVerdict::Drop,
        REPLACE => {
            let timestamp = reader.i64()?;
            let body_bytes = reader.u32()?;
            let Parts { key, value, headers } = Parts::read(reader.slice(body_bytes as usize)?);
            let timestamp = (timestamp >= 0).then_some(timestamp);
            TypedVerdict::Replace(NewRecord { timestamp, key, value, headers })
        }
        _ => {
            let code = match reader.u8()? {
                0 => interception::RejectionCode::InvalidRecord,
                1 => interception::RejectionCode::PolicyViolation,
                _ => interception::RejectionCode::TopicAuthorizationFailed,
            };
            let message_bytes = reader.u32()?;
            let message = String::from_utf8_lossy(reader.slice(message_bytes as usize)?).into_owned();
            TypedVerdict::Reject(interception::Rejection { code, message })
        }
    };
    Some((index, verdict))
}

/// Text up to a length, cut between characters.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    room: usize,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let cut = &text[..text.floor_char_boundary(self.room)];
        self.bytes.extend_from_slice(cut.as_bytes());
        self.room -= cut.len();
        if cut.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
