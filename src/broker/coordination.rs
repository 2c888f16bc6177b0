//! Which shard answers for a group or a transactional id, and the shards' settings.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::broker::{Broker, BrokerError, OFFSETS_TOPIC, TRANSACTION_TOPIC};
use crate::clock::Clock;
use crate::config::{GroupOptions, ServerConfig};
use crate::coordinator::group::{
    self, Assignor, ConsumerGroupConfig, GroupConfig, GroupShard, KnownTopics, MigrationPolicy,
    SubscribedTopic,
};
use crate::coordinator::txn::{self, TxnConfig, TxnShard};
use crate::coordinator::{CoordinatorSettings, KeptGroupNames, RequestId, ShardHandle, Unavailable};
use crate::disk::Disk;
use crate::ids::{
    GroupId, PartitionIndex, TopicName, TopicPartition, TransactionalId, coordinator_partition,
};
use crate::metadata::MetadataImage;
use crate::partition::PartitionRegistry;

/// The two kinds of coordinators that clients look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CoordinatorKind {
    /// Of a consumer group.
    Group,
    /// Of a transactional id.
    Transaction,
}

impl From<Unavailable> for BrokerError {
    fn from(_: Unavailable) -> Self {
        BrokerError::CoordinatorUnavailable
    }
}

pub(super) fn settings(
    config: &ServerConfig,
    disk: &Disk,
    clock: &Clock,
    (image, partitions): (&MetadataImage, &Arc<PartitionRegistry>),
    shutdown: watch::Receiver<bool>,
) -> CoordinatorSettings {
    let groups = &config.groups;
    CoordinatorSettings {
        topics: Arc::new(ArcSwap::from_pointee(known_topics(image))),
        disk: disk.clone(),
        clock: clock.clone(),
        partitions: Arc::clone(partitions),
        group: GroupConfig {
            initial_rebalance_delay: groups.initial_rebalance_delay,
            session_timeout_min: groups.session_timeout_min,
            session_timeout_max: groups.session_timeout_max,
            group_size_max: groups.group_size_max,
            offset_metadata_bytes_max: groups.offset_metadata_bytes_max,
            offsets_retention: groups.offsets_retention,
            offsets_retention_check_interval: groups.offsets_retention_check_interval,
            consumer: consumer_config(groups),
            ..GroupConfig::default()
        },
        txn: TxnConfig {
            transaction_timeout_max: config.transactions.timeout_max,
            transactional_id_expiration: config.transactions.transactional_id_expiration,
            ..TxnConfig::default()
        },
        kept_groups: Arc::default(),
        offsets_topic: TopicName::new(OFFSETS_TOPIC),
        transaction_topic: TopicName::new(TRANSACTION_TOPIC),
        shutdown,
    }
}

/// The settings' words are checked when they are read.
fn consumer_config(groups: &GroupOptions) -> ConsumerGroupConfig {
    let consumer = &groups.consumer;
    ConsumerGroupConfig {
        session_timeout: consumer.session_timeout,
        heartbeat_interval: consumer.heartbeat_interval,
        group_size_max: consumer.group_size_max,
        assignors: consumer.assignors.iter().filter_map(|name| Assignor::from_name(name)).collect(),
        migration_policy: MigrationPolicy::from_name(&consumer.migration_policy)
            .unwrap_or(MigrationPolicy::Disabled),
    }
}

/// What groups must know of the topics.
pub(super) fn known_topics(image: &MetadataImage) -> KnownTopics {
    let topics = image.topics().map(|topic| {
        (topic.name.clone(), SubscribedTopic { id: topic.id, partitions: topic.partition_count() })
    });
    KnownTopics::new(topics)
}

impl Broker {
    /// The assignors that members may ask for.
    pub fn allows_assignor(&self, name: &str) -> bool {
        self.config.groups.consumer.assignors.iter().any(|allowed| allowed == name)
    }

    /// How long the text beside a committed offset may be (`offset.metadata.max.bytes`).
    pub fn offset_metadata_bytes_max(&self) -> usize {
        self.config.groups.offset_metadata_bytes_max
    }

    /// Says whose committed offsets never expire; until this is called nobody's do.
    pub fn set_kept_groups(&self, groups: Arc<KeptGroupNames>) {
        self.coordinators.settings().kept_groups.store(Some(groups));
    }

    /// Makes sure that the internal topic behind a coordinator exists.
    pub async fn prepare_coordinator(&self, kind: CoordinatorKind) -> Result<(), BrokerError> {
        match kind {
            CoordinatorKind::Group => self.offsets_topic().await.map(|_| ()),
            CoordinatorKind::Transaction => self.transaction_topic().await.map(|_| ()),
        }
    }

    /// The partition of `__consumer_offsets` that holds a group.
    pub async fn group_partition(&self, group: &GroupId) -> Result<TopicPartition, BrokerError> {
        let topic = self.offsets_topic().await?;
        let index = coordinator_partition(group.as_str(), topic.partition_count());
        Ok(TopicPartition::new(topic.name.clone(), index))
    }

    /// Hands an event to a group's shard; the answer comes later.
    pub async fn ask_group(
        &self,
        group: &GroupId,
        event: impl FnOnce(RequestId) -> group::Event + Send + 'static,
    ) -> Result<PendingReply<group::Reply>, BrokerError> {
        let partition = self.group_partition(group).await?;
        let shard = self.coordinators.group_shard(partition.partition)?;
        Ok(PendingReply(shard.ask(move |request, _| event(request)).await?))
    }

    /// The shards of all groups.
    pub fn group_shards(&self) -> Vec<ShardHandle<GroupShard>> {
        let count = self.metadata().topic(OFFSETS_TOPIC).map_or(0, |topic| topic.partition_count());
        let indexes = (0..count).filter_map(PartitionIndex::from_wire);
        indexes.filter_map(|index| self.coordinators.group_shard(index).ok()).collect()
    }

    /// Hands an event to a transactional id's shard; the answer comes later.
    pub(super) async fn ask_txn(
        &self,
        id: &TransactionalId,
        event: impl FnOnce(RequestId, &TxnShard) -> txn::Event + Send + 'static,
    ) -> Result<PendingReply<txn::Reply>, BrokerError> {
        Ok(PendingReply(self.txn_shard(id).await?.ask(event).await?))
    }

    /// The shard of a transactional id.
    pub(super) async fn txn_shard(&self, id: &TransactionalId) -> Result<ShardHandle<TxnShard>, BrokerError> {
        let topic = self.transaction_topic().await?;
        let index = coordinator_partition(id.as_str(), topic.partition_count());
        Ok(self.coordinators.txn_shard(index)?)
    }

    /// The shards of all transactional ids.
    pub fn txn_shards(&self) -> Vec<ShardHandle<TxnShard>> {
        let count = self.metadata().topic(TRANSACTION_TOPIC).map_or(0, |topic| topic.partition_count());
        let indexes = (0..count).filter_map(PartitionIndex::from_wire);
        indexes.filter_map(|index| self.coordinators.txn_shard(index).ok()).collect()
    }
}

/// An answer that a coordinator owes.
pub struct PendingReply<R>(tokio::sync::oneshot::Receiver<R>);

impl<R> PendingReply<R> {
    /// Waits for it. No answer means that the shard was dropped meanwhile.
    pub async fn answer(self) -> Result<R, BrokerError> {
        self.0.await.map_err(|_| BrokerError::CoordinatorUnavailable)
    }
}
