//! The soft state of a group with members: who is in, who waits for what, until when. None of it
//! survives a crash; `LiveGroup::restored` makes it anew from the stored generation.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::{GroupInstanceId, MemberId, TopicName};

use super::event::JoinProtocol;
use super::record::{GroupMetadata, MemberMetadata};
use super::reply::GroupState;
use super::subscription::{CONSUMER_PROTOCOL_TYPE, subscribed_topics};

/// A group that has members, or has given out member ids.
#[derive(Debug)]
pub(super) struct LiveGroup {
    pub(super) phase: Phase,
    /// The type of its members' protocols; "" before the first member.
    pub(super) protocol_type: String,
    /// The member that assigns; one of `members`.
    pub(super) leader: Option<MemberId>,
    pub(super) members: BTreeMap<MemberId, Member>,
    /// Which member each `group.instance.id` stands for at present.
    pub(super) static_members: BTreeMap<GroupInstanceId, MemberId>,
    /// Ids given out with `MEMBER_ID_REQUIRED`, each until its deadline.
    pub(super) expected_members: BTreeMap<MemberId, Timestamp>,
    /// Members of this generation that have not asked for their assignment.
    pub(super) pending_sync: BTreeSet<MemberId>,
    /// When those are thrown out.
    pub(super) sync_deadline: Option<Timestamp>,
    /// Under which moment the shard has filed this group; never after the true next deadline.
    pub(super) filed_under: Option<Timestamp>,
}

/// Where a live group stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// No members yet, only expected ones.
    Empty,
    /// Members join again until the deadline.
    PreparingRebalance {
        deadline: Timestamp,
        /// There if the group was empty before: it then waits for more members in any case.
        initial: Option<InitialDelay>,
    },
    /// The leader's assignment is awaited.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

/// `group.initial.rebalance.delay.ms` at work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct InitialDelay {
    /// How far it may still be extended.
    pub(super) remaining: Duration,
    pub(super) arrivals: Arrivals,
}

/// Whether further members have come since the delay was last set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrivals {
    None,
    Some,
}

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group_instance_id: Option<GroupInstanceId>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    /// Preferred first.
    pub(super) protocols: Vec<JoinProtocol>,
    pub(super) awaiting_join: Option<RequestId>,
    pub(super) awaiting_sync: Option<RequestId>,
    pub(super) session_deadline: Timestamp,
    pub(super) standing: Standing,
}

/// Whether a member has been through a join phase. A new one cannot send heartbeats yet, so its
/// deadline holds even while its JoinGroup is parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    New,
    Known,
}

impl Default for LiveGroup {
    fn default() -> Self {
        LiveGroup {
            phase: Phase::Empty,
            protocol_type: String::new(),
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            expected_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            sync_deadline: None,
            filed_under: None,
        }
    }
}

impl LiveGroup {
    /// The group as its stored generation tells, with fresh session deadlines. A generation without
    /// an assignment was lost between join and sync: it waits for its leader again. A
    /// group that a smaller `group.max.size` no longer admits rebalances at once.
    pub(super) fn restored(now: Timestamp, metadata: &GroupMetadata, size_max: usize) -> LiveGroup {
        let protocol = metadata.protocol.clone().unwrap_or_default();
        let members: BTreeMap<MemberId, Member> = metadata
            .members
            .iter()
            .map(|stored| (stored.member_id.clone(), Member::restored(now, stored, &protocol)))
            .collect();
        let static_members = members
            .iter()
            .filter_map(|(id, member)| Some((member.group_instance_id.clone()?, id.clone())))
            .collect();
        let leader = metadata.leader.clone().filter(|leader| members.contains_key(leader));
        let mut live = LiveGroup {
            phase: Phase::Stable,
            protocol_type: metadata.protocol_type.clone(),
            leader: leader.or_else(|| members.keys().next().cloned()),
            members,
            static_members,
            ..LiveGroup::default()
        };
        if live.members.len() > size_max {
            let deadline = now.plus(live.rebalance_timeout());
            live.phase = Phase::PreparingRebalance { deadline, initial: None };
        } else if !metadata.is_assigned() {
            live.await_syncs(now);
        }
        live
    }

    /// A stable group of consumers that were members of a group of the new protocol.
    pub(super) fn of_consumers(members: BTreeMap<MemberId, Member>) -> LiveGroup {
        let static_members = members
            .iter()
            .filter_map(|(id, member)| Some((member.group_instance_id.clone()?, id.clone())))
            .collect();
        LiveGroup {
            phase: Phase::Stable,
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            members,
            static_members,
            ..LiveGroup::default()
        }
    }

    /// Enters the phase in which every member must ask for its assignment.
    pub(super) fn await_syncs(&mut self, now: Timestamp) {
        self.phase = Phase::CompletingRebalance;
        self.pending_sync = self.members.keys().cloned().collect();
        self.sync_deadline = Some(now.plus(self.rebalance_timeout()));
    }

