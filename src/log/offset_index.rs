//! Entries of a segment's `.index`: where in the segment a batch begins, for about every
//! `index.interval.bytes`. As in Kafka the offset is that of the batch's last record.

use super::index_file::IndexEntry;

/// Eight bytes: offset relative to the segment's base, and position.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct OffsetEntry {
    pub(super) relative_offset: i32,
    pub(super) position: i32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn get(bytes: &[u8]) -> Option<OffsetEntry> {
        let (relative_offset, rest) = bytes.split_first_chunk()?;
        let relative_offset = i32::from_be_bytes(*relative_offset);
        let position = i32::from_be_bytes(*rest.first_chunk()?);
        // A segment's first batch has no entry; zeros that a crash left do not pass.
        (relative_offset >= 0 && position > 0).then_some(OffsetEntry { relative_offset, position })
    }
}
