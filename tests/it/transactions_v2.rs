//! Transactions of the second version (KIP-890) by raw requests: partitions added by Produce, offsets
//! by TxnOffsetCommit, the epoch raised by every EndTxn, late requests refused.

use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::end_txn_response::EndTxnResponse;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, EndTxnRequest, GroupId, InitProducerIdRequest, OffsetFetchRequest,
    ProducerId, TransactionalId, TxnOffsetCommitRequest,
};
use tidemill::testing::WireClient;

use crate::fixture::TestServer;
use crate::fixture::wire::{
    Producer, READ_COMMITTED, READ_UNCOMMITTED, batch, batch_with, create_topic, fetch, next_offset, produce,
    produce_in_transaction, produce_request, text, topic_name, transactional, values,
};

const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const OUT_OF_ORDER_SEQUENCE: i16 = 45;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const PRODUCER_FENCED: i16 = 90;

fn with_topic() -> (TestServer, WireClient) {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    (server, client)
}

fn init(client: &mut WireClient) -> Producer {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("tx"))))
        .with_transaction_timeout_ms(60_000);
    let response = client.call(5, &request).unwrap();
    assert_eq!(response.error_code, 0);
    Producer { id: response.producer_id.0, epoch: response.producer_epoch }
}

fn write(client: &mut WireClient, producer: Producer, sequence: i32, value: &str) -> i16 {
    let records = batch_with(transactional(producer, sequence), &[value]);
    produce_in_transaction(client, "tx", "t", records).error_code
}

fn end(client: &mut WireClient, producer: Producer, committed: bool) -> EndTxnResponse {
    let request = EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text("tx")))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(committed);
    client.call(5, &request).unwrap()
}

/// Ends the transaction and returns the producer for the next one.
fn end_well(client: &mut WireClient, producer: Producer, committed: bool) -> Producer {
    let response = end(client, producer, committed);
    assert_eq!(response.error_code, 0);
    let next = Producer { id: response.producer_id.0, epoch: response.producer_epoch };
    assert_eq!(next, Producer { id: producer.id, epoch: producer.epoch + 1 });
    next
}

fn describe(client: &mut WireClient) -> TransactionState {
    let request =
        DescribeTransactionsRequest::default().with_transactional_ids(vec![TransactionalId(text("tx"))]);
    client.call(0, &request).unwrap().transaction_states[0].clone()
}

/// Reads on until the last stable offset is there: the markers follow the answer to EndTxn.
fn committed(client: &mut WireClient, last_stable_offset: i64) -> Vec<String> {
    let (mut offset, mut read) = (0, Vec::new());
    while offset < last_stable_offset {
        let fetched = fetch(client, "t", 0, offset, READ_COMMITTED);
        let aborted = fetched.aborted_transactions.clone().unwrap_or_default();
        assert!(aborted.is_empty(), "this test expects no aborted transaction: {aborted:?}");
        read.extend(values(&fetched).into_iter().map(|(_, value)| value));
        offset = next_offset(&fetched).unwrap_or(offset);
    }
    read
}

#[test]
fn produce_adds_its_partition_and_every_end_raises_the_epoch() {
    let (_server, mut client) = with_topic();
    let mut producer = init(&mut client);
    for value in ["a", "b", "c"] {
        assert_eq!(write(&mut client, producer, 0, value), 0);
        let state = describe(&mut client);
        assert_eq!(state.transaction_state.as_str(), "Ongoing");
        assert_eq!(state.topics[0].topic, topic_name("t"));
        producer = end_well(&mut client, producer, true);
    }
    // Three records, each with a marker.
    assert_eq!(committed(&mut client, 6), ["a", "b", "c"]);
}

#[test]
fn an_aborted_transaction_is_named_to_read_committed_fetches_only() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    assert_eq!(write(&mut client, producer, 0, "aborted"), 0);
    end_well(&mut client, producer, false);
    let fetched = loop {
        let fetched = fetch(&mut client, "t", 0, 0, READ_COMMITTED);
        if fetched.last_stable_offset == 2 {
            break fetched;
        }
    };
    let aborted = fetched.aborted_transactions.unwrap();
    assert_eq!((aborted[0].producer_id.0, aborted[0].first_offset, aborted.len()), (producer.id, 0, 1));
    let uncommitted = fetch(&mut client, "t", 0, 0, READ_UNCOMMITTED);
    assert_eq!(uncommitted.aborted_transactions, None);
    assert_eq!(uncommitted.high_watermark, 2);
}

#[test]
fn an_end_that_is_sent_again_gets_the_same_answer() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    assert_eq!(write(&mut client, producer, 0, "a"), 0);
    let next = end_well(&mut client, producer, true);
    assert_eq!(committed(&mut client, 2), ["a"]);
    let again = end(&mut client, producer, true);
    assert_eq!((again.error_code, again.producer_id.0, again.producer_epoch), (0, next.id, next.epoch));
    assert_eq!(committed(&mut client, 2), ["a"]);
}

