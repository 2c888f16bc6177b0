//! ListTransactions, versions 0 and 1: filtered by state, producer id and, since 1, running time.
//!
//! Left out: version 2, whose filter is a regular expression over transactional ids.

use kafka_protocol::messages::list_transactions_response::TransactionState;
use kafka_protocol::messages::{self, ListTransactionsRequest, ListTransactionsResponse};

use crate::coordinator::txn::{ListFilters, ListedTransaction};
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::text;
use crate::ids::ProducerId;

/// Lists the transactions of all shards.
pub async fn handle(context: Context) -> Handled {
    let request: ListTransactionsRequest = context.decode()?;
    let filters = ListFilters {
        states: request.state_filters.iter().map(ToString::to_string).collect(),
        producer_ids: request
            .producer_id_filters
            .iter()
            .filter_map(|id| ProducerId::from_wire(id.0))
            .collect(),
        duration_ms: (context.version() >= 1 && request.duration_filter >= 0)
            .then_some(request.duration_filter),
    };
    let response = match context.broker.list_transactions(filters).await {
        Ok(listing) => ListTransactionsResponse::default()
            .with_unknown_state_filters(listing.unknown_state_filters.into_iter().map(text).collect())
            .with_transaction_states(listing.transactions.iter().map(describe).collect()),
        Err(error) => ListTransactionsResponse::default().with_error_code(error.code().code()),
    };
    context.respond(&response)
}

fn describe(transaction: &ListedTransaction) -> TransactionState {
    TransactionState::default()
        .with_transactional_id(messages::TransactionalId(text(transaction.transactional_id.as_str())))
        .with_producer_id(messages::ProducerId(transaction.producer_id.value()))
        .with_transaction_state(text(transaction.state.name()))
}
