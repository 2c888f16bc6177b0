//! How use is measured: a rate over a sliding window of samples, and a bucket of tokens.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::quota::{QuotaValue, Window};

/// A rate a second over the last samples (Kafka's `Rate` over a `SampledStat`).
///
/// As long as fewer samples have passed than it remembers, the missing ones count as empty: a burst
/// at the start is spread over the window.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct SlidingRate {
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Sample {
    start_ms: i64,
    last_ms: i64,
    sum: f64,
}

/// A duration of whole milliseconds; none for what is less, and at most what the wire can say.
fn duration_of_ms(ms: f64) -> Duration {
    Duration::from_millis(ms.round().clamp(0.0, f64::from(i32::MAX)) as u64)
}

impl SlidingRate {
    /// Counts an amount; a negative one takes back what was counted.
    pub(super) fn record(&mut self, now: Timestamp, amount: f64, window: Window) {
        self.forget_old(now, window);
        let now_ms = now.ms();
        match self.samples.back_mut() {
            Some(sample) if now_ms.saturating_sub(sample.start_ms) < window.sample_ms => {
                sample.sum += amount;
                sample.last_ms = sample.last_ms.max(now_ms);
            }
            Some(_) | None => {
                self.samples.push_back(Sample { start_ms: now_ms, last_ms: now_ms, sum: amount });
                if self.samples.len() > window.samples as usize {
                    self.samples.pop_front();
                }
            }
        }
    }

    /// How long to wait until the rate is back at the limit; zero if it is not above it.
    pub(super) fn throttle(&mut self, now: Timestamp, limit: QuotaValue, window: Window) -> Duration {
        self.forget_old(now, window);
        let Some(elapsed_ms) = self.elapsed_ms(now, window) else { return Duration::ZERO };
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        let rate = sum / (elapsed_ms / 1000.0);
        let limit = limit.value();
        if rate > limit { duration_of_ms((rate - limit) / limit * elapsed_ms) } else { Duration::ZERO }
    }

    /// Whether nothing that it remembers counts any more.
    pub(super) fn is_idle(&mut self, now: Timestamp, window: Window) -> bool {
        self.forget_old(now, window);
        self.samples.is_empty()
    }

    fn elapsed_ms(&self, now: Timestamp, window: Window) -> Option<f64> {
        let elapsed_ms = now.ms().saturating_sub(self.samples.front()?.start_ms).max(0);
        let whole = elapsed_ms / window.sample_ms;
        let missing = (i64::from(window.samples) - 1 - whole).max(0);
        let elapsed_ms = elapsed_ms + missing * window.sample_ms;
        Some(elapsed_ms.max(window.sample_ms) as f64)
    }

    fn forget_old(&mut self, now: Timestamp, window: Window) {
        let age_max_ms = window.sample_ms.saturating_mul(i64::from(window.samples));
        let is_old = |sample: &Sample| now.ms().saturating_sub(sample.last_ms) >= age_max_ms;
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }
}

/// Tokens that come back at a rate, up to what a whole window brings (KIP-599, Kafka's `TokenBucket`).
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct TokenBucket {
    tokens: f64,
    filled_ms: i64,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(now: Timestamp, limit: QuotaValue, window: Window) -> TokenBucket {
        TokenBucket { tokens: burst(limit, window), filled_ms: now.ms() }
    }

    /// Takes tokens, more than there are if need be.
    pub(super) fn take(&mut self, now: Timestamp, tokens: f64, limit: QuotaValue, window: Window) {
        self.fill(now, limit, window);
        self.tokens -= tokens;
    }

    /// How long to wait until the bucket is no longer overdrawn.
    pub(super) fn throttle(&mut self, now: Timestamp, limit: QuotaValue, window: Window) -> Duration {
        self.fill(now, limit, window);
        duration_of_ms(-self.tokens * 1000.0 / limit.value())
    }

    /// Whether it is full.
    pub(super) fn is_idle(&mut self, now: Timestamp, limit: QuotaValue, window: Window) -> bool {
        self.fill(now, limit, window);
        self.tokens >= burst(limit, window)
    }

    fn fill(&mut self, now: Timestamp, limit: QuotaValue, window: Window) {
        let passed_ms = now.ms().saturating_sub(self.filled_ms).max(0) as f64;
        self.tokens = (self.tokens + limit.value() * passed_ms / 1000.0).min(burst(limit, window));
        self.filled_ms = self.filled_ms.max(now.ms());
    }
}

fn burst(limit: QuotaValue, window: Window) -> f64 {
    limit.value() * f64::from(window.samples) * window.sample_ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
