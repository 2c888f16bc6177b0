//! DeleteRecords, versions 0 to 2: moves the start of logs; offset -1 means the high watermark.

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::broker::BrokerError;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{topic_name, topic_partition};
use crate::handlers::reply::{Outcome, Reply};
use crate::ids::{Offset, TopicName};

const HIGH_WATERMARK: i64 = -1;

/// Moves the start of logs, each on its own.
pub async fn handle(context: Context) -> Handled {
    let request: DeleteRecordsRequest = context.decode()?;
    // Letting segments go syncs files: not on a thread that serves other connections.
    let deleting = context.clone();
    let deleted = tokio::task::spawn_blocking(move || delete_all(&deleting, request)).await;
    match deleted {
        Ok(response) => context.respond(&response),
        Err(error) => Ok(Reply::Now(Outcome::Close(format!("deleting records failed: {error}")))),
    }
}

fn delete_all(context: &Context, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let result =
                DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
            match delete(context, &name, partition.partition_index, partition.offset) {
                Ok(low_watermark) => result.with_low_watermark(low_watermark.value()),
                Err(error) => result.with_low_watermark(-1).with_error_code(error.code().code()),
            }
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete(context: &Context, topic: &TopicName, index: i32, offset: i64) -> Result<Offset, BrokerError> {
    let offset = match (offset, Offset::from_wire(offset)) {
        (HIGH_WATERMARK, _) => None,
        (_, Some(offset)) => Some(offset),
        (_, None) => {
            let why = format!("offset {offset} is negative; -1 means the high watermark");
            return Err(BrokerError::refused(ErrorCode::OffsetOutOfRange, why));
        }
    };
    let topic_partition = topic_partition(topic, index).ok_or(BrokerError::UnknownPartition)?;
    context.broker.delete_records(&topic_partition, offset)
}
