//! What an attachment's instances have done, all together, since the broker started or the attachment was
//! last replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::plugin::{Direction, OwnCounters, Verdict, Verdicts};

#[derive(Default, Debug)]
pub(super) struct Counters {
    produce: PerDirection,
    fetch: PerDirection,
    faults: AtomicU64,
    passed_open: AtomicU64,
    acknowledged: AtomicU64,
    acknowledgements_lost: AtomicU64,
    last_fault: Mutex<Option<String>>,
    pub(super) own: Arc<OwnCounters>,
}

#[derive(Default, Debug)]
struct PerDirection {
    batches: AtomicU64,
    kept: AtomicU64,
    replaced: AtomicU64,
    dropped: AtomicU64,
    rejected: AtomicU64,
    nanoseconds: AtomicU64,
}

/// An attachment's counters at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CountersView {
    /// On the way in.
    pub produce: DirectionView,
    /// On the way out.
    pub fetch: DirectionView,
    /// Calls that ended in a fault.
    pub faults: u64,
    /// Batches that passed unjudged because the attachment fails open.
    pub passed_open: u64,
    /// Batches whose acknowledgement was told.
    pub acknowledged: u64,
    /// Batches whose acknowledgement was lost in a fault.
    pub acknowledgements_lost: u64,
    /// The last fault in words.
    pub last_fault: Option<String>,
    /// What the module counts by itself.
    pub own: BTreeMap<String, u64>,
}

/// Batches and records of one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DirectionView {
    /// Batches judged.
    pub batches: u64,
    /// Records that passed as they were.
    pub kept: u64,
    /// Records that were replaced.
    pub replaced: u64,
    /// Records that were left out.
    pub dropped: u64,
    /// Records that were refused.
    pub rejected: u64,
    /// How long judging took, waits for the thread included.
    pub microseconds: u64,
}

impl Counters {
    pub(super) fn judged(
        &self,
        direction: Direction,
        record_count: u32,
        verdicts: &Verdicts,
        took: Duration,
    ) {
        let (mut replaced, mut dropped, mut rejected) = (0, 0, 0);
        for (_, verdict) in verdicts.iter() {
            match verdict {
                Verdict::Drop => dropped += 1,
                Verdict::Replace { .. } => replaced += 1,
                Verdict::Reject { .. } => rejected += 1,
            }
        }
        let counters = match direction {
            Direction::Produce => &self.produce,
            Direction::Fetch => &self.fetch,
        };
        add(&counters.batches, 1);
        add(&counters.kept, u64::from(record_count).saturating_sub(replaced + dropped + rejected));
        add(&counters.replaced, replaced);
        add(&counters.dropped, dropped);
        add(&counters.rejected, rejected);
        add(&counters.nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn fault(&self, message: &str) {
        add(&self.faults, 1);
        *self.last_fault.lock() = Some(message.to_owned());
    }

    pub(super) fn passed_open(&self) {
        add(&self.passed_open, 1);
    }

    pub(super) fn acknowledged(&self, batches: usize) {
        add(&self.acknowledged, batches as u64);
    }

    pub(super) fn acknowledgements_lost(&self, batches: usize) {
        add(&self.acknowledgements_lost, batches as u64);
    }

    pub(super) fn view(&self) -> CountersView {
        CountersView {
            produce: self.produce.view(),
            fetch: self.fetch.view(),
            faults: get(&self.faults),
            passed_open: get(&self.passed_open),
            acknowledged: get(&self.acknowledged),
            acknowledgements_lost: get(&self.acknowledgements_lost),
            last_fault: self.last_fault.lock().clone(),
            own: self.own.view(),
        }
    }
}

impl PerDirection {
    fn view(&self) -> DirectionView {
        DirectionView {
            batches: get(&self.batches),
            kept: get(&self.kept),
            replaced: get(&self.replaced),
            dropped: get(&self.dropped),
            rejected: get(&self.rejected),
            microseconds: get(&self.nanoseconds) / 1000,
        }
    }
}

fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
