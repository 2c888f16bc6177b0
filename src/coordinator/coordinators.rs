//! All shards of this broker: each is started when first needed, or at start if its log holds
//! something, so that decided transactions end and timed-out ones abort without anybody asking.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, Timestamp};
use crate::coordinator::Replayed;
use crate::coordinator::group::{
    self, GroupConfig, GroupOutput, GroupRecord, GroupShard, KeptGroups, KnownTopics,
};
use crate::coordinator::markers;
use crate::coordinator::runtime::{Shard, ShardHandle, ShardSurroundings, Unavailable, spawn};
use crate::coordinator::txn::{self, TxnConfig, TxnOutput, TxnRecord, TxnShard};
use crate::disk::Disk;
use crate::ids::{CoordinatorEpoch, GroupId, PartitionIndex, TopicName, TopicPartition};
use crate::partition::{Partition, PartitionRegistry};

/// What all shards share.
#[derive(Clone)]
pub struct CoordinatorSettings {
    /// The disk under the internal topics.
    pub disk: Disk,
    /// The time.
    pub clock: Clock,
    /// All partitions of this broker: markers go to any of them.
    pub partitions: Arc<PartitionRegistry>,
    /// Options of group shards.
    pub group: GroupConfig,
    /// Options of transaction shards.
    pub txn: TxnConfig,
    /// Whose offsets do not expire.
    pub kept_groups: Arc<KeptGroupsSource>,
    /// The topics that there are: always as they are now.
    pub topics: Arc<ArcSwap<KnownTopics>>,
    /// The groups' internal topic.
    pub offsets_topic: TopicName,
    /// The transactions' internal topic.
    pub transaction_topic: TopicName,
    /// Turns true when the broker stops.
    pub shutdown: watch::Receiver<bool>,
}

/// The groups that a higher room keeps: always as they are now.
pub type KeptGroupNames = ArcSwap<BTreeSet<GroupId>>;

/// Where the shards look for them; nothing there until it is known what is deployed.
pub type KeptGroupsSource = ArcSwapOption<KeptGroupNames>;

/// All shards of this broker.
#[derive(Clone)]
pub struct Coordinators {
    shared: Arc<Shared>,
}

struct Shared {
    settings: CoordinatorSettings,
    groups: DashMap<PartitionIndex, ShardHandle<GroupShard>>,
    txns: DashMap<PartitionIndex, ShardHandle<TxnShard>>,
    marker_effects: mpsc::UnboundedSender<(PartitionIndex, txn::Effect)>,
}

impl Coordinators {
    /// No shard runs yet; the task that writes markers does.
    pub fn new(settings: CoordinatorSettings) -> Coordinators {
        let (marker_effects, effects) = mpsc::unbounded_channel();
        let shared = Shared { settings, groups: DashMap::new(), txns: DashMap::new(), marker_effects };
        let coordinators = Coordinators { shared: Arc::new(shared) };
        tokio::spawn(markers::run(coordinators.clone(), effects));
        coordinators
    }

    /// What all shards share.
    pub fn settings(&self) -> &CoordinatorSettings {
        &self.shared.settings
    }

    /// Starts the shards whose logs hold something.
    pub fn start_loaded(&self) {
        for partition in self.shared.settings.partitions.all() {
            let offsets = partition.offsets();
            if offsets.log_end_offset == offsets.log_start_offset {
                continue;
            }
            let TopicPartition { topic, partition: index } = partition.topic_partition();
            // A partition that has just been listed is there; a shard that cannot start is asked
            // for again by its first request.
            if *topic == self.shared.settings.transaction_topic {
                let _ = self.txn_shard(*index);
            } else if *topic == self.shared.settings.offsets_topic {
                let _ = self.group_shard(*index);
            }
        }
    }

    /// The shard of one partition of the groups' topic.
    pub fn group_shard(&self, index: PartitionIndex) -> Result<ShardHandle<GroupShard>, Unavailable> {
        let settings = &self.shared.settings;
        let config = settings.group.clone();
        let kept = Arc::clone(&settings.kept_groups);
        let topics = Arc::clone(&settings.topics);
        let kind = Kind {
            empty: Box::new(move || GroupShard::new(config.clone(), topics.load_full())),
            effects: Box::new(|effect: group::Effect| match effect {}),
            tick: Box::new(move || group::Event::Tick { kept: kept_groups(&kept) }),
        };
        self.shard(&self.shared.groups, &settings.offsets_topic, index, kind)
    }

