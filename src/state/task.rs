//! A task's state as its task uses it: calls, units, restoring.
//!
//! A call writes to a layer of its own, which is kept if the call succeeds and dropped if it fails. A unit collects
//! what its calls have kept; handed over, it is seen by the next unit until it is in the cache, where it goes once
//! its transaction is committed. After any failure everything above the cache is dropped, and what the changelog
//! has beyond the cache is applied from there, by the same function.

use super::access::CallState;
use super::codec::{ChangelogError, Schedule, StoreKind, Stored, check_record, clock_key, encode_clock};
use super::core::{Core, Pending, Shared};
use super::error::StoreError;
use super::layer::{Beneath, Layer};
use super::mark::Mark;
use super::timers::{delete_timer, due_timers, fire_timer, put_timer};
use crate::ids::Offset;
use crate::plugin::{PageLimits, StateError, Timer, TimerDomain};
use bytes::Bytes;
use parking_lot::MutexGuard;
use std::sync::Arc;

/// What restoring puts into the cache at once.
const RESTORE_BYTES: u64 = 4 << 20;

/// A record of a changelog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChangelogRecord {
    /// Where it lies.
    pub offset: Offset,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a deletion.
    pub value: Option<Bytes>,
}

/// The state of one task. Synchronous, and may touch the disk: for blocking threads.
pub struct TaskState {
    shared: Arc<Shared>,
}

impl TaskState {
    pub(super) fn new(shared: Arc<Shared>) -> TaskState {
        TaskState { shared }
    }

    /// The offset of the changelog below which everything is in the cache.
    pub fn applied(&self) -> Offset {
        self.shared.core.lock().mark.applied
    }

    /// Applies records of the changelog, in their order and as a read-committed reader sees them; `next_offset` is
    /// where to read on. To be repeated until that is the log's end; applying a record twice does no harm.
    pub fn restore(
        &mut self,
        records: impl IntoIterator<Item = ChangelogRecord>,
        next_offset: Offset,
        now: i64,
    ) -> Result<(), StoreError> {
        let shared = &self.shared;
        let _owner = shared.ownership.hold(&shared.task)?;
        let (mut mark, mut stream_time) = {
            let core = shared.core.lock();
            if !core.is_bare() {
                return Err(shared.out_of_order("restored with changes above the cache"));
            }
            (core.mark, core.stream_time)
        };
        let mut layer = Layer::default();
        for record in records {
            let offset = record.offset;
            if offset < mark.applied {
                continue;
            }
            self.fold(&mut layer, record, &mut stream_time)?;
            if layer.written_bytes() >= RESTORE_BYTES {
                mark = apply(shared, &std::mem::take(&mut layer), offset.next(), now)?;
                shared.core.lock().mark = mark;
            }
        }
        let mark = apply(shared, &layer, next_offset, now)?;
        let mut core = shared.core.lock();
        core.mark = mark;
        core.stream_time = stream_time;
        Ok(())
    }

    /// Adds a record to a layer right above the cache.
    fn fold(
        &self,
        layer: &mut Layer,
        record: ChangelogRecord,
        stream_time: &mut Option<i64>,
    ) -> Result<(), StoreError> {
        let ChangelogRecord { offset, key, value } = record;
        let foreign = |cause: ChangelogError| StoreError::Changelog {
            task: self.shared.task.to_string(),
            offset,
            cause,
        };
        let kind = check_record(key.as_ref(), value.as_ref()).map_err(foreign)?;
        let Some(key) = key else { return Ok(()) };
        if kind == StoreKind::Clock {
            let Some(value) = &value else { return Ok(()) };
            let time = Stored::decode(value).and_then(|stored| stored.clock()).map_err(foreign)?;
            if stream_time.is_some_and(|before| time <= before) {
                // It never goes back.
                return Ok(());
            }
            *stream_time = Some(time);
        }
        let beneath = match layer.get(&key) {
            Some(_) => None,
            None => self.shared.ground.get(&key)?.map(|found| Beneath::of(&key, &found)),
        };
        layer.change(key, value, beneath);
        Ok(())
    }

