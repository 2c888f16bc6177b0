//! DescribeLogDirs, versions 1 to 4: the one data directory, its partitions with their sizes, and
//! since version 4 the room on its file system (KIP-827).
//!
//! Sizes are those of segments' records; there are no future replicas and no lag.

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{text, topic_name, wire_topic};
use crate::ids::TopicName;

/// Describes the directory.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeLogDirsRequest = context.decode()?;
    let wanted = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| (topic_name(&topic.topic), topic.partitions));
        named.collect::<Vec<_>>()
    });
    let is_wanted = |topic: &TopicName, index: i32| match &wanted {
        None => true,
        Some(topics) => topics.iter().any(|(name, indexes)| name == topic && indexes.contains(&index)),
    };
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in context.broker.partitions() {
        let topic_partition = partition.topic_partition();
        let index = topic_partition.partition.value();
        if is_wanted(&topic_partition.topic, index) {
            let described = DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(i64::try_from(partition.size_bytes()).unwrap_or(i64::MAX));
            topics.entry(topic_partition.topic.clone()).or_default().push(described);
        }
    }
    let topics = topics.into_iter().map(|(name, mut partitions)| {
        partitions.sort_unstable_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic::default().with_name(wire_topic(&name)).with_partitions(partitions)
    });
    let mut result = DescribeLogDirsResult::default()
        .with_log_dir(text(context.broker.log_dir().to_string_lossy()))
        .with_topics(topics.collect());
    if context.version() >= 4 {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let space = context.broker.log_dir_space();
        result = result
            .with_total_bytes(space.map_or(-1, |space| bytes(space.total_bytes)))
            .with_usable_bytes(space.map_or(-1, |space| bytes(space.usable_bytes)));
    }
    context.respond(&DescribeLogDirsResponse::default().with_results(vec![result]))
}
