//! AlterReplicaLogDirs, versions 1 and 2: there is one data directory, in which every partition is
//! already; a move to it is done, and a move to any other is LOG_DIR_NOT_FOUND.

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{topic_name, topic_partition};
use crate::ids::TopicName;

/// Answers for each partition.
pub fn handle(context: &Context) -> Handled {
    let request: AlterReplicaLogDirsRequest = context.decode()?;
    let mut results = Vec::new();
    for directory in &request.dirs {
        let is_ours = context.broker.log_dir().to_str() == Some(directory.path.as_str());
        for topic in &directory.topics {
            let name = topic_name(&topic.name);
            let partitions = topic.partitions.iter().map(|index| {
                let code = if is_ours { stay(context, &name, *index) } else { ErrorCode::LogDirNotFound };
                AlterReplicaLogDirPartitionResult::default()
                    .with_partition_index(*index)
                    .with_error_code(code.code())
            });
            results.push(
                AlterReplicaLogDirTopicResult::default()
                    .with_topic_name(topic.name.clone())
                    .with_partitions(partitions.collect()),
            );
        }
    }
    context.respond(&AlterReplicaLogDirsResponse::default().with_results(results))
}

fn stay(context: &Context, topic: &TopicName, index: i32) -> ErrorCode {
    let partition =
        topic_partition(topic, index).and_then(|partition| context.broker.partition(&partition).ok());
    partition.map_or(ErrorCode::UnknownTopicOrPartition, |_| ErrorCode::None)
}
