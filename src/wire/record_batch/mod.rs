//! Record batch v2: the one format of records on the wire, in the log and in plugins.
//!
//! A `RecordBatch` is checked bytes: parsed header, right length, right CRC. It passes through the
//! broker verbatim; only base offset and leader epoch, which lie outside the CRC, are stamped.
//! Bytes come from clients and disks, so nothing here panics on them or allocates by their word.
//!
//! Layout: base offset i64 @0, length i32 @8 (of what follows it), leader epoch i32 @12, magic i8
//! @16, CRC-32C u32 @17 (over everything from 21), attributes i16 @21, last offset delta i32 @23,
//! base timestamp i64 @27, max timestamp i64 @35, producer id i64 @43, producer epoch i16 @51,
//! base sequence i32 @53, record count i32 @57, records @61.

mod batch;
mod builder;
mod client_rules;
mod compression;
mod error;
mod header;
mod records;
mod rewrite;

pub use batch::RecordBatch;
pub use builder::{BatchBuilder, BatchKind, BatchOptions, NewRecord, RawRecord, Transactional};
pub use client_rules::{ClientCheck, ClientRules, KeyRule, ZstdRule};
pub use compression::Compression;
pub use error::BatchError;
pub use header::{BatchHeader, BatchProducer, TimestampType};
pub use records::{HeaderIter, RawHeaders, RecordIter, RecordView, Records};
pub use rewrite::RecordChange;

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts: base offset and the length itself.
pub const LOG_OVERHEAD_BYTES: usize = 12;

const MAGIC: i8 = 2;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const RECORD_COUNT_AT: usize = 57;

#[cfg(test)]
pub(in crate::wire) mod fixtures;
#[cfg(test)]
mod tests;
