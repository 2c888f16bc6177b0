//! Clients' quotas: asked for, changed, and charged. While nobody has a quota nothing is measured.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::{Broker, BrokerError, ChangeMode};
use crate::config::ServerConfig;
use crate::error_code::ErrorCode;
use crate::metadata::MetadataRecord;
use crate::quota::{
    FetchVerdict, Filter, Meters, MutationRule, MutationVerdict, QuotaClient, QuotaEntity, QuotaError,
    QuotaKind, QuotaValue, Window,
};

pub(super) fn meters(config: &ServerConfig) -> Meters {
    let window = |samples: u32, sample: Duration| Window {
        samples,
        sample_ms: i64::try_from(sample.as_millis()).unwrap_or(i64::MAX),
    };
    let quotas = config.quotas;
    Meters::new(
        window(quotas.window_samples, quotas.window_sample),
        window(quotas.mutation_window_samples, quotas.mutation_window_sample),
    )
}

impl From<QuotaError> for BrokerError {
    fn from(error: QuotaError) -> Self {
        BrokerError::refused(error.code, error.message)
    }
}

impl Broker {
    /// Whether anybody has a quota.
    pub fn has_client_quotas(&self) -> bool {
        !self.metadata().client_quotas().is_empty()
    }

    /// Counts bytes of a client; tells how long it is to wait.
    pub fn charge_bytes(&self, kind: QuotaKind, client: &QuotaClient, bytes: usize) -> Duration {
        let counted = (self.clock.now(), bytes);
        self.quota_meters.lock().record_bytes(self.metadata().client_quotas(), kind, client, counted)
    }

    /// Whether fetched bytes may be sent to a client, and how long it is to wait.
    pub fn charge_fetched(&self, client: &QuotaClient, bytes: usize) -> FetchVerdict {
        let counted = (self.clock.now(), bytes);
        self.quota_meters.lock().fetched(self.metadata().client_quotas(), client, counted)
    }

    /// Counts the time that a client's request has taken; tells how long the client is to wait.
    pub fn charge_time(&self, client: &QuotaClient, time: Duration) -> Duration {
        let now = self.clock.now();
        self.quota_meters.lock().record_time(self.metadata().client_quotas(), client, now, time)
    }

    /// The most bytes that a client may be sent at once.
    pub fn quota_window_bytes(&self, kind: QuotaKind, client: &QuotaClient) -> Option<usize> {
        self.quota_meters.lock().window_bytes(self.metadata().client_quotas(), kind, client)
    }

    /// Asks for partitions to be created or deleted for a client.
    pub fn charge_mutations(
        &self,
        rule: MutationRule,
        client: &QuotaClient,
        partitions: u32,
    ) -> MutationVerdict {
        let counted = (self.clock.now(), partitions);
        self.quota_meters.lock().mutate(self.metadata().client_quotas(), rule, client, counted)
    }

    /// The quotas that a filter takes.
    pub fn describe_client_quotas(
        &self,
        filter: &Filter,
    ) -> Vec<(QuotaEntity, BTreeMap<QuotaKind, QuotaValue>)> {
        let image = self.metadata();
        let found = image.client_quotas().describe(filter);
        found.map(|(entity, quotas)| (entity.clone(), quotas.clone())).collect()
    }

    /// Sets and takes away quotas of one entity, all or none.
    pub async fn alter_client_quotas(
        &self,
        entity: &QuotaEntity,
        changes: &[(String, Option<f64>)],
        mode: ChangeMode,
    ) -> Result<(), BrokerError> {
        let mut records = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let kind = QuotaKind::of_key(key).ok_or_else(|| {
                let why = format!("there is no quota {key:?} for users and client ids");
                BrokerError::refused(ErrorCode::InvalidRequest, why)
            })?;
            let value = value.map(|value| QuotaValue::new(kind, value)).transpose()?;
            records.push(MetadataRecord::ClientQuota {
                entity: entity.pairs(),
                key: key.clone(),
                value: value.map(|value| value.value().to_string()),
            });
        }
        match mode {
            ChangeMode::ValidateOnly => Ok(()),
            ChangeMode::Apply => self.change_metadata(|_| Ok(records)).await.map(|_| ()),
        }
    }
}
