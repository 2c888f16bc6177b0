//! DescribeGroups and ListGroups: reading only.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::ids::{GroupId, MemberId};

use super::GroupShard;
use super::event::GroupType;
use super::live::{LiveGroup, Phase};
use super::record::GroupMetadata;
use super::reply::{DescribedGroup, DescribedMember, GroupState, ListedGroup};
use super::subscription::CONSUMER_PROTOCOL_TYPE;

impl GroupShard {
    pub(super) fn describe_groups(&self, groups: Vec<GroupId>) -> Vec<DescribedGroup> {
        groups.into_iter().map(|group| self.describe_group(group)).collect()
    }

    pub(super) fn list_groups(
        &self,
        states: Option<&[GroupState]>,
        types: Option<&[GroupType]>,
    ) -> Vec<ListedGroup> {
        let known: BTreeSet<&GroupId> =
            self.store.groups().map(|(group, _)| group).chain(self.live.keys()).collect();
        let listed = known.into_iter().map(|group| ListedGroup {
            group: group.clone(),
            protocol_type: self.protocol_type(group),
            state: self.state(group),
            group_type: match self.store.consumer(group) {
                Some(_) => GroupType::Consumer,
                None => GroupType::Classic,
            },
        });
        let is_asked_for = |group: &ListedGroup| {
            states.is_none_or(|states| states.contains(&group.state))
                && types.is_none_or(|types| types.contains(&group.group_type))
        };
        listed.filter(is_asked_for).collect()
    }

    /// A group of the new protocol is none to DescribeGroups, as in Kafka.
    fn describe_group(&self, group: GroupId) -> DescribedGroup {
        if self.store.consumer(&group).is_some() {
            return DescribedGroup {
                group,
                state: GroupState::Dead,
                protocol_type: String::new(),
                protocol: String::new(),
                members: Vec::new(),
            };
        }
        let metadata = self.store.metadata(&group);
        let live = self.live.get(&group);
        let state = self.state(&group);
        let protocol = match (state, metadata) {
            (GroupState::Stable, Some(metadata)) => metadata.protocol.clone().unwrap_or_default(),
            _ => String::new(),
        };
        let protocol_type = self.protocol_type(&group);
        let members = live.map(|live| describe_members(live, metadata)).unwrap_or_default();
        DescribedGroup { group, state, protocol_type, protocol, members }
    }

    fn state(&self, group: &GroupId) -> GroupState {
        if let Some(consumer) = self.store.consumer(group) {
            return consumer.state();
        }
        match self.live.get(group) {
            Some(live) => live.state(),
            None if self.store.group(group).is_some() => GroupState::Empty,
            None => GroupState::Dead,
        }
    }

    fn protocol_type(&self, group: &GroupId) -> String {
        if self.store.consumer(group).is_some() {
            return CONSUMER_PROTOCOL_TYPE.to_owned();
        }
        let live = self.live.get(group).map(|live| live.protocol_type.clone());
        let stored = || self.store.metadata(group).map(|metadata| metadata.protocol_type.clone());
        live.filter(|live| !live.is_empty()).or_else(stored).unwrap_or_default()
    }
}

fn describe_members(live: &LiveGroup, metadata: Option<&GroupMetadata>) -> Vec<DescribedMember> {
    // What members want and have is settled only while the group is stable.
    let settled = metadata.filter(|_| live.phase == Phase::Stable);
    let details = |id: &MemberId| -> (Bytes, Bytes) {
        let Some(metadata) = settled else { return Default::default() };
        let protocol = metadata.protocol.as_deref().unwrap_or_default();
        let subscription = live.members.get(id).map(|member| member.metadata_for(protocol));
        (subscription.unwrap_or_default(), metadata.assignment(id))
    };
    live.members
        .iter()
        .map(|(id, member)| {
            let (metadata, assignment) = details(id);
            DescribedMember {
                member_id: id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                metadata,
                assignment,
            }
        })
        .collect()
}
