//! Entries of a segment's `.txnindex`: the aborted transactions whose marker the segment holds, in
//! the order of the markers (Kafka's `TransactionIndex`, `AbortedTxn`).

use super::index_file::IndexEntry;
use crate::ids::{Offset, ProducerId};

/// 34 bytes: version, producer id, first offset, the marker's offset, and the last stable offset
/// right after the marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AbortedEntry {
    pub(super) producer_id: ProducerId,
    pub(super) first_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) last_stable_offset: Offset,
}

const VERSION: i16 = 0;

impl IndexEntry for AbortedEntry {
    const BYTES: usize = 34;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&VERSION.to_be_bytes());
        for number in [
            self.producer_id.value(),
            self.first_offset.value(),
            self.last_offset.value(),
            self.last_stable_offset.value(),
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn get(bytes: &[u8]) -> Option<AbortedEntry> {
        let (version, rest) = bytes.split_first_chunk()?;
        if i16::from_be_bytes(*version) != VERSION {
            return None;
        }
        let mut numbers = rest.as_chunks::<8>().0.iter().map(|number| i64::from_be_bytes(*number));
        let entry = AbortedEntry {
            producer_id: ProducerId::from_wire(numbers.next()?)?,
            first_offset: Offset::from_wire(numbers.next()?)?,
            last_offset: Offset::from_wire(numbers.next()?)?,
            last_stable_offset: Offset::from_wire(numbers.next()?)?,
        };
        // A marker follows what it ends; zeros that a crash left do not pass.
        (entry.first_offset < entry.last_offset).then_some(entry)
    }
}
