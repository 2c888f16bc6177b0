//! One test for each bug that was found by running the whole, with its cause in a line.

use kafka_protocol::messages::{EndTxnRequest, InitProducerIdRequest, ProducerId, TransactionalId};

use crate::fixture::TestServer;
use crate::fixture::wire::{Producer, batch_with, create_topic, produce_in_transaction, text, transactional};

/// Cause: the server said that it was ready before it listened for SIGTERM, which then just ended it.
#[test]
fn a_server_that_is_told_to_stop_right_when_it_is_ready_stops_in_order() {
    let mut server = TestServer::child(&[]);
    for _ in 0..5 {
        // The fixture checks the exit status of each stop.
        server.restart();
    }
}

/// Cause: the partition's verification guard was taken before the wait for the last transaction's
/// markers, which void it, so that the first batch of the next transaction got INVALID_TXN_STATE.
#[test]
fn a_transaction_that_follows_another_at_once_may_write() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    let id = || TransactionalId(text("tx"));
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id()))
        .with_transaction_timeout_ms(60_000);
    let response = client.call(5, &init).unwrap();
    let mut producer = Producer { id: response.producer_id.0, epoch: response.producer_epoch };
    for round in 0..30 {
        let records = batch_with(transactional(producer, 0), &["x"]);
        let answer = produce_in_transaction(&mut client, "tx", "t", records);
        assert_eq!(answer.error_code, 0, "round {round}: {:?}", answer.error_message);
        let end = EndTxnRequest::default()
            .with_transactional_id(id())
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_committed(round % 2 == 0);
        let response = client.call(5, &end).unwrap();
        assert_eq!(response.error_code, 0);
        producer = Producer { id: response.producer_id.0, epoch: response.producer_epoch };
    }
}
