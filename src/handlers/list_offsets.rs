//! ListOffsets, versions 1 to 10: earliest (-2), latest (-1), largest timestamp (-3), earliest local
//! (-4), latest tiered (-5), or the first record at or after a time.
//!
//! A partition that is named twice is refused, and so is a special timestamp in a version from before
//! there was one. Nothing is tiered: the earliest local offset is the earliest, and there is no latest tiered one.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::broker::{BrokerError, OffsetQuery};
use crate::clock::Timestamp;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{
    isolation, leader_epoch, repeated, topic_name, topic_partition, wire_leader_epoch,
};
use crate::ids::TopicName;
use crate::log::TimestampedOffset;
use crate::partition::Isolation;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// Looks the offsets up.
pub fn handle(context: &Context) -> Handled {
    let request: ListOffsetsRequest = context.decode()?;
    let isolation = match context.version() {
        ..2 => Some(Isolation::ReadUncommitted),
        2.. => isolation(request.isolation_level),
    };
    let named = request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.clone(), partition.partition_index))
    });
    let repeated = repeated(named);
    let topics = request.topics.into_iter().map(|topic| {
        let name = topic_name(&topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let refused = |why: &str| Err(BrokerError::refused(ErrorCode::InvalidRequest, why));
            let found = match (repeated.contains(&(topic.name.clone(), partition.partition_index)), isolation)
            {
                (true, _) => refused("the partition is named twice"),
                (false, None) => refused("there is no such isolation level"),
                (false, Some(isolation)) => look_up(context, &name, partition, isolation),
            };
            describe(context.version(), partition.partition_index, found)
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    context.respond(&ListOffsetsResponse::default().with_topics(topics.collect()))
}

/// The first version that knows a special timestamp (Kafka's `ReplicaManager`).
const fn version_of(timestamp: i64) -> i16 {
    match timestamp {
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => 1,
    }
}

fn look_up(
    context: &Context,
    topic: &TopicName,
    partition: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Option<TimestampedOffset>, BrokerError> {
    let topic_partition =
        topic_partition(topic, partition.partition_index).ok_or(BrokerError::UnknownPartition)?;
    if context.version() < version_of(partition.timestamp) {
        let message = format!("this version does not know timestamp {}", partition.timestamp);
        return Err(BrokerError::refused(ErrorCode::UnsupportedVersion, message));
    }
    let query = match partition.timestamp {
        LATEST => OffsetQuery::Latest,
        EARLIEST | EARLIEST_LOCAL => OffsetQuery::Earliest,
        MAX_TIMESTAMP => OffsetQuery::MaxTimestamp,
        LATEST_TIERED => return Ok(None),
        timestamp if timestamp >= 0 => OffsetQuery::AtOrAfter(Timestamp::from_ms(timestamp)),
        timestamp => {
            let message = format!("timestamp {timestamp} asks for nothing that this broker knows");
            return Err(BrokerError::refused(ErrorCode::UnsupportedVersion, message));
        }
    };
    let current_leader_epoch = leader_epoch(partition.current_leader_epoch);
    context.broker.list_offset(&topic_partition, query, isolation, current_leader_epoch)
}

fn describe(
    version: i16,
    index: i32,
    found: Result<Option<TimestampedOffset>, BrokerError>,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_timestamp(-1)
        .with_offset(-1);
    match found {
        Ok(Some(found)) => {
            let response = response.with_timestamp(found.timestamp).with_offset(found.offset.value());
            match version {
                ..4 => response,
                4.. => response.with_leader_epoch(wire_leader_epoch(found.leader_epoch)),
            }
        }
        Ok(None) => response,
        Err(error) => response.with_error_code(error.code().code()),
    }
}
