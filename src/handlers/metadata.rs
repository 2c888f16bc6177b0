//! Metadata, versions 0 to 13: brokers, topics, partitions; creates a missing topic if both the
//! client and `auto.create.topics.enable` allow it. Of the broker's own topics only the coordinators' are
//! created in this way, as they must be.
//!
//! Topics can be asked for by name or, since version 12, by id (KIP-516). Left out: authorised
//! operations (there are no ACLs yet, so the protocol's "unknown" stands there).

use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

use crate::broker::{Broker, BrokerError, NewTopic, OFFSETS_TOPIC, TRANSACTION_TOPIC};
use crate::config::AutoCreateTopics;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{text, topic_id, topic_name, wire_broker, wire_topic, wire_topic_id};
use crate::ids::TopicName;
use crate::metadata::image::{is_ingress_name, is_internal_name};
use crate::metadata::{PartitionImage, TopicImage};

/// The first version in which topics are asked for by id.
const BY_ID_VERSION: i16 = 12;

/// Describes the cluster and the topics asked for.
pub async fn handle(context: Context) -> Handled {
    let request: MetadataRequest = context.decode()?;
    let wants_all = match &request.topics {
        None => true,
        // Version 0 had no null: an empty list asked for everything.
        Some(topics) => topics.is_empty() && context.version() == 0,
    };
    let may_create = context.version() < 4 || request.allow_auto_topic_creation;
    let topics = match request.topics {
        Some(topics) if !wants_all => describe_these(&context, &topics, may_create).await,
        Some(_) | None => describe_all(&context),
    };
    let (host, port) = context.advertised();
    let broker_id = wire_broker(context.broker.broker_id());
    let broker =
        MetadataResponseBroker::default().with_node_id(broker_id).with_host(text(host)).with_port(port);
    let mut response = MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics);
    if context.version() >= 1 {
        response = response.with_controller_id(broker_id);
    }
    if context.version() >= 2 {
        response = response.with_cluster_id(Some(text(context.broker.metadata().cluster_id())));
    }
    context.respond(&response)
}

fn describe_all(context: &Context) -> Vec<MetadataResponseTopic> {
    let image = context.broker.metadata();
    let listed = image.topics().filter(|topic| !is_ingress_name(topic.name.as_str()));
    listed.map(|topic| describe(context.version(), topic)).collect()
}

async fn describe_these(
    context: &Context,
    topics: &[MetadataRequestTopic],
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    // Versions 10 and 11 have the fields of version 12, and may not use them.
    let is_ahead = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_nil();
    if context.version() < BY_ID_VERSION && topics.iter().any(is_ahead) {
        let name = |topic: &MetadataRequestTopic| topic.name.as_ref().map_or(TopicName::new(""), topic_name);
        return topics.iter().map(|topic| refuse(&name(topic), ErrorCode::InvalidRequest)).collect();
    }
    let mut described = Vec::with_capacity(topics.len());
    for topic in topics {
        described.push(match (&topic.name, topic_id(topic.topic_id)) {
            (Some(name), None) => describe_by_name(context, &topic_name(name), may_create).await,
            (_, Some(id)) => match context.broker.metadata().topic_by_id(id) {
                Some(topic) => describe(context.version(), topic),
                None => MetadataResponseTopic::default()
                    .with_error_code(ErrorCode::UnknownTopicId.code())
                    .with_name(None)
                    .with_topic_id(topic.topic_id),
            },
            (None, None) => refuse(&TopicName::new(""), ErrorCode::InvalidTopicException),
        });
    }
    described
}

async fn describe_by_name(context: &Context, name: &TopicName, may_create: bool) -> MetadataResponseTopic {
    if let Some(topic) = context.broker.metadata().topic(name.as_str()) {
        return describe(context.version(), topic);
    }
    if let Err(refusal) = crate::metadata::decide::check_topic_name(name.as_str()) {
        return refuse(name, refusal.code);
    }
    if !may_create || context.broker.config().auto_create_topics == AutoCreateTopics::Disabled {
        return refuse(name, ErrorCode::UnknownTopicOrPartition);
    }
    match create(&context.broker, name).await {
        Ok(topic) => describe(context.version(), &topic),
        Err(error) if error.code() == ErrorCode::TopicAlreadyExists => {
            match context.broker.metadata().topic(name.as_str()) {
                Some(topic) => describe(context.version(), topic),
                None => refuse(name, ErrorCode::LeaderNotAvailable),
            }
        }
        Err(error) => refuse(name, error.code()),
    }
}

/// Creates a topic for whoever asks for it. The coordinators' topics are made as for a coordinator (Kafka's
/// `AutoTopicCreationManager`), and no others of the broker's own.
async fn create(broker: &Broker, name: &TopicName) -> Result<Arc<TopicImage>, BrokerError> {
    match name.as_str() {
        OFFSETS_TOPIC => broker.offsets_topic().await,
        TRANSACTION_TOPIC => broker.transaction_topic().await,
        own if is_internal_name(own) => Err(BrokerError::UnknownPartition),
        _ => {
            let new = NewTopic { name: name.clone(), partitions: None, configs: Default::default() };
            broker.create_topic(&new).await
        }
    }
}

fn refuse(name: &TopicName, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic::default().with_error_code(code.code()).with_name(Some(wire_topic(name)))
}

fn describe(version: i16, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions = (0..).zip(&topic.partitions);
    let mut response =
        MetadataResponseTopic::default().with_name(Some(wire_topic(&topic.name))).with_partitions(
            partitions.map(|(index, partition)| describe_partition(version, index, partition)).collect(),
        );
    if version >= 1 {
        response = response.with_is_internal(topic.is_internal());
    }
    if version >= 10 {
        response = response.with_topic_id(wire_topic_id(topic.id));
    }
    response
}

fn describe_partition(version: i16, index: i32, partition: &PartitionImage) -> MetadataResponsePartition {
    let brokers = |ids: &[crate::ids::BrokerId]| ids.iter().map(|id| wire_broker(*id)).collect::<Vec<_>>();
    let mut response = MetadataResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(wire_broker(partition.leader))
        .with_replica_nodes(brokers(&partition.replicas))
        .with_isr_nodes(brokers(&partition.isr));
    if version >= 7 {
        response = response.with_leader_epoch(partition.leader_epoch.value());
    }
    response
}
