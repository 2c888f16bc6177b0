//! AlterReplicaLogDirs, versions 1 and 2: a partition stays in the log directory in which it was made. A move to
//! where it is is done, one to another log directory is INVALID_REQUEST, and one to anywhere else is LOG_DIR_NOT_FOUND.

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
        let wanted =
            context.broker.log_dirs().iter().position(|path| path.to_str() == Some(directory.path.as_str()));
        for topic in &directory.topics {
            let name = topic_name(&topic.name);
            let partitions = topic.partitions.iter().map(|index| {
                let code =
                    wanted.map_or(ErrorCode::LogDirNotFound, |wanted| stay(context, &name, *index, wanted));
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

fn stay(context: &Context, topic: &TopicName, index: i32, wanted: usize) -> ErrorCode {
    let partition =
        topic_partition(topic, index).filter(|partition| context.broker.partition(partition).is_ok());
    match partition {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(partition) if context.broker.log_dir_of(&partition) == wanted => ErrorCode::None,
        Some(_) => ErrorCode::InvalidRequest,
    }
}
