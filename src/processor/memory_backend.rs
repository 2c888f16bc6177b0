//! A transactional cluster in memory, for tests: topics, transactions with epochs and fencing,
//! read-committed visibility, committed offsets, and faults at any call.
//!
//! Follows `reference` rules of KIP-890: every end of a transaction bumps the epoch. Each clone made
//! by `connect` is one client's connection, which a test may cut to play a crash. Never shipped.

use super::backend::{
    BackendError, ChangelogBounds, FetchedBatches, LogBounds, Provenance, TopicDescription,
};
use super::commit_note::CommittedOffset;
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, Offset, ProducerIdent, TopicName, TopicPartition, TransactionalId};
use crate::wire::control_record::EndTransaction;
use crate::wire::record_batch::RecordBatch;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

mod cluster;
pub use cluster::{Cluster, CommittedRecord};

/// Which call a fault strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the names are those of the calls")]
pub enum Call {
    EnsureTopic,
    Topic,
    InitProducerId,
    CommittedOffset,
    LogBounds,
    Fetch,
    Produce,
    CommitOffset,
    EndTransaction,
}

impl Call {
    fn changes_something(self) -> bool {
        match self {
            Call::InitProducerId | Call::Produce | Call::CommitOffset | Call::EndTransaction => true,
            Call::EnsureTopic | Call::Topic | Call::CommittedOffset | Call::LogBounds | Call::Fetch => false,
        }
    }
}

/// What happens at a call instead of, or beside, what was asked for.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing is done, and this is answered.
    Refuse(BackendError),
    /// It is done, but the answer is lost on the way.
    LoseReply,
    /// It is done once the test adds a permit.
    Hold(Arc<Semaphore>),
    /// The client's task panics.
    Panic,
}

#[derive(Default)]
struct Faults {
    planned: VecDeque<(Call, Fault)>,
    /// Counts down at each point before and after a changing call; at zero the connection is cut.
    crash_in: Option<usize>,
}

/// One client's connection to a cluster in memory.
#[derive(Clone)]
pub struct MemoryBackend {
    cluster: Arc<Mutex<Cluster>>,
    changed: Arc<watch::Sender<u64>>,
    faults: Arc<Mutex<Faults>>,
    cut: Arc<watch::Sender<bool>>,
}

impl Default for MemoryBackend {
    fn default() -> MemoryBackend {
        MemoryBackend::new()
    }
}

