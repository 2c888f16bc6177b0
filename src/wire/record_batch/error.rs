//! Why a batch is refused, and the code that a client gets for it.

use thiserror::Error;

use super::Compression;
use crate::error_code::ErrorCode;

/// What is wrong with a batch.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the batch is cut off: {got} of {needed} bytes are there")]
    Truncated {
        /// Bytes that the batch takes.
        needed: usize,
        /// Bytes that there are.
        got: usize,
    },
    /// The length field cannot be that of a batch.
    #[error("the batch's length field is {0}, which no batch has")]
    BadLength(i32),
    /// The bytes are not what their sender hashed.
    #[error("the batch's CRC-32C is {stored:#010x}, but its bytes give {computed:#010x}")]
    Crc {
        /// What the batch says.
        stored: u32,
        /// What its bytes say.
        computed: u32,
    },
    /// Zero batches, or more than one, where exactly one must be.
    #[error("exactly one record batch must be sent for a partition")]
    NotOneBatch,
    /// Not record batch v2.
    #[error("message format v{0} is not supported, only v2 (Kafka 0.11 and newer)")]
    Magic(i8),
    /// A header field that no well-made batch has.
    #[error("the batch's header is invalid: {0}")]
    Header(&'static str),
    /// A record that is malformed or breaks a rule.
    #[error("record {index} of the batch is invalid: {reason}")]
    Record {
        /// The record's position in the batch, from 0.
        index: i32,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// The codec bits name no codec.
    #[error("compression codec {0} does not exist")]
    UnknownCompression(u8),
    /// The codec may not be used in this version of the API.
    #[error("{0} compression is not allowed in this version of the request")]
    CompressionNotAllowed(Compression),
    /// The compressed bytes are no stream of their codec.
    #[error("the batch cannot be decompressed as {codec}: {reason}")]
    Decompress {
        /// The codec that the batch names.
        codec: Compression,
        /// The codec's complaint.
        reason: String,
    },
    /// The records would decompress to more than is allowed.
    #[error("the batch decompresses to more than the allowed {max_bytes} bytes")]
    DecompressedTooLarge {
        /// The bound.
        max_bytes: usize,
    },
    /// The batch as sent is larger than is allowed.
    #[error("the batch has {bytes} bytes, and at most {max_bytes} are allowed")]
    TooLarge {
        /// The batch's size.
        bytes: usize,
        /// The bound.
        max_bytes: usize,
    },
    /// A record's timestamp is too far in the past or in the future.
    #[error("record {index} of the batch has timestamp {timestamp}, outside {earliest} to {latest}")]
    TimestampOutOfRange {
        /// The record's position in the batch, from 0.
        index: i32,
        /// Its timestamp.
        timestamp: i64,
        /// The earliest that is allowed.
        earliest: i64,
        /// The latest that is allowed.
        latest: i64,
    },
    /// A client claims the timestamp type that only a broker may set.
    #[error("clients may not send batches of timestamp type LogAppendTime")]
    AppendTimeFromClient,
}

impl BatchError {
    /// The answer to the client that sent the batch.
    ///
    /// CORRUPT_MESSAGE is retriable, so it is kept for damage on the way: bytes whose CRC is right
    /// were made wrong by their sender and will be as wrong the next time.
    pub const fn error_code(&self) -> ErrorCode {
        match self {
            BatchError::Truncated { .. } | BatchError::BadLength(_) | BatchError::Crc { .. } => {
                ErrorCode::CorruptMessage
            }
            BatchError::NotOneBatch
            | BatchError::Magic(_)
            | BatchError::Header(_)
            | BatchError::Record { .. }
            | BatchError::Decompress { .. } => ErrorCode::InvalidRecord,
            BatchError::UnknownCompression(_) | BatchError::CompressionNotAllowed(_) => {
                ErrorCode::UnsupportedCompressionType
            }
            BatchError::DecompressedTooLarge { .. } | BatchError::TooLarge { .. } => {
                ErrorCode::MessageTooLarge
            }
            BatchError::TimestampOutOfRange { .. } | BatchError::AppendTimeFromClient => {
                ErrorCode::InvalidTimestamp
            }
        }
    }

    /// The record at fault, for the per-record errors of Produce v8 and newer (KIP-467).
    pub const fn record_index(&self) -> Option<i32> {
        match self {
            BatchError::Record { index, .. } | BatchError::TimestampOutOfRange { index, .. } => Some(*index),
            BatchError::Truncated { .. }
            | BatchError::BadLength(_)
            | BatchError::Crc { .. }
            | BatchError::NotOneBatch
            | BatchError::Magic(_)
            | BatchError::Header(_)
            | BatchError::UnknownCompression(_)
            | BatchError::CompressionNotAllowed(_)
            | BatchError::Decompress { .. }
            | BatchError::DecompressedTooLarge { .. }
            | BatchError::TooLarge { .. }
            | BatchError::AppendTimeFromClient => None,
        }
    }
}
