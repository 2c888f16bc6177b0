//! The turns of a group's life: a rebalance begins, its join phase ends, members go, time passes.
//! The rules are those of Kafka's `GroupMetadataManager` for classic groups.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::{GenerationId, GroupId, MemberId};

use super::config::GroupConfig;
use super::live::{Arrivals, InitialDelay, LiveGroup, Phase, Standing};
use super::outbox::Outbox;
use super::record::GroupMetadata;
use super::reply::{JoinReply, JoinedMember, LeaderAssignment, Reply, SyncReply};
use super::store::Store;

/// Static members that all stay away postpone the end of a join phase by at least this long.
const JOIN_POSTPONED_BY_MIN: Duration = Duration::from_secs(1);

/// One step's view of one live group.
pub(super) struct GroupStep<'a> {
    pub(super) now: Timestamp,
    pub(super) config: &'a GroupConfig,
    pub(super) store: &'a mut Store,
    pub(super) out: &'a mut Outbox,
    pub(super) group: &'a GroupId,
    pub(super) live: &'a mut LiveGroup,
}

impl GroupStep<'_> {
    pub(super) fn generation(&self) -> GenerationId {
        self.store.generation(self.group)
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.store.metadata(self.group).and_then(|metadata| metadata.protocol.as_deref())
    }

    pub(super) fn reply_join(&mut self, request: RequestId, reply: JoinReply) {
        self.out.reply(request, Reply::JoinGroup(reply));
    }

    pub(super) fn reply_sync(&mut self, request: RequestId, reply: SyncReply) {
        self.out.reply(request, Reply::SyncGroup(reply));
    }

    /// Starts a rebalance, or goes on with the one under way.
    pub(super) fn rebalance(&mut self) {
        match self.live.phase {
            Phase::PreparingRebalance { .. } => self.complete_join_if_due(),
            Phase::Empty => {
                let delay = self.config.initial_rebalance_delay;
                let remaining = self.live.rebalance_timeout().saturating_sub(delay);
                let initial = Some(InitialDelay { remaining, arrivals: Arrivals::None });
                self.live.phase = Phase::PreparingRebalance { deadline: self.now.plus(delay), initial };
                self.complete_join_if_due();
            }
            Phase::CompletingRebalance | Phase::Stable => {
                self.answer_parked_syncs(ErrorCode::RebalanceInProgress);
                self.live.pending_sync.clear();
                self.live.sync_deadline = None;
                let deadline = self.now.plus(self.live.rebalance_timeout());
                self.live.phase = Phase::PreparingRebalance { deadline, initial: None };
                self.complete_join_if_due();
            }
        }
    }

    /// Ends the join phase if nobody is waited for any more. An initial delay is sat out even if
    /// everybody known is there: that is what it is for.
    pub(super) fn complete_join_if_due(&mut self) {
        let Phase::PreparingRebalance { initial, .. } = self.live.phase else { return };
        let is_complete = match initial {
            Some(_) => self.config.initial_rebalance_delay.is_zero(),
            None => self.live.have_all_joined(),
        };
        if is_complete || self.live.members.is_empty() {
            self.complete_join();
        }
    }

    /// What time alone brings about in this group.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.live.expected_members.retain(|_, deadline| *deadline > now);
        let expired: Vec<MemberId> = self
            .live
            .members
            .iter()
            .filter(|(_, member)| member.can_expire() && member.session_deadline <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in &expired {
            self.remove_member(member_id);
        }
        match self.live.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance { deadline, initial } => {
                self.complete_join_if_due();
                // The deadline may be of a phase that has ended just now.
                if self.live.phase == (Phase::PreparingRebalance { deadline, initial }) && deadline <= now {
                    self.join_deadline_passed(initial);
                }
            }
            Phase::CompletingRebalance | Phase::Stable => {
                let overdue = self.live.sync_deadline.is_some_and(|deadline| deadline <= now);
                if overdue {
                    self.remove_members_without_sync();
                }
                if overdue || !expired.is_empty() {
                    self.rebalance();
                }
            }
        }
    }

    /// Takes a member out and answers what it had parked; the caller rebalances.
    pub(super) fn remove_member(&mut self, member_id: &MemberId) {
        let Some(member) = self.live.members.remove(member_id) else { return };
        if let Some(request) = member.awaiting_join {
            self.reply_join(request, JoinReply::error(ErrorCode::UnknownMemberId, None));
        }
        if let Some(request) = member.awaiting_sync {
            self.reply_sync(request, SyncReply::error(ErrorCode::UnknownMemberId));
        }
        if let Some(instance) = member.group_instance_id {
            self.live.static_members.remove(&instance);
        }
        self.live.pending_sync.remove(member_id);
        if self.live.is_leader(member_id) {
            self.live.leader = self.live.members.keys().next().cloned();
        }
    }

    /// The answer to a member of the present generation.
    pub(super) fn joined_reply(&self, member_id: &MemberId) -> JoinReply {
        let members = if self.live.is_leader(member_id) { self.joined_members() } else { Vec::new() };
        JoinReply {
            error: ErrorCode::None,
            generation: Some(self.generation()),
            protocol_type: Some(self.live.protocol_type.clone()),
            protocol: self.protocol().map(str::to_owned),
            leader: self.live.leader.clone(),
            assignment: LeaderAssignment::Run,
            member_id: Some(member_id.clone()),
            members,
        }
    }

    /// Everybody, as the leader sees them.
    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol().unwrap_or_default();
        let joined = self.live.members.iter().map(|(id, member)| JoinedMember {
            member_id: id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            metadata: member.metadata_for(protocol),
        });
        joined.collect()
    }

    /// Answers every parked SyncGroup with an error.
    pub(super) fn answer_parked_syncs(&mut self, error: ErrorCode) {
        for member in self.live.members.values_mut() {
            if let Some(request) = member.awaiting_sync.take() {
                member.refresh_session(self.now);
                self.out.reply(request, Reply::SyncGroup(SyncReply::error(error)));
            }
        }
    }

    /// Tells everybody who waits to join again: the group goes on under the new protocol.
    pub(super) fn answer_everybody_parked(&mut self) {
        self.answer_parked_syncs(ErrorCode::RebalanceInProgress);
        for (id, member) in &mut self.live.members {
            if let Some(request) = member.awaiting_join.take() {
                let reply = JoinReply::error(ErrorCode::RebalanceInProgress, Some(id.clone()));
                self.out.reply(request, Reply::JoinGroup(reply));
            }
        }
    }

    fn join_deadline_passed(&mut self, initial: Option<InitialDelay>) {
        if let Some(InitialDelay { remaining, arrivals: Arrivals::Some }) = initial
            && !remaining.is_zero()
        {
            let delay = self.config.initial_rebalance_delay.min(remaining);
            let initial =
                Some(InitialDelay { remaining: remaining.saturating_sub(delay), arrivals: Arrivals::None });
            self.live.phase = Phase::PreparingRebalance { deadline: self.now.plus(delay), initial };
        } else {
            self.complete_join();
        }
    }

    /// Ends the join phase: the next generation is those who have joined, and static members that
    /// may still come back within their session.
    fn complete_join(&mut self) {
        let absent: Vec<MemberId> = self
            .live
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none() && member.group_instance_id.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        for member_id in &absent {
            self.remove_member(member_id);
        }
        if self.live.members.is_empty() {
            self.become_empty();
        } else if self.live.elect_joined_leader() {
            self.begin_generation();
        } else {
            let wait = self.live.rebalance_timeout().max(JOIN_POSTPONED_BY_MIN);
            self.live.phase = Phase::PreparingRebalance { deadline: self.now.plus(wait), initial: None };
        }
    }

    fn become_empty(&mut self) {
        let metadata = GroupMetadata {
            protocol_type: std::mem::take(&mut self.live.protocol_type),
            generation: self.generation().next(),
            protocol: None,
            leader: None,
            current_state_timestamp: Some(self.now),
            members: Vec::new(),
        };
        self.out.write_group(self.store, self.group, metadata);
        self.live.phase = Phase::Empty;
        self.live.leader = None;
    }

    /// Stores the new generation before anybody hears of it. Kafka stores it only with the leader's
    /// assignment, and so can give one number to two generations around a crash.
    fn begin_generation(&mut self) {
        let protocol =
            self.live.select_protocol().expect("a member is let in only if it shares a protocol with all");
        let metadata = GroupMetadata {
            protocol_type: self.live.protocol_type.clone(),
            generation: self.generation().next(),
            leader: self.live.leader.clone(),
            current_state_timestamp: Some(self.now),
            members: self.live.members_for_record(&protocol, |_| Bytes::new()),
            protocol: Some(protocol),
        };
        self.out.write_group(self.store, self.group, metadata);
        self.live.await_syncs(self.now);
        let member_ids: Vec<MemberId> = self.live.members.keys().cloned().collect();
        for member_id in &member_ids {
            let reply = self.joined_reply(member_id);
            let Some(member) = self.live.members.get_mut(member_id) else { continue };
            if let Some(request) = member.awaiting_join.take() {
                member.standing = Standing::Known;
                member.refresh_session(self.now);
                self.out.reply(request, Reply::JoinGroup(reply));
            }
        }
    }

    fn remove_members_without_sync(&mut self) {
        let silent = std::mem::take(&mut self.live.pending_sync);
        for member_id in &silent {
            self.remove_member(member_id);
        }
        self.live.sync_deadline = None;
    }
}
