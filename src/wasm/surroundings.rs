//! What a processor's guest reaches while a batch is processed: its stores, its clocks, its randomness.
//!
//! All of it is there during the call only. A store that refuses ends the call: its `StateError` passes through the
//! engine as it is, and comes out as `ProcessFault::State`.

use bytes::Bytes;
use wasmtime::Store;
use wasmtime::component::Resource;

use super::bindings::flat::tidemill::plugin::{clock, random, state, timers};
use super::fault::Refused;
use super::random::SplitMix64;
use super::state::GuestState;
use crate::plugin::{
    KeyRange, NoState, PageLimits, ScanDirection, StateAccess, StoreId, Surroundings, TimerDomain,
};

/// What one call of `get-many` or `scan` gives at most: `wit/state.wit` tells it to guests.
const PAGE_LIMITS: PageLimits = PageLimits { entries_max: 1024, bytes_max: 1 << 20 };
/// Handles of stores that an instance has at a time.
const HANDLES_MAX: usize = 256;

/// A guest's handle of a store. It outlives the call that made it, and means the store of its name in each call.
pub struct StoreHandle {
    name: String,
    /// The call in which the store had this number.
    call_number: u64,
    store: StoreId,
}

/// What an instance has of its surroundings: much during a call, little between two.
#[derive(Default)]
pub(super) struct Around {
    call: Option<CallUnderWay>,
    /// The number of this call, or of the last.
    number: u64,
    handles: usize,
}

struct CallUnderWay {
    state: Box<dyn StateAccess>,
    now: i64,
    stream_time: Option<i64>,
    random: SplitMix64,
}

/// A guest's store while it has its surroundings, which get their state back whatever becomes of the call.
pub(super) struct Surrounded<'a> {
    pub(super) store: &'a mut Store<GuestState>,
    surroundings: &'a mut Surroundings,
}

impl Surrounded<'_> {
    pub(super) fn enter<'a>(
        store: &'a mut Store<GuestState>,
        surroundings: &'a mut Surroundings,
    ) -> Surrounded<'a> {
        let Surroundings { state, now, stream_time, seed } = surroundings;
        let state = std::mem::replace(state, Box::new(NoState));
        let guest = store.data_mut();
        guest.around.number += 1;
        let random = SplitMix64::new(*seed);
        guest.around.call = Some(CallUnderWay { state, now: *now, stream_time: *stream_time, random });
        guest.wall_clock.set(*now);
        guest.wasi_randomness.enter(*seed);
        Surrounded { store, surroundings }
    }
}

impl Drop for Surrounded<'_> {
    fn drop(&mut self) {
        let guest = self.store.data_mut();
        guest.wall_clock.set(0);
        guest.wasi_randomness.leave();
        if let Some(call) = guest.around.call.take() {
            self.surroundings.state = call.state;
        }
    }
}

impl Around {
    fn call(&mut self, interface: &str) -> Result<&mut CallUnderWay, Refused> {
        let outside = || {
            Refused(format!(
                "it calls `{interface}` outside of `process`; it is there only while a batch is processed"
            ))
        };
        self.call.as_mut().ok_or_else(outside)
    }
}

impl GuestState {
    /// The task's state, and the store that a handle means in it.
    fn store(&mut self, handle: &Resource<StoreHandle>) -> wasmtime::Result<(&mut dyn StateAccess, StoreId)> {
        let number = self.around.number;
        let call = self.around.call("state")?;
        let handle = self.table.get_mut(handle)?;
        if handle.call_number != number {
            handle.store = call.state.open(&handle.name)?;
            handle.call_number = number;
        }
        Ok((call.state.as_mut(), handle.store))
    }
}

impl state::Host for GuestState {}

impl state::HostStore for GuestState {
    fn new(&mut self, name: String) -> wasmtime::Result<Resource<StoreHandle>> {
        let call_number = self.around.number;
        let store = self.around.call("state")?.state.open(&name)?;
        if self.around.handles >= HANDLES_MAX {
            return Err(Refused(format!("it holds {HANDLES_MAX} handles of stores; drop some")).into());
        }
        let handle = self.table.push(StoreHandle { name, call_number, store })?;
        self.around.handles += 1;
        Ok(handle)
    }

