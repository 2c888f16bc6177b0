//! Topics, their settings and their records' ends, through librdkafka's admin client.

use std::time::Duration;

use rdkafka::admin::{
    AdminOptions, ConfigEntry, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use kafka_protocol::messages::IncrementalAlterConfigsRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

use crate::fixture::TestServer;
use crate::fixture::librdkafka::{
    PATIENCE, TestConsumer, admin, create, producer, read_all, send_all, take, values, wait,
};
use crate::fixture::wire::{create_topic, text, topic_id};

fn new_topic(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}

#[test]
fn topics_are_created_once_and_deleted_for_good() {
    let server = TestServer::start();
    let admin = admin(&server);
    let made = |name| wait(admin.create_topics(&[new_topic(name, 3)], &options())).unwrap().remove(0);
    let dropped = |name| wait(admin.delete_topics(&[name], &options())).unwrap().remove(0);
    assert_eq!(made("t"), Ok("t".to_owned()));
    assert_eq!(made("t"), Err(("t".to_owned(), RDKafkaErrorCode::TopicAlreadyExists)));
    assert_eq!(dropped("t"), Ok("t".to_owned()));
    assert_eq!(dropped("t"), Err(("t".to_owned(), RDKafkaErrorCode::UnknownTopicOrPartition)));
    let bad = NewTopic::new("other", 1, TopicReplication::Fixed(3));
    let refused = wait(admin.create_topics(&[bad], &options())).unwrap().remove(0);
    assert_eq!(refused, Err(("other".to_owned(), RDKafkaErrorCode::InvalidReplicationFactor)));
    let bad = new_topic("other", 1).set("no.such.setting", "1");
    let refused = wait(admin.create_topics(&[bad], &options())).unwrap().remove(0);
    assert_eq!(refused, Err(("other".to_owned(), RDKafkaErrorCode::InvalidConfig)));
}

#[test]
fn a_topic_that_is_made_again_is_empty_and_another_one() {
    let mut server = TestServer::start();
    let admin = admin(&server);
    send_all(&producer(&server, &[]), "t", &["old", "old", "old"]);
    let old_id = topic_id(&mut server.wire(), "t");
    wait(admin.delete_topics(&["t"], &options())).unwrap().remove(0).unwrap();
    wait(admin.create_topics(&[new_topic("t", 1)], &options())).unwrap().remove(0).unwrap();
    assert_ne!(topic_id(&mut server.wire(), "t"), old_id);
    assert_eq!(values(&read_all(&server, "t", 1, "read_committed")), [] as [&str; 0]);
    send_all(&producer(&server, &[]), "t", &["new"]);
    drop(admin);
    server.restart();
    assert_eq!(values(&read_all(&server, "t", 1, "read_committed")), ["new"]);
}

#[test]
fn a_consumer_goes_on_when_its_topic_is_deleted_and_made_again() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["old 1", "old 2"]);
    let consumer: TestConsumer = create(
        &server,
        &[
            ("group.id", "g"),
            ("auto.offset.reset", "earliest"),
            ("topic.metadata.refresh.interval.ms", "200"),
            ("allow.auto.create.topics", "false"),
        ],
    );
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("t", 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    assert_eq!(values(&take(&consumer, 2)), ["old 1", "old 2"]);
    wait(admin(&server).delete_topics(&["t"], &options())).unwrap().remove(0).unwrap();
    create_topic(&mut server.wire(), "t", 1, &[]);
    send_all(&producer(&server, &[]), "t", &["new"]);
    // The consumer may hear of the gap as errors; what counts is that the new record comes.
    let give_up = std::time::Instant::now() + PATIENCE;
    loop {
        assert!(std::time::Instant::now() < give_up, "the new record did not come");
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            assert_eq!(values(&[message.detach()]), ["new"]);
            break;
        }
    }
}

