//! `/v1/modules`: upload, list, show, delete.
//!
//! Compiling runs in a bounded pool of blocking threads, never on a thread that serves connections.

use super::{AdminState, ApiError};
use crate::plugin::{ModuleDescription, ModuleDigest};
use crate::processor::registry::{ModuleEntry, Registry};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The query of an upload.
#[derive(Debug, Deserialize)]
pub(super) struct UploadQuery {
    name: Option<String>,
}

pub(super) async fn upload(
    State(state): State<AdminState>,
    Query(query): Query<UploadQuery>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let module = body.map_err(|rejection| too_large_or_cut(&state, &rejection))?;
    if module.is_empty() {
        return Err(ApiError::invalid("The module is empty.", "Send the component's bytes as the body."));
    }
    let name = query.name.filter(|name| !name.is_empty()).map(check_name).transpose()?;
    let _slot = state.compilations.0.acquire().await.map_err(|_| stopping())?;
    let host = state.host.clone();
    let described = tokio::task::spawn_blocking(move || host.compile(&module))
        .await
        .map_err(|panic| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "BUG", panic.to_string()))??;
    let known = state.registry.module(&described.digest.to_string()).is_ok();
    let entry = state.registry.put_module(entry_of(&described, name.into_iter().collect())).await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(shown(&entry, &state.registry))))
}

fn entry_of(described: &ModuleDescription, names: BTreeSet<String>) -> ModuleEntry {
    ModuleEntry {
        digest: described.digest.to_string(),
        names,
        world: described.world.to_string(),
        imports: described.imports.clone(),
        module_bytes: described.module_bytes,
        compiled_bytes: described.compiled_bytes,
        compile_ms: described.compile_ms,
    }
}

/// A name must not look like a digest's beginning from a program's view, nor need escaping in a path.
fn check_name(name: String) -> Result<String, ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if name.len() <= 128 && name.chars().all(allowed) && name != "." && name != ".." {
        Ok(name)
    } else {
        let hint = "Use up to 128 letters, digits, '.', '_', '-' and '@'.";
        Err(ApiError::invalid(format!("{name:?} cannot be a module's name."), hint))
    }
}

fn too_large_or_cut(state: &AdminState, rejection: &BytesRejection) -> ApiError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("The module is larger than the limit of {} bytes.", state.module_bytes_max);
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "MODULE_TOO_LARGE", message)
            .hint("Build it in release mode and strip its symbols, or raise the limit in the server's configuration.");
    }
    ApiError::invalid("The upload was cut off.", "Send it again.")
}

fn stopping() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "STOPPING", "The server is stopping.")
}

pub(super) async fn list(State(state): State<AdminState>) -> Json<Value> {
    let modules = state.registry.modules();
    let all = modules.iter().map(|entry| shown(entry, &state.registry)).collect::<Vec<_>>();
    Json(json!({ "modules": all }))
}

pub(super) async fn describe(
    State(state): State<AdminState>,
    Path(module): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(shown(&state.registry.module(&module)?, &state.registry)))
}

pub(super) async fn delete(
    State(state): State<AdminState>,
    Path(module): Path<String>,
) -> Result<StatusCode, ApiError> {
    let entry = state.registry.delete_module(&module).await?;
    if let Ok(digest) = entry.digest.parse::<ModuleDigest>() {
        let host = state.host.clone();
        let removed = tokio::task::spawn_blocking(move || host.remove(&digest)).await;
        if let Ok(Err(error)) = removed {
            // The catalogue no longer knows it; what is left is a file that nobody asks for.
            tracing::warn!(digest = entry.digest, %error, "the module's files could not be removed");
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn shown(entry: &ModuleEntry, registry: &Registry) -> Value {
    json!({
        "digest": entry.digest,
        "name": entry.names.first(),
        "names": entry.names,
        "world": entry.world,
        "imports": entry.imports,
        "size_bytes": entry.module_bytes,
        "compiled_bytes": entry.compiled_bytes,
        "compile_ms": entry.compile_ms,
        "used_by": registry.users_of(&entry.digest),
    })
}
