//! The topic configuration that a log heeds, with Kafka's defaults. Values are checked where they
//! are set; this room only keeps them within what its files can hold.

use crate::wire::record_batch::{Compression, TimestampType};

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

    /// Whether only the last record of each key stays.
    pub const fn compacts(self) -> bool {
        match self {
            CleanupPolicy::Compact | CleanupPolicy::CompactAndDelete => true,
            CleanupPolicy::Delete => false,
        }
    }
}

/// One log's configuration, by Kafka's topic configs.
#[derive(Clone, PartialEq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes_max: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: u64,
    /// `compression.type`; none keeps batches as producers sent them.
    pub compression: Option<Compression>,
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
    /// `delete.retention.ms`: how long tombstones and markers stay once a pass has set their horizon.
    pub delete_retention_ms: u64,
    /// `min.cleanable.dirty.ratio`, 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`; none lets a record wait for ever.
    pub max_compaction_lag_ms: Option<u64>,
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
            segment_jitter_ms: 0,
            compression: None,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            index_interval_bytes: 4096,
            segment_index_bytes_max: 10 << 20,
            max_message_bytes: 1_048_588,
            message_timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX as u64,
            timestamp_after_max_ms: HOUR_MS,
            cleanup_policy: CleanupPolicy::Delete,
            delete_retention_ms: DAY_MS,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: None,
            producer_id_expiration_ms: DAY_MS,
        }
    }
}

impl LogConfig {
    /// After how long a segment is closed: a record that must be compacted by then must leave the
    /// active segment, which never is (Kafka's `LogConfig.maxSegmentMs`).
    pub(super) fn roll_ms(&self) -> u64 {
        match self.max_compaction_lag_ms {
            Some(lag_ms) if self.cleanup_policy.compacts() => lag_ms.min(self.segment_ms),
            Some(_) | None => self.segment_ms,
        }
    }

    /// The same for one segment: up to `segment.jitter.ms` earlier, by chance that its seed decides.
    pub(super) fn jittered_roll_ms(&self, seed: u64) -> u64 {
        let roll_ms = self.roll_ms();
        match self.segment_jitter_ms.min(roll_ms) {
            0 => roll_ms,
            jitter_ms => roll_ms - seed % jitter_ms,
        }
    }

    /// Positions in an index are 32 bits wide, whatever the configuration says.
    pub(super) fn segment_bytes_limit(&self) -> u64 {
        self.segment_bytes_max.min(i32::MAX as u64)
    }
}

#[cfg(test)]
mod tests;
