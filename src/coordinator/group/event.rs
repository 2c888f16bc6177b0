//! Everything that can happen to a group shard: requests by their API name, transaction markers,
//! deleted topics, and time. Plain data; wire sentinels are already gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::RequestId;
use crate::ids::{
    GenerationId, GroupId, GroupInstanceId, LeaderEpoch, MemberId, Offset, ProducerIdent, TopicName,
    TopicPartition,
};
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};

use super::consumer::{ConsumerHeartbeat, KnownTopics};
use super::reply::GroupState;

/// One input of a shard. Each `request` is answered exactly once, in this step or a later one.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A member joins or rejoins.
    JoinGroup {
        /// Who waits.
        request: RequestId,
        /// What it asks.
        join: JoinGroup,
    },
    /// A member asks for its assignment; the leader brings everybody's.
    SyncGroup {
        /// Who waits.
        request: RequestId,
        /// What it asks.
        sync: SyncGroup,
    },
    /// A member says that it lives.
    Heartbeat {
        /// Who waits.
        request: RequestId,
        /// The group.
        group: GroupId,
        /// The member and its generation.
        member: MemberOfGeneration,
    },
    /// Members leave.
    LeaveGroup {
        /// Who waits.
        request: RequestId,
        /// The group.
        group: GroupId,
        /// Who leaves: one before v3, many since.
        members: Vec<LeavingMember>,
    },
    /// Offsets are committed outside of a transaction.
    OffsetCommit {
        /// Who waits.
        request: RequestId,
        /// What it asks.
        commit: OffsetCommit,
        /// What an unknown group is answered.
        unknown_group: UnknownGroup,
    },
    /// Committed offsets are read.
    OffsetFetch {
        /// Who waits.
        request: RequestId,
        /// The group.
        group: GroupId,
        /// Who asks, if it is a member of a group of the new protocol.
        member: Option<MemberOfGeneration>,
        /// Which partitions.
        partitions: FetchPartitions,
        /// Whether offsets that an open transaction may still change are held back.
        stability: OffsetStability,
    },
    /// Offsets are committed as part of a transaction.
    TxnOffsetCommit {
        /// Who waits.
        request: RequestId,
        /// Whose transaction.
        producer: ProducerIdent,
        /// What it asks.
        commit: OffsetCommit,
    },
    /// The end of a transaction reaches this shard's partition.
    Marker {
        /// Who waits.
        request: RequestId,
        /// How it ends.
        marker: EndTransactionMarker,
        /// By which protocol's epoch rule.
        version: TransactionVersion,
    },
    /// Whole groups are deleted with their offsets.
    DeleteGroups {
        /// Who waits.
        request: RequestId,
        /// Which.
        groups: Vec<GroupId>,
    },
    /// Committed offsets are deleted (API OffsetDelete).
    DeleteOffsets {
        /// Who waits.
        request: RequestId,
        /// The group.
        group: GroupId,
        /// Which.
        partitions: Vec<TopicPartition>,
    },
    /// Groups are described.
    DescribeGroups {
        /// Who waits.
        request: RequestId,
        /// Which.
        groups: Vec<GroupId>,
    },
    /// The shard's groups are listed.
    ListGroups {
        /// Who waits.
        request: RequestId,
        /// Only groups in one of these states; `None`: all.
        states: Option<Vec<GroupState>>,
        /// Only groups of one of these types; `None`: all.
        types: Option<Vec<GroupType>>,
    },
    /// A member of a group of the new protocol joins, follows or leaves.
    ConsumerGroupHeartbeat {
        /// Who waits.
        request: RequestId,
        /// What it says.
        heartbeat: ConsumerHeartbeat,
    },
    /// A group of the new protocol is described.
    ConsumerGroupDescribe {
        /// Who waits.
        request: RequestId,
        /// Which.
        group: GroupId,
    },
    /// Topics have come, grown or gone. Nobody waits.
    TopicsChanged {
        /// All that there are now.
        topics: Arc<KnownTopics>,
    },
    /// A topic is gone: so are the offsets committed for it. Nobody waits.
    TopicDeleted {
        /// Which.
        topic: TopicName,
    },
    /// A deadline may have passed.
    Tick {
        /// Whose offsets do not expire now.
        kept: KeptGroups,
    },
}

/// The groups under which the broker's own work keeps its place for as long as it is deployed. They have no
/// members, may rest for as long as nothing comes, and must not begin anew after that: their offsets do not expire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeptGroups {
    /// What is deployed is not known yet: nobody's offsets expire.
    Unknown,
    /// These, and those whose names begin with `__`.
    Known(Arc<BTreeSet<GroupId>>),
}

impl KeptGroups {
    /// Whether offsets of this group may expire.
    pub(super) fn allows_expiry(&self, group: &GroupId) -> bool {
        match self {
            KeptGroups::Unknown => false,
            KeptGroups::Known(kept) => {
                !kept.contains(group) && !group.as_str().starts_with(OWN_GROUPS_PREFIX)
            }
        }
    }
}

