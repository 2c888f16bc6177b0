//! Every row of the EndTxn table (KIP-890): `e` is the request's epoch, `E` the stored one, a retry
//! has `E = e + 1` or repeats the end that rotated the producer id.

use super::fixture::{TxnFixture, after, before, ident, tp};
use crate::coordinator::txn::{ClientApi, EndTxn, Event, Reply, TransactionState};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerEpoch, ProducerIdent};
use crate::wire::control_record::EndTransaction::{self, Abort, Commit};
use crate::wire::control_record::TransactionVersion::{V1, V2};

const EPOCH_MAX: i16 = i16::MAX;

/// The current holder's request.
fn current(
    mut fixture: TxnFixture,
    result: EndTransaction,
) -> (Result<ProducerIdent, ErrorCode>, TxnFixture) {
    let producer = fixture.producer();
    (fixture.end_v2(producer, result), fixture)
}

/// The request of the transaction before, again; it must write nothing.
fn retry(mut fixture: TxnFixture, result: EndTransaction) -> Result<ProducerIdent, ErrorCode> {
    let producer = before(fixture.producer());
    let batches = fixture.log.len();
    let answer = fixture.end_v2(producer, result);
    assert_eq!(fixture.log.len(), batches);
    answer
}

/// An empty abort is decided and complete in one write, and bumps the epoch.
fn is_empty_abort(outcome: (Result<ProducerIdent, ErrorCode>, TxnFixture), from: ProducerIdent) {
    let (answer, fixture) = outcome;
    assert_eq!(answer, Ok(after(from)));
    assert_eq!(fixture.state(), TransactionState::CompleteAbort);
    assert_eq!(fixture.producer(), after(from));
    assert!(fixture.in_flight.is_empty());
    let last = fixture.log.last().unwrap();
    assert_eq!(last.len(), 2, "the log shows PrepareAbort and CompleteAbort");
}

#[test]
fn ongoing_commit_prepares_commit_and_bumps_the_epoch() {
    let (answer, fixture) = current(TxnFixture::ongoing(), Commit);
    assert_eq!(answer, Ok(ident(1_001, 6)));
    assert_eq!(fixture.state(), TransactionState::PrepareCommit);
    assert!(fixture.targets().iter().all(|target| target.producer == ident(1_001, 6)));
    assert_eq!(fixture.targets().len(), 2);
}

#[test]
fn ongoing_abort_prepares_abort_and_bumps_the_epoch() {
    let (answer, fixture) = current(TxnFixture::ongoing(), Abort);
    assert_eq!(answer, Ok(ident(1_001, 6)));
    assert_eq!(fixture.state(), TransactionState::PrepareAbort);
    assert_eq!(fixture.targets().len(), 2);
}

#[test]
fn empty_commit_is_an_invalid_state() {
    assert_eq!(current(TxnFixture::empty_at(5), Commit).0, Err(ErrorCode::InvalidTxnState));
}

#[test]
fn empty_abort_bumps_the_epoch_without_markers() {
    let fixture = TxnFixture::empty_at(5);
    let from = fixture.producer();
    is_empty_abort(current(fixture, Abort), from);
}

#[test]
fn prepare_commit_retry_of_commit_is_concurrent() {
    assert_eq!(retry(TxnFixture::prepared(Commit), Commit), Err(ErrorCode::ConcurrentTransactions));
}

