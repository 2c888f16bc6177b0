//! DescribeTransactions and ListTransactions (KIP-664). Reads only.

use crate::clock::Timestamp;
use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::TransactionalId;

use super::event::{
    ListFilters, ListedTransaction, Reply, TransactionDescription, TransactionListing, TxnOutput,
};
use super::metadata::{TransactionMetadata, TransactionState};
use super::{TxnShard, answer};

/// States that Kafka knows by name and that nothing here ever stands in.
const STATES_NEVER_SEEN: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl TxnShard {
    pub(super) fn describe(&self, request: RequestId, id: &TransactionalId) -> TxnOutput {
        answer(request, Reply::Describe(self.description(id)))
    }

    fn description(&self, id: &TransactionalId) -> Result<TransactionDescription, ErrorCode> {
        if id.as_str().is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let transaction = self.transactions.get(id).ok_or(ErrorCode::TransactionalIdNotFound)?;
        let metadata = &transaction.metadata;
        Ok(TransactionDescription {
            state: metadata.state,
            producer: metadata.producer,
            timeout_ms: metadata.timeout_ms,
            start: running_since(metadata),
            partitions: metadata.partitions.iter().cloned().collect(),
            markers_pending: transaction.markers_pending.iter().cloned().collect(),
        })
    }

    pub(super) fn list(&self, now: Timestamp, request: RequestId, filters: &ListFilters) -> TxnOutput {
        let transactions = self
            .transactions
            .iter()
            .filter(|(_, transaction)| matches(filters, now, &transaction.metadata))
            .map(|(id, transaction)| ListedTransaction {
                transactional_id: id.clone(),
                producer_id: transaction.metadata.producer.id,
                state: transaction.metadata.state,
            });
        let unknown = filters.states.iter().filter(|name| !is_state_name(name));
        answer(
            request,
            Reply::List(TransactionListing {
                transactions: transactions.collect(),
                unknown_state_filters: unknown.cloned().collect(),
            }),
        )
    }
}

fn matches(filters: &ListFilters, now: Timestamp, metadata: &TransactionMetadata) -> bool {
    let state = filters.states.is_empty() || filters.states.iter().any(|name| name == metadata.state.name());
    let producer = filters.producer_ids.is_empty() || filters.producer_ids.contains(&metadata.producer.id);
    let duration = match filters.duration_ms {
        None => true,
        // An id without a transaction has not run for any time at all.
        Some(duration_ms) => {
            running_since(metadata).is_some_and(|start| now.ms().saturating_sub(start.ms()) > duration_ms)
        }
    };
    state && producer && duration
}

fn is_state_name(name: &str) -> bool {
    TransactionState::ALL.iter().any(|state| state.name() == name) || STATES_NEVER_SEEN.contains(&name)
}

fn running_since(metadata: &TransactionMetadata) -> Option<Timestamp> {
    if metadata.state.is_idle() { None } else { metadata.start }
}
