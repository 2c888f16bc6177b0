//! IncrementalAlterConfigs, versions 0 and 1: topics' own settings, and those of brokers that give topics
//! their defaults (set, delete, append, subtract).
//!
//! Left out: brokers' other settings, which are read at start; they are refused with INVALID_REQUEST.

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::broker::{BrokerError, BrokerScope, ChangeMode};
use crate::config::topic_config::ConfigOperation;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{repeated, verdict};
use crate::ids::TopicName;

/// A topic, among the resource types of the config APIs.
pub const TOPIC_RESOURCE: i8 = 2;
/// A broker, among the resource types of the config APIs.
pub const BROKER_RESOURCE: i8 = 4;

/// Changes resources, each on its own, all of its settings or none.
pub async fn handle(context: Context) -> Handled {
    let request: IncrementalAlterConfigsRequest = context.decode()?;
    let mode = if request.validate_only { ChangeMode::ValidateOnly } else { ChangeMode::Apply };
    let repeated =
        repeated(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let altered = match repeated.contains(&(resource.resource_type, resource.resource_name.clone())) {
            true => Err(BrokerError::refused(ErrorCode::InvalidRequest, "the resource is named twice")),
            false => alter(&context, &resource, mode).await,
        };
        let (code, why) = verdict(altered);
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(code)
                .with_error_message(why)
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    context.respond(&IncrementalAlterConfigsResponse::default().with_responses(responses))
}

/// The brokers that a resource's name means: none is all of them.
pub fn broker_scope(context: &Context, name: &str) -> Result<BrokerScope, BrokerError> {
    match name {
        "" => Ok(BrokerScope::All),
        name if name == context.broker.broker_id().to_string() => Ok(BrokerScope::This),
        name => {
            let why = format!("this is broker {}, not {name}", context.broker.broker_id());
            Err(BrokerError::refused(ErrorCode::InvalidRequest, why))
        }
    }
}

async fn alter(
    context: &Context,
    resource: &AlterConfigsResource,
    mode: ChangeMode,
) -> Result<(), BrokerError> {
    match resource.resource_type {
        TOPIC_RESOURCE => {
            let name = TopicName::new(resource.resource_name.as_str());
            context.broker.alter_topic_configs(&name, operations(resource)?, mode).await
        }
        BROKER_RESOURCE => {
            let scope = broker_scope(context, &resource.resource_name)?;
            context.broker.alter_broker_configs(scope, operations(resource)?, mode).await
        }
        other => {
            let why = format!("resource type {other} has no configs here");
            Err(BrokerError::refused(ErrorCode::InvalidRequest, why))
        }
    }
}

fn operations(resource: &AlterConfigsResource) -> Result<Vec<(String, ConfigOperation)>, BrokerError> {
    let invalid = |why: String| BrokerError::refused(ErrorCode::InvalidRequest, why);
    if let Some(name) = repeated(resource.configs.iter().map(|config| config.name.as_str())).first() {
        return Err(invalid(format!("{name} is named twice")));
    }
    let mut operations: Vec<(String, ConfigOperation)> = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let name = config.name.to_string();
        let value = || match &config.value {
            Some(value) => Ok(value.to_string()),
            None => Err(invalid(format!("{name} needs a value"))),
        };
        let operation = match config.config_operation {
            0 => ConfigOperation::Set(value()?),
            1 => ConfigOperation::Delete,
            2 => ConfigOperation::Append(value()?),
            3 => ConfigOperation::Subtract(value()?),
            other => return Err(invalid(format!("operation {other} does not exist"))),
        };
        operations.push((name, operation));
    }
    Ok(operations)
}
