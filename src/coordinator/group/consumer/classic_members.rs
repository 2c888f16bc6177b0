//! Members of the classic protocol in a group of the new one (KIP-848, "online migration"): JoinGroup, SyncGroup,
//! Heartbeat and LeaveGroup are answered from the group's target. A rebalance is to them that they are told to join
//! again; what they give up they name, as consumers do, in the subscription that they join with.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::coordinator::RequestId;
use crate::coordinator::group::GroupShard;
use crate::coordinator::group::event::{FirstJoin, JoinGroup, LeavingMember, MemberOfGeneration, SyncGroup};
use crate::coordinator::group::live::milliseconds;
use crate::coordinator::group::outbox::Outbox;
use crate::coordinator::group::record::fits_record;
use crate::coordinator::group::reply::{
    JoinReply, LeaderAssignment, LeaveReply, LeftMember, Reply, SyncReply,
};
use crate::coordinator::group::subscription::{CONSUMER_PROTOCOL_TYPE, Subscription, assignment_bytes};
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, GroupInstanceId, MemberId, TopicIdPartition, TopicPartition};

use super::KnownTopics;
use super::reconcile::{CurrentAssignment, MemberState};
use super::record::{ClassicMember, ConsumerMember};
use super::step::ConsumerStep;

impl GroupShard {
    /// Whether requests of the classic protocol meet members of a group of the new one.
    pub(in crate::coordinator::group) fn has_consumer_members(&self, group: &GroupId) -> bool {
        self.store.consumer(group).is_some_and(|state| !state.members().is_empty())
    }

    pub(in crate::coordinator::group) fn classic_join(
        &mut self,
        (now, request): (Timestamp, RequestId),
        join: JoinGroup,
        out: &mut Outbox,
    ) {
        let (group, asked_by) = (join.group.clone(), join.member_id.clone());
        let joined = self.in_consumer_group(now, &group, out, |step| step.classic_join(join));
        let reply = joined.unwrap_or_else(|error| match error {
            JoinRefusal::NeedsMemberId(fresh) => JoinReply::error(ErrorCode::MemberIdRequired, Some(fresh)),
            JoinRefusal::Code(code) => JoinReply::error(code, asked_by),
        });
        out.reply(request, Reply::JoinGroup(reply));
    }

    pub(in crate::coordinator::group) fn classic_sync(
        &mut self,
        (now, request): (Timestamp, RequestId),
        sync: &SyncGroup,
        out: &mut Outbox,
    ) {
        let synced = self.in_consumer_group(now, &sync.group, out, |step| step.classic_sync(sync));
        out.reply(request, Reply::SyncGroup(synced.unwrap_or_else(SyncReply::error)));
    }

    pub(in crate::coordinator::group) fn classic_heartbeat(
        &mut self,
        (now, request): (Timestamp, RequestId),
        group: &GroupId,
        member: &MemberOfGeneration,
        out: &mut Outbox,
    ) {
        let beat = self.in_consumer_group(now, group, out, |step| step.classic_heartbeat(member));
        out.reply(request, Reply::Heartbeat(beat.err().unwrap_or(ErrorCode::None)));
    }

    pub(in crate::coordinator::group) fn classic_leave(
        &mut self,
        (now, request): (Timestamp, RequestId),
        group: &GroupId,
        members: Vec<LeavingMember>,
        out: &mut Outbox,
    ) {
        let members = self.in_consumer_group(now, group, out, |step| step.classic_leave(members));
        self.downgrade_if_due(now, group, out);
        out.reply(request, Reply::LeaveGroup(LeaveReply { error: ErrorCode::None, members }));
    }
}

/// Why a member of the classic protocol does not get in.
enum JoinRefusal {
    NeedsMemberId(MemberId),
    Code(ErrorCode),
}

impl From<ErrorCode> for JoinRefusal {
    fn from(code: ErrorCode) -> JoinRefusal {
        JoinRefusal::Code(code)
    }
}

