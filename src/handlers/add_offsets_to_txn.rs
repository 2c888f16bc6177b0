//! AddOffsetsToTxn, versions 0 to 4: the group's offsets become part of the transaction.

use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, producer, transactional_id};

/// Adds a group's offsets to a transaction.
pub async fn handle(context: Context) -> Handled {
    let request: AddOffsetsToTxnRequest = context.decode()?;
    let code = match producer(request.producer_id, request.producer_epoch) {
        None => ErrorCode::InvalidProducerIdMapping,
        Some(producer) => {
            let id = transactional_id(&request.transactional_id);
            let api = ClientApi::of_add_offsets_or_end_txn(context.version());
            let group = group_id(&request.group_id);
            let added = context.broker.add_offsets_to_transaction(id, producer, &group, api).await;
            added.map_or_else(|error| error.code(), |()| ErrorCode::None)
        }
    };
    context.respond(&AddOffsetsToTxnResponse::default().with_error_code(code.code()))
}
