//! Client quotas (KIP-13, KIP-124, KIP-546, KIP-599): who may use how much, how use is measured, and
//! for how long a client that has used too much is held back.
//!
//! Pure: time comes in as a value. Knows no requests, connections or logs; who holds back whom is
//! for the rooms above.

mod entity;
mod meters;
mod rate;

pub use entity::{ClientQuotas, Component, ComponentMatch, EntityName, Filter, QuotaEntity, QuotaError};
pub use meters::{FetchVerdict, Meters, MutationRule, MutationVerdict, QuotaClient};

/// The rate-limiting options of the broker, one for all rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// `quota.window.num`: how many samples a rate remembers.
    pub samples: u32,
    /// `quota.window.size.seconds`, in milliseconds: how long one sample is.
    pub sample_ms: i64,
}

/// What is limited.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum QuotaKind {
    /// `producer_byte_rate`: bytes of Produce requests a second.
    ProducerByteRate,
    /// `consumer_byte_rate`: bytes of Fetch responses a second.
    ConsumerByteRate,
    /// `request_percentage`: the time that requests take on threads, in percent of one.
    RequestPercentage,
    /// `controller_mutation_rate`: partitions created and deleted a second.
    ControllerMutationRate,
}

impl QuotaKind {
    /// Every kind.
    pub const ALL: [QuotaKind; 4] = [
        QuotaKind::ProducerByteRate,
        QuotaKind::ConsumerByteRate,
        QuotaKind::RequestPercentage,
        QuotaKind::ControllerMutationRate,
    ];

    /// Kafka's key for it (`QuotaConfig`).
    pub const fn key(self) -> &'static str {
        match self {
            QuotaKind::ProducerByteRate => "producer_byte_rate",
            QuotaKind::ConsumerByteRate => "consumer_byte_rate",
            QuotaKind::RequestPercentage => "request_percentage",
            QuotaKind::ControllerMutationRate => "controller_mutation_rate",
        }
    }

    /// The kind of Kafka's key.
    pub fn of_key(key: &str) -> Option<QuotaKind> {
        QuotaKind::ALL.into_iter().find(|kind| kind.key() == key)
    }

    /// Whether only whole numbers are allowed: Kafka keeps byte rates as longs.
    const fn is_whole(self) -> bool {
        match self {
            QuotaKind::ProducerByteRate | QuotaKind::ConsumerByteRate => true,
            QuotaKind::RequestPercentage | QuotaKind::ControllerMutationRate => false,
        }
    }
}

/// A limit: a positive number.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct QuotaValue(f64);

// A limit is never NaN.
impl Eq for QuotaValue {}

impl QuotaValue {
    /// Checks a limit as Kafka's `ClientQuotaControlManager` does.
    pub fn new(kind: QuotaKind, value: f64) -> Result<QuotaValue, QuotaError> {
        let key = kind.key();
        if !value.is_finite() || value <= 0.0 {
            return Err(QuotaError::invalid(format!(
                "quota {key} must be a number greater than 0, not {value}"
            )));
        }
        if kind.is_whole() && (value.fract() > 1e-6 || value > i64::MAX as f64) {
            return Err(QuotaError::invalid(format!("quota {key} must be a whole number, not {value}")));
        }
        Ok(QuotaValue(value))
    }

    /// The number.
    pub const fn value(self) -> f64 {
        self.0
    }
}
