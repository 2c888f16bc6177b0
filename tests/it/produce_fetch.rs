//! Producing and fetching through librdkafka, and what a restart keeps.

use std::sync::mpsc;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest};
use rdkafka::consumer::Consumer;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::fixture::TestServer;
use crate::fixture::librdkafka::{
    PATIENCE, TestConsumer, create, flush, producer, read_all, send, send_all, send_record, take, values,
};
use crate::fixture::wire::{self, READ_UNCOMMITTED, batch, create_topic, fetch, fetch_request, produce};

#[test]
fn every_codec_comes_back_as_it_was_sent() {
    let server = TestServer::start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let producer = producer(&server, &[("compression.codec", codec), ("linger.ms", "50")]);
        let sent: Vec<String> = (0..200).map(|n| format!("{codec} {n} {}", "again ".repeat(20))).collect();
        send_all(&producer, codec, &sent.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(values(&read_all(&server, codec, 1, "read_committed")), sent, "{codec}");
    }
}

#[test]
fn headers_null_keys_null_values_and_empty_ones_are_kept_apart() {
    let server = TestServer::start();
    let producer = producer(&server, &[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header::<&str> { key: "a", value: None })
        .insert(Header { key: "", value: Some("") });
    send_record(
        &producer,
        BaseRecord::to("t").partition(0).key("k").payload("v").headers(headers).timestamp(42),
    );
    send_record(&producer, BaseRecord::<str, str>::to("t").partition(0));
    send_record(&producer, BaseRecord::<str, str>::to("t").partition(0).key("").payload(""));
    assert!(flush(&producer).iter().all(Result::is_ok));

    let read = read_all(&server, "t", 1, "read_committed");
    let parts: Vec<_> = read.iter().map(|message| (message.key(), message.payload())).collect();
    let some = |text: &'static str| Some(text.as_bytes());
    assert_eq!(parts, [(some("k"), some("v")), (None, None), (some(""), some(""))]);
    let headers = read[0].headers().unwrap();
    let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, [("a", some("1")), ("a", None), ("", some(""))]);
    assert_eq!(read[0].timestamp().to_millis(), Some(42));
    assert!(read[1].headers().is_none());
}

#[test]
fn values_of_a_megabyte_pass_where_the_topic_allows_them() {
    let server = TestServer::start();
    create_topic(&mut server.wire(), "large", 1, &[("max.message.bytes", "2000000")]);
    let producer = producer(&server, &[("message.max.bytes", "2000000")]);
    let value = "x".repeat(1 << 20);
    for _ in 0..5 {
        send(&producer, "large", &value);
    }
    assert!(flush(&producer).iter().all(Result::is_ok));
    let read = read_all(&server, "large", 1, "read_committed");
    assert_eq!(read.len(), 5);
    assert!(read.iter().all(|message| message.payload() == Some(value.as_bytes())));
}

#[test]
fn a_long_log_is_read_across_its_segments() {
    let server = TestServer::start();
    create_topic(&mut server.wire(), "segments", 1, &[("segment.bytes", "16384")]);
    let producer = producer(&server, &[("batch.num.messages", "10")]);
    let sent: Vec<String> = (0..3_000).map(|n| format!("{n:0>100}")).collect();
    send_all(&producer, "segments", &sent.iter().map(String::as_str).collect::<Vec<_>>());

    let names = std::fs::read_dir(server.data_dir().join("segments-0")).unwrap();
    let segments = names
        .filter(|name| name.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "log"));
    assert!(segments.count() > 10);
    let read = read_all(&server, "segments", 1, "read_committed");
    assert_eq!(values(&read), sent);
    assert!(read.iter().zip(0..).all(|(message, offset)| message.offset() == offset));
}

#[test]
fn a_fetch_from_the_middle_of_a_batch_starts_with_that_batch() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    produce(&mut client, "t", 0, batch(&["a", "b", "c"]));
    produce(&mut client, "t", 0, batch(&["d"]));
    let offsets = |offset| {
        let fetched = fetch(&mut server.wire(), "t", 0, offset, READ_UNCOMMITTED);
        wire::values(&fetched).into_iter().map(|(offset, _)| offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets(1), [0, 1, 2, 3]);
    assert_eq!(offsets(3), [3]);
    assert_eq!(offsets(4), [] as [i64; 0]);
}

#[test]
fn a_waiting_fetch_wakes_when_a_record_is_appended() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    // Two hours: it is the append that ends the wait.
    let waiting = fetch_request("t", 0, 0, READ_UNCOMMITTED).with_max_wait_ms(7_200_000).with_min_bytes(1);
    client.send(12, &waiting).unwrap();
    let (answered, answer) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let response = client.receive_answer::<kafka_protocol::messages::FetchRequest>(12).unwrap();
        answered.send(wire::values(&response.responses[0].partitions[0])).unwrap();
    });
    assert!(answer.try_recv().is_err());
    produce(&mut server.wire(), "t", 0, batch(&["wake up"]));
    assert_eq!(answer.recv_timeout(PATIENCE).unwrap(), [(0, "wake up".to_owned())]);
    reader.join().unwrap();
}