    /// Begins a call: the access is its way to the state. What a call before has written that was neither kept nor
    /// dropped is dropped.
    pub fn begin_call(&mut self) -> CallState {
        let mut core = self.shared.core.lock();
        core.calls += 1;
        core.call = Some(Layer::default());
        CallState::new(self.shared.clone(), core.calls)
    }

    /// Ends the call: what it has written belongs to the open unit.
    pub fn keep_call(&mut self) {
        let mut core = self.shared.core.lock();
        if let Some(call) = core.call.take() {
            core.open.absorb(call);
        }
    }

    /// Ends the call: it never wrote anything.
    pub fn drop_call(&mut self) {
        self.shared.core.lock().call = None;
    }

    /// The largest timestamp of all records that were processed, as the open unit has it.
    pub fn stream_time(&self) -> Option<i64> {
        self.shared.core.lock().stream_time
    }

    /// Moves the stream time on; it never goes back. Between calls.
    pub fn advance_stream_time(&mut self, time: i64) -> Result<(), StoreError> {
        let shared = &self.shared;
        let mut core = self.between_calls()?;
        if core.stream_time.is_some_and(|before| time <= before) {
            return Ok(());
        }
        let key = clock_key();
        let beneath = core.find(&shared.ground, &key)?.map(|found| Beneath::of(&key, &found));
        core.open.change(key, Some(encode_clock(time)), beneath);
        core.stream_time = Some(time);
        Ok(())
    }

    /// Deletes the first `limit` entries that have expired, in the open unit; answers how many there were. What is
    /// deleted depends on the state alone. Between calls.
    pub fn sweep_expired(&mut self, limit: usize) -> Result<usize, StoreError> {
        let shared = &self.shared;
        let mut core = self.between_calls()?;
        let Some(now) = core.stream_time else { return Ok(0) };
        let expired = core.due(&shared.ground, (Schedule::Expiry, now), limit)?;
        let count = expired.len();
        for (_, key) in expired {
            let beneath = core.find(&shared.ground, &key)?.map(|found| Beneath::of(&key, &found));
            core.open.change(key, None, beneath);
        }
        Ok(count)
    }

    /// Sets a timer, in the call that runs or else in the open unit; one of the same id in this domain is replaced.
    pub fn put_timer(
        &mut self,
        domain: TimerDomain,
        id: &[u8],
        at: i64,
        payload: &[u8],
    ) -> Result<(), StateError> {
        put_timer(&self.shared, &mut self.shared.core.lock(), (domain, id), at, payload)
    }

    /// Takes a timer away, in the call that runs or else in the open unit; answers whether there was one.
    pub fn delete_timer(&mut self, domain: TimerDomain, id: &[u8]) -> Result<bool, StateError> {
        delete_timer(&self.shared, &mut self.shared.core.lock(), (domain, id))
    }

    /// Takes a timer away that has fired, in the call that runs or else in the open unit. One of the same id that was set
    /// since it was found to be due stays.
    pub fn fire_timer(&mut self, domain: TimerDomain, timer: &Timer) -> Result<(), StateError> {
        fire_timer(&self.shared, &mut self.shared.core.lock(), domain, timer)
    }

    /// The first timers of a domain that are due at a time, by time and id: as many as the limits allow, and one at
    /// least. They stay until they are deleted: within the call that they set off, so that they are due again if it
    /// fails.
    pub fn due_timers(
        &self,
        domain: TimerDomain,
        now: i64,
        limits: PageLimits,
    ) -> Result<Vec<Timer>, StateError> {
        due_timers(&self.shared, &self.shared.core.lock(), (domain, now), limits)
    }

