//! A layer: changes that are not in the cache yet, the last one of each key. Pure.
//!
//! Each change knows what lies beneath its layer under the same key, so that what the state weighs and which rows
//! of the schedules go is known without looking again: what lies beneath does not change as long as the layer is
//! on top of it, whether it still lies in a layer or in the cache by then.

use super::codec::{Schedule, time_of};
use super::limits::ENTRY_BYTES;
use bytes::Bytes;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// What is remembered of an entry that a change takes the place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Beneath {
    /// What it weighs.
    pub weight: u64,
    /// Its time.
    pub time: Option<i64>,
}

impl Beneath {
    /// The entry of this (whole) key and (encoded) value.
    pub fn of(key: &[u8], value: &[u8]) -> Beneath {
        Beneath { weight: weight(key, Some(value)), time: time_of(value) }
    }
}

/// What became of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Change {
    /// The value, encoded; `None` if the key was deleted.
    pub now: Option<Bytes>,
    /// What lies under the key beneath this layer.
    pub beneath: Option<Beneath>,
}

impl Change {
    /// What its record weighs.
    pub fn written_bytes(&self, key: &[u8]) -> u64 {
        weight(key, self.now.as_deref())
    }
}

/// By how much changes make a state larger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Growth {
    /// What the entries weigh.
    pub bytes: i64,
    /// How many timers there are.
    pub timers: i64,
}

impl Growth {
    /// Both together.
    pub fn plus(self, other: Growth) -> Growth {
        Growth {
            bytes: self.bytes.saturating_add(other.bytes),
            timers: self.timers.saturating_add(other.timers),
        }
    }

    fn minus(self, other: Growth) -> Growth {
        Growth {
            bytes: self.bytes.saturating_sub(other.bytes),
            timers: self.timers.saturating_sub(other.timers),
        }
    }

    /// What one change adds.
    pub fn of(key: &[u8], change: &Change) -> Growth {
        let after = change.now.as_ref().map_or(0, |now| signed(weight(key, Some(now))));
        let before = change.beneath.map_or(0, |beneath| signed(beneath.weight));
        let timers = match Schedule::of(key) {
            Schedule::Timers(_) => i64::from(change.now.is_some()) - i64::from(change.beneath.is_some()),
            Schedule::Expiry => 0,
        };
        Growth { bytes: after - before, timers }
    }
}

/// What an entry counts for.
fn weight(key: &[u8], value: Option<&[u8]>) -> u64 {
    u64::try_from(key.len() + value.map_or(0, <[u8]>::len) + ENTRY_BYTES).unwrap_or(u64::MAX)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Changes by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Layer {
    changes: BTreeMap<Bytes, Change>,
    /// The values with a time, in its order.
    scheduled: BTreeSet<(Schedule, i64, Bytes)>,
    written_bytes: u64,
    growth: Growth,
}

impl Layer {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many keys are changed.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// What its records weigh.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// By how much it makes the state larger.
    pub fn growth(&self) -> Growth {
        self.growth
    }

    /// The change of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Change> {
        self.changes.get(key)
    }

    /// All changes by key.
    pub fn changes(&self) -> &BTreeMap<Bytes, Change> {
        &self.changes
    }

    /// The values of a schedule with a time up to `until`, by time and key.
    pub fn due(&self, schedule: Schedule, until: i64) -> impl Iterator<Item = (i64, &Bytes)> {
        let from = (schedule, i64::MIN, Bytes::new());
        let in_time = move |(of, time, _): &&(Schedule, i64, Bytes)| *of == schedule && *time <= until;
        self.scheduled.range(from..).take_while(in_time).map(|(_, time, key)| (*time, key))
    }

    /// Changes a key. `beneath` is what lies under it below this layer: looked at only if the layer has not changed
    /// the key before.
    pub fn change(&mut self, key: Bytes, now: Option<Bytes>, beneath: Option<Beneath>) {
        match self.changes.entry(key) {
            Entry::Vacant(vacant) => {
                if now.is_none() && beneath.is_none() {
                    return;
                }
                let change = Change { now, beneath };
                self.growth = self.growth.plus(Growth::of(vacant.key(), &change));
                self.written_bytes += change.written_bytes(vacant.key());
                schedule(&mut self.scheduled, vacant.key(), &change);
                vacant.insert(change);
            }
            Entry::Occupied(mut occupied) => {
                let key = occupied.key().clone();
                let change = occupied.get_mut();
                self.growth = self.growth.minus(Growth::of(&key, change));
                self.written_bytes -= change.written_bytes(&key);
                if let Some(time) = change.now.as_deref().and_then(time_of) {
                    self.scheduled.remove(&(Schedule::of(&key), time, key.clone()));
                }
                if now.is_none() && change.beneath.is_none() {
                    // It came and went within this layer: nobody else ever saw it.
                    occupied.remove();
                    return;
                }
                change.now = now;
                self.growth = self.growth.plus(Growth::of(&key, change));
                self.written_bytes += change.written_bytes(&key);
                schedule(&mut self.scheduled, &key, change);
            }
        }
    }

    /// Takes over the changes of the layer right above this one.
    pub fn absorb(&mut self, above: Layer) {
        if self.is_empty() {
            *self = above;
            return;
        }
        for (key, change) in above.changes {
            self.change(key, change.now, change.beneath);
        }
    }
}

fn schedule(scheduled: &mut BTreeSet<(Schedule, i64, Bytes)>, key: &Bytes, change: &Change) {
    if let Some(time) = change.now.as_deref().and_then(time_of) {
        scheduled.insert((Schedule::of(key), time, key.clone()));
    }
}

#[cfg(test)]
mod tests;
