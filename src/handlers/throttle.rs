//! What requests use of their clients' quotas, and how a client is told to wait (KIP-219): at once,
//! in its answer; the connection then reads nothing more until the time is over.
//!
//! While nobody has a quota nothing here is done. Not counted: the time after an answer is encoded,
//! and what a request has waited for on other threads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use kafka_protocol::messages as wire;
use tokio::time::Instant;

/// What one request has used so far.
#[derive(Debug)]
pub struct Usage {
    begun: Instant,
    /// Nanoseconds on a thread, in polls that are over.
    spent_ns: AtomicU64,
    /// When the present poll has begun, in nanoseconds after `begun`.
    poll_ns: AtomicU64,
    throttle_ms: AtomicU64,
}

impl Usage {
    /// Nothing used yet.
    pub fn new() -> Usage {
        let none = || AtomicU64::new(0);
        Usage { begun: Instant::now(), spent_ns: none(), poll_ns: none(), throttle_ms: none() }
    }

    /// The time that the request has taken on a thread; it is being polled now.
    pub fn time(&self) -> Duration {
        let this_poll = self.elapsed_ns().saturating_sub(self.poll_ns.load(Ordering::Relaxed));
        Duration::from_nanos(self.spent_ns.load(Ordering::Relaxed).saturating_add(this_poll))
    }

    /// Remembers that the client is to wait; of several reasons the longest counts.
    pub fn throttle(&self, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.throttle_ms.fetch_max(wait_ms, Ordering::Relaxed);
    }

    /// How long the client is to wait.
    pub fn throttled(&self) -> Duration {
        Duration::from_millis(self.throttle_ms.load(Ordering::Relaxed))
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A part of a request's work whose time is counted.
pub struct Timed<F> {
    work: Pin<Box<F>>,
    usage: Arc<Usage>,
}

impl<F> Timed<F> {
    /// Counts the time that `work` takes on threads.
    pub fn new(work: F, usage: Arc<Usage>) -> Timed<F> {
        Timed { work: Box::pin(work), usage }
    }
}

impl<F: Future> Future for Timed<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<F::Output> {
        let usage = Arc::clone(&self.usage);
        usage.poll_ns.store(usage.elapsed_ns(), Ordering::Relaxed);
        let polled = self.work.as_mut().poll(context);
        usage.spent_ns.store(nanoseconds(usage.time()), Ordering::Relaxed);
        usage.poll_ns.store(usage.elapsed_ns(), Ordering::Relaxed);
        polled
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A response that can tell its client to wait.
pub trait Throttled: Clone {
    /// The same, telling the client to wait for so many milliseconds.
    fn throttled(self, throttle_time_ms: i32) -> Self;
}

macro_rules! throttled {
    ($($response:ident)*) => {
        $(impl Throttled for wire::$response {
            fn throttled(self, throttle_time_ms: i32) -> Self {
                self.with_throttle_time_ms(throttle_time_ms)
            }
        })*
    };
}

throttled! {
    AddOffsetsToTxnResponse AddPartitionsToTxnResponse AlterClientQuotasResponse AlterConfigsResponse
    AlterPartitionReassignmentsResponse AlterReplicaLogDirsResponse ApiVersionsResponse
    ConsumerGroupDescribeResponse ConsumerGroupHeartbeatResponse CreatePartitionsResponse CreateTopicsResponse DeleteGroupsResponse DeleteRecordsResponse
    DeleteTopicsResponse DescribeClientQuotasResponse DescribeClusterResponse DescribeConfigsResponse
    DescribeGroupsResponse DescribeLogDirsResponse DescribeProducersResponse
    DescribeTopicPartitionsResponse DescribeTransactionsResponse ElectLeadersResponse EndTxnResponse
    FetchResponse FindCoordinatorResponse HeartbeatResponse IncrementalAlterConfigsResponse
    InitProducerIdResponse JoinGroupResponse LeaveGroupResponse ListConfigResourcesResponse
    ListGroupsResponse ListOffsetsResponse ListPartitionReassignmentsResponse ListTransactionsResponse
    MetadataResponse OffsetCommitResponse OffsetDeleteResponse OffsetFetchResponse
    OffsetForLeaderEpochResponse ProduceResponse SyncGroupResponse TxnOffsetCommitResponse
    UpdateFeaturesResponse
}

impl Throttled for wire::WriteTxnMarkersResponse {
    /// It has no place for it: brokers do not throttle each other.
    fn throttled(self, _throttle_time_ms: i32) -> Self {
        self
    }
}

#[cfg(test)]
mod tests;
