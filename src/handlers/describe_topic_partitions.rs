//! DescribeTopicPartitions, version 0 (KIP-966): topics' partitions in pages, sorted by topic.
//!
//! A page ends at the client's limit or at `max.request.partition.size.limit`; the cursor names the
//! partition that the next one begins with. With one replica no partition has eligible leader
//! replicas: their lists are empty, never null, which Java's client could not read. Left out:
//! authorised operations.

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{topic_name, wire_broker, wire_topic, wire_topic_id};
use crate::ids::{BrokerId, TopicName};
use crate::metadata::decide::check_topic_name;
use crate::metadata::image::is_ingress_name;
use crate::metadata::{MetadataImage, PartitionImage, TopicImage};

/// A partition to begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Position {
    topic: TopicName,
    partition: i32,
}

/// A topic of a page: which of its partitions, or that there is no such topic.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Entry {
    Partitions { topic: TopicName, first: i32, end: i32 },
    Missing(TopicName),
}

/// One answer's worth of topics, and where the next one begins.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Page {
    entries: Vec<Entry>,
    next: Option<Position>,
}

/// Describes a page.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeTopicPartitionsRequest = context.decode()?;
    let cursor = request
        .cursor
        .as_ref()
        .map(|cursor| Position { topic: topic_name(&cursor.topic_name), partition: cursor.partition_index });
    if cursor.as_ref().is_some_and(|cursor| cursor.partition < 0) {
        let refused = request.topics.into_iter().map(|topic| {
            DescribeTopicPartitionsResponseTopic::default()
                .with_error_code(ErrorCode::InvalidRequest.code())
                .with_name(Some(topic.name))
        });
        return context.respond(&DescribeTopicPartitionsResponse::default().with_topics(refused.collect()));
    }
    let image = context.broker.metadata();
    let mut names: Vec<TopicName> = match request.topics.is_empty() {
        true => image.topics().map(|topic| topic.name.clone()).filter(is_listed).collect(),
        false => request.topics.iter().map(|topic| topic_name(&topic.name)).collect(),
    };
    names.sort_unstable();
    names.dedup();
    let counts = names.into_iter().map(|name| {
        let count = image.topic(name.as_str()).map(|topic| topic.partition_count());
        (name, count)
    });
    let limit = request.response_partition_limit.min(context.broker.config().net.request_partitions_max);
    let page = page(counts, cursor, limit.max(1));
    let next = page.next.map(|next| {
        Cursor::default().with_topic_name(wire_topic(&next.topic)).with_partition_index(next.partition)
    });
    let topics = page.entries.into_iter().map(|entry| describe(&image, entry)).collect();
    context.respond(&DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next))
}

fn is_listed(name: &TopicName) -> bool {
    !is_ingress_name(name.as_str())
}

/// What fits of sorted topics, with their numbers of partitions, from a cursor on (Kafka's
/// `KRaftMetadataCache.describeTopicResponse`). A cursor whose topic is gone begins at the one after it.
fn page(
    topics: impl Iterator<Item = (TopicName, Option<i32>)>,
    cursor: Option<Position>,
    limit: i32,
) -> Page {
    let mut left = limit;
    let mut entries = Vec::new();
    let is_ahead = |name: &TopicName| cursor.as_ref().is_none_or(|cursor| *name >= cursor.topic);
    for (topic, count) in topics.filter(|(name, _)| is_ahead(name)) {
        if left == 0 {
            return Page { entries, next: Some(Position { topic, partition: 0 }) };
        }
        let Some(count) = count else {
            entries.push(Entry::Missing(topic));
            continue;
        };
        let begun = cursor.as_ref().filter(|cursor| cursor.topic == topic);
        let first = begun.map_or(0, |cursor| cursor.partition).min(count);
        let end = first.saturating_add(left).min(count);
        left -= end - first;
        entries.push(Entry::Partitions { topic: topic.clone(), first, end });
        if end < count {
            return Page { entries, next: Some(Position { topic, partition: end }) };
        }
    }
    Page { entries, next: None }
}

fn describe(image: &MetadataImage, entry: Entry) -> DescribeTopicPartitionsResponseTopic {
    let missing = |name: &TopicName| {
        let code = check_topic_name(name.as_str()).map_or_else(|refusal| refusal.code, |()| MISSING);
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(code.code())
            .with_name(Some(wire_topic(name)))
    };
    match entry {
        Entry::Missing(name) => missing(&name),
        Entry::Partitions { topic, first, end } => match image.topic(topic.as_str()) {
            Some(topic) => describe_topic(topic, first, end),
            None => missing(&topic),
        },
    }
}

const MISSING: ErrorCode = ErrorCode::UnknownTopicOrPartition;

fn describe_topic(topic: &TopicImage, first: i32, end: i32) -> DescribeTopicPartitionsResponseTopic {
    let numbered = (0..).zip(&topic.partitions).filter(|(index, _)| (first..end).contains(index));
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wire_topic(&topic.name)))
        .with_topic_id(wire_topic_id(topic.id))
        .with_is_internal(topic.is_internal())
        .with_partitions(numbered.map(|(index, partition)| describe_partition(index, partition)).collect())
}

fn describe_partition(index: i32, partition: &PartitionImage) -> DescribeTopicPartitionsResponsePartition {
    let brokers = |ids: &[BrokerId]| ids.iter().map(|id| wire_broker(*id)).collect::<Vec<_>>();
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(wire_broker(partition.leader))
        .with_leader_epoch(partition.leader_epoch.value())
        .with_replica_nodes(brokers(&partition.replicas))
        .with_isr_nodes(brokers(&partition.isr))
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}

#[cfg(test)]
mod tests;
