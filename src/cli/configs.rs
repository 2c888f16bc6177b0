//! Settings of topics and brokers over the Kafka protocol, for the verbs that show and change them.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::error::{CliError, check};
use super::protocol_client::{Cluster, text};

/// Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// What has settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Resource {
    kind: i8,
    /// The topic, or the broker's id; empty for all brokers.
    pub(super) name: String,
}

/// What is to be changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Changes {
    /// Keys with their new values.
    pub(super) set: Vec<(String, String)>,
    /// Keys that get their defaults back.
    pub(super) unset: Vec<String>,
    /// Only check whether it could be done.
    pub(super) validate_only: bool,
}

impl Resource {
    /// A topic.
    pub(super) fn topic(name: &str) -> Resource {
        Resource { kind: TOPIC, name: name.to_owned() }
    }

    /// A broker, by its id; all by an empty one.
    pub(super) fn broker(id: &str) -> Resource {
        Resource { kind: BROKER, name: id.to_owned() }
    }

    /// Whether it is a topic.
    pub(super) fn is_topic(&self) -> bool {
        self.kind == TOPIC
    }

    fn shown(&self) -> String {
        format!("{} {}", if self.is_topic() { "topic" } else { "broker" }, self.name)
    }
}

/// All settings, by name.
pub(super) fn describe_configs(
    cluster: &mut Cluster,
    resource: &Resource,
) -> Result<Vec<DescribeConfigsResourceResult>, CliError> {
    let asked = DescribeConfigsResource::default()
        .with_resource_type(resource.kind)
        .with_resource_name(text(&resource.name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![asked]).with_include_synonyms(true);
    let mut configs = Vec::new();
    for result in cluster.any().call(&request)?.results {
        let detail = result.error_message.as_ref().map(StrBytes::as_str);
        let what = format!("cannot describe the configuration of {}", resource.shown());
        check(result.error_code, what, detail)?;
        configs.extend(result.configs);
    }
    configs.sort_by(|left, right| left.name.as_str().cmp(right.name.as_str()));
    Ok(configs)
}

/// Changes settings: all of them, or none.
pub(super) fn alter_configs(
    cluster: &mut Cluster,
    resource: &Resource,
    changes: &Changes,
) -> Result<(), CliError> {
    // Kafka's `AlterConfigOp.OpType`.
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    let set = changes.set.iter().map(|(key, value)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(SET)
            .with_value(Some(text(value)))
    });
    let unset = changes.unset.iter().map(|key| {
        AlterableConfig::default().with_name(text(key)).with_config_operation(DELETE).with_value(None)
    });
    let altered = AlterConfigsResource::default()
        .with_resource_type(resource.kind)
        .with_resource_name(text(&resource.name))
        .with_configs(set.chain(unset).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![altered])
        .with_validate_only(changes.validate_only);
    for response in cluster.controller()?.call(&request)?.responses {
        let detail = response.error_message.as_ref().map(StrBytes::as_str);
        check(response.error_code, format!("cannot configure {}", resource.shown()), detail)?;
    }
    Ok(())
}

/// `ConfigEntry.ConfigSource` by its number.
pub(super) fn source_name(source: i8) -> &'static str {
    match source {
        1 => "DYNAMIC_TOPIC_CONFIG",
        2 => "DYNAMIC_BROKER_CONFIG",
        3 => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        4 => "STATIC_BROKER_CONFIG",
        5 => "DEFAULT_CONFIG",
        6 => "DYNAMIC_BROKER_LOGGER_CONFIG",
        _ => "UNKNOWN",
    }
}