#[test]
fn settings_are_described_with_their_source_and_change_what_the_broker_does() {
    let server = TestServer::start();
    let admin = admin(&server);
    let topic = new_topic("t", 1).set("retention.ms", "60000");
    wait(admin.create_topics(&[topic], &options())).unwrap().remove(0).unwrap();
    let describe = || {
        let resource = ResourceSpecifier::Topic("t");
        wait(admin.describe_configs(&[resource], &options())).unwrap().remove(0).unwrap()
    };
    let value = |entries: &[ConfigEntry], name: &str| {
        let entry = entries.iter().find(|entry| entry.name == name).unwrap();
        (entry.value.clone().unwrap(), entry.is_default)
    };
    let described = describe();
    assert_eq!(value(&described.entries, "retention.ms"), ("60000".to_owned(), false));
    assert_eq!(value(&described.entries, "max.message.bytes"), ("1048588".to_owned(), true));
    assert_eq!(alter(&server, "max.message.bytes", 0, Some("100")), 0);
    assert_eq!(alter(&server, "retention.ms", 1, None), 0);
    assert_eq!(alter(&server, "no.such.setting", 0, Some("1")), 40);
    assert_eq!(alter(&server, "segment.bytes", 0, Some("many")), 40);
    let described = describe();
    assert_eq!(value(&described.entries, "max.message.bytes"), ("100".to_owned(), false));
    assert_eq!(value(&described.entries, "retention.ms"), ("604800000".to_owned(), true));
    let large = crate::fixture::wire::batch(&[&"x".repeat(200)]);
    let answer = crate::fixture::wire::produce(&mut server.wire(), "t", 0, large);
    assert_eq!(answer.error_code, 10);
}

/// Changes one setting of topic `t`: operation 0 sets it, 1 deletes it.
fn alter(server: &TestServer, key: &str, operation: i8, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(operation)
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text("t"))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    server.wire().call(1, &request).unwrap().responses[0].error_code
}

#[test]
fn partitions_are_added_and_never_taken_away() {
    let mut server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["in the first"]);
    let admin = admin(&server);
    let add = |count| wait(admin.create_partitions(&[NewPartitions::new("t", count)], &options())).unwrap();
    assert_eq!(add(3), [Ok("t".to_owned())]);
    assert_eq!(add(2), [Err(("t".to_owned(), RDKafkaErrorCode::InvalidPartitions))]);
    drop(admin);
    server.restart();
    let consumer: TestConsumer = create(&server, &[]);
    let metadata = consumer.fetch_metadata(Some("t"), PATIENCE).unwrap();
    assert_eq!(metadata.topics()[0].partitions().len(), 3);
    assert_eq!(values(&read_all(&server, "t", 3, "read_committed")), ["in the first"]);
}

#[test]
fn deleted_records_stay_deleted_and_the_others_stay() {
    let mut server = TestServer::start();
    send_all(&producer(&server, &[("batch.num.messages", "1")]), "t", &["a", "b", "c", "d"]);
    {
        let admin = admin(&server);
        let mut before = TopicPartitionList::new();
        before.add_partition_offset("t", 0, Offset::Offset(2)).unwrap();
        let deleted = wait(admin.delete_records(&before, &options())).unwrap();
        assert_eq!(deleted.find_partition("t", 0).unwrap().offset(), Offset::Offset(2));
    }
    for _ in 0..2 {
        assert_eq!(values(&read_all(&server, "t", 1, "read_committed")), ["c", "d"]);
        let consumer: TestConsumer = create(&server, &[]);
        assert_eq!(consumer.fetch_watermarks("t", 0, PATIENCE).unwrap(), (2, 4));
        drop(consumer);
        server.restart();
    }
}

#[test]
fn retention_by_size_deletes_whole_old_segments() {
    let server = TestServer::with(&[("log.retention.check.interval.ms", "100")]);
    let settings = [("segment.bytes", "4096"), ("retention.bytes", "8192")];
    create_topic(&mut server.wire(), "t", 1, &settings);
    let sent: Vec<String> = (0..500).map(|n| format!("{n:0>100}")).collect();
    let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
    send_all(&producer(&server, &[("batch.num.messages", "10")]), "t", &sent);
    let consumer: TestConsumer = create(&server, &[]);
    let give_up = std::time::Instant::now() + PATIENCE;
    while consumer.fetch_watermarks("t", 0, PATIENCE).unwrap().0 == 0 {
        assert!(std::time::Instant::now() < give_up, "nothing was deleted");
    }
    let read = values(&read_all(&server, "t", 1, "read_committed"));
    assert!(!read.is_empty() && read.len() < sent.len());
    assert_eq!(read, sent[sent.len() - read.len()..]);
}
