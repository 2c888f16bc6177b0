//! What the named directories of an Apache Kafka broker hold: partitions, where each begins, the ids of their
//! topics. Reads names and small text files; no batches, and nothing is changed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use base64::Engine;
use rustix::fs::{FlockOperation, fcntl_lock};

use super::ImportError;
use super::kraft::KraftMetadata;
use crate::ids::{Offset, PartitionIndex, TopicId, TopicName, TopicPartition};
use crate::log::checkpoint_files::{LOG_START_CHECKPOINT, parse_offsets};
use crate::metadata::store::METADATA_DIRECTORY;

const LOCK_FILE: &str = ".lock";
const META_PROPERTIES: &str = "meta.properties";
const PARTITION_METADATA: &str = "partition.metadata";
/// What Kafka calls a directory that is on its way out, in the wrong place, or moving between disks.
const NOT_PARTITIONS: [&str; 3] = ["-delete", "-stray", "-future"];

/// One partition's files.
#[derive(Debug)]
pub(super) struct SourcePartition {
    pub(super) directory: PathBuf,
    /// The names of its segments, oldest first.
    pub(super) segments: Vec<String>,
    pub(super) bytes: u64,
    /// Where the log starts, if Kafka has written that down.
    pub(super) log_start_offset: Option<Offset>,
}

/// One topic: its partitions by number.
#[derive(Debug, Default)]
pub(super) struct SourceTopic {
    pub(super) id: Option<TopicId>,
    pub(super) partitions: BTreeMap<PartitionIndex, SourcePartition>,
    /// The settings that its owner made in Kafka; `None` where nothing says so.
    pub(super) configs: Option<BTreeMap<String, String>>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) topics: BTreeMap<TopicName, SourceTopic>,
    /// Producer ids below this one belong to clients of the Kafka broker.
    pub(super) next_producer_id: i64,
    /// Whether a whole log directory was named: what of it is left out is said, not refused.
    pub(super) is_whole: bool,
    pub(super) notes: Vec<String>,
}

/// Kafka's files beside the partitions of one log directory.
#[derive(Default)]
struct LogDirectory {
    log_starts: BTreeMap<TopicPartition, Offset>,
    metadata: Option<KraftMetadata>,
}

impl Sources {
    /// Looks at partitions' directories, and at log directories with all that is in them.
    pub(super) fn survey(paths: &[PathBuf]) -> Result<Sources, ImportError> {
        let mut sources = Sources::default();
        let mut read: BTreeMap<PathBuf, LogDirectory> = BTreeMap::new();
        for path in paths {
            let directory = fs::canonicalize(path).map_err(|error| ImportError::io("open", path, error))?;
            let segments = segments_in(&directory)?;
            let is_whole = segments.is_empty();
            let around = if is_whole { &directory } else { directory.parent().unwrap_or(&directory) };
            // Partitions that are named one by one have the same around them.
            let beside = match read.entry(around.to_owned()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(LogDirectory::read(around)?),
            };
            match is_whole {
                true => sources.take_log_directory(&directory, beside)?,
                false => sources.take_partition(&directory, segments, beside)?,
            }
        }
        for (name, topic) in &sources.topics {
            check_partitions(name, topic)?;
        }
        Ok(sources)
    }

    fn take_log_directory(&mut self, directory: &Path, beside: &LogDirectory) -> Result<(), ImportError> {
        let before = self.partition_count();
        for name in names_in(directory)? {
            let path = directory.join(&name);
            if !path.is_dir() || name == METADATA_DIRECTORY {
                continue;
            }
            if NOT_PARTITIONS.iter().any(|suffix| name.ends_with(suffix)) {
                self.notes
                    .push(format!("{} is left out: Kafka no longer counts it, or not yet", path.display()));
            } else if parse_name(&name).is_some() {
                let segments = segments_in(&path)?;
                if !segments.is_empty() {
                    self.take_partition(&path, segments, beside)?;
                }
            }
        }
        if self.partition_count() == before {
            return Err(ImportError::NoPartitions { path: directory.display().to_string() });
        }
        self.is_whole = true;
        Ok(())
    }

