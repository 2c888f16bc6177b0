//! The group coordinator: classic consumer groups and their committed offsets.
//!
//! A `GroupShard` is one `__consumer_offsets` partition with its groups, as a pure state machine:
//! no clocks, no tasks, no IO. Durable state changes only by `Store::apply`, which recovery uses
//! too; who waits, who is joining and session deadlines are soft and are made anew after a crash.

mod config;
mod event;
mod record;
mod reply;
mod subscription;

pub use config::GroupConfig;
pub use event::{
    CommittedPartition, Event, FetchPartitions, FirstJoin, GroupType, JoinGroup, JoinProtocol, LeavingMember,
    MemberOfGeneration, OffsetCommit, OffsetStability, SkipAssignmentSupport, SyncGroup, UnknownGroup,
};
pub use record::{DecodeError, GroupMetadata, GroupRecord, MemberMetadata, OffsetValue};
pub use reply::{
    DeleteOffsetsReply, DescribedGroup, DescribedMember, FetchedOffset, GroupState, JoinReply, JoinedMember,
    LeaderAssignment, LeaveReply, LeftMember, ListedGroup, Reply, SyncReply,
};

use crate::coordinator::Output;

/// A group shard asks nothing of the rest of the broker: this type has no values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {}

/// What one step gives.
pub type GroupOutput = Output<GroupRecord, Reply, Effect>;
