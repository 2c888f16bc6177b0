//! EndTxn, versions 0 to 5: commit or abort. Since version 5 the answer brings the epoch for the
//! next transaction (KIP-890).

use kafka_protocol::messages::{self, EndTxnRequest, EndTxnResponse};

use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{producer, transactional_id};
use crate::wire::control_record::{EndTransaction, TransactionVersion};

/// Ends a transaction.
pub async fn handle(context: Context) -> Handled {
    let request: EndTxnRequest = context.decode()?;
    let Some(producer) = producer(request.producer_id, request.producer_epoch) else {
        let code = ErrorCode::InvalidProducerIdMapping.code();
        return context.respond(&EndTxnResponse::default().with_error_code(code));
    };
    let result = if request.committed { EndTransaction::Commit } else { EndTransaction::Abort };
    let version = match context.version() {
        ..5 => TransactionVersion::V1,
        5.. => TransactionVersion::V2,
    };
    let api = ClientApi::of_add_offsets_or_end_txn(context.version());
    let id = transactional_id(&request.transactional_id);
    let ended = context.broker.end_transaction(id, producer, result, api, version).await;
    let response = match ended {
        Ok(next) if version == TransactionVersion::V2 => EndTxnResponse::default()
            .with_producer_id(messages::ProducerId(next.id.value()))
            .with_producer_epoch(next.epoch.value()),
        Ok(_) => EndTxnResponse::default(),
        Err(error) => EndTxnResponse::default().with_error_code(error.code().code()),
    };
    context.respond(&response)
}
