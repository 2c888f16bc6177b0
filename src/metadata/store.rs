//! The metadata log and the image that everyone reads.
//!
//! A decision's records go into the log as one batch and into the newest image at once, so that
//! decisions follow each other; the image becomes visible to readers only when the caller says
//! that the batch is durable. On a failed append nothing is undone: the store refuses all further
//! work and the broker stops.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::disk::{Disk, DiskError, JournalPosition};
use crate::ids::{LeaderEpoch, Offset};
use crate::log::{Append, AppendError, AppendOrigin, AtLeastOneBatch, LastShutdown, Log, LogConfig};
use crate::log::{LogError, OpenLog, ReadError, TransactionCheck};
use crate::metadata::decide::MetadataRefusal;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{MetadataRecord, RecordError};
use crate::wire::record_batch::{BatchBuilder, BatchError, BatchOptions, NewRecord, RecordBatch};

/// The directory of the metadata log, as Kafka calls it.
pub const METADATA_DIRECTORY: &str = "__cluster_metadata-0";

const READ_BYTES: usize = 1024 * 1024;
/// The largest change: that of a request for as many partitions as one may create takes some megabytes.
const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
const BATCH_DECOMPRESSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why the metadata cannot be read or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MetadataError {
    /// The request is refused and nothing changed.
    #[error("{}", .0.message)]
    Refused(MetadataRefusal),
    /// The metadata log failed.
    #[error("the metadata log failed: {0}")]
    Log(String),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A stored record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A stored batch cannot be read.
    #[error("the metadata log holds a batch that cannot be read: {0}")]
    Batch(String),
}

impl From<LogError> for MetadataError {
    fn from(error: LogError) -> Self {
        MetadataError::Log(error.to_string())
    }
}

impl From<BatchError> for MetadataError {
    fn from(error: BatchError) -> Self {
        MetadataError::Batch(error.to_string())
    }
}

impl From<ReadError> for MetadataError {
    fn from(error: ReadError) -> Self {
        MetadataError::Log(error.to_string())
    }
}

impl From<MetadataRefusal> for MetadataError {
    fn from(refusal: MetadataRefusal) -> Self {
        MetadataError::Refused(refusal)
    }
}

/// A change that is in the log, but not yet known to be durable.
#[derive(Debug)]
#[must_use = "wait for the position to be durable, then publish"]
pub struct PendingChange {
    /// Durable past here means that the change is.
    pub position: JournalPosition,
    image: Arc<MetadataImage>,
    version: u64,
}

impl PendingChange {
    /// The metadata with this change and all before it.
    pub fn image(&self) -> &Arc<MetadataImage> {
        &self.image
    }
}

/// The metadata log with its newest and its visible image.
pub struct MetadataStore {
    newest: Mutex<Newest>,
    visible: ArcSwap<Versioned>,
}

struct Newest {
    log: Log,
    image: Arc<MetadataImage>,
    version: u64,
    failed: Option<String>,
}

struct Versioned {
    image: Arc<MetadataImage>,
    version: u64,
}

impl MetadataStore {
    /// Opens the log and folds it; everything in it becomes visible.
    pub fn open(disk: &Disk, now: Timestamp) -> Result<MetadataStore, MetadataError> {
        let (log, report) = Log::open(OpenLog {
            disk: disk.clone(),
            directory: METADATA_DIRECTORY.to_owned(),
            config: LogConfig {
                retention_ms: None,
                retention_bytes: None,
                max_message_bytes: BATCH_BYTES_MAX,
                ..LogConfig::default()
            },
            recovery_point: Offset::ZERO,
            log_start_offset: None,
            shutdown: LastShutdown::Unclean,
            now,
        })?;
        tracing::debug!(?report, "metadata log opened");
        let image = Arc::new(fold(&log)?);
        let visible = ArcSwap::from_pointee(Versioned { image: Arc::clone(&image), version: 0 });
        Ok(MetadataStore { newest: Mutex::new(Newest { log, image, version: 0, failed: None }), visible })
    }

    /// The metadata that is durable.
    pub fn image(&self) -> Arc<MetadataImage> {
        Arc::clone(&self.visible.load().image)
    }

    /// Decides over the newest metadata and appends the decision as one batch.
    pub fn change(
        &self,
        now: Timestamp,
        decide: impl FnOnce(&MetadataImage) -> Result<Vec<MetadataRecord>, MetadataRefusal>,
    ) -> Result<PendingChange, MetadataError> {
        let mut newest = self.newest.lock();
        if let Some(cause) = &newest.failed {
            return Err(MetadataError::Log(cause.clone()));
        }
        let records = decide(&newest.image)?;
        let position = match records.is_empty() {
            true => JournalPosition::ZERO,
            false => newest.append(&records, now)?,
        };
        Ok(PendingChange { position, image: Arc::clone(&newest.image), version: newest.version })
    }

    /// Makes a durable change visible, with all before it.
    pub fn publish(&self, change: &PendingChange) {
        self.visible.rcu(|visible| {
            if visible.version >= change.version {
                return Arc::clone(visible);
            }
            Arc::new(Versioned { image: Arc::clone(&change.image), version: change.version })
        });
    }

    /// Closes the log after the last change.
    pub fn close(&self) -> Result<(), MetadataError> {
        let mut newest = self.newest.lock();
        newest.failed.get_or_insert_with(|| "the broker is shutting down".to_owned());
        newest.log.flush()?;
        Ok(())
    }
}

impl Newest {
    fn append(
        &mut self,
        records: &[MetadataRecord],
        now: Timestamp,
    ) -> Result<JournalPosition, MetadataError> {
        let how = Append {
            origin: AppendOrigin::Coordinator,
            leader_epoch: LeaderEpoch::ZERO,
            now,
            verified: TransactionCheck::Unverified,
        };
        match self.log.append(&batch_of(records, now), how) {
            Ok(appended) => {
                let image = Arc::make_mut(&mut self.image);
                records.iter().for_each(|record| image.apply(record));
                self.version += 1;
                Ok(appended.journal_position)
            }
            Err(AppendError::Reject { code, message }) => {
                Err(MetadataError::Refused(MetadataRefusal { code, message }))
            }
            Err(AppendError::Failed(error)) => {
                self.failed = Some(error.to_string());
                Err(error.into())
            }
        }
    }
}

fn batch_of(records: &[MetadataRecord], now: Timestamp) -> RecordBatch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for record in records {
        let value = record.encode();
        builder.append(NewRecord { timestamp: now.ms(), key: None, value: Some(&value), headers: &[] });
    }
    builder.build()
}

fn fold(log: &Log) -> Result<MetadataImage, MetadataError> {
    let mut image = MetadataImage::default();
    let mut offset = log.log_start_offset();
    while offset < log.log_end_offset() {
        let read = log.read(offset, log.log_end_offset(), READ_BYTES, AtLeastOneBatch::Yes)?;
        let mut bytes = read.to_bytes()?;
        while let Some(batch) = RecordBatch::take_first(&mut bytes)? {
            for record in batch.records(BATCH_DECOMPRESSED_BYTES_MAX)?.iter() {
                if let Some(value) = record?.value {
                    image.apply(&MetadataRecord::decode(value)?);
                }
            }
        }
        offset = read.next_offset;
    }
    Ok(image)
}

#[cfg(test)]
mod tests;
