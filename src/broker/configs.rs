//! Topic and broker settings: what a topic's own ones mean for its log, and how they are changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::topics::partitions_of;
use crate::broker::{Broker, BrokerError};
use crate::config::dynamic::{DynamicConfigError, DynamicSettings, EffectiveConfig};
use crate::config::topic_config::{
    self, CompressionType, ConfigOperation, InvalidTopicConfig, MessageTimestampType, TopicConfig,
};
use crate::config::{ConfigEntry, ServerConfig, TopicDefaults};
use crate::error_code::ErrorCode;
use crate::ids::TopicName;
use crate::log::{CleanupPolicy, LogConfig};
use crate::metadata::{MetadataImage, MetadataRecord, TopicImage};
use crate::wire::record_batch::{Compression, TimestampType};

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

/// What topics' settings are read with.
#[derive(Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) defaults: &'a TopicDefaults,
}

/// The broker's settings with what the metadata says was changed since the start.
pub(super) fn effective_config(config: &ServerConfig, image: &MetadataImage) -> EffectiveConfig {
    let none = BTreeMap::new();
    let own = image.own_broker_configs(config.node_id).unwrap_or(&none);
    EffectiveConfig::new(config, DynamicSettings { all: image.broker_configs(), own })
}

/// Whose settings are changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokerScope {
    /// Those of all brokers.
    All,
    /// This broker's own, which win.
    This,
}

impl Broker {
    /// The broker's settings as they are now.
    pub fn effective_config(&self) -> Arc<EffectiveConfig> {
        self.effective_config.load_full()
    }

    pub(super) fn settings<'a>(&'a self, effective: &'a EffectiveConfig) -> Settings<'a> {
        Settings { config: &self.config, defaults: effective.topic_defaults() }
    }

    /// A topic's typed settings over the broker's.
    pub fn topic_config(&self, topic: &TopicImage) -> TopicConfig {
        self.topic_config_of(&topic.configs)
    }

    pub(super) fn topic_config_of(&self, configs: &BTreeMap<String, String>) -> TopicConfig {
        effective(self.effective_config().topic_defaults(), configs)
    }

    /// What DescribeConfigs says of a topic.
    pub fn describe_topic_config(&self, topic: &TopicImage) -> Vec<ConfigEntry> {
        self.describe_new_topic_config(&topic.configs)
    }

    /// What DescribeConfigs says of a topic that is being created with these settings.
    pub fn describe_new_topic_config(&self, configs: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        self.effective_config().topic_defaults().describe(configs)
    }

    /// What DescribeConfigs says of brokers.
    pub fn describe_broker_config(&self, scope: BrokerScope) -> Vec<ConfigEntry> {
        match scope {
            BrokerScope::This => self.effective_config().describe(),
            BrokerScope::All => self.effective_config().describe_defaults(self.metadata().broker_configs()),
        }
    }

    /// Applies incremental changes to brokers' settings, all or none (KIP-226).
    pub async fn alter_broker_configs(
        &self,
        scope: BrokerScope,
        operations: Vec<(String, ConfigOperation)>,
        mode: ChangeMode,
    ) -> Result<(), BrokerError> {
        self.change_broker_configs(scope, mode, |settings, effective| {
            let mut operations = operations.into_iter();
            operations.try_for_each(|(key, operation)| effective.alter(settings, &key, operation))
        })
        .await
    }

    /// Replaces all of brokers' settings that were made while they run.
    pub async fn replace_broker_configs(
        &self,
        scope: BrokerScope,
        replacement: BTreeMap<String, String>,
        mode: ChangeMode,
    ) -> Result<(), BrokerError> {
        self.change_broker_configs(scope, mode, |settings, effective| {
            settings.clear();
            let mut replacement = replacement.into_iter();
            replacement
                .try_for_each(|(key, value)| effective.alter(settings, &key, ConfigOperation::Set(value)))
        })
        .await
    }

    async fn change_broker_configs(
        &self,
        scope: BrokerScope,
        mode: ChangeMode,
        change: impl FnOnce(&mut BTreeMap<String, String>, &EffectiveConfig) -> Result<(), DynamicConfigError>,
    ) -> Result<(), BrokerError> {
        let _one_at_a_time = self.topic_changes.lock().await;
        let image = self.metadata();
        let node_id = self.config.node_id;
        let (mut all, mut own) =
            (image.broker_configs().clone(), image.own_broker_configs(node_id).cloned().unwrap_or_default());
        let changed = match scope {
            BrokerScope::All => &mut all,
            BrokerScope::This => &mut own,
        };
        let before = changed.clone();
        change(changed, &self.effective_config())?;
        let records = changed_settings(&before, changed).map(|(key, value)| match scope {
            BrokerScope::All => MetadataRecord::BrokerConfig { key, value },
            BrokerScope::This => MetadataRecord::OwnBrokerConfig { broker_id: node_id.value(), key, value },
        });
        let records: Vec<_> = records.collect();
        EffectiveConfig::new(&self.config, DynamicSettings { all: &all, own: &own }).check()?;
        if mode == ChangeMode::ValidateOnly {
            return Ok(());
        }
        let image = self.change_metadata(|_| Ok(records)).await?;
        self.effective_config.store(Arc::new(effective_config(&self.config, &image)));
        let effective = self.effective_config();
        for topic in image.topics() {
            let config = self.settings(&effective).log_config_of(topic);
            for partition in partitions_of(topic).filter_map(|partition| self.partitions.get(&partition)) {
                partition.set_config(config.clone());
            }
        }
        Ok(())
    }

