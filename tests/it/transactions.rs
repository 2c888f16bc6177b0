//! Idempotence and transactions through librdkafka.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::fixture::TestServer;
use crate::fixture::librdkafka::{
    PATIENCE, TestConsumer, committed_values, create, flush, producer, read_all, send, send_all, send_record,
    take, transactional_producer, values,
};
use crate::fixture::wire::create_topic;

#[test]
fn an_idempotent_producer_writes_each_record_once_and_in_order() {
    let server = TestServer::start();
    let settings = [("enable.idempotence", "true"), ("batch.num.messages", "3"), ("linger.ms", "0")];
    let producer = producer(&server, &settings);
    let sent: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    send_all(&producer, "t", &sent.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(committed_values(&server, "t"), sent);
}

#[test]
fn committed_records_are_read_and_aborted_ones_are_not() {
    let server = TestServer::start();
    let producer = transactional_producer(&server, "tx", &[]);
    for (value, commits) in [("a", true), ("b", false), ("c", true), ("d", false), ("e", true)] {
        producer.begin_transaction().unwrap();
        send(&producer, "t", value);
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            flush(&producer);
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    assert_eq!(committed_values(&server, "t"), ["a", "c", "e"]);
    let all = values(&read_all(&server, "t", 1, "read_uncommitted"));
    assert_eq!(all, ["a", "b", "c", "d", "e"]);
}

#[test]
fn an_open_transaction_is_not_read_until_it_commits() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["before"]);
    let transactional = transactional_producer(&server, "tx", &[]);
    transactional.begin_transaction().unwrap();
    send_all(&transactional, "t", &["inside"]);
    // What others write after the open transaction has to wait for it too.
    send_all(&producer(&server, &[]), "t", &["after"]);
    assert_eq!(committed_values(&server, "t"), ["before"]);
    assert_eq!(values(&read_all(&server, "t", 1, "read_uncommitted")), ["before", "inside", "after"]);
    transactional.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed_values(&server, "t"), ["before", "inside", "after"]);
}

#[test]
fn a_transaction_over_many_partitions_is_seen_whole() {
    let server = TestServer::start();
    create_topic(&mut server.wire(), "t", 8, &[]);
    let producer = transactional_producer(&server, "tx", &[]);
    for commits in [true, false] {
        producer.begin_transaction().unwrap();
        for partition in 0..8 {
            let value = format!("{commits} {partition}");
            send_record(&producer, BaseRecord::<(), str>::to("t").partition(partition).payload(&value));
        }
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            flush(&producer);
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let mut read = values(&read_all(&server, "t", 8, "read_committed"));
    read.sort();
    assert_eq!(read, (0..8).map(|partition| format!("true {partition}")).collect::<Vec<_>>());
}

#[test]
fn a_second_producer_of_the_same_id_fences_the_first_and_aborts_its_transaction() {
    let server = TestServer::start();
    let first = transactional_producer(&server, "tx", &[]);
    first.begin_transaction().unwrap();
    send_all(&first, "t", &["of the first"]);
    let second = transactional_producer(&server, "tx", &[]);
    let fenced = first.commit_transaction(PATIENCE).unwrap_err();
    assert!(is_fenced(&fenced), "{fenced}");
    second.begin_transaction().unwrap();
    send(&second, "t", "of the second");
    second.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed_values(&server, "t"), ["of the second"]);
}

fn is_fenced(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(
        code,
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::Fatal)
    )
}