#[test]
fn prepare_commit_retry_with_abort_is_an_invalid_state() {
    assert_eq!(retry(TxnFixture::prepared(Commit), Abort), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn prepare_abort_retry_with_commit_is_an_invalid_state() {
    assert_eq!(retry(TxnFixture::prepared(Abort), Commit), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn prepare_abort_retry_of_abort_is_concurrent() {
    assert_eq!(retry(TxnFixture::prepared(Abort), Abort), Err(ErrorCode::ConcurrentTransactions));
}

#[test]
fn complete_commit_retry_of_commit_answers_the_stored_ident() {
    assert_eq!(retry(TxnFixture::completed(Commit), Commit), Ok(ident(1_001, 6)));
}

#[test]
fn complete_commit_retry_with_abort_is_an_invalid_state() {
    assert_eq!(retry(TxnFixture::completed(Commit), Abort), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn complete_commit_next_commit_without_partitions_is_an_invalid_state() {
    assert_eq!(current(TxnFixture::completed(Commit), Commit).0, Err(ErrorCode::InvalidTxnState));
}

#[test]
fn complete_commit_next_abort_is_an_empty_abort() {
    is_empty_abort(current(TxnFixture::completed(Commit), Abort), ident(1_001, 6));
}

#[test]
fn complete_abort_retry_with_commit_is_fenced() {
    assert_eq!(retry(TxnFixture::completed(Abort), Commit), Err(ErrorCode::ProducerFenced));
}

#[test]
fn complete_abort_retry_of_abort_answers_the_stored_ident() {
    assert_eq!(retry(TxnFixture::completed(Abort), Abort), Ok(ident(1_001, 6)));
}

#[test]
fn complete_abort_next_commit_is_an_invalid_state() {
    assert_eq!(current(TxnFixture::completed(Abort), Commit).0, Err(ErrorCode::InvalidTxnState));
}

#[test]
fn complete_abort_next_abort_is_an_empty_abort() {
    is_empty_abort(current(TxnFixture::completed(Abort), Abort), ident(1_001, 6));
}

#[test]
fn anything_else_is_fenced_by_epoch_or_unmapped_by_producer_id() {
    let fixtures: [fn() -> TxnFixture; 6] = [
        || TxnFixture::empty_at(5),
        TxnFixture::ongoing,
        || TxnFixture::prepared(Commit),
        || TxnFixture::prepared(Abort),
        || TxnFixture::completed(Commit),
        || TxnFixture::completed(Abort),
    ];
    for make in fixtures {
        for result in [Commit, Abort] {
            let mut fixture = make();
            let stored = fixture.producer();
            let old = ident(stored.id.value(), stored.epoch.value() - 2);
            let batches = fixture.log.len();
            assert_eq!(fixture.end_v2(old, result), Err(ErrorCode::ProducerFenced));
            assert_eq!(fixture.end_v2(after(stored), result), Err(ErrorCode::ProducerFenced));
            let other = ident(stored.id.value() + 50, stored.epoch.value());
            assert_eq!(fixture.end_v2(other, result), Err(ErrorCode::InvalidProducerIdMapping));
            assert_eq!(fixture.log.len(), batches);
        }
    }
}

#[test]
fn a_retry_is_fenced_once_the_next_transaction_or_session_has_begun() {
    let mut fixture = TxnFixture::completed(Commit);
    let old = before(fixture.producer());
    let producer = fixture.producer();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
    assert_eq!(fixture.end_v2(old, Commit), Err(ErrorCode::ProducerFenced));
    let mut fixture = TxnFixture::completed(Commit);
    let producer = fixture.init(None).unwrap();
    assert_eq!(fixture.end_v2(before(producer), Commit), Err(ErrorCode::ProducerFenced));
}

#[test]
fn the_next_transaction_of_a_client_that_already_knows_its_ident_waits_for_the_markers() {
    let mut fixture = TxnFixture::prepared(Commit);
    let producer = fixture.producer();
    assert_eq!(fixture.end_v2(producer, Abort), Err(ErrorCode::ConcurrentTransactions));
    fixture.deliver_markers();
    assert_eq!(fixture.end_v2(producer, Abort), Ok(after(producer)));
}

#[test]
fn a_commit_that_lost_the_race_against_a_timeout_is_fenced_before_and_after_the_markers() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    fixture.now = fixture.metadata().times_out_at();
    fixture.tick();
    assert_eq!(fixture.state(), TransactionState::PrepareAbort);
    assert_eq!(fixture.end_v2(producer, Commit), Err(ErrorCode::ProducerFenced));
    assert_eq!(fixture.end_v2(producer, Abort), Err(ErrorCode::ConcurrentTransactions));
    fixture.deliver_markers();
    assert_eq!(fixture.end_v2(producer, Commit), Err(ErrorCode::ProducerFenced));
    assert_eq!(fixture.end_v2(producer, Abort), Ok(after(producer)));
}

#[test]
fn the_last_epoch_rotates_the_producer_id_at_completion() {
    let mut fixture = TxnFixture::ongoing_at(EPOCH_MAX - 1, &[tp("a", 0)], V2);
    let old = fixture.producer();
    let next = fixture.end_v2(old, Commit).unwrap();
    assert_ne!(next.id, old.id);
    assert_eq!(next.epoch, ProducerEpoch::ZERO);
    assert_eq!(fixture.targets()[0].producer, ident(old.id.value(), EPOCH_MAX));
    assert_eq!(fixture.producer(), ident(old.id.value(), EPOCH_MAX));
    // Neither the retry nor the next transaction is fenced while the markers are on their way.
    assert_eq!(fixture.end_v2(old, Commit), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(fixture.end_v2(next, Abort), Err(ErrorCode::ConcurrentTransactions));
    assert_eq!(fixture.add(next, &[tp("a", 0)], V2), ErrorCode::ConcurrentTransactions);
    fixture.deliver_markers();
    assert_eq!(fixture.producer(), next);
    assert_eq!(fixture.metadata().previous_producer_id, Some(old.id));
    assert_eq!(fixture.add(next, &[tp("a", 0)], V2), ErrorCode::None);
}

#[test]
fn an_overflow_retry_of_the_same_verb_answers_the_rotated_ident() {
    for result in [Commit, Abort] {
        let mut fixture = TxnFixture::ongoing_at(EPOCH_MAX - 1, &[tp("a", 0)], V2);
        let old = fixture.producer();
        let next = fixture.end_v2(old, result).unwrap();
        fixture.deliver_markers();
        assert_eq!(fixture.end_v2(old, result), Ok(next));
        fixture.crash_and_reload();
        assert_eq!(fixture.end_v2(old, result), Ok(next));
        // InitProducerId finds the lost answer as well.
        assert_eq!(fixture.init(Some(old)), Ok(next));
        assert_eq!(fixture.end_v2(old, result), Err(ErrorCode::InvalidProducerIdMapping));
    }
}

#[test]
fn an_overflow_retry_with_the_other_verb_is_refused_like_any_retry() {
    for (result, other, code) in
        [(Commit, Abort, ErrorCode::InvalidTxnState), (Abort, Commit, ErrorCode::ProducerFenced)]
    {
        let mut fixture = TxnFixture::ongoing_at(EPOCH_MAX - 1, &[tp("a", 0)], V2);
        let old = fixture.producer();
        fixture.end_v2(old, result).unwrap();
        fixture.deliver_markers();
        assert_eq!(fixture.end_v2(old, other), Err(code));
    }
}

#[test]
fn an_empty_abort_at_the_last_epoch_rotates_at_once() {
    let mut fixture = TxnFixture::empty_at(EPOCH_MAX - 1);
    let old = fixture.producer();
    let next = fixture.end_v2(old, Abort).unwrap();
    assert_ne!(next.id, old.id);
    assert_eq!(fixture.producer(), next);
    assert_eq!(fixture.end_v2(old, Abort), Ok(next));
}

#[test]
fn without_a_fresh_producer_id_an_exhausting_end_is_answered_retriably_and_changes_nothing() {
    let mut fixture = TxnFixture::ongoing_at(EPOCH_MAX - 1, &[tp("a", 0)], V2);
    let producer = fixture.producer();
    let Event::EndTxn(end) = fixture.end_event(&super::fixture::pay(), producer, Commit, V2) else {
        panic!("it is an EndTxn");
    };
    assert!(end.fresh.is_some());
    let reply = fixture.step(Event::EndTxn(EndTxn { fresh: None, ..end }));
    assert_eq!(reply, Some(Reply::EndTxn(Err(ErrorCode::CoordinatorNotAvailable))));
    assert_eq!(fixture.state(), TransactionState::Ongoing);
}

#[test]
fn v1_ends_without_a_bump_and_cannot_tell_a_retry_from_the_next_end() {
    for (result, other) in [(Commit, Abort), (Abort, Commit)] {
        let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V1);
        let producer = fixture.producer();
        assert_eq!(fixture.end(producer, result, V1), Ok(producer));
        assert_eq!(fixture.targets()[0].producer, producer);
        assert_eq!(fixture.end(producer, result, V1), Err(ErrorCode::ConcurrentTransactions));
        assert_eq!(fixture.end(producer, other, V1), Err(ErrorCode::InvalidTxnState));
        fixture.deliver_markers();
        assert_eq!(fixture.end(producer, result, V1), Ok(producer));
        assert_eq!(fixture.end(producer, other, V1), Err(ErrorCode::InvalidTxnState));
        assert_eq!(fixture.end(before(producer), result, V1), Err(ErrorCode::ProducerFenced));
    }
}

#[test]
fn v1_end_of_an_empty_id_is_an_invalid_state() {
    let mut fixture = TxnFixture::empty_at(5);
    let producer = fixture.producer();
    assert_eq!(fixture.end(producer, Commit, V1), Err(ErrorCode::InvalidTxnState));
    assert_eq!(fixture.end(producer, Abort, V1), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn v1_clients_before_kip_588_hear_invalid_producer_epoch() {
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V1);
    let producer = before(fixture.producer());
    let Event::EndTxn(end) = fixture.end_event(&super::fixture::pay(), producer, Commit, V1) else {
        panic!("it is an EndTxn");
    };
    let api = ClientApi::of_add_offsets_or_end_txn(1);
    let reply = fixture.step(Event::EndTxn(EndTxn { api, ..end }));
    assert_eq!(reply, Some(Reply::EndTxn(Err(ErrorCode::InvalidProducerEpoch))));
}

#[test]
fn v2_request_is_no_retry_of_a_v1_end() {
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V1);
    let producer = fixture.producer();
    fixture.end(producer, Commit, V1).unwrap();
    fixture.deliver_markers();
    assert_eq!(fixture.end_v2(before(producer), Commit), Err(ErrorCode::ProducerFenced));
    assert_eq!(fixture.end_v2(producer, Commit), Err(ErrorCode::InvalidTxnState));
}

#[test]
fn a_transaction_opened_by_v1_may_be_ended_by_v2_and_the_other_way_round() {
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V1);
    let producer = fixture.producer();
    let next = fixture.end_v2(producer, Commit).unwrap();
    assert_eq!(next, after(producer));
    fixture.deliver_markers();
    assert_eq!(fixture.add(next, &[tp("a", 0)], V2), ErrorCode::None);
    assert_eq!(fixture.end(next, Commit, V1), Ok(next));
    fixture.deliver_markers();
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
}

#[test]
fn end_of_an_unknown_or_empty_id_is_refused() {
    let mut fixture = TxnFixture::new();
    assert_eq!(fixture.end_v2(ident(1, 0), Commit), Err(ErrorCode::InvalidProducerIdMapping));
    let event = fixture.end_event(&super::fixture::id(""), ident(1, 0), Commit, V2);
    assert_eq!(fixture.step(event), Some(Reply::EndTxn(Err(ErrorCode::InvalidRequest))));
}