    /// Applies incremental changes to a topic's own settings, all or none.
    pub async fn alter_topic_configs(
        &self,
        name: &TopicName,
        operations: Vec<(String, ConfigOperation)>,
        mode: ChangeMode,
    ) -> Result<(), BrokerError> {
        self.change_topic_configs(name, mode, |configs, defaults| {
            let mut operations = operations.into_iter();
            operations
                .try_for_each(|(key, operation)| topic_config::alter(configs, defaults, &key, operation))
        })
        .await
    }

    /// Replaces all of a topic's own settings.
    pub async fn replace_topic_configs(
        &self,
        name: &TopicName,
        replacement: BTreeMap<String, String>,
        mode: ChangeMode,
    ) -> Result<(), BrokerError> {
        self.change_topic_configs(name, mode, |configs, defaults| {
            configs.clear();
            replacement.into_iter().try_for_each(|(key, value)| {
                topic_config::alter(configs, defaults, &key, ConfigOperation::Set(value))
            })
        })
        .await
    }

    async fn change_topic_configs(
        &self,
        name: &TopicName,
        mode: ChangeMode,
        change: impl FnOnce(&mut BTreeMap<String, String>, &TopicDefaults) -> Result<(), InvalidTopicConfig>,
    ) -> Result<(), BrokerError> {
        let _one_at_a_time = self.topic_changes.lock().await;
        let topic = self.metadata().topic(name.as_str()).cloned().ok_or(BrokerError::UnknownPartition)?;
        let mut configs = topic.configs.clone();
        let effective = self.effective_config();
        let defaults = effective.topic_defaults();
        let invalid =
            |error: InvalidTopicConfig| BrokerError::refused(ErrorCode::InvalidConfig, error.to_string());
        change(&mut configs, defaults).map_err(invalid)?;
        TopicConfig::effective(&configs, defaults).map_err(invalid)?;
        self.check_partitioner(name, &configs, &topic.configs)?;
        match mode {
            ChangeMode::ValidateOnly => Ok(()),
            ChangeMode::Apply => self.set_topic_configs(&topic, configs).await,
        }
    }
}

impl From<DynamicConfigError> for BrokerError {
    fn from(error: DynamicConfigError) -> Self {
        let code = match error {
            DynamicConfigError::Static(_) => ErrorCode::InvalidRequest,
            DynamicConfigError::Invalid(_) => ErrorCode::InvalidConfig,
        };
        BrokerError::refused(code, error.to_string())
    }
}

impl Settings<'_> {
    /// What a topic's settings mean for its log.
    pub(super) fn log_config_of(self, topic: &TopicImage) -> LogConfig {
        log_config(self.config, &effective(self.defaults, &topic.configs))
    }
}

pub(super) fn log_config(config: &ServerConfig, effective: &TopicConfig) -> LogConfig {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    LogConfig {
        segment_bytes_max: u64::from(effective.segment_bytes_max),
        segment_ms: ms(effective.segment_age_max),
        segment_jitter_ms: ms(effective.segment_jitter),
        compression: codec_of(effective.compression_type),
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

fn codec_of(compression: CompressionType) -> Option<Compression> {
    match compression {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some(Compression::None),
        CompressionType::Gzip => Some(Compression::Gzip),
        CompressionType::Snappy => Some(Compression::Snappy),
        CompressionType::Lz4 => Some(Compression::Lz4),
        CompressionType::Zstd => Some(Compression::Zstd),
    }
}

/// Settings are checked before they are stored; one that a newer build stored and this one does not
/// know falls back to the broker's.
fn effective(defaults: &TopicDefaults, configs: &BTreeMap<String, String>) -> TopicConfig {
    TopicConfig::effective(configs, defaults).unwrap_or_else(|error| {
        tracing::warn!(%error, "a stored topic setting is not known; the broker's defaults apply");
        let known = configs.iter().filter(|(key, value)| topic_config::check_setting(key, value).is_ok());
        let known = known.map(|(key, value)| (key.clone(), value.clone())).collect();
        TopicConfig::effective(&known, defaults)
            .or_else(|_| TopicConfig::effective(&BTreeMap::new(), defaults))
            .expect("the broker's own defaults were checked at start and at every change")
    })
}

/// The changes that lead from some settings to others.
fn changed_settings<'a>(
    before: &'a BTreeMap<String, String>,
    after: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (String, Option<String>)> + 'a {
    let removed = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), None));
    let set = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    removed.chain(set.map(|(key, value)| (key.clone(), Some(value.clone()))))
}
