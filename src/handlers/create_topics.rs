//! CreateTopics, versions 2 to 7.
//!
//! The replication factor must be 1 or the default (-1): there is one broker. An explicit
//! assignment must name this broker alone. `num_partitions` -1 takes the broker's default. As in Kafka a
//! request that asks for more than 10,000 partitions in all gets none of them.

use std::collections::BTreeMap;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::broker::{BrokerError, NewTopic};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, repeated, text, topic_name, wire_topic_id};
use crate::ids::TopicId;
use crate::metadata::decide::PARTITIONS_MAX;
use crate::metadata::image::is_internal_name;
use crate::quota::MutationRule;

/// A topic that can be created, or has been.
struct Checked {
    new: NewTopic,
    topic_id: Option<TopicId>,
    partitions: i32,
}

/// Creates topics, each on its own.
pub async fn handle(context: Context) -> Handled {
    let request: CreateTopicsRequest = context.decode()?;
    let mut checked = check_all(&context, &request);
    if !request.validate_only {
        create_all(&context, &mut checked).await;
    }
    let described =
        request.topics.iter().zip(checked).map(|(topic, checked)| describe(&context, topic, checked));
    context.respond(&CreateTopicsResponse::default().with_topics(described.collect()))
}

/// Which topics of a request can be created, for all that can be told before.
fn check_all(context: &Context, request: &CreateTopicsRequest) -> Vec<Result<Checked, BrokerError>> {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let asks_too_much = partitions_in_all(context, request) > i64::from(PARTITIONS_MAX);
    let check = |topic: &CreatableTopic| match (asks_too_much, repeated.contains(topic.name.as_str())) {
        (true, _) => {
            let why = format!("one request creates at most {PARTITIONS_MAX} partitions");
            Err(BrokerError::refused(ErrorCode::PolicyViolation, why))
        }
        (false, true) => {
            Err(BrokerError::refused(ErrorCode::InvalidRequest, "the request names this topic twice"))
        }
        (false, false) => check(context, topic),
    };
    request.topics.iter().map(check).collect()
}

fn check(context: &Context, topic: &CreatableTopic) -> Result<Checked, BrokerError> {
    let new = new_topic(context, topic)?;
    context.broker.validate_new_topic(&new)?;
    let partitions = new.partitions.unwrap_or(context.broker.config().num_partitions);
    Ok(Checked { new, topic_id: None, partitions })
}

/// Creates those that can be and that the client's quota allows.
async fn create_all(context: &Context, checked: &mut [Result<Checked, BrokerError>]) {
    for topic in &mut *checked {
        let Ok(Checked { partitions, .. }) = topic else { continue };
        if let Err(refused) = context.charge_mutations(mutation_rule(context.version()), *partitions) {
            *topic = Err(refused);
        }
    }
    let new: Vec<NewTopic> = checked.iter().flatten().map(|topic| topic.new.clone()).collect();
    let created = context.broker.create_topics(&new).await;
    let mut created = created.map(Vec::into_iter);
    for topic in checked {
        let Ok(Checked { topic_id, partitions, .. }) = topic else { continue };
        let outcome = match &mut created {
            Ok(created) => created.next().unwrap_or(Err(BrokerError::UnknownPartition)),
            Err(error) => Err(BrokerError::refused(error.code(), error.explanation())),
        };
        match outcome {
            Ok(created) => (*topic_id, *partitions) = (Some(created.id), created.partition_count()),
            Err(error) => *topic = Err(error),
        }
    }
}

/// Kafka's `ReplicationControlManager.validateTotalNumberOfPartitions`.
fn partitions_in_all(context: &Context, request: &CreateTopicsRequest) -> i64 {
    let of_one = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(context.broker.config().num_partitions),
        (0, named) => i64::from(named.max(0)),
        (assigned, _) => i64::try_from(assigned).unwrap_or(i64::MAX),
    };
    request.topics.iter().map(of_one).fold(0, i64::saturating_add)
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
    created: Result<Checked, BrokerError>,
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
    let configs = context.broker.describe_new_topic_config(&created.new.configs).into_iter().map(|entry| {
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
