//! What can go wrong in a log: failures of this room, refusals of an append, and reads out of range.
//! A refusal carries the protocol's code, since only this room knows which rule was broken.

use std::sync::Arc;

use crate::disk::DiskError;
use crate::error_code::ErrorCode;
use crate::ids::Offset;

/// A failure of a log. After one of an append the log takes no more calls and must be opened again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An earlier write failed, so that memory and file may disagree.
    #[error("log {log} must be opened again, since a write to it failed: {cause}")]
    Failed {
        /// The log's directory.
        log: String,
        /// The failed write.
        cause: Arc<str>,
    },
    /// Bytes that had been made durable are gone or changed. Nothing was cut.
    #[error(
        "{path} is damaged at byte {position} (offset {offset}), below the recovery point {recovery_point}: \
         {reason}; nothing was cut"
    )]
    Damaged {
        /// The file.
        path: String,
        /// Where the first bad batch begins.
        position: u64,
        /// The offset expected there.
        offset: Offset,
        /// Up to where everything was durable.
        recovery_point: Offset,
        /// What is wrong there.
        reason: String,
    },
    /// A file does not hold what it should.
    #[error("{path} is corrupt: {detail}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A replicated batch does not continue the log.
    #[error("log {log} ends at {log_end_offset} and cannot take a batch at offset {base_offset}")]
    NotInOrder {
        /// The log's directory.
        log: String,
        /// Where the next batch must begin, or later.
        log_end_offset: Offset,
        /// Where the batch begins.
        base_offset: Offset,
    },
}

impl LogError {
    /// Whether the disk had no room, which may be different the next time.
    pub fn is_full(&self) -> bool {
        match self {
            LogError::Disk(error) => error.is_full(),
            LogError::Failed { .. }
            | LogError::Damaged { .. }
            | LogError::Corrupt { .. }
            | LogError::NotInOrder { .. } => false,
        }
    }
}

/// Why an append did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch breaks a rule; the log is as it was.
    #[error("{code}: {message}")]
    Reject {
        /// The answer for the client.
        code: ErrorCode,
        /// The rule, in words.
        message: String,
    },
    /// The log failed.
    #[error(transparent)]
    Failed(#[from] LogError),
}

impl AppendError {
    pub(super) fn reject(code: ErrorCode, message: impl Into<String>) -> AppendError {
        AppendError::Reject { code, message: message.into() }
    }
}

/// Why a read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The log does not hold the offset.
    #[error("offset {offset} is outside the log, which holds {log_start_offset} to {log_end_offset}")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The first offset there is.
        log_start_offset: Offset,
        /// The end of the log, exclusive.
        log_end_offset: Offset,
    },
    /// The log failed.
    #[error(transparent)]
    Failed(#[from] LogError),
}

impl From<DiskError> for ReadError {
    fn from(error: DiskError) -> ReadError {
        ReadError::Failed(LogError::Disk(error))
    }
}
