//! What processors measure beside the counts of their status: times, sizes, and what their modules count by themselves.
//!
//! Written by tasks with a few atomics for each call and commit, read when somebody asks. No clocks but the thread's own
//! CPU time, and no IO.

use super::status::{TaskState, TaskStatus};
use crate::plugin::OwnCounters;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bounds of the buckets of commits' durations, in seconds; what took longer is in a bucket of its own.
pub const COMMIT_SECONDS_BOUNDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What all tasks of a processor measure together, as long as it is deployed and the broker runs.
#[derive(Default, Debug)]
pub struct ProcessorMeters {
    /// What its modules and partitioners count by themselves. A call that is made again counts again.
    pub own: Arc<OwnCounters>,
    commits: Durations,
}

/// How long things took.
#[derive(Default, Debug)]
struct Durations {
    buckets: [AtomicU64; COMMIT_SECONDS_BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// How long things took, at one moment.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DurationsView {
    /// How many there were.
    pub count: u64,
    /// The sum of their seconds.
    pub sum_seconds: f64,
    /// How many there were of each bucket of [`COMMIT_SECONDS_BOUNDS`]; the last is of those that took longer.
    pub buckets: Vec<u64>,
}

impl ProcessorMeters {
    /// A transaction was committed, from its first write to the answer of its end.
    pub(super) fn committed(&self, took: Duration) {
        self.commits.observe(took);
    }
}

impl Durations {
    fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = COMMIT_SECONDS_BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = self.buckets.get(bucket.unwrap_or(COMMIT_SECONDS_BOUNDS.len())) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        add_nanoseconds(&self.nanoseconds, took);
    }

    fn view(&self) -> DurationsView {
        let buckets: Vec<u64> = self.buckets.iter().map(get).collect();
        DurationsView { count: buckets.iter().sum(), sum_seconds: seconds(&self.nanoseconds), buckets }
    }
}

/// What one task measures.
#[derive(Default, Debug)]
pub struct TaskMeters {
    guest_nanoseconds: AtomicU64,
    guest_memory_bytes: AtomicU64,
    state_bytes: AtomicU64,
    timers_pending: AtomicU64,
    /// The timestamps of the oldest records of the units that are not committed yet, the first unit's first.
    uncommitted: Mutex<VecDeque<i64>>,
}

impl TaskMeters {
    /// Makes a call of a guest, and counts the CPU time that it takes on this thread.
    pub(super) fn time_guest<T>(&self, call: impl FnOnce() -> T) -> T {
        let before = thread_cpu_time();
        let answer = call();
        add_nanoseconds(&self.guest_nanoseconds, thread_cpu_time().saturating_sub(before));
        answer
    }

    /// How much linear memory the task's instances have now. It never shrinks while an instance lives.
    pub(super) fn set_guest_memory(&self, bytes: u64) {
        self.guest_memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// How large the task's state is, with what is not committed yet.
    pub(super) fn set_state(&self, bytes: u64, timers: u64) {
        self.state_bytes.store(bytes, Ordering::Relaxed);
        self.timers_pending.store(timers, Ordering::Relaxed);
    }

    /// The task begins at the committed offset: it has nothing in its hands.
    pub(super) fn began_session(&self) {
        self.uncommitted.lock().clear();
    }

    /// A unit got its first record, whose batch's first record has this timestamp.
    pub(super) fn began_unit(&self, timestamp: i64) {
        self.uncommitted.lock().push_back(timestamp);
    }

    /// The oldest of those units is committed.
    pub(super) fn settled_unit(&self) {
        self.uncommitted.lock().pop_front();
    }

    /// The age of the oldest record that the task has taken and not committed; nothing if there is none.
    fn lag(&self, now_ms: i64) -> Duration {
        let oldest = self.uncommitted.lock().front().copied();
        let age_ms = oldest.map_or(0, |oldest| now_ms.saturating_sub(oldest));
        Duration::from_millis(u64::try_from(age_ms).unwrap_or(0))
    }
}

/// A processor's measurements at one moment. Counts are those since its tasks were last started.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ProcessorMetrics {
    /// The sums of its tasks' counts, each under its name.
    pub counts: BTreeMap<&'static str, u64>,
    /// CPU seconds in calls of its modules.
    pub guest_cpu_seconds: f64,
    /// Linear memory of its instances.
    pub guest_memory_bytes: u64,
    /// What the entries of its state weigh, roughly.
    pub state_bytes: u64,
    /// Timers that are set and have not fired.
    pub timers_pending: u64,
    /// How long its commits took.
    pub commits: DurationsView,
    /// What its modules count by themselves.
    pub own: BTreeMap<String, u64>,
    /// Its tasks.
    pub tasks: Vec<TaskMetrics>,
}

/// A task's measurements at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct TaskMetrics {
    /// The input topic.
    pub topic: String,
    /// The input partition.
    pub partition: i32,
    /// What it is doing.
    pub state: TaskState,
    /// Offsets between the committed one and the end of what is committed in the input, once that is known.
    pub lag_records: Option<i64>,
    /// The age of the oldest record that the task has taken and not committed, by the timestamp of the first record of
    /// that record's batch; zero if there is none.
    pub lag_seconds: f64,
}

impl ProcessorMetrics {
    /// The measurements of a processor and of its tasks, at a moment in milliseconds since 1970.
    pub(super) fn of<'a>(
        meters: &ProcessorMeters,
        tasks: impl Iterator<Item = (TaskStatus, &'a TaskMeters)>,
        now_ms: i64,
    ) -> ProcessorMetrics {
        let mut all = ProcessorMetrics {
            commits: meters.commits.view(),
            own: meters.own.view(),
            ..ProcessorMetrics::default()
        };
        for name in COUNTS {
            all.counts.insert(name, 0);
        }
        for (status, meters) in tasks {
            for (name, count) in COUNTS.into_iter().zip(counts_of(&status)) {
                *all.counts.entry(name).or_default() += count;
            }
            all.guest_cpu_seconds += seconds(&meters.guest_nanoseconds);
            all.guest_memory_bytes += get(&meters.guest_memory_bytes);
            all.state_bytes += get(&meters.state_bytes);
            all.timers_pending += get(&meters.timers_pending);
            all.tasks.push(TaskMetrics {
                lag_seconds: meters.lag(now_ms).as_secs_f64(),
                topic: status.topic,
                partition: status.partition,
                state: status.state,
                lag_records: status.lag_records,
            });
        }
        all
    }
}

/// The names of the counts, in the order of `counts_of`.
const COUNTS: [&str; 8] =
    ["records_in", "records_out", "timers_fired", "commits", "aborts", "dead_letters", "skipped", "restarts"];

fn counts_of(status: &TaskStatus) -> [u64; COUNTS.len()] {
    [
        status.records_in,
        status.records_out,
        status.timers_fired,
        status.commits,
        status.aborts,
        status.dead_letters,
        status.skipped,
        status.restarts,
    ]
}

/// What this thread has worked so far; its waits do not count.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

fn add_nanoseconds(counter: &AtomicU64, duration: Duration) {
    counter.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn seconds(nanoseconds: &AtomicU64) -> f64 {
    Duration::from_nanos(get(nanoseconds)).as_secs_f64()
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
