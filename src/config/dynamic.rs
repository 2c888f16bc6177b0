//! Settings of brokers that are changed while they run (KIP-226): those that give topics their
//! defaults. A broker's own ones win over those of all brokers, and these over its file.

use std::collections::BTreeMap;

use super::entry::{self, ConfigEntry};
use super::keys::{self, KEYS, Key};
use super::kind::WireType;
use super::sources::{Origin, Values};
use super::suggest::nearest;
use super::topic_config::{ConfigOperation, InvalidTopicConfig, TOPIC_KEYS, TopicConfig, TopicDefaults};
use super::{ServerConfig, Value};

/// Kafka's keys that throttle replication. There is none; but `kafka-reassign-partitions.sh --verify`
/// takes them away, whether they are set or not.
const REPLICATION_THROTTLES: &[&str] = &[
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// What is set while brokers run, by key, as text.
#[derive(Clone, Copy, Debug)]
pub struct DynamicSettings<'a> {
    /// For all brokers.
    pub all: &'a BTreeMap<String, String>,
    /// For this one.
    pub own: &'a BTreeMap<String, String>,
}

/// The broker's settings as they are now.
#[derive(Clone, PartialEq, Debug)]
pub struct EffectiveConfig {
    values: Values,
    topic_defaults: TopicDefaults,
}

/// Why a broker's setting cannot be changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DynamicConfigError {
    /// It is read at start only.
    #[error("{0} is read when the broker starts; it cannot be changed while it runs")]
    Static(String),
    /// There is no such setting, or it cannot have that value.
    #[error("{0}")]
    Invalid(String),
}

impl EffectiveConfig {
    /// What a broker was started with, and what has been set since. A setting that this build does
    /// not know any more, or cannot read, counts as not set.
    pub fn new(config: &ServerConfig, dynamic: DynamicSettings<'_>) -> EffectiveConfig {
        let mut values = config.values().clone();
        for (layer, origin) in [(dynamic.all, Origin::DynamicDefault), (dynamic.own, Origin::DynamicBroker)] {
            for (name, text) in layer {
                let key = keys::find(name).filter(|key| is_dynamic(key));
                if let Some((key, value)) = key.and_then(|key| Some((key, key.kind.parse(text).ok()?))) {
                    values.lay_over(key, value, origin.clone());
                }
            }
        }
        let topic_defaults = TopicDefaults::of_broker(&values);
        EffectiveConfig { values, topic_defaults }
    }

    /// The values that a topic without its own has.
    pub fn topic_defaults(&self) -> &TopicDefaults {
        &self.topic_defaults
    }

    /// The answer to DescribeConfigs for a broker.
    pub fn describe(&self) -> Vec<ConfigEntry> {
        self.values.iter().map(|(key, resolved)| entry::of_broker_key(key, resolved)).collect()
    }

    /// The answer to DescribeConfigs for all brokers together: only what is set for all.
    pub fn describe_defaults(&self, all: &BTreeMap<String, String>) -> Vec<ConfigEntry> {
        let set = KEYS.iter().filter(|key| all.contains_key(key.name));
        set.map(|key| entry::of_cluster_default(key, all.get(key.name).cloned())).collect()
    }

    /// Checks that topics can live with these defaults.
    pub fn check(&self) -> Result<(), DynamicConfigError> {
        TopicConfig::effective(&BTreeMap::new(), &self.topic_defaults)
            .map(|_| ())
            .map_err(|InvalidTopicConfig(why)| DynamicConfigError::Invalid(why))
    }

    /// Applies one change to what has been set; lists grow from what is in force now.
    pub fn alter(
        &self,
        settings: &mut BTreeMap<String, String>,
        name: &str,
        operation: ConfigOperation,
    ) -> Result<(), DynamicConfigError> {
        if operation == ConfigOperation::Delete && REPLICATION_THROTTLES.contains(&name) {
            return Ok(());
        }
        let key = dynamic_key(name)?;
        let parse = |text: &str| {
            key.kind.parse(text).map_err(|reason| {
                let why = format!("invalid value for {name}: {reason} (expected: {})", key.kind);
                DynamicConfigError::Invalid(why)
            })
        };
        let changed_list = |text: &str, change: fn(&mut Vec<String>, &[String])| {
            if key.kind.wire_type() != WireType::List {
                return Err(DynamicConfigError::Invalid(format!("{name} is not a list; set it instead")));
            }
            let present = match settings.get(key.name) {
                Some(text) => Some(parse(text)?),
                None => self.values.get(key.name).and_then(|resolved| resolved.value.clone()),
            };
            let mut words = present.as_ref().map(Value::as_list).unwrap_or_default().to_vec();
            change(&mut words, parse(text)?.as_list());
            parse(&words.join(","))
        };
        let value = match operation {
            ConfigOperation::Set(text) => Some(parse(&text)?),
            ConfigOperation::Delete => None,
            ConfigOperation::Append(text) => Some(changed_list(&text, |words, more| {
                let new = more.iter().filter(|word| !words.contains(word)).cloned().collect::<Vec<_>>();
                words.extend(new);
            })?),
            ConfigOperation::Subtract(text) => {
                Some(changed_list(&text, |words, less| words.retain(|word| !less.contains(word)))?)
            }
        };
        match value {
            Some(value) => settings.insert(key.name.to_owned(), value.to_string()),
            None => settings.remove(key.name),
        };
        Ok(())
    }
}

/// Whether a key can be changed while the broker runs: whether it stands behind a topic's key.
pub(super) fn is_dynamic(key: &Key) -> bool {
    TOPIC_KEYS.iter().any(|topic_key| topic_key.has_default_from(key.name))
}

fn dynamic_key(name: &str) -> Result<&'static Key, DynamicConfigError> {
    match keys::find(name) {
        Some(key) if is_dynamic(key) => Ok(key),
        Some(_) => Err(DynamicConfigError::Static(name.to_owned())),
        None => {
            let hint = nearest(name, KEYS.iter().map(|key| key.name));
            let hint = hint.map(|suggestion| format!("; did you mean \"{suggestion}\"?")).unwrap_or_default();
            Err(DynamicConfigError::Invalid(format!("unknown broker config name \"{name}\"{hint}")))
        }
    }
}

#[cfg(test)]
mod tests;
