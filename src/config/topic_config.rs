//! A topic's configuration: Kafka's topic keys, over the broker's defaults for them.
//!
//! A topic stores only what its owner set, as text; the typed values and the answer to
//! DescribeConfigs are worked out here. Keys, ranges and which broker key stands behind which topic
//! key: Kafka's `TopicConfig`, `LogConfig` and `ServerTopicConfigSynonyms`. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::entry::{ConfigEntry, ConfigSource, ConfigSynonym, synonyms_of};
use super::keys::{CLEANUP_POLICIES, COMPRESSION_TYPES, RATIO, TIMESTAMP_TYPES};
use super::kind::{Kind, Value, Width, WireType, millis};
use super::sources::Values;
use super::suggest::nearest;

/// One topic key.
#[derive(Clone, Copy, Debug)]
pub struct TopicKey {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What it does.
    pub doc: &'static str,
    /// The broker's keys that give its default, the strongest first, each with the factor that turns
    /// its unit into the topic key's. The last one has a default.
    broker_keys: &'static [(&'static str, i64)],
}

impl TopicKey {
    /// Whether this broker's key gives its default.
    pub(super) fn has_default_from(&self, name: &str) -> bool {
        self.broker_keys.iter().any(|(broker_key, _)| *broker_key == name)
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const fn key(
    name: &'static str,
    kind: Kind,
    broker_keys: &'static [(&'static str, i64)],
    doc: &'static str,
) -> TopicKey {
    TopicKey { name, kind, doc, broker_keys }
}

/// The key that gives a topic a partitioner.
pub const PARTITIONER: &str = "tidemill.partitioner";
/// The key that configures it.
pub const PARTITIONER_CONFIG: &str = "tidemill.partitioner.config";

