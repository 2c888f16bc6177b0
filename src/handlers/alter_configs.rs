//! AlterConfigs, versions 0 to 2: what a resource is to have of its own, all of it: a setting that is
//! not named goes back to its default (which is why KIP-339 made IncrementalAlterConfigs).

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use std::collections::BTreeMap;

use crate::broker::{BrokerError, ChangeMode};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{repeated, verdict};
use crate::handlers::incremental_alter_configs::{BROKER_RESOURCE, TOPIC_RESOURCE, broker_scope};
use crate::ids::TopicName;

/// Changes resources, each on its own, all of its settings or none.
pub async fn handle(context: Context) -> Handled {
    let request: AlterConfigsRequest = context.decode()?;
    let mode = if request.validate_only { ChangeMode::ValidateOnly } else { ChangeMode::Apply };
    let repeated =
        repeated(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let replaced = match repeated.contains(&(resource.resource_type, resource.resource_name.clone())) {
            true => Err(BrokerError::refused(ErrorCode::InvalidRequest, "the resource is named twice")),
            false => replace(&context, &resource, mode).await,
        };
        let (code, why) = verdict(replaced);
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(why)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    context.respond(&AlterConfigsResponse::default().with_responses(responses))
}

async fn replace(
    context: &Context,
    resource: &AlterConfigsResource,
    mode: ChangeMode,
) -> Result<(), BrokerError> {
    let configs = configs(resource)?;
    match resource.resource_type {
        TOPIC_RESOURCE => {
            let name = TopicName::new(resource.resource_name.as_str());
            context.broker.replace_topic_configs(&name, configs, mode).await
        }
        BROKER_RESOURCE => {
            let scope = broker_scope(context, &resource.resource_name)?;
            context.broker.replace_broker_configs(scope, configs, mode).await
        }
        other => {
            let why = format!("resource type {other} has no configs here");
            Err(BrokerError::refused(ErrorCode::InvalidRequest, why))
        }
    }
}

fn configs(resource: &AlterConfigsResource) -> Result<BTreeMap<String, String>, BrokerError> {
    let invalid = |why: String| BrokerError::refused(ErrorCode::InvalidRequest, why);
    let mut configs = BTreeMap::new();
    for config in &resource.configs {
        let name = config.name.to_string();
        let Some(value) = &config.value else { return Err(invalid(format!("{name} needs a value"))) };
        if configs.insert(name.clone(), value.to_string()).is_some() {
            return Err(invalid(format!("{name} is named twice")));
        }
    }
    Ok(configs)
}
