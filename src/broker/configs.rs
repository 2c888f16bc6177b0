//! Topic and broker settings: what a topic's own ones mean for its log, and how they are changed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::{Broker, BrokerError};
use crate::config::topic_config::{self, ConfigOperation, MessageTimestampType, TopicConfig};
use crate::config::{ConfigEntry, ServerConfig};
use crate::error_code::ErrorCode;
use crate::ids::TopicName;
use crate::log::{CleanupPolicy, LogConfig};
use crate::metadata::TopicImage;
use crate::wire::record_batch::TimestampType;

/// Kafka's largest long, which some keys take for "never".
const NEVER_MS: u64 = i64::MAX as u64;

/// Whether a change is made or only checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeMode {
    /// It is made.
    Apply,
    /// It is only checked (`validate_only`).
    ValidateOnly,
}

impl Broker {
    /// A topic's typed settings over the broker's.
    pub fn topic_config(&self, topic: &TopicImage) -> TopicConfig {
        effective(&self.config, &topic.configs)
    }

    /// What DescribeConfigs says of a topic.
    pub fn describe_topic_config(&self, topic: &TopicImage) -> Vec<ConfigEntry> {
        self.config.topic_defaults().describe(&topic.configs)
    }

    /// What DescribeConfigs says of a topic that is being created with these settings.
    pub fn describe_new_topic_config(&self, configs: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        self.config.topic_defaults().describe(configs)
    }

    /// Applies incremental changes to a topic's own settings, all or none.
    pub async fn alter_topic_configs(
        &self,
        name: &TopicName,
        operations: Vec<(String, ConfigOperation)>,
        mode: ChangeMode,
    ) -> Result<(), BrokerError> {
        let _one_at_a_time = self.topic_changes.lock().await;
        let topic = self.metadata().topic(name.as_str()).cloned().ok_or(BrokerError::UnknownPartition)?;
        let mut configs = topic.configs.clone();
        let defaults = self.config.topic_defaults();
        let invalid = |error: topic_config::InvalidTopicConfig| {
            BrokerError::refused(ErrorCode::InvalidConfig, error.to_string())
        };
        for (key, operation) in operations {
            topic_config::alter(&mut configs, defaults, &key, operation).map_err(invalid)?;
        }
        TopicConfig::effective(&configs, defaults).map_err(invalid)?;
        self.check_partitioner(name, &configs, &topic.configs)?;
        match mode {
            ChangeMode::ValidateOnly => Ok(()),
            ChangeMode::Apply => self.set_topic_configs(&topic, configs).await,
        }
    }
}

/// What a topic's settings mean for its log.
pub(super) fn log_config_of(config: &ServerConfig, topic: &TopicImage) -> LogConfig {
    let effective = effective(config, &topic.configs);
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    LogConfig {
        segment_bytes_max: u64::from(effective.segment_bytes_max),
        segment_ms: ms(effective.segment_age_max),
        retention_ms: effective.retention.map(ms),
        retention_bytes: effective.retention_bytes,
        index_interval_bytes: u64::from(effective.index_interval_bytes),
        segment_index_bytes_max: u64::from(effective.segment_index_bytes_max),
        max_message_bytes: usize::try_from(effective.message_bytes_max).unwrap_or(usize::MAX),
        message_timestamp_type: match effective.message_timestamp_type {
            MessageTimestampType::CreateTime => TimestampType::CreateTime,
            MessageTimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: u64::try_from(effective.timestamp_before_max_ms).unwrap_or(0),
        timestamp_after_max_ms: u64::try_from(effective.timestamp_after_max_ms).unwrap_or(0),
        cleanup_policy: match effective.cleanup_policy {
            topic_config::CleanupPolicy::Delete => CleanupPolicy::Delete,
            topic_config::CleanupPolicy::Compact => CleanupPolicy::Compact,
            topic_config::CleanupPolicy::CompactAndDelete => CleanupPolicy::CompactAndDelete,
        },
        delete_retention_ms: ms(effective.delete_retention),
        min_cleanable_dirty_ratio: effective.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: ms(effective.min_compaction_lag),
        // Kafka's default, the largest number there is, stands for "never".
        max_compaction_lag_ms: Some(ms(effective.max_compaction_lag)).filter(|lag_ms| *lag_ms < NEVER_MS),
        producer_id_expiration_ms: ms(config.transactions.producer_id_expiration),
    }
}

/// Settings are checked before they are stored; one that a newer build stored and this one does not
/// know falls back to the broker's.
pub(super) fn effective(config: &ServerConfig, configs: &BTreeMap<String, String>) -> TopicConfig {
    let defaults = config.topic_defaults();
    TopicConfig::effective(configs, defaults).unwrap_or_else(|error| {
        tracing::warn!(%error, "a stored topic setting is not known; the broker's defaults apply");
        let known = configs.iter().filter(|(key, value)| topic_config::check_setting(key, value).is_ok());
        let known = known.map(|(key, value)| (key.clone(), value.clone())).collect();
        TopicConfig::effective(&known, defaults)
            .or_else(|_| TopicConfig::effective(&BTreeMap::new(), defaults))
            .expect("the broker's own defaults were checked at start")
    })
}
