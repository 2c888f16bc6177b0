//! AddPartitionsToTxn: the order of its checks, and the broker's own look-ups.

use super::fixture::{TxnFixture, add_event, after, before, id, ident, pay, tp};
use crate::coordinator::txn::{AddMode, AddPartitions, ClientApi, Event, Reply, TransactionState, TxnConfig};
use crate::error_code::ErrorCode;
use crate::ids::ProducerIdent;
use crate::wire::control_record::EndTransaction::Commit;
use crate::wire::control_record::TransactionVersion::{V1, V2};

fn verify(fixture: &mut TxnFixture, producer: ProducerIdent, api: ClientApi) -> Vec<ErrorCode> {
    let add = add_event(&pay(), producer, &[tp("a", 0), tp("z", 9)], V2);
    let batches = fixture.log.len();
    let reply = fixture.step(Event::AddPartitions(AddPartitions { api, mode: AddMode::VerifyOnly, ..add }));
    assert_eq!(fixture.log.len(), batches);
    match reply {
        Some(Reply::VerifyPartitions(codes)) => codes.into_iter().map(|(_, code)| code).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_partition_opens_the_transaction_and_stamps_its_start() {
    let mut fixture = TxnFixture::empty_at(5);
    let producer = fixture.producer();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
    assert_eq!(fixture.state(), TransactionState::Ongoing);
    let start = fixture.metadata().start;
    assert_eq!(start, Some(fixture.now));
    fixture.advance(std::time::Duration::from_secs(1));
    assert_eq!(fixture.add(producer, &[tp("b", 0)], V2), ErrorCode::None);
    assert_eq!(fixture.metadata().start, start);
    assert_eq!(fixture.metadata().partitions.len(), 2);
}

#[test]
fn what_is_in_the_transaction_already_is_not_written_again() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    let batches = fixture.log.len();
    assert_eq!(fixture.add(producer, &[tp("b", 1)], V2), ErrorCode::None);
    assert_eq!(fixture.add(producer, &[], V2), ErrorCode::None);
    assert_eq!(fixture.log.len(), batches);
}

#[test]
fn checks_come_in_kafkas_order() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    let mut ask = |name: &str, producer, api| {
        let add = AddPartitions { api, ..add_event(&id(name), producer, &[tp("c", 0)], V1) };
        fixture.step(Event::AddPartitions(add))
    };
    let code = |code| Some(Reply::AddPartitions(code));
    let (old, new) = (ClientApi::of_add_partitions(1), ClientApi::of_add_partitions(3));
    assert_eq!(ask("", producer, new), code(ErrorCode::InvalidRequest));
    assert_eq!(ask("unknown", producer, new), code(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(ask("pay", ident(1, 1), new), code(ErrorCode::InvalidProducerIdMapping));
    assert_eq!(ask("pay", before(producer), new), code(ErrorCode::ProducerFenced));
    assert_eq!(ask("pay", before(producer), old), code(ErrorCode::InvalidProducerEpoch));
    assert_eq!(ask("pay", after(producer), new), code(ErrorCode::ProducerFenced));
    assert_eq!(ask("pay", producer, new), code(ErrorCode::None));
}

#[test]
fn a_decided_transaction_makes_every_producer_wait_whatever_its_ident() {
    let mut fixture = TxnFixture::prepared(Commit);
    let producer = fixture.producer();
    for asking in [producer, before(producer), ident(1, 1)] {
        assert_eq!(fixture.add(asking, &[tp("a", 0)], V2), ErrorCode::ConcurrentTransactions);
    }
    fixture.deliver_markers();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
    assert_eq!(fixture.add(before(producer), &[tp("a", 0)], V2), ErrorCode::ProducerFenced);
}

#[test]
fn verification_answers_for_each_partition_in_the_clients_dialect() {
    let mut fixture = TxnFixture::ongoing();
    let producer = fixture.producer();
    let (v4, v5) = (ClientApi::of_add_partitions(4), ClientApi::of_add_partitions(5));
    let none = ErrorCode::None;
    assert_eq!(verify(&mut fixture, producer, v4), [none, ErrorCode::InvalidTxnState]);
    assert_eq!(verify(&mut fixture, producer, v5), [none, ErrorCode::TransactionAbortable]);
    assert_eq!(verify(&mut fixture, before(producer), v5), [ErrorCode::ProducerFenced; 2]);
    assert_eq!(verify(&mut fixture, ident(1, 1), v5), [ErrorCode::InvalidProducerIdMapping; 2]);
    fixture.end_v2(producer, Commit).unwrap();
    assert_eq!(verify(&mut fixture, after(producer), v5), [ErrorCode::ConcurrentTransactions; 2]);
    fixture.deliver_markers();
    assert_eq!(verify(&mut fixture, after(producer), v5), [ErrorCode::TransactionAbortable; 2]);
}

#[test]
fn a_transaction_that_would_not_fit_into_one_record_is_refused() {
    let config = TxnConfig { write_bytes_max: 100, ..TxnConfig::default() };
    let mut fixture = TxnFixture::with_config(config);
    let producer = fixture.init(None).unwrap();
    assert_eq!(fixture.add(producer, &[tp("a", 0)], V2), ErrorCode::None);
    let many: Vec<_> = (0..10).map(|partition| tp("a", partition)).collect();
    assert_eq!(fixture.add(producer, &many, V2), ErrorCode::MessageTooLarge);
    assert_eq!(fixture.metadata().partitions.len(), 1);
}

#[test]
fn a_running_transaction_keeps_the_version_that_opened_it() {
    let mut fixture = TxnFixture::ongoing_at(5, &[tp("a", 0)], V1);
    let producer = fixture.producer();
    assert_eq!(fixture.add(producer, &[tp("b", 0)], V2), ErrorCode::None);
    assert_eq!(fixture.metadata().version, V1);
}
