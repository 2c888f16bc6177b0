//! What an operator can set about groups and their offsets, with Kafka's names and defaults.

use std::time::Duration;

use super::consumer::{Assignor, MigrationPolicy};

/// Options of a group shard. Times are durations, sizes bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max: Duration,
    /// `group.max.size`: members of one group.
    pub group_size_max: usize,
    /// Groups of the new protocol (KIP-848).
    pub consumer: ConsumerGroupConfig,
    /// How long a new member's parked JoinGroup keeps it in the group without heartbeats.
    pub new_member_join_timeout: Duration,
    /// Member ids handed out (`MEMBER_ID_REQUIRED`) and not yet used, per group.
    pub pending_members_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval: Duration,
    /// The largest batch that one step may write; what a client sends beyond it is refused.
    pub batch_bytes_max: usize,
}

/// Options of groups of the new protocol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerGroupConfig {
    /// `group.consumer.session.timeout.ms`.
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `group.consumer.max.size`: members of one group.
    pub group_size_max: usize,
    /// `group.consumer.assignors`: the first is for members without a wish.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`.
    pub migration_policy: MigrationPolicy,
}

impl Default for ConsumerGroupConfig {
    fn default() -> Self {
        ConsumerGroupConfig {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            group_size_max: i32::MAX as usize,
            assignors: Assignor::ALL.to_vec(),
            migration_policy: MigrationPolicy::Bidirectional,
        }
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            initial_rebalance_delay: Duration::from_secs(3),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            group_size_max: i32::MAX as usize,
            consumer: ConsumerGroupConfig::default(),
            new_member_join_timeout: Duration::from_secs(5 * 60),
            pending_members_max: 10_000,
            offset_metadata_bytes_max: 4096,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(10 * 60),
            batch_bytes_max: 1_000_000,
        }
    }
}
