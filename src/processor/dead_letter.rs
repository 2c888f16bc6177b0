//! The dead letter: a record that could not be processed, as it was, with headers that say why.
//!
//! Written in the same transaction as the offset that passes over it, so that a record is either
//! processed or here, never both and never neither. Our headers come after the record's own. A timer that fails is
//! one as well: its id as key, its payload as value, its time, its domain in a header, and no offset.

use super::unit::Unit;
use crate::ids::TopicPartition;
use crate::plugin::{InputRecord, TimerDomain};
use crate::wire::record_batch::{RawHeaders, RawRecord};
use crate::wire::varint::{put_varint, varint_bytes};

/// The longest error text in a header.
const MESSAGE_BYTES_MAX: usize = 2 << 10;

/// Why a record is a dead letter, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// What happened.
    pub message: &'a str,
    /// The kind of failure.
    pub code: &'a str,
    /// The partition that it was read from.
    pub source: &'a TopicPartition,
    /// The processor.
    pub processor: &'a str,
    /// The digest of its module.
    pub module: &'a str,
    /// How often it was tried.
    pub attempts: u32,
    /// The domain of the timer that it is, if it is no record.
    pub timer: Option<TimerDomain>,
}

/// Adds the record with the reason to the unit.
pub fn write_dead_letter(
    unit: &mut Unit,
    to: &TopicPartition,
    record: &InputRecord<'_>,
    letter: &DeadLetter<'_>,
) {
    let end = letter.message.floor_char_boundary(MESSAGE_BYTES_MAX);
    let numbers =
        [letter.source.partition.to_string(), record.offset.to_string(), letter.attempts.to_string()];
    let [partition, offset, attempts] = &numbers;
    let origin = match letter.timer {
        None => ("__tidemill.error.offset", offset.as_str()),
        Some(domain) => ("__tidemill.error.timer", domain.name()),
    };
    let ours = [
        ("__tidemill.error.message", letter.message.get(..end).unwrap_or_default()),
        ("__tidemill.error.code", letter.code),
        ("__tidemill.error.topic", letter.source.topic.as_str()),
        ("__tidemill.error.partition", partition),
        origin,
        ("__tidemill.error.processor", letter.processor),
        ("__tidemill.error.module", letter.module),
        ("__tidemill.error.attempts", attempts),
    ];
    let count = record.headers.count.saturating_add(u32::try_from(ours.len()).unwrap_or(0));
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let mut headers = Vec::with_capacity(varint_bytes(count) + record.headers.bytes.len() + 512);
    put_varint(&mut headers, count);
    headers.extend_from_slice(record.headers.bytes);
    for (key, value) in ours {
        for text in [key, value] {
            put_varint(&mut headers, i32::try_from(text.len()).unwrap_or(0));
            headers.extend_from_slice(text.as_bytes());
        }
    }
    let headers = RawHeaders::parse(&headers).unwrap_or(RawHeaders::NONE);
    let body = RawRecord { timestamp: record.timestamp, key: record.key, value: record.value, headers };
    unit.append(to, body);
}
