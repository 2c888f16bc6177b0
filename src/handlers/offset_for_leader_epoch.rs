//! OffsetForLeaderEpoch, versions 2 to 4: where an epoch ended, so that a consumer notices a log
//! that was cut behind its back (KIP-320).

use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::broker::BrokerError;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{leader_epoch, topic_name, topic_partition};
use crate::ids::{LeaderEpoch, Offset, TopicName};

/// Looks the ends of epochs up.
pub fn handle(context: &Context) -> Handled {
    let request: OffsetForLeaderEpochRequest = context.decode()?;
    let topics = request.topics.into_iter().map(|topic| {
        let name = topic_name(&topic.topic);
        let partitions = topic.partitions.iter().map(|partition| {
            let result = EpochEndOffset::default()
                .with_partition(partition.partition)
                .with_leader_epoch(-1)
                .with_end_offset(-1);
            match look_up(context, &name, partition) {
                Ok(Some((epoch, end))) => {
                    result.with_leader_epoch(epoch.value()).with_end_offset(end.value())
                }
                Ok(None) => result,
                Err(error) => result.with_error_code(error.code().code()),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    context.respond(&OffsetForLeaderEpochResponse::default().with_topics(topics.collect()))
}

fn look_up(
    context: &Context,
    topic: &TopicName,
    partition: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, BrokerError> {
    let topic_partition = topic_partition(topic, partition.partition).ok_or(BrokerError::UnknownPartition)?;
    let current = leader_epoch(partition.current_leader_epoch);
    context.broker.end_offset_for_epoch(&topic_partition, current, leader_epoch(partition.leader_epoch))
}
