//! Bringing partitions that Apache Kafka wrote into a data directory on which no broker runs.
//!
//! Segments and leader epochs are copied, and the rest is built again from them, as at any recovery:
//! that reads every batch. Copies lie under names that a start of the broker removes, until all are
//! good; then they take their places, and one metadata batch makes the topics exist. Whatever fails
//! before leaves the data directory as it was. The sources are only read.

mod error;
mod kraft;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use error::ImportError;
use source::{SourcePartition, SourceTopic, Sources};

use super::configs::{effective_config, log_config};
use super::topics::{internal_topic_settings, random_topic_id};
use super::{OFFSETS_TOPIC, TRANSACTION_TOPIC};
use crate::clock::Timestamp;
use crate::config::ServerConfig;
use crate::config::topic_config::{CleanupPolicy, TopicConfig, TopicDefaults, check_setting};
use crate::disk::{Disk, OpenMode};
use crate::ids::{LeaderEpoch, Offset, ProducerId, TopicId, TopicName, TopicPartition};
use crate::log::checkpoint_files::{
    LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, read_offsets, write_offsets,
};
use crate::log::{LEADER_EPOCH_CHECKPOINT, LastShutdown, Log, LogConfig, LogError, OpenLog};
use crate::metadata::decide::{self, CreateTopic};
use crate::metadata::image::is_internal_name;
use crate::metadata::{MetadataImage, MetadataRecord, MetadataStore};
use crate::partition::{PARTITION_METADATA, partition_metadata};

/// What to import, and how.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Directories of partitions, or log directories with all their partitions.
    pub sources: Vec<PathBuf>,
    /// What becomes of bytes at the end of a partition that are no batches.
    pub torn_tails: TornTails,
    /// Whether anything is copied.
    pub extent: ImportExtent,
}

/// What becomes of a partition's end that a crash of Kafka has torn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TornTails {
    /// The import is refused.
    Refuse,
    /// It is cut off, as Kafka does when it starts.
    Cut,
}

/// How far an import goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImportExtent {
    /// Only what would be imported is said; batches are not looked at.
    Look,
    /// To the end.
    Copy,
}

/// What was imported, or would be.
#[derive(Clone, Debug, Default)]
pub struct ImportReport {
    /// The topics, by name.
    pub topics: Vec<ImportedTopic>,
    /// What the user should know: what was left out, and what is now different.
    pub notes: Vec<String>,
}

/// One topic of an import.
#[derive(Clone, Debug)]
pub struct ImportedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id: the one that it had.
    pub id: TopicId,
    /// Its settings from now on.
    pub configs: BTreeMap<String, String>,
    /// Its partitions, by number.
    pub partitions: Vec<ImportedPartition>,
}

/// One partition of an import.
#[derive(Clone, Debug)]
pub struct ImportedPartition {
    /// Where it was.
    pub directory: PathBuf,
    /// Bytes of its segments.
    pub bytes: u64,
    /// From where to where its log goes; `None` if it was not opened.
    pub offsets: Option<(Offset, Offset)>,
    /// Bytes of its torn end.
    pub bytes_cut: u64,
}

/// What becomes of each topic found, decided before anything is copied.
struct Plan {
    topics: Vec<PlannedTopic>,
    next_producer_id: i64,
    notes: Vec<String>,
}

struct PlannedTopic {
    name: TopicName,
    id: TopicId,
    configs: BTreeMap<String, String>,
    log_config: LogConfig,
    partitions: Vec<(TopicPartition, SourcePartition)>,
}

/// A partition whose copy is good.
struct Copied {
    topic_partition: TopicPartition,
    directory: String,
    recovery_point: Offset,
    offsets: (Offset, Offset),
    bytes_cut: u64,
    /// The newest epoch of any leader or coordinator that it speaks of.
    epoch: LeaderEpoch,
    producer_id_max: Option<ProducerId>,
    /// Where its oldest undecided transaction begins.
    undecided_from: Option<Offset>,
}

/// Imports into a data directory whose lock the caller holds. No broker has it open.
pub fn import_log(
    disk: &Disk,
    config: &ServerConfig,
    request: &ImportRequest,
    now: Timestamp,
) -> Result<ImportReport, ImportError> {
    let sources = Sources::survey(&request.sources)?;
    let metadata = MetadataStore::open(disk, now)?;
    let image = metadata.image();
    let plan = Plan::new(sources, config, &image)?;
    for (topic_partition, _) in plan.topics.iter().flat_map(|topic| &topic.partitions) {
        if disk.exists(&topic_partition.to_string())? {
            return Err(ImportError::InTheWay { partition: topic_partition.clone() });
        }
    }
    let copied = match request.extent {
        ImportExtent::Look => Vec::new(),
        ImportExtent::Copy => Copying { disk, torn_tails: request.torn_tails, now }.all(&plan)?,
    };
    let report = report_of(&plan, &copied, &image);
    if request.extent == ImportExtent::Copy {
        let records = records_of(&plan, &copied, &image, config)?;
        put_in_place(disk, &copied).inspect_err(|_| discard(disk, &copied))?;
        let pending = metadata.change(now, |_| Ok(records))?;
        disk.wait_durable_blocking(pending.position)?;
    }
    metadata.close()?;
    Ok(report)
}

