//! Markers: counted off once, never for the wrong transaction, never given up.

use super::fixture::{TxnFixture, after, tp};
use crate::coordinator::txn::{Effect, Event, MarkerTarget, TransactionState};
use crate::error_code::ErrorCode;
use crate::ids::CoordinatorEpoch;
use crate::wire::control_record::EndTransaction::{Abort, Commit};
use crate::wire::control_record::TransactionVersion::{V1, V2};

#[test]
fn a_marker_carries_the_bumped_epoch_the_result_and_the_coordinator_epoch() {
    let fixture = TxnFixture::prepared(Abort);
    for Effect::WriteMarker { marker, version, .. } in &fixture.in_flight {
        assert_eq!(marker.producer, fixture.producer());
        assert_eq!(marker.result, Abort);
        assert_eq!(*version, V2);
        assert!(marker.coordinator_epoch > CoordinatorEpoch::ZERO);
    }
}

#[test]
fn the_last_marker_completes_the_transaction_and_repeats_change_nothing() {
    let mut fixture = TxnFixture::prepared(Commit);
    let targets = fixture.targets();
    let batches = fixture.log.len();
    for _ in 0..2 {
        assert_eq!(fixture.step(Event::MarkerWritten(targets[0].clone())), None);
        assert_eq!(fixture.state(), TransactionState::PrepareCommit);
    }
    fixture.step(Event::MarkerWritten(targets[1].clone()));
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
    assert!(fixture.metadata().partitions.is_empty());
    for target in targets {
        fixture.step(Event::MarkerWritten(target.clone()));
        fixture.step(Event::MarkerFailedRetry(target));
    }
    assert_eq!(fixture.log.len(), batches + 1);
}

#[test]
fn a_late_answer_for_an_earlier_v1_transaction_does_not_count_for_the_present_one() {
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V1);
    let producer = fixture.producer();
    fixture.end(producer, Commit, V1).unwrap();
    let stale = fixture.targets()[0].clone();
    fixture.deliver_markers();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V1), ErrorCode::None);
    fixture.step(Event::MarkerWritten(stale.clone()));
    fixture.end(producer, Abort, V1).unwrap();
    fixture.step(Event::MarkerWritten(stale.clone()));
    fixture.step(Event::PartitionGone(stale.clone()));
    fixture.step(Event::MarkerFailedRetry(stale.clone()));
    assert_eq!(fixture.state(), TransactionState::PrepareAbort);
    assert_eq!(fixture.in_flight.len(), 1);
    // The number is in the log, so a reload does not forget it.
    fixture.crash_and_reload();
    fixture.step(Event::MarkerWritten(stale));
    assert_eq!(fixture.state(), TransactionState::PrepareAbort);
    fixture.deliver_markers();
    assert_eq!(fixture.state(), TransactionState::CompleteAbort);
}

#[test]
fn answers_for_unknown_ids_idents_and_partitions_are_ignored() {
    let mut fixture = TxnFixture::prepared(Commit);
    let target = fixture.targets()[0].clone();
    let batches = fixture.log.len();
    let strangers = [
        MarkerTarget { transactional_id: super::fixture::id("other"), ..target.clone() },
        MarkerTarget { producer: after(target.producer), ..target.clone() },
        MarkerTarget { partition: tp("z", 0), ..target },
    ];
    for stranger in strangers {
        for event in
            [Event::MarkerWritten, Event::MarkerFenced, Event::PartitionGone, Event::MarkerFailedRetry]
        {
            assert_eq!(fixture.step(event(stranger.clone())), None);
        }
    }
    assert_eq!(fixture.log.len(), batches);
    assert_eq!(fixture.in_flight.len(), 2);
}

#[test]
fn a_partition_that_is_gone_no_longer_holds_the_transaction_up() {
    let mut fixture = TxnFixture::prepared(Commit);
    let targets = fixture.targets();
    fixture.step(Event::PartitionGone(targets[0].clone()));
    fixture.step(Event::MarkerWritten(targets[1].clone()));
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
}

#[test]
fn a_fenced_marker_leaves_the_transaction_decided_until_it_is_resumed() {
    let mut fixture = TxnFixture::prepared(Commit);
    for target in fixture.targets() {
        fixture.step(Event::MarkerFenced(target));
    }
    assert_eq!(fixture.state(), TransactionState::PrepareCommit);
    assert_eq!(fixture.shard.next_deadline(), None);
    fixture.crash_and_reload();
    assert_eq!(fixture.in_flight.len(), 2);
    fixture.deliver_markers();
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
}