#[test]
fn a_late_produce_of_an_ended_transaction_is_refused() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    assert_eq!(write(&mut client, producer, 0, "a"), 0);
    let next = end_well(&mut client, producer, true);
    assert_eq!(committed(&mut client, 2), ["a"]);
    // The old epoch's next batch, on its way while the transaction ended.
    assert_eq!(write(&mut client, producer, 1, "late"), INVALID_PRODUCER_EPOCH);
    assert_eq!(write(&mut client, next, 0, "b"), 0);
    end_well(&mut client, next, true);
    assert_eq!(committed(&mut client, 4), ["a", "b"]);
}

#[test]
fn a_late_produce_of_the_first_version_is_refused_if_nothing_was_added() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    let records = batch_with(transactional(producer, 0), &["never added"]);
    let request = produce_request("t", 0, records).with_transactional_id(Some(TransactionalId(text("tx"))));
    for (version, code) in [(9, INVALID_TXN_STATE), (11, 120)] {
        let response = client.call(version, &request).unwrap();
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(answer.error_code, code, "version {version}");
    }
    assert_eq!(fetch(&mut client, "t", 0, 0, READ_UNCOMMITTED).high_watermark, 0);
}

#[test]
fn a_batch_that_is_sent_again_is_appended_once() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    let records = batch_with(transactional(producer, 0), &["once"]);
    let first = produce_in_transaction(&mut client, "tx", "t", records.clone());
    let again = produce_in_transaction(&mut client, "tx", "t", records);
    assert_eq!((first.error_code, again.error_code), (0, 0));
    assert_eq!(first.base_offset, again.base_offset);
    assert_eq!(write(&mut client, producer, 5, "a gap"), OUT_OF_ORDER_SEQUENCE);
    end_well(&mut client, producer, true);
    assert_eq!(committed(&mut client, 2), ["once"]);
}

#[test]
fn a_new_owner_of_the_id_fences_the_old_one_everywhere() {
    let (_server, mut client) = with_topic();
    let old = init(&mut client);
    assert_eq!(write(&mut client, old, 0, "old"), 0);
    let new = loop {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text("tx"))))
            .with_transaction_timeout_ms(60_000);
        let response = client.call(5, &request).unwrap();
        // 51: the old transaction is still being aborted.
        match response.error_code {
            0 => break Producer { id: response.producer_id.0, epoch: response.producer_epoch },
            code => assert_eq!(code, 51),
        }
    };
    assert!(new.epoch > old.epoch);
    assert_eq!(write(&mut client, old, 1, "late"), INVALID_PRODUCER_EPOCH);
    assert_eq!(end(&mut client, old, true).error_code, PRODUCER_FENCED);
    assert_eq!(write(&mut client, new, 0, "new"), 0);
}

#[test]
fn offsets_of_an_open_transaction_are_unstable_and_count_once_it_commits() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    let partition = TxnOffsetCommitRequestPartition::default().with_committed_offset(42);
    let topic =
        TxnOffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let commit = TxnOffsetCommitRequest::default()
        .with_transactional_id(TransactionalId(text("tx")))
        .with_group_id(GroupId(text("g")))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_topics(vec![topic]);
    // Version 5 adds the group's partition by itself.
    assert_eq!(client.call(5, &commit).unwrap().topics[0].partitions[0].error_code, 0);
    assert_eq!(fetch_offset(&mut client, true), (UNSTABLE_OFFSET_COMMIT, -1));
    assert_eq!(fetch_offset(&mut client, false), (0, -1));
    end_well(&mut client, producer, true);
    loop {
        match fetch_offset(&mut client, true) {
            (UNSTABLE_OFFSET_COMMIT, _) => std::thread::yield_now(),
            done => break assert_eq!(done, (0, 42)),
        }
    }
    // Of the ended transaction, and late.
    assert_eq!(client.call(5, &commit).unwrap().topics[0].partitions[0].error_code, PRODUCER_FENCED);
}

fn fetch_offset(client: &mut WireClient, require_stable: bool) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopics::default().with_name(topic_name("t")).with_partition_indexes(vec![0]);
    let group =
        OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(require_stable);
    let response = client.call(8, &request).unwrap();
    let partition = &response.groups[0].topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

#[test]
fn a_plain_batch_of_a_producer_in_a_transaction_is_refused() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    assert_eq!(write(&mut client, producer, 0, "a"), 0);
    let mut options = transactional(producer, 1);
    options.transactional = tidemill::wire::record_batch::Transactional::No;
    assert_eq!(produce(&mut client, "t", 0, batch_with(options, &["plain"])).error_code, INVALID_TXN_STATE);
    assert_eq!(produce(&mut client, "t", 0, batch(&["of nobody"])).error_code, 0);
}

#[test]
fn a_transactional_batch_without_a_transactional_id_is_refused() {
    let (_server, mut client) = with_topic();
    let producer = init(&mut client);
    let records = batch_with(transactional(producer, 0), &["whose"]);
    assert_eq!(produce(&mut client, "t", 0, records).error_code, INVALID_TXN_STATE);
}
