//! All partitions of this broker: opened at start, created, deleted, checkpointed, closed.
//!
//! The registry is read on every request; it is never a lock around a change of several steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::disk::{Disk, DiskError, EntryKind};
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicPartition};
use crate::log::checkpoint_files::{
    CLEANER_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, read_offsets, write_offsets,
};
use crate::log::{LastShutdown, Log, LogConfig, LogError, OpenLog, RecoveryReport};
use crate::metadata::store::METADATA_DIRECTORY;
use crate::metadata::{MetadataImage, TopicImage};
use crate::partition::Partition;

/// Kafka's name for the file that says that the last shutdown was an orderly one.
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Kafka's name for the file that says which topic a directory belongs to.
pub const PARTITION_METADATA: &str = "partition.metadata";
const DELETED_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";
/// Of how many partitions the indexes and snapshots are written before the disk is asked to sync them: until then
/// each keeps its files open.
const FLUSHED_TOGETHER: usize = 256;
/// How long a file's name may be (Linux's `NAME_MAX`).
const NAME_BYTES_MAX: usize = 255;

/// Why partitions cannot be opened, created or closed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A log cannot be opened.
    #[error("partition {partition}: {error}")]
    Log {
        /// Which one.
        partition: TopicPartition,
        /// Why.
        error: LogError,
    },
    /// A checkpoint file cannot be read or written.
    #[error(transparent)]
    Checkpoint(LogError),
}

/// One partition to open or create.
#[derive(Clone, Debug)]
pub struct OpenPartition {
    /// Which.
    pub topic_partition: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// The leader epoch that starts now.
    pub leader_epoch: LeaderEpoch,
    /// The topic's settings.
    pub config: LogConfig,
}

/// What was found at start.
#[derive(Debug, Default)]
pub struct StartReport {
    /// How many partitions were opened.
    pub partitions: usize,
    /// Whether the last shutdown was an orderly one.
    pub was_clean: bool,
    /// Logs where recovery had something to say.
    pub recovered: Vec<(TopicPartition, RecoveryReport)>,
    /// Directories of no known topic, put aside under a new name.
    pub strays: Vec<String>,
}

/// All partitions of this broker.
pub struct PartitionRegistry {
    disk: Disk,
    partitions: DashMap<TopicPartition, Arc<Partition>>,
    /// Held while the checkpoint files are replaced. They name partitions by topic, not by topic id:
    /// an entry that outlives its partition would be taken for one of a later topic of that name.
    checkpoint_files: Mutex<()>,
    /// Held over a whole checkpoint: the later one's offsets must be the ones that are recorded last.
    checkpoint: Mutex<()>,
}

struct Checkpoints {
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_starts: BTreeMap<TopicPartition, Offset>,
    cleaned: BTreeMap<TopicPartition, Offset>,
    shutdown: LastShutdown,
}

impl PartitionRegistry {
    /// Opens every partition that the metadata places here, recovering what needs it.
    pub fn open(
        disk: &Disk,
        image: &MetadataImage,
        config_of: impl Fn(&TopicImage) -> LogConfig,
        now: Timestamp,
    ) -> Result<(PartitionRegistry, StartReport), RegistryError> {
        let registry = PartitionRegistry {
            disk: disk.clone(),
            partitions: DashMap::new(),
            checkpoint_files: Mutex::new(()),
            checkpoint: Mutex::new(()),
        };
        let checkpoints = registry.read_checkpoints()?;
        let was_clean = checkpoints.shutdown == LastShutdown::Clean;
        let mut report = StartReport { was_clean, ..StartReport::default() };
        report.strays = registry.put_strays_aside(image)?;
        for topic in image.topics() {
            let config = config_of(topic);
            for (index, partition) in (0..).zip(&topic.partitions) {
                let index = PartitionIndex::from_wire(index).expect("partition numbers count from 0");
                let open = OpenPartition {
                    topic_partition: TopicPartition::new(topic.name.clone(), index),
                    topic_id: topic.id,
                    leader_epoch: partition.leader_epoch,
                    config: config.clone(),
                };
                let recovery = registry.open_one(&open, &checkpoints, now)?;
                report.partitions += 1;
                if is_noteworthy(&recovery) {
                    report.recovered.push((open.topic_partition, recovery));
                }
            }
        }
        // A crash in the middle of a deletion leaves the entries too.
        registry.forget_deleted()?;
        Ok((registry, report))
    }

