//! Transaction markers: the control records that end a producer's transaction in a partition.
//!
//! A marker is a control batch of one record: key {version i16, type i16}, value {version i16,
//! coordinator epoch i32}, as Kafka's `EndTransactionMarker` writes it.

use super::record_batch::{
    BatchBuilder, BatchError, BatchKind, BatchOptions, BatchProducer, NewRecord, RecordBatch, RecordView,
    Transactional,
};
use super::varint::ByteReader;
use crate::clock::Timestamp;
use crate::ids::{CoordinatorEpoch, ProducerIdent};

const MARKER_VERSION: i16 = 0;
const TYPE_ABORT: i16 = 0;
const TYPE_COMMIT: i16 = 1;
/// A marker's one record takes some 20 bytes: whatever needs more is none.
const MARKER_BYTES_MAX: usize = 4096;

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EndTransaction {
    /// Its records become visible to read-committed consumers.
    Commit,
    /// Its records never do.
    Abort,
}

/// Which transaction protocol a request or a marker follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionVersion {
    /// Before KIP-890's second part: an epoch serves many transactions.
    V1,
    /// KIP-890: every end of a transaction bumps the epoch.
    V2,
}

/// One end-of-transaction marker, as a coordinator sends it and a partition's log holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTransactionMarker {
    /// Whose transaction, at the marker's epoch.
    pub producer: ProducerIdent,
    /// How it ends.
    pub result: EndTransaction,
    /// The epoch of the coordinator that decided it.
    pub coordinator_epoch: CoordinatorEpoch,
}

impl EndTransactionMarker {
    /// The control batch that a log appends.
    pub fn to_batch(&self, now: Timestamp) -> RecordBatch {
        let kind = match self.result {
            EndTransaction::Abort => TYPE_ABORT,
            EndTransaction::Commit => TYPE_COMMIT,
        };
        let mut key = [0; 4];
        key[..2].copy_from_slice(&MARKER_VERSION.to_be_bytes());
        key[2..].copy_from_slice(&kind.to_be_bytes());
        let mut value = [0; 6];
        value[..2].copy_from_slice(&MARKER_VERSION.to_be_bytes());
        value[2..].copy_from_slice(&self.coordinator_epoch.value().to_be_bytes());
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Some(BatchProducer { ident: self.producer, base_sequence: None }),
            transactional: Transactional::Yes,
            kind: BatchKind::Control,
            ..BatchOptions::default()
        });
        builder.append(NewRecord {
            timestamp: now.ms(),
            key: Some(&key),
            value: Some(&value),
            ..NewRecord::default()
        });
        builder.build()
    }

    /// The marker that a batch is; `None` for data and for control batches of another kind.
    pub fn from_batch(batch: &RecordBatch) -> Result<Option<EndTransactionMarker>, BatchError> {
        let header = batch.header();
        if !header.is_control || header.record_count == 0 {
            return Ok(None);
        }
        let records = batch.records(MARKER_BYTES_MAX)?;
        let record = match records.iter().next() {
            None => return Ok(None),
            Some(record) => record?,
        };
        let Some(result) = marker_type(&record)? else {
            return Ok(None);
        };
        let producer =
            header.producer.ok_or(BatchError::Header("a transaction marker has no producer id"))?;
        Ok(Some(EndTransactionMarker {
            producer: producer.ident,
            result,
            coordinator_epoch: coordinator_epoch(&record)?,
        }))
    }
}

/// The key's type; `None` for types that are no transaction markers (a Raft leader's change).
/// Newer versions keep the fields that there are, and may add some behind them.
fn marker_type(record: &RecordView<'_>) -> Result<Option<EndTransaction>, BatchError> {
    let mut key = ByteReader::new(record.key.unwrap_or_default());
    let (Some(version), Some(kind)) = (key.i16(), key.i16()) else {
        return Err(invalid(record, "a control record's key is cut off"));
    };
    if version < 0 {
        return Err(invalid(record, "a control record's key has a negative version"));
    }
    match kind {
        TYPE_ABORT => Ok(Some(EndTransaction::Abort)),
        TYPE_COMMIT => Ok(Some(EndTransaction::Commit)),
        _ => Ok(None),
    }
}

fn coordinator_epoch(record: &RecordView<'_>) -> Result<CoordinatorEpoch, BatchError> {
    let mut value = ByteReader::new(record.value.unwrap_or_default());
    let (Some(version), Some(epoch)) = (value.i16(), value.i32()) else {
        return Err(invalid(record, "a transaction marker's value is cut off"));
    };
    if version < 0 {
        return Err(invalid(record, "a transaction marker's value has a negative version"));
    }
    CoordinatorEpoch::from_wire(epoch)
        .ok_or_else(|| invalid(record, "a transaction marker's coordinator epoch is negative"))
}

fn invalid(record: &RecordView<'_>, reason: &'static str) -> BatchError {
    BatchError::Record { index: record.index, reason }
}

#[cfg(test)]
mod tests;
