//! AlterPartitionReassignments, versions 0 and 1 (KIP-455): with one broker, an assignment to it alone
//! is what every partition has; any other is refused, and there is nothing to cancel.

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, topic_name, topic_partition};
use crate::ids::TopicName;

/// Answers for each partition.
pub fn handle(context: &Context) -> Handled {
    let request: AlterPartitionReassignmentsRequest = context.decode()?;
    let topics = request.topics.into_iter().map(|topic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let (code, why) = match reassign(context, &name, partition) {
                Ok(()) => (ErrorCode::None, String::new()),
                Err(refused) => refused,
            };
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code.code())
                .with_error_message(message(code, why))
        });
        let partitions = partitions.collect();
        ReassignableTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let mut response = AlterPartitionReassignmentsResponse::default().with_responses(topics.collect());
    if context.version() >= 1 {
        response = response.with_allow_replication_factor_change(request.allow_replication_factor_change);
    }
    context.respond(&response)
}

fn reassign(
    context: &Context,
    topic: &TopicName,
    partition: &ReassignablePartition,
) -> Result<(), (ErrorCode, String)> {
    let index = partition.partition_index;
    let found = topic_partition(topic, index).and_then(|partition| context.broker.partition(&partition).ok());
    if found.is_none() {
        let why = format!("there is no partition {topic}-{index}");
        return Err((ErrorCode::UnknownTopicOrPartition, why));
    }
    match &partition.replicas {
        None => {
            Err((ErrorCode::NoReassignmentInProgress, format!("{topic}-{index} is not being reassigned")))
        }
        Some(replicas) => check_replicas(replicas, context.broker.broker_id().value())
            .map_err(|why| (ErrorCode::InvalidReplicaAssignment, why)),
    }
}

/// Kafka's order: an empty list, doubles, then brokers that are not there.
fn check_replicas(replicas: &[BrokerId], this_broker: i32) -> Result<(), String> {
    if replicas.is_empty() {
        return Err("the list of replicas is empty".to_owned());
    }
    for (position, replica) in replicas.iter().enumerate() {
        if replicas.iter().take(position).any(|other| other == replica) {
            return Err(format!("broker {} is named twice", replica.0));
        }
        if replica.0 != this_broker {
            return Err(format!(
                "there is no broker {}; this broker, {this_broker}, is the only one",
                replica.0
            ));
        }
    }
    Ok(())
}
