//! Values that tasks have read or written lately, in memory, above the cache on the disk.
//!
//! What stands here is what the cache has: it is changed with each batch, before the batch is said to be done. That is
//! enough, since a task alone reads and writes its slot: until a batch is done, its changes are found in the task's
//! layers, above.

use super::cache::Slot;
use bytes::Bytes;
use foldhash::quality::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{Equivalent, Weighter};

/// What an entry weighs beside its key and value, roughly.
const ENTRY_BYTES: usize = 112;
/// Larger values are left to the cache's blocks.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// For how many entries room is made at once.
const ENTRIES_EXPECTED: usize = 16 << 10;

/// The values.
pub(super) struct HotValues {
    values: Cache<HotKey, Bytes, Weight, RandomState, DefaultLifecycle<HotKey, Bytes>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct HotKey {
    slot: u32,
    key: Box<[u8]>,
}

/// A key that is looked for.
#[derive(Hash)]
struct Wanted<'a> {
    slot: u32,
    key: &'a [u8],
}

impl Equivalent<HotKey> for Wanted<'_> {
    fn equivalent(&self, other: &HotKey) -> bool {
        self.slot == other.slot && *self.key == *other.key
    }
}

#[derive(Clone)]
struct Weight;

impl Weighter<HotKey, Bytes> for Weight {
    fn weight(&self, key: &HotKey, value: &Bytes) -> u64 {
        (ENTRY_BYTES + key.key.len() + value.len()) as u64
    }
}

impl HotValues {
    /// None yet, and never more than so many bytes.
    pub fn new(bytes_max: u64) -> HotValues {
        let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
        HotValues { values: Cache::with(ENTRIES_EXPECTED, bytes_max, Weight, hasher, lifecycle) }
    }

    /// The value under a task's key, if it is known.
    pub fn get(&self, slot: Slot, key: &[u8]) -> Option<Bytes> {
        self.values.get(&Wanted { slot: slot.0, key })
    }

    /// The cache has this value now.
    pub fn put(&self, slot: Slot, key: &[u8], value: &Bytes) {
        if value.len() > VALUE_BYTES_MAX {
            return self.remove(slot, key);
        }
        // A copy: what was read from the disk, or given by a guest, is part of something larger.
        self.values.insert(HotKey { slot: slot.0, key: key.into() }, Bytes::copy_from_slice(value));
    }

    /// The cache has no value now, or another one.
    pub fn remove(&self, slot: Slot, key: &[u8]) {
        self.values.remove(&Wanted { slot: slot.0, key });
    }
}

#[cfg(test)]
mod tests;
