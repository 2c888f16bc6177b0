//! Whose quota it is: users and client ids, by name or by default, and which of several counts.

use std::collections::BTreeMap;

use crate::error_code::ErrorCode;
use crate::quota::{QuotaKind, QuotaValue};

/// Kafka's entity type for users.
const USER: &str = "user";
/// Kafka's entity type for client ids.
const CLIENT_ID: &str = "client-id";

/// One name, or all that have no quota of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntityName {
    /// All others.
    Default,
    /// This one.
    Named(String),
}

impl EntityName {
    /// The name of the wire, where null is the default.
    pub fn of(name: Option<String>) -> EntityName {
        name.map_or(EntityName::Default, EntityName::Named)
    }

    /// The name for the wire.
    pub fn name(&self) -> Option<&str> {
        match self {
            EntityName::Default => None,
            EntityName::Named(name) => Some(name),
        }
    }
}

/// Whose a quota is: a user, a client id, or a client id of a user.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct QuotaEntity {
    user: Option<EntityName>,
    client_id: Option<EntityName>,
}

/// Why quotas cannot be asked for or changed that way.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct QuotaError {
    /// The protocol's answer.
    pub code: ErrorCode,
    /// Why.
    pub message: String,
}

impl QuotaError {
    pub(super) fn invalid(message: impl Into<String>) -> QuotaError {
        QuotaError { code: ErrorCode::InvalidRequest, message: message.into() }
    }
}

impl QuotaEntity {
    /// The entity of the wire's pairs of type and name; a null name is the default.
    pub fn of_pairs(pairs: &[(String, Option<String>)]) -> Result<QuotaEntity, QuotaError> {
        let mut entity = QuotaEntity { user: None, client_id: None };
        for (kind, name) in pairs {
            if name.as_deref() == Some("") && kind == USER {
                return Err(QuotaError::invalid("a user has a name; null is the default"));
            }
            let place = match kind.as_str() {
                USER => &mut entity.user,
                CLIENT_ID => &mut entity.client_id,
                other => return Err(unknown_type(other)),
            };
            if place.replace(EntityName::of(name.clone())).is_some() {
                return Err(QuotaError::invalid(format!("{kind} is named twice")));
            }
        }
        match (&entity.user, &entity.client_id) {
            (None, None) => Err(QuotaError::invalid("a quota is a user's or a client id's: none is named")),
            (Some(_), _) | (_, Some(_)) => Ok(entity),
        }
    }

    /// The wire's pairs of type and name.
    pub fn pairs(&self) -> Vec<(String, Option<String>)> {
        let pair = |kind: &str, name: &EntityName| (kind.to_owned(), name.name().map(str::to_owned));
        let user = self.user.iter().map(|name| pair(USER, name));
        user.chain(self.client_id.iter().map(|name| pair(CLIENT_ID, name))).collect()
    }
}

fn unknown_type(kind: &str) -> QuotaError {
    match kind {
        "ip" => QuotaError::invalid("quotas by IP address are not served; use user and client-id"),
        other => QuotaError::invalid(format!("there is no quota entity {other:?}; use user and client-id")),
    }
}

/// What a part of an entity must be to be described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ComponentMatch {
    /// Exactly this.
    Is(EntityName),
    /// Anything, the default too.
    Any,
}

/// One condition of a filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component {
    /// The entity type as the wire has it.
    pub kind: String,
    /// What it must be.
    pub matching: ComponentMatch,
}

/// Which quotas are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    user: Option<ComponentMatch>,
    client_id: Option<ComponentMatch>,
    strict: Strictness,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Strictness {
    /// An entity may have parts that the filter does not name.
    Loose,
    /// It may not.
    Strict,
}

impl Filter {
    /// The filter of the wire's components; `strict` as the request has it.
    pub fn new(components: Vec<Component>, strict: bool) -> Result<Filter, QuotaError> {
        let strict = if strict { Strictness::Strict } else { Strictness::Loose };
        let mut filter = Filter { user: None, client_id: None, strict };
        for Component { kind, matching } in components {
            let place = match kind.as_str() {
                USER => &mut filter.user,
                CLIENT_ID => &mut filter.client_id,
                other => {
                    let error = unknown_type(other);
                    return Err(QuotaError { code: ErrorCode::UnsupportedVersion, ..error });
                }
            };
            if place.replace(matching).is_some() {
                return Err(QuotaError::invalid(format!("{kind} is named twice in the filter")));
            }
        }
        Ok(filter)
    }

    fn takes(&self, entity: &QuotaEntity) -> bool {
        let part = |wanted: &Option<ComponentMatch>, name: &Option<EntityName>| match (wanted, name) {
            (None, None) => true,
            (None, Some(_)) => self.strict == Strictness::Loose,
            (Some(_), None) => false,
            (Some(ComponentMatch::Any), Some(_)) => true,
            (Some(ComponentMatch::Is(wanted)), Some(name)) => wanted == name,
        };
        part(&self.user, &entity.user) && part(&self.client_id, &entity.client_id)
    }
}

/// Which clients share one measurement.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Scope {
    user: Option<String>,
    client_id: Option<String>,
}

/// All quotas that are set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientQuotas(BTreeMap<QuotaEntity, BTreeMap<QuotaKind, QuotaValue>>);

impl ClientQuotas {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a quota, or takes it away.
    pub fn set(&mut self, entity: &QuotaEntity, kind: QuotaKind, value: Option<QuotaValue>) {
        match value {
            Some(value) => {
                self.0.entry(entity.clone()).or_default().insert(kind, value);
            }
            None => {
                if let Some(quotas) = self.0.get_mut(entity) {
                    quotas.remove(&kind);
                    if quotas.is_empty() {
                        self.0.remove(entity);
                    }
                }
            }
        }
    }

    /// What is set for the entities that a filter takes.
    pub fn describe(
        &self,
        filter: &Filter,
    ) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<QuotaKind, QuotaValue>)> {
        self.0.iter().filter(|(entity, _)| filter.takes(entity))
    }

    /// The quota that counts for a client, and with whom it shares it (the order of Kafka's
    /// `ClientQuotaManager.DefaultQuotaCallback`).
    pub(super) fn of_client(
        &self,
        kind: QuotaKind,
        user: &str,
        client_id: &str,
    ) -> Option<(QuotaValue, Scope)> {
        let this = |name: &str| Some(EntityName::Named(name.to_owned()));
        let any = || Some(EntityName::Default);
        let levels = [
            (this(user), this(client_id)),
            (this(user), any()),
            (this(user), None),
            (any(), this(client_id)),
            (any(), any()),
            (any(), None),
            (None, this(client_id)),
            (None, any()),
        ];
        levels.into_iter().find_map(|(level_user, level_client_id)| {
            let entity = QuotaEntity { user: level_user, client_id: level_client_id };
            let value = *self.0.get(&entity)?.get(&kind)?;
            let scope = Scope {
                user: entity.user.map(|_| user.to_owned()),
                client_id: entity.client_id.map(|_| client_id.to_owned()),
            };
            Some((value, scope))
        })
    }
}

#[cfg(test)]
mod tests;
