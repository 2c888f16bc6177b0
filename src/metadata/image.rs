//! The metadata as it stands: a fold over the metadata log.
//!
//! `apply` is the only change. Iteration order can be seen by clients, so all maps are ordered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{BrokerId, LeaderEpoch, PartitionIndex, ProducerId, TopicId, TopicName};
use crate::metadata::record::MetadataRecord;
use crate::quota::{ClientQuotas, QuotaEntity, QuotaKind, QuotaValue};

/// One partition as the metadata sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    /// The brokers that hold it, preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// The in-sync ones.
    pub isr: Vec<BrokerId>,
    /// The leader.
    pub leader: BrokerId,
    /// The leader's epoch.
    pub leader_epoch: LeaderEpoch,
}

/// One topic as the metadata sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicImage {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionImage>,
    /// Its own settings, by Kafka's topic-level keys.
    pub configs: BTreeMap<String, String>,
}

impl TopicImage {
    /// How many partitions it has.
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("partition counts are checked at creation")
    }

    /// The partition of this number.
    pub fn partition(&self, index: PartitionIndex) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(index.value()).ok()?)
    }

    /// Whether the topic belongs to the broker itself: clients may not write to it.
    pub fn is_internal(&self) -> bool {
        is_internal_name(self.name.as_str())
    }
}

/// Whether a topic of this name belongs to the broker itself.
pub fn is_internal_name(name: &str) -> bool {
    name.starts_with("__")
}

/// What Kafka calls the metadata's own log. It is no topic, and no topic may have its name: the log's
/// directory is taken.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// What the names of ingresses begin with: the topic's own follows.
pub const INGRESS_PREFIX: &str = "__ingress.";

/// The hidden topic in which a topic's records wait for its partitioner.
pub fn ingress_name(topic: &str) -> TopicName {
    TopicName::new(format!("{INGRESS_PREFIX}{topic}"))
}

/// Whether a topic of this name is an ingress: clients do not find it in lists.
pub fn is_ingress_name(name: &str) -> bool {
    name.starts_with(INGRESS_PREFIX)
}

/// The whole metadata at one position of its log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataImage {
    cluster_id: String,
    topics: BTreeMap<TopicName, Arc<TopicImage>>,
    /// The topics that have an ingress, with its name.
    ingresses: BTreeMap<TopicName, TopicName>,
    names: BTreeMap<TopicId, TopicName>,
    /// The topics whose names have a `.` or `_`, by their names with `_` for both.
    folded_names: BTreeMap<String, TopicName>,
    broker_configs: BTreeMap<String, String>,
    own_broker_configs: BTreeMap<i32, BTreeMap<String, String>>,
    client_quotas: Arc<ClientQuotas>,
    next_producer_id: Option<ProducerId>,
    deployments: BTreeMap<String, Vec<u8>>,
}

impl MetadataImage {
    /// The cluster's id; empty before the first record.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        self.topics.values()
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// The topic whose name is this one but for `.` and `_`, of which Kafka takes one for the other; the topic of
    /// this name, if there is one.
    pub fn colliding_topic(&self, name: &str) -> Option<&TopicName> {
        self.folded_names.get(&folded(name)?)
    }

