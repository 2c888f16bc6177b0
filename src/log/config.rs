//! The topic configuration that a log heeds, with Kafka's defaults. Values are checked where they
//! are set; this room only keeps them within what its files can hold.

use crate::wire::record_batch::TimestampType;

/// What becomes of old records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CleanupPolicy {
    /// Segments go by age and size.
    Delete,
    /// The last record of each key stays.
    Compact,
    /// Both.
    CompactAndDelete,
}

impl CleanupPolicy {
    /// Whether segments go by age and size.
    pub const fn deletes(self) -> bool {
        match self {
            CleanupPolicy::Delete | CleanupPolicy::CompactAndDelete => true,
            CleanupPolicy::Compact => false,
        }
    }
}

/// One log's configuration, by Kafka's topic configs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes_max: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `retention.ms`; none keeps for ever.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`; none is without bound.
    pub retention_bytes: Option<u64>,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `segment.index.bytes`.
    pub segment_index_bytes_max: u64,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: u64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: u64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `producer.id.expiration.ms` of the broker.
    pub producer_id_expiration_ms: u64,
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes_max: 1 << 30,
            segment_ms: 7 * DAY_MS,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            index_interval_bytes: 4096,
            segment_index_bytes_max: 10 << 20,
            max_message_bytes: 1_048_588,
            message_timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX as u64,
            timestamp_after_max_ms: HOUR_MS,
            cleanup_policy: CleanupPolicy::Delete,
            producer_id_expiration_ms: DAY_MS,
        }
    }
}

impl LogConfig {
    /// Positions in an index are 32 bits wide, whatever the configuration says.
    pub(super) fn segment_bytes_limit(&self) -> u64 {
        self.segment_bytes_max.min(i32::MAX as u64)
    }
}
