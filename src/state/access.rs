//! What a guest's call reaches of its task's state.

use super::codec::encode_value;
use super::core::{Core, Shared, check_key_size, check_value_size, scan};
use super::timers::{delete_timer, put_timer};
use crate::plugin::{
    KeyRange, Page, PageLimits, ScanDirection, StateAccess, StateError, StoreId, TimerDomain,
};
use bytes::{Bytes, BytesMut};
use parking_lot::MutexGuard;
use std::sync::Arc;

/// A call's access to the state: goes with the call to whatever thread it runs on. It need not come back: what was
/// written through it stays with the task, which keeps or drops it, and after that the access is refused. Clones
/// reach the same call.
#[derive(Clone)]
pub struct CallState {
    shared: Arc<Shared>,
    call: u64,
    has_timers: bool,
    /// The whole key that is being looked at.
    key: BytesMut,
}

impl CallState {
    /// Access to the call of this number.
    pub(super) fn new(shared: Arc<Shared>, call: u64) -> CallState {
        CallState { shared, call, has_timers: true, key: BytesMut::new() }
    }

    fn for_timers(&self) -> Result<MutexGuard<'_, Core>, StateError> {
        if self.has_timers { during(&self.shared, self.call) } else { Err(StateError::TimersBehindFirst) }
    }

    /// Makes `self.key` the whole key; locks the layers.
    fn reach(
        &mut self,
        store: StoreId,
        key: &[u8],
    ) -> Result<(MutexGuard<'_, Core>, &Shared, &[u8]), StateError> {
        check_key_size(key)?;
        self.key.clear();
        self.key.extend_from_slice(self.shared.prefix(store)?);
        self.key.extend_from_slice(key);
        Ok((during(&self.shared, self.call)?, &self.shared, &self.key))
    }
}

/// The layers, as long as the call of this number runs.
fn during(shared: &Shared, call: u64) -> Result<MutexGuard<'_, Core>, StateError> {
    let core = shared.core.lock();
    if core.calls != call || core.call.is_none() {
        return Err(StateError::Failed("the call that this access belongs to is over".to_owned()));
    }
    Ok(core)
}

impl StateAccess for CallState {
    fn open(&mut self, name: &str) -> Result<StoreId, StateError> {
        let number = self.shared.stores.iter().position(|(store, _)| store == name);
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.map(StoreId).ok_or_else(|| StateError::UnknownStore(name.to_owned()))
    }

    fn get(&mut self, store: StoreId, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        let (core, shared, key) = self.reach(store, key)?;
        let found = core.find(&shared.ground, key)?;
        Ok(core.seen(&shared.ground, found.as_ref())?)
    }

    fn put(
        &mut self,
        store: StoreId,
        key: &[u8],
        value: &[u8],
        expires: Option<i64>,
    ) -> Result<(), StateError> {
        check_value_size(value)?;
        let (mut core, shared, key) = self.reach(store, key)?;
        let found = core.find(&shared.ground, key)?;
        let value = encode_value(value, expires);
        core.write(Bytes::copy_from_slice(key), Some(value), found.as_ref(), &shared.limits)
    }

    fn delete(&mut self, store: StoreId, key: &[u8]) -> Result<(), StateError> {
        let (mut core, shared, key) = self.reach(store, key)?;
        let found = core.find(&shared.ground, key)?;
        core.write(Bytes::copy_from_slice(key), None, found.as_ref(), &shared.limits)
    }

    fn scan(
        &mut self,
        store: StoreId,
        range: &KeyRange,
        direction: ScanDirection,
        limits: PageLimits,
    ) -> Result<Page, StateError> {
        let prefix = self.shared.prefix(store)?;
        let core = during(&self.shared, self.call)?;
        scan(&self.shared, &core, prefix, range, (direction, limits))
    }

    fn add(&mut self, store: StoreId, key: &[u8], delta: i64) -> Result<i64, StateError> {
        let (mut core, shared, key) = self.reach(store, key)?;
        let found = core.find(&shared.ground, key)?;
        let before = match core.seen(&shared.ground, found.as_ref())? {
            None => 0,
            Some(value) => {
                let counter = <[u8; 8]>::try_from(&value[..]);
                i64::from_le_bytes(counter.map_err(|_| StateError::NotACounter(value.len()))?)
            }
        };
        let after = before.wrapping_add(delta);
        let value = encode_value(&after.to_le_bytes(), None);
        core.write(Bytes::copy_from_slice(key), Some(value), found.as_ref(), &shared.limits)?;
        Ok(after)
    }

    fn set_timer(
        &mut self,
        domain: TimerDomain,
        id: &[u8],
        at: i64,
        payload: &[u8],
    ) -> Result<(), StateError> {
        let mut core = self.for_timers()?;
        put_timer(&self.shared, &mut core, (domain, id), at, payload)
    }

    fn cancel_timer(&mut self, domain: TimerDomain, id: &[u8]) -> Result<bool, StateError> {
        let mut core = self.for_timers()?;
        delete_timer(&self.shared, &mut core, (domain, id))
    }

    fn end_timers(&mut self) {
        self.has_timers = false;
    }
}