#[test]
fn every_level_of_acks_delivers() {
    let server = TestServer::start();
    for acks in ["0", "1", "all"] {
        let topic = format!("acks-{acks}");
        let producer = producer(&server, &[("acks", acks)]);
        send_all(&producer, &topic, &["a", "b", "c"]);
        // acks=0 promises nothing, so the reader waits for the records instead of for an end.
        let consumer: TestConsumer = create(&server, &[("group.id", "acks")]);
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&assignment).unwrap();
        assert_eq!(values(&take(&consumer, 3)), ["a", "b", "c"], "acks={acks}");
    }
}

#[test]
fn offsets_are_found_by_time_and_at_both_ends() {
    let server = TestServer::start();
    let producer = producer(&server, &[("batch.num.messages", "1")]);
    for timestamp in [1_000, 3_000, 2_000, 4_000] {
        send_record(&producer, BaseRecord::<(), str>::to("t").partition(0).payload("x").timestamp(timestamp));
    }
    assert!(flush(&producer).iter().all(Result::is_ok));
    let consumer: TestConsumer = create(&server, &[("group.id", "times")]);
    assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).unwrap(), (0, 4));
    let find = |timestamp| {
        let mut query = TopicPartitionList::new();
        query.add_partition_offset("t", 0, Offset::Offset(timestamp)).unwrap();
        consumer.offsets_for_times(query, PATIENCE).unwrap().elements()[0].offset()
    };
    assert_eq!(find(0), Offset::Offset(0));
    assert_eq!(find(1_500), Offset::Offset(1));
    assert_eq!(find(3_500), Offset::Offset(3));
    assert_eq!(find(5_000), Offset::End);
    // The largest timestamp (-3, KIP-734), which librdkafka does not ask for.
    let largest = ListOffsetsPartition::default().with_timestamp(-3);
    let topic = ListOffsetsTopic::default().with_name(wire::topic_name("t")).with_partitions(vec![largest]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let response = server.wire().call(7, &request).unwrap();
    let found = &response.topics[0].partitions[0];
    assert_eq!((found.error_code, found.offset, found.timestamp), (0, 3, 4_000));
}

#[test]
fn auto_creation_gives_a_topic_its_default_partitions() {
    let server = TestServer::with(&[("num.partitions", "3")]);
    let producer = producer(&server, &[]);
    send_all(&producer, "made-by-asking", &["x"]);
    let consumer: TestConsumer = create(&server, &[]);
    let metadata = consumer.fetch_metadata(Some("made-by-asking"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
}

#[test]
fn a_clean_restart_keeps_every_record_in_place() {
    let mut server = TestServer::start();
    write_some(&server, "before");
    server.restart();
    assert_eq!(values(&read_all(&server, "t", 2, "read_committed")).len(), 200);
    write_some(&server, "after");
    server.restart();
    assert_some_are_there(&server, &["before", "after"]);
}

#[test]
fn a_killed_server_keeps_every_acknowledged_record_in_place() {
    let mut server = TestServer::child(&[]);
    write_some(&server, "before");
    server.kill();
    write_some(&server, "after");
    server.kill();
    assert_some_are_there(&server, &["before", "after"]);
}

/// A hundred records for each of two partitions.
fn write_some(server: &TestServer, what: &str) {
    let mut client = server.wire();
    if what == "before" {
        create_topic(&mut client, "t", 2, &[("segment.bytes", "4096")]);
    }
    let producer = producer(server, &[("enable.idempotence", "true"), ("batch.num.messages", "7")]);
    for n in 0..100 {
        for partition in 0..2 {
            let value = format!("{what} {n}");
            send_record(&producer, BaseRecord::<(), str>::to("t").partition(partition).payload(&value));
        }
    }
    assert!(flush(&producer).iter().all(Result::is_ok));
}

fn assert_some_are_there(server: &TestServer, parts: &[&str]) {
    let expected: Vec<String> =
        parts.iter().flat_map(|what| (0..100).map(move |n| format!("{what} {n}"))).collect();
    let read = read_all(server, "t", 2, "read_committed");
    for partition in 0..2 {
        let of_partition: Vec<_> =
            read.iter().filter(|message| message.partition() == partition).cloned().collect();
        assert_eq!(values(&of_partition), expected);
        assert!(of_partition.iter().zip(0..).all(|(message, offset)| message.offset() == offset));
    }
}
