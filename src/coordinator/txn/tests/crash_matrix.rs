//! The crash matrix, a test for each row: what is durable after a crash at that point, and how the
//! next coordinator goes on. Rows about partitions and groups show the coordinator's part.

use super::fixture::{TxnFixture, add_event, after, before, ident, pay, tp};
use super::partitions::MarkerAnswer;
use crate::coordinator::txn::{Effect, Event, Reply, TransactionState};
use crate::error_code::ErrorCode;
use crate::wire::control_record::EndTransaction::{Abort, Commit};
use crate::wire::control_record::TransactionVersion::{V1, V2};

#[test]
fn crash_after_init_computed_leaves_nothing_and_the_client_retries() {
    let mut fixture = TxnFixture::new();
    let init = fixture.init_event("pay", None);
    fixture.step_lost(Event::InitProducerId(init));
    assert!(fixture.shard.is_empty());
    assert!(fixture.init(None).is_ok());
}

#[test]
fn crash_after_init_logged_before_reply_bumps_again_without_an_expectation() {
    let mut fixture = TxnFixture::empty_at(5);
    let held = fixture.producer();
    let init = fixture.init_event("pay", None);
    fixture.step_unanswered(Event::InitProducerId(init));
    assert_eq!(fixture.producer(), after(held));
    assert_eq!(fixture.init(None), Ok(after(after(held))));
}

#[test]
fn crash_after_init_logged_before_reply_matches_the_last_epoch_of_a_v3_retry() {
    let mut fixture = TxnFixture::empty_at(5);
    let held = fixture.producer();
    let init = fixture.init_event("pay", Some(held));
    fixture.step_unanswered(Event::InitProducerId(init));
    assert_eq!(fixture.init(Some(held)), Ok(after(held)));
    assert_eq!(fixture.producer(), after(held));
}

#[test]
fn crash_after_add_partitions_logged_makes_the_retry_a_subset_or_lets_it_time_out() {
    let mut fixture = TxnFixture::empty_at(5);
    let producer = fixture.producer();
    let add = add_event(&pay(), producer, &[tp("a", 0)], V2);
    fixture.step_unanswered(Event::AddPartitions(add.clone()));
    let batches = fixture.log.len();
    assert_eq!(fixture.step(Event::AddPartitions(add)), Some(Reply::AddPartitions(ErrorCode::None)));
    assert_eq!(fixture.log.len(), batches);
    fixture.crash_and_reload();
    let deadline = fixture.shard.next_deadline().unwrap();
    assert_eq!(deadline, fixture.metadata().times_out_at());
    fixture.now = deadline;
    fixture.tick();
    fixture.deliver_markers();
    assert_eq!(fixture.state(), TransactionState::CompleteAbort);
}

#[test]
fn crash_after_partition_added_before_data_sends_a_marker_to_the_clean_partition() {
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V2);
    fixture.crash_and_reload();
    let producer = fixture.producer();
    fixture.end_v2(producer, Abort).unwrap();
    fixture.deliver_markers();
    assert_eq!(fixture.partitions.markers_applied, 1);
    assert!(!fixture.partitions.append(&tp("a", 0), producer, "zombie".into()), "the marker fences");
}

#[test]
fn crash_after_data_appended_on_the_leader_only_keeps_the_partition_in_the_transaction() {
    // The partition's log loses the batch; the coordinator still ends the transaction there.
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    fixture.crash_and_reload();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
    assert!(fixture.partitions.append(&tp("a", 0), producer, "again".into()));
    fixture.end_v2(producer, Commit).unwrap();
    fixture.deliver_markers();
    assert_eq!(fixture.partitions.values[0].outcome, Some(Commit));
}

#[test]
fn crash_after_data_replicated_before_reply_lets_the_same_transaction_go_on() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    assert!(fixture.partitions.append(&tp("a", 0), producer, "once".into()));
    fixture.crash_and_reload();
    assert_eq!(fixture.state(), TransactionState::Ongoing);
    fixture.end_v2(producer, Commit).unwrap();
    fixture.deliver_markers();
    assert_eq!(fixture.partitions.values[0].outcome, Some(Commit));
}

#[test]
fn crash_after_txn_offset_commit_logged_still_ends_the_offsets_partition() {
    let offsets = tp("__consumer_offsets", 12);
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0), offsets.clone()], V2);
    let producer = fixture.producer();
    assert!(fixture.partitions.append(&offsets, producer, "offsets".into()));
    fixture.crash_and_reload();
    fixture.end_v2(producer, Commit).unwrap();
    fixture.deliver_markers();
    assert_eq!(fixture.partitions.values[0].outcome, Some(Commit));
}

#[test]
fn crash_after_end_txn_received_with_unknown_outcome_is_decided_by_the_log() {
    // Not in the log: the transaction still runs, and the retry decides it.
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    let end = fixture.end_event(&pay(), producer, Commit, V2);
    fixture.step_lost(end);
    assert_eq!(fixture.state(), TransactionState::Ongoing);
    assert!(fixture.in_flight.is_empty());
    assert_eq!(fixture.end_v2(producer, Commit), Ok(after(producer)));
    // In the log: decided, and the retry is answered as one.
    let mut fixture = TxnFixture::ongoing();
    let end = fixture.end_event(&pay(), producer, Commit, V2);
    fixture.step_unanswered(end);
    assert_eq!(fixture.end_v2(producer, Commit), Err(ErrorCode::ConcurrentTransactions));
}