/// Kafka's keys that throttle replication. There is none; but `kafka-reassign-partitions.sh --verify`
/// takes them away, whether they are set or not.
const REPLICATION_THROTTLES: &[&str] =
    &["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

const COMPACTION_LAG: Kind = Kind::Int { min: 0, max: i64::MAX, width: Width::Long };

/// Every topic key, in alphabetical order.
pub const TOPIC_KEYS: &[TopicKey] = &[
    key(
        "cleanup.policy",
        Kind::Choices(CLEANUP_POLICIES),
        &[("log.cleanup.policy", 1)],
        "What happens to old records: delete by age and size, compact by key, or both.",
    ),
    key(
        "compression.type",
        Kind::Choice(COMPRESSION_TYPES),
        &[("compression.type", 1)],
        "How batches are stored; \"producer\" keeps them as they came.",
    ),
    key(
        "delete.retention.ms",
        Kind::long(0),
        &[("log.cleaner.delete.retention.ms", 1)],
        "How long a compacted topic keeps deletions.",
    ),
    key(
        "file.delete.delay.ms",
        Kind::long(0),
        &[("log.segment.delete.delay.ms", 1)],
        "How long a deleted segment's file stays.",
    ),
    key(
        "flush.messages",
        Kind::long(1),
        &[("log.flush.interval.messages", 1)],
        "Kept for tools that set it; the server's tidemill.flush decides.",
    ),
    key(
        "flush.ms",
        Kind::long(0),
        &[("log.flush.interval.ms", 1)],
        "Kept for tools that set it; the server's tidemill.flush decides.",
    ),
    key(
        "index.interval.bytes",
        Kind::int(0),
        &[("log.index.interval.bytes", 1)],
        "About how many bytes lie between two index entries.",
    ),
    key(
        "max.compaction.lag.ms",
        Kind::long(1),
        &[("log.cleaner.max.compaction.lag.ms", 1)],
        "How long a record stays uncompacted at most.",
    ),
    key(
        "max.message.bytes",
        Kind::int(0),
        &[("message.max.bytes", 1)],
        "The largest record batch that is taken, after compression.",
    ),
    key(
        "message.timestamp.after.max.ms",
        Kind::long(0),
        &[("log.message.timestamp.after.max.ms", 1)],
        "How far a record's timestamp may lie in the future.",
    ),
    key(
        "message.timestamp.before.max.ms",
        Kind::long(0),
        &[("log.message.timestamp.before.max.ms", 1)],
        "How far a record's timestamp may lie in the past.",
    ),
    key(
        "message.timestamp.type",
        Kind::Choice(TIMESTAMP_TYPES),
        &[("log.message.timestamp.type", 1)],
        "Whether a record's timestamp is its producer's or the time of its append.",
    ),
    key(
        "min.cleanable.dirty.ratio",
        RATIO,
        &[("log.cleaner.min.cleanable.ratio", 1)],
        "The dirty share of a log from which it is compacted.",
    ),
    key(
        "min.compaction.lag.ms",
        COMPACTION_LAG,
        &[("log.cleaner.min.compaction.lag.ms", 1)],
        "How long a record stays uncompacted at least.",
    ),
    key(
        "min.insync.replicas",
        Kind::int(1),
        &[("min.insync.replicas", 1)],
        "Replicas that must have a write before acks=all is answered.",
    ),
    key(
        "preallocate",
        Kind::Bool,
        &[("log.preallocate", 1)],
        "Whether segment files get their full size when created.",
    ),
    key(
        "retention.bytes",
        Kind::long(-1),
        &[("log.retention.bytes", 1)],
        "How many bytes each partition keeps, -1 for no bound.",
    ),
    key(
        "retention.ms",
        Kind::long(-1),
        &[("log.retention.ms", 1), ("log.retention.minutes", MINUTE_MS), ("log.retention.hours", HOUR_MS)],
        "How long records are kept, -1 for ever.",
    ),
    key("segment.bytes", Kind::int(14), &[("log.segment.bytes", 1)], "The largest size of one segment file."),
    key(
        "segment.index.bytes",
        Kind::int(4),
        &[("log.index.size.max.bytes", 1)],
        "The largest size of one index file.",
    ),
    key(
        "segment.jitter.ms",
        Kind::long(0),
        &[("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", HOUR_MS)],
        "A random part taken off segment.ms, so that segments do not all roll at once.",
    ),
    key(
        "segment.ms",
        Kind::long(1),
        &[("log.roll.ms", 1), ("log.roll.hours", HOUR_MS)],
        "The longest time until a new segment is begun.",
    ),
    key(
        PARTITIONER,
        Kind::Text,
        &[],
        "The plugin that chooses partitions: a module's name or digest. Clients' records wait in an ingress until they are moved there.",
    ),
    key(
        PARTITIONER_CONFIG,
        Kind::List,
        &[],
        "The configuration that the partitioner is given: name=value, separated by commas.",
    ),
    key(
        "unclean.leader.election.enable",
        Kind::Bool,
        &[("unclean.leader.election.enable", 1)],
        "Whether a replica that lags may lead. Without effect on a single node.",
    ),
];

/// What happens to a topic's old records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CleanupPolicy {
    /// Old segments are deleted.
    Delete,
    /// Records are compacted by key.
    Compact,
    /// Both.
    CompactAndDelete,
}

/// Whose clock a record's timestamp is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageTimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    LogAppendTime,
}

/// How a topic's batches are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Unpacked.
    Uncompressed,
    /// With gzip.
    Gzip,
    /// With snappy.
    Snappy,
    /// With LZ4.
    Lz4,
    /// With Zstandard.
    Zstd,
}

/// The plugin that chooses a topic's partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicPartitioner {
    /// The module, by name or digest.
    pub module: String,
    /// What it is configured with.
    pub config: BTreeMap<String, String>,
}

