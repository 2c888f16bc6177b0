//! DescribeClientQuotas, versions 0 and 1 (KIP-546): the quotas of users and client ids.
//!
//! Left out: quotas by IP address.

use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::broker::BrokerError;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, text};
use crate::quota::{Component, ComponentMatch, EntityName, Filter};

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// Describes the quotas that a filter takes.
pub fn handle(context: &Context) -> Handled {
    let request: DescribeClientQuotasRequest = context.decode()?;
    let components = request.components.iter().map(component).collect::<Result<Vec<_>, _>>();
    let filter = components.and_then(|all| Ok(Filter::new(all, request.strict)?));
    let response = match filter {
        Ok(filter) => {
            let entries =
                context.broker.describe_client_quotas(&filter).into_iter().map(|(entity, quotas)| {
                    let entity = entity.pairs().into_iter().map(|(kind, name)| {
                        EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
                    });
                    let values = quotas.into_iter().map(|(kind, value)| {
                        ValueData::default().with_key(text(kind.key())).with_value(value.value())
                    });
                    EntryData::default().with_entity(entity.collect()).with_values(values.collect())
                });
            DescribeClientQuotasResponse::default().with_entries(Some(entries.collect()))
        }
        Err(error) => DescribeClientQuotasResponse::default()
            .with_error_code(error.code().code())
            .with_error_message(message(error.code(), error.explanation()))
            .with_entries(None),
    };
    context.respond(&response)
}

fn component(component: &ComponentData) -> Result<Component, BrokerError> {
    let kind = component.entity_type.to_string();
    let matching = match (component.match_type, &component._match) {
        (EXACT, Some(name)) => ComponentMatch::Is(EntityName::Named(name.to_string())),
        (DEFAULT, None) => ComponentMatch::Is(EntityName::Default),
        (SPECIFIED, None) => ComponentMatch::Any,
        (EXACT | DEFAULT | SPECIFIED, _) => {
            let why = format!("an exact match of {kind} needs a name, and no other has one");
            return Err(BrokerError::refused(ErrorCode::InvalidRequest, why));
        }
        (other, _) => {
            let why = format!("there is no match type {other}");
            return Err(BrokerError::refused(ErrorCode::InvalidRequest, why));
        }
    };
    Ok(Component { kind, matching })
}
