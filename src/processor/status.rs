//! What a task tells about itself: its state, how far it is, and what it has counted.
//!
//! Written by the task, read by the admin API; every change wakes whoever watches. No IO.

use super::meters::{ProcessorMeters, TaskMeters};
use crate::ids::{Offset, TopicPartition};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// What a task is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Taking its transactional id and looking for its position.
    Starting,
    /// Reading, processing and committing; also while there is nothing to read.
    Running,
    /// Something failed that may pass; it tries again.
    Retrying,
    /// Its input topic does not exist.
    WaitingForTopic,
    /// Another owner has its transactional id; it does nothing more.
    Fenced,
    /// It cannot go on; someone has to look.
    Failed,
    /// It was told to stop.
    Stopped,
}

/// One task, at a glance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TaskStatus {
    /// The input topic; of a task with several inputs, the first of them.
    pub topic: String,
    /// The input partition.
    pub partition: i32,
    /// What it is doing.
    pub state: TaskState,
    /// Why, if it is not simply running.
    pub cause: Option<String>,
    /// The offset that it would go on from after a crash; of a task with several inputs, in the first of them.
    pub committed_offset: Option<i64>,
    /// Offsets between the committed one and the end of what is committed in the input, over all inputs.
    pub lag_records: Option<i64>,
    /// Source records in committed transactions.
    pub records_in: u64,
    /// Output records in committed transactions.
    pub records_out: u64,
    /// Committed transactions.
    pub commits: u64,
    /// Aborted transactions.
    pub aborts: u64,
    /// Records and timers that went to the dead-letter topic.
    pub dead_letters: u64,
    /// Records and timers that were left out by policy.
    pub skipped: u64,
    /// Timers that fired, in committed transactions.
    pub timers_fired: u64,
    /// How often it went back to the committed offset after a failure.
    pub restarts: u64,
    /// The last failure, of a record or of the cluster.
    pub last_error: Option<String>,
}

/// How far a task is in one of its inputs.
#[derive(Clone, Copy, Debug, Default)]
struct InputEnd {
    /// The offset that the task has committed.
    committed: Option<Offset>,
    /// Where the input's committed records end.
    last_stable: Option<Offset>,
}

/// Where one task writes its status.
#[derive(Debug)]
pub struct TaskBoard {
    status: Mutex<TaskStatus>,
    /// By number of the input.
    ends: Mutex<BTreeMap<usize, InputEnd>>,
    changed: Arc<watch::Sender<u64>>,
    /// Which record or timer is tried again, and why, while commits of others go on.
    trying: Mutex<Option<String>>,
    /// What the task measures.
    pub meters: TaskMeters,
    /// What all tasks of its processor measure together.
    pub processor: Arc<ProcessorMeters>,
}

impl TaskBoard {
    /// The board of a task that has not begun; `changed` counts up with every change.
    pub fn new(
        input: &TopicPartition,
        changed: Arc<watch::Sender<u64>>,
        processor: Arc<ProcessorMeters>,
    ) -> TaskBoard {
        let status = TaskStatus {
            topic: input.topic.to_string(),
            partition: input.partition.value(),
            state: TaskState::Starting,
            cause: None,
            committed_offset: None,
            lag_records: None,
            records_in: 0,
            records_out: 0,
            commits: 0,
            aborts: 0,
            dead_letters: 0,
            skipped: 0,
            timers_fired: 0,
            restarts: 0,
            last_error: None,
        };
        let meters = TaskMeters::default();
        let (status, ends, trying) = (Mutex::new(status), Mutex::default(), Mutex::default());
        TaskBoard { status, ends, changed, trying, meters, processor }
    }

    /// The status as it is now.
    pub fn status(&self) -> TaskStatus {
        let mut status = self.status.lock().clone();
        if status.state == TaskState::Running
            && let Some(cause) = &*self.trying.lock()
        {
            status.state = TaskState::Retrying;
            status.cause = Some(cause.clone());
        }
        status
    }

    /// A record or timer has failed, and is tried again: what runs is shown as retrying, for this reason.
    pub fn tries_again(&self, cause: String) {
        *self.trying.lock() = Some(cause.clone());
        self.update(|status| status.last_error = Some(cause));
        self.changed.send_modify(|version| *version += 1);
    }

    /// It is dealt with.
    pub fn tries_no_more(&self) {
        if self.trying.lock().take().is_some() {
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// Changes the status and wakes the watchers.
    pub fn update(&self, change: impl FnOnce(&mut TaskStatus)) {
        let mut status = self.status.lock();
        let before = status.clone();
        change(&mut status);
        status.lag_records = self.lag();
        let is_new = *status != before;
        drop(status);
        if is_new {
            self.changed.send_modify(|version| *version += 1);
        }
    }

    /// Enters a state for a reason, or for none.
    pub fn enter(&self, state: TaskState, cause: Option<String>) {
        self.update(|status| {
            if cause.is_some() {
                status.last_error.clone_from(&cause);
            }
            status.state = state;
            status.cause = cause;
        });
    }

    /// The committed records of an input end here now.
    pub fn saw_last_stable(&self, input: usize, offset: Offset) {
        if self.ends.lock().entry(input).or_default().last_stable.replace(offset) != Some(offset) {
            self.update(|_| {});
        }
    }

    /// The offset of an input that is committed now; the status tells the first input's.
    pub fn committed(&self, input: usize, offset: Offset) {
        self.ends.lock().entry(input).or_default().committed = Some(offset);
        self.update(|status| {
            if input == 0 {
                status.committed_offset = Some(offset.value());
            }
        });
    }

    /// Over all inputs, once all are known.
    fn lag(&self) -> Option<i64> {
        let ends = self.ends.lock();
        if ends.is_empty() {
            return None;
        }
        let lags = ends.values().map(|end| Some(end.last_stable?.since(end.committed?).max(0)));
        lags.sum()
    }
}