impl Plan {
    fn new(sources: Sources, config: &ServerConfig, image: &MetadataImage) -> Result<Plan, ImportError> {
        let defaults = effective_config(config, image);
        let mut plan =
            Plan { topics: Vec::new(), next_producer_id: sources.next_producer_id, notes: sources.notes };
        for (name, topic) in sources.topics {
            if let Some(reason) = reason_to_leave_out(&name, image) {
                match sources.is_whole {
                    true => plan.notes.push(format!("topic {name} is left out: {reason}")),
                    false => return Err(ImportError::LeftOut { topic: name, reason }),
                }
                continue;
            }
            let planned = plan.topic(name, topic, image, (config, defaults.topic_defaults()))?;
            plan.topics.push(planned);
        }
        Ok(plan)
    }

    fn topic(
        &mut self,
        name: TopicName,
        source: SourceTopic,
        image: &MetadataImage,
        (config, defaults): (&ServerConfig, &TopicDefaults),
    ) -> Result<PlannedTopic, ImportError> {
        let id = source.id.unwrap_or_else(random_topic_id);
        let configs = match is_internal_name(name.as_str()) {
            true => internal_topic_settings(),
            false => self.settings_of(&name, source.configs, defaults),
        };
        let refused = |error: &dyn std::fmt::Display| ImportError::Settings {
            topic: name.clone(),
            reason: error.to_string(),
        };
        let effective = TopicConfig::effective(&configs, defaults).map_err(|error| refused(&error))?;
        let log_config = LogConfig {
            // Nobody who wrote here is forgotten before it is known how far the ids go.
            producer_id_expiration_ms: i64::MAX as u64,
            ..log_config(config, &effective)
        };
        let partitions = source
            .partitions
            .into_iter()
            .map(|(index, partition)| (TopicPartition::new(name.clone(), index), partition));
        let partitions: Vec<_> = partitions.collect();
        let planned = PlannedTopic { name, id, configs, log_config, partitions };
        decide::create_topic(image, &planned.creation(config)).map_err(|refusal| ImportError::Refused {
            topic: planned.name.clone(),
            reason: refusal.message,
        })?;
        match image.topic_by_id(id) {
            None => Ok(planned),
            Some(other) => Err(ImportError::IdTaken { topic: planned.name, other: other.name.clone() }),
        }
    }

    /// The owner's settings as far as they mean something here. Where nothing says how long records are kept,
    /// they are: Kafka's broker may have had a default of its own.
    fn settings_of(
        &mut self,
        topic: &TopicName,
        configs: Option<BTreeMap<String, String>>,
        defaults: &TopicDefaults,
    ) -> BTreeMap<String, String> {
        let mut kept = BTreeMap::new();
        for (key, value) in configs.unwrap_or_default() {
            match check_setting(&key, &value) {
                Ok(value) => {
                    kept.insert(key, value);
                }
                Err(error) => self.notes.push(format!("topic {topic}: {key}={value} is left out: {error}")),
            }
        }
        let deletes = TopicConfig::effective(&kept, defaults)
            .is_ok_and(|config| config.cleanup_policy != CleanupPolicy::Compact);
        if deletes && !kept.contains_key("retention.ms") {
            kept.insert("retention.ms".to_owned(), "-1".to_owned());
            self.notes.push(format!(
                "topic {topic} has no retention.ms of its own, and what Kafka's broker had is not known: it is \
                 -1 now, so that nothing goes; set it with `tidemill topic alter {topic} --config retention.ms=…`"
            ));
        }
        kept
    }
}

/// Why a topic that was found does not come along.
fn reason_to_leave_out(name: &TopicName, image: &MetadataImage) -> Option<String> {
    if !is_internal_name(name.as_str()) {
        return None;
    }
    match name.as_str() {
        OFFSETS_TOPIC | TRANSACTION_TOPIC if image.topic(name.as_str()).is_none() => None,
        OFFSETS_TOPIC | TRANSACTION_TOPIC => {
            Some("the data directory has one of its own; both cannot be true".to_owned())
        }
        _ => Some("it belongs to a part of Kafka's that this broker does not have".to_owned()),
    }
}

impl PlannedTopic {
    fn creation(&self, config: &ServerConfig) -> CreateTopic {
        CreateTopic {
            name: self.name.clone(),
            id: self.id,
            partitions: i32::try_from(self.partitions.len()).unwrap_or(i32::MAX),
            broker: config.node_id,
            configs: self.configs.clone(),
        }
    }
}

