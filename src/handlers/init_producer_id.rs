//! InitProducerId, versions 0 to 5: for idempotence alone, or for a transactional id.
//!
//! Since version 3 a client may name the producer it already is (KIP-360). Left out: two-phase
//! commit (KIP-939).

use kafka_protocol::messages::{self, InitProducerIdRequest, InitProducerIdResponse};

use crate::broker::BrokerError;
use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{producer, transactional_id};
use crate::ids::{ProducerEpoch, ProducerIdent};

/// Gives a producer its id and epoch.
pub async fn handle(context: Context) -> Handled {
    let request: InitProducerIdRequest = context.decode()?;
    let response = match init(&context, &request).await {
        Ok(ident) => InitProducerIdResponse::default()
            .with_producer_id(messages::ProducerId(ident.id.value()))
            .with_producer_epoch(ident.epoch.value()),
        Err(error) => InitProducerIdResponse::default()
            .with_error_code(code(context.version(), &error).code())
            .with_producer_id(messages::ProducerId(-1))
            .with_producer_epoch(-1),
    };
    context.respond(&response)
}

async fn init(context: &Context, request: &InitProducerIdRequest) -> Result<ProducerIdent, BrokerError> {
    let invalid = |why: &str| BrokerError::refused(ErrorCode::InvalidRequest, why);
    let Some(id) = &request.transactional_id else {
        let id = context.broker.fresh_producer_id().await?;
        return Ok(ProducerIdent { id, epoch: ProducerEpoch::ZERO });
    };
    if id.is_empty() {
        return Err(invalid("a transactional id is never empty"));
    }
    let names_none = request.producer_id.0 == -1 && request.producer_epoch == -1;
    let expected = match context.version() {
        3.. if !names_none => Some(
            producer(request.producer_id, request.producer_epoch)
                .ok_or_else(|| invalid("a producer id comes with its epoch, and neither is negative"))?,
        ),
        _ => None,
    };
    let api = ClientApi::of_init_producer_id(context.version());
    let id = transactional_id(id);
    context.broker.init_producer_id(id, request.transaction_timeout_ms, expected, api).await
}

/// Before version 4 clients do not know PRODUCER_FENCED (KIP-588).
fn code(version: i16, error: &BrokerError) -> ErrorCode {
    match (version, error.code()) {
        (..4, ErrorCode::ProducerFenced) => ErrorCode::InvalidProducerEpoch,
        (_, code) => code,
    }
}
