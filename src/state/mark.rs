//! A task's mark in the cache: how far the cache has followed which changelog, and how much it holds. Pure.

use super::layer::Growth;
use crate::ids::{Offset, TopicId};

const VERSION: u8 = 1;
const MARK_BYTES: usize = 1 + 16 + 4 * 8;

/// How far the cache has come for a task: written together with what it tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The changelog's topic.
    pub topic: TopicId,
    /// Everything below it is in the cache.
    pub applied: Offset,
    /// The wall clock then, in milliseconds since 1970.
    pub applied_at: i64,
    /// What the entries weigh.
    pub bytes: u64,
    /// How many timers there are.
    pub timers: u64,
}

impl Mark {
    /// The mark of a task without state that will follow a changelog from an offset on.
    pub fn new(topic: TopicId, applied: Offset, applied_at: i64) -> Mark {
        Mark { topic, applied, applied_at, bytes: 0, timers: 0 }
    }

    /// The mark once changes are in the cache too.
    pub fn grown(self, growth: Growth) -> Mark {
        Mark {
            bytes: self.bytes.saturating_add_signed(growth.bytes),
            timers: self.timers.saturating_add_signed(growth.timers),
            ..self
        }
    }

    /// The bytes in the cache.
    pub fn encode(self) -> Vec<u8> {
        let mut encoded = Vec::with_capacity(MARK_BYTES);
        encoded.push(VERSION);
        encoded.extend_from_slice(&self.topic.bytes());
        encoded.extend_from_slice(&self.applied.value().to_be_bytes());
        encoded.extend_from_slice(&self.applied_at.to_be_bytes());
        encoded.extend_from_slice(&self.bytes.to_be_bytes());
        encoded.extend_from_slice(&self.timers.to_be_bytes());
        encoded
    }

    /// The mark of these bytes; `None` if they are none, or of another version.
    pub fn decode(encoded: &[u8]) -> Option<Mark> {
        let (version, rest) = encoded.split_first()?;
        let (topic, rest) = rest.split_first_chunk::<16>()?;
        let (applied, rest) = rest.split_first_chunk::<8>()?;
        let (applied_at, rest) = rest.split_first_chunk::<8>()?;
        let (bytes, rest) = rest.split_first_chunk::<8>()?;
        let (timers, rest) = rest.split_first_chunk::<8>()?;
        if *version != VERSION || !rest.is_empty() {
            return None;
        }
        Some(Mark {
            topic: TopicId::from_bytes(*topic)?,
            applied: Offset::from_wire(i64::from_be_bytes(*applied))?,
            applied_at: i64::from_be_bytes(*applied_at),
            bytes: u64::from_be_bytes(*bytes),
            timers: u64::from_be_bytes(*timers),
        })
    }
}

#[cfg(test)]
mod tests;
