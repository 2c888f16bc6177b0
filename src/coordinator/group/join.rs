//! JoinGroup: who is let in, under which id, and whether that means a rebalance.

use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::{GroupInstanceId, MemberId};

use super::event::{FirstJoin, JoinGroup, JoinProtocol, SkipAssignmentSupport};
use super::live::{Arrivals, Member, Phase, Standing, milliseconds};
use super::rebalance::GroupStep;
use super::record::{GroupMetadata, fits_record};
use super::reply::{JoinReply, LeaderAssignment};
use super::subscription::{CONSUMER_PROTOCOL_TYPE, subscribed_topics};

/// What a request without a look at any group already tells.
pub(super) fn check_join_request(join: &JoinGroup, session_bounds_ms: (u128, u128)) -> Result<(), ErrorCode> {
    if join.group.as_str().is_empty() || !fits_record(join.group.as_str()) {
        return Err(ErrorCode::InvalidGroupId);
    }
    let session_ms = milliseconds(join.session_timeout_ms).as_millis();
    if session_ms < session_bounds_ms.0 || session_ms > session_bounds_ms.1 {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    let instance = join.group_instance_id.as_ref().map_or("", GroupInstanceId::as_str);
    let texts =
        [join.fresh_member_id.as_str(), instance, &join.client_id, &join.client_host, &join.protocol_type];
    let names = join.protocols.iter().map(|protocol| protocol.name.as_str());
    if texts.into_iter().chain(names).all(fits_record) { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

impl GroupStep<'_> {
    /// Handles a checked JoinGroup: answers it or parks it.
    pub(super) fn join(&mut self, request: RequestId, join: JoinGroup) {
        if !self.has_room_for(&join) {
            self.reply_join(request, JoinReply::error(ErrorCode::GroupMaxSizeReached, None));
            let refused = join.member_id.filter(|member_id| self.live.members.contains_key(member_id));
            if let Some(member_id) = refused {
                self.remove_member(&member_id);
                self.rebalance();
            }
            return;
        }
        if !self.live.supports(&join.protocol_type, &join.protocols) {
            let reply = JoinReply::error(ErrorCode::InconsistentGroupProtocol, join.member_id);
            return self.reply_join(request, reply);
        }
        match join.member_id.clone() {
            None => self.join_without_id(request, join),
            Some(member_id) => self.join_with_id(request, member_id, join),
        }
    }

    fn join_without_id(&mut self, request: RequestId, join: JoinGroup) {
        let fresh = join.fresh_member_id.clone();
        let replaced = match &join.group_instance_id {
            Some(instance) => self.live.static_members.get(instance).cloned(),
            None if join.first_join == FirstJoin::NeedsMemberId => {
                let reply = if self.live.expected_members.len() < self.config.pending_members_max {
                    let deadline = self.now.plus(milliseconds(join.session_timeout_ms));
                    self.live.expected_members.insert(fresh.clone(), deadline);
                    JoinReply::error(ErrorCode::MemberIdRequired, Some(fresh))
                } else {
                    JoinReply::error(ErrorCode::GroupMaxSizeReached, None)
                };
                return self.reply_join(request, reply);
            }
            None => None,
        };
        match replaced {
            None => self.add_member(request, fresh, join),
            Some(old) => self.replace_static_member(request, &old, join),
        }
    }

    fn join_with_id(&mut self, request: RequestId, member_id: MemberId, join: JoinGroup) {
        let is_expected = self.live.expected_members.contains_key(&member_id);
        if is_expected && join.group_instance_id.is_none() {
            self.live.expected_members.remove(&member_id);
            return self.add_member(request, member_id, join);
        }
        let checked = self.live.check_member(Some(&member_id), join.group_instance_id.as_ref());
        if let Err(error) = checked {
            return self.reply_join(request, JoinReply::error(error, Some(member_id)));
        }
        let is_unchanged =
            self.live.members.get(&member_id).is_some_and(|member| member.protocols == join.protocols);
        let needs_rebalance = match self.live.phase {
            Phase::Empty | Phase::PreparingRebalance { .. } => true,
            // Its first JoinGroup's answer may have been lost.
            Phase::CompletingRebalance => !is_unchanged,
            // A leader rejoins when it has seen its topics change.
            Phase::Stable => !is_unchanged || self.live.is_leader(&member_id),
        };
        if needs_rebalance {
            self.update_member(request, &member_id, join);
            self.rebalance();
        } else {
            if let Some(member) = self.live.members.get_mut(&member_id) {
                member.refresh_session(self.now);
            }
            let reply = self.joined_reply(&member_id);
            self.reply_join(request, reply);
        }
    }

    fn add_member(&mut self, request: RequestId, member_id: MemberId, join: JoinGroup) {
        if self.live.members.is_empty() {
            self.live.protocol_type = join.protocol_type;
        }
        if let Some(instance) = &join.group_instance_id {
            self.live.static_members.insert(instance.clone(), member_id.clone());
        }
        let member = Member {
            group_instance_id: join.group_instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms.max(0),
            protocols: join.protocols,
            awaiting_join: Some(request),
            awaiting_sync: None,
            session_deadline: self.now.plus(self.config.new_member_join_timeout),
            standing: Standing::New,
        };
        self.live.leader.get_or_insert_with(|| member_id.clone());
        self.live.members.insert(member_id, member);
        if let Phase::PreparingRebalance { initial: Some(initial), .. } = &mut self.live.phase {
            initial.arrivals = Arrivals::Some;
        }
        self.rebalance();
    }

    /// Takes over what the request says and parks it in the place of an earlier one, whose
    /// connection is most likely gone.
    fn update_member(&mut self, request: RequestId, member_id: &MemberId, join: JoinGroup) {
        let Some(member) = self.live.members.get_mut(member_id) else { return };
        member.protocols = join.protocols;
        member.session_timeout_ms = join.session_timeout_ms;
        member.rebalance_timeout_ms = join.rebalance_timeout_ms.max(0);
        member.refresh_session(self.now);
        if let Some(earlier) = member.awaiting_join.replace(request) {
            self.reply_join(
                earlier,
                JoinReply::error(ErrorCode::RebalanceInProgress, Some(member_id.clone())),
            );
        }
    }

    /// A static member has come back without its id (KIP-345): it gets the fresh one, and whoever
    /// still uses the old one is fenced.
    fn replace_static_member(&mut self, request: RequestId, old: &MemberId, join: JoinGroup) {
        let Some(mut member) = self.live.members.remove(old) else { return };
        let fresh = join.fresh_member_id.clone();
        if let Some(earlier) = member.awaiting_join.take() {
            self.reply_join(earlier, JoinReply::error(ErrorCode::FencedInstanceId, Some(old.clone())));
        }
        if let Some(earlier) = member.awaiting_sync.take() {
            self.reply_sync(earlier, super::reply::SyncReply::error(ErrorCode::FencedInstanceId));
        }
        let was_leader = self.live.is_leader(old);
        if was_leader {
            self.live.leader = Some(fresh.clone());
        }
        if let Some(instance) = &member.group_instance_id {
            self.live.static_members.insert(instance.clone(), fresh.clone());
        }
        if self.live.pending_sync.remove(old) {
            self.live.pending_sync.insert(fresh.clone());
        }
        let keeps_subscription = self.keeps_subscription(&member, &join.protocols);
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        self.live.members.insert(fresh.clone(), member);
        let skip_assignment = join.skip_assignment;
        self.update_member(request, &fresh, join);
        let keeps_protocol = self.live.select_protocol().as_deref() == self.protocol();
        match self.live.phase {
            Phase::Stable if keeps_subscription && keeps_protocol => {
                self.answer_static_member(request, old, &fresh, skip_assignment);
            }
            // In CompletingRebalance the leader may already be assigning to the old id.
            Phase::Stable | Phase::CompletingRebalance | Phase::PreparingRebalance { .. } | Phase::Empty => {
                self.rebalance()
            }
        }
    }

    /// Whether the member still wants what it was assigned by. Of a consumer only the topics count:
    /// what else assignors put there (owned partitions, the last assignment) is lost by a restart.
    fn keeps_subscription(&self, member: &Member, protocols: &[JoinProtocol]) -> bool {
        let Some(protocol) = self.protocol() else { return false };
        let before = member.metadata_for(protocol);
        let Some(after) = protocols.iter().find(|own| own.name == protocol) else { return false };
        let is_consumer = self.live.protocol_type == CONSUMER_PROTOCOL_TYPE;
        before == after.metadata
            || (is_consumer
                && subscribed_topics(&before)
                    .is_some_and(|topics| subscribed_topics(&after.metadata) == Some(topics)))
    }

    /// Stores the stable group under the member's new id and answers without a rebalance.
    fn answer_static_member(
        &mut self,
        request: RequestId,
        old: &MemberId,
        fresh: &MemberId,
        skip_assignment: SkipAssignmentSupport,
    ) {
        let Some(stored) = self.store.metadata(self.group) else { return self.rebalance() };
        let assignment_of = |id: &MemberId| {
            let stored_id = if id == fresh { old } else { id };
            stored.assignment(stored_id)
        };
        let protocol = stored.protocol.clone().unwrap_or_default();
        let metadata = GroupMetadata {
            leader: self.live.leader.clone(),
            members: self.live.members_for_record(&protocol, assignment_of),
            ..stored.clone()
        };
        self.out.write_group(self.store, self.group, metadata);
        if let Some(member) = self.live.members.get_mut(fresh) {
            member.awaiting_join = None;
            member.standing = Standing::Known;
        }
        let mut reply = self.joined_reply(fresh);
        if self.live.is_leader(fresh) {
            match skip_assignment {
                SkipAssignmentSupport::Understood => reply.assignment = LeaderAssignment::Skip,
                // A client that cannot skip must not believe that it leads: a stable group would
                // not pass its assignment on. It is told the old leader id, which is nobody's.
                SkipAssignmentSupport::Unknown => {
                    reply.leader = Some(old.clone());
                    reply.members = Vec::new();
                }
            }
        }
        self.reply_join(request, reply);
    }

    /// Whether the group may have this member: by its size, and by the size of its record.
    fn has_room_for(&self, join: &JoinGroup) -> bool {
        let known_id = match &join.member_id {
            Some(member_id) => Some(member_id),
            None => join.group_instance_id.as_ref().and_then(|id| self.live.static_members.get(id)),
        };
        let known = known_id.and_then(|member_id| self.live.members.get(member_id));
        let size_max = self.config.group_size_max;
        let has_place = match self.live.phase {
            Phase::Empty => true,
            // Counting only those who have joined again, so that a group that was larger shrinks.
            Phase::PreparingRebalance { .. } => {
                known.is_some_and(|member| member.awaiting_join.is_some())
                    || self.live.awaiting_join_count() < size_max
            }
            Phase::CompletingRebalance | Phase::Stable => {
                known.is_some() || self.live.members.len() < size_max
            }
        };
        let texts_bytes =
            join.client_id.len() + join.client_host.len() + 2 * join.fresh_member_id.as_str().len();
        let metadata_bytes = join.protocols.iter().map(|protocol| protocol.metadata.len()).max().unwrap_or(0);
        let fixed_bytes = 1024 + 2 * join.group.as_str().len() + join.protocol_type.len();
        let record_bytes = self.live.metadata_bytes_max() + texts_bytes + metadata_bytes + fixed_bytes;
        has_place && record_bytes <= self.config.batch_bytes_max
    }
}
