//! A task's layers above its part of the cache: what reads see and where writes go.
//!
//! From the top: the call that runs, the unit that is being put together, the units that are being committed, the
//! cache. A lock holds all of it, since the guest's thread and the committing one meet here; what is being put into
//! the cache is put there without it.

use super::cache::{Cache, Slot};
use super::codec::{Schedule, Stored, clock_key};
use super::database::TaskKey;
use super::error::StoreError;
use super::layer::{Beneath, Change, Growth, Layer};
use super::limits::{KEY_BYTES_MAX, StateLimits, VALUE_BYTES_MAX};
use super::mark::Mark;
use super::view::{Span, View};
use crate::plugin::{KeyRange, Page, PageLimits, ScanDirection, StateError, StoreId};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

/// Whether a task's state is still its own. Held while rows of it are written, so that nobody writes after the next
/// owner has begun.
#[derive(Debug)]
pub(super) struct Ownership {
    is_current: Mutex<bool>,
}

impl Ownership {
    /// Of somebody who has just become the owner.
    pub fn new() -> Ownership {
        Ownership { is_current: Mutex::new(true) }
    }

    /// Ends it; waits for a write that is under way.
    pub fn end(&self) {
        *self.is_current.lock() = false;
    }

    /// Keeps it while the guard lives.
    pub fn hold(&self, task: &TaskKey) -> Result<MutexGuard<'_, bool>, StoreError> {
        let guard = self.is_current.lock();
        if *guard { Ok(guard) } else { Err(StoreError::Superseded { task: task.to_string() }) }
    }
}

/// What lies beneath the layers: a task's part of the cache.
#[derive(Clone)]
pub(super) struct Ground {
    pub cache: Arc<Cache>,
    pub slot: Slot,
}

impl Ground {
    /// The encoded value of a (whole) key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.cache.get(self.slot, key)
    }

    /// The stream time.
    pub fn stream_time(&self) -> Result<Option<i64>, StoreError> {
        let Some(found) = self.get(&clock_key())? else { return Ok(None) };
        let time = Stored::decode(&found).and_then(|stored| stored.clock());
        time.map(Some).map_err(|cause| self.cache.found_damaged(&cause.to_string()))
    }

    /// An encoded value of the cache or of a layer.
    pub fn decode(&self, encoded: &Bytes) -> Result<Stored, StoreError> {
        Stored::decode(encoded).map_err(|cause| self.cache.found_damaged(&cause.to_string()))
    }

    /// Puts a layer into the cache, with the mark that tells of it.
    pub fn write(&self, layer: &Layer, mark: Mark) -> Result<(), StoreError> {
        let mut batch = self.cache.batch();
        for (key, change) in layer.changes() {
            let before = change.beneath.and_then(|beneath| beneath.time);
            let after = change.now.as_deref().and_then(super::codec::time_of);
            if let Some(time) = before.filter(|_| before != after) {
                batch.remove_due(self.slot, time, key);
            }
            if let Some(time) = after {
                batch.put_due(self.slot, time, key);
            }
            match &change.now {
                Some(value) => batch.put(self.slot, key, value.clone()),
                None => batch.remove(self.slot, key),
            }
        }
        batch.put_mark(self.slot, mark);
        batch.commit()
    }
}

/// A unit that has been handed over and is not in the cache yet.
pub(super) struct Pending {
    pub number: u64,
    pub layer: Arc<Layer>,
}

/// The layers.
pub(super) struct Core {
    /// The call that runs.
    pub call: Option<Layer>,
    /// Its number; calls before it have lost their access.
    pub calls: u64,
    /// The unit that is being put together.
    pub open: Layer,
    /// The units that are being committed, the oldest first.
    pub pending: VecDeque<Pending>,
    /// How many units have been handed over.
    pub units: u64,
    /// Of what is in the cache.
    pub mark: Mark,
    /// As the open unit has it.
    pub stream_time: Option<i64>,
}