impl ConsumerStep<'_> {
    fn classic_join(&mut self, join: JoinGroup) -> Result<JoinReply, JoinRefusal> {
        let subscription = self.check_protocols(&join)?;
        let replaces = self.place_of(&join)?;
        if join.member_id.is_none()
            && join.group_instance_id.is_none()
            && join.first_join == FirstJoin::NeedsMemberId
        {
            return Err(JoinRefusal::NeedsMemberId(join.fresh_member_id));
        }
        let member_id = join.member_id.unwrap_or(join.fresh_member_id);
        if let Some(old) = &replaces {
            self.replace_member(old, &member_id);
        }
        let before = self.state().member(&member_id);
        let instance = before.and_then(|before| before.group_instance_id.clone());
        let member = ConsumerMember {
            group_instance_id: join.group_instance_id.or(instance),
            rack_id: subscription.rack_id,
            client_id: join.client_id,
            client_host: join.client_host,
            topic_names: subscription.topics,
            topic_regex: None,
            rebalance_timeout_ms: join.rebalance_timeout_ms.max(0),
            server_assignor: None,
            classic: Some(ClassicMember {
                session_timeout_ms: join.session_timeout_ms,
                protocols: join.protocols,
            }),
        };
        let protocol = member.classic.as_ref().and_then(|classic| classic.protocols.first());
        let protocol = protocol.map(|protocol| protocol.name.clone());
        self.timers.refresh_session(self.now, self.config, &member_id, &member);
        self.timers.set_task(&member_id, self.now.plus(milliseconds(member.rebalance_timeout_ms)));
        let subscriptions = self.update_member(&member_id, member);
        self.refresh(subscriptions);
        self.assign();
        let owned = partitions_of(&subscription.owned, self.topics);
        self.reconcile_member(&member_id, Some(&owned));
        Ok(JoinReply {
            error: ErrorCode::None,
            generation: self.state().current(&member_id).epoch.map(|epoch| epoch.as_generation()),
            protocol_type: Some(CONSUMER_PROTOCOL_TYPE.to_owned()),
            protocol,
            leader: None,
            assignment: LeaderAssignment::Run,
            member_id: Some(member_id),
            members: Vec::new(),
        })
    }

    /// What the member wants, if the group can do with its protocols.
    fn check_protocols(&self, join: &JoinGroup) -> Result<Subscription, ErrorCode> {
        let classic = || self.state().members().values().filter_map(|member| member.classic.as_ref());
        let all_support =
            |name: &str| classic().all(|other| other.protocols.iter().any(|protocol| protocol.name == name));
        let is_supported = join.protocol_type == CONSUMER_PROTOCOL_TYPE
            && join.protocols.iter().any(|protocol| all_support(&protocol.name));
        let first = join.protocols.first().filter(|_| is_supported);
        let subscription = first.and_then(|protocol| Subscription::read(&protocol.metadata));
        let subscription = subscription.ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let bytes: usize =
            join.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum();
        let fits = subscription.rack_id.as_deref().is_none_or(fits_record);
        if fits && bytes <= self.config.batch_bytes_max / 2 {
            Ok(subscription)
        } else {
            Err(ErrorCode::GroupMaxSizeReached)
        }
    }

    /// Whether there is a place for the member; the id of the static member whose place it takes.
    fn place_of(&self, join: &JoinGroup) -> Result<Option<MemberId>, ErrorCode> {
        let state = self.state();
        let owner = join.group_instance_id.as_ref().map(|instance| state.static_member(instance));
        let replaces = match (&join.member_id, owner) {
            (None, Some(Some(old))) => Some(old.clone()),
            (None, Some(None) | None) | (Some(_), None) => None,
            (Some(_), Some(None)) => return Err(ErrorCode::UnknownMemberId),
            (Some(id), Some(Some(owner))) if owner != id => return Err(ErrorCode::FencedInstanceId),
            (Some(_), Some(Some(_))) => None,
        };
        let is_in =
            replaces.is_some() || join.member_id.as_ref().is_some_and(|id| state.member(id).is_some());
        if is_in || state.members().len() < self.config.consumer.group_size_max {
            Ok(replaces)
        } else {
            Err(ErrorCode::GroupMaxSizeReached)
        }
    }

    /// The member of the classic protocol that a request of this generation comes from.
    fn check_classic(
        &self,
        member: &MemberOfGeneration,
    ) -> Result<(MemberId, CurrentAssignment, ConsumerMember), ErrorCode> {
        let id = member.member_id.clone().ok_or(ErrorCode::UnknownMemberId)?;
        let known =
            self.known_member(&id, member.group_instance_id.as_ref()).map_err(|refusal| refusal.code)?;
        if known.classic.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let current = self.state().current(&id);
        if current.epoch.map(|epoch| epoch.as_generation()) != member.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok((id, current, known.clone()))
    }

    fn classic_sync(&mut self, sync: &SyncGroup) -> Result<SyncReply, ErrorCode> {
        let (id, current, member) = self.check_classic(&sync.member)?;
        let Some(protocol) = member.classic.as_ref().and_then(|classic| classic.protocols.first()) else {
            return Err(ErrorCode::UnknownMemberId);
        };
        let is_same_type = sync.protocol_type.as_deref().is_none_or(|given| given == CONSUMER_PROTOCOL_TYPE);
        let is_same_protocol = sync.protocol.as_ref().is_none_or(|given| *given == protocol.name);
        if !is_same_type || !is_same_protocol {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let is_behind = self.is_behind(&current);
        if is_behind && current.state != MemberState::UnrevokedPartitions {
            return Err(self.ask_to_rejoin(&id, &member));
        }
        self.timers.refresh_session(self.now, self.config, &id, &member);
        self.timers.clear_task(&id);
        let partitions = named_partitions(&current.assigned, self.topics);
        Ok(SyncReply {
            error: ErrorCode::None,
            protocol_type: Some(CONSUMER_PROTOCOL_TYPE.to_owned()),
            protocol: Some(protocol.name.clone()),
            assignment: assignment_bytes(&protocol.metadata, &partitions),
        })
    }

    fn classic_heartbeat(&mut self, member: &MemberOfGeneration) -> Result<(), ErrorCode> {
        let (id, current, member) = self.check_classic(member)?;
        self.timers.refresh_session(self.now, self.config, &id, &member);
        let may_have_more = || {
            let target = self.state().target(&id);
            let missing = &target - &current.assigned;
            missing.iter().any(|partition| !self.state().is_held_by_others(&id, partition))
        };
        let should_rejoin = self.is_behind(&current)
            || match current.state {
                MemberState::Stable => false,
                MemberState::UnrevokedPartitions => true,
                MemberState::UnreleasedPartitions => may_have_more(),
            };
        if should_rejoin { Err(self.ask_to_rejoin(&id, &member)) } else { Ok(()) }
    }

    fn is_behind(&self, current: &CurrentAssignment) -> bool {
        current.epoch.is_none_or(|epoch| epoch < self.state().epoch().of_members())
    }

    fn ask_to_rejoin(&mut self, id: &MemberId, member: &ConsumerMember) -> ErrorCode {
        self.timers.set_task_if_none(id, self.now.plus(milliseconds(member.rebalance_timeout_ms)));
        ErrorCode::RebalanceInProgress
    }

    fn classic_leave(&mut self, members: Vec<LeavingMember>) -> Vec<LeftMember> {
        let mut gone: Vec<MemberId> = Vec::new();
        let left = members.into_iter().map(|leaving| {
            let found = self.leaving(&leaving).and_then(|id| match gone.contains(&id) {
                true => Err(ErrorCode::UnknownMemberId),
                false => Ok(id),
            });
            let error = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
            gone.extend(found.ok());
            let LeavingMember { member_id, group_instance_id } = leaving;
            LeftMember { member_id, group_instance_id, error }
        });
        let left: Vec<LeftMember> = left.collect();
        if !gone.is_empty() {
            self.remove_members(&gone);
        }
        left
    }

    fn leaving(&self, leaving: &LeavingMember) -> Result<MemberId, ErrorCode> {
        let instance: Option<&GroupInstanceId> = leaving.group_instance_id.as_ref();
        match (&leaving.member_id, instance) {
            // An admin removes a static member, of either protocol, by its instance id alone.
            (None, Some(instance)) => {
                self.state().static_member(instance).cloned().ok_or(ErrorCode::UnknownMemberId)
            }
            (None, None) => Err(ErrorCode::UnknownMemberId),
            (Some(id), instance) => {
                let member = self.known_member(id, instance).map_err(|refusal| refusal.code)?;
                member.classic.as_ref().map(|_| id.clone()).ok_or(ErrorCode::UnknownMemberId)
            }
        }
    }
}

/// Partitions by id of those named; topics that are not there are left out.
pub(super) fn partitions_of(
    named: &BTreeSet<TopicPartition>,
    topics: &KnownTopics,
) -> BTreeSet<TopicIdPartition> {
    let known = named.iter().filter_map(|TopicPartition { topic, partition }| {
        Some(TopicIdPartition { topic_id: topics.get(topic)?.id, partition: *partition })
    });
    known.collect()
}

/// Partitions by name of those given by id; topics that are gone are left out.
pub(super) fn named_partitions(
    partitions: &BTreeSet<TopicIdPartition>,
    topics: &KnownTopics,
) -> BTreeSet<TopicPartition> {
    let named = partitions.iter().filter_map(|TopicIdPartition { topic_id, partition }| {
        Some(TopicPartition::new(topics.name(*topic_id)?.clone(), *partition))
    });
    named.collect()
}
