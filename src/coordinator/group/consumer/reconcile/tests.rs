//! The states of a member, one step at a time.

use super::*;
use crate::ids::{PartitionIndex, TopicId};

fn set(indexes: &[i32]) -> BTreeSet<TopicIdPartition> {
    let topic_id = TopicId::from_bytes([7; 16]).unwrap();
    let partition = |index: &i32| PartitionIndex::from_wire(*index).unwrap();
    indexes.iter().map(|index| TopicIdPartition { topic_id, partition: partition(index) }).collect()
}

fn member_epoch(number: i32) -> Option<MemberEpoch> {
    Some(MemberEpoch::from_wire(number).unwrap())
}

fn at(epoch: i32, previous: i32, state: MemberState, assigned: &[i32], pending: &[i32]) -> CurrentAssignment {
    CurrentAssignment {
        epoch: member_epoch(epoch),
        previous_epoch: member_epoch(previous),
        state,
        assigned: set(assigned),
        pending_revocation: set(pending),
    }
}

/// One step towards `target` at `epoch`, while others hold `held`.
fn step(
    current: &CurrentAssignment,
    (epoch, target): (i32, &[i32]),
    owned: Option<&[i32]>,
    held: &[i32],
) -> CurrentAssignment {
    let (partitions, owned, held) = (set(target), owned.map(set), set(held));
    let target = Target { epoch: GroupEpoch::from_wire(epoch).unwrap(), partitions: &partitions };
    reconcile(current, &target, owned.as_ref(), |partition| held.contains(partition))
}

#[test]
fn a_stable_member_at_the_targets_epoch_stays() {
    let current = at(5, 4, MemberState::Stable, &[1, 2], &[]);
    assert_eq!(step(&current, (5, &[1, 2]), None, &[]), current);
}

#[test]
fn a_newcomer_gets_what_is_free_and_waits_for_the_rest() {
    let first = step(&CurrentAssignment::of_newcomer(), (1, &[1, 2, 3]), Some(&[]), &[2]);
    assert_eq!(first, at(1, 0, MemberState::UnreleasedPartitions, &[1, 3], &[]));
    assert_eq!(step(&first, (1, &[1, 2, 3]), None, &[2]).assigned, set(&[1, 3]));
    assert_eq!(step(&first, (1, &[1, 2, 3]), None, &[]), at(1, 1, MemberState::Stable, &[1, 2, 3], &[]));
}

#[test]
fn a_member_keeps_its_epoch_until_it_says_that_it_has_given_up_its_partitions() {
    let current = at(1, 0, MemberState::Stable, &[1, 2, 3], &[]);
    let asked = step(&current, (2, &[1, 4]), None, &[]);
    assert_eq!(asked, at(1, 1, MemberState::UnrevokedPartitions, &[1], &[2, 3]));
    for owned in [None, Some(&[1, 2, 3][..]), Some(&[1, 3][..])] {
        assert_eq!(step(&asked, (2, &[1, 4]), owned, &[]), asked, "it still has {owned:?}");
    }
    assert_eq!(step(&asked, (2, &[1, 4]), Some(&[1]), &[]), at(2, 1, MemberState::Stable, &[1, 4], &[]));
}

#[test]
fn a_newer_target_overtakes_a_revocation_once_that_is_done() {
    let asked = at(1, 1, MemberState::UnrevokedPartitions, &[1, 2], &[3]);
    let next = step(&asked, (3, &[2]), Some(&[1, 2]), &[]);
    assert_eq!(next, at(1, 1, MemberState::UnrevokedPartitions, &[2], &[1]));
    assert_eq!(step(&next, (3, &[2]), Some(&[2]), &[]), at(3, 1, MemberState::Stable, &[2], &[]));
}

#[test]
fn a_member_that_joins_again_owns_nothing_and_need_not_be_asked() {
    let current = at(4, 3, MemberState::UnrevokedPartitions, &[1], &[2]);
    assert_eq!(step(&current, (5, &[3]), Some(&[]), &[]), at(5, 4, MemberState::Stable, &[3], &[]));
}

#[test]
fn states_have_kafkas_numbers() {
    for state in [MemberState::Stable, MemberState::UnrevokedPartitions, MemberState::UnreleasedPartitions] {
        assert_eq!(MemberState::from_code(state.code()), Some(state));
    }
    assert_eq!(MemberState::UnrevokedPartitions.code(), 1);
    assert_eq!(MemberState::from_code(127), None);
}
