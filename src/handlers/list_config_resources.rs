//! ListConfigResources, versions 0 and 1 (KIP-1000, KIP-1142): the resources that have settings:
//! topics and this broker.
//!
//! Version 0 asks for client metrics, of which there are none; nor have groups or loggers any settings.

use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::text;
use crate::handlers::incremental_alter_configs::{BROKER_RESOURCE, TOPIC_RESOURCE};
use crate::metadata::image::is_ingress_name;

const BROKER_LOGGER_RESOURCE: i8 = 8;
const CLIENT_METRICS_RESOURCE: i8 = 16;
const GROUP_RESOURCE: i8 = 32;
const KNOWN: [i8; 5] =
    [TOPIC_RESOURCE, BROKER_RESOURCE, BROKER_LOGGER_RESOURCE, CLIENT_METRICS_RESOURCE, GROUP_RESOURCE];

/// Lists the resources of the types asked for; of all, if none is named.
pub fn handle(context: &Context) -> Handled {
    let request: ListConfigResourcesRequest = context.decode()?;
    let types = match (context.version(), request.resource_types.is_empty()) {
        (..1, _) => vec![CLIENT_METRICS_RESOURCE],
        (1.., true) => KNOWN.to_vec(),
        (1.., false) => request.resource_types,
    };
    if types.iter().any(|kind| !KNOWN.contains(kind)) {
        let code = ErrorCode::UnsupportedVersion.code();
        return context.respond(&ListConfigResourcesResponse::default().with_error_code(code));
    }
    let mut resources = Vec::new();
    if types.contains(&TOPIC_RESOURCE) {
        let image = context.broker.metadata();
        let listed = image.topics().filter(|topic| !is_ingress_name(topic.name.as_str()));
        resources.extend(listed.map(|topic| resource(TOPIC_RESOURCE, topic.name.as_str())));
    }
    if types.contains(&BROKER_RESOURCE) {
        resources.push(resource(BROKER_RESOURCE, &context.broker.broker_id().to_string()));
    }
    context.respond(&ListConfigResourcesResponse::default().with_config_resources(resources))
}

fn resource(kind: i8, name: &str) -> ConfigResource {
    ConfigResource::default().with_resource_type(kind).with_resource_name(text(name))
}
