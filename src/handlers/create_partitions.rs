//! CreatePartitions, versions 0 to 3: a topic only grows.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use crate::broker::BrokerError;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{topic_name, verdict};
use crate::quota::MutationRule;

/// Grows topics, each on its own.
pub async fn handle(context: Context) -> Handled {
    let request: CreatePartitionsRequest = context.decode()?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let grown = grow(&context, &topic, request.validate_only).await;
        let (code, why) = verdict(grown);
        results.push(
            CreatePartitionsTopicResult::default()
                .with_name(topic.name)
                .with_error_code(code)
                .with_error_message(why),
        );
    }
    context.respond(&CreatePartitionsResponse::default().with_results(results))
}

async fn grow(
    context: &Context,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), BrokerError> {
    let name = topic_name(&topic.name);
    let this_broker = context.broker.broker_id().value();
    let is_here = |ids: &[kafka_protocol::messages::BrokerId]| ids.len() == 1 && ids[0].0 == this_broker;
    if topic.assignments.iter().flatten().any(|assignment| !is_here(&assignment.broker_ids)) {
        let why = "every partition must be assigned to this broker alone";
        return Err(BrokerError::refused(ErrorCode::InvalidReplicaAssignment, why));
    }
    context.broker.validate_new_partitions(&name, topic.count)?;
    if validate_only {
        return Ok(());
    }
    // Since version 3 clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
    let rule = if context.version() >= 3 { MutationRule::Strict } else { MutationRule::Permissive };
    let present = context.broker.metadata().topic(name.as_str()).map_or(0, |topic| topic.partition_count());
    context.charge_mutations(rule, topic.count.saturating_sub(present))?;
    context.broker.create_partitions(&name, topic.count).await
}
