//! The admin API over HTTP: modules, processors and their state, interceptors, records, health, metrics.
//!
//! Thin: decodes, asks the catalogue, the plugin host or the supervisor, and encodes. Errors are
//! JSON with a stable code, a sentence and a hint. Decides nothing about records or topics.

mod body;
mod error;
mod interceptors;
mod metrics;
mod modules;
mod processors;
mod records;
mod state;

pub use error::ApiError;

use crate::plugin::PluginHost;
use crate::processor::attachments::Attachments;
use crate::processor::definition::{CommitPolicy, TaskLimits};
use crate::processor::inline::InlineProducer;
use crate::processor::registry::Registry;
use crate::processor::state_queries::StateQueries;
use crate::processor::supervisor::Supervisor;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Modules that are compiled at the same time, at most: compiling is heavy and must not starve the broker.
const COMPILATIONS_MAX: usize = 1;
/// The largest body of a request that brings neither a module nor records.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Says why the server is not ready for traffic yet, if it is not.
pub type ReadyCheck = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The server's own choice for what a deployment leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeploymentDefaults {
    /// When a transaction is closed.
    pub commit: CommitPolicy,
    /// What one instance may use.
    pub limits: TaskLimits,
}

/// What the API works on.
#[derive(Clone)]
pub struct AdminState {
    /// Checks and compiles modules.
    pub host: Arc<dyn PluginHost>,
    /// What is deployed.
    pub registry: Arc<Registry>,
    /// Runs it.
    pub supervisor: Arc<Supervisor>,
    /// Keeps interceptors attached.
    pub attachments: Arc<Attachments>,
    /// Reads processors' state.
    pub state_queries: Arc<StateQueries>,
    /// Writes the records that come over HTTP.
    pub producer: Arc<InlineProducer>,
    /// Whether the server is ready.
    pub ready: ReadyCheck,
    /// The largest module that may be uploaded.
    pub module_bytes_max: usize,
    /// What a deployment has that does not say otherwise.
    pub defaults: DeploymentDefaults,
    /// Where modules are compiled.
    pub compilations: Compilations,
}

/// The bounded pool for compiling.
#[derive(Clone, Debug)]
pub struct Compilations(Arc<Semaphore>);

impl Default for Compilations {
    fn default() -> Compilations {
        Compilations(Arc::new(Semaphore::new(COMPILATIONS_MAX)))
    }
}

/// The API's routes.
pub fn router(state: AdminState) -> Router {
    let module_limit = DefaultBodyLimit::max(state.module_bytes_max);
    let records_limit = DefaultBodyLimit::max(state.producer.request_bytes_max());
    Router::new()
        .route("/v1/modules", get(modules::list).post(modules::upload).layer(module_limit))
        .route("/v1/modules/{module}", get(modules::describe).delete(modules::delete))
        .route("/v1/processors", get(processors::list))
        .route(
            "/v1/processors/{name}",
            get(processors::describe).put(processors::deploy).delete(processors::delete),
        )
        .route("/v1/processors/{name}/pause", post(processors::pause))
        .route("/v1/processors/{name}/resume", post(processors::resume))
        .route("/v1/processors/{name}/logs", get(processors::logs))
        .route("/v1/processors/{name}/state", get(state::list))
        .route("/v1/processors/{name}/state/{store}", get(state::scan))
        .route("/v1/processors/{name}/state/{store}/keys/{key}", get(state::get))
        .route("/v1/interceptors", get(interceptors::list))
        .route(
            "/v1/interceptors/{name}",
            get(interceptors::describe).put(interceptors::attach).delete(interceptors::detach),
        )
        .route("/v1/interceptors/{name}/logs", get(interceptors::logs))
        .route("/v1/topics/{topic}/records", post(records::produce).layer(records_limit))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(state)
}

/// A bound admin API that is not serving yet.
#[derive(Debug)]
pub struct AdminListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminListener {
    /// Binds the address, or says why that cannot be.
    pub async fn bind(address: SocketAddr) -> Result<AdminListener, AdminError> {
        let failed = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(AdminListener { listener, address })
    }

    /// The address, with the real port if it was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` resolves and the requests under way are answered.
    pub async fn serve(
        self,
        state: AdminState,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), AdminError> {
        let serving = axum::serve(self.listener, router(state)).with_graceful_shutdown(stop);
        serving.await.map_err(AdminError::Serve)
    }
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("the admin API cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Accepting connections failed.
    #[error("the admin API has stopped: {0}")]
    Serve(std::io::Error),
}

async fn healthz() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

async fn readyz(State(state): State<AdminState>) -> Response {
    match (state.ready)() {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(why) => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", why)
            .hint("Ask again in a moment.")
            .into_response(),
    }
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "UNKNOWN_PATH", format!("There is nothing at {}.", uri.path())).hint(
        "The API's resources are /v1/modules, /v1/processors, /v1/interceptors and /v1/topics/TOPIC/records.",
    )
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not take {method}.", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
}

#[cfg(test)]
mod tests;
