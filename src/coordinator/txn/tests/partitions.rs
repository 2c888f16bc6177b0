//! Fake partitions that obey the marker rules of a real log, and remember what became of each value.

use std::collections::BTreeMap;

use crate::ids::{CoordinatorEpoch, ProducerEpoch, ProducerId, ProducerIdent, TopicPartition};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};

/// How a partition answers a marker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MarkerAnswer {
    Written,
    Fenced,
}

#[derive(Clone, Debug)]
struct Producer {
    epoch: ProducerEpoch,
    coordinator_epoch: CoordinatorEpoch,
    /// Indexes of the values of the open transaction.
    open: Vec<usize>,
}

/// One transactional value: where it was written, for which transaction, and how that ended here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub partition: TopicPartition,
    pub label: String,
    pub outcome: Option<EndTransaction>,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Partitions {
    producers: BTreeMap<(TopicPartition, ProducerId), Producer>,
    pub values: Vec<Value>,
    pub markers_applied: usize,
}

impl Partitions {
    /// A verified transactional append; refused if the epoch is behind.
    pub fn append(&mut self, partition: &TopicPartition, producer: ProducerIdent, label: String) -> bool {
        let entry = self.producers.entry((partition.clone(), producer.id)).or_insert(Producer {
            epoch: producer.epoch,
            coordinator_epoch: CoordinatorEpoch::ZERO,
            open: Vec::new(),
        });
        if producer.epoch < entry.epoch {
            return false;
        }
        entry.epoch = producer.epoch;
        entry.open.push(self.values.len());
        self.values.push(Value { partition: partition.clone(), label, outcome: None });
        true
    }

    pub fn write_marker(
        &mut self,
        partition: &TopicPartition,
        marker: EndTransactionMarker,
        version: TransactionVersion,
    ) -> MarkerAnswer {
        let key = (partition.clone(), marker.producer.id);
        if let Some(stored) = self.producers.get(&key) {
            let epoch = marker.producer.epoch;
            let epoch_allowed = match version {
                TransactionVersion::V1 => epoch >= stored.epoch,
                TransactionVersion::V2 => {
                    epoch > stored.epoch || (epoch == stored.epoch && stored.open.is_empty())
                }
            };
            if !epoch_allowed || marker.coordinator_epoch < stored.coordinator_epoch {
                return MarkerAnswer::Fenced;
            }
            for value in stored.open.clone() {
                assert_eq!(self.values[value].outcome, None, "a value ends once");
                self.values[value].outcome = Some(marker.result);
            }
        }
        let coordinator_epoch = marker.coordinator_epoch;
        let stored = Producer { epoch: marker.producer.epoch, coordinator_epoch, open: Vec::new() };
        self.producers.insert(key, stored);
        self.markers_applied += 1;
        MarkerAnswer::Written
    }
}
