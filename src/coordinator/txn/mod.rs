//! The transaction coordinator: one `TxnShard` is one `__transaction_state` partition.
//!
//! A pure state machine: events, time and fresh producer ids come in; one atomic write, replies and
//! effects come out, and the last two may leave only once the write is durable. A shard applies its
//! own write in the step that decides it, so Kafka's `pendingState` does not exist here: a request
//! that Kafka would make wait for a pending append meets the new state, and its reply waits.
//! It must not know tasks, clocks, locks, files or how a marker reaches its partition.

mod add_partitions;
mod end_txn;
mod event;
mod init_producer_id;
mod inspect;
mod maintenance;
mod markers;
mod metadata;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordinator::{Replayed, RequestId, Write};
use crate::ids::{CoordinatorEpoch, TopicPartition, TransactionalId};

pub use event::{
    AddMode, AddPartitions, ClientApi, Effect, EndTxn, Event, InitProducerId, ListFilters, ListedTransaction,
    MarkerTarget, Reply, TransactionDescription, TransactionListing, TxnOutput,
};
pub use metadata::{TransactionMetadata, TransactionNumber, TransactionState};
pub use record::{DecodeError, TRANSACTIONAL_ID_BYTES_MAX, TxnRecord};

/// Bounds of a transaction coordinator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnConfig {
    /// Kafka's `transaction.max.timeout.ms`: the longest timeout that a producer may ask for.
    pub transaction_timeout_max: Duration,
    /// Kafka's `transactional.id.expiration.ms`: how long an idle id is kept.
    pub transactional_id_expiration: Duration,
    /// How many records one tick writes at most; the rest is due at once, in the next tick.
    pub tick_records_max: usize,
    /// How many bytes one write holds at most; bounds the partitions of one transaction. Keep it
    /// under `max.message.bytes` of the internal topic.
    pub write_bytes_max: usize,
}

impl Default for TxnConfig {
    fn default() -> Self {
        TxnConfig {
            transaction_timeout_max: Duration::from_secs(15 * 60),
            transactional_id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            tick_records_max: 1_000,
            write_bytes_max: 512 * 1024,
        }
    }
}

/// Whether a step of an event will want a newly allocated producer id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FreshProducerId {
    /// Allocate one and put it into the event.
    Needed,
    /// The event can go as it is.
    NotNeeded,
}

/// The coordinator of every transactional id that hashes to one `__transaction_state` partition.
#[derive(Debug)]
pub struct TxnShard {
    config: TxnConfig,
    coordinator_epoch: CoordinatorEpoch,
    transactions: BTreeMap<TransactionalId, Transaction>,
    /// When each id next needs a tick; an index over `transactions`.
    deadlines: BTreeSet<(Timestamp, TransactionalId)>,
}

#[derive(Debug)]
struct Transaction {
    metadata: TransactionMetadata,
    /// Partitions of a decided transaction whose marker has not been acknowledged to this shard.
    /// Not in the log: whoever loads a decided transaction sends every marker again.
    markers_pending: BTreeSet<TopicPartition>,
    deadline: Option<Timestamp>,
}