#[test]
fn a_transaction_beyond_its_timeout_is_aborted() {
    let server = TestServer::with(&[("transaction.abort.timed.out.transaction.cleanup.interval.ms", "100")]);
    let left = transactional_producer(&server, "left", &[("transaction.timeout.ms", "1000")]);
    left.begin_transaction().unwrap();
    send_all(&left, "t", &["left open"]);
    let other = transactional_producer(&server, "other", &[]);
    other.begin_transaction().unwrap();
    send(&other, "t", "done");
    other.commit_transaction(PATIENCE).unwrap();
    // The reader gets there only if the broker ends the first transaction.
    let consumer: TestConsumer = create(&server, &[("group.id", "g"), ("isolation.level", "read_committed")]);
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("t", 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    assert_eq!(values(&take(&consumer, 1)), ["done"]);
    let refused = left.commit_transaction(PATIENCE).unwrap_err();
    assert_ne!(refused.rdkafka_error_code(), None);
    assert_eq!(committed_values(&server, "t"), ["done"]);
}

#[test]
fn offsets_sent_to_a_transaction_count_only_if_it_commits() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "in", &["a", "b", "c"]);
    let consumer: TestConsumer = create(
        &server,
        &[("group.id", "job"), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")],
    );
    consumer.subscribe(&["in"]).unwrap();
    let read = take(&consumer, 3);
    let producer = transactional_producer(&server, "job-0", &[]);
    let group = consumer.group_metadata().unwrap();
    for (commits, offset) in [(true, 2), (false, 3)] {
        producer.begin_transaction().unwrap();
        send(&producer, "out", &format!("{} {commits}", values(&read)[0]));
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("in", 0, Offset::Offset(offset)).unwrap();
        producer.send_offsets_to_transaction(&offsets, &group, PATIENCE).unwrap();
        if commits {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            flush(&producer);
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let committed = consumer.committed(PATIENCE).unwrap();
    assert_eq!(committed.find_partition("in", 0).unwrap().offset(), Offset::Offset(2));
    assert_eq!(committed_values(&server, "out"), ["a true"]);
}

#[test]
fn a_consume_transform_produce_loop_is_exactly_once_across_a_kill() {
    let mut server = TestServer::child(&[]);
    create_topic(&mut server.wire(), "in", 1, &[]);
    let sent: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    send_all(&producer(&server, &[]), "in", &sent.iter().map(String::as_str).collect::<Vec<_>>());
    for round in 0..3 {
        copy_some(&server, 20, round);
        server.kill();
    }
    let copied: Vec<String> = sent.iter().map(|value| format!("copy of {value}")).collect();
    assert_eq!(committed_values(&server, "out"), copied);
}

/// Copies records in transactions of five, and leaves one more open.
fn copy_some(server: &TestServer, count: usize, round: usize) {
    let settings = [("group.id", "copy"), ("auto.offset.reset", "earliest"), ("enable.auto.commit", "false")];
    let consumer: TestConsumer = create(server, &settings);
    consumer.subscribe(&["in"]).unwrap();
    let producer = transactional_producer(server, "copy-0", &[]);
    for _ in 0..count / 5 {
        copy_five(&consumer, &producer);
        producer.commit_transaction(PATIENCE).unwrap();
    }
    if round < 2 {
        copy_five(&consumer, &producer);
        flush(&producer);
    }
}

fn copy_five(consumer: &TestConsumer, producer: &crate::fixture::librdkafka::Producer) {
    let read = take(consumer, 5);
    producer.begin_transaction().unwrap();
    for value in values(&read) {
        send(producer, "out", &format!("copy of {value}"));
    }
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("in", 0, Offset::Offset(read[4].offset() + 1)).unwrap();
    let group = consumer.group_metadata().unwrap();
    producer.send_offsets_to_transaction(&offsets, &group, PATIENCE).unwrap();
}

#[test]
fn transactions_and_offsets_survive_a_kill() {
    let mut server = TestServer::child(&[]);
    let producer = transactional_producer(&server, "tx", &[]);
    producer.begin_transaction().unwrap();
    send(&producer, "t", "kept");
    producer.commit_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send_all(&producer, "t", &["left open"]);
    let consumer: TestConsumer = create(&server, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("t", 0, Offset::Offset(1)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    server.kill();
    assert_eq!(committed_values(&server, "t"), ["kept"]);
    // The next owner of the id finds the open transaction and ends it.
    let producer = transactional_producer(&server, "tx", &[]);
    producer.begin_transaction().unwrap();
    send(&producer, "t", "after");
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed_values(&server, "t"), ["kept", "after"]);
    let consumer: TestConsumer = create(&server, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    let mut asked = TopicPartitionList::new();
    asked.add_partition("t", 0);
    let committed = consumer.committed_offsets(asked, PATIENCE).unwrap();
    assert_eq!(committed.find_partition("t", 0).unwrap().offset(), Offset::Offset(1));
}
