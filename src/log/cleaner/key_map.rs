//! The last offset of each key of a log's dirty part, within bounded memory (Kafka's
//! `SkimpyOffsetMap`). Holds no keys, only their hashes; touches no files.
//!
//! Two keys of one hash would make compaction lose a record. The hash is 128 bits of SHA-256 over a secret
//! of this pass and the key: with the 2^32 keys that no buffer holds the chance is below 2^-64, and
//! who writes the keys cannot search for such a pair without the secret.

use std::hash::{BuildHasher, Hasher, RandomState};

use sha2::{Digest, Sha256};

use crate::ids::Offset;

/// What one key takes.
pub(super) const SLOT_BYTES: usize = size_of::<Slot>();

/// Of this many slots ...
const LOAD_SLOTS: usize = 4;
/// ... so many are used at most, so that a search ends soon.
const LOAD_USED: usize = 3;

#[derive(Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// `FREE`, or the last offset of the key.
    offset: i64,
}

const FREE: i64 = -1;

/// Keys with their last offsets.
pub(super) struct KeyMap {
    slots: Vec<Slot>,
    used: usize,
    secret: [u64; 2],
}

/// Whether a key found room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Put {
    Done,
    /// It is a new key, and there is no room for another.
    Full,
}

impl KeyMap {
    /// A map that takes at most `bytes_max`, and no more than `keys_max` keys need; at least one key fits.
    pub(super) fn new(bytes_max: usize, keys_max: u64) -> KeyMap {
        let wanted = usize::try_from(keys_max).unwrap_or(usize::MAX).saturating_mul(LOAD_SLOTS) / LOAD_USED;
        let slots = (bytes_max / SLOT_BYTES).min(wanted.saturating_add(1)).max(2);
        let random = || RandomState::new().build_hasher().finish();
        KeyMap {
            slots: vec![Slot { hash: [0; 2], offset: FREE }; slots],
            used: 0,
            secret: [random(), random()],
        }
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Notes that the key was written at `offset`, the largest so far.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> Put {
        let hash = self.hash(key);
        let at = self.find(hash);
        let is_full = self.used * LOAD_SLOTS >= self.slots.len() * LOAD_USED;
        let Some(slot) = self.slots.get_mut(at) else { return Put::Full };
        if slot.offset == FREE {
            if is_full {
                return Put::Full;
            }
            self.used += 1;
        }
        *slot = Slot { hash, offset: offset.value() };
        Put::Done
    }

    /// The last offset of the key, if it is in the map.
    pub(super) fn last_offset(&self, key: &[u8]) -> Option<Offset> {
        if self.used == 0 {
            return None;
        }
        let slot = self.slots.get(self.find(self.hash(key)))?;
        Offset::from_wire(slot.offset)
    }

    /// Where the hash stands, or the free slot where it would.
    fn find(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len() as u64;
        let start = usize::try_from(hash[0] % count).unwrap_or(0);
        let order = (start..self.slots.len()).chain(0..start);
        let ends =
            |at: &usize| self.slots.get(*at).is_none_or(|slot| slot.offset == FREE || slot.hash == hash);
        order.into_iter().find(ends).unwrap_or(self.slots.len())
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let mut hasher = Sha256::new();
        hasher.update(self.secret[0].to_be_bytes());
        hasher.update(self.secret[1].to_be_bytes());
        hasher.update(key);
        let digest = hasher.finalize();
        let (halves, _) = digest.as_slice().as_chunks::<8>();
        let half = |index: usize| halves.get(index).map_or(0, |bytes| u64::from_be_bytes(*bytes));
        [half(0), half(1)]
    }
}

#[cfg(test)]
mod tests;
