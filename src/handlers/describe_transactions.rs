//! DescribeTransactions, version 0: where transactional ids stand (KIP-664).

use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{self, DescribeTransactionsRequest, DescribeTransactionsResponse};

use crate::coordinator::txn::TransactionDescription;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{text, transactional_id, wire_topic};
use crate::ids::{TopicName, TopicPartition};

/// Describes transactional ids, each from its own shard.
pub async fn handle(context: Context) -> Handled {
    let request: DescribeTransactionsRequest = context.decode()?;
    let mut states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        let described = context.broker.describe_transaction(transactional_id(&id)).await;
        let state = TransactionState::default().with_transactional_id(id);
        states.push(match described {
            Ok(description) => describe(state, &description),
            Err(error) => state
                .with_error_code(error.code().code())
                .with_transaction_start_time_ms(-1)
                .with_producer_id(messages::ProducerId(-1))
                .with_producer_epoch(-1),
        });
    }
    context.respond(&DescribeTransactionsResponse::default().with_transaction_states(states))
}

fn describe(state: TransactionState, description: &TransactionDescription) -> TransactionState {
    state
        .with_transaction_state(text(description.state.name()))
        .with_transaction_timeout_ms(description.timeout_ms)
        .with_transaction_start_time_ms(description.start.map_or(-1, |start| start.ms()))
        .with_producer_id(messages::ProducerId(description.producer.id.value()))
        .with_producer_epoch(description.producer.epoch.value())
        .with_topics(topics_of(&description.partitions))
}

fn topics_of(partitions: &[TopicPartition]) -> Vec<TopicData> {
    let mut topics: Vec<(&TopicName, Vec<i32>)> = Vec::new();
    for TopicPartition { topic, partition } in partitions {
        match topics.iter_mut().find(|(name, _)| *name == topic) {
            Some((_, indexes)) => indexes.push(partition.value()),
            None => topics.push((topic, vec![partition.value()])),
        }
    }
    let describe =
        |(topic, indexes)| TopicData::default().with_topic(wire_topic(topic)).with_partitions(indexes);
    topics.into_iter().map(describe).collect()
}