    fn get(&mut self, store: Resource<StoreHandle>, key: Vec<u8>) -> wasmtime::Result<Option<Vec<u8>>> {
        let (state, store) = self.store(&store)?;
        Ok(state.get(store, &key)?.map(Vec::from))
    }

    fn get_many(
        &mut self,
        store: Resource<StoreHandle>,
        keys: Vec<Vec<u8>>,
    ) -> wasmtime::Result<Vec<Option<Vec<u8>>>> {
        let (state, store) = self.store(&store)?;
        let mut values = Vec::new();
        let mut bytes = 0;
        for key in keys.iter().take(PAGE_LIMITS.entries_max) {
            let value = state.get(store, key)?;
            bytes += value.as_ref().map_or(0, Bytes::len);
            if bytes > PAGE_LIMITS.bytes_max && !values.is_empty() {
                break;
            }
            values.push(value.map(Vec::from));
        }
        Ok(values)
    }

    fn put(&mut self, store: Resource<StoreHandle>, key: Vec<u8>, value: Vec<u8>) -> wasmtime::Result<()> {
        let (state, store) = self.store(&store)?;
        Ok(state.put(store, &key, &value, None)?)
    }

    fn put_until(
        &mut self,
        store: Resource<StoreHandle>,
        key: Vec<u8>,
        value: Vec<u8>,
        expires: i64,
    ) -> wasmtime::Result<()> {
        let (state, store) = self.store(&store)?;
        Ok(state.put(store, &key, &value, Some(expires))?)
    }

    fn delete(&mut self, store: Resource<StoreHandle>, key: Vec<u8>) -> wasmtime::Result<()> {
        let (state, store) = self.store(&store)?;
        Ok(state.delete(store, &key)?)
    }

    fn add(&mut self, store: Resource<StoreHandle>, key: Vec<u8>, delta: i64) -> wasmtime::Result<i64> {
        let (state, store) = self.store(&store)?;
        Ok(state.add(store, &key, delta)?)
    }

    fn scan(
        &mut self,
        store: Resource<StoreHandle>,
        range: state::KeyRange,
        direction: state::Direction,
        limit: u32,
    ) -> wasmtime::Result<state::Page> {
        let (state, store) = self.store(&store)?;
        let range = KeyRange { first: range.first.map(Bytes::from), last: range.last.map(Bytes::from) };
        let direction = match direction {
            state::Direction::Ascending => ScanDirection::Ascending,
            state::Direction::Descending => ScanDirection::Descending,
        };
        let entries_max = usize::try_from(limit)?.clamp(1, PAGE_LIMITS.entries_max);
        let page = state.scan(store, &range, direction, PageLimits { entries_max, ..PAGE_LIMITS })?;
        let entry = |(key, value): (Bytes, Bytes)| state::Entry { key: key.into(), value: value.into() };
        Ok(state::Page { entries: page.entries.into_iter().map(entry).collect(), more: page.more })
    }

    fn drop(&mut self, store: Resource<StoreHandle>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        self.around.handles -= 1;
        Ok(())
    }
}

impl timers::Host for GuestState {
    fn set(
        &mut self,
        domain: timers::Domain,
        id: Vec<u8>,
        at: i64,
        payload: Vec<u8>,
    ) -> wasmtime::Result<()> {
        let state = &mut self.around.call("timers")?.state;
        Ok(state.set_timer(domain_of(domain), &id, at.max(0), &payload)?)
    }

    fn cancel(&mut self, domain: timers::Domain, id: Vec<u8>) -> wasmtime::Result<bool> {
        Ok(self.around.call("timers")?.state.cancel_timer(domain_of(domain), &id)?)
    }
}

fn domain_of(domain: timers::Domain) -> TimerDomain {
    match domain {
        timers::Domain::EventTime => TimerDomain::Event,
        timers::Domain::ProcessingTime => TimerDomain::Processing,
    }
}

impl clock::Host for GuestState {
    fn now(&mut self) -> wasmtime::Result<i64> {
        Ok(self.around.call("clock")?.now)
    }

    fn stream_time(&mut self) -> wasmtime::Result<Option<i64>> {
        Ok(self.around.call("clock")?.stream_time)
    }
}

impl random::Host for GuestState {
    fn next(&mut self) -> wasmtime::Result<u64> {
        Ok(self.around.call("random")?.random.next())
    }
}
