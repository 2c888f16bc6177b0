//! ListOffsets: earliest, latest, by time, by largest timestamp, as an isolation level sees them.

use crate::broker::fetch::check_leader_epoch;
use crate::broker::{Broker, BrokerError};
use crate::clock::Timestamp;
use crate::ids::{LeaderEpoch, TopicPartition};
use crate::log::TimestampedOffset;
use crate::partition::Isolation;

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
        let bare = |offset| {
            Some(TimestampedOffset { offset, timestamp: -1, leader_epoch: Some(leader_epoch) })
        };
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