    /// The partition, if this broker holds it.
    pub fn get(&self, topic_partition: &TopicPartition) -> Option<Arc<Partition>> {
        self.partitions.get(topic_partition).map(|partition| Arc::clone(&partition))
    }

    /// All partitions, in no particular order.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.partitions.iter().map(|entry| Arc::clone(entry.value())).collect()
    }

    /// Creates a partition's directory and log.
    pub fn create(&self, open: &OpenPartition, now: Timestamp) -> Result<(), RegistryError> {
        let fresh = Checkpoints {
            recovery_points: BTreeMap::new(),
            log_starts: BTreeMap::new(),
            cleaned: BTreeMap::new(),
            shutdown: LastShutdown::Unclean,
        };
        self.open_one(open, &fresh, now).map(|_| ())
    }

    /// Stops partitions and removes their files and what is written down of them; waiting fetches
    /// wake and find them gone.
    pub fn delete(
        &self,
        topic_partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), RegistryError> {
        let removed = topic_partitions.into_iter().filter_map(|doomed| self.partitions.remove(&doomed));
        let removed: Vec<(TopicPartition, Arc<Partition>)> = removed.collect();
        removed.iter().for_each(|(_, partition)| partition.stop());
        self.forget_deleted()?;
        for (topic_partition, partition) in removed {
            let directory = topic_partition.to_string();
            let doomed = renamed_directory(&directory, &partition.topic_id().to_string(), DELETED_SUFFIX);
            self.disk.rename(&directory, &doomed)?;
            self.disk.remove_dir_all(&doomed)?;
        }
        Ok(())
    }

    /// Syncs all segments and writes down where recovery may start and where logs start.
    ///
    /// Indexes, snapshots and offsets come first: whatever is appended meanwhile is scanned again,
    /// never skipped.
    pub fn checkpoint(&self) -> Result<(), RegistryError> {
        let _one_at_a_time = self.checkpoint.lock();
        let begin = |partition: Arc<Partition>| {
            let begun = partition.begin_checkpoint();
            (partition, begun)
        };
        let mut begun = Vec::new();
        for some in self.all().chunks(FLUSHED_TOGETHER) {
            begun.extend(some.iter().cloned().map(begin));
            self.disk.checkpoint()?;
        }
        let _one_writer = self.checkpoint_files.lock();
        let mut recovery_points = BTreeMap::new();
        let mut log_starts = BTreeMap::new();
        for (partition, (recovery_point, log_start)) in &begun {
            if self.holds(partition) {
                recovery_points.insert(partition.topic_partition().clone(), *recovery_point);
                log_starts.insert(partition.topic_partition().clone(), *log_start);
            }
        }
        self.write_checkpoints(&recovery_points, &log_starts)?;
        begun.into_iter().for_each(|(partition, (recovery_point, _))| partition.checkpointed(recovery_point));
        Ok(())
    }

    /// Writes down where logs start, before the segments below are deleted for good.
    pub fn checkpoint_log_starts(&self) -> Result<(), RegistryError> {
        let _one_writer = self.checkpoint_files.lock();
        let starts = self
            .all()
            .into_iter()
            .map(|partition| (partition.topic_partition().clone(), partition.offsets().log_start_offset));
        write_offsets(&self.disk, LOG_START_CHECKPOINT, &starts.collect()).map_err(RegistryError::Checkpoint)
    }

    /// Writes down up to where logs are compacted.
    pub fn checkpoint_cleaned(&self) -> Result<(), RegistryError> {
        let _one_writer = self.checkpoint_files.lock();
        let cleaned = self.all().into_iter().filter_map(|partition| {
            partition.cleaned_to().map(|cleaned_to| (partition.topic_partition().clone(), cleaned_to))
        });
        write_offsets(&self.disk, CLEANER_CHECKPOINT, &cleaned.collect()).map_err(RegistryError::Checkpoint)
    }

    /// Closes every log in an orderly shutdown and leaves the note that says so.
    pub fn close(&self) -> Result<(), RegistryError> {
        let mut recovery_points = BTreeMap::new();
        let mut log_starts = BTreeMap::new();
        let mut is_clean = true;
        for some in self.all().chunks(FLUSHED_TOGETHER) {
            for partition in some {
                match partition.close() {
                    Ok((recovery_point, log_start)) => {
                        recovery_points.insert(partition.topic_partition().clone(), recovery_point);
                        log_starts.insert(partition.topic_partition().clone(), log_start);
                    }
                    Err(error) => {
                        is_clean = false;
                        tracing::warn!(partition = %partition.topic_partition(), %error, "not closed cleanly");
                    }
                }
            }
            self.disk.checkpoint()?;
        }
        let _one_writer = self.checkpoint_files.lock();
        self.write_checkpoints(&recovery_points, &log_starts)?;
        if is_clean {
            self.disk.write_atomically(CLEAN_SHUTDOWN, b"{\"version\":0}")?;
        }
        Ok(())
    }

    fn open_one(
        &self,
        open: &OpenPartition,
        checkpoints: &Checkpoints,
        now: Timestamp,
    ) -> Result<RecoveryReport, RegistryError> {
        let topic_partition = &open.topic_partition;
        let failed = |error| RegistryError::Log { partition: topic_partition.clone(), error };
        let directory = topic_partition.to_string();
        if !self.disk.exists(&directory)? {
            self.disk.create_dir_all(&directory)?;
        }
        let metadata = format!("{directory}/{PARTITION_METADATA}");
        if !self.disk.exists(&metadata)? {
            self.disk.write_atomically(&metadata, partition_metadata(open.topic_id).as_bytes())?;
        }
        let (log, report) = Log::open(OpenLog {
            disk: self.disk.clone(),
            directory,
            config: open.config.clone(),
            recovery_point: checkpoints.recovery_points.get(topic_partition).copied().unwrap_or(Offset::ZERO),
            log_start_offset: checkpoints.log_starts.get(topic_partition).copied(),
            shutdown: checkpoints.shutdown,
            now,
        })
        .map_err(failed)?;
        let partition = Partition::lead(
            topic_partition.clone(),
            open.topic_id,
            self.disk.clone(),
            log,
            open.leader_epoch,
        )
        .map_err(failed)?;
        if let Some(cleaned_to) = checkpoints.cleaned.get(topic_partition) {
            partition.restore_cleaned_to(*cleaned_to);
        }
        self.partitions.insert(topic_partition.clone(), Arc::new(partition));
        Ok(report)
    }

    fn read_checkpoints(&self) -> Result<Checkpoints, RegistryError> {
        let shutdown = match self.disk.exists(CLEAN_SHUTDOWN)? {
            true => {
                self.disk.remove_file(CLEAN_SHUTDOWN)?;
                self.disk.sync_dir("")?;
                LastShutdown::Clean
            }
            false => LastShutdown::Unclean,
        };
        Ok(Checkpoints {
            recovery_points: read_offsets(&self.disk, RECOVERY_POINT_CHECKPOINT)
                .map_err(RegistryError::Checkpoint)?,
            log_starts: read_offsets(&self.disk, LOG_START_CHECKPOINT).map_err(RegistryError::Checkpoint)?,
            // It only saves work: without it all is dirty again.
            cleaned: read_offsets(&self.disk, CLEANER_CHECKPOINT).unwrap_or_else(|error| {
                tracing::warn!(%error, "compaction begins anew");
                BTreeMap::new()
            }),
            shutdown,
        })
    }

    fn write_checkpoints(
        &self,
        recovery_points: &BTreeMap<TopicPartition, Offset>,
        log_starts: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), RegistryError> {
        write_offsets(&self.disk, RECOVERY_POINT_CHECKPOINT, recovery_points)
            .map_err(RegistryError::Checkpoint)?;
        write_offsets(&self.disk, LOG_START_CHECKPOINT, log_starts).map_err(RegistryError::Checkpoint)
    }

    /// Whether the registry holds this very partition, not a later one of its name.
    fn holds(&self, partition: &Arc<Partition>) -> bool {
        self.get(partition.topic_partition()).is_some_and(|held| Arc::ptr_eq(&held, partition))
    }

    /// Takes out of the checkpoint files what is said there of partitions that are no more.
    fn forget_deleted(&self) -> Result<(), RegistryError> {
        let _one_writer = self.checkpoint_files.lock();
        for path in [RECOVERY_POINT_CHECKPOINT, LOG_START_CHECKPOINT, CLEANER_CHECKPOINT] {
            let mut offsets = match read_offsets(&self.disk, path) {
                Ok(offsets) => offsets,
                Err(LogError::Corrupt { .. }) if path == CLEANER_CHECKPOINT => continue,
                Err(error) => return Err(RegistryError::Checkpoint(error)),
            };
            let before = offsets.len();
            offsets.retain(|topic_partition, _| self.partitions.contains_key(topic_partition));
            if offsets.len() < before {
                write_offsets(&self.disk, path, &offsets).map_err(RegistryError::Checkpoint)?;
            }
        }
        Ok(())
    }

    /// Directories that look like partitions but belong to no known topic: what a crash in the
    /// middle of a deletion leaves is removed, the rest is put aside and never touched.
    fn put_strays_aside(&self, image: &MetadataImage) -> Result<Vec<String>, RegistryError> {
        let mut strays = Vec::new();
        for entry in self.disk.list("")? {
            if entry.kind != EntryKind::Directory || entry.name == METADATA_DIRECTORY {
                continue;
            }
            if entry.name.ends_with(DELETED_SUFFIX) && entry.name.contains('.') {
                self.disk.remove_dir_all(&entry.name)?;
                continue;
            }
            let Some(topic_id) = self.stored_topic_id(&entry.name)? else { continue };
            if !is_known(image, &entry.name, &topic_id) {
                let aside = renamed_directory(&entry.name, &topic_id.replace(['/', '+'], "_"), STRAY_SUFFIX);
                self.disk.rename(&entry.name, &aside)?;
                strays.push(aside);
            }
        }
        Ok(strays)
    }

    /// The topic id in a partition directory's `partition.metadata`; `None` for other directories.
    fn stored_topic_id(&self, directory: &str) -> Result<Option<String>, RegistryError> {
        let path = format!("{directory}/{PARTITION_METADATA}");
        if directory.ends_with(STRAY_SUFFIX) || !self.disk.exists(&path)? {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&self.disk.read(&path)?).into_owned();
        Ok(text.lines().find_map(|line| line.strip_prefix("topic_id: ")).map(|id| id.trim().to_owned()))
    }
}

