//! Ingress: where clients' records wait whose topic has a partitioner.
//!
//! A stock client has already chosen a partition, and its sequences and transactions count by it. So its
//! batches go, as they are, to the same partition of a hidden topic beside; a processor of the broker's own
//! moves them from there to the partitions that the module chooses. The ingress lives as long as its topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::broker::{Broker, BrokerError, topics};
use crate::config::topic_config::{MessageTimestampType, PARTITIONER, TopicConfig, TopicPartitioner};
use crate::error_code::ErrorCode;
use crate::ids::{Offset, TopicName, TopicPartition};
use crate::metadata::decide::{self, CreateTopic, MetadataRefusal, TOPIC_NAME_LENGTH_MAX};
use crate::metadata::image::{INGRESS_PREFIX, ingress_name};
use crate::metadata::{MetadataImage, MetadataRecord, TopicImage};
use crate::partition::Partition;
use crate::wire::record_batch::BatchHeader;

/// Moved records go with whole segments: small ones let them go soon.
const SEGMENT_BYTES: u32 = 16 << 20;

/// All the names and digests that a topic may use for a partitioner, kept up to date by who keeps the modules.
pub type PartitionerModules = ArcSwap<BTreeSet<String>>;

/// A topic's ingress, and where its records are to go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ingress {
    /// The hidden topic.
    pub name: TopicName,
    /// The topic that clients name.
    pub topic: TopicName,
    /// How many partitions the ingress has.
    pub partitions: i32,
    /// What chooses; `None` if the topic has no partitioner any more, and what is left goes where clients sent it.
    pub partitioner: Option<TopicPartitioner>,
}

impl Broker {
    /// Says which modules are partitioners; nothing is, until this is called.
    pub fn set_partitioner_modules(&self, modules: Arc<PartitionerModules>) {
        self.partitioner_modules.store(modules);
    }

    /// What chooses a topic's partitions, if it is not its clients.
    pub fn topic_partitioner(&self, topic: &TopicImage) -> Option<TopicPartitioner> {
        // Looked at for every topic that a processor writes to: most have none.
        topic.configs.get(PARTITIONER)?;
        self.topic_config(topic).partitioner
    }

    /// All ingresses.
    pub fn ingresses(&self) -> Vec<Ingress> {
        let image = self.metadata();
        let all = image.topics().filter_map(|topic| {
            let ingress = image.ingress_of(&topic.name)?;
            Some(Ingress {
                name: ingress.name.clone(),
                topic: topic.name.clone(),
                partitions: ingress.partition_count(),
                partitioner: self.topic_partitioner(topic),
            })
        });
        all.collect()
    }

    /// Where a client's batch is appended that names a partition. What a producer sends again goes to where
    /// its first copy is, even if the topic has got or lost its partitioner in between.
    pub(super) fn append_target(
        &self,
        named: Arc<Partition>,
        header: &BatchHeader,
    ) -> Result<Arc<Partition>, BrokerError> {
        let image = self.metadata();
        let TopicPartition { topic, partition } = named.topic_partition();
        let Some(ingress) = image.ingress_of(topic) else { return Ok(named) };
        let waiting = self.partition(&TopicPartition::new(ingress.name.clone(), *partition))?;
        let has_partitioner =
            image.topic(topic.as_str()).is_some_and(|topic| topic.configs.contains_key(PARTITIONER));
        let (target, other) = if has_partitioner { (waiting, named) } else { (named, waiting) };
        Ok(if other.is_duplicate(header) { other } else { target })
    }

    /// The partition that a client's transaction has in it when it names one.
    pub fn transaction_target(&self, named: &TopicPartition) -> TopicPartition {
        let image = self.metadata();
        match (image.topic(named.topic.as_str()), image.ingress_of(&named.topic)) {
            (Some(topic), Some(ingress)) if topic.configs.contains_key(PARTITIONER) => {
                TopicPartition::new(ingress.name.clone(), named.partition)
            }
            (Some(_) | None, Some(_) | None) => named.clone(),
        }
    }

    /// Lets go of what has been moved out of an ingress's partition: everything before the offset.
    pub fn forget_moved(&self, ingress: &TopicPartition, before: Offset) -> Result<(), BrokerError> {
        let partition = self.partition(ingress)?;
        if partition.offsets().log_start_offset >= before {
            return Ok(());
        }
        self.delete_before(&partition, Some(before)).map(|_| ())
    }

    /// Refuses a partitioner that does not exist; `before` are settings that have been accepted already.
    pub(super) fn check_partitioner(
        &self,
        topic: &TopicName,
        settings: &BTreeMap<String, String>,
        before: &BTreeMap<String, String>,
    ) -> Result<(), BrokerError> {
        let invalid = |why: String| Err(BrokerError::refused(ErrorCode::InvalidConfig, why));
        let Some(module) = settings.get(PARTITIONER).filter(|module| before.get(PARTITIONER) != Some(module))
        else {
            return Ok(());
        };
        if !self.partitioner_modules.load().load().contains(module) {
            return invalid(format!(
                "{PARTITIONER}: there is no partitioner \"{module}\"; push the module first, and name it by its name or its digest"
            ));
        }
        let longest = TOPIC_NAME_LENGTH_MAX - INGRESS_PREFIX.len();
        if topic.as_str().len() > longest {
            return invalid(format!(
                "{PARTITIONER}: only topics whose names have at most {longest} characters can have one"
            ));
        }
        Ok(())
    }

    /// The records that give a topic with these settings its ingress, or make the one that it has fit them.
    pub(super) fn ingress_records(
        &self,
        image: &MetadataImage,
        topic: &CreateTopic,
    ) -> Result<Vec<MetadataRecord>, MetadataRefusal> {
        if !topic.configs.contains_key(PARTITIONER) {
            return Ok(Vec::new());
        }
        let settings = ingress_settings(&self.topic_config_of(&topic.configs));
        match image.ingress_of(&topic.name) {
            Some(ingress) => Ok(topics::changed_configs(ingress, &settings)),
            None => {
                let ingress = CreateTopic {
                    name: ingress_name(topic.name.as_str()),
                    id: topics::random_topic_id(),
                    configs: settings,
                    ..topic.clone()
                };
                decide::create_topic(image, &ingress)
            }
        }
    }
}

/// What clients may send is for their topic to say; nothing is let go before it is moved.
fn ingress_settings(topic: &TopicConfig) -> BTreeMap<String, String> {
    let timestamp_type = match topic.message_timestamp_type {
        MessageTimestampType::CreateTime => "CreateTime",
        MessageTimestampType::LogAppendTime => "LogAppendTime",
    };
    // The largest batch must fit into a segment.
    let segment_bytes = SEGMENT_BYTES.max(topic.message_bytes_max.saturating_mul(2)).min(i32::MAX as u32);
    let settings = [
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", topic.message_bytes_max.to_string()),
        ("message.timestamp.after.max.ms", topic.timestamp_after_max_ms.to_string()),
        ("message.timestamp.before.max.ms", topic.timestamp_before_max_ms.to_string()),
        ("message.timestamp.type", timestamp_type.to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("segment.bytes", segment_bytes.to_string()),
    ];
    settings.map(|(key, value)| (key.to_owned(), value)).into()
}
