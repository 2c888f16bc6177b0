//! DescribeConfigs, versions 1 to 4: topics and this broker, with sources, synonyms and docs.
//!
//! Left out: broker loggers, client metrics and groups as resources.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::config::ConfigEntry;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, text};
use crate::handlers::incremental_alter_configs::{BROKER_RESOURCE, TOPIC_RESOURCE, broker_scope};
use crate::metadata::decide::check_topic_name;

/// Describes resources, each on its own.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeConfigsRequest = context.decode()?;
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(context, resource) {
            Ok(entries) => {
                let wanted = entries.into_iter().filter(|entry| is_wanted(resource, entry));
                result
                    .with_configs(wanted.map(|entry| describe(context.version(), &request, entry)).collect())
            }
            Err((code, why)) => result.with_error_code(code.code()).with_error_message(message(code, why)),
        }
    });
    context.respond(&DescribeConfigsResponse::default().with_results(results.collect()))
}

fn entries(
    context: &Context,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, (ErrorCode, String)> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC_RESOURCE => {
            check_topic_name(name).map_err(|refusal| (refusal.code, refusal.message))?;
            match context.broker.metadata().topic(name) {
                Some(topic) => Ok(context.broker.describe_topic_config(topic)),
                None => Err((ErrorCode::UnknownTopicOrPartition, format!("there is no topic {name:?}"))),
            }
        }
        BROKER_RESOURCE => {
            let scope = broker_scope(context, name).map_err(|error| (error.code(), error.explanation()))?;
            Ok(context.broker.describe_broker_config(scope))
        }
        other => Err((ErrorCode::InvalidRequest, format!("resource type {other} has no configs here"))),
    }
}

fn is_wanted(resource: &DescribeConfigsResource, entry: &ConfigEntry) -> bool {
    match &resource.configuration_keys {
        // Some clients send an empty list where they mean all.
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == entry.name),
        Some(_) | None => true,
    }
}

fn describe(
    version: i16,
    request: &DescribeConfigsRequest,
    entry: ConfigEntry,
) -> DescribeConfigsResourceResult {
    let mut result = DescribeConfigsResourceResult::default()
        .with_name(text(entry.name))
        .with_value(entry.value.map(text))
        .with_read_only(entry.is_read_only)
        .with_config_source(entry.source.code());
    if request.include_synonyms {
        let synonyms = entry.synonyms.into_iter().map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(text(synonym.name))
                .with_value(synonym.value.map(text))
                .with_source(synonym.source.code())
        });
        result = result.with_synonyms(synonyms.collect());
    }
    if version >= 3 {
        result = result.with_config_type(entry.wire_type.code());
        if request.include_documentation {
            result = result.with_documentation(Some(text(entry.documentation)));
        }
    }
    result
}
