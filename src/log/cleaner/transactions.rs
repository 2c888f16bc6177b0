//! Which records of a pass belong to aborted transactions, and which markers have nothing left to end
//! (Kafka's `CleanedTransactionMetadata`). The transaction indexes say what was aborted; every transaction
//! that began below a pass's end is decided, though its marker may lie beyond.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{Offset, ProducerId};
use crate::log::transaction_index::AbortedEntry;
use crate::wire::record_batch::BatchHeader;

/// The aborted transactions that overlap a pass.
#[derive(Clone, Default, Debug)]
pub(super) struct Aborted(BTreeMap<ProducerId, Vec<AbortedEntry>>);

impl Aborted {
    /// `entries` in the order of their markers, so that each producer's come in the order of their
    /// first offsets.
    pub(super) fn new(entries: Vec<AbortedEntry>) -> Aborted {
        let mut by_producer: BTreeMap<ProducerId, Vec<AbortedEntry>> = BTreeMap::new();
        for entry in entries {
            by_producer.entry(entry.producer_id).or_default().push(entry);
        }
        Aborted(by_producer)
    }

    /// Whether the batch belongs to an aborted transaction. A producer has one transaction at a time,
    /// so all of its transactional batches between first offset and marker do.
    pub(super) fn contains(&self, header: &BatchHeader) -> bool {
        let Some(producer) = header.producer.filter(|_| header.is_transactional) else { return false };
        let entries = self.0.get(&producer.ident.id).map(Vec::as_slice).unwrap_or_default();
        let after = entries.partition_point(|entry| entry.first_offset <= header.base_offset);
        let begun = after.checked_sub(1).and_then(|index| entries.get(index));
        begun.is_some_and(|entry| header.base_offset < entry.last_offset)
    }

    /// The entry of the transaction that the marker at `offset` aborts.
    pub(super) fn ended_at(&self, producer: ProducerId, offset: Offset) -> Option<AbortedEntry> {
        let entries = self.0.get(&producer)?;
        let index = entries.binary_search_by_key(&offset, |entry| entry.last_offset).ok()?;
        entries.get(index).copied()
    }
}

/// Whose transactions have data between the last marker and here.
#[derive(Clone, Default, Debug)]
pub(super) struct Seen(BTreeSet<ProducerId>);

/// What a pass found of a marker's transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remains {
    /// Some batch, if only an empty one, or one that this pass removes.
    Data,
    /// Nothing: the marker ends nothing any more.
    Nothing,
}

impl Seen {
    /// Takes note of a batch that is no marker.
    pub(super) fn batch(&mut self, header: &BatchHeader) {
        // An empty batch that keeps a sequence counts: replay would take its transaction for open.
        if let Some(producer) =
            header.producer.filter(|_| header.is_transactional && header.is_producers_own())
        {
            self.0.insert(producer.ident.id);
        }
    }

    /// Takes note of a marker.
    pub(super) fn marker(&mut self, producer: ProducerId) -> Remains {
        if self.0.remove(&producer) { Remains::Data } else { Remains::Nothing }
    }
}