/// The effective, typed values of one topic.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `compression.type`
    pub compression_type: CompressionType,
    /// `retention.ms`; `None` keeps for ever.
    pub retention: Option<Duration>,
    /// `retention.bytes`; `None` is no bound.
    pub retention_bytes: Option<u64>,
    /// `segment.bytes`
    pub segment_bytes_max: u32,
    /// `segment.ms`
    pub segment_age_max: Duration,
    /// `segment.jitter.ms`
    pub segment_jitter: Duration,
    /// `segment.index.bytes`
    pub segment_index_bytes_max: u32,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `max.message.bytes`
    pub message_bytes_max: u32,
    /// `message.timestamp.type`
    pub message_timestamp_type: MessageTimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `delete.retention.ms`
    pub delete_retention: Duration,
    /// `file.delete.delay.ms`
    pub file_delete_delay: Duration,
    /// `min.cleanable.dirty.ratio`
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag: Duration,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag: Duration,
    /// `preallocate`
    pub preallocate: bool,
    /// `tidemill.partitioner` and its configuration
    pub partitioner: Option<TopicPartitioner>,
}

/// Why a topic's configuration is refused; answered as `INVALID_CONFIG` with this text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTopicConfig(pub String);

/// One change of IncrementalAlterConfigs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigOperation {
    /// Sets the value.
    Set(String),
    /// Goes back to the broker's default.
    Delete,
    /// Adds to a list.
    Append(String),
    /// Takes from a list.
    Subtract(String),
}

/// The values that a topic without its own has, with where they come from.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicDefaults(BTreeMap<&'static str, TopicDefault>);

#[derive(Clone, PartialEq, Debug)]
struct TopicDefault {
    value: Option<Value>,
    source: ConfigSource,
    synonyms: Vec<ConfigSynonym>,
}

/// The topic key of this name.
pub fn find_topic_key(name: &str) -> Option<&'static TopicKey> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

/// Checks one setting on its own, and gives the value in the form in which it is kept.
pub fn check_setting(name: &str, text: &str) -> Result<String, InvalidTopicConfig> {
    parse_setting(name, text).map(|(_, value)| value.to_string())
}

fn parse_setting(name: &str, text: &str) -> Result<(&'static TopicKey, Value), InvalidTopicConfig> {
    let Some(key) = find_topic_key(name) else {
        let hint = match nearest(name, TOPIC_KEYS.iter().map(|key| key.name)) {
            Some(suggestion) => format!("; did you mean \"{suggestion}\"?"),
            None => String::new(),
        };
        return Err(InvalidTopicConfig(format!("unknown topic config name \"{name}\"{hint}")));
    };
    let value = key.kind.parse(text).map_err(|reason| {
        InvalidTopicConfig(format!(
            "invalid value for configuration {name}: {reason} (expected: {})",
            key.kind
        ))
    })?;
    Ok((key, value))
}