    /// The shard of one partition of the transactions' topic.
    pub fn txn_shard(&self, index: PartitionIndex) -> Result<ShardHandle<TxnShard>, Unavailable> {
        let settings = &self.shared.settings;
        let config = settings.txn.clone();
        let markers = self.shared.marker_effects.clone();
        let kind = Kind {
            empty: Box::new(move || TxnShard::new(config.clone())),
            effects: Box::new(move |effect| {
                // The task that writes markers ends only with the broker.
                let _ = markers.send((index, effect));
            }),
            tick: Box::new(|| txn::Event::Tick),
        };
        self.shard(&self.shared.txns, &settings.transaction_topic, index, kind)
    }

    /// Tells every group shard which topics there are now.
    pub async fn topics_changed(&self, topics: KnownTopics) {
        let topics = Arc::new(topics);
        self.shared.settings.topics.store(Arc::clone(&topics));
        let shards: Vec<_> = self.shared.groups.iter().map(|entry| entry.value().clone()).collect();
        for shard in shards {
            // A shard that has ended looks for itself when it loads again.
            let _ = shard.tell(group::Event::TopicsChanged { topics: Arc::clone(&topics) }).await;
        }
    }

    /// Tells every group shard that a topic's offsets mean nothing any more.
    pub async fn topic_deleted(&self, topic: &TopicName) {
        let shards: Vec<_> = self.shared.groups.iter().map(|entry| entry.value().clone()).collect();
        for shard in shards {
            // A shard that has ended forgets on its own: fetching an unknown topic's offset finds none.
            let _ = shard.tell(group::Event::TopicDeleted { topic: topic.clone() }).await;
        }
    }

    fn shard<S: Shard>(
        &self,
        shards: &DashMap<PartitionIndex, ShardHandle<S>>,
        topic: &TopicName,
        index: PartitionIndex,
        kind: Kind<S>,
    ) -> Result<ShardHandle<S>, Unavailable> {
        if let Some(shard) = shards.get(&index).filter(|shard| !shard.is_closed()) {
            return Ok(shard.clone());
        }
        let partition = self.partition(topic, index)?;
        let start = || {
            spawn(ShardSurroundings {
                partition,
                disk: self.shared.settings.disk.clone(),
                clock: self.shared.settings.clock.clone(),
                empty: kind.empty,
                effects: kind.effects,
                tick: kind.tick,
                shutdown: self.shared.settings.shutdown.clone(),
            })
        };
        // Under the entry's lock, so that no partition ever has two owners.
        let mut entry = shards.entry(index).or_insert_with(|| ShardHandle::closed());
        if entry.is_closed() {
            *entry = start();
        }
        Ok(entry.clone())
    }

    fn partition(&self, topic: &TopicName, index: PartitionIndex) -> Result<Arc<Partition>, Unavailable> {
        let topic_partition = TopicPartition::new(topic.clone(), index);
        self.shared.settings.partitions.get(&topic_partition).ok_or(Unavailable)
    }
}

/// What differs between the two kinds of shards.
struct Kind<S: Shard> {
    empty: Box<dyn Fn() -> S + Send + Sync>,
    effects: Box<dyn Fn(S::Effect) + Send + Sync>,
    tick: Box<dyn Fn() -> S::Event + Send + Sync>,
}

fn kept_groups(source: &KeptGroupsSource) -> KeptGroups {
    match source.load_full() {
        Some(names) => KeptGroups::Known(names.load_full()),
        None => KeptGroups::Unknown,
    }
}

impl Shard for GroupShard {
    type Event = group::Event;
    type Record = GroupRecord;
    type Reply = group::Reply;
    type Effect = group::Effect;

    fn step(&mut self, now: Timestamp, event: group::Event) -> GroupOutput {
        GroupShard::step(self, now, event)
    }

    fn replay(&mut self, entry: Replayed<GroupRecord>) {
        GroupShard::replay(self, entry);
    }

    fn resume(&mut self, now: Timestamp, epoch: CoordinatorEpoch) -> Vec<group::Effect> {
        GroupShard::resume(self, now, epoch)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        GroupShard::next_deadline(self)
    }

    fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<GroupRecord>, String> {
        GroupRecord::decode(key, value).map_err(|error| error.to_string())
    }
}

impl Shard for TxnShard {
    type Event = txn::Event;
    type Record = TxnRecord;
    type Reply = txn::Reply;
    type Effect = txn::Effect;

    fn step(&mut self, now: Timestamp, event: txn::Event) -> TxnOutput {
        TxnShard::step(self, now, event)
    }

    fn replay(&mut self, entry: Replayed<TxnRecord>) {
        TxnShard::replay(self, entry);
    }

    fn resume(&mut self, now: Timestamp, epoch: CoordinatorEpoch) -> Vec<txn::Effect> {
        TxnShard::resume(self, now, epoch)
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        TxnShard::next_deadline(self)
    }

    fn encode(record: &TxnRecord) -> (Bytes, Option<Bytes>) {
        record.encode()
    }

    fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<TxnRecord>, String> {
        TxnRecord::decode(key, value).map_err(|error| error.to_string())
    }
}
