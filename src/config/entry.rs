//! What DescribeConfigs says of one key: its value, where that comes from, and what else could set it.
//!
//! Shared by broker and topic resources; numbered as Kafka's `ConfigEntry` and
//! `DescribeConfigsResponse.ConfigSource` number it.

use super::dynamic::is_dynamic;
use super::keys::Key;
use super::kind::WireType;
use super::sources::{Origin, Resolved};

/// Where an effective value comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigSource {
    /// Set on the topic itself.
    Topic,
    /// Set for this broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
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
            ConfigSource::DynamicBroker => 2,
            ConfigSource::DynamicDefaultBroker => 3,
            ConfigSource::StaticBroker => 4,
            ConfigSource::Default => 5,
        }
    }

    /// The kind of source that an origin is.
    pub(super) fn of(origin: &Origin) -> ConfigSource {
        match origin {
            Origin::Default => ConfigSource::Default,
            Origin::DynamicBroker => ConfigSource::DynamicBroker,
            Origin::DynamicDefault => ConfigSource::DynamicDefaultBroker,
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
    let mut synonyms = synonyms_of(key.name, resolved);
    let default = synonyms.last().is_none_or(|last| last.source != ConfigSource::Default);
    if let Some(text) = key.default.filter(|_| default) {
        synonyms.push(ConfigSynonym {
            name: key.name.to_owned(),
            value: Some(text.to_owned()),
            source: ConfigSource::Default,
        });
    }
    ConfigEntry {
        name: key.name.to_owned(),
        value: resolved.value.as_ref().map(ToString::to_string),
        source: ConfigSource::of(&resolved.origin),
        is_read_only: !is_dynamic(key),
        synonyms,
        wire_type: key.kind.wire_type(),
        documentation: key.doc,
    }
}

/// A setting for all brokers, as told of all brokers together.
pub(super) fn of_cluster_default(key: &Key, value: Option<String>) -> ConfigEntry {
    let source = ConfigSource::DynamicDefaultBroker;
    let synonym = ConfigSynonym { name: key.name.to_owned(), value: value.clone(), source };
    ConfigEntry {
        name: key.name.to_owned(),
        value,
        source,
        is_read_only: false,
        synonyms: vec![synonym],
        wire_type: key.kind.wire_type(),
        documentation: key.doc,
    }
}

/// A key's values in all layers where it has one, the strongest first.
pub(super) fn synonyms_of(name: &str, resolved: &Resolved) -> Vec<ConfigSynonym> {
    let layers = std::iter::successors(Some(resolved), |resolved| resolved.below.as_deref());
    let synonym = |layer: &Resolved| {
        let value = layer.value.as_ref()?.to_string();
        let source = ConfigSource::of(&layer.origin);
        Some(ConfigSynonym { name: name.to_owned(), value: Some(value), source })
    };
    layers.filter_map(synonym).collect()
}