    pub(super) fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::PreparingRebalance { .. } => GroupState::PreparingRebalance,
            Phase::CompletingRebalance => GroupState::CompletingRebalance,
            Phase::Stable => GroupState::Stable,
        }
    }

    /// Whether nothing is lost by forgetting it.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Empty && self.expected_members.is_empty()
    }

    pub(super) fn is_leader(&self, member_id: &MemberId) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    /// Whether a request from this member, by this instance id, is to be believed.
    pub(super) fn check_member(
        &self,
        member_id: Option<&MemberId>,
        instance: Option<&GroupInstanceId>,
    ) -> Result<MemberId, ErrorCode> {
        if let Some(instance) = instance {
            let current = self.static_members.get(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if Some(current) != member_id {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        member_id.filter(|id| self.members.contains_key(*id)).cloned().ok_or(ErrorCode::UnknownMemberId)
    }

    /// The longest that any member wants a rebalance to wait.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        let longest_ms = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        milliseconds(longest_ms.unwrap_or(0))
    }

    pub(super) fn awaiting_join_count(&self) -> usize {
        self.members.values().filter(|member| member.awaiting_join.is_some()).count()
    }

    pub(super) fn have_all_joined(&self) -> bool {
        self.expected_members.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    /// Whether a member with these protocols can be in the group: it shares one with everybody.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[JoinProtocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type == protocol_type
            && protocols.iter().any(|protocol| self.all_support(&protocol.name))
    }

    /// The protocol of the next generation: each member votes for the one it prefers among those
    /// that all support; a tie goes to the first name, so that the choice never depends on chance.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let candidates: BTreeSet<&str> = first
            .protocols
            .iter()
            .map(|protocol| protocol.name.as_str())
            .filter(|name| self.all_support(name))
            .collect();
        let mut votes: BTreeMap<&str, usize> = candidates.iter().map(|name| (*name, 0)).collect();
        for member in self.members.values() {
            let mut names = member.protocols.iter().map(|protocol| protocol.name.as_str());
            if let Some(preferred) = names.find(|name| candidates.contains(name)) {
                *votes.entry(preferred).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// Makes sure that the leader is a member that has joined again; false if none has.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |id: &MemberId| self.members.get(id).is_some_and(|m| m.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.iter().find(|(_, member)| member.awaiting_join.is_some());
        match joined.map(|(id, _)| id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// Whether some member's subscription names the topic. A consumer whose subscription cannot be
    /// read may be subscribed to anything.
    pub(super) fn is_subscribed_to(&self, topic: &TopicName) -> bool {
        self.protocol_type == CONSUMER_PROTOCOL_TYPE
            && self.members.values().flat_map(|member| &member.protocols).any(|protocol| {
                subscribed_topics(&protocol.metadata).is_none_or(|topics| topics.contains(topic))
            })
    }

    /// An upper bound of the stored generation's size before assignments.
    pub(super) fn metadata_bytes_max(&self) -> usize {
        self.members.iter().map(|(id, member)| member.bytes_max(id)).sum()
    }

    /// The stored form of its members under `protocol`.
    pub(super) fn members_for_record(
        &self,
        protocol: &str,
        assignment_of: impl Fn(&MemberId) -> Bytes,
    ) -> Vec<MemberMetadata> {
        self.members
            .iter()
            .map(|(id, member)| MemberMetadata {
                member_id: id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: member.metadata_for(protocol),
                assignment: assignment_of(id),
            })
            .collect()
    }

    /// The next moment at which time alone changes something.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let join_deadline = match self.phase {
            Phase::PreparingRebalance { deadline, .. } => Some(deadline),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => None,
        };
        let sessions =
            self.members.values().filter(|member| member.can_expire()).map(|member| member.session_deadline);
        let expected = self.expected_members.values().copied();
        sessions.chain(expected).chain(join_deadline).chain(self.sync_deadline).min()
    }

    fn all_support(&self, protocol: &str) -> bool {
        self.members.values().all(|member| member.protocols.iter().any(|own| own.name == protocol))
    }
}

impl Member {
    /// A member that has been through a join phase, with its session and rebalance time-outs; its session is for
    /// the caller to begin.
    pub(super) fn known(
        (session_timeout_ms, rebalance_timeout_ms): (i32, i32),
        protocols: Vec<JoinProtocol>,
    ) -> Member {
        Member {
            group_instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms,
            rebalance_timeout_ms,
            protocols,
            awaiting_join: None,
            awaiting_sync: None,
            session_deadline: Timestamp::ZERO,
            standing: Standing::Known,
        }
    }

    /// Says that it has just been heard of.
    pub(super) fn refresh_session(&mut self, now: Timestamp) {
        self.session_deadline = now.plus(milliseconds(self.session_timeout_ms));
    }

    /// A member that waits for our answer cannot be expected to send heartbeats.
    pub(super) fn can_expire(&self) -> bool {
        match self.standing {
            Standing::New => true,
            Standing::Known => self.awaiting_join.is_none() && self.awaiting_sync.is_none(),
        }
    }

    /// Its subscription for a protocol.
    pub(super) fn metadata_for(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|own| own.name == protocol);
        found.map(|own| own.metadata.clone()).unwrap_or_default()
    }

    fn bytes_max(&self, id: &MemberId) -> usize {
        let instance_bytes = self.group_instance_id.as_ref().map_or(0, |instance| instance.as_str().len());
        let metadata_bytes = self.protocols.iter().map(|protocol| protocol.metadata.len()).max().unwrap_or(0);
        24 + id.as_str().len()
            + instance_bytes
            + self.client_id.len()
            + self.client_host.len()
            + metadata_bytes
    }

    fn restored(now: Timestamp, stored: &MemberMetadata, protocol: &str) -> Member {
        let protocol = JoinProtocol { name: protocol.to_owned(), metadata: stored.subscription.clone() };
        let timeouts_ms = (stored.session_timeout_ms, stored.rebalance_timeout_ms);
        let mut member = Member::known(timeouts_ms, vec![protocol]);
        member.group_instance_id.clone_from(&stored.group_instance_id);
        member.client_id.clone_from(&stored.client_id);
        member.client_host.clone_from(&stored.client_host);
        member.refresh_session(now);
        member
    }
}

/// A timeout from the wire; negative ones count as none.
pub(super) fn milliseconds(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}
