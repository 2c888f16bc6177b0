//! Why an import is refused. Each message names the path and what to do; nothing was changed.

use std::io;
use std::path::Path;

use crate::disk::DiskError;
use crate::ids::{Offset, TopicName, TopicPartition};
use crate::metadata::MetadataError;

/// Why an import is refused.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The operating system refused.
    #[error("cannot {operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A directory holds neither segments nor partitions.
    #[error(
        "{path} holds no partitions: name a partition's directory, such as orders-0, or Kafka's log directory"
    )]
    NoPartitions {
        /// The directory.
        path: String,
    },
    /// A directory holds segments and is not called as a partition.
    #[error("{path} holds segments, but is not called TOPIC-NUMBER, as Kafka calls a partition's directory")]
    BadName {
        /// The directory.
        path: String,
    },
    /// Two directories of one partition.
    #[error("partition {partition} is there twice, in {} and {}: name only one of them", .paths[0], .paths[1])]
    Twice {
        /// The partition.
        partition: TopicPartition,
        /// Where it is.
        paths: [String; 2],
    },
    /// A topic lacks a partition.
    #[error("partition {partition} is missing, and a topic is imported whole: name its directory too")]
    Missing {
        /// The partition.
        partition: TopicPartition,
    },
    /// Directories of two topics that had one name after the other.
    #[error(
        "{path} belongs to another topic than the other partitions of {topic}: its partition.metadata names another id"
    )]
    MixedTopics {
        /// The name.
        topic: TopicName,
        /// The directory.
        path: String,
    },
    /// A broker runs.
    #[error("a Kafka broker runs on {path}: stop it first")]
    InUse {
        /// Its log directory.
        path: String,
    },
    /// A file is not as Kafka leaves it.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A partition's end is torn.
    #[error(
        "{path} ends in {bytes} bytes that are no batches, behind offset {log_end_offset}, as after a crash: start Kafka \
         once more and stop it in order, or give --cut-torn-tails to leave them out"
    )]
    TornTail {
        /// The partition's directory.
        path: String,
        /// How much would be cut off.
        bytes: u64,
        /// Where the good batches end.
        log_end_offset: Offset,
    },
    /// A topic cannot come along.
    #[error("topic {topic} cannot be imported: {reason}")]
    LeftOut {
        /// The topic.
        topic: TopicName,
        /// Why.
        reason: String,
    },
    /// The topic's id is in use.
    #[error("topic {topic} has the id of topic {other}, which is there already")]
    IdTaken {
        /// The topic.
        topic: TopicName,
        /// Who has its id.
        other: TopicName,
    },
    /// The topic cannot be created.
    #[error("topic {topic} cannot be created: {reason}")]
    Refused {
        /// The topic.
        topic: TopicName,
        /// Why.
        reason: String,
    },
    /// The topic's settings contradict each other.
    #[error("the settings of topic {topic} do not go together: {reason}")]
    Settings {
        /// The topic.
        topic: TopicName,
        /// Why.
        reason: String,
    },
    /// A directory of that name is there.
    #[error(
        "{partition} is in the way in the data directory, though no topic has it: start the broker once, which puts it aside"
    )]
    InTheWay {
        /// The partition.
        partition: TopicPartition,
    },
    /// The offsets beside the partitions cannot be written down.
    #[error("the offsets cannot be written down: {0}")]
    Checkpoint(String),
    /// The data directory's disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The data directory's metadata failed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl ImportError {
    pub(super) fn io(operation: &'static str, path: &Path, source: io::Error) -> ImportError {
        ImportError::Io { operation, path: path.display().to_string(), source }
    }
}
