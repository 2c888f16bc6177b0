//! What one step collects: records (applied to the store the moment they are written, as recovery
//! would) and replies.

use crate::coordinator::{RequestId, Write};
use crate::ids::{GroupId, ProducerIdent, TopicPartition};
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};

use super::GroupOutput;
use super::record::{GroupMetadata, GroupRecord, OffsetValue};
use super::reply::Reply;
use super::store::Store;

/// The output of a step in the making.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    records: Vec<GroupRecord>,
    records_bytes: usize,
    producer: Option<ProducerIdent>,
    marker: Option<(EndTransactionMarker, TransactionVersion)>,
    replies: Vec<(RequestId, Reply)>,
}

impl Outbox {
    /// Answers a request.
    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.replies.push((request, reply));
    }

    /// Writes an ordinary record.
    pub(super) fn write(&mut self, store: &mut Store, record: GroupRecord) {
        assert!(self.producer.is_none());
        self.push(store, record);
    }

    /// Writes a group's generation.
    pub(super) fn write_group(&mut self, store: &mut Store, group: &GroupId, value: GroupMetadata) {
        self.write(store, GroupRecord::Group { group: group.clone(), value: Some(value) });
    }

    /// Writes the tombstone of a group.
    pub(super) fn bury_group(&mut self, store: &mut Store, group: &GroupId) {
        self.write(store, GroupRecord::Group { group: group.clone(), value: None });
    }

    /// Writes the tombstone of an offset.
    pub(super) fn bury_offset(&mut self, store: &mut Store, group: &GroupId, partition: &TopicPartition) {
        let record = GroupRecord::Offset { group: group.clone(), partition: partition.clone(), value: None };
        self.write(store, record);
    }

    /// Writes an offset, for `producer`'s transaction if there is one.
    pub(super) fn write_offset(
        &mut self,
        store: &mut Store,
        producer: Option<ProducerIdent>,
        at: (GroupId, TopicPartition),
        value: OffsetValue,
    ) {
        assert!(self.records.is_empty() || self.producer == producer);
        self.producer = producer;
        self.push(store, GroupRecord::Offset { group: at.0, partition: at.1, value: Some(value) });
    }

    /// Writes the end of a transaction.
    pub(super) fn write_marker(
        &mut self,
        store: &mut Store,
        marker: EndTransactionMarker,
        version: TransactionVersion,
    ) {
        assert!(self.records.is_empty());
        store.apply_marker(&marker);
        self.marker = Some((marker, version));
    }

    /// How large the batch is so far, at most.
    pub(super) fn records_bytes(&self) -> usize {
        self.records_bytes
    }

    /// Closes the step.
    pub(super) fn finish(self) -> GroupOutput {
        let write = match (self.marker, self.producer) {
            (Some((marker, version)), _) => Some(Write::Marker(marker, version)),
            (None, _) if self.records.is_empty() => None,
            (None, Some(producer)) => Some(Write::Transactional { producer, records: self.records }),
            (None, None) => Some(Write::Records(self.records)),
        };
        GroupOutput { write, replies: self.replies, effects: Vec::new() }
    }

    fn push(&mut self, store: &mut Store, record: GroupRecord) {
        store.apply(&record, self.producer);
        self.records_bytes += record.bytes_max();
        self.records.push(record);
    }
}
