//! DescribeProducers, version 0: who writes to a partition, and who has a transaction open there.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{self, DescribeProducersRequest, DescribeProducersResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, topic_name, topic_partition};
use crate::ids::{CoordinatorEpoch, Offset, Sequence, TopicName};
use crate::log::ProducerView;

/// Describes the producers of partitions.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeProducersRequest = context.decode()?;
    let topics = request.topics.into_iter().map(|topic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partition_indexes.iter().map(|index| describe(context, &name, *index));
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    context.respond(&DescribeProducersResponse::default().with_topics(topics.collect()))
}

fn describe(context: &Context, topic: &TopicName, index: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    let partition =
        topic_partition(topic, index).and_then(|partition| context.broker.partition(&partition).ok());
    let Some(partition) = partition else {
        let code = ErrorCode::UnknownTopicOrPartition;
        return response
            .with_error_code(code.code())
            .with_error_message(message(code, format!("there is no partition {topic}-{index}")));
    };
    response.with_active_producers(partition.producers().iter().map(describe_producer).collect())
}

fn describe_producer(producer: &ProducerView) -> ProducerState {
    ProducerState::default()
        .with_producer_id(messages::ProducerId(producer.producer_id.value()))
        .with_producer_epoch(i32::from(producer.epoch.value()))
        .with_last_sequence(producer.last_sequence.map_or(-1, Sequence::value))
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(producer.coordinator_epoch.map_or(-1, CoordinatorEpoch::value))
        .with_current_txn_start_offset(producer.current_transaction_start_offset.map_or(-1, Offset::value))
}
