//! The measurements of all clients that have a quota, each with the sensor that its quota asks for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::quota::entity::Scope;
use crate::quota::rate::{SlidingRate, TokenBucket};
use crate::quota::{ClientQuotas, QuotaKind, QuotaValue, Window};

/// Idle sensors are swept out when there are so many more than after the last sweep.
const SWEEP_STEP: usize = 1024;
/// Nanoseconds on a thread as percent of a thread's second.
const PERCENT_PER_NANOSECOND: f64 = 100.0 / 1e9;

/// Who uses something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuotaClient {
    /// The user: a principal's name without its type.
    pub user: String,
    /// What the client calls itself.
    pub client_id: String,
}

impl QuotaClient {
    /// The client of a principal such as `User:alice`.
    pub fn new(principal: &str, client_id: &str) -> QuotaClient {
        let user = principal.split_once(':').map_or(principal, |(_, name)| name);
        QuotaClient { user: user.to_owned(), client_id: client_id.to_owned() }
    }
}

/// Whether partitions may be created or deleted now (KIP-599).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MutationVerdict {
    /// They may. A client that does not know THROTTLING_QUOTA_EXCEEDED may be told to wait.
    Allowed(Duration),
    /// Not before this has passed.
    Refused(Duration),
}

/// Whether fetched bytes may be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FetchVerdict {
    /// They may; the client is to wait afterwards.
    Send(Duration),
    /// They may not: the client gets nothing now and is to wait.
    Withhold(Duration),
}

/// How a client takes being over its mutation rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MutationRule {
    /// It is refused what goes beyond.
    Strict,
    /// It does not know the error: it gets what it asks for, and must wait afterwards.
    Permissive,
}

#[derive(Clone, PartialEq, Debug)]
enum Sensor {
    Rate(SlidingRate),
    Bucket(TokenBucket, QuotaValue),
}

/// The measurements of clients that have quotas. What a client without one does is not measured.
#[derive(Debug)]
pub struct Meters {
    window: Window,
    mutation_window: Window,
    sensors: BTreeMap<(QuotaKind, Scope), Sensor>,
    sweep_at: usize,
}

impl Meters {
    /// No measurements yet; the second window is that of the mutation rate.
    pub fn new(window: Window, mutation_window: Window) -> Meters {
        Meters { window, mutation_window, sensors: BTreeMap::new(), sweep_at: SWEEP_STEP }
    }

    /// Counts bytes, and tells how long the client is to wait.
    pub fn record_bytes(
        &mut self,
        quotas: &ClientQuotas,
        kind: QuotaKind,
        client: &QuotaClient,
        (now, bytes): (Timestamp, usize),
    ) -> Duration {
        self.record(quotas, kind, client, (now, bytes as f64))
    }

    /// Whether fetched bytes may be sent, and how long the client is to wait afterwards. What is not
    /// sent does not count. More than fits into a whole window (one large batch) is sent once the rate
    /// is below the limit: it would never be otherwise.
    pub fn fetched(
        &mut self,
        quotas: &ClientQuotas,
        client: &QuotaClient,
        (now, bytes): (Timestamp, usize),
    ) -> FetchVerdict {
        let kind = QuotaKind::ConsumerByteRate;
        let Some(window_bytes) = self.window_bytes(quotas, kind, client) else {
            return FetchVerdict::Send(Duration::ZERO);
        };
        let before = self.record(quotas, kind, client, (now, 0.0));
        let wait = self.record(quotas, kind, client, (now, bytes as f64));
        if wait.is_zero() || (before.is_zero() && bytes > window_bytes) {
            return FetchVerdict::Send(wait);
        }
        self.record(quotas, kind, client, (now, -(bytes as f64)));
        FetchVerdict::Withhold(wait)
    }

    /// Counts a request's time on threads. As in Kafka, nobody waits for it longer than one sample.
    pub fn record_time(
        &mut self,
        quotas: &ClientQuotas,
        client: &QuotaClient,
        now: Timestamp,
        time: Duration,
    ) -> Duration {
        let percent = time.as_nanos() as f64 * PERCENT_PER_NANOSECOND;
        let throttle = self.record(quotas, QuotaKind::RequestPercentage, client, (now, percent));
        throttle.min(Duration::from_millis(self.window.sample_ms.unsigned_abs()))
    }

    /// How many bytes a client may get in a whole window: no fetch asks for more.
    pub fn window_bytes(
        &self,
        quotas: &ClientQuotas,
        kind: QuotaKind,
        client: &QuotaClient,
    ) -> Option<usize> {
        let (limit, _) = quotas.of_client(kind, &client.user, &client.client_id)?;
        let seconds = f64::from(self.window.samples - 1) * self.window.sample_ms as f64 / 1000.0;
        Some((limit.value() * seconds).clamp(1.0, usize::MAX as f64) as usize)
    }

    /// Asks for so many partitions to be created or deleted.
    pub fn mutate(
        &mut self,
        quotas: &ClientQuotas,
        rule: MutationRule,
        client: &QuotaClient,
        (now, partitions): (Timestamp, u32),
    ) -> MutationVerdict {
        let kind = QuotaKind::ControllerMutationRate;
        let window = self.mutation_window;
        let Some((limit, scope)) = quotas.of_client(kind, &client.user, &client.client_id) else {
            return MutationVerdict::Allowed(Duration::ZERO);
        };
        self.sweep(now);
        let fresh = || Sensor::Bucket(TokenBucket::new(now, limit, window), limit);
        let sensor = self.sensors.entry((kind, scope)).or_insert_with(fresh);
        let Sensor::Bucket(bucket, known_limit) = sensor else {
            return MutationVerdict::Allowed(Duration::ZERO);
        };
        *known_limit = limit;
        let overdrawn = bucket.throttle(now, limit, window);
        if rule == MutationRule::Strict && !overdrawn.is_zero() {
            return MutationVerdict::Refused(overdrawn);
        }
        bucket.take(now, f64::from(partitions), limit, window);
        match rule {
            MutationRule::Strict => MutationVerdict::Allowed(Duration::ZERO),
            MutationRule::Permissive => MutationVerdict::Allowed(bucket.throttle(now, limit, window)),
        }
    }

    fn record(
        &mut self,
        quotas: &ClientQuotas,
        kind: QuotaKind,
        client: &QuotaClient,
        (now, amount): (Timestamp, f64),
    ) -> Duration {
        let Some((limit, scope)) = quotas.of_client(kind, &client.user, &client.client_id) else {
            return Duration::ZERO;
        };
        self.sweep(now);
        let sensor =
            self.sensors.entry((kind, scope)).or_insert_with(|| Sensor::Rate(SlidingRate::default()));
        match sensor {
            Sensor::Rate(rate) => {
                rate.record(now, amount, self.window);
                rate.throttle(now, limit, self.window)
            }
            Sensor::Bucket(..) => Duration::ZERO,
        }
    }

    /// Client ids are the clients' to choose: what says nothing any more does not stay.
    fn sweep(&mut self, now: Timestamp) {
        if self.sensors.len() < self.sweep_at {
            return;
        }
        let (window, mutation_window) = (self.window, self.mutation_window);
        self.sensors.retain(|_, sensor| match sensor {
            Sensor::Rate(rate) => !rate.is_idle(now, window),
            Sensor::Bucket(bucket, limit) => !bucket.is_idle(now, *limit, mutation_window),
        });
        self.sweep_at = self.sensors.len() + SWEEP_STEP;
    }
}

#[cfg(test)]
mod tests;