    /// When the next timer of a domain is due.
    pub fn next_timer(&self, domain: TimerDomain) -> Result<Option<i64>, StateError> {
        let core = self.shared.core.lock();
        if core.total().timers == 0 {
            return Ok(None);
        }
        let next = core.due(&self.shared.ground, (Schedule::Timers(domain), i64::MAX), 1)?;
        Ok(next.first().map(|(at, _)| *at))
    }

    /// What the open unit writes so far. It has to be handed over long before that reaches
    /// `StateLimits::transaction_bytes_max`, so that a single call has the rest.
    pub fn open_bytes(&self) -> u64 {
        self.shared.core.lock().open.written_bytes()
    }

    /// What all entries weigh, roughly, as the open unit has them.
    pub fn bytes(&self) -> u64 {
        self.shared.core.lock().total().bytes
    }

    /// How many timers there are, as the open unit has them.
    pub fn timers(&self) -> u64 {
        self.shared.core.lock().total().timers
    }

    /// Ends the open unit, for the committing stage; `None` if it has changed nothing. The next unit sees it.
    /// Between calls.
    pub fn hand_over(&mut self) -> Result<Option<PendingUnit>, StoreError> {
        let mut core = self.between_calls()?;
        if core.open.is_empty() {
            return Ok(None);
        }
        let layer = Arc::new(std::mem::take(&mut core.open));
        core.units += 1;
        let number = core.units;
        core.pending.push_back(Pending { number, layer: layer.clone() });
        Ok(Some(PendingUnit { shared: self.shared.clone(), number, layer }))
    }

    /// Drops everything above the cache; answers from where the changelog has to be read before anything else.
    pub fn rewind(&mut self) -> Result<Offset, StoreError> {
        let shared = &self.shared;
        let _owner = shared.ownership.hold(&shared.task)?;
        let stream_time = shared.ground.stream_time()?;
        let mut core = shared.core.lock();
        core.forget_layers();
        core.stream_time = stream_time;
        Ok(core.mark.applied)
    }

    fn between_calls(&self) -> Result<MutexGuard<'_, Core>, StoreError> {
        let core = self.shared.core.lock();
        if core.call.is_some() { Err(self.shared.out_of_order("a call runs")) } else { Ok(core) }
    }
}

/// Puts the lowest layer above the cache into it; answers the mark from then on. The ownership is held.
fn apply(shared: &Shared, layer: &Layer, applied: Offset, now: i64) -> Result<Mark, StoreError> {
    let before = shared.core.lock().mark;
    let mark = Mark { applied: applied.max(before.applied), applied_at: now, ..before.grown(layer.growth()) };
    shared.ground.write(layer, mark)?;
    Ok(mark)
}

/// What one unit has changed, on its way to be committed. Left without being committed, it stays in the task's view
/// until that is rewound.
pub struct PendingUnit {
    shared: Arc<Shared>,
    number: u64,
    layer: Arc<Layer>,
}

impl PendingUnit {
    /// The records for the changelog: key and value, none for a deletion; one a key.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (Bytes, Option<Bytes>)> {
        self.layer.changes().iter().map(|(key, change)| (key.clone(), change.now.clone()))
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.layer.len()
    }

    /// Never: such a unit is not handed over.
    pub fn is_empty(&self) -> bool {
        self.layer.is_empty()
    }

    /// The transaction that has the records is committed: they go into the cache. `next_offset` lies right behind
    /// the last of them in the changelog. Units come in the order in which they were handed over.
    pub fn committed(self, next_offset: Offset, now: i64) -> Result<(), StoreError> {
        let shared = &self.shared;
        let _owner = shared.ownership.hold(&shared.task)?;
        let is_first = shared.core.lock().pending.front().is_some_and(|first| first.number == self.number);
        if !is_first {
            return Err(shared.out_of_order("a unit was committed that is not the oldest pending one"));
        }
        let mark = apply(shared, &self.layer, next_offset, now)?;
        // Off the view only now, when the cache has it; and its growth with it.
        let mut core = shared.core.lock();
        core.pending.pop_front();
        core.mark = mark;
        Ok(())
    }
}
