//! OffsetDelete, version 0: committed offsets of partitions that nobody of the group reads.

use std::collections::HashMap;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use crate::coordinator::group::{DeleteOffsetsReply, Event, Reply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, topic_name, topic_partition};

/// Deletes committed offsets.
pub async fn handle(context: Context) -> Handled {
    let request: OffsetDeleteRequest = context.decode()?;
    let group = group_id(&request.group_id);
    let named = request.topics.iter().flat_map(|topic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partitions.iter();
        partitions.filter_map(move |partition| topic_partition(&name, partition.partition_index))
    });
    let partitions = named.collect();
    let of = group.clone();
    let pending =
        context.broker.ask_group(&of, |request| Event::DeleteOffsets { request, group, partitions }).await;
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        let reply = match reply {
            Ok(Reply::DeleteOffsets(reply)) => reply,
            Ok(_) => refuse(ErrorCode::CoordinatorNotAvailable),
            Err(error) => refuse(error.code()),
        };
        describe(&request, &reply)
    })
}

fn refuse(error: ErrorCode) -> DeleteOffsetsReply {
    DeleteOffsetsReply { error, partitions: Vec::new() }
}

fn describe(request: &OffsetDeleteRequest, reply: &DeleteOffsetsReply) -> OffsetDeleteResponse {
    let response = OffsetDeleteResponse::default().with_error_code(reply.error.code());
    if reply.error != ErrorCode::None {
        return response;
    }
    let answers: HashMap<_, _> =
        reply.partitions.iter().map(|(partition, code)| (partition, *code)).collect();
    let topics = request.topics.iter().map(|topic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let answer = topic_partition(&name, index).and_then(|asked| answers.get(&asked).copied());
            let code = answer.unwrap_or(ErrorCode::UnknownTopicOrPartition);
            OffsetDeleteResponsePartition::default().with_partition_index(index).with_error_code(code.code())
        });
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    response.with_topics(topics.collect())
}
