//! Timers: entries in stores of the broker's own, by id, that stand in a schedule by their times. So they are set,
//! deleted and fired in the same transactions as everything else.

use super::codec::{Schedule, encode_value, key_in_store, store_prefix};
use super::core::{Core, Shared, check_key_size, check_value_size};
use super::error::StoreError;
use crate::plugin::{PageLimits, StateError, Timer, TimerDomain};
use bytes::Bytes;

/// The store that a domain's timers lie in.
pub(super) const fn store_of_timers(domain: TimerDomain) -> &'static str {
    match domain {
        TimerDomain::Event => "__timers-event",
        TimerDomain::Processing => "__timers-processing",
    }
}

/// The whole key of a timer.
fn timer_key((domain, id): (TimerDomain, &[u8])) -> Result<Bytes, StateError> {
    check_key_size(id)?;
    Ok(Bytes::from([&store_prefix(store_of_timers(domain))[..], id].concat()))
}

/// Sets a timer in the top layer.
pub(super) fn put_timer(
    shared: &Shared,
    core: &mut Core,
    timer: (TimerDomain, &[u8]),
    at: i64,
    payload: &[u8],
) -> Result<(), StateError> {
    check_value_size(payload)?;
    let key = timer_key(timer)?;
    let found = core.find(&shared.ground, &key)?;
    core.write(key, Some(encode_value(payload, Some(at))), found.as_ref(), &shared.limits)
}

/// Takes a timer away in the top layer.
pub(super) fn delete_timer(
    shared: &Shared,
    core: &mut Core,
    timer: (TimerDomain, &[u8]),
) -> Result<bool, StateError> {
    let key = timer_key(timer)?;
    let found = core.find(&shared.ground, &key)?;
    core.write(key, None, found.as_ref(), &shared.limits)?;
    Ok(found.is_some())
}

/// Takes a timer away as it was found to be due. One of the same id that was set since stays.
pub(super) fn fire_timer(
    shared: &Shared,
    core: &mut Core,
    domain: TimerDomain,
    timer: &Timer,
) -> Result<(), StateError> {
    let key = timer_key((domain, &timer.id))?;
    let Some(found) = core.find(&shared.ground, &key)? else { return Ok(()) };
    let stored = shared.ground.decode(&found)?;
    if (stored.time, &stored.value) != (Some(timer.at), &timer.payload) {
        return Ok(());
    }
    core.write(key, None, Some(&found), &shared.limits)
}

/// The first timers of a domain that are due at a time, by time and id: as many as the limits allow, and one at least.
pub(super) fn due_timers(
    shared: &Shared,
    core: &Core,
    (domain, now): (TimerDomain, i64),
    limits: PageLimits,
) -> Result<Vec<Timer>, StateError> {
    let due = core.due(&shared.ground, (Schedule::Timers(domain), now), limits.entries_max)?;
    let mut timers = Vec::with_capacity(due.len());
    let mut bytes = 0;
    for (at, key) in due {
        let payload = payload_of(shared, core, &key)?;
        let id = key_in_store(&key);
        bytes += id.len() + payload.len();
        if bytes > limits.bytes_max && !timers.is_empty() {
            break;
        }
        timers.push(Timer { id, at, payload });
    }
    Ok(timers)
}

fn payload_of(shared: &Shared, core: &Core, key: &[u8]) -> Result<Bytes, StoreError> {
    let cache = &shared.ground.cache;
    let found = core.find(&shared.ground, key)?;
    let found = found.ok_or_else(|| cache.found_damaged("a schedule names a timer that does not exist"))?;
    Ok(shared.ground.decode(&found)?.value)
}
