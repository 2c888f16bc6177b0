//! `/v1/topics/{topic}/records`: writes records, as a client that has no producer of its own.
//!
//! Where they go is for `processor::inline` to decide; here bodies are read and answers written.

use super::body::parse_records;
use super::error::{sentence, status_of};
use super::{AdminState, ApiError};
use crate::interceptor::Client;
use crate::processor::inline::{NotWritten, Written};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

/// Who sends records over HTTP, until there is authentication.
const PRINCIPAL: &str = "User:ANONYMOUS";
/// What such a client calls itself.
const CLIENT_ID: &str = "http";

pub(super) async fn produce(
    State(state): State<AdminState>,
    Path(topic): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let body = body.map_err(|rejection| too_large_or_cut(&state, &rejection))?;
    // As large as any client's request may be: too much to read where connections are served.
    let sent = tokio::task::spawn_blocking(move || parse_records(&topic, &body))
        .await
        .map_err(|panic| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "BUG", panic.to_string()))??;
    let client = Client { principal: Arc::from(PRINCIPAL), client_id: CLIENT_ID.to_owned() };
    Ok(answer(&state.producer.produce(sent, &client).await?))
}

fn too_large_or_cut(state: &AdminState, rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let limit = state.producer.request_bytes_max();
        let message = format!("The request is larger than the limit of {limit} bytes.");
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "REQUEST_TOO_LARGE", message)
            .hint("Send fewer records at a time.");
    }
    ApiError::invalid("The request was cut off.", "Send it again.")
}

/// What became of each record. Where nothing was written, an error says so for the whole.
fn answer(outcomes: &[Result<Written, NotWritten>]) -> (StatusCode, Json<Value>) {
    let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect::<Vec<_>>();
    let mut body = json!({ "records": outcomes.iter().map(shown).collect::<Vec<_>>() });
    let status = match refused.first() {
        None => StatusCode::OK,
        Some(first) if refused.len() == outcomes.len() => {
            body["error"] = error(first);
            body["error"]["hint"] = json!("Nothing of this request was written.");
            status_of(first.code)
        }
        Some(_) => StatusCode::MULTI_STATUS,
    };
    (status, Json(body))
}

fn shown(outcome: &Result<Written, NotWritten>) -> Value {
    match outcome {
        Ok(Written { partition, offset }) => {
            json!({"partition": partition.value(), "offset": offset.value()})
        }
        Err(refused) => json!({ "error": error(refused) }),
    }
}

fn error(refused: &NotWritten) -> Value {
    json!({"code": refused.code.name(), "message": sentence(&refused.message)})
}