impl Core {
    /// Nothing above the cache.
    pub fn new(mark: Mark, stream_time: Option<i64>) -> Core {
        Core {
            call: None,
            calls: 0,
            open: Layer::default(),
            pending: VecDeque::new(),
            units: 0,
            mark,
            stream_time,
        }
    }

    /// Forgets everything above the cache.
    pub fn forget_layers(&mut self) {
        self.call = None;
        self.calls += 1;
        self.open = Layer::default();
        self.pending.clear();
    }

    /// Whether nothing lies above the cache.
    pub fn is_bare(&self) -> bool {
        self.call.is_none() && self.open.is_empty() && self.pending.is_empty()
    }

    /// The view from the top.
    pub fn view(&self) -> View<'_> {
        let pending = self.pending.iter().rev().map(|pending| pending.layer.as_ref());
        View::new(self.call.iter().chain([&self.open]).chain(pending))
    }

    /// How much there is, seen from the top.
    pub fn total(&self) -> Mark {
        let pending = self.pending.iter().map(|pending| pending.layer.growth());
        let growth = pending.chain([self.open.growth()]).chain(self.call.as_ref().map(Layer::growth));
        self.mark.grown(growth.fold(Growth::default(), Growth::plus))
    }

    /// What the open unit writes so far, with the call that runs.
    pub fn written_bytes(&self) -> u64 {
        self.open.written_bytes() + self.call.as_ref().map_or(0, Layer::written_bytes)
    }

    /// The encoded value of a (whole) key, expired or not.
    pub fn find(&self, ground: &Ground, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.view().newest(key) {
            Some(change) => Ok(change.now.clone()),
            None => ground.get(key),
        }
    }

    /// What a guest sees of an encoded value.
    pub fn seen(&self, ground: &Ground, found: Option<&Bytes>) -> Result<Option<Bytes>, StoreError> {
        let Some(found) = found else { return Ok(None) };
        let stored = ground.decode(found)?;
        Ok(Some(stored)
            .filter(|stored| !is_expired(stored.time, self.stream_time))
            .map(|stored| stored.value))
    }

    /// The first `limit` keys of a schedule up to a time.
    pub fn due(
        &self,
        ground: &Ground,
        schedule: (Schedule, i64),
        limit: usize,
    ) -> Result<Vec<(i64, Bytes)>, StoreError> {
        self.view().due(schedule, limit, ground.cache.due(ground.slot, schedule.0))
    }

    /// Writes to the top: the call that runs, else the open unit. `found` is what `find` said of the key.
    pub fn write(
        &mut self,
        key: Bytes,
        now: Option<Bytes>,
        found: Option<&Bytes>,
        limits: &StateLimits,
    ) -> Result<(), StateError> {
        let beneath = found.map(|found| Beneath::of(&key, found));
        let change = Change { now, beneath };
        self.check_growth(Growth::of(&key, &change), limits)?;
        let top = self.call.as_ref().unwrap_or(&self.open);
        let replaced = top.get(&key).map_or(0, |change| change.written_bytes(&key));
        let written = self.written_bytes() - replaced + change.written_bytes(&key);
        if written > limits.transaction_bytes_max {
            let bytes_max = limits.transaction_bytes_max;
            return Err(StateError::Full { what: "the transaction's part of the state", bytes_max });
        }
        self.top().change(key, change.now, change.beneath);
        Ok(())
    }

    /// Where writes go.
    pub fn top(&mut self) -> &mut Layer {
        self.call.as_mut().unwrap_or(&mut self.open)
    }

    fn check_growth(&self, growth: Growth, limits: &StateLimits) -> Result<(), StateError> {
        if growth.bytes <= 0 && growth.timers <= 0 {
            return Ok(());
        }
        let total = self.total().grown(growth);
        if growth.bytes > 0 && total.bytes > limits.state_bytes_max {
            return Err(StateError::Full { what: "the task's state", bytes_max: limits.state_bytes_max });
        }
        if growth.timers > 0 && total.timers > limits.timers_max {
            return Err(StateError::TimersFull { timers_max: limits.timers_max });
        }
        Ok(())
    }
}

