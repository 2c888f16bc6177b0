//! What a group shard answers: plain data that a handler turns into any version's bytes.

use bytes::Bytes;

use super::consumer::{DescribedConsumerGroup, HeartbeatReply, Refusal};
use super::event::GroupType;
use crate::error_code::ErrorCode;
use crate::ids::{GenerationId, GroupId, GroupInstanceId, LeaderEpoch, MemberId, Offset, TopicPartition};

/// The answer to one event's request.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// To JoinGroup.
    JoinGroup(JoinReply),
    /// To SyncGroup.
    SyncGroup(SyncReply),
    /// To Heartbeat.
    Heartbeat(ErrorCode),
    /// To LeaveGroup.
    LeaveGroup(LeaveReply),
    /// To OffsetCommit: per partition, in the request's order.
    OffsetCommit(Vec<(TopicPartition, ErrorCode)>),
    /// To OffsetFetch: per partition, in the request's order; or why the member may not ask.
    OffsetFetch(Result<Vec<FetchedOffset>, ErrorCode>),
    /// To TxnOffsetCommit: per partition, in the request's order.
    TxnOffsetCommit(Vec<(TopicPartition, ErrorCode)>),
    /// To a transaction's end marker.
    Marker(ErrorCode),
    /// To DeleteGroups: per group, in the request's order.
    DeleteGroups(Vec<(GroupId, ErrorCode)>),
    /// To DeleteOffsets.
    DeleteOffsets(DeleteOffsetsReply),
    /// To DescribeGroups: per group, in the request's order.
    DescribeGroups(Vec<DescribedGroup>),
    /// To ListGroups.
    ListGroups(Vec<ListedGroup>),
    /// To ConsumerGroupHeartbeat.
    ConsumerGroupHeartbeat(Result<HeartbeatReply, Refusal>),
    /// To ConsumerGroupDescribe.
    ConsumerGroupDescribe(Result<DescribedConsumerGroup, Refusal>),
}

/// The answer to JoinGroup.
#[derive(Clone, PartialEq, Debug)]
pub struct JoinReply {
    /// `NONE`, or why not.
    pub error: ErrorCode,
    /// The generation joined; `None` (-1) on an error.
    pub generation: Option<GenerationId>,
    /// The group's protocol type; `None` on an error.
    pub protocol_type: Option<String>,
    /// The chosen protocol; `None` on an error.
    pub protocol: Option<String>,
    /// The leader's id; `None` ("") on an error.
    pub leader: Option<MemberId>,
    /// Whether the leader must not assign again (KIP-814).
    pub assignment: LeaderAssignment,
    /// The member's own id; with `MEMBER_ID_REQUIRED` the one to come back with.
    pub member_id: Option<MemberId>,
    /// To the leader: everybody; to others: nothing.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// A refusal.
    pub fn error(error: ErrorCode, member_id: Option<MemberId>) -> JoinReply {
        JoinReply {
            error,
            generation: None,
            protocol_type: None,
            protocol: None,
            leader: None,
            assignment: LeaderAssignment::Run,
            member_id,
            members: Vec::new(),
        }
    }
}

/// Whether the leader runs the assignor after JoinGroup (`skipAssignment` false or true).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaderAssignment {
    /// As always.
    Run,
    /// The group is stable: the leader only keeps watching its topics.
    Skip,
}

/// One member as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<GroupInstanceId>,
    /// Its subscription for the chosen protocol.
    pub metadata: Bytes,
}

/// The answer to SyncGroup.
#[derive(Clone, PartialEq, Debug)]
pub struct SyncReply {
    /// `NONE`, or why not.
    pub error: ErrorCode,
    /// The group's protocol type; `None` on an error.
    pub protocol_type: Option<String>,
    /// The chosen protocol; `None` on an error.
    pub protocol: Option<String>,
    /// The member's part.
    pub assignment: Bytes,
}

impl SyncReply {
    /// A refusal.
    pub fn error(error: ErrorCode) -> SyncReply {
        SyncReply { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// The answer to LeaveGroup.
#[derive(Clone, PartialEq, Debug)]
pub struct LeaveReply {
    /// About the group as a whole. Before v3 a handler answers the first error of this and `members`.
    pub error: ErrorCode,
    /// Per member, in the request's order.
    pub members: Vec<LeftMember>,
}

/// One member's result of LeaveGroup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftMember {
    /// As asked.
    pub member_id: Option<MemberId>,
    /// As asked.
    pub group_instance_id: Option<GroupInstanceId>,
    /// `NONE`, or why not.
    pub error: ErrorCode,
}

/// One partition's result of OffsetFetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// `NONE`, or `UNSTABLE_OFFSET_COMMIT`.
    pub error: ErrorCode,
    /// The committed offset; `None` (-1) if there is none.
    pub offset: Option<Offset>,
    /// The epoch committed with it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The note committed with it.
    pub metadata: String,
}

/// The answer to DeleteOffsets.
#[derive(Clone, PartialEq, Debug)]
pub struct DeleteOffsetsReply {
    /// About the group as a whole; if not `NONE`, `partitions` is empty.
    pub error: ErrorCode,
    /// Per partition, in the request's order.
    pub partitions: Vec<(TopicPartition, ErrorCode)>,
}

/// A group as DescribeGroups shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct DescribedGroup {
    /// The group.
    pub group: GroupId,
    /// `Dead` if there is no such group: an error (`GROUP_ID_NOT_FOUND`) since v6, none before.
    pub state: GroupState,
    /// "" for groups that only hold offsets.
    pub protocol_type: String,
    /// The chosen protocol if stable, else "".
    pub protocol: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<GroupInstanceId>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// Its subscription for the chosen protocol, if the group is stable.
    pub metadata: Bytes,
    /// Its assignment, if the group is stable.
    pub assignment: Bytes,
}

/// A group as ListGroups shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// The group.
    pub group: GroupId,
    /// "" for groups that only hold offsets.
    pub protocol_type: String,
    /// Its state.
    pub state: GroupState,
    /// Which protocol it follows.
    pub group_type: GroupType,
}

/// A group's state, by Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    /// No members; offsets may be there.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// Of a group of the new protocol: its members, or what they want, have changed since its last target.
    Assigning,
    /// Of a group of the new protocol: members are on their way to their targets.
    Reconciling,
    /// No such group.
    Dead,
}

impl GroupState {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Assigning => "Assigning",
            GroupState::Reconciling => "Reconciling",
            GroupState::Dead => "Dead",
        }
    }

    /// The state of a name, upper or lower case alike (as Kafka's `GroupState.parse`).
    pub fn from_name(name: &str) -> Option<GroupState> {
        [
            GroupState::Empty,
            GroupState::PreparingRebalance,
            GroupState::CompletingRebalance,
            GroupState::Stable,
            GroupState::Assigning,
            GroupState::Reconciling,
            GroupState::Dead,
        ]
        .into_iter()
        .find(|state| state.name().eq_ignore_ascii_case(name))
    }
}
