//! CreateTopics, versions 2 to 7.
//!
//! The replication factor must be 1 or the default (-1): there is one broker. An explicit
//! assignment must name this broker alone. `num_partitions` -1 takes the broker's default.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::broker::{BrokerError, NewTopic};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, text, topic_name, wire_topic_id};
use crate::ids::TopicId;
use crate::metadata::image::is_internal_name;
use crate::quota::MutationRule;

struct Created {
    topic_id: Option<TopicId>,
    partitions: i32,
    configs: BTreeMap<String, String>,
}

/// Creates topics, each on its own.
pub async fn handle(context: Context) -> Handled {
    let request: CreateTopicsRequest = context.decode()?;
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let is_repeated = request.topics.iter().filter(|other| other.name == topic.name).count() > 1;
        let created = match is_repeated {
            true => {
                Err(BrokerError::refused(ErrorCode::InvalidRequest, "the request names this topic twice"))
            }
            false => create(&context, topic, request.validate_only).await,
        };
        results.push(describe(&context, topic, created));
    }
    context.respond(&CreateTopicsResponse::default().with_topics(results))
}

async fn create(
    context: &Context,
    topic: &CreatableTopic,
    validate_only: bool,
) -> Result<Created, BrokerError> {
    let new = new_topic(context, topic)?;
    let default_partitions = context.broker.config().num_partitions;
    let configs = new.configs.clone();
    if validate_only {
        context.broker.validate_new_topic(&new)?;
        let partitions = new.partitions.unwrap_or(default_partitions);
        return Ok(Created { topic_id: None, partitions, configs });
    }
    context.broker.validate_new_topic(&new)?;
    context
        .charge_mutations(mutation_rule(context.version()), new.partitions.unwrap_or(default_partitions))?;
    let created = context.broker.create_topic(&new).await?;
    Ok(Created { topic_id: Some(created.id), partitions: created.partition_count(), configs })
}

/// Since version 6 clients know THROTTLING_QUOTA_EXCEEDED (KIP-599).
fn mutation_rule(version: i16) -> MutationRule {
    if version >= 6 { MutationRule::Strict } else { MutationRule::Permissive }
}

fn new_topic(context: &Context, topic: &CreatableTopic) -> Result<NewTopic, BrokerError> {
    let name = topic_name(&topic.name);
    if is_internal_name(name.as_str()) {
        let why = "names that start with \"__\" belong to the broker";
        return Err(BrokerError::refused(ErrorCode::InvalidTopicException, why));
    }
    let partitions = match topic.assignments.is_empty() {
        true => partitions_of(topic)?,
        false => Some(assigned_partitions(context, topic)?),
    };
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        if let Some(value) = &config.value {
            configs.insert(config.name.to_string(), value.to_string());
        }
    }
    Ok(NewTopic { name, partitions, configs })
}

fn partitions_of(topic: &CreatableTopic) -> Result<Option<i32>, BrokerError> {
    if ![-1, 1].contains(&topic.replication_factor) {
        let why = format!(
            "replication factor {} is not possible: there is 1 broker; use 1 or -1",
            topic.replication_factor
        );
        return Err(BrokerError::refused(ErrorCode::InvalidReplicationFactor, why));
    }
    Ok((topic.num_partitions != -1).then_some(topic.num_partitions))
}

fn assigned_partitions(context: &Context, topic: &CreatableTopic) -> Result<i32, BrokerError> {
    let invalid = |why: &str| Err(BrokerError::refused(ErrorCode::InvalidReplicaAssignment, why));
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let why = "an assignment goes with neither a partition count nor a replication factor";
        return Err(BrokerError::refused(ErrorCode::InvalidRequest, why));
    }
    let this_broker = context.broker.broker_id().value();
    let mut indexes: Vec<i32> =
        topic.assignments.iter().map(|assignment| assignment.partition_index).collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq((0..).take(indexes.len())) {
        return invalid("partitions must be numbered from 0 without gaps");
    }
    let is_here = |ids: &[kafka_protocol::messages::BrokerId]| ids.len() == 1 && ids[0].0 == this_broker;
    if !topic.assignments.iter().all(|assignment| is_here(&assignment.broker_ids)) {
        return invalid("every partition must be assigned to this broker alone");
    }
    i32::try_from(indexes.len()).or_else(|_| invalid("too many partitions"))
}

fn describe(
    context: &Context,
    topic: &CreatableTopic,
    created: Result<Created, BrokerError>,
) -> CreatableTopicResult {
    let version = context.version();
    let result = CreatableTopicResult::default().with_name(topic.name.clone());
    let created = match created {
        Ok(created) => created,
        Err(error) => {
            let code = error.code();
            let result =
                result.with_error_code(code.code()).with_error_message(message(code, error.explanation()));
            return match version {
                ..5 => result,
                5.. => {
                    result.with_num_partitions(-1).with_replication_factor(-1).with_configs(Some(Vec::new()))
                }
            };
        }
    };
    if version < 5 {
        return result;
    }
    let configs = context.broker.describe_new_topic_config(&created.configs).into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(text(entry.name))
            .with_value(entry.value.map(text))
            .with_read_only(entry.is_read_only)
            .with_config_source(entry.source.code())
    });
    let result = result
        .with_num_partitions(created.partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()));
    match (version, created.topic_id) {
        (7.., Some(id)) => result.with_topic_id(wire_topic_id(id)),
        _ => result,
    }
}
