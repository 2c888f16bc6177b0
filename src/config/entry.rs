//! What DescribeConfigs says of one key: its value, where that comes from, and what else could set it.
//!
//! Shared by broker and topic resources; numbered as Kafka's `ConfigEntry` and
//! `DescribeConfigsResponse.ConfigSource` number it.

use super::keys::Key;
use super::kind::WireType;
use super::sources::{Origin, Resolved};

/// Where an effective value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic,
    /// Set in the broker's file, environment or flags.
    StaticBroker,
    /// Nobody set it.
    Default,
}

impl ConfigSource {
    /// The number on the wire.
    pub const fn code(self) -> i8 {
        match self {
            ConfigSource::Topic => 1,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
        }
    }

    /// The kind of source that an origin is.
    pub(super) fn of(origin: &Origin) -> ConfigSource {
        match origin {
            Origin::Default => ConfigSource::Default,
            Origin::File(_) | Origin::Environment(_) | Origin::Flag(_) => ConfigSource::StaticBroker,
        }
    }
}

/// One of the keys that together decide an effective value, the strongest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSynonym {
    /// The key; a broker's key may be named otherwise than the topic's.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Where that is set.
    pub source: ConfigSource,
}

/// One key as DescribeConfigs reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    /// The key.
    pub name: String,
    /// The effective value.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it can only be changed by starting the broker anew.
    pub is_read_only: bool,
    /// What else could set it, the strongest first, the effective one included.
    pub synonyms: Vec<ConfigSynonym>,
    /// Its type.
    pub wire_type: WireType,
    /// What it does.
    pub documentation: &'static str,
}

pub(super) fn of_broker_key(key: &Key, resolved: &Resolved) -> ConfigEntry {
    let value = resolved.value.as_ref().map(ToString::to_string);
    let source = ConfigSource::of(&resolved.origin);
    let mut synonyms = Vec::new();
    if source == ConfigSource::StaticBroker {
        synonyms.push(ConfigSynonym { name: key.name.to_owned(), value: value.clone(), source });
    }
    if let Some(default) = key.default {
        synonyms.push(ConfigSynonym {
            name: key.name.to_owned(),
            value: Some(default.to_owned()),
            source: ConfigSource::Default,
        });
    }
    ConfigEntry {
        name: key.name.to_owned(),
        value,
        source,
        is_read_only: true,
        synonyms,
        wire_type: key.kind.wire_type(),
        documentation: key.doc,
    }
}
