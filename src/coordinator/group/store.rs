//! The durable state of a group shard: a fold over its partition's records and markers. Live steps
//! and recovery go through the same `apply`, so nothing else may change what is in here.
//!
//! Which of two commits of one partition wins is decided by their order in the log (KAFKA-5247).
//! A step does not know the log offsets of what it writes, but the runtime appends steps in order,
//! so a counter of applied records (`WritePosition`) orders them just as their offsets do. Recovery
//! counts again from the records that compaction left: other numbers, the same order.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::ids::{
    GenerationId, GroupId, ProducerEpoch, ProducerId, ProducerIdent, TopicName, TopicPartition,
};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};

use super::consumer::ConsumerGroup;
use super::record::{GroupMetadata, GroupRecord, OffsetValue};

/// The place of a record among those that the shard has applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct WritePosition(u64);

/// A position in a partition with its place in the order of writes.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct StoredOffset {
    pub(super) value: OffsetValue,
    written: WritePosition,
}

/// What one group has in the log.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct StoredGroup {
    metadata: Option<GroupMetadata>,
    /// There if the group is one of the new protocol: then there is no `metadata`.
    consumer: Option<Box<ConsumerGroup>>,
    offsets: BTreeMap<TopicPartition, StoredOffset>,
    /// Whose open transactions hold an offset for the partition; no empty sets.
    pending: BTreeMap<TopicPartition, BTreeSet<ProducerId>>,
}

impl StoredGroup {
    pub(super) fn metadata(&self) -> Option<&GroupMetadata> {
        self.metadata.as_ref()
    }

    /// The group as one of the new protocol (KIP-848).
    pub(super) fn consumer(&self) -> Option<&ConsumerGroup> {
        self.consumer.as_deref()
    }

    /// Whether there is more of it than offsets.
    pub(super) fn is_a_group(&self) -> bool {
        self.metadata.is_some() || self.consumer.is_some()
    }

    pub(super) fn offsets(&self) -> &BTreeMap<TopicPartition, StoredOffset> {
        &self.offsets
    }

    /// Whether an open transaction may still change the partition's offset.
    pub(super) fn is_pending(&self, partition: &TopicPartition) -> bool {
        self.pending.contains_key(partition)
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Every partition with a committed or a pending offset, once.
    pub(super) fn known_partitions(&self) -> BTreeSet<&TopicPartition> {
        self.offsets.keys().chain(self.pending.keys()).collect()
    }

    fn is_nothing(&self) -> bool {
        self.metadata.is_none()
            && self.consumer.is_none()
            && self.offsets.is_empty()
            && self.pending.is_empty()
    }
}

/// A transaction that has offsets here and has not ended.
#[derive(Clone, PartialEq, Debug)]
struct OpenTransaction {
    epoch: ProducerEpoch,
    offsets: BTreeMap<(GroupId, TopicPartition), StoredOffset>,
}

/// The shard's durable state.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Store {
    groups: BTreeMap<GroupId, StoredGroup>,
    transactions: BTreeMap<ProducerId, OpenTransaction>,
    written: WritePosition,
}

impl Store {
    pub(super) fn new() -> Store {
        Store { groups: BTreeMap::new(), transactions: BTreeMap::new(), written: WritePosition(0) }
    }

    /// Applies one record; `producer` is whose transaction it belongs to.
    pub(super) fn apply(&mut self, record: &GroupRecord, producer: Option<ProducerIdent>) {
        self.written = WritePosition(self.written.0 + 1);
        match record {
            GroupRecord::Offset { group, partition, value: Some(value) } => {
                let stored = StoredOffset { value: value.clone(), written: self.written };
                match producer {
                    None => {
                        self.group_mut(group).offsets.insert(partition.clone(), stored);
                    }
                    Some(producer) => self.put_pending(producer, group, partition, stored),
                }
            }
            GroupRecord::Offset { group, partition, value: None } => {
                self.group_mut(group).offsets.remove(partition);
                self.drop_pending(group, partition);
                self.drop_if_nothing(group);
            }
            GroupRecord::Group { group, value } => {
                self.group_mut(group).metadata.clone_from(value);
                self.drop_if_nothing(group);
            }
            GroupRecord::Consumer { group, record } => {
                let stored = self.group_mut(group);
                let consumer = stored.consumer.get_or_insert_default();
                consumer.apply(record);
                if consumer.is_nothing() {
                    stored.consumer = None;
                }
                self.drop_if_nothing(group);
            }
        }
    }

    /// Applies the end of a transaction: its offsets become committed, unless a later plain commit
    /// has overtaken them, or vanish. The log has checked the marker's epoch; here only the
    /// producer id counts, as in Kafka's `OffsetMetadataManager.replayEndTransactionMarker`.
    pub(super) fn apply_marker(&mut self, marker: &EndTransactionMarker) {
        let Some(transaction) = self.transactions.remove(&marker.producer.id) else { return };
        for ((group, partition), stored) in transaction.offsets {
            self.forget_pending(&group, &partition, marker.producer.id);
            match marker.result {
                EndTransaction::Commit => {
                    let offsets = &mut self.group_mut(&group).offsets;
                    let overtaken =
                        offsets.get(&partition).is_some_and(|committed| committed.written > stored.written);
                    if !overtaken {
                        offsets.insert(partition, stored);
                    }
                }
                EndTransaction::Abort => self.drop_if_nothing(&group),
            }
        }
    }

