//! Decisions over the metadata: what records a request leads to, or why it is refused.
//!
//! Nothing here changes anything; fresh ids come in as values.

use std::collections::BTreeMap;

use crate::error_code::ErrorCode;
use crate::ids::{BrokerId, ProducerId, TopicId, TopicName};
use crate::metadata::image::{METADATA_TOPIC, MetadataImage, TopicImage};
use crate::metadata::record::MetadataRecord;

/// The longest topic name (Kafka's `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;
/// The most partitions one topic may have here, and one request may create.
pub const PARTITIONS_MAX: i32 = 10_000;
/// How many producer ids a broker takes at a time, as Kafka's controller hands them out.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// Why a request changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MetadataRefusal {
    /// The protocol's answer.
    pub code: ErrorCode,
    /// What to tell the user.
    pub message: String,
}

impl MetadataRefusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> MetadataRefusal {
        MetadataRefusal { code, message: message.into() }
    }
}

/// A topic to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopic {
    /// Its name.
    pub name: TopicName,
    /// A new random id.
    pub id: TopicId,
    /// How many partitions.
    pub partitions: i32,
    /// The broker that will hold them.
    pub broker: BrokerId,
    /// Its own settings, already validated.
    pub configs: BTreeMap<String, String>,
}

/// The records that create a topic.
pub fn create_topic(
    image: &MetadataImage,
    topic: &CreateTopic,
) -> Result<Vec<MetadataRecord>, MetadataRefusal> {
    check_topic_name(topic.name.as_str())?;
    if topic.name.as_str() == METADATA_TOPIC {
        let message = format!("{METADATA_TOPIC} is the name of the metadata's own log");
        return Err(MetadataRefusal::new(ErrorCode::InvalidTopicException, message));
    }
    check_collision(image, topic.name.as_str())?;
    if !(1..=PARTITIONS_MAX).contains(&topic.partitions) {
        let message = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {}", topic.partitions);
        return Err(MetadataRefusal::new(ErrorCode::InvalidPartitions, message));
    }
    let mut records =
        vec![MetadataRecord::Topic { name: topic.name.to_string(), topic_id: topic.id.bytes() }];
    records.extend((0..topic.partitions).map(|index| new_partition(topic.id, index, topic.broker)));
    records.extend(topic.configs.iter().map(|(key, value)| MetadataRecord::TopicConfig {
        topic_id: topic.id.bytes(),
        key: key.clone(),
        value: Some(value.clone()),
    }));
    Ok(records)
}

/// The records that remove a topic.
pub fn delete_topic(topic: &TopicImage) -> Result<Vec<MetadataRecord>, MetadataRefusal> {
    if topic.is_internal() {
        let message = format!("{} is an internal topic and cannot be deleted", topic.name);
        return Err(MetadataRefusal::new(ErrorCode::InvalidTopicException, message));
    }
    Ok(vec![MetadataRecord::RemoveTopic { topic_id: topic.id.bytes() }])
}

/// The records that grow a topic to `total` partitions.
pub fn create_partitions(
    topic: &TopicImage,
    total: i32,
    broker: BrokerId,
) -> Result<Vec<MetadataRecord>, MetadataRefusal> {
    let present = topic.partition_count();
    if topic.is_internal() {
        let message = format!("{} is an internal topic: its partition count never changes", topic.name);
        return Err(MetadataRefusal::new(ErrorCode::InvalidTopicException, message));
    }
    if total == present {
        let message = format!("topic {} already has {present} partitions", topic.name);
        return Err(MetadataRefusal::new(ErrorCode::InvalidPartitions, message));
    }
    if total < present || total > PARTITIONS_MAX {
        let message = format!(
            "topic {} has {present} partitions; it can only grow, to at most {PARTITIONS_MAX}, not to {total}",
            topic.name
        );
        return Err(MetadataRefusal::new(ErrorCode::InvalidPartitions, message));
    }
    Ok(grow(topic, total, broker))
}

/// The records that make a topic have at least `total` partitions.
pub fn grow(topic: &TopicImage, total: i32, broker: BrokerId) -> Vec<MetadataRecord> {
    (topic.partition_count()..total).map(|index| new_partition(topic.id, index, broker)).collect()
}

/// The record that takes the next block of producer ids, and the block's first id.
pub fn allocate_producer_ids(image: &MetadataImage) -> (ProducerId, MetadataRecord) {
    let first = image.next_producer_id();
    let next_producer_id = first.value().saturating_add(PRODUCER_ID_BLOCK);
    (first, MetadataRecord::ProducerIds { next_producer_id })
}

/// Kafka's rules for topic names (`org.apache.kafka.common.internals.Topic`).
pub fn check_topic_name(name: &str) -> Result<(), MetadataRefusal> {
    let refuse = |why: String| Err(MetadataRefusal::new(ErrorCode::InvalidTopicException, why));
    if name.is_empty() {
        return refuse("a topic needs a name".to_owned());
    }
    if name == "." || name == ".." {
        return refuse(format!("a topic cannot be called {name:?}"));
    }
    if name.len() > TOPIC_NAME_LENGTH_MAX {
        return refuse(format!(
            "a topic name has at most {TOPIC_NAME_LENGTH_MAX} characters, not {}",
            name.len()
        ));
    }
    let legal = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    match name.chars().find(|character| !legal(*character)) {
        Some(character) => refuse(format!(
            "topic name {name:?} holds {character:?}; letters, digits, '.', '_' and '-' are allowed"
        )),
        None => Ok(()),
    }
}

/// Names that differ only in `.` and `_` share metric names, so Kafka lets only one of them exist.
fn check_collision(image: &MetadataImage, name: &str) -> Result<(), MetadataRefusal> {
    if image.topic(name).is_some() {
        return Err(MetadataRefusal::new(
            ErrorCode::TopicAlreadyExists,
            format!("topic {name:?} already exists"),
        ));
    }
    match image.colliding_topic(name) {
        Some(other) => Err(MetadataRefusal::new(
            ErrorCode::InvalidTopicException,
            format!("topic name {name:?} collides with {:?}: '.' and '_' count as the same", other.as_str()),
        )),
        None => Ok(()),
    }
}

fn new_partition(topic_id: TopicId, partition: i32, broker: BrokerId) -> MetadataRecord {
    MetadataRecord::Partition {
        topic_id: topic_id.bytes(),
        partition,
        replicas: vec![broker.value()],
        isr: vec![broker.value()],
        leader: broker.value(),
        leader_epoch: 0,
    }
}

#[cfg(test)]
mod tests;
