//! What guests count by themselves, through the contract's `metrics.add`: one set for each deployment, whose instances
//! all add to it.
//!
//! Bounded, because names come from guests: what has no place of its own is counted together.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::plugin::CounterSink;

/// How many counters of its own a deployment may have.
pub const OWN_COUNTERS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
/// Where everything beyond goes: more counters, and names of other letters than `a-z0-9_`.
pub const OTHER_COUNTER: &str = "other";

/// The counters of one deployment, by name.
#[derive(Default, Debug)]
pub struct OwnCounters(Mutex<BTreeMap<String, u64>>);

impl OwnCounters {
    /// Adds to a counter, or to `other` if the name is none or one too many.
    pub fn add(&self, name: &str, value: u64) {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let is_legal = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal);
        let mut counters = self.0.lock();
        if let Some(counter) = counters.get_mut(name) {
            *counter = counter.saturating_add(value);
            return;
        }
        let name = if is_legal && counters.len() < OWN_COUNTERS_MAX { name } else { OTHER_COUNTER };
        let counter = counters.entry(name.to_owned()).or_default();
        *counter = counter.saturating_add(value);
    }

    /// All counters as they are now.
    pub fn view(&self) -> BTreeMap<String, u64> {
        self.0.lock().clone()
    }

    /// A sink by which instances add to them.
    pub fn sink(self: &Arc<Self>) -> CounterSink {
        let counters = Arc::clone(self);
        CounterSink::new(move |name, value| counters.add(name, value))
    }
}

#[cfg(test)]
mod tests;
