//! SyncGroup, Heartbeat and LeaveGroup: what members of a generation ask.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::MemberId;

use super::event::{LeavingMember, MemberOfGeneration, SyncGroup};
use super::live::Phase;
use super::rebalance::GroupStep;
use super::record::{GroupMetadata, GroupRecord};
use super::reply::{LeaveReply, LeftMember, Reply, SyncReply};

impl GroupStep<'_> {
    /// Whether the request comes from a member of the present generation.
    pub(super) fn check_generation(&self, member: &MemberOfGeneration) -> Result<MemberId, ErrorCode> {
        let member_id =
            self.live.check_member(member.member_id.as_ref(), member.group_instance_id.as_ref())?;
        if member.generation == Some(self.generation()) {
            Ok(member_id)
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    pub(super) fn refresh_session(&mut self, member_id: &MemberId) {
        if let Some(member) = self.live.members.get_mut(member_id) {
            member.refresh_session(self.now);
        }
    }

    /// Answers a SyncGroup, or parks it until the leader's comes.
    pub(super) fn sync(&mut self, request: RequestId, sync: SyncGroup) {
        let member_id = match self.check_sync(&sync) {
            Ok(member_id) => member_id,
            Err(error) => return self.reply_sync(request, SyncReply::error(error)),
        };
        self.refresh_session(&member_id);
        match self.live.phase {
            Phase::Empty => self.reply_sync(request, SyncReply::error(ErrorCode::UnknownMemberId)),
            Phase::PreparingRebalance { .. } => {
                self.reply_sync(request, SyncReply::error(ErrorCode::RebalanceInProgress));
            }
            Phase::CompletingRebalance => {
                self.mark_synced(&member_id);
                self.park_sync(request, &member_id);
                if self.live.is_leader(&member_id) {
                    self.assign(sync.assignments);
                }
            }
            Phase::Stable => {
                self.mark_synced(&member_id);
                let reply = self.assigned_reply(&member_id);
                self.reply_sync(request, reply);
            }
        }
    }

    pub(super) fn heartbeat(&mut self, request: RequestId, member: &MemberOfGeneration) {
        let answer = match self.check_generation(member) {
            Err(error) => error,
            Ok(member_id) => {
                self.refresh_session(&member_id);
                match self.live.phase {
                    Phase::Empty => ErrorCode::UnknownMemberId,
                    Phase::PreparingRebalance { .. } => ErrorCode::RebalanceInProgress,
                    // Consumers begin to send heartbeats before the leader has assigned.
                    Phase::CompletingRebalance | Phase::Stable => ErrorCode::None,
                }
            }
        };
        self.out.reply(request, Reply::Heartbeat(answer));
    }

    pub(super) fn leave(&mut self, request: RequestId, members: Vec<LeavingMember>) {
        let left: Vec<LeftMember> = members
            .into_iter()
            .map(|leaving| {
                let error = self.leave_one(&leaving).err().unwrap_or(ErrorCode::None);
                let LeavingMember { member_id, group_instance_id } = leaving;
                LeftMember { member_id, group_instance_id, error }
            })
            .collect();
        let has_left = left.iter().any(|member| member.error == ErrorCode::None);
        self.out.reply(request, Reply::LeaveGroup(LeaveReply { error: ErrorCode::None, members: left }));
        if has_left && self.live.phase != Phase::Empty {
            self.rebalance();
        }
    }

    fn leave_one(&mut self, leaving: &LeavingMember) -> Result<(), ErrorCode> {
        let member_id = match (&leaving.member_id, &leaving.group_instance_id) {
            // An admin removes a static member by its instance id alone.
            (None, Some(instance)) => {
                self.live.static_members.get(instance).cloned().ok_or(ErrorCode::UnknownMemberId)?
            }
            (Some(id), _) if self.live.expected_members.remove(id).is_some() => return Ok(()),
            (id, instance) => self.live.check_member(id.as_ref(), instance.as_ref())?,
        };
        self.remove_member(&member_id);
        Ok(())
    }

    fn check_sync(&self, sync: &SyncGroup) -> Result<MemberId, ErrorCode> {
        let member_id = self.check_generation(&sync.member)?;
        let is_same_type = sync.protocol_type.as_ref().is_none_or(|given| *given == self.live.protocol_type);
        let is_same_protocol =
            sync.protocol.as_ref().is_none_or(|given| Some(given.as_str()) == self.protocol());
        if is_same_type && is_same_protocol {
            Ok(member_id)
        } else {
            Err(ErrorCode::InconsistentGroupProtocol)
        }
    }

    fn mark_synced(&mut self, member_id: &MemberId) {
        self.live.pending_sync.remove(member_id);
        if self.live.pending_sync.is_empty() {
            self.live.sync_deadline = None;
        }
    }

    fn park_sync(&mut self, request: RequestId, member_id: &MemberId) {
        let Some(member) = self.live.members.get_mut(member_id) else { return };
        if let Some(earlier) = member.awaiting_sync.replace(request) {
            self.reply_sync(earlier, SyncReply::error(ErrorCode::RebalanceInProgress));
        }
    }

    /// Stores the leader's assignment and answers everybody who waits for it. The runtime lets the
    /// answers go once the record is durable.
    fn assign(&mut self, assignments: Vec<(MemberId, Bytes)>) {
        let Some(stored) = self.store.metadata(self.group) else { return };
        let assignments: BTreeMap<MemberId, Bytes> = assignments.into_iter().collect();
        let protocol = stored.protocol.clone().unwrap_or_default();
        let metadata = GroupMetadata {
            leader: self.live.leader.clone(),
            current_state_timestamp: Some(self.now),
            members: self
                .live
                .members_for_record(&protocol, |id| assignments.get(id).cloned().unwrap_or_default()),
            ..stored.clone()
        };
        let record = GroupRecord::Group { group: self.group.clone(), value: Some(metadata) };
        if record.bytes_max() > self.config.batch_bytes_max {
            self.answer_parked_syncs(ErrorCode::UnknownServerError);
            return self.rebalance();
        }
        self.out.write(self.store, record);
        self.live.phase = Phase::Stable;
        let waiting: Vec<(RequestId, MemberId)> = self
            .live
            .members
            .iter_mut()
            .filter_map(|(id, member)| Some((member.awaiting_sync.take()?, id.clone())))
            .collect();
        for (request, member_id) in waiting {
            self.refresh_session(&member_id);
            let reply = self.assigned_reply(&member_id);
            self.reply_sync(request, reply);
        }
    }

    fn assigned_reply(&self, member_id: &MemberId) -> SyncReply {
        let assignment = self.store.metadata(self.group).map(|metadata| metadata.assignment(member_id));
        SyncReply {
            error: ErrorCode::None,
            protocol_type: Some(self.live.protocol_type.clone()),
            protocol: self.protocol().map(str::to_owned),
            assignment: assignment.unwrap_or_default(),
        }
    }
}
