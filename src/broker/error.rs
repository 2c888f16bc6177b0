//! Why the broker does not do what it is asked, for its callers to turn into answers.

use crate::disk::DiskError;
use crate::error_code::ErrorCode;
use crate::interceptor::{RecordRefusal, Refusal};
use crate::metadata::{MetadataError, MetadataRefusal};
use crate::partition::{PartitionError, RegistryError};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The request is refused and changed nothing.
    #[error("{code}: {message}")]
    Refused {
        /// The protocol's answer.
        code: ErrorCode,
        /// Why.
        message: String,
    },
    /// An interceptor did not let the records pass.
    #[error(transparent)]
    Intercepted(#[from] Refusal),
    /// There is no such topic or partition.
    #[error("there is no such topic or partition")]
    UnknownPartition,
    /// The partition cannot serve.
    #[error(transparent)]
    Partition(#[from] PartitionError),
    /// A coordinator gave no answer; whether the request took effect is for its log to say.
    #[error("the coordinator is not available")]
    CoordinatorUnavailable,
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The metadata failed.
    #[error("{0}")]
    Metadata(MetadataError),
    /// Partitions cannot be opened or made.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl BrokerError {
    /// A refusal.
    pub fn refused(code: ErrorCode, message: impl Into<String>) -> BrokerError {
        BrokerError::Refused { code, message: message.into() }
    }

    /// Why, in a sentence for a person to whom the code is told beside it.
    pub fn explanation(&self) -> String {
        match self {
            BrokerError::Refused { message, .. }
            | BrokerError::Partition(PartitionError::Rejected { message, .. }) => message.clone(),
            BrokerError::Intercepted(refusal) => refusal.message.clone(),
            error @ (BrokerError::UnknownPartition
            | BrokerError::Partition(PartitionError::Deleted | PartitionError::Offline(_))
            | BrokerError::CoordinatorUnavailable
            | BrokerError::Disk(_)
            | BrokerError::Metadata(_)
            | BrokerError::Registry(_)) => error.to_string(),
        }
    }

    /// The records of a batch to blame, if it is known which (KIP-467).
    pub fn refused_records(&self) -> &[RecordRefusal] {
        match self {
            BrokerError::Intercepted(refusal) => &refusal.records,
            BrokerError::Refused { .. }
            | BrokerError::Partition(_)
            | BrokerError::UnknownPartition
            | BrokerError::CoordinatorUnavailable
            | BrokerError::Disk(_)
            | BrokerError::Metadata(_)
            | BrokerError::Registry(_) => &[],
        }
    }

    /// The protocol's answer. A write whose outcome is not known never gets a code on which
    /// clients send it again under a new epoch: a failed disk is KAFKA_STORAGE_ERROR.
    pub fn code(&self) -> ErrorCode {
        match self {
            BrokerError::Refused { code, .. }
            | BrokerError::Partition(PartitionError::Rejected { code, .. }) => *code,
            BrokerError::Intercepted(refusal) => refusal.code,
            BrokerError::UnknownPartition | BrokerError::Partition(PartitionError::Deleted) => {
                ErrorCode::UnknownTopicOrPartition
            }
            BrokerError::CoordinatorUnavailable => ErrorCode::CoordinatorNotAvailable,
            BrokerError::Partition(PartitionError::Offline(_))
            | BrokerError::Disk(_)
            | BrokerError::Metadata(_)
            | BrokerError::Registry(_) => ErrorCode::KafkaStorageError,
        }
    }
}

impl From<MetadataError> for BrokerError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Refused(MetadataRefusal { code, message }) => {
                BrokerError::Refused { code, message }
            }
            error @ (MetadataError::Log(_)
            | MetadataError::Disk(_)
            | MetadataError::Record(_)
            | MetadataError::Batch(_)) => BrokerError::Metadata(error),
        }
    }
}

#[cfg(test)]
mod tests;