/// Copies partitions under names that do not count, and makes sure that they are good.
struct Copying<'a> {
    disk: &'a Disk,
    torn_tails: TornTails,
    now: Timestamp,
}

impl Copying<'_> {
    fn all(&self, plan: &Plan) -> Result<Vec<Copied>, ImportError> {
        let mut copied: Vec<Copied> = Vec::new();
        for topic in &plan.topics {
            for (topic_partition, source) in &topic.partitions {
                // A start of the broker takes such a name for a deletion that it has to finish.
                let directory = format!("import.{}-{}-delete", topic.id, topic_partition.partition);
                let made = self.copy_files(source, &directory, topic.id);
                match made.and_then(|()| self.open(topic_partition, source, directory.clone(), topic)) {
                    Ok(partition) => copied.push(partition),
                    Err(error) => {
                        discard(self.disk, &copied);
                        let _ = self.disk.remove_dir_all(&directory);
                        return Err(error);
                    }
                }
            }
        }
        Ok(copied)
    }

    fn copy_files(
        &self,
        source: &SourcePartition,
        directory: &str,
        topic_id: TopicId,
    ) -> Result<(), ImportError> {
        if self.disk.exists(directory)? {
            self.disk.remove_dir_all(directory)?;
        }
        self.disk.create_dir_all(directory)?;
        for segment in &source.segments {
            copy_file(self.disk, &source.directory.join(segment), &format!("{directory}/{segment}"))?;
        }
        let epochs = source.directory.join(LEADER_EPOCH_CHECKPOINT);
        if epochs.is_file() {
            copy_file(self.disk, &epochs, &format!("{directory}/{LEADER_EPOCH_CHECKPOINT}"))?;
        }
        let metadata = format!("{directory}/{PARTITION_METADATA}");
        Ok(self.disk.write_atomically(&metadata, partition_metadata(topic_id).as_bytes())?)
    }

    /// Recovers the copy's log, which reads all of it, and closes it.
    fn open(
        &self,
        topic_partition: &TopicPartition,
        source: &SourcePartition,
        directory: String,
        topic: &PlannedTopic,
    ) -> Result<Copied, ImportError> {
        // Offsets may be missing between Kafka's compacted segments, and only the last one may end in the middle.
        let last_base = source.segments.last().and_then(|name| name.strip_suffix(".log")?.parse().ok());
        let (log, recovery) = Log::open(OpenLog {
            disk: self.disk.clone(),
            directory: directory.clone(),
            config: topic.log_config.clone(),
            recovery_point: last_base.and_then(Offset::from_wire).unwrap_or(Offset::ZERO),
            log_start_offset: source.log_start_offset,
            shutdown: LastShutdown::Unclean,
            now: self.now,
        })
        .map_err(|error| damaged(source, error))?;
        if recovery.bytes_cut > 0 && self.torn_tails == TornTails::Refuse {
            return Err(ImportError::TornTail {
                path: source.directory.display().to_string(),
                bytes: recovery.bytes_cut,
                log_end_offset: log.log_end_offset(),
            });
        }
        let producers = log.producers();
        let coordinators = producers.iter().filter_map(|producer| producer.coordinator_epoch);
        let coordinators = coordinators.filter_map(|epoch| LeaderEpoch::from_wire(epoch.value()));
        Ok(Copied {
            topic_partition: topic_partition.clone(),
            directory,
            offsets: (log.log_start_offset(), log.log_end_offset()),
            bytes_cut: recovery.bytes_cut,
            epoch: coordinators.chain(log.latest_epoch()).max().unwrap_or(LeaderEpoch::ZERO),
            producer_id_max: producers.iter().map(|producer| producer.producer_id).max(),
            undecided_from: producers.iter().filter_map(|p| p.current_transaction_start_offset).min(),
            recovery_point: log.close().map_err(|error| damaged(source, error))?,
        })
    }
}

/// Beside the journal: before the copy counts, its log has been closed and synced.
fn copy_file(disk: &Disk, from: &Path, to: &str) -> Result<(), ImportError> {
    const CHUNK_BYTES: usize = 1 << 20;
    let mut source = File::open(from).map_err(|error| ImportError::io("open", from, error))?;
    let file = disk.open_file(to, OpenMode::Create)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut position = 0;
    loop {
        let read = match source.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ImportError::io("read", from, error)),
        };
        file.write_at(position, chunk.get(..read).unwrap_or_default())?;
        position += read as u64;
    }
    Ok(file.sync()?)
}