    fn take_partition(
        &mut self,
        directory: &Path,
        segments: Vec<String>,
        beside: &LogDirectory,
    ) -> Result<(), ImportError> {
        let shown = directory.display().to_string();
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(TopicPartition { topic: name, partition: index }) = parse_name(&name) else {
            return Err(ImportError::BadName { path: shown });
        };
        let topic_partition = TopicPartition::new(name.clone(), index);
        let topic = self.topics.entry(name.clone()).or_default();
        if let Some(id) = stored_topic_id(directory)? {
            if topic.id.is_some_and(|other| other != id) {
                return Err(ImportError::MixedTopics { topic: name, path: shown });
            }
            topic.id = Some(id);
        }
        if let Some(metadata) = &beside.metadata {
            topic.configs = Some(metadata.configs_of(name.as_str()));
            self.next_producer_id = self.next_producer_id.max(metadata.next_producer_id);
        }
        let mut bytes = 0;
        for segment in &segments {
            let path = directory.join(segment);
            bytes += fs::metadata(&path).map_err(|error| ImportError::io("stat", &path, error))?.len();
        }
        let log_start_offset = beside.log_starts.get(&topic_partition).copied();
        let partition =
            SourcePartition { directory: directory.to_owned(), segments, bytes, log_start_offset };
        match topic.partitions.insert(index, partition) {
            None => Ok(()),
            Some(other) => {
                let other = other.directory.display().to_string();
                Err(ImportError::Twice { partition: topic_partition, paths: [other, shown] })
            }
        }
    }

    fn partition_count(&self) -> usize {
        self.topics.values().map(|topic| topic.partitions.len()).sum()
    }
}

impl LogDirectory {
    /// What Kafka keeps beside its partitions, if that is where it wrote them; refuses a running broker's.
    fn read(directory: &Path) -> Result<LogDirectory, ImportError> {
        if !directory.join(META_PROPERTIES).is_file() {
            return Ok(LogDirectory::default());
        }
        check_unlocked(directory)?;
        let path = directory.join(LOG_START_CHECKPOINT);
        let log_starts = match fs::read_to_string(&path) {
            Ok(text) => parse_offsets(&path.display().to_string(), &text).map_err(|error| {
                ImportError::Damaged { path: path.display().to_string(), reason: error.to_string() }
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(ImportError::io("read", &path, error)),
        };
        Ok(LogDirectory { log_starts, metadata: KraftMetadata::of_log_directory(directory)? })
    }
}

/// A topic comes whole or not at all: consumers and partitioners count on its partitions.
fn check_partitions(name: &TopicName, topic: &SourceTopic) -> Result<(), ImportError> {
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let missing =
        (0..count).filter_map(PartitionIndex::from_wire).find(|index| !topic.partitions.contains_key(index));
    match missing {
        None => Ok(()),
        Some(index) => Err(ImportError::Missing { partition: TopicPartition::new(name.clone(), index) }),
    }
}

/// A directory's name as Kafka gives it: topic and partition.
fn parse_name(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    let index = PartitionIndex::from_wire(number.parse().ok()?)?;
    // Not "+1", nor "01".
    (!topic.is_empty() && index.to_string() == number)
        .then(|| TopicPartition::new(TopicName::new(topic), index))
}

/// The names of a directory's segments, in the order of their offsets.
fn segments_in(directory: &Path) -> Result<Vec<String>, ImportError> {
    let is_segment = |name: &String| {
        name.strip_suffix(".log")
            .is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut names = names_in(directory)?;
    if let Some(unfinished) = names.iter().find(|name| name.ends_with(".swap")) {
        return Err(ImportError::Damaged {
            path: directory.join(unfinished).display().to_string(),
            reason:
                "Kafka was stopped in the middle of a compaction; start it once more and stop it in order"
                    .to_owned(),
        });
    }
    names.retain(is_segment);
    Ok(names)
}

/// The names in a directory that are text, sorted.
pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, ImportError> {
    let failed = |error| ImportError::io("list", directory, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// The topic's id from `partition.metadata`; none before Kafka 2.8.
fn stored_topic_id(directory: &Path) -> Result<Option<TopicId>, ImportError> {
    let path = directory.join(PARTITION_METADATA);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ImportError::io("read", &path, error)),
    };
    let id = text.lines().find_map(|line| line.strip_prefix("topic_id: ")).and_then(|id| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(id.trim()).ok()?;
        TopicId::from_bytes(bytes.try_into().ok()?)
    });
    match id {
        Some(id) => Ok(Some(id)),
        None => Err(ImportError::Damaged {
            path: path.display().to_string(),
            reason: "it names no topic id".to_owned(),
        }),
    }
}

/// A broker at work holds a lock on its log directory; its files change while they are read.
fn check_unlocked(directory: &Path) -> Result<(), ImportError> {
    // POSIX locks want a file that is open for writing. Where that is not allowed nothing can be learned.
    let Ok(file) = File::options().write(true).open(directory.join(LOCK_FILE)) else { return Ok(()) };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => {
            Err(ImportError::InUse { path: directory.display().to_string() })
        }
        // The lock goes with the file. Where locks do not work there is nothing to learn from them.
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
