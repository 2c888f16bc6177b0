//! What the parts of one task share, and how they wait: for a stop, for a retry.
//!
//! Every wait here ends at once when the task is told to stop.

use super::backend::{Backend, BackendError, TopicDescription};
use super::definition::ProcessorDefinition;
use super::logs::LogRing;
use super::registry::Registry;
use super::status::{TaskBoard, TaskState};
use super::turns::Turns;
use crate::clock::Clock;
use crate::ids::{GroupId, TopicPartition, TransactionalId};
use crate::plugin::{LogSink, PluginHost};
use crate::state::StateDatabase;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The numbers that a task works by and that no definition sets.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// After which the coordinator aborts a transaction that its owner has left open.
    pub transaction_timeout: Duration,
    /// How long a fetch waits for records.
    pub fetch_wait: Duration,
    /// Bytes of one fetch, about.
    pub fetch_bytes: usize,
    /// Uncompressed source bytes of one turn, about: of all calls before timers and other processors have theirs.
    pub turn_bytes: usize,
    /// Uncompressed source bytes of one call of the module, about: what is copied into the guest and out of it stays in a
    /// core's second-level cache.
    pub call_bytes: usize,
    /// How long the committed offset may lag behind offsets that hold no records.
    pub lazy_commit: Duration,
    /// The wait before the first retry of a call; it doubles with each.
    pub retry_first: Duration,
    /// The longest wait before a retry.
    pub retry_longest: Duration,
    /// How often a call is tried in place before the task goes back to the committed offset.
    pub tries_in_place: u32,
    /// How often topics are looked at: for new partitions, for missing ones that are back.
    pub topic_poll: Duration,
    /// How long a task that was told to stop may take before it is cut off.
    pub stop_wait: Duration,
    /// Linear memory of all processors' instances together, beyond which nothing more is deployed.
    pub instances_bytes_max: u64,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            transaction_timeout: Duration::from_secs(60),
            fetch_wait: Duration::from_secs(10),
            fetch_bytes: 1 << 20,
            turn_bytes: 1 << 20,
            call_bytes: 128 << 10,
            lazy_commit: Duration::from_secs(1),
            retry_first: Duration::from_millis(5),
            retry_longest: Duration::from_secs(5),
            tries_in_place: 10,
            topic_poll: Duration::from_secs(1),
            stop_wait: Duration::from_secs(15),
            instances_bytes_max: u64::MAX,
        }
    }
}

impl Tuning {
    /// The wait before retry number `attempt` (from 0).
    pub fn retry_wait(&self, attempt: u32) -> Duration {
        self.retry_first.saturating_mul(1 << attempt.min(16)).min(self.retry_longest)
    }
}

/// Whether a wait ran its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Waited {
    /// It did.
    Enough,
    /// The task has to stop.
    Stopped,
}

/// What the parts of one task share.
#[derive(Clone)]
pub(super) struct TaskContext {
    pub backend: Arc<Backend>,
    pub host: Arc<dyn PluginHost>,
    pub registry: Arc<Registry>,
    pub state: Option<StateDatabase>,
    pub definition: Arc<ProcessorDefinition>,
    /// What the task is called by: its input, or the first of several.
    pub input: TopicPartition,
    /// The partitions that it reads: one, or that of the same number of several topics.
    pub inputs: Vec<TaskInput>,
    pub group: GroupId,
    pub transactional_id: TransactionalId,
    pub board: Arc<TaskBoard>,
    pub logs: Arc<LogRing>,
    pub clock: Clock,
    pub turns: Turns,
    pub tuning: Tuning,
    pub stop: watch::Receiver<bool>,
}

/// One of a task's inputs.
#[derive(Clone)]
pub(super) struct TaskInput {
    pub partition: TopicPartition,
    /// The topic as the manager has last seen it.
    pub topic: watch::Receiver<Option<TopicDescription>>,
}

impl TaskContext {
    pub fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves when the task has to stop; also when nobody is left who could say so.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        let _ = stop.wait_for(|stop| *stop).await;
    }

    pub async fn wait(&self, duration: Duration) -> Waited {
        tokio::select! {
            biased;
            () = self.stopped() => Waited::Stopped,
            () = tokio::time::sleep(duration) => Waited::Enough,
        }
    }

    pub fn log(&self, level: &'static str, message: &str) {
        self.logs.push(self.clock.now(), level, &self.input.to_string(), message);
    }

    /// Where the module's own lines go.
    pub fn log_sink(&self) -> LogSink {
        self.logs.sink(self.clock.clone(), self.input.to_string())
    }

    /// Makes a call again and again while it fails for reasons that pass, up to the bound.
    pub async fn in_place<T, F>(&self, call: impl Fn() -> F) -> Result<T, BackendError>
    where
        F: Future<Output = Result<T, BackendError>>,
    {
        let mut attempt = 0;
        loop {
            let error = match call().await {
                Err(error @ BackendError::Retriable { .. }) => error,
                done => return done,
            };
            attempt += 1;
            if attempt >= self.tuning.tries_in_place {
                return Err(error);
            }
            // One refusal is everyday life (the transaction before this one is being completed).
            if attempt > 2 {
                self.board.enter(TaskState::Retrying, Some(error.to_string()));
            }
            if self.wait(self.tuning.retry_wait(attempt)).await == Waited::Stopped && attempt > 3 {
                return Err(error);
            }
        }
    }
}
