//! The circuit breaker: notices that a deployment fails too many of its records, before it has turned a whole topic
//! into dead letters. Pure: moments come in as values.

use super::definition::BreakerPolicy;
use tokio::time::Instant;

/// Counts what becomes of records within a window of time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker {
    policy: BreakerPolicy,
    since: Instant,
    records: u64,
    failures: u64,
}

impl Breaker {
    pub(super) fn new(policy: BreakerPolicy, now: Instant) -> Breaker {
        Breaker { policy, since: now, records: 0, failures: 0 }
    }

    /// Records have been dealt with, of which so many failed for good; answers why it is enough, if it is.
    pub(super) fn saw(&mut self, now: Instant, records: u64, failures: u64) -> Option<String> {
        let window = std::time::Duration::from_millis(self.policy.window_ms);
        if now.duration_since(self.since) >= window {
            *self = Breaker::new(self.policy, now);
        }
        self.records += records;
        self.failures += failures;
        let BreakerPolicy { failures_percent, failures_min, window_ms } = self.policy;
        let is_enough = failures_percent > 0
            && self.failures >= failures_min
            && self.failures.saturating_mul(100) >= self.records.saturating_mul(u64::from(failures_percent));
        is_enough.then(|| {
            let (failures, records) = (self.failures, self.records);
            format!("{failures} of {records} records failed within {window_ms} ms")
        })
    }
}

#[cfg(test)]
mod tests;