    /// The ingress of a topic, if it has one.
    pub fn ingress_of(&self, topic: &TopicName) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.ingresses.get(topic)?)
    }

    /// The dynamic settings of all brokers.
    pub fn broker_configs(&self) -> &BTreeMap<String, String> {
        &self.broker_configs
    }

    /// The dynamic settings of one broker, where it has any.
    pub fn own_broker_configs(&self, broker: BrokerId) -> Option<&BTreeMap<String, String>> {
        self.own_broker_configs.get(&broker.value())
    }

    /// The quotas of clients.
    pub fn client_quotas(&self) -> &ClientQuotas {
        &self.client_quotas
    }

    /// The first producer id that no block has covered yet.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id.unwrap_or(ProducerId::ZERO)
    }

    /// What higher rooms have deployed, by their keys, in their own bytes.
    pub fn deployments(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.deployments
    }

    /// Folds one record in: the only change of an image, live and at recovery.
    pub fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::Cluster { cluster_id } => self.cluster_id.clone_from(cluster_id),
            MetadataRecord::RegisterBroker { broker_id } => self.start_leader_epochs(*broker_id),
            MetadataRecord::Topic { name, topic_id } => self.apply_topic(name, *topic_id),
            MetadataRecord::Partition { .. } => self.apply_partition(record),
            MetadataRecord::RemoveTopic { topic_id } => {
                let id = TopicId::from_bytes(*topic_id);
                if let Some(name) = id.and_then(|id| self.names.remove(&id)) {
                    self.topics.remove(&name);
                    if let Some(folded) = folded(name.as_str()) {
                        self.folded_names.remove(&folded);
                    }
                    self.ingresses.retain(|_, ingress| *ingress != name);
                }
            }
            MetadataRecord::TopicConfig { topic_id, key, value } => {
                if let Some(topic) = self.topic_mut(*topic_id) {
                    set_or_remove(&mut topic.configs, key, value.as_deref());
                }
            }
            MetadataRecord::BrokerConfig { key, value } => {
                set_or_remove(&mut self.broker_configs, key, value.as_deref());
            }
            MetadataRecord::OwnBrokerConfig { broker_id, key, value } => {
                let own = self.own_broker_configs.entry(*broker_id).or_default();
                set_or_remove(own, key, value.as_deref());
            }
            MetadataRecord::ClientQuota { entity, key, value } => {
                self.apply_quota(entity, key, value.as_deref());
            }
            MetadataRecord::ProducerIds { next_producer_id } => {
                self.next_producer_id = ProducerId::from_wire(*next_producer_id);
            }
            MetadataRecord::Deployment { key, value } => match value {
                Some(value) => {
                    self.deployments.insert(key.clone(), value.clone());
                }
                None => {
                    self.deployments.remove(key);
                }
            },
        }
    }

    /// A quota that this build does not know is not enforced.
    fn apply_quota(&mut self, entity: &[(String, Option<String>)], key: &str, value: Option<&str>) {
        let (Ok(entity), Some(kind)) = (QuotaEntity::of_pairs(entity), QuotaKind::of_key(key)) else {
            return;
        };
        let value = value.and_then(|text| text.parse().ok());
        let value = value.and_then(|number| QuotaValue::new(kind, number).ok());
        Arc::make_mut(&mut self.client_quotas).set(&entity, kind, value);
    }

    fn topic_mut(&mut self, topic_id: [u8; 16]) -> Option<&mut TopicImage> {
        let name = self.names.get(&TopicId::from_bytes(topic_id)?)?;
        self.topics.get_mut(name).map(Arc::make_mut)
    }

    fn apply_topic(&mut self, name: &str, topic_id: [u8; 16]) {
        let Some(id) = TopicId::from_bytes(topic_id) else { return };
        let name = TopicName::new(name);
        let topic = TopicImage { name: name.clone(), id, partitions: Vec::new(), configs: BTreeMap::new() };
        self.names.insert(id, name.clone());
        if let Some(folded) = folded(name.as_str()) {
            self.folded_names.insert(folded, name.clone());
        }
        if let Some(base) = name.as_str().strip_prefix(INGRESS_PREFIX) {
            self.ingresses.insert(TopicName::new(base), name.clone());
        }
        self.topics.insert(name, Arc::new(topic));
    }

    fn apply_partition(&mut self, record: &MetadataRecord) {
        let MetadataRecord::Partition { topic_id, partition, replicas, isr, leader, leader_epoch } = record
        else {
            return;
        };
        let brokers = |ids: &[i32]| ids.iter().filter_map(|id| BrokerId::from_wire(*id)).collect();
        let (Some(leader), Some(leader_epoch)) =
            (BrokerId::from_wire(*leader), LeaderEpoch::from_wire(*leader_epoch))
        else {
            return;
        };
        let image = PartitionImage { replicas: brokers(replicas), isr: brokers(isr), leader, leader_epoch };
        let Some(topic) = self.topic_mut(*topic_id) else { return };
        match usize::try_from(*partition) {
            Ok(index) if index < topic.partitions.len() => topic.partitions[index] = image,
            Ok(index) if index == topic.partitions.len() => topic.partitions.push(image),
            Ok(_) | Err(_) => {}
        }
    }

    /// A broker that registers anew has lost what it led before: a new epoch lets everyone tell.
    fn start_leader_epochs(&mut self, broker_id: i32) {
        for topic in self.topics.values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                if partition.leader.value() == broker_id {
                    partition.leader_epoch = partition.leader_epoch.next();
                }
            }
        }
    }
}

/// A name with `_` for each `.`; `None` for one that has neither, and so collides with no other.
fn folded(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

fn set_or_remove(configs: &mut BTreeMap<String, String>, key: &str, value: Option<&str>) {
    match value {
        Some(value) => configs.insert(key.to_owned(), value.to_owned()),
        None => configs.remove(key),
    };
}

#[cfg(test)]
mod tests;
