//! AlterClientQuotas, versions 0 and 1 (KIP-546): sets and takes away quotas of users and client ids.
//!
//! Left out: quotas by IP address.

use kafka_protocol::messages::alter_client_quotas_request::{EntryData, OpData};
use kafka_protocol::messages::alter_client_quotas_response::{EntityData, EntryData as AlteredEntry};
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use crate::broker::{BrokerError, ChangeMode};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{repeated, verdict};
use crate::quota::{QuotaEntity, QuotaError};

/// Changes entities, each on its own, all of its quotas or none.
pub async fn handle(context: Context) -> Handled {
    let request: AlterClientQuotasRequest = context.decode()?;
    let mode = if request.validate_only { ChangeMode::ValidateOnly } else { ChangeMode::Apply };
    let entities: Vec<_> = request.entries.iter().map(entity).collect();
    let repeated = repeated(entities.iter().flatten());
    let mut altered = Vec::with_capacity(request.entries.len());
    for (entry, entity) in request.entries.into_iter().zip(&entities) {
        let result = match entity {
            Ok(entity) if repeated.contains(entity) => {
                Err(BrokerError::refused(ErrorCode::InvalidRequest, "the entity is named twice"))
            }
            Ok(entity) => alter(&context, entity, &entry, mode).await,
            Err(error) => Err(error.clone().into()),
        };
        let (code, why) = verdict(result);
        let entity = entry.entity.into_iter().map(|part| {
            EntityData::default().with_entity_type(part.entity_type).with_entity_name(part.entity_name)
        });
        altered.push(
            AlteredEntry::default()
                .with_error_code(code)
                .with_error_message(why)
                .with_entity(entity.collect()),
        );
    }
    context.respond(&AlterClientQuotasResponse::default().with_entries(altered))
}

fn entity(entry: &EntryData) -> Result<QuotaEntity, QuotaError> {
    let pair = |kind: &str, name: Option<&str>| (kind.to_owned(), name.map(str::to_owned));
    let pairs = entry.entity.iter().map(|part| pair(&part.entity_type, part.entity_name.as_deref()));
    QuotaEntity::of_pairs(&pairs.collect::<Vec<_>>())
}

async fn alter(
    context: &Context,
    entity: &QuotaEntity,
    entry: &EntryData,
    mode: ChangeMode,
) -> Result<(), BrokerError> {
    if let Some(key) = repeated(entry.ops.iter().map(|operation| operation.key.as_str())).first() {
        return Err(BrokerError::refused(ErrorCode::InvalidRequest, format!("{key} is named twice")));
    }
    let change =
        |operation: &OpData| (operation.key.to_string(), (!operation.remove).then_some(operation.value));
    let changes: Vec<_> = entry.ops.iter().map(change).collect();
    context.broker.alter_client_quotas(entity, &changes, mode).await
}
