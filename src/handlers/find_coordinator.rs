//! FindCoordinator, versions 0 to 6: who coordinates a group or a transactional id.
//!
//! On one node it is always this broker; the internal topic behind it is created when first asked
//! for. Version 4 and later ask for several at once. Left out: share groups (type 2).

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{self, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::broker::CoordinatorKind;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, text, wire_broker};

/// Finds coordinators.
pub async fn handle(context: Context) -> Handled {
    let request: FindCoordinatorRequest = context.decode()?;
    let (code, why) = prepare(&context, request.key_type, &request).await;
    let (host, port) = context.advertised();
    let found = code == ErrorCode::None;
    let (node_id, host, port) = match found {
        true => (wire_broker(context.broker.broker_id()), host, port),
        false => (messages::BrokerId(-1), String::new(), -1),
    };
    if context.version() < 4 {
        let mut response = FindCoordinatorResponse::default()
            .with_error_code(code.code())
            .with_node_id(node_id)
            .with_host(text(host))
            .with_port(port);
        if context.version() >= 1 {
            response = response.with_error_message(message(code, why));
        }
        return context.respond(&response);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_node_id(node_id)
            .with_host(text(host.clone()))
            .with_port(port)
            .with_error_code(code.code())
            .with_error_message(message(code, why.clone()))
    });
    context.respond(&FindCoordinatorResponse::default().with_coordinators(coordinators.collect()))
}

async fn prepare(context: &Context, key_type: i8, request: &FindCoordinatorRequest) -> (ErrorCode, String) {
    let kind = match key_type {
        0 => CoordinatorKind::Group,
        1 => CoordinatorKind::Transaction,
        other => {
            return (ErrorCode::InvalidRequest, format!("coordinator type {other} is not served here"));
        }
    };
    let is_empty_id = context.version() < 4 && request.key.is_empty() && kind == CoordinatorKind::Transaction;
    if is_empty_id {
        return (ErrorCode::InvalidRequest, "a transactional id is never empty".to_owned());
    }
    match context.broker.prepare_coordinator(kind).await {
        Ok(()) => (ErrorCode::None, String::new()),
        Err(error) => {
            tracing::warn!(%error, ?kind, "a coordinator's topic cannot be made");
            (ErrorCode::CoordinatorNotAvailable, error.to_string())
        }
    }
}