    /// Whether a transactional write at this epoch comes from a producer that is already fenced,
    /// as far as open transactions tell. The log knows more and decides.
    pub(super) fn is_fenced(&self, producer: ProducerIdent) -> bool {
        self.transactions.get(&producer.id).is_some_and(|open| open.epoch > producer.epoch)
    }

    /// Whether a marker's epoch may end the open transaction of its producer, if there is one:
    /// TV1 markers carry the transaction's epoch or a later one, TV2 markers a later one.
    pub(super) fn admits_marker(&self, marker: &EndTransactionMarker, version: TransactionVersion) -> bool {
        let Some(open) = self.transactions.get(&marker.producer.id) else { return true };
        match version {
            TransactionVersion::V1 => marker.producer.epoch >= open.epoch,
            TransactionVersion::V2 => marker.producer.epoch > open.epoch,
        }
    }

    pub(super) fn group(&self, group: &GroupId) -> Option<&StoredGroup> {
        self.groups.get(group)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = (&GroupId, &StoredGroup)> {
        self.groups.iter()
    }

    pub(super) fn metadata(&self, group: &GroupId) -> Option<&GroupMetadata> {
        self.groups.get(group).and_then(StoredGroup::metadata)
    }

    /// The group as one of the new protocol (KIP-848).
    pub(super) fn consumer(&self, group: &GroupId) -> Option<&ConsumerGroup> {
        self.groups.get(group).and_then(StoredGroup::consumer)
    }

    /// The group's generation; 0 before the first.
    pub(super) fn generation(&self, group: &GroupId) -> GenerationId {
        self.metadata(group).map_or(GenerationId::ZERO, |metadata| metadata.generation)
    }

    /// How far the shard has written: a bound for `offsets_of_topic`.
    pub(super) fn position(&self) -> WritePosition {
        self.written
    }

    /// Partitions of `topic` whose offsets, committed or pending, were all written up to `until`; at
    /// most `count_max`.
    pub(super) fn offsets_of_topic(
        &self,
        topic: &TopicName,
        until: WritePosition,
        count_max: usize,
    ) -> Vec<(GroupId, TopicPartition)> {
        let committed = self.groups.iter().flat_map(|(group, stored)| {
            stored.offsets.iter().map(move |(partition, offset)| (group, partition, offset.written))
        });
        let pending = self.transactions.values().flat_map(|open| {
            open.offsets.iter().map(|((group, partition), offset)| (group, partition, offset.written))
        });
        let mut latest: BTreeMap<(&GroupId, &TopicPartition), WritePosition> = BTreeMap::new();
        for (group, partition, written) in committed.chain(pending).filter(|found| found.1.topic == *topic) {
            let known = latest.entry((group, partition)).or_insert(written);
            *known = written.max(*known);
        }
        latest
            .into_iter()
            .filter(|(_, written)| *written <= until)
            .take(count_max)
            .map(|((group, partition), _)| (group.clone(), partition.clone()))
            .collect()
    }

    fn group_mut(&mut self, group: &GroupId) -> &mut StoredGroup {
        self.groups.entry(group.clone()).or_default()
    }

    fn drop_if_nothing(&mut self, group: &GroupId) {
        if self.groups.get(group).is_some_and(StoredGroup::is_nothing) {
            self.groups.remove(group);
        }
    }

    fn put_pending(
        &mut self,
        producer: ProducerIdent,
        group: &GroupId,
        partition: &TopicPartition,
        stored: StoredOffset,
    ) {
        let open = self
            .transactions
            .entry(producer.id)
            .or_insert_with(|| OpenTransaction { epoch: producer.epoch, offsets: BTreeMap::new() });
        open.epoch = open.epoch.max(producer.epoch);
        open.offsets.insert((group.clone(), partition.clone()), stored);
        self.group_mut(group).pending.entry(partition.clone()).or_default().insert(producer.id);
    }

    /// A tombstone also ends what open transactions hold for its key.
    fn drop_pending(&mut self, group: &GroupId, partition: &TopicPartition) {
        let Some(producers) = self.group_mut(group).pending.remove(partition) else { return };
        let key = (group.clone(), partition.clone());
        for producer in producers {
            if let Some(open) = self.transactions.get_mut(&producer) {
                open.offsets.remove(&key);
                if open.offsets.is_empty() {
                    self.transactions.remove(&producer);
                }
            }
        }
    }

    fn forget_pending(&mut self, group: &GroupId, partition: &TopicPartition, producer: ProducerId) {
        let Some(stored) = self.groups.get_mut(group) else { return };
        if let Some(producers) = stored.pending.get_mut(partition) {
            producers.remove(&producer);
            if producers.is_empty() {
                stored.pending.remove(partition);
            }
        }
    }
}

impl StoredOffset {
    /// When it was committed.
    pub(super) fn committed_at(&self) -> Timestamp {
        self.value.commit_timestamp
    }
}