#[test]
fn crash_after_prepare_durable_before_reply_resends_all_markers() {
    for version in [V1, V2] {
        let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0), tp("b", 1)], version);
        let producer = fixture.producer();
        let end = fixture.end_event(&pay(), producer, Commit, version);
        fixture.step_unanswered(end);
        assert_eq!(fixture.marker_partitions(), [tp("a", 0), tp("b", 1)].into());
        assert_eq!(fixture.end(producer, Commit, version), Err(ErrorCode::ConcurrentTransactions));
        fixture.deliver_markers();
        let next = fixture.producer();
        assert_eq!(fixture.end(producer, Commit, version), Ok(next));
        assert_eq!(fixture.state(), TransactionState::CompleteCommit);
    }
}

#[test]
fn crash_after_some_markers_written_resends_to_every_listed_partition() {
    for version in [V1, V2] {
        let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0), tp("b", 1)], version);
        let producer = fixture.producer();
        for partition in [tp("a", 0), tp("b", 1)] {
            assert!(fixture.partitions.append(&partition, producer, "x".into()));
        }
        fixture.end(producer, Commit, version).unwrap();
        let first = fixture.in_flight.remove(0);
        assert_eq!(fixture.deliver(&first), MarkerAnswer::Written);
        fixture.crash_and_reload();
        assert_eq!(fixture.marker_partitions(), [tp("a", 0), tp("b", 1)].into());
        let epochs = |effect: &Effect| {
            let Effect::WriteMarker { marker, .. } = effect;
            marker.coordinator_epoch
        };
        assert!(epochs(&fixture.in_flight[0]) > epochs(&first));
        fixture.deliver_markers();
        assert_eq!(fixture.state(), TransactionState::CompleteCommit);
        assert!(fixture.partitions.values.iter().all(|value| value.outcome == Some(Commit)));
    }
}

#[test]
fn crash_after_all_markers_acknowledged_before_complete_resends_and_completes() {
    let mut fixture = TxnFixture::prepared(Commit);
    let effects = fixture.in_flight.clone();
    for effect in &effects {
        assert_eq!(fixture.write_marker(effect), MarkerAnswer::Written);
    }
    fixture.step_lost(Event::MarkerWritten(fixture.targets()[0].clone()));
    assert_eq!(fixture.state(), TransactionState::PrepareCommit);
    assert_eq!(fixture.in_flight.len(), 2);
    fixture.deliver_markers();
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
}

#[test]
fn crash_after_complete_logged_permits_the_next_transaction() {
    let mut fixture = TxnFixture::completed(Commit);
    fixture.crash_and_reload();
    assert!(fixture.in_flight.is_empty());
    let producer = fixture.producer();
    assert_eq!(fixture.end_v2(before(producer), Commit), Ok(producer));
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
}

#[test]
fn a_deposed_coordinator_still_sending_is_fenced_or_harmless() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    for partition in [tp("a", 0), tp("b", 1)] {
        assert!(fixture.partitions.append(&partition, producer, "x".into()));
    }
    fixture.end_v2(producer, Commit).unwrap();
    let deposed = fixture.in_flight.clone();
    fixture.crash_and_reload();
    let effect = fixture.in_flight.remove(0);
    fixture.deliver(&effect);
    // It is refused where the new coordinator has been, and the same marker elsewhere.
    let answers: Vec<_> = deposed.iter().map(|effect| fixture.write_marker(effect)).collect();
    assert_eq!(answers, [MarkerAnswer::Fenced, MarkerAnswer::Written]);
    fixture.deliver_markers();
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
    assert!(fixture.partitions.values.iter().all(|value| value.outcome == Some(Commit)));
}

#[test]
fn a_participant_leader_that_fails_after_its_local_append_gets_the_marker_again() {
    let mut fixture = TxnFixture::prepared(Commit);
    let effect = fixture.in_flight[0].clone();
    let target = fixture.targets()[0].clone();
    fixture.in_flight.clear();
    // The local append is lost with its leader; the runtime reports a failure and asks again.
    assert_eq!(fixture.step(Event::MarkerFailedRetry(target)), None);
    assert_eq!(fixture.in_flight, [effect]);
    assert_eq!(fixture.state(), TransactionState::PrepareCommit);
}

#[test]
fn timeout_scan_against_client_end_txn_has_one_winner() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    fixture.now = fixture.metadata().times_out_at();
    fixture.end_v2(producer, Commit).unwrap();
    fixture.tick();
    assert_eq!(fixture.state(), TransactionState::PrepareCommit, "the client was first");
    let mut fixture = TxnFixture::ongoing();
    fixture.now = fixture.metadata().times_out_at();
    fixture.tick();
    assert_eq!(fixture.end_v2(producer, Abort), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(fixture.state(), TransactionState::PrepareAbort, "the scan was first");
    fixture.deliver_markers();
    assert_eq!(fixture.end_v2(producer, Commit), Err(ErrorCode::ProducerFenced));
}

#[test]
fn crash_after_expiry_tombstone_logged_makes_the_id_unknown() {
    let mut fixture = TxnFixture::completed(Commit);
    let producer = fixture.producer();
    fixture.now = fixture.shard.next_deadline().unwrap();
    fixture.step_unanswered(Event::Tick);
    assert!(fixture.shard.is_empty());
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::InvalidProducerIdMapping);
    assert_ne!(fixture.init(None), Ok(producer));
    assert_ne!(fixture.producer().id, ident(1_001, 0).id);
}
