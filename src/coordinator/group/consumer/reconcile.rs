//! How one member of a consumer group comes from what it has to what it should have (KIP-848; Kafka's
//! `CurrentAssignmentBuilder`).
//!
//! A member first gives up what it must, and its epoch stays until it says that it has. Only then does it get what
//! is free; what others still hold it waits for. So no partition is ever with two members.

use std::collections::BTreeSet;

use crate::ids::{GroupEpoch, MemberEpoch, TopicIdPartition};

/// Where a member stands on its way (Kafka's `MemberState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It has all that it should have at its epoch.
    Stable,
    /// It has been asked to give up partitions, and has not said that it has.
    UnrevokedPartitions,
    /// It waits for partitions that others still hold.
    UnreleasedPartitions,
}

impl MemberState {
    /// The number in records.
    pub const fn code(self) -> i8 {
        match self {
            MemberState::Stable => 0,
            MemberState::UnrevokedPartitions => 1,
            MemberState::UnreleasedPartitions => 2,
        }
    }

    /// The state of a number; `None` for one of a newer version.
    pub const fn from_code(code: i8) -> Option<MemberState> {
        match code {
            0 => Some(MemberState::Stable),
            1 => Some(MemberState::UnrevokedPartitions),
            2 => Some(MemberState::UnreleasedPartitions),
            _ => None,
        }
    }
}

/// What a member has been told (`ConsumerGroupCurrentMemberAssignmentValue`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentAssignment {
    /// Its epoch; `None` (-2) for a static member that is away for a while.
    pub epoch: Option<MemberEpoch>,
    /// The epoch before: a member that missed the last answer still comes with it.
    pub previous_epoch: Option<MemberEpoch>,
    /// Where it stands.
    pub state: MemberState,
    /// What it may work on.
    pub assigned: BTreeSet<TopicIdPartition>,
    /// What it must give up, and holds until it says that it has.
    pub pending_revocation: BTreeSet<TopicIdPartition>,
}

impl CurrentAssignment {
    /// A member that has just come.
    pub fn of_newcomer() -> CurrentAssignment {
        CurrentAssignment {
            epoch: Some(MemberEpoch::ZERO),
            previous_epoch: Some(MemberEpoch::ZERO),
            state: MemberState::Stable,
            assigned: BTreeSet::new(),
            pending_revocation: BTreeSet::new(),
        }
    }

    /// Whether nobody else may have the partition.
    pub fn holds(&self, partition: &TopicIdPartition) -> bool {
        self.assigned.contains(partition) || self.pending_revocation.contains(partition)
    }

    /// Whether the member is done with an epoch's assignment.
    pub fn is_reconciled_to(&self, epoch: GroupEpoch) -> bool {
        self.state == MemberState::Stable && self.epoch == Some(epoch.of_members())
    }
}

/// What a member should have, and since which epoch.
pub(super) struct Target<'a> {
    pub(super) epoch: GroupEpoch,
    pub(super) partitions: &'a BTreeSet<TopicIdPartition>,
}

/// The member's next step. `owned` is what the member says it has now, if it says so; `is_held` tells whether
/// another member holds a partition.
pub(super) fn reconcile(
    current: &CurrentAssignment,
    target: &Target<'_>,
    owned: Option<&BTreeSet<TopicIdPartition>>,
    is_held: impl Fn(&TopicIdPartition) -> bool,
) -> CurrentAssignment {
    let still_owns = |revoked: &BTreeSet<TopicIdPartition>| {
        owned.is_none_or(|owned| owned.iter().any(|partition| revoked.contains(partition)))
    };
    match current.state {
        MemberState::Stable if current.epoch == Some(target.epoch.of_members()) => return current.clone(),
        MemberState::UnrevokedPartitions if still_owns(&current.pending_revocation) => {
            return current.clone();
        }
        MemberState::Stable | MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {}
    }
    let kept: BTreeSet<TopicIdPartition> = &current.assigned & target.partitions;
    let to_revoke: BTreeSet<TopicIdPartition> = &current.assigned - &kept;
    if !to_revoke.is_empty() && still_owns(&to_revoke) {
        return CurrentAssignment {
            epoch: current.epoch,
            previous_epoch: current.epoch,
            state: MemberState::UnrevokedPartitions,
            assigned: kept,
            pending_revocation: to_revoke,
        };
    }
    let missing = target.partitions - &kept;
    let (unreleased, free): (BTreeSet<_>, BTreeSet<_>) = missing.into_iter().partition(|p| is_held(p));
    CurrentAssignment {
        epoch: Some(target.epoch.of_members()),
        previous_epoch: current.epoch,
        state: match unreleased.is_empty() {
            true => MemberState::Stable,
            false => MemberState::UnreleasedPartitions,
        },
        assigned: &kept | &free,
        pending_revocation: BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests;
