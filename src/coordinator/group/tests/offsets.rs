//! Commits, reads, transactions.

use super::*;

const NOBODY: MemberOfGeneration = MemberOfGeneration::NOBODY;

#[test]
fn a_simple_consumer_makes_its_group_by_committing() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.offset("grain", 0), None);
    assert_eq!(fixture.commit(NOBODY, &[("grain", 0, 7)]), ErrorCode::None);
    assert_eq!(fixture.offset("grain", 0), Some(7));
    let described = fixture.describe();
    assert_eq!((described.state, described.protocol_type.as_str()), (GroupState::Empty, ""));
    fixture.crash_and_reload();
    assert_eq!(fixture.offset("grain", 0), Some(7));
}

#[test]
fn a_commit_with_a_generation_into_no_group_is_refused_by_version() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, 7)]), ErrorCode::GroupIdNotFound);
    let commit = commit_of(member_of("a", 1), &[("grain", 0, 7)]);
    let unknown_group = UnknownGroup::IllegalGeneration;
    let reply = fixture.answer(|request| Event::OffsetCommit { request, commit, unknown_group });
    assert_eq!(reply, Reply::OffsetCommit(vec![(tp("grain", 0), ErrorCode::IllegalGeneration)]));
    let txn = fixture.txn_commit(producer(1, 0), member_of("a", 1), &[("grain", 0, 7)]);
    assert_eq!(txn, ErrorCode::IllegalGeneration);
}

#[test]
fn only_members_commit_while_there_are_any() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    assert_eq!(fixture.commit(NOBODY, &[("grain", 0, 1)]), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.commit(member_of("stranger", 1), &[("grain", 0, 1)]), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, 1)]), ErrorCode::None);
    fixture.leave(&[(Some("a"), None)]);
    assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, 2)]), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.commit(NOBODY, &[("grain", 0, 3)]), ErrorCode::None);
    assert_eq!(fixture.offset("grain", 0), Some(3));
}

#[test]
fn commits_wait_for_the_assignment_but_transactional_ones_do_not() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    fixture.join(rejoining("a"));
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    assert_eq!(fixture.commit(member_of("a", 2), &[("grain", 0, 1)]), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.txn_commit(producer(1, 0), member_of("a", 2), &[("grain", 0, 1)]), ErrorCode::None);
}

#[test]
fn members_still_commit_while_the_others_rejoin() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    fixture.join(rejoining("a"));
    assert_eq!(fixture.commit(member_of("b", 1), &[("grain", 0, 4)]), ErrorCode::None);
}

#[test]
fn metadata_that_is_too_large_fails_only_its_partition() {
    let mut fixture = Fixture::new();
    let mut commit = commit_of(NOBODY, &[("grain", 0, 7), ("grain", 1, 8)]);
    commit.partitions[0].metadata = "x".repeat(4097);
    commit.partitions[1].metadata = "x".repeat(4096);
    assert_eq!(fixture.commit_in(commit), ErrorCode::OffsetMetadataTooLarge);
    assert_eq!((fixture.offset("grain", 0), fixture.offset("grain", 1)), (None, Some(8)));
}

#[test]
fn a_commit_that_no_batch_can_hold_is_refused_as_a_whole() {
    let mut fixture = Fixture::with(GroupConfig { batch_bytes_max: 300, ..GroupConfig::default() });
    let partitions: Vec<(&str, i32, i64)> = (0..10).map(|p| ("grain", p, 1)).collect();
    assert_eq!(fixture.commit(NOBODY, &partitions), ErrorCode::InvalidCommitOffsetSize);
    assert_eq!(fixture.log.len(), 0);
}

#[test]
fn a_fetch_of_everything_lists_what_there_is() {
    let mut fixture = Fixture::new();
    fixture.commit(NOBODY, &[("grain", 0, 7), ("flour", 2, 8)]);
    fixture.txn_commit(producer(1, 0), NOBODY, &[("chaff", 0, 1)]);
    let mut fetch = |stability| {
        let partitions = FetchPartitions::All;
        let reply = fixture.answer(|request| Event::OffsetFetch {
            request,
            group: group(GROUP),
            member: None,
            partitions,
            stability,
        });
        let Reply::OffsetFetch(Ok(fetched)) = reply else { panic!("{reply:?}") };
        fetched.into_iter().map(|one| (one.partition.to_string(), one.error)).collect::<Vec<_>>()
    };
    let stable = [("flour-2".to_owned(), ErrorCode::None), ("grain-0".to_owned(), ErrorCode::None)];
    assert_eq!(fetch(OffsetStability::Any), stable);
    let unstable = ("chaff-0".to_owned(), ErrorCode::UnstableOffsetCommit);
    assert_eq!(fetch(OffsetStability::RequireStable).first(), Some(&unstable));
}