/// Whether an entry is gone at a stream time.
pub(super) fn is_expired(expires: Option<i64>, stream_time: Option<i64>) -> bool {
    expires.is_some_and(|expires| stream_time.is_some_and(|now| expires <= now))
}

/// One task's state, shared by those who have a part in it.
pub(super) struct Shared {
    pub task: TaskKey,
    pub ground: Ground,
    pub ownership: Arc<Ownership>,
    pub limits: StateLimits,
    /// The stores' names, with what their keys begin with.
    pub stores: Vec<(String, Bytes)>,
    pub core: Mutex<Core>,
}

impl Shared {
    /// What the keys of a store begin with.
    pub fn prefix(&self, store: StoreId) -> Result<&Bytes, StateError> {
        let store = usize::try_from(store.0).ok().and_then(|number| self.stores.get(number));
        store
            .map(|(_, prefix)| prefix)
            .ok_or_else(|| StateError::Failed("no such store was opened".to_owned()))
    }

    /// The caller broke the order of things.
    pub fn out_of_order(&self, what: &'static str) -> StoreError {
        StoreError::OutOfOrder { task: self.task.to_string(), what }
    }
}

/// Refuses keys that may not be.
pub(super) fn check_key_size(key: &[u8]) -> Result<(), StateError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StateError::KeySize { bytes: key.len(), bytes_max: KEY_BYTES_MAX });
    }
    Ok(())
}

/// Refuses values that may not be.
pub(super) fn check_value_size(value: &[u8]) -> Result<(), StateError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StateError::ValueSize { bytes: value.len(), bytes_max: VALUE_BYTES_MAX });
    }
    Ok(())
}

/// A range of a store's keys as one of whole keys.
pub(super) struct WholeRange {
    first: Vec<u8>,
    last: Vec<u8>,
}

impl WholeRange {
    /// The range in the store whose keys begin with `prefix`.
    pub fn new(prefix: &[u8], range: &KeyRange) -> WholeRange {
        // No key is longer than the longest: what a bound has beyond one byte more decides nothing.
        let whole = |bound: &Bytes| [prefix, &bound[..bound.len().min(KEY_BYTES_MAX + 1)]].concat();
        let first = range.first.as_ref().map_or_else(|| prefix.to_vec(), whole);
        let last = range.last.as_ref().map_or_else(|| prefix_end(prefix), whole);
        WholeRange { first, last }
    }

    /// The same, borrowed.
    pub fn span(&self) -> Span<'_> {
        Span { first: &self.first, last: &self.last }
    }
}

/// The first key behind all that begin with a store's prefix.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    // Names of stores are ASCII.
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

/// Takes the first entries that are not expired, with their keys in the store, as far as the limits allow.
pub(super) fn take_seen(
    rows: impl Iterator<Item = Result<(Bytes, Bytes), StoreError>>,
    ground: &Ground,
    stream_time: Option<i64>,
    prefix: &[u8],
    limits: PageLimits,
) -> Result<Page, StateError> {
    let mut page = Page::default();
    let mut bytes = 0;
    for row in rows {
        let (key, value) = row?;
        let stored = ground.decode(&value)?;
        if is_expired(stored.time, stream_time) {
            continue;
        }
        let key = key.slice(prefix.len().min(key.len())..);
        bytes += key.len() + stored.value.len();
        let is_full = page.entries.len() >= limits.entries_max || bytes > limits.bytes_max;
        if is_full && !page.entries.is_empty() {
            page.more = true;
            break;
        }
        page.entries.push((key, stored.value));
    }
    Ok(page)
}

/// The first entries of a range as a guest sees them.
pub(super) fn scan(
    shared: &Shared,
    core: &Core,
    prefix: &[u8],
    range: &KeyRange,
    (direction, limits): (ScanDirection, PageLimits),
) -> Result<Page, StateError> {
    let range = WholeRange::new(prefix, range);
    let ground = &shared.ground;
    let base = ground.cache.scan(ground.slot, range.span(), direction);
    let view = core.view();
    let rows = view.scan(range.span(), direction, base);
    take_seen(rows, ground, core.stream_time, prefix, limits)
}
