//! Topics: create, delete, grow, reconfigure, and the internal ones that appear when first needed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::{Broker, BrokerError, OFFSETS_TOPIC, TRANSACTION_TOPIC};
use crate::config::TopicConfig;
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicId, TopicName, TopicPartition};
use crate::metadata::decide::{self, CreateTopic, MetadataRefusal};
use crate::metadata::{MetadataImage, MetadataRecord, TopicImage};
use crate::partition::OpenPartition;

/// A topic that somebody asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Its name.
    pub name: TopicName,
    /// How many partitions; `None` takes `num.partitions`.
    pub partitions: Option<i32>,
    /// Its own settings.
    pub configs: BTreeMap<String, String>,
}

/// A new topic id: random, and never one of Kafka's reserved ones.
pub(super) fn random_topic_id() -> TopicId {
    TopicId::from_bytes(*uuid::Uuid::new_v4().as_bytes()).expect("a version 4 UUID is never all zero")
}

/// What the topics of the coordinators are set to.
pub(super) fn internal_topic_settings() -> BTreeMap<String, String> {
    let settings = [("cleanup.policy", "compact"), ("compression.type", "uncompressed")];
    settings.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Broker {
    /// Checks a topic as `create_topic` would, and changes nothing.
    pub fn validate_new_topic(&self, topic: &NewTopic) -> Result<(), BrokerError> {
        let create = self.creation_of(topic)?;
        self.new_topic_records(&self.metadata(), &create).map_err(refused).map(|_| ())
    }

    /// Creates a topic and its partitions; done when both are durable.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<Arc<TopicImage>, BrokerError> {
        let created = self.create_topics(std::slice::from_ref(topic)).await?;
        created.into_iter().next().unwrap_or(Err(BrokerError::UnknownPartition))
    }

    /// Creates topics, in order, each on its own: one that is refused keeps no other from being. All of them are one
    /// change of the metadata, since each change costs as much as there are topics.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
    ) -> Result<Vec<Result<Arc<TopicImage>, BrokerError>>, BrokerError> {
        let mut creations: Vec<_> = topics.iter().map(|topic| self.creation_of(topic)).collect();
        let _one_at_a_time = self.topic_changes.lock().await;
        let image = self.change_metadata(|image| Ok(self.records_of_all(image, &mut creations))).await?;
        let mut created = Vec::with_capacity(topics.len());
        for creation in creations {
            created.push(match creation {
                Ok(create) => self.make_topic(&image, &create.name).await,
                Err(error) => Err(error),
            });
        }
        self.tell_topics().await;
        Ok(created)
    }

    /// The records of those that can be created, each decided over the metadata with those before it.
    fn records_of_all(
        &self,
        image: &MetadataImage,
        creations: &mut [Result<CreateTopic, BrokerError>],
    ) -> Vec<MetadataRecord> {
        let mut image = Cow::Borrowed(image);
        let mut records = Vec::new();
        let last = creations.len().saturating_sub(1);
        for (number, creation) in creations.iter_mut().enumerate() {
            let Ok(create) = creation else { continue };
            match self.new_topic_records(&image, create) {
                Ok(new) if number == last => records.extend(new),
                Ok(new) => {
                    new.iter().for_each(|record| image.to_mut().apply(record));
                    records.extend(new);
                }
                Err(refusal) => *creation = Err(refused(refusal)),
            }
        }
        records
    }

    async fn make_topic(
        &self,
        image: &MetadataImage,
        name: &TopicName,
    ) -> Result<Arc<TopicImage>, BrokerError> {
        let created = image.topic(name.as_str()).ok_or(BrokerError::UnknownPartition)?;
        if let Some(ingress) = image.ingress_of(name) {
            self.make_partitions(ingress, 0).await?;
        }
        self.make_partitions(created, 0).await?;
        tracing::info!(topic = %created.name, partitions = created.partition_count(), "topic created");
        Ok(Arc::clone(created))
    }

    /// Deletes a topic and its files.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<(), BrokerError> {
        let _one_at_a_time = self.topic_changes.lock().await;
        let image = self.metadata();
        let topic = image.topic(name.as_str()).cloned().ok_or(BrokerError::UnknownPartition)?;
        let ingress = image.ingress_of(name).cloned();
        let ingress_id = ingress.as_ref().map(|ingress| ingress.id.bytes());
        let and_ingress = ingress_id.map(|topic_id| MetadataRecord::RemoveTopic { topic_id });
        self.change_metadata(|_| Ok(decide::delete_topic(&topic)?.into_iter().chain(and_ingress).collect()))
            .await?;
        self.tell_topics().await;
        for doomed in ingress.into_iter().chain([topic]) {
            let partitions = Arc::clone(&self.partitions);
            let name = doomed.name.clone();
            let deleted = tokio::task::spawn_blocking(move || partitions.delete(partitions_of(&doomed)));
            deleted.await.map_err(|_| BrokerError::UnknownPartition)??;
            self.coordinators.topic_deleted(&name).await;
        }
        tracing::info!(topic = %name, "topic deleted");
        Ok(())
    }

    /// Checks a growth as `create_partitions` would, and changes nothing.
    pub fn validate_new_partitions(&self, name: &TopicName, total: i32) -> Result<(), BrokerError> {
        let topic = self.metadata().topic(name.as_str()).cloned().ok_or(BrokerError::UnknownPartition)?;
        decide::create_partitions(&topic, total, self.broker_id()).map_err(refused).map(|_| ())
    }

    /// Grows a topic to `total` partitions.
    pub async fn create_partitions(&self, name: &TopicName, total: i32) -> Result<(), BrokerError> {
        let _one_at_a_time = self.topic_changes.lock().await;
        let before = self.metadata();
        let topic = before.topic(name.as_str()).ok_or(BrokerError::UnknownPartition)?;
        let ingress = before.ingress_of(name);
        let image = self.change_metadata(|_| {
            let mut records = decide::create_partitions(topic, total, self.config.node_id)?;
            if let Some(ingress) = ingress {
                records.extend(decide::grow(ingress, total, self.config.node_id));
            }
            Ok(records)
        });
        let image = image.await?;
        for grown in ingress.into_iter().chain([topic]) {
            let now = image.topic(grown.name.as_str()).ok_or(BrokerError::UnknownPartition)?;
            self.make_partitions(now, grown.partitions.len()).await?;
        }
        self.tell_topics().await;
        Ok(())
    }

    /// Grows one of the broker's own topics to at least so many partitions.
    pub async fn grow_internal_topic(&self, name: &TopicName, total: i32) -> Result<(), BrokerError> {
        let _one_at_a_time = self.topic_changes.lock().await;
        let before = self.metadata().topic(name.as_str()).cloned().ok_or(BrokerError::UnknownPartition)?;
        if before.partition_count() >= total {
            return Ok(());
        }
        let image = self.change_metadata(|_| Ok(decide::grow(&before, total, self.config.node_id))).await?;
        let grown = image.topic(name.as_str()).ok_or(BrokerError::UnknownPartition)?;
        self.make_partitions(grown, before.partitions.len()).await?;
        self.tell_topics().await;
        Ok(())
    }

    /// Replaces a topic's own settings; the caller holds `topic_changes`.
    pub(super) async fn set_topic_configs(
        &self,
        topic: &TopicImage,
        configs: BTreeMap<String, String>,
    ) -> Result<(), BrokerError> {
        let as_new = CreateTopic {
            name: topic.name.clone(),
            id: topic.id,
            partitions: topic.partition_count(),
            broker: self.config.node_id,
            configs,
        };
        let change = self.change_metadata(|image| {
            let mut records = changed_configs(topic, &as_new.configs);
            records.extend(self.ingress_records(image, &as_new)?);
            Ok(records)
        });
        let image = change.await?;
        let changed = image.topic(topic.name.as_str()).into_iter().chain(image.ingress_of(&topic.name));
        for topic in changed {
            // A new ingress has none yet.
            if partitions_of(topic).any(|partition| self.partitions.get(&partition).is_none()) {
                self.make_partitions(topic, 0).await?;
            }
            let config = self.settings(&self.effective_config()).log_config_of(topic);
            for partition in partitions_of(topic).filter_map(|partition| self.partitions.get(&partition)) {
                partition.set_config(config.clone());
            }
        }
        Ok(())
    }

    /// A topic and, if it has a partitioner, its ingress: both or none.
    fn new_topic_records(
        &self,
        image: &MetadataImage,
        topic: &CreateTopic,
    ) -> Result<Vec<MetadataRecord>, MetadataRefusal> {
        let mut records = decide::create_topic(image, topic)?;
        records.extend(self.ingress_records(image, topic)?);
        Ok(records)
    }

    /// The groups' internal topic; created when first needed.
    pub async fn offsets_topic(&self) -> Result<Arc<TopicImage>, BrokerError> {
        self.internal_topic(OFFSETS_TOPIC, self.config.groups.offsets_topic_partitions).await
    }

    /// The transactions' internal topic; created when first needed.
    pub async fn transaction_topic(&self) -> Result<Arc<TopicImage>, BrokerError> {
        self.internal_topic(TRANSACTION_TOPIC, self.config.transactions.state_log_partitions).await
    }

    async fn internal_topic(&self, name: &str, partitions: i32) -> Result<Arc<TopicImage>, BrokerError> {
        if let Some(topic) = self.metadata().topic(name) {
            return Ok(Arc::clone(topic));
        }
        let topic = NewTopic {
            name: TopicName::new(name),
            partitions: Some(partitions),
            configs: internal_topic_settings(),
        };
        match self.create_topic(&topic).await {
            Ok(topic) => Ok(topic),
            Err(error) if error.code() == ErrorCode::TopicAlreadyExists => {
                self.metadata().topic(name).cloned().ok_or(BrokerError::CoordinatorUnavailable)
            }
            Err(error) => Err(error),
        }
    }

    fn creation_of(&self, topic: &NewTopic) -> Result<CreateTopic, BrokerError> {
        TopicConfig::effective(&topic.configs, self.effective_config().topic_defaults())
            .map_err(|error| BrokerError::refused(ErrorCode::InvalidConfig, error.to_string()))?;
        self.check_partitioner(&topic.name, &topic.configs, &BTreeMap::new())?;
        Ok(CreateTopic {
            name: topic.name.clone(),
            id: random_topic_id(),
            partitions: topic.partitions.unwrap_or(self.config.num_partitions),
            broker: self.config.node_id,
            configs: topic.configs.clone(),
        })
    }

    /// Makes the directories and logs of a topic's partitions from number `first` on.
    async fn make_partitions(&self, topic: &Arc<TopicImage>, first: usize) -> Result<(), BrokerError> {
        let config = self.settings(&self.effective_config()).log_config_of(topic);
        let opens: Vec<OpenPartition> = partitions_of(topic)
            .zip(&topic.partitions)
            .skip(first)
            .map(|(topic_partition, partition)| OpenPartition {
                topic_partition,
                topic_id: topic.id,
                leader_epoch: partition.leader_epoch,
                config: config.clone(),
            })
            .collect();
        let partitions = Arc::clone(&self.partitions);
        let now = self.clock.now();
        let made = tokio::task::spawn_blocking(move || {
            opens.iter().try_for_each(|open| partitions.create(open, now))
        });
        Ok(made.await.map_err(|_| BrokerError::UnknownPartition)??)
    }
}

pub(super) fn partitions_of(topic: &TopicImage) -> impl Iterator<Item = TopicPartition> + '_ {
    (0..topic.partition_count())
        .filter_map(PartitionIndex::from_wire)
        .map(|index| TopicPartition::new(topic.name.clone(), index))
}

pub(super) fn changed_configs(topic: &TopicImage, configs: &BTreeMap<String, String>) -> Vec<MetadataRecord> {
    let topic_id = topic.id.bytes();
    let removed = topic.configs.keys().filter(|key| !configs.contains_key(*key));
    let removed = removed.map(|key| MetadataRecord::TopicConfig { topic_id, key: key.clone(), value: None });
    let set = configs.iter().filter(|(key, value)| topic.configs.get(*key) != Some(value));
    let set = set.map(|(key, value)| MetadataRecord::TopicConfig {
        topic_id,
        key: key.clone(),
        value: Some(value.clone()),
    });
    removed.chain(set).collect()
}

fn refused(refusal: MetadataRefusal) -> BrokerError {
    BrokerError::Refused { code: refusal.code, message: refusal.message }
}
