//! Markers of decided transactions: asking for them, and counting them off until Complete*.
//!
//! A decided transaction is never given up. Answers that belong to an earlier transaction, or to an
//! earlier life of this shard that has gone on since, are recognised by ident and number and ignored.

use crate::clock::Timestamp;
use crate::coordinator::Write;
use crate::ids::{TopicPartition, TransactionalId};
use crate::wire::control_record::EndTransactionMarker;

use super::event::{Effect, MarkerTarget, TxnOutput};
use super::metadata::TransactionMetadata;
use super::{Transaction, TxnShard, record};

impl TxnShard {
    /// One marker for each partition of a decided transaction; none for any other.
    pub(super) fn markers_of(&self, id: &TransactionalId, metadata: &TransactionMetadata) -> Vec<Effect> {
        metadata.partitions.iter().filter_map(|partition| self.marker(id, metadata, partition)).collect()
    }

    fn marker(
        &self,
        id: &TransactionalId,
        metadata: &TransactionMetadata,
        partition: &TopicPartition,
    ) -> Option<Effect> {
        let result = metadata.state.decided()?;
        let producer = metadata.producer;
        let target = MarkerTarget {
            transactional_id: id.clone(),
            producer,
            transaction: metadata.transaction,
            partition: partition.clone(),
        };
        let marker = EndTransactionMarker { producer, result, coordinator_epoch: self.coordinator_epoch };
        Some(Effect::WriteMarker { target, marker, version: metadata.version })
    }

    /// A partition has its marker, or is gone for good: with the last one the transaction is complete.
    pub(super) fn marker_settled(&mut self, now: Timestamp, target: &MarkerTarget) -> TxnOutput {
        if self.awaiting(target).is_none() {
            return TxnOutput::default();
        }
        let Some(transaction) = self.transactions.get_mut(&target.transactional_id) else {
            return TxnOutput::default();
        };
        transaction.markers_pending.remove(&target.partition);
        if !transaction.markers_pending.is_empty() {
            return TxnOutput::default();
        }
        let completed = transaction.metadata.completed(now);
        let records = completed.map(|next| vec![record(&target.transactional_id, next)]);
        TxnOutput { write: records.map(Write::Records), ..TxnOutput::default() }
    }

    /// The partition knows a newer owner, so this coordinator stops asking. The transaction stays
    /// decided: the owner that has its log will `resume` it, and an operator can ask again.
    pub(super) fn marker_fenced(&self, target: &MarkerTarget) -> TxnOutput {
        if self.awaiting(target).is_some() {
            tracing::warn!(
                transactional_id = %target.transactional_id,
                producer = %target.producer,
                partition = %target.partition,
                "a partition refused a transaction marker as fenced; the transaction stays decided"
            );
        }
        TxnOutput::default()
    }

    pub(super) fn marker_failed(&self, target: MarkerTarget) -> TxnOutput {
        let again = self.awaiting(&target).and_then(|transaction| {
            self.marker(&target.transactional_id, &transaction.metadata, &target.partition)
        });
        TxnOutput { effects: again.into_iter().collect(), ..TxnOutput::default() }
    }

    /// The decided transaction that still waits for exactly this marker.
    fn awaiting(&self, target: &MarkerTarget) -> Option<&Transaction> {
        let transaction = self.transactions.get(&target.transactional_id)?;
        let metadata = &transaction.metadata;
        let same = metadata.producer == target.producer && metadata.transaction == target.transaction;
        // Only decided transactions have pending markers.
        (same && transaction.markers_pending.contains(&target.partition)).then_some(transaction)
    }
}