/// What a partition's directory is called once it is no partition's any more. Of a long topic's name the end is
/// cut off, so that the file system takes it (Kafka's `UnifiedLog.logDirNameWithSuffixCappedLength`).
fn renamed_directory(directory: &str, topic_id: &str, suffix: &str) -> String {
    let (topic, number) = directory.split_at(directory.rfind('-').unwrap_or(directory.len()));
    let end = format!("{number}.{topic_id}{suffix}");
    let kept = topic.floor_char_boundary(NAME_BYTES_MAX.saturating_sub(end.len()));
    format!("{}{end}", topic.get(..kept).unwrap_or_default())
}

fn is_noteworthy(recovery: &RecoveryReport) -> bool {
    recovery.bytes_cut > 0
        || recovery.segments_removed > 0
        || recovery.indexes_rebuilt > 0
        || recovery.swaps_finished > 0
}

fn is_known(image: &MetadataImage, directory: &str, topic_id: &str) -> bool {
    let Some((name, number)) = directory.rsplit_once('-') else { return false };
    let Some(topic) = image.topic(name) else { return false };
    let index = number.parse().ok().and_then(PartitionIndex::from_wire);
    index.is_some_and(|index| topic.partition(index).is_some()) && kafka_uuid(topic.id) == topic_id
}

/// Kafka's `partition.metadata`, version 0.
pub fn partition_metadata(topic_id: TopicId) -> String {
    format!("version: 0\ntopic_id: {}\n", kafka_uuid(topic_id))
}

/// Kafka's text form of a UUID: URL-safe base64 without padding.
pub(crate) fn kafka_uuid(id: TopicId) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = u128::from_be_bytes(id.bytes());
    // 22 digits of six bits hold 132: the 128 bits of the id and four zero bits at the end.
    (0..22)
        .map(|digit| {
            let shift = 122 - 6 * digit;
            let bits = if shift >= 0 { number >> shift } else { number << -shift };
            char::from(ALPHABET[usize::try_from(bits & 63).expect("six bits")])
        })
        .collect()
}

#[cfg(test)]
mod tests;
