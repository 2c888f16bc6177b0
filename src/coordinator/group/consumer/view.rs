//! ConsumerGroupDescribe: reading only.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::group::GroupShard;
use crate::coordinator::group::reply::GroupState;
use crate::error_code::ErrorCode;
use crate::ids::{
    GroupEpoch, GroupId, GroupInstanceId, MemberEpoch, MemberId, PartitionIndex, TopicId, TopicIdPartition,
    TopicName,
};

use super::assignor::Assignor;
use super::heartbeat::Refusal;
use super::record::by_topic;
use super::step::preferred_assignor;
use super::{ConsumerGroup, KnownTopics};

/// A group as ConsumerGroupDescribe shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedConsumerGroup {
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: GroupEpoch,
    /// The epoch that its target was made for.
    pub assignment_epoch: GroupEpoch,
    /// Who made it.
    pub assignor: Assignor,
    /// Its members.
    pub members: Vec<DescribedConsumerMember>,
}

/// A member as ConsumerGroupDescribe shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedConsumerMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<GroupInstanceId>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// Its epoch; `None` (-2) while a static member is away.
    pub epoch: Option<MemberEpoch>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The topics that it names.
    pub topic_names: BTreeSet<TopicName>,
    /// The regular expression for further ones.
    pub topic_regex: Option<String>,
    /// What it works on.
    pub assignment: Vec<DescribedTopic>,
    /// What it should work on.
    pub target: Vec<DescribedTopic>,
    /// Which protocol it speaks.
    pub protocol: MemberProtocol,
}

/// Partitions of one topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedTopic {
    /// The topic.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// Which protocol a member speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberProtocol {
    /// JoinGroup and SyncGroup.
    Classic,
    /// ConsumerGroupHeartbeat.
    Consumer,
}

impl GroupShard {
    pub(in crate::coordinator::group) fn describe_consumer_group(
        &self,
        group: &GroupId,
    ) -> Result<DescribedConsumerGroup, Refusal> {
        let not_found = |what: String| Refusal::new(ErrorCode::GroupIdNotFound, what);
        match self.store.consumer(group) {
            Some(state) => Ok(describe(state, &self.topics, &self.config.consumer.assignors)),
            None if self.exists(group) => Err(not_found(format!("group {group} is of the classic protocol"))),
            None => Err(not_found(format!("there is no group {group}"))),
        }
    }
}

fn describe(group: &ConsumerGroup, topics: &KnownTopics, assignors: &[Assignor]) -> DescribedConsumerGroup {
    let names: BTreeMap<TopicId, &TopicName> =
        group.topics.iter().map(|(name, topic)| (topic.id, name)).collect();
    // A topic that has gone is shown for as long as the group remembers its name.
    let described = |partitions: &BTreeSet<TopicIdPartition>| -> Vec<DescribedTopic> {
        let named = by_topic(partitions).into_iter().filter_map(|(id, partitions)| {
            let name = topics.name(id).or_else(|| names.get(&id).copied())?.clone();
            Some(DescribedTopic { id, name, partitions })
        });
        named.collect()
    };
    let members = group.members().iter().map(|(id, member)| {
        let current = group.current(id);
        DescribedConsumerMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            rack_id: member.rack_id.clone(),
            epoch: current.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topic_names: member.topic_names.clone(),
            topic_regex: member.topic_regex.clone(),
            assignment: described(&current.assigned),
            target: described(&group.target(id)),
            protocol: match member.classic {
                Some(_) => MemberProtocol::Classic,
                None => MemberProtocol::Consumer,
            },
        }
    });
    DescribedConsumerGroup {
        state: group.state(),
        epoch: group.epoch(),
        assignment_epoch: group.target_epoch(),
        assignor: preferred_assignor(group, assignors),
        members: members.collect(),
    }
}
