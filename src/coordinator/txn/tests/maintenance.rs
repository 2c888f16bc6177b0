//! Ticks, deadlines, forced aborts, and what DescribeTransactions and ListTransactions show.

use std::time::Duration;

use super::fixture::{REQUEST, TxnFixture, add_event, after, before, id, pay, tp};
use crate::clock::Timestamp;
use crate::coordinator::txn::{
    Event, ListFilters, Reply, TransactionDescription, TransactionListing, TransactionMetadata,
    TransactionState, TxnConfig, TxnRecord,
};
use crate::error_code::ErrorCode;
use crate::ids::{ProducerId, TransactionalId};
use crate::wire::control_record::EndTransaction::{Abort, Commit};
use crate::wire::control_record::TransactionVersion::{V1, V2};

const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn force_abort(fixture: &mut TxnFixture, transactional_id: TransactionalId) -> ErrorCode {
    match fixture.step(Event::ForceAbort { request: REQUEST, transactional_id }) {
        Some(Reply::ForceAbort(code)) => code,
        other => panic!("{other:?}"),
    }
}

fn describe(fixture: &mut TxnFixture, name: &str) -> Result<TransactionDescription, ErrorCode> {
    match fixture.step(Event::Describe { request: REQUEST, transactional_id: id(name) }) {
        Some(Reply::Describe(result)) => result,
        other => panic!("{other:?}"),
    }
}

fn list(fixture: &mut TxnFixture, filters: ListFilters) -> TransactionListing {
    match fixture.step(Event::List { request: REQUEST, filters }) {
        Some(Reply::List(listing)) => listing,
        other => panic!("{other:?}"),
    }
}

fn names(listing: &TransactionListing) -> Vec<&str> {
    listing.transactions.iter().map(|listed| listed.transactional_id.as_str()).collect()
}

/// `names` all with a running transaction.
fn running(config: TxnConfig, names: &[&str]) -> TxnFixture {
    let mut fixture = TxnFixture::with_config(config);
    for name in names {
        fixture.seed(name, 5);
        let producer = fixture.shard.metadata(&id(name)).unwrap().producer;
        let add = add_event(&id(name), producer, &[tp("a", 0)], V2);
        fixture.step(Event::AddPartitions(add));
    }
    fixture
}

#[test]
fn a_timed_out_transaction_is_fenced_and_aborted_not_earlier() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    let deadline = fixture.metadata().times_out_at();
    assert_eq!(fixture.shard.next_deadline(), Some(deadline));
    fixture.now = Timestamp::from_ms(deadline.ms() - 1);
    fixture.tick();
    assert_eq!(fixture.state(), TransactionState::Ongoing);
    fixture.now = deadline;
    fixture.tick();
    assert_eq!(fixture.state(), TransactionState::PrepareAbort);
    assert_eq!(fixture.producer(), after(producer));
    assert_eq!(fixture.in_flight.len(), 2);
    assert_eq!(fixture.shard.next_deadline(), None);
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::ConcurrentTransactions);
    fixture.deliver_markers();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::ProducerFenced);
}

#[test]
fn more_partitions_do_not_prolong_a_transaction() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    let deadline = fixture.shard.next_deadline();
    fixture.advance(Duration::from_secs(30));
    fixture.add(producer, &[tp("c", 0)], V2);
    assert_eq!(fixture.shard.next_deadline(), deadline);
}

#[test]
fn an_idle_id_expires_by_a_tombstone_after_a_week_of_silence() {
    let mut fixture = TxnFixture::completed(Commit);
    fixture.advance(WEEK - Duration::from_millis(1));
    fixture.tick();
    assert_eq!(fixture.shard.len(), 1);
    fixture.advance(Duration::from_millis(1));
    fixture.tick();
    assert!(fixture.shard.is_empty());
    assert_eq!(fixture.records().last(), Some(&TxnRecord { transactional_id: pay(), metadata: None }));
    assert_eq!(fixture.shard.next_deadline(), None);
}

#[test]
fn a_decided_transaction_never_expires() {
    let mut fixture = TxnFixture::prepared(Commit);
    fixture.advance(WEEK * 10);
    fixture.tick();
    assert_eq!(fixture.state(), TransactionState::PrepareCommit);
}

#[test]
fn a_tick_does_bounded_work_and_what_is_left_stays_due() {
    let by_records = TxnConfig { tick_records_max: 2, ..TxnConfig::default() };
    let by_bytes = TxnConfig { write_bytes_max: 300, ..TxnConfig::default() };
    for config in [by_records, by_bytes] {
        let mut fixture = running(config, &["a", "b", "c", "d", "e"]);
        fixture.now = fixture.now.plus(Duration::from_secs(3600));
        for left in [3, 1, 0] {
            assert!(fixture.shard.next_deadline().is_some_and(|deadline| deadline <= fixture.now));
            fixture.tick();
            let ongoing = ListFilters { states: vec!["Ongoing".into()], ..ListFilters::default() };
            assert_eq!(list(&mut fixture, ongoing).transactions.len(), left);
        }
        assert_eq!(fixture.in_flight.len(), 5);
        assert_eq!(fixture.shard.next_deadline(), None);
    }
}

