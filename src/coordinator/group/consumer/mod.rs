//! Groups of the new consumer protocol (KIP-848): the coordinator assigns, members follow by heartbeats.
//!
//! `ConsumerGroup` is the durable state, a fold over the group's records, the same live and at recovery. What is
//! decided about it is in `heartbeat` (members of the new protocol), `classic_members` (members of the old one in
//! such a group), `migration` (from one kind of group to the other) and `timers` (what time alone does); `assignor`
//! and `reconcile` are pure functions. The rules are those of Kafka's `GroupMetadataManager`.

pub(super) mod assignor;
mod classic_members;
mod heartbeat;
mod migration;
pub(super) mod reconcile;
pub(super) mod record;
mod step;
mod subscription;
mod timers;
pub(super) mod topics;
mod view;

pub use assignor::Assignor;
pub use heartbeat::{ConsumerHeartbeat, HeartbeatReply, Intent, Refusal};
pub use migration::MigrationPolicy;
pub use reconcile::{CurrentAssignment, MemberState};
pub use record::{ClassicMember, ConsumerMember, ConsumerRecord, ResolvedRegex, SubscribedTopic, by_topic};
pub use topics::KnownTopics;
pub use view::{DescribedConsumerGroup, DescribedConsumerMember, DescribedTopic, MemberProtocol};

pub(super) use timers::MemberTimers;

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupEpoch, GroupInstanceId, MemberId, TopicId, TopicIdPartition, TopicName};

use super::reply::GroupState;

/// What a group of the new protocol has in the log. Each kind of record is a map of its own, so that the order in
/// which compaction leaves them does not matter.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConsumerGroup {
    epoch: Option<GroupEpoch>,
    topics: BTreeMap<TopicName, SubscribedTopic>,
    members: BTreeMap<MemberId, ConsumerMember>,
    target_epoch: Option<GroupEpoch>,
    targets: BTreeMap<MemberId, BTreeSet<TopicIdPartition>>,
    currents: BTreeMap<MemberId, CurrentAssignment>,
    regexes: BTreeMap<String, ResolvedRegex>,
}

impl ConsumerGroup {
    /// Folds one record in: the only change.
    pub(super) fn apply(&mut self, record: &ConsumerRecord) {
        match record {
            ConsumerRecord::Epoch(epoch) => self.epoch = *epoch,
            ConsumerRecord::Topics(topics) => self.topics = topics.clone().unwrap_or_default(),
            ConsumerRecord::Member(id, member) => put(&mut self.members, id, member),
            ConsumerRecord::TargetEpoch(epoch) => self.target_epoch = *epoch,
            ConsumerRecord::Target(id, target) => put(&mut self.targets, id, target),
            ConsumerRecord::Current(id, current) => put(&mut self.currents, id, current),
            ConsumerRecord::Regex(regex, resolved) => put(&mut self.regexes, regex, resolved),
        }
    }

    /// Whether nothing is left of it.
    pub(super) fn is_nothing(&self) -> bool {
        *self == ConsumerGroup::default()
    }

    /// Every record of it as a tombstone, the group's epoch last.
    pub(super) fn tombstones(&self) -> Vec<ConsumerRecord> {
        let currents = self.currents.keys().map(|id| ConsumerRecord::Current(id.clone(), None));
        let targets = self.targets.keys().map(|id| ConsumerRecord::Target(id.clone(), None));
        let members = self.members.keys().map(|id| ConsumerRecord::Member(id.clone(), None));
        let regexes = self.regexes.keys().map(|regex| ConsumerRecord::Regex(regex.clone(), None));
        let of_members = currents.chain(targets).chain(members).chain(regexes);
        let of_group =
            [ConsumerRecord::TargetEpoch(None), ConsumerRecord::Topics(None), ConsumerRecord::Epoch(None)];
        of_members.chain(of_group).collect()
    }

    pub(super) fn epoch(&self) -> GroupEpoch {
        self.epoch.unwrap_or(GroupEpoch::ZERO)
    }

    pub(super) fn target_epoch(&self) -> GroupEpoch {
        self.target_epoch.unwrap_or(GroupEpoch::ZERO)
    }

    pub(super) fn members(&self) -> &BTreeMap<MemberId, ConsumerMember> {
        &self.members
    }

    pub(super) fn member(&self, id: &MemberId) -> Option<&ConsumerMember> {
        self.members.get(id)
    }

    /// What a member has been told; a member without a record has only just come.
    pub(super) fn current(&self, id: &MemberId) -> CurrentAssignment {
        self.currents.get(id).cloned().unwrap_or_else(CurrentAssignment::of_newcomer)
    }

    pub(super) fn target(&self, id: &MemberId) -> BTreeSet<TopicIdPartition> {
        self.targets.get(id).cloned().unwrap_or_default()
    }

    /// Which member a `group.instance.id` stands for.
    pub(super) fn static_member(&self, instance: &GroupInstanceId) -> Option<&MemberId> {
        let found =
            self.members.iter().find(|(_, member)| member.group_instance_id.as_ref() == Some(instance));
        found.map(|(id, _)| id)
    }

    /// Whether a member other than this one holds the partition.
    pub(super) fn is_held_by_others(&self, id: &MemberId, partition: &TopicIdPartition) -> bool {
        self.currents.iter().any(|(other, current)| other != id && current.holds(partition))
    }

    /// Whether some member wants the topic.
    pub(super) fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        self.members.values().any(|member| self.wants(member, topic))
    }

    fn wants(&self, member: &ConsumerMember, topic: &TopicName) -> bool {
        let resolved = member.topic_regex.as_ref().and_then(|regex| self.regexes.get(regex));
        member.topic_names.contains(topic) || resolved.is_some_and(|resolved| resolved.topics.contains(topic))
    }

    /// The ids of the topics that a member wants and that there are.
    fn wanted_topics(&self, member: &ConsumerMember) -> BTreeSet<TopicId> {
        let wanted = self.topics.iter().filter(|(name, _)| self.wants(member, name));
        wanted.map(|(_, topic)| topic.id).collect()
    }

    pub(super) fn state(&self) -> GroupState {
        let is_reconciled = |id: &MemberId| self.current(id).is_reconciled_to(self.target_epoch());
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch() > self.target_epoch() {
            GroupState::Assigning
        } else if self.members.keys().all(is_reconciled) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }
}

fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: &Option<V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}