/// What the names of groups begin with that the broker needs without a deployment: movers, replays of dead letters.
const OWN_GROUPS_PREFIX: &str = "__";

/// A JoinGroup request.
#[derive(Clone, PartialEq, Debug)]
pub struct JoinGroup {
    /// The group.
    pub group: GroupId,
    /// The member's id; `None` on its first request.
    pub member_id: Option<MemberId>,
    /// An id that nobody has yet, used if the member needs one.
    pub fresh_member_id: MemberId,
    /// Its `group.instance.id`, if it is a static member.
    pub group_instance_id: Option<GroupInstanceId>,
    /// From the request's header.
    pub client_id: String,
    /// From the connection, as Kafka writes it ("/127.0.0.1").
    pub client_host: String,
    /// As on the wire; checked here.
    pub session_timeout_ms: i32,
    /// As on the wire; before v1 the session timeout.
    pub rebalance_timeout_ms: i32,
    /// "consumer", "connect", ...
    pub protocol_type: String,
    /// What the member can do, preferred first.
    pub protocols: Vec<JoinProtocol>,
    /// What happens to a member without an id.
    pub first_join: FirstJoin,
    /// Whether the client understands `skipAssignment`.
    pub skip_assignment: SkipAssignmentSupport,
}

/// One protocol (assignor) that a member supports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinProtocol {
    /// Its name ("range").
    pub name: String,
    /// The member's subscription in that protocol's own bytes.
    pub metadata: Bytes,
}

/// How a member without an id is received (KIP-394).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstJoin {
    /// v0 to v3: it joins at once under the fresh id.
    Joins,
    /// v4 and later: it gets the fresh id with `MEMBER_ID_REQUIRED` and comes again.
    NeedsMemberId,
}

/// Whether a static leader can be told not to assign again (KIP-814).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SkipAssignmentSupport {
    /// Before v9.
    Unknown,
    /// v9 and later.
    Understood,
}

/// A SyncGroup request.
#[derive(Clone, PartialEq, Debug)]
pub struct SyncGroup {
    /// The group.
    pub group: GroupId,
    /// The member and its generation.
    pub member: MemberOfGeneration,
    /// v5 and later: must be the group's, if given.
    pub protocol_type: Option<String>,
    /// v5 and later: must be the chosen one, if given.
    pub protocol: Option<String>,
    /// From the leader: who gets what. Empty from others.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// Who a request says it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberOfGeneration {
    /// The member; `None` for "".
    pub member_id: Option<MemberId>,
    /// Its `group.instance.id`, if it is a static member.
    pub group_instance_id: Option<GroupInstanceId>,
    /// The generation it believes to be in; `None` for -1.
    pub generation: Option<GenerationId>,
}

impl MemberOfGeneration {
    /// A client that takes no part in the group: simple consumers and admin tools.
    pub const NOBODY: MemberOfGeneration =
        MemberOfGeneration { member_id: None, group_instance_id: None, generation: None };
}

/// Who leaves: by member id, or (an admin) by instance id alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeavingMember {
    /// The member; `None` for "".
    pub member_id: Option<MemberId>,
    /// Its `group.instance.id`, if given.
    pub group_instance_id: Option<GroupInstanceId>,
}

/// An OffsetCommit or TxnOffsetCommit request; retention times are ignored.
#[derive(Clone, PartialEq, Debug)]
pub struct OffsetCommit {
    /// The group.
    pub group: GroupId,
    /// Who commits.
    pub member: MemberOfGeneration,
    /// What.
    pub partitions: Vec<CommittedPartition>,
}

/// One partition's position in a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the record before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own note; "" for null.
    pub metadata: String,
}

/// What OffsetCommit with a generation answers if the group does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownGroup {
    /// Before v9: `ILLEGAL_GENERATION`.
    IllegalGeneration,
    /// v9 and later: `GROUP_ID_NOT_FOUND`.
    GroupIdNotFound,
}

/// Which offsets OffsetFetch asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchPartitions {
    /// Whatever the group has.
    All,
    /// These, known or not.
    These(Vec<TopicPartition>),
}

/// `requireStable` of OffsetFetch (KIP-447).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetStability {
    /// The last committed offset, whatever is pending.
    Any,
    /// `UNSTABLE_OFFSET_COMMIT` for partitions with a pending transactional offset.
    RequireStable,
}

/// Kafka's group types as ListGroups tells and filters by them; other types do not exist here, so a filter
/// for them alone is an empty list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupType {
    /// The JoinGroup/SyncGroup protocol.
    Classic,
    /// The ConsumerGroupHeartbeat protocol (KIP-848).
    Consumer,
}

impl GroupType {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            GroupType::Classic => "classic",
            GroupType::Consumer => "consumer",
        }
    }

    /// The type of a name, upper or lower case alike.
    pub fn from_name(name: &str) -> Option<GroupType> {
        let types = [GroupType::Classic, GroupType::Consumer];
        types.into_iter().find(|group_type| group_type.name().eq_ignore_ascii_case(name))
    }
}
