//! A look from outside at what is committed: the cache alone, at one moment.

use super::cache::Snapshot;
use super::codec::{Stored, check_store_name, clock_key, store_prefix};
use super::core::{Ground, WholeRange, check_key_size, is_expired, take_seen};
use super::error::StoreError;
use crate::ids::Offset;
use crate::plugin::{KeyRange, Page, PageLimits, ScanDirection, StateError};
use bytes::Bytes;

/// A task's committed state at one moment. To be dropped soon: it keeps what it sees from being removed.
/// Synchronous: for blocking threads.
pub struct StateReader {
    ground: Ground,
    snapshot: Snapshot,
    applied: Offset,
    stream_time: Option<i64>,
}

impl StateReader {
    /// A look at a task's part of the cache; `None` if it has none.
    pub(super) fn new(ground: Ground) -> Result<Option<StateReader>, StoreError> {
        let snapshot = ground.cache.snapshot();
        let Some(mark) = ground.cache.mark_in(&snapshot, ground.slot)? else { return Ok(None) };
        let clock = ground.cache.get_in(&snapshot, ground.slot, &clock_key())?;
        let clock = clock.map(|found| Stored::decode(&found).and_then(|stored| stored.clock())).transpose();
        let stream_time = clock.map_err(|cause| ground.cache.found_damaged(&cause.to_string()))?;
        Ok(Some(StateReader { ground, snapshot, applied: mark.applied, stream_time }))
    }

    /// Up to where the changelog is seen: a task that is being restored lags behind it.
    pub fn applied(&self) -> Offset {
        self.applied
    }

    /// The stream time then.
    pub fn stream_time(&self) -> Option<i64> {
        self.stream_time
    }

    /// A key's value.
    pub fn get(&self, store: &str, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        check_key_size(key)?;
        let key = [&prefix_of(store)?[..], key].concat();
        let Some(found) = self.ground.cache.get_in(&self.snapshot, self.ground.slot, &key)? else {
            return Ok(None);
        };
        let stored = self.ground.decode(&found)?;
        Ok(Some(stored)
            .filter(|stored| !is_expired(stored.time, self.stream_time))
            .map(|stored| stored.value))
    }

    /// The first entries of a range in this direction, as far as the limits allow.
    pub fn scan(
        &self,
        store: &str,
        range: &KeyRange,
        direction: ScanDirection,
        limits: PageLimits,
    ) -> Result<Page, StateError> {
        let prefix = prefix_of(store)?;
        let range = WholeRange::new(&prefix, range);
        let Ground { cache, slot } = &self.ground;
        let rows = cache.scan_in(&self.snapshot, *slot, range.span(), direction);
        take_seen(rows, &self.ground, self.stream_time, &prefix, limits)
    }
}

fn prefix_of(store: &str) -> Result<Bytes, StateError> {
    check_store_name(store).map_err(|_| StateError::UnknownStore(store.to_owned()))?;
    Ok(store_prefix(store))
}
