//! InitProducerId: sessions, retries, fencing, exhausted epochs.

use super::fixture::{TIMEOUT_MS, TxnFixture, after, before, ident, tp};
use crate::coordinator::txn::{ClientApi, Event, InitProducerId, Reply, TransactionState};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerIdent};
use crate::wire::control_record::EndTransaction::{Abort, Commit};
use crate::wire::control_record::TransactionVersion::{V1, V2};

const EPOCH_MAX: i16 = i16::MAX;

fn refusal(fixture: &mut TxnFixture, init: InitProducerId) -> ErrorCode {
    let batches = fixture.log.len();
    let reply = fixture.step(Event::InitProducerId(init));
    assert_eq!(fixture.log.len(), batches);
    match reply {
        Some(Reply::InitProducerId(Err(code))) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_id_gets_the_fresh_producer_id_at_epoch_zero() {
    let mut fixture = TxnFixture::new();
    assert_eq!(fixture.init(None), Ok(ident(1_001, 0)));
    assert_eq!(fixture.state(), TransactionState::Empty);
}

#[test]
fn a_client_that_holds_an_ident_of_a_forgotten_id_starts_anew() {
    let mut fixture = TxnFixture::new();
    assert_eq!(fixture.init(Some(ident(3, 9))), Ok(ident(1_001, 0)));
}

#[test]
fn empty_and_endless_ids_are_invalid_requests() {
    let mut fixture = TxnFixture::new();
    for name in [String::new(), "x".repeat(usize::from(i16::MAX as u16) + 1)] {
        let init = fixture.init_event(&name, None);
        assert_eq!(refusal(&mut fixture, init), ErrorCode::InvalidRequest);
    }
}

#[test]
fn a_timeout_must_be_positive_and_within_the_maximum() {
    let mut fixture = TxnFixture::new();
    for timeout_ms in [0, -1, i32::MIN, 15 * 60 * 1000 + 1] {
        let init = InitProducerId { timeout_ms, ..fixture.init_event("pay", None) };
        assert_eq!(refusal(&mut fixture, init), ErrorCode::InvalidTransactionTimeout);
    }
    let init = InitProducerId { timeout_ms: 15 * 60 * 1000, ..fixture.init_event("pay", None) };
    assert!(matches!(fixture.step(Event::InitProducerId(init)), Some(Reply::InitProducerId(Ok(_)))));
}

#[test]
fn each_new_session_bumps_the_epoch_and_fences_the_one_before() {
    let mut fixture = TxnFixture::new();
    let first = fixture.init(None).unwrap();
    let second = fixture.init(None).unwrap();
    assert_eq!(second, after(first));
    assert_eq!(fixture.add(first, &[tp("a", 0)], V2), ErrorCode::ProducerFenced);
    assert_eq!(fixture.init(Some(first)), Err(ErrorCode::ProducerFenced));
    assert_eq!(fixture.add(second, &[tp("a", 0)], V2), ErrorCode::None);
}

#[test]
fn a_retry_with_the_expected_ident_gets_the_same_answer() {
    let mut fixture = TxnFixture::empty_at(5);
    let held = fixture.producer();
    assert_eq!(fixture.init(Some(held)), Ok(after(held)));
    assert_eq!(fixture.init(Some(held)), Ok(after(held)));
    fixture.crash_and_reload();
    assert_eq!(fixture.init(Some(held)), Ok(after(held)));
    assert_eq!(fixture.init(Some(before(held))), Err(ErrorCode::ProducerFenced));
}

#[test]
fn another_producer_id_than_the_current_or_the_rotated_is_fenced() {
    let mut fixture = TxnFixture::empty_at(5);
    let held = fixture.producer();
    let other = ident(held.id.value() + 9, held.epoch.value());
    assert_eq!(fixture.init(Some(other)), Err(ErrorCode::ProducerFenced));
    let init =
        InitProducerId { api: ClientApi::of_init_producer_id(3), ..fixture.init_event("pay", Some(other)) };
    assert_eq!(refusal(&mut fixture, init), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn a_decided_transaction_makes_every_new_session_wait() {
    for expected in [None, Some(ident(1, 1)), Some(ident(1_001, 6))] {
        let mut fixture = TxnFixture::prepared(Commit);
        assert_eq!(fixture.init(expected), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(fixture.state(), TransactionState::PrepareCommit);
    }
}

#[test]
fn an_ongoing_transaction_is_fenced_and_aborted_with_one_bump() {
    for version in [V1, V2] {
        let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], version);
        let old = fixture.producer();
        assert_eq!(fixture.init(None), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(fixture.state(), TransactionState::PrepareAbort);
        assert_eq!(fixture.producer(), after(old));
        assert_eq!(fixture.init(None), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(fixture.producer(), after(old), "the retry does not bump again");
        fixture.deliver_markers();
        assert_eq!(fixture.init(None), Ok(after(after(old))));
        assert_eq!(fixture.end(old, Commit, version), Err(ErrorCode::ProducerFenced));
    }
}

#[test]
fn a_zombie_that_names_its_old_ident_does_not_abort_its_successor() {
    let mut fixture = TxnFixture::ongoing();
    let zombie = before(fixture.producer());
    assert_eq!(fixture.init(Some(zombie)), Err(ErrorCode::ProducerFenced));
    assert_eq!(fixture.state(), TransactionState::Ongoing);
}

#[test]
fn after_the_fence_of_its_transaction_a_producer_cannot_continue_with_its_old_ident() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    assert_eq!(fixture.init(Some(producer)), Err(ErrorCode::ConcurrentTransactions));
    fixture.deliver_markers();
    assert_eq!(fixture.init(Some(producer)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn the_lost_answer_of_a_v2_end_is_found_by_the_next_session() {
    let mut fixture = TxnFixture::completed(Commit);
    let old = before(fixture.producer());
    assert_eq!(fixture.init(Some(old)), Ok(after(old)));
    assert_eq!(fixture.state(), TransactionState::Empty);
}

#[test]
fn exhausted_epochs_rotate_to_the_fresh_producer_id() {
    let mut fixture = TxnFixture::empty_at(EPOCH_MAX - 2);
    let old = fixture.producer();
    let last = fixture.init(None).unwrap();
    assert_eq!(last, after(old));
    let rotated = fixture.init(None).unwrap();
    assert_ne!(rotated.id, old.id);
    assert_eq!(rotated.epoch, ProducerEpoch::ZERO);
    assert_eq!(fixture.init(Some(last)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn the_retry_of_a_rotation_gets_the_same_answer_across_a_crash() {
    let mut fixture = TxnFixture::empty_at(EPOCH_MAX - 1);
    let old = fixture.producer();
    let rotated = fixture.init(Some(old)).unwrap();
    fixture.crash_and_reload();
    assert_eq!(fixture.init(Some(old)), Ok(rotated));
    // Once the new ident has been used for a session, the old one is gone for good.
    assert_eq!(fixture.init(Some(rotated)), Ok(after(rotated)));
    assert_eq!(fixture.init(Some(old)), Err(ErrorCode::ProducerFenced));
}

#[test]
fn a_retry_at_the_last_usable_epoch_is_answered_without_a_rotation() {
    let mut fixture = TxnFixture::empty_at(EPOCH_MAX - 2);
    let old = fixture.producer();
    let last = fixture.init(Some(old)).unwrap();
    assert_eq!(last.epoch.value(), EPOCH_MAX - 1);
    assert_eq!(fixture.init(Some(old)), Ok(last));
}

#[test]
fn a_fence_that_uses_up_the_epochs_never_hands_out_the_last_one() {
    for version in [V1, V2] {
        let mut fixture = TxnFixture::ongoing_at(EPOCH_MAX - 1, &[tp("a", 0)], version);
        let old = fixture.producer();
        fixture.now = fixture.metadata().times_out_at();
        fixture.tick();
        let fence = ident(old.id.value(), EPOCH_MAX);
        assert_eq!(fixture.producer(), fence);
        fixture.deliver_markers();
        assert_eq!(fixture.add(fence, &[tp("a", 0)], version), ErrorCode::ProducerFenced);
        assert_eq!(fixture.end(old, Abort, version), Err(ErrorCode::ProducerFenced));
        assert_eq!(fixture.init(Some(old)), Err(ErrorCode::ProducerFenced));
        let next: ProducerIdent = fixture.init(None).unwrap();
        assert_ne!(next.id, old.id);
        assert_eq!(next.epoch, ProducerEpoch::ZERO);
    }
}

#[test]
fn a_v2_fence_by_a_new_session_rotates_at_completion() {
    let mut fixture = TxnFixture::ongoing_at(EPOCH_MAX - 1, &[tp("a", 0)], V2);
    let old = fixture.producer();
    assert_eq!(fixture.init(None), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(fixture.targets()[0].producer, ident(old.id.value(), EPOCH_MAX));
    fixture.deliver_markers();
    assert_ne!(fixture.producer().id, old.id);
    let next = fixture.init(None).unwrap();
    assert_eq!(next.epoch.value(), 1);
    assert_eq!(fixture.metadata().timeout_ms, TIMEOUT_MS);
}

#[test]
fn a_fence_forgets_who_might_have_asked_again() {
    let mut fixture = TxnFixture::completed(Commit);
    let producer = fixture.producer();
    let asked_before = before(producer);
    assert_eq!(fixture.metadata().last_producer_epoch, Some(asked_before.epoch));
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
    fixture.now = fixture.metadata().times_out_at();
    fixture.tick();
    fixture.deliver_markers();
    assert_eq!(fixture.metadata().last_producer_epoch, None);
    assert_eq!(fixture.init(Some(asked_before)), Err(ErrorCode::ProducerFenced));
}
