//! AddPartitionsToTxn, versions 0 to 5: clients add to one transaction (0 to 3), brokers to several
//! or only look (4 and 5). All partitions are added or none (OPERATION_NOT_ATTEMPTED).

use std::collections::HashMap;

use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use crate::broker::AddToTransaction;
use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{producer, topic_name, topic_partition, transactional_id};
use crate::ids::TopicPartition;
use crate::metadata::image::is_internal_name;
use crate::wire::control_record::TransactionVersion;

/// Adds partitions to transactions.
pub async fn handle(context: Context) -> Handled {
    let request: AddPartitionsToTxnRequest = context.decode()?;
    if context.version() >= 4 {
        let mut results = Vec::with_capacity(request.transactions.len());
        for transaction in &request.transactions {
            let topics = one(&context, transaction).await;
            results.push(
                AddPartitionsToTxnResult::default()
                    .with_transactional_id(transaction.transactional_id.clone())
                    .with_topic_results(topics),
            );
        }
        return context.respond(&AddPartitionsToTxnResponse::default().with_results_by_transaction(results));
    }
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(request.v3_and_below_transactional_id)
        .with_producer_id(request.v3_and_below_producer_id)
        .with_producer_epoch(request.v3_and_below_producer_epoch)
        .with_topics(request.v3_and_below_topics);
    let topics = one(&context, &transaction).await;
    context.respond(&AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics))
}

async fn one(
    context: &Context,
    transaction: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let partitions = named(&transaction.topics);
    let bad: HashMap<TopicPartition, ErrorCode> = partitions
        .iter()
        .filter_map(|partition| refusal(context, partition).map(|code| (partition.clone(), code)))
        .collect();
    if !bad.is_empty() {
        return describe(&transaction.topics, |partition| {
            let own = partition.and_then(|partition| bad.get(partition));
            own.copied().unwrap_or(ErrorCode::OperationNotAttempted)
        });
    }
    let partitions = partitions.iter().map(|named| context.broker.transaction_target(named)).collect();
    let Some(producer) = producer(transaction.producer_id, transaction.producer_epoch) else {
        return describe(&transaction.topics, |_| ErrorCode::InvalidProducerIdMapping);
    };
    let add = AddToTransaction {
        transactional_id: transactional_id(&transaction.transactional_id),
        producer,
        partitions,
        api: ClientApi::of_add_partitions(context.version()),
        version: TransactionVersion::V1,
    };
    if transaction.verify_only {
        let verified = context.broker.verify_in_transaction(add).await;
        let verified = verified.map(|results| results.into_iter().collect::<HashMap<_, _>>());
        return describe(&transaction.topics, |partition| match &verified {
            Ok(results) => {
                let target = partition.map(|named| context.broker.transaction_target(named));
                let own = target.and_then(|target| results.get(&target));
                own.copied().unwrap_or(ErrorCode::UnknownTopicOrPartition)
            }
            Err(error) => error.code(),
        });
    }
    let code = context.broker.add_to_transaction(add).await.map_or_else(|e| e.code(), |()| ErrorCode::None);
    describe(&transaction.topics, |_| code)
}

fn named(topics: &[AddPartitionsToTxnTopic]) -> Vec<TopicPartition> {
    let all = topics.iter().flat_map(|topic| {
        let name = topic_name(&topic.name);
        topic.partitions.iter().filter_map(move |index| topic_partition(&name, *index))
    });
    all.collect()
}

fn refusal(context: &Context, partition: &TopicPartition) -> Option<ErrorCode> {
    if is_internal_name(partition.topic.as_str()) {
        return Some(ErrorCode::InvalidTopicException);
    }
    context.broker.partition(partition).err().map(|error| error.code())
}

fn describe(
    topics: &[AddPartitionsToTxnTopic],
    code_of: impl Fn(Option<&TopicPartition>) -> ErrorCode,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let describe_topic = |topic: &AddPartitionsToTxnTopic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partitions.iter().map(|index| {
            let code = match topic_partition(&name, *index) {
                Some(partition) => code_of(Some(&partition)),
                None => ErrorCode::UnknownTopicOrPartition,
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code.code())
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    };
    topics.iter().map(describe_topic).collect()
}