impl MemoryBackend {
    /// A new, empty cluster.
    pub fn new() -> MemoryBackend {
        MemoryBackend {
            cluster: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
            faults: Arc::default(),
            cut: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Another client's connection to the same cluster, without faults.
    pub fn connect(&self) -> MemoryBackend {
        MemoryBackend {
            cluster: self.cluster.clone(),
            changed: self.changed.clone(),
            faults: Arc::default(),
            cut: Arc::new(watch::Sender::new(false)),
        }
    }

    /// Plans a fault for the next such call that has none planned yet.
    pub fn plan(&self, call: Call, fault: Fault) {
        self.faults.lock().planned.push_back((call, fault));
    }

    /// Cuts the connection at the `step`-th point (from 0) before or after a changing call.
    pub fn crash_at(&self, step: usize) {
        self.faults.lock().crash_in = Some(step);
    }

    /// Resolves once the connection is cut: no call answers any more.
    pub async fn crashed(&self) {
        let mut cut = self.cut.subscribe();
        let _ = cut.wait_for(|cut| *cut).await;
    }

    /// Looks at the cluster, or changes it behind everyone's back.
    pub fn with<T>(&self, act: impl FnOnce(&mut Cluster) -> T) -> T {
        let answer = act(&mut self.cluster.lock());
        self.changed.send_modify(|version| *version += 1);
        answer
    }

    /// Resolves once the condition holds.
    pub async fn wait_until(&self, condition: impl Fn(&Cluster) -> bool) {
        let mut changes = self.changed.subscribe();
        loop {
            changes.mark_unchanged();
            if condition(&self.cluster.lock()) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn crash_point(&self) {
        let mut faults = self.faults.lock();
        match faults.crash_in {
            Some(0) => {
                self.cut.send_replace(true);
            }
            Some(more) => faults.crash_in = Some(more - 1),
            None => {}
        }
    }

    async fn stop_if_cut(&self) {
        if *self.cut.borrow() {
            std::future::pending::<()>().await;
        }
    }

    /// Does one call with whatever faults are planned for it.
    async fn call<T>(
        &self,
        call: Call,
        act: impl FnOnce(&mut Cluster) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if call.changes_something() {
            self.crash_point().await;
        }
        self.stop_if_cut().await;
        let fault = {
            let mut faults = self.faults.lock();
            let planned = faults.planned.iter().position(|(struck, _)| *struck == call);
            planned.and_then(|at| faults.planned.remove(at)).map(|(_, fault)| fault)
        };
        let lost = match fault {
            None => false,
            Some(Fault::Refuse(error)) => return Err(error),
            Some(Fault::LoseReply) => true,
            Some(Fault::Hold(gate)) => {
                gate.acquire().await.expect("tests do not close their gates").forget();
                false
            }
            Some(Fault::Panic) => panic!("a planned panic"),
        };
        let answer = self.with_quietly(call, act);
        if call.changes_something() {
            self.crash_point().await;
        }
        self.stop_if_cut().await;
        if lost {
            return Err(BackendError::from_code(ErrorCode::RequestTimedOut, "the reply was lost"));
        }
        answer
    }

    fn with_quietly<T>(&self, call: Call, act: impl FnOnce(&mut Cluster) -> T) -> T {
        if call.changes_something() || call == Call::EnsureTopic {
            self.with(act)
        } else {
            act(&mut self.cluster.lock())
        }
    }

    pub(super) async fn ensure_topic(
        &self,
        name: &TopicName,
        partitions: Option<i32>,
    ) -> Result<(), BackendError> {
        self.call(Call::EnsureTopic, |cluster| {
            cluster.ensure_topic(name.as_str(), partitions.unwrap_or(1));
            Ok(())
        })
        .await
    }

    pub(super) async fn ensure_changelog(
        &self,
        name: &TopicName,
        partitions: i32,
    ) -> Result<(), BackendError> {
        self.call(Call::EnsureTopic, |cluster| {
            cluster.ensure_topic(name.as_str(), partitions);
            if cluster.partitions(name.as_str()).is_some_and(|present| present < partitions) {
                cluster.grow_topic(name.as_str(), partitions);
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn ensure_log_topic(&self, name: &TopicName) -> Result<(), BackendError> {
        self.ensure_topic(name, Some(1)).await
    }

    pub(super) async fn topic(&self, name: &TopicName) -> Result<Option<TopicDescription>, BackendError> {
        self.call(Call::Topic, |cluster| Ok(cluster.describe(name))).await
    }

    pub(super) async fn init_producer_id(
        &self,
        id: &TransactionalId,
        _timeout: Duration,
    ) -> Result<ProducerIdent, BackendError> {
        self.call(Call::InitProducerId, |cluster| Ok(cluster.init_producer_id(id))).await
    }

    pub(super) async fn committed_offset(
        &self,
        group: &GroupId,
        partition: &TopicPartition,
    ) -> Result<Option<CommittedOffset>, BackendError> {
        self.call(Call::CommittedOffset, |cluster| cluster.stable_committed_offset(group, partition)).await
    }

    pub(super) async fn log_bounds(&self, partition: &TopicPartition) -> Result<LogBounds, BackendError> {
        self.call(Call::LogBounds, |cluster| cluster.log_bounds(partition)).await
    }

    pub(super) async fn changelog_bounds(
        &self,
        partition: &TopicPartition,
    ) -> Result<ChangelogBounds, BackendError> {
        self.call(Call::LogBounds, |cluster| {
            let bounds = cluster.log_bounds(partition)?;
            let topic = cluster.describe(&partition.topic);
            let topic = topic.ok_or_else(|| BackendError::UnknownTopic(partition.to_string()))?.id;
            Ok(ChangelogBounds { topic, bounds, delete_retention_ms: 86_400_000 })
        })
        .await
    }

    pub(super) async fn offset_for_time(
        &self,
        partition: &TopicPartition,
        ms: i64,
    ) -> Result<Option<Offset>, BackendError> {
        self.call(Call::LogBounds, |cluster| Ok(cluster.offset_for_time(partition, ms))).await
    }

    pub(super) async fn fetch(
        &self,
        partition: &TopicPartition,
        from: Offset,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<FetchedBatches, BackendError> {
        let mut changes = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + wait_max;
        loop {
            changes.mark_unchanged();
            let found = self.call(Call::Fetch, |cluster| cluster.fetch(partition, from, bytes_max)).await?;
            if found.next_offset > from {
                return Ok(found);
            }
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Ok(found);
            }
        }
    }

    pub(super) async fn produce(
        &self,
        producer: ProducerIdent,
        id: &TransactionalId,
        partition: &TopicPartition,
        batch: RecordBatch,
        _records: Provenance,
    ) -> Result<Offset, BackendError> {
        self.call(Call::Produce, |cluster| cluster.produce(producer, id, partition, &batch)).await
    }

    pub(super) async fn produce_plain(
        &self,
        partition: &TopicPartition,
        batch: RecordBatch,
        _records: Provenance,
    ) -> Result<Offset, BackendError> {
        self.call(Call::Produce, |cluster| cluster.produce_plain(partition, &batch)).await
    }

    pub(super) async fn commit_offset_in_transaction(
        &self,
        id: &TransactionalId,
        producer: ProducerIdent,
        group: &GroupId,
        partition: &TopicPartition,
        committed: &CommittedOffset,
    ) -> Result<(), BackendError> {
        self.call(Call::CommitOffset, |cluster| {
            cluster.commit_in_transaction(id, producer, (group.clone(), partition.clone()), committed.clone())
        })
        .await
    }

    pub(super) async fn commit_offset(
        &self,
        group: &GroupId,
        partition: &TopicPartition,
        committed: &CommittedOffset,
    ) -> Result<(), BackendError> {
        self.call(Call::CommitOffset, |cluster| {
            cluster.commit((group.clone(), partition.clone()), committed.clone());
            Ok(())
        })
        .await
    }

    pub(super) async fn end_transaction(
        &self,
        id: &TransactionalId,
        producer: ProducerIdent,
        result: EndTransaction,
    ) -> Result<ProducerIdent, BackendError> {
        self.call(Call::EndTransaction, |cluster| cluster.end_transaction(id, producer, result)).await
    }
}
