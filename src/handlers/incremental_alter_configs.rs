//! IncrementalAlterConfigs, versions 0 and 1: topics' own settings (set, delete, append, subtract).
//!
//! Left out: dynamic broker settings; they are refused with INVALID_REQUEST.

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::broker::{BrokerError, ChangeMode};
use crate::config::topic_config::ConfigOperation;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::message;
use crate::ids::TopicName;

/// A topic, among the resource types of the config APIs.
pub const TOPIC_RESOURCE: i8 = 2;
/// A broker, among the resource types of the config APIs.
pub const BROKER_RESOURCE: i8 = 4;

/// Changes resources, each on its own, all of its settings or none.
pub async fn handle(context: Context) -> Handled {
    let request: IncrementalAlterConfigsRequest = context.decode()?;
    let mode = if request.validate_only { ChangeMode::ValidateOnly } else { ChangeMode::Apply };
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (code, why) = match alter(&context, &resource, mode).await {
            Ok(()) => (ErrorCode::None, String::new()),
            Err(error) => (error.code(), error.explanation()),
        };
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_error_code(code.code())
                .with_error_message(message(code, why))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name),
        );
    }
    context.respond(&IncrementalAlterConfigsResponse::default().with_responses(responses))
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
            let why = "a broker's settings come from its file, environment and flags; they are not changed at run time";
            Err(BrokerError::refused(ErrorCode::InvalidRequest, why))
        }
        other => {
            let why = format!("resource type {other} has no configs here");
            Err(BrokerError::refused(ErrorCode::InvalidRequest, why))
        }
    }
}

fn operations(resource: &AlterConfigsResource) -> Result<Vec<(String, ConfigOperation)>, BrokerError> {
    let invalid = |why: String| BrokerError::refused(ErrorCode::InvalidRequest, why);
    let mut operations: Vec<(String, ConfigOperation)> = Vec::with_capacity(resource.configs.len());
    for config in &resource.configs {
        let name = config.name.to_string();
        if operations.iter().any(|(other, _)| *other == name) {
            return Err(invalid(format!("{name} is named twice")));
        }
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
