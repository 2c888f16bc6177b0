//! `/v1/interceptors`: attach, list, show, detach, logs.

use super::body::parse_attachment;
use super::processors::{LogsQuery, since};
use super::{AdminState, ApiError};
use crate::interceptor::Link;
use crate::processor::attachments::Attached;
use crate::processor::registry::RegistryError;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// In the order in which records pass them.
pub(super) async fn list(State(state): State<AdminState>) -> Json<Value> {
    let all = state.attachments.links().iter().map(|link| shown(link)).collect::<Vec<_>>();
    Json(json!({ "interceptors": all }))
}

pub(super) async fn describe(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    find(&state, &name)
}

pub(super) async fn attach(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let mut attachment = parse_attachment(&name, &body)?;
    attachment.module = state.registry.module(&attachment.module)?.digest;
    let status = match state.attachments.attach(attachment).await? {
        Attached::New => StatusCode::CREATED,
        Attached::Replaced => StatusCode::OK,
    };
    Ok((status, find(&state, &name)?))
}

pub(super) async fn detach(
    State(state): State<AdminState>,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    state.attachments.detach(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn logs(
    State(state): State<AdminState>,
    Path(name): Path<String>,
    Query(query): Query<LogsQuery>,
) -> Result<Json<Value>, ApiError> {
    let since = since(&query)?;
    let page = state.attachments.logs(&name, since).ok_or(RegistryError::UnknownInterceptor(name))?;
    Ok(Json(json!(page)))
}

fn find(state: &AdminState, name: &str) -> Result<Json<Value>, ApiError> {
    let link = state.attachments.link(name);
    let link = link.ok_or_else(|| RegistryError::UnknownInterceptor(name.to_owned()))?;
    Ok(Json(shown(&link)))
}

/// The attachment's fields, and beside them what it has done.
fn shown(link: &Link) -> Value {
    let mut shown = json!(link.attachment());
    if let Value::Object(fields) = &mut shown {
        fields.insert("counters".to_owned(), json!(link.counters()));
    }
    shown
}