/// Applies one incremental change to the settings that a topic's owner has made. Checks the result
/// of the change, not how it goes with other settings: `TopicConfig::effective` does that.
pub fn alter(
    overrides: &mut BTreeMap<String, String>,
    defaults: &TopicDefaults,
    name: &str,
    operation: ConfigOperation,
) -> Result<(), InvalidTopicConfig> {
    let new = match operation {
        ConfigOperation::Set(text) => Some(check_setting(name, &text)?),
        ConfigOperation::Delete => {
            if find_topic_key(name).is_none() && !REPLICATION_THROTTLES.contains(&name) {
                check_setting(name, "")?;
            }
            None
        }
        ConfigOperation::Append(text) => Some(merge(overrides, defaults, name, &text, Merge::Append)?),
        ConfigOperation::Subtract(text) => Some(merge(overrides, defaults, name, &text, Merge::Subtract)?),
    };
    match new {
        Some(value) => overrides.insert(name.to_owned(), value),
        None => overrides.remove(name),
    };
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Merge {
    Append,
    Subtract,
}

fn merge(
    overrides: &BTreeMap<String, String>,
    defaults: &TopicDefaults,
    name: &str,
    text: &str,
    merge: Merge,
) -> Result<String, InvalidTopicConfig> {
    let (key, change) = parse_setting(name, text)?;
    if key.kind.wire_type() != WireType::List {
        return Err(InvalidTopicConfig(format!("{name} is not a list; set it instead")));
    }
    let current = match overrides.get(name) {
        Some(text) => Some(parse_setting(name, text)?.1),
        None => defaults.0.get(name).and_then(|default| default.value.clone()),
    };
    let mut words = current.map(|value| value.as_list().to_vec()).unwrap_or_default();
    for word in change.as_list() {
        match merge {
            Merge::Append if words.contains(word) => {}
            Merge::Append => words.push(word.clone()),
            Merge::Subtract => words.retain(|other| other != word),
        }
    }
    check_setting(name, &words.join(","))
}

impl TopicConfig {
    /// The typed values of a topic with these settings over the broker's defaults.
    pub fn effective(
        overrides: &BTreeMap<String, String>,
        defaults: &TopicDefaults,
    ) -> Result<TopicConfig, InvalidTopicConfig> {
        let mut values: BTreeMap<&'static str, Value> = BTreeMap::new();
        for (name, text) in overrides {
            let (key, value) = parse_setting(name, text)?;
            values.insert(key.name, value);
        }
        for (name, default) in &defaults.0 {
            if let Some(value) = &default.value {
                values.entry(name).or_insert_with(|| value.clone());
            }
        }
        let config = TopicConfig { partitioner: partitioner(&values)?, ..TopicConfig::typed(&values) };
        if overrides.get("preallocate").is_some_and(|value| value == "true") {
            let why = "preallocate: segment files grow as they are written; leave it at false";
            return Err(InvalidTopicConfig(why.to_owned()));
        }
        if config.min_compaction_lag > config.max_compaction_lag {
            return Err(InvalidTopicConfig(
                "min.compaction.lag.ms must not be more than max.compaction.lag.ms".to_owned(),
            ));
        }
        Ok(config)
    }

    fn typed(values: &BTreeMap<&'static str, Value>) -> TopicConfig {
        let value = |name: &str| values.get(name).expect("every key that is read here has a default");
        let int = |name: &str| value(name).as_i64();
        let size = |name: &str| u32::try_from(int(name)).unwrap_or(u32::MAX);
        let duration = |name: &str| millis(int(name));
        TopicConfig {
            cleanup_policy: cleanup_policy(value("cleanup.policy").as_list()),
            compression_type: compression_type(value("compression.type").as_text()),
            retention: u64::try_from(int("retention.ms")).ok().map(Duration::from_millis),
            retention_bytes: u64::try_from(int("retention.bytes")).ok(),
            segment_bytes_max: size("segment.bytes"),
            segment_age_max: duration("segment.ms"),
            segment_jitter: duration("segment.jitter.ms"),
            segment_index_bytes_max: size("segment.index.bytes"),
            index_interval_bytes: size("index.interval.bytes"),
            message_bytes_max: size("max.message.bytes"),
            message_timestamp_type: match value("message.timestamp.type").as_text() {
                "LogAppendTime" => MessageTimestampType::LogAppendTime,
                _ => MessageTimestampType::CreateTime,
            },
            timestamp_before_max_ms: int("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: int("message.timestamp.after.max.ms"),
            min_insync_replicas: i32::try_from(int("min.insync.replicas")).unwrap_or(i32::MAX),
            delete_retention: duration("delete.retention.ms"),
            file_delete_delay: duration("file.delete.delay.ms"),
            min_cleanable_dirty_ratio: value("min.cleanable.dirty.ratio").as_f64(),
            min_compaction_lag: duration("min.compaction.lag.ms"),
            max_compaction_lag: duration("max.compaction.lag.ms"),
            preallocate: value("preallocate").as_bool(),
            partitioner: None,
        }
    }
}

fn partitioner(
    values: &BTreeMap<&'static str, Value>,
) -> Result<Option<TopicPartitioner>, InvalidTopicConfig> {
    let settings = values.get(PARTITIONER_CONFIG).map_or(&[][..], Value::as_list);
    let Some(module) = values.get(PARTITIONER) else {
        return match settings {
            [] => Ok(None),
            [..] => Err(InvalidTopicConfig(format!("{PARTITIONER_CONFIG} is set, and {PARTITIONER} is not"))),
        };
    };
    let mut config = BTreeMap::new();
    for setting in settings {
        let pair = setting.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
        let Some((name, value)) = pair.filter(|(name, _)| !name.is_empty()) else {
            return Err(InvalidTopicConfig(format!("{PARTITIONER_CONFIG}: \"{setting}\" is not name=value")));
        };
        if config.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(InvalidTopicConfig(format!("{PARTITIONER_CONFIG}: \"{name}\" is given twice")));
        }
    }
    Ok(Some(TopicPartitioner { module: module.as_text().to_owned(), config }))
}

fn cleanup_policy(words: &[String]) -> CleanupPolicy {
    let has = |word: &str| words.iter().any(|other| other == word);
    match (has("compact"), has("delete")) {
        (true, true) => CleanupPolicy::CompactAndDelete,
        (true, false) => CleanupPolicy::Compact,
        (false, _) => CleanupPolicy::Delete,
    }
}

fn compression_type(word: &str) -> CompressionType {
    match word {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

impl TopicDefaults {
    /// The defaults that the broker's own configuration gives.
    pub(super) fn of_broker(values: &Values) -> TopicDefaults {
        TopicDefaults(TOPIC_KEYS.iter().map(|key| (key.name, TopicDefault::of(key, values))).collect())
    }

    /// What DescribeConfigs says of a topic with these settings: every key, in the table's order. A
    /// stored setting that no key knows any more is left out.
    pub fn describe(&self, overrides: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        TOPIC_KEYS.iter().map(|key| self.describe_key(key, overrides.get(key.name))).collect()
    }

    fn describe_key(&self, key: &TopicKey, own: Option<&String>) -> ConfigEntry {
        let default = self.0.get(key.name);
        let mut synonyms = Vec::new();
        if let Some(text) = own {
            synonyms.push(ConfigSynonym {
                name: key.name.to_owned(),
                value: Some(text.clone()),
                source: ConfigSource::Topic,
            });
        }
        synonyms.extend(default.map(|default| default.synonyms.clone()).unwrap_or_default());
        let inherited = || default.and_then(|default| default.value.as_ref()).map(ToString::to_string);
        ConfigEntry {
            name: key.name.to_owned(),
            value: own.cloned().or_else(inherited),
            source: match own {
                Some(_) => ConfigSource::Topic,
                None => default.map_or(ConfigSource::Default, |default| default.source),
            },
            is_read_only: false,
            synonyms,
            wire_type: key.kind.wire_type(),
            documentation: key.doc,
        }
    }
}

impl Default for TopicDefaults {
    /// The defaults of a broker that nobody configured.
    fn default() -> TopicDefaults {
        super::ServerConfig::default().topic_defaults().clone()
    }
}

impl TopicDefault {
    fn of(key: &TopicKey, values: &Values) -> TopicDefault {
        let mut found: Option<(Value, ConfigSource)> = None;
        let mut synonyms = Vec::new();
        // A value that somebody set wins over any default: `log.retention.minutes` from the file
        // over the built-in `log.retention.hours`, as in Kafka.
        for (name, factor) in key.broker_keys {
            let resolved = values.resolved(name);
            let Some(value) = &resolved.value else { continue };
            let source = ConfigSource::of(&resolved.origin);
            synonyms.extend(synonyms_of(name, resolved));
            if found.is_none() {
                found = Some((scaled(value, *factor), source));
            }
        }
        match found {
            Some((value, source)) => TopicDefault { value: Some(value), source, synonyms },
            // No broker key at all: a topic has it by itself or not.
            None if key.broker_keys.is_empty() => {
                TopicDefault { value: None, source: ConfigSource::Default, synonyms }
            }
            // Unset everywhere: Kafka's `flush.ms` is the one such key, and means "never".
            None => {
                TopicDefault { value: Some(Value::Int(i64::MAX)), source: ConfigSource::Default, synonyms }
            }
        }
    }
}

/// Hours and minutes as milliseconds; a negative number means "no bound" in any unit.
fn scaled(value: &Value, factor: i64) -> Value {
    match value {
        Value::Int(number) if *number < 0 => Value::Int(-1),
        Value::Int(number) => Value::Int(number.saturating_mul(factor)),
        Value::Float(_) | Value::Bool(_) | Value::Text(_) | Value::List(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests;
