//! DescribeLogDirs, versions 1 to 4: the log directories, their partitions with their sizes, and
//! since version 4 the room on their file systems (KIP-827).
//!
//! Sizes are those of segments' records; there are no future replicas and no lag.

use std::collections::{BTreeMap, HashSet};

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::disk::DiskSpace;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{text, topic_name, wire_topic};
use crate::ids::TopicName;

/// Describes the directories.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeLogDirsRequest = context.decode()?;
    let wanted: Option<HashSet<(TopicName, i32)>> = request.topics.map(|topics| {
        let named = topics.into_iter().flat_map(|topic| {
            let name = topic_name(&topic.topic);
            topic.partitions.into_iter().map(move |index| (name.clone(), index))
        });
        named.collect()
    });
    let is_wanted = |topic: &TopicName, index: i32| match &wanted {
        None => true,
        Some(wanted) => wanted.contains(&(topic.clone(), index)),
    };
    let directories = context.broker.log_dirs();
    let mut topics: Vec<BTreeMap<TopicName, Vec<DescribeLogDirsPartition>>> =
        directories.iter().map(|_| BTreeMap::new()).collect();
    for partition in context.broker.partitions() {
        let topic_partition = partition.topic_partition();
        let index = topic_partition.partition.value();
        let held = topics.get_mut(context.broker.log_dir_of(topic_partition));
        if let Some(held) = held.filter(|_| is_wanted(&topic_partition.topic, index)) {
            let described = DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX));
            held.entry(topic_partition.topic.clone()).or_default().push(described);
        }
    }
    let described = directories.iter().zip(topics).enumerate();
    let results = described.map(|(index, (directory, topics))| {
        let result = DescribeLogDirsResult::default()
            .with_log_dir(text(directory.to_string_lossy()))
            .with_topics(topics.into_iter().map(described_topic).collect());
        if context.version() >= 4 { with_space(result, context.broker.log_dir_space(index)) } else { result }
    });
    context.respond(&DescribeLogDirsResponse::default().with_results(results.collect()))
}

fn described_topic(
    (name, mut partitions): (TopicName, Vec<DescribeLogDirsPartition>),
) -> DescribeLogDirsTopic {
    partitions.sort_unstable_by_key(|partition| partition.partition_index);
    DescribeLogDirsTopic::default().with_name(wire_topic(&name)).with_partitions(partitions)
}

fn with_space(result: DescribeLogDirsResult, space: Option<DiskSpace>) -> DescribeLogDirsResult {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    result
        .with_total_bytes(space.map_or(-1, |space| bytes(space.total_bytes)))
        .with_usable_bytes(space.map_or(-1, |space| bytes(space.usable_bytes)))
}
