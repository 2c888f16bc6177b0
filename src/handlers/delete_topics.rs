//! DeleteTopics, versions 1 to 6: by name, or since version 6 by id (KIP-516).

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::broker::BrokerError;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{topic_id, topic_name, verdict, wire_topic};
use crate::ids::TopicName;
use crate::quota::MutationRule;

/// Deletes topics, each on its own.
pub async fn handle(context: Context) -> Handled {
    let request: DeleteTopicsRequest = context.decode()?;
    let mut responses = Vec::new();
    let named =
        request.topic_names.iter().map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
    for topic in request.topics.iter().cloned().chain(named) {
        let name = name_of(&context, &topic);
        let deleted = match &name {
            Ok(name) => delete(&context, name).await,
            Err(code) => Err(BrokerError::refused(*code, "there is no topic of this id")),
        };
        responses.push(describe(context.version(), &topic, name.ok(), deleted));
    }
    context.respond(&DeleteTopicsResponse::default().with_responses(responses))
}

async fn delete(context: &Context, name: &TopicName) -> Result<(), BrokerError> {
    // Since version 5 clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
    let rule = if context.version() >= 5 { MutationRule::Strict } else { MutationRule::Permissive };
    let partitions = context.broker.metadata().topic(name.as_str()).map(|topic| topic.partition_count());
    context.charge_mutations(rule, partitions.ok_or(BrokerError::UnknownPartition)?)?;
    context.broker.delete_topic(name).await
}

fn name_of(context: &Context, topic: &DeleteTopicState) -> Result<TopicName, ErrorCode> {
    match (&topic.name, topic_id(topic.topic_id)) {
        (Some(_), Some(_)) | (None, None) => Err(ErrorCode::InvalidRequest),
        (Some(name), None) => Ok(topic_name(name)),
        (None, Some(id)) => {
            let image = context.broker.metadata();
            image.topic_by_id(id).map(|topic| topic.name.clone()).ok_or(ErrorCode::UnknownTopicId)
        }
    }
}

fn describe(
    version: i16,
    topic: &DeleteTopicState,
    name: Option<TopicName>,
    deleted: Result<(), BrokerError>,
) -> DeletableTopicResult {
    let (code, why) = verdict(deleted);
    let name = name.as_ref().map(wire_topic).or_else(|| topic.name.clone());
    let mut result = DeletableTopicResult::default().with_error_code(code);
    result = match version {
        ..6 => result.with_name(Some(name.unwrap_or_default())),
        6.. => result.with_name(name).with_topic_id(topic.topic_id),
    };
    match version {
        ..5 => result,
        5.. => result.with_error_message(why),
    }
}
