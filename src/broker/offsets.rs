//! ListOffsets: earliest, latest, by time, by largest timestamp, as an isolation level sees them.

use crate::broker::fetch::check_leader_epoch;
use crate::broker::{Broker, BrokerError};
use crate::clock::Timestamp;
use crate::config::topic_config::CleanupPolicy;
use crate::error_code::ErrorCode;
use crate::ids::{LeaderEpoch, Offset, TopicPartition};
use crate::log::TimestampedOffset;
use crate::metadata::image::is_internal_name;
use crate::partition::{Isolation, Partition};

/// Which offset is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetQuery {
    /// The start of the log.
    Earliest,
    /// The end as the isolation level sees it.
    Latest,
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// The first record at or after a time.
    AtOrAfter(Timestamp),
}

impl Broker {
    /// The offset asked for; `None` if no record answers the question.
    pub fn list_offset(
        &self,
        topic_partition: &TopicPartition,
        query: OffsetQuery,
        isolation: Isolation,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<TimestampedOffset>, BrokerError> {
        let partition = self.partition(topic_partition)?;
        let leader_epoch = partition.leader_epoch();
        check_leader_epoch(current_leader_epoch, leader_epoch)?;
        let offsets = partition.offsets();
        let bare =
            |offset| Some(TimestampedOffset { offset, timestamp: -1, leader_epoch: Some(leader_epoch) });
        match query {
            OffsetQuery::Earliest => Ok(bare(offsets.log_start_offset)),
            OffsetQuery::Latest => Ok(match isolation {
                Isolation::ReadUncommitted => bare(offsets.high_watermark),
                Isolation::ReadCommitted => bare(offsets.last_stable_offset),
            }),
            OffsetQuery::MaxTimestamp => Ok(partition.offset_of_max_timestamp(isolation)?),
            OffsetQuery::AtOrAfter(timestamp) => Ok(partition.offset_for_timestamp(timestamp, isolation)?),
        }
    }
}

impl Broker {
    /// Where a leader epoch ended: the last epoch not above it, with its end.
    pub fn end_offset_for_epoch(
        &self,
        topic_partition: &TopicPartition,
        current_leader_epoch: Option<LeaderEpoch>,
        epoch: Option<LeaderEpoch>,
    ) -> Result<Option<(LeaderEpoch, Offset)>, BrokerError> {
        let partition = self.partition(topic_partition)?;
        check_leader_epoch(current_leader_epoch, partition.leader_epoch())?;
        Ok(epoch.and_then(|epoch| partition.end_offset_for_epoch(epoch)))
    }

    /// Moves the start of a log to an offset, or to the high watermark.
    pub fn delete_records(
        &self,
        topic_partition: &TopicPartition,
        offset: Option<Offset>,
    ) -> Result<Offset, BrokerError> {
        if is_internal_name(topic_partition.topic.as_str()) {
            let why = format!("{} is an internal topic", topic_partition.topic);
            return Err(BrokerError::refused(ErrorCode::InvalidTopicException, why));
        }
        let image = self.metadata();
        let topic = image.topic(topic_partition.topic.as_str()).ok_or(BrokerError::UnknownPartition)?;
        if self.topic_config(topic).cleanup_policy == CleanupPolicy::Compact {
            let why = "the topic's cleanup.policy does not delete";
            return Err(BrokerError::refused(ErrorCode::PolicyViolation, why));
        }
        self.delete_before(&*self.partition(topic_partition)?, offset)
    }

    /// Moves the start of a log; what lies before it is gone once that is recorded.
    pub(super) fn delete_before(
        &self,
        partition: &Partition,
        offset: Option<Offset>,
    ) -> Result<Offset, BrokerError> {
        let deleted = partition.delete_records_before(offset, self.clock.now())?;
        let start = deleted.log_start_offset;
        self.partitions.checkpoint_log_starts()?;
        self.remove_segments(vec![deleted])?;
        Ok(start)
    }
}