#[test]
fn offsets_of_an_open_transaction_are_unstable_and_unseen_until_it_commits() {
    let mut fixture = Fixture::new();
    fixture.commit(NOBODY, &[("grain", 0, 5)]);
    assert_eq!(fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 9)]), ErrorCode::None);
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::Any), (ErrorCode::None, Some(5)));
    let unstable = (ErrorCode::UnstableOffsetCommit, None);
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable), unstable);
    assert_eq!(fixture.fetch("grain", 1, OffsetStability::RequireStable), (ErrorCode::None, None));
    fixture.crash_and_reload();
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable), unstable);
    assert_eq!(fixture.end(producer(1, 0), EndTransaction::Commit), ErrorCode::None);
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable), (ErrorCode::None, Some(9)));
}

#[test]
fn aborted_offsets_vanish_with_the_group_they_made() {
    let mut fixture = Fixture::new();
    fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 9)]);
    assert_eq!(fixture.state(), GroupState::Empty);
    fixture.end(producer(1, 0), EndTransaction::Abort);
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable), (ErrorCode::None, None));
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn the_later_write_wins_when_a_plain_commit_races_a_transaction() {
    let mut fixture = Fixture::new();
    fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 10), ("grain", 1, 10)]);
    fixture.commit(NOBODY, &[("grain", 0, 20)]);
    fixture.crash_and_reload();
    fixture.end(producer(1, 0), EndTransaction::Commit);
    assert_eq!(fixture.offset("grain", 0), Some(20), "the plain commit was written later");
    assert_eq!(fixture.offset("grain", 1), Some(10));
    fixture.commit(NOBODY, &[("grain", 0, 30)]);
    fixture.txn_commit(producer(1, 1), NOBODY, &[("grain", 0, 40)]);
    fixture.end(producer(1, 1), EndTransaction::Commit);
    assert_eq!(fixture.offset("grain", 0), Some(40), "the transaction wrote later");
}

#[test]
fn two_open_transactions_on_one_partition_keep_it_unstable_until_both_end() {
    let mut fixture = Fixture::new();
    fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 10)]);
    fixture.txn_commit(producer(2, 0), NOBODY, &[("grain", 0, 11)]);
    fixture.end(producer(2, 0), EndTransaction::Commit);
    let unstable = (ErrorCode::UnstableOffsetCommit, None);
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable), unstable);
    fixture.end(producer(1, 0), EndTransaction::Commit);
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable), (ErrorCode::None, Some(11)));
}

#[test]
fn a_repeated_marker_is_written_again_and_harmless() {
    let mut fixture = Fixture::new();
    fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 9)]);
    fixture.end(producer(1, 0), EndTransaction::Commit);
    fixture.commit(NOBODY, &[("grain", 0, 12)]);
    assert_eq!(fixture.end(producer(1, 0), EndTransaction::Commit), ErrorCode::None);
    assert_eq!(fixture.offset("grain", 0), Some(12));
}

#[test]
fn a_marker_of_a_former_transaction_does_not_end_the_open_one() {
    let mut fixture = Fixture::new();
    fixture.txn_commit(producer(1, 3), NOBODY, &[("grain", 0, 9)]);
    assert_eq!(fixture.end(producer(1, 2), EndTransaction::Commit), ErrorCode::InvalidProducerEpoch);
    assert_eq!(
        fixture.txn_commit(producer(1, 2), NOBODY, &[("grain", 0, 1)]),
        ErrorCode::InvalidProducerEpoch
    );
    assert_eq!(fixture.fetch("grain", 0, OffsetStability::RequireStable).0, ErrorCode::UnstableOffsetCommit);
    assert_eq!(fixture.end(producer(1, 3), EndTransaction::Commit), ErrorCode::None);
    assert_eq!(fixture.offset("grain", 0), Some(9));
}

#[test]
fn a_first_version_marker_may_carry_the_epoch_of_the_transaction_itself() {
    let mut fixture = Fixture::new();
    fixture.txn_commit(producer(1, 3), NOBODY, &[("grain", 0, 9)]);
    let marker = EndTransactionMarker {
        producer: producer(1, 3),
        result: EndTransaction::Commit,
        coordinator_epoch: CoordinatorEpoch::ZERO,
    };
    let version = TransactionVersion::V1;
    let reply = fixture.answer(|request| Event::Marker { request, marker, version });
    assert_eq!(reply, Reply::Marker(ErrorCode::None));
    assert_eq!(fixture.offset("grain", 0), Some(9));
}

#[test]
fn old_transactional_clients_commit_without_naming_themselves() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    assert_eq!(fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 1)]), ErrorCode::None);
    let stranger = member_of("stranger", 1);
    assert_eq!(fixture.txn_commit(producer(1, 0), stranger, &[("grain", 0, 1)]), ErrorCode::UnknownMemberId);
}
