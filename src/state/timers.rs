//! Timers: entries in stores of the broker's own, by id, that stand in a schedule by their times. So they are set,
//! deleted and fired in the same transactions as everything else.

use super::codec::{Schedule, encode_value, key_in_store, store_prefix};
use super::core::{Core, Shared, check_key_size, check_value_size};
use super::error::StoreError;
use crate::plugin::StateError;
use bytes::Bytes;

/// By which time a timer is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimerDomain {
    /// By the stream time, which only records move.
    Event,
    /// By the wall clock.
    Processing,
}

impl TimerDomain {
    /// Both.
    pub const ALL: [TimerDomain; 2] = [TimerDomain::Event, TimerDomain::Processing];

    /// The store that its timers lie in.
    pub(super) const fn store(self) -> &'static str {
        match self {
            TimerDomain::Event => "__timers-event",
            TimerDomain::Processing => "__timers-processing",
        }
    }
}

/// A timer that was set and has not been deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Its name: one of a kind in its domain.
    pub id: Bytes,
    /// When it is due, in milliseconds since 1970.
    pub at: i64,
    /// What was given along.
    pub payload: Bytes,
}

/// The whole key of a timer.
fn timer_key((domain, id): (TimerDomain, &[u8])) -> Result<Bytes, StateError> {
    check_key_size(id)?;
    Ok(Bytes::from([&store_prefix(domain.store())[..], id].concat()))
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

/// The first `limit` timers of a domain that are due at a time, by time and id.
pub(super) fn due_timers(
    shared: &Shared,
    core: &Core,
    (domain, now): (TimerDomain, i64),
    limit: usize,
) -> Result<Vec<Timer>, StateError> {
    let due = core.due(&shared.ground, (Schedule::Timers(domain), now), limit)?;
    let timers = due.into_iter().map(|(at, key)| {
        let found = core.find(&shared.ground, &key)?;
        let found = found.ok_or_else(|| {
            shared.ground.cache.found_damaged("a schedule names a timer that does not exist")
        })?;
        let payload = shared.ground.decode(&found)?.value;
        Ok(Timer { id: key_in_store(&key), at, payload })
    });
    timers.collect::<Result<Vec<_>, StoreError>>().map_err(StateError::from)
}