#[test]
fn one_piece_of_work_larger_than_the_bound_is_still_done() {
    let config = TxnConfig { tick_records_max: 0, write_bytes_max: 20, ..TxnConfig::default() };
    let mut fixture = running(config, &["a"]);
    fixture.now = fixture.shard.next_deadline().unwrap();
    fixture.tick();
    assert_eq!(fixture.in_flight.len(), 1);
}

#[test]
fn a_decided_transaction_without_partitions_from_another_writers_log_is_completed_by_a_tick() {
    let mut fixture = TxnFixture::new();
    let fresh = fixture.fresh();
    let mut metadata = TransactionMetadata::new(fresh, 1_000, fixture.now);
    metadata.state = TransactionState::PrepareCommit;
    fixture.log.push(vec![TxnRecord { transactional_id: pay(), metadata: Some(metadata) }.encode()]);
    fixture.crash_and_reload();
    assert!(fixture.shard.next_deadline().is_some_and(|deadline| deadline <= fixture.now));
    fixture.tick();
    assert_eq!(fixture.state(), TransactionState::CompleteCommit);
}

#[test]
fn a_forced_abort_ends_a_running_transaction_and_fences_its_producer() {
    for version in [V1, V2] {
        let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], version);
        let producer = fixture.producer();
        assert_eq!(force_abort(&mut fixture, pay()), ErrorCode::None);
        assert_eq!(fixture.state(), TransactionState::PrepareAbort);
        fixture.deliver_markers();
        assert_eq!(fixture.end(producer, Commit, version), Err(ErrorCode::ProducerFenced));
        assert_eq!(force_abort(&mut fixture, pay()), ErrorCode::InvalidTxnState);
    }
}

#[test]
fn a_forced_abort_of_a_decided_transaction_sends_no_marker_a_second_time() {
    // A second copy, late, could end the next transaction of the same epoch (transactions V1).
    let mut fixture = TxnFixture::prepared(Commit);
    let targets = fixture.targets();
    fixture.in_flight.clear();
    fixture.step(Event::MarkerWritten(targets[0].clone()));
    assert_eq!(force_abort(&mut fixture, pay()), ErrorCode::ConcurrentTransactions);
    assert!(fixture.in_flight.is_empty());
    assert_eq!(fixture.state(), TransactionState::PrepareCommit);
    assert_eq!(force_abort(&mut fixture, id("nobody")), ErrorCode::TransactionalIdNotFound);
}

#[test]
fn describe_shows_the_running_transaction_and_the_missing_markers() {
    let mut fixture = TxnFixture::ongoing();
    let start = Some(fixture.now);
    let running = describe(&mut fixture, "pay").unwrap();
    assert_eq!((running.state, running.start), (TransactionState::Ongoing, start));
    assert_eq!(running.partitions, [tp("a", 0), tp("b", 1)]);
    assert!(running.markers_pending.is_empty());
    let producer = fixture.producer();
    fixture.end_v2(producer, Abort).unwrap();
    let first = fixture.in_flight.remove(0);
    fixture.deliver(&first);
    assert_eq!(describe(&mut fixture, "pay").unwrap().markers_pending, [tp("b", 1)]);
    fixture.deliver_markers();
    let ended = describe(&mut fixture, "pay").unwrap();
    assert_eq!((ended.state, ended.start), (TransactionState::CompleteAbort, None));
    assert_eq!(describe(&mut fixture, "other"), Err(ErrorCode::TransactionalIdNotFound));
    assert_eq!(describe(&mut fixture, ""), Err(ErrorCode::InvalidRequest));
}

#[test]
fn list_filters_by_state_producer_and_duration() {
    let mut fixture = running(TxnConfig::default(), &["a", "b"]);
    fixture.seed("idle", 5);
    assert_eq!(names(&list(&mut fixture, ListFilters::default())), ["a", "b", "idle"]);
    let states = vec!["Empty".to_owned(), "Dead".to_owned(), "Sleepy".to_owned()];
    let empty = list(&mut fixture, ListFilters { states, ..ListFilters::default() });
    assert_eq!(names(&empty), ["idle"]);
    assert_eq!(empty.unknown_state_filters, ["Sleepy"]);
    let producer_ids: Vec<ProducerId> = vec![fixture.shard.metadata(&id("b")).unwrap().producer.id];
    assert_eq!(names(&list(&mut fixture, ListFilters { producer_ids, ..ListFilters::default() })), ["b"]);
    fixture.advance(Duration::from_millis(500));
    let longer = |duration_ms| ListFilters { duration_ms: Some(duration_ms), ..ListFilters::default() };
    assert_eq!(names(&list(&mut fixture, longer(499))), ["a", "b"]);
    assert!(list(&mut fixture, longer(500)).transactions.is_empty());
}

#[test]
fn an_empty_abort_leaves_an_older_retry_fenced() {
    let mut fixture = TxnFixture::completed(Commit);
    let producer = fixture.producer();
    fixture.end_v2(producer, Abort).unwrap();
    assert_eq!(fixture.end_v2(before(producer), Commit), Err(ErrorCode::ProducerFenced));
}