/// The user knows the source, not the copy.
fn damaged(source: &SourcePartition, error: LogError) -> ImportError {
    match error {
        LogError::Damaged { path, position, reason, .. } => {
            let file = path.rsplit('/').next().unwrap_or_default();
            ImportError::Damaged {
                path: source.directory.join(file).display().to_string(),
                reason: format!("at byte {position}: {reason}"),
            }
        }
        error => {
            ImportError::Damaged { path: source.directory.display().to_string(), reason: error.to_string() }
        }
    }
}

fn put_in_place(disk: &Disk, copied: &[Copied]) -> Result<(), ImportError> {
    let checkpoint = |path: &str, value: fn(&Copied) -> Offset| {
        let mut offsets = read_offsets(disk, path)?;
        offsets.extend(copied.iter().map(|copy| (copy.topic_partition.clone(), value(copy))));
        write_offsets(disk, path, &offsets)
    };
    let failed = |error: LogError| ImportError::Checkpoint(error.to_string());
    for copy in copied {
        disk.rename(&copy.directory, &copy.topic_partition.to_string())?;
    }
    checkpoint(RECOVERY_POINT_CHECKPOINT, |copy| copy.recovery_point).map_err(failed)?;
    checkpoint(LOG_START_CHECKPOINT, |copy| copy.offsets.0).map_err(failed)
}

/// Takes copies away that do not count, wherever they are by now. What cannot be removed is found at the next start.
fn discard(disk: &Disk, copied: &[Copied]) {
    for copy in copied {
        let _ = disk.remove_dir_all(&copy.directory);
        let _ = disk.remove_dir_all(&copy.topic_partition.to_string());
    }
}

/// What makes the topics exist. Their leaders' epochs go on from the newest that was seen anywhere: that of
/// `__transaction_state` is also what its coordinators' markers are told from older ones by.
fn records_of(
    plan: &Plan,
    copied: &[Copied],
    image: &MetadataImage,
    config: &ServerConfig,
) -> Result<Vec<MetadataRecord>, ImportError> {
    let epoch = copied.iter().map(|copy| copy.epoch).max().unwrap_or(LeaderEpoch::ZERO).value();
    let mut records = Vec::new();
    for topic in &plan.topics {
        let refused = |reason| ImportError::Refused { topic: topic.name.clone(), reason };
        let mut created = decide::create_topic(image, &topic.creation(config))
            .map_err(|refusal| refused(refusal.message))?;
        for record in &mut created {
            if let MetadataRecord::Partition { leader_epoch, .. } = record {
                *leader_epoch = epoch;
            }
        }
        records.extend(created);
    }
    let seen = copied.iter().filter_map(|copy| copy.producer_id_max).max();
    let next_producer_id = seen.map_or(0, |seen| seen.value() + 1).max(plan.next_producer_id);
    if next_producer_id > image.next_producer_id().value() {
        records.push(MetadataRecord::ProducerIds { next_producer_id });
    }
    Ok(records)
}

fn report_of(plan: &Plan, copied: &[Copied], image: &MetadataImage) -> ImportReport {
    let by_partition: BTreeMap<&TopicPartition, &Copied> =
        copied.iter().map(|copy| (&copy.topic_partition, copy)).collect();
    let partition_of = |(topic_partition, source): &(TopicPartition, SourcePartition)| {
        let copy = by_partition.get(topic_partition);
        ImportedPartition {
            directory: source.directory.clone(),
            bytes: source.bytes,
            offsets: copy.map(|copy| copy.offsets),
            bytes_cut: copy.map_or(0, |copy| copy.bytes_cut),
        }
    };
    let topics = plan.topics.iter().map(|topic| ImportedTopic {
        name: topic.name.clone(),
        id: topic.id,
        configs: topic.configs.clone(),
        partitions: topic.partitions.iter().map(partition_of).collect(),
    });
    let mut notes = plan.notes.clone();
    let names: BTreeSet<&str> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    if !names.contains(TRANSACTION_TOPIC) {
        notes.extend(copied.iter().filter_map(undecided_note));
    }
    let first_taken = copied.iter().any(|copy| copy.producer_id_max.is_some());
    if first_taken && image.next_producer_id() > ProducerId::ZERO {
        notes.push(
            "producers have written to this data directory before, under ids that may also be in the imported \
             partitions: start idempotent and transactional clients of either broker anew"
                .to_owned(),
        );
    }
    ImportReport { topics: topics.collect(), notes }
}

fn undecided_note(copy: &Copied) -> Option<String> {
    let TopicPartition { topic, partition } = &copy.topic_partition;
    copy.undecided_from.map(|offset| {
        format!(
            "{topic}-{partition} holds a transaction from offset {offset} on whose end nobody will write, as \
             __transaction_state did not come along; readers of committed records stop there until `tidemill txn \
             abort --topic {topic} --partition {partition} --start-offset {offset}`"
        )
    })
}

#[cfg(test)]
mod tests;