impl TxnShard {
    /// A shard that knows no transactional id: `replay` its log into it, then `resume`.
    pub fn new(config: TxnConfig) -> TxnShard {
        TxnShard {
            config,
            coordinator_epoch: CoordinatorEpoch::ZERO,
            transactions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Decides on an event and applies the write that follows from it.
    pub fn step(&mut self, now: Timestamp, event: Event) -> TxnOutput {
        let output = match event {
            Event::InitProducerId(init) => self.init_producer_id(now, init),
            Event::AddPartitions(add) => self.add_partitions(now, add),
            Event::EndTxn(end) => self.end_txn(now, end),
            Event::MarkerWritten(target) | Event::PartitionGone(target) => self.marker_settled(now, &target),
            Event::MarkerFenced(target) => self.marker_fenced(&target),
            Event::MarkerFailedRetry(target) => self.marker_failed(target),
            Event::Describe { request, transactional_id } => self.describe(request, &transactional_id),
            Event::List { request, filters } => self.list(now, request, &filters),
            Event::Tick => self.tick(now),
            Event::ForceAbort { request, transactional_id } => {
                self.force_abort(now, request, &transactional_id)
            }
        };
        match &output.write {
            Some(Write::Records(records)) => records.iter().for_each(|record| self.apply_own(record)),
            Some(Write::Transactional { .. } | Write::Marker(..)) => {
                unreachable!("a transaction coordinator writes plain records only")
            }
            None => {}
        }
        output
    }

    /// Takes in what the log holds; the same change of state as the live path's.
    pub fn replay(&mut self, entry: Replayed<TxnRecord>) {
        match entry {
            // Compaction drops records between two of one id, so any state may follow any other.
            Replayed::Record { record, .. } => self.apply(&record),
            // Nothing is ever transactional in `__transaction_state`.
            Replayed::Marker(_) => {}
        }
    }

    /// After loading: takes the coordinator's epoch, and asks for every marker of every decided
    /// transaction again. Running transactions whose time is up are due for a tick.
    pub fn resume(&mut self, _now: Timestamp, epoch: CoordinatorEpoch) -> Vec<Effect> {
        self.coordinator_epoch = epoch;
        let decided = self.transactions.iter();
        decided.flat_map(|(id, transaction)| self.markers_of(id, &transaction.metadata)).collect()
    }

    /// When the runtime must send the next `Event::Tick`; in the past if there is work already.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Whether `step` of this event will need a newly allocated producer id: ask before each EndTxn.
    ///
    /// An InitProducerId always takes one along, needed or not.
    pub fn needs_fresh_producer_id(&self, event: &Event) -> FreshProducerId {
        match event {
            Event::InitProducerId(_) => FreshProducerId::Needed,
            Event::EndTxn(end) => self.end_needs_fresh_producer_id(end),
            Event::AddPartitions(_)
            | Event::MarkerWritten(_)
            | Event::MarkerFenced(_)
            | Event::PartitionGone(_)
            | Event::MarkerFailedRetry(_)
            | Event::Describe { .. }
            | Event::List { .. }
            | Event::Tick
            | Event::ForceAbort { .. } => FreshProducerId::NotNeeded,
        }
    }

    /// What is known of a transactional id.
    pub fn metadata(&self, id: &TransactionalId) -> Option<&TransactionMetadata> {
        self.transactions.get(id).map(|transaction| &transaction.metadata)
    }

    /// How many transactional ids the shard holds.
    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    /// Whether the shard holds no transactional id.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Applies a record that this shard has just decided on; one that breaks the order of states is
    /// our own bug and must not reach the log.
    fn apply_own(&mut self, record: &TxnRecord) {
        let before = self.metadata(&record.transactional_id);
        let allowed = match (before, &record.metadata) {
            (None, Some(after)) => after.state == TransactionState::Empty,
            (Some(before), Some(after)) => after.state.may_follow(before.state),
            (Some(before), None) => before.state.is_idle(),
            (None, None) => false,
        };
        assert!(allowed, "{}: {before:?} cannot become {:?}", record.transactional_id, record.metadata);
        self.apply(record);
    }

    /// The only place that changes what is known of an id.
    fn apply(&mut self, record: &TxnRecord) {
        let id = &record.transactional_id;
        if let Some(Transaction { deadline: Some(deadline), .. }) = self.transactions.get(id) {
            self.deadlines.remove(&(*deadline, id.clone()));
        }
        let Some(metadata) = &record.metadata else {
            self.transactions.remove(id);
            return;
        };
        let markers_pending = match metadata.state.decided() {
            Some(_) => metadata.partitions.clone(),
            None => BTreeSet::new(),
        };
        let deadline = self.deadline_of(metadata);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, id.clone()));
        }
        let transaction = Transaction { metadata: metadata.clone(), markers_pending, deadline };
        self.transactions.insert(id.clone(), transaction);
    }

    fn deadline_of(&self, metadata: &TransactionMetadata) -> Option<Timestamp> {
        match metadata.state {
            TransactionState::Ongoing => Some(metadata.times_out_at()),
            TransactionState::Empty | TransactionState::CompleteCommit | TransactionState::CompleteAbort => {
                Some(metadata.last_update.plus(self.config.transactional_id_expiration))
            }
            // A decided transaction waits for its markers. One that has none (another writer's log:
            // our own completes it in the same write) would wait for ever, so it is due at once.
            TransactionState::PrepareCommit | TransactionState::PrepareAbort => {
                metadata.partitions.is_empty().then_some(metadata.last_update)
            }
        }
    }
}

/// A reply and nothing else.
fn answer(request: RequestId, reply: Reply) -> TxnOutput {
    TxnOutput { replies: vec![(request, reply)], ..TxnOutput::default() }
}

/// A new state for one id.
fn record(id: &TransactionalId, metadata: TransactionMetadata) -> TxnRecord {
    TxnRecord { transactional_id: id.clone(), metadata: Some(metadata) }
}

#[cfg(test)]
mod tests;
