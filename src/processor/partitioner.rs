//! Where an output record without a named partition goes: as Kafka's Java producer would send it.
//!
//! With a key: murmur2 of the key, so that the records of a key stay together whoever writes them.
//! Without: one partition per transaction, the next one for the next (sticky, KIP-480). Pure.

use crate::ids::PartitionIndex;

/// Kafka's 32-bit murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;
    // Java's lengths are 32-bit; a longer key cannot come through the protocol.
    let mut hash = SEED ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a keyed record, as Kafka's default partitioner chooses it.
pub fn partition_for_key(key: &[u8], partitions: i32) -> Option<PartitionIndex> {
    let positive = murmur2(key) & 0x7fff_ffff;
    PartitionIndex::from_wire(positive.checked_rem(partitions)?)
}

/// Chooses partitions for records without a key: the same one until `turn` is called.
#[derive(Clone, Copy, Debug)]
pub struct StickyPartition(u32);

impl StickyPartition {
    /// Begins at the input partition's number, so that tasks spread over the output from the start.
    pub fn new(input: PartitionIndex) -> StickyPartition {
        StickyPartition(input.value().unsigned_abs())
    }

    /// The present choice among `partitions`.
    pub fn partition(self, partitions: i32) -> Option<PartitionIndex> {
        let count = u32::try_from(partitions).ok()?;
        PartitionIndex::from_wire(i32::try_from(self.0.checked_rem(count)?).ok()?)
    }

    /// Moves on to the next partition.
    pub fn turn(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
