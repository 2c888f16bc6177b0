//! `/v1/processors`: deploy, list, show, pause, resume, delete, logs.

use super::body::parse_definition;
use super::{AdminState, ApiError};
use crate::processor::definition::{ProcessorDefinition, RunMode, Work};
use crate::processor::registry::RegistryError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) async fn list(State(state): State<AdminState>) -> Json<Value> {
    let all = state.registry.definitions();
    let all = all.iter().map(|definition| shown(&state, definition)).collect::<Vec<_>>();
    Json(json!({ "processors": all }))
}

pub(super) async fn describe(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&state, find(&state, &name)?.as_ref())))
}

pub(super) async fn deploy(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut definition = parse_definition(&name, &body, &state.defaults)?;
    definition.module = state.registry.module(&definition.module)?.digest;
    for partitioner in definition.partitioners.values_mut() {
        partitioner.module = state.registry.module(&partitioner.module)?.digest;
    }
    for stage in &mut definition.then {
        stage.module = state.registry.module(&stage.module)?.digest;
    }
    let before = state.registry.processor(&name);
    // Deploying a new version is not resuming: what someone has paused stays paused.
    definition.run = before.as_ref().map_or(RunMode::Running, |before| before.run);
    definition.pause_cause = before.as_ref().and_then(|before| before.pause_cause.clone());
    state.registry.check_processor(&definition)?;
    state.supervisor.check_inputs(&definition).await?;
    state.supervisor.check_memory(&definition).await?;
    state.supervisor.create_topics(&definition).await?;
    state.registry.put_processor(definition).await?;
    state.supervisor.restart_failed(&name);
    let status = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shown(&state, find(&state, &name)?.as_ref()))))
}

pub(super) async fn delete(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.registry.delete_processor(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    state.registry.set_run_mode(&name, RunMode::Paused, None).await?;
    Ok(Json(shown(&state, find(&state, &name)?.as_ref())))
}

pub(super) async fn resume(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    state.registry.set_run_mode(&name, RunMode::Running, None).await?;
    state.supervisor.restart_failed(&name);
    Ok(Json(shown(&state, find(&state, &name)?.as_ref())))
}

/// The query of the logs.
#[derive(Debug, Deserialize)]
pub(super) struct LogsQuery {
    since: Option<String>,
}

pub(super) async fn logs(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Json<Value>, ApiError> {
    let since = since(&query)?;
    let page = state.supervisor.logs(&name, since).ok_or(RegistryError::UnknownProcessor(name))?;
    Ok(Json(json!(page)))
}

/// The number after which lines are asked for.
pub(super) fn since(query: &LogsQuery) -> Result<u64, ApiError> {
    let hint = "Give the \"next\" of the answer before, or leave it out.";
    let parsed = query.since.as_deref().map(str::parse).transpose();
    Ok(parsed.map_err(|_| ApiError::invalid("\"since\" is not a number.", hint))?.unwrap_or(0))
}

fn find(state: &AdminState, name: &str) -> Result<Arc<ProcessorDefinition>, ApiError> {
    Ok(state.registry.definition(name).ok_or_else(|| RegistryError::UnknownProcessor(name.into()))?)
}

/// The definition's fields, and beside them what the processor is doing.
fn shown(state: &AdminState, definition: &ProcessorDefinition) -> Value {
    let mut fields = match json!(definition) {
        Value::Object(fields) => fields,
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Map::from_iter([("definition".to_owned(), other)])
        }
    };
    fields.insert("dead_letter_topic".into(), json!(definition.dead_letter_topic().map(|t| t.to_string())));
    let moves = definition.work == Work::MoveToPartitions;
    fields.insert("built_in".into(), json!(moves));
    if let Some(status) = state.supervisor.status(&definition.name) {
        let last_error =
            status.cause.clone().or_else(|| status.tasks.iter().find_map(|task| task.last_error.clone()));
        fields.insert("state".into(), json!(status.state));
        fields.insert("cause".into(), json!(status.cause));
        fields.insert("lag".into(), json!(status.lag_records));
        fields.insert("last_error".into(), json!(last_error));
        fields.insert("tasks".into(), json!(status.tasks));
    }
    if let Some(metrics) = state.supervisor.metrics(&definition.name) {
        fields.insert("guest_cpu_seconds".into(), json!(metrics.guest_cpu_seconds));
        fields.insert("guest_memory_bytes".into(), json!(metrics.guest_memory_bytes));
        fields.insert("state_bytes".into(), json!(metrics.state_bytes));
        fields.insert("timers_pending".into(), json!(metrics.timers_pending));
        fields.insert("counters".into(), json!(metrics.own));
    }
    Value::Object(fields)
}
