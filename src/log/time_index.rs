//! Entries of a segment's `.timeindex`: up to an offset no record is younger than a timestamp.
//! Timestamps grow strictly from entry to entry; the last one is the segment's largest.

use super::index_file::IndexEntry;

/// Twelve bytes: timestamp, and offset relative to the segment's base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) relative_offset: i32,
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn get(bytes: &[u8]) -> Option<TimeEntry> {
        let (timestamp, rest) = bytes.split_first_chunk()?;
        let timestamp = i64::from_be_bytes(*timestamp);
        let relative_offset = i32::from_be_bytes(*rest.first_chunk()?);
        (relative_offset >= 0).then_some(TimeEntry { timestamp, relative_offset })
    }
}
