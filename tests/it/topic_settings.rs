//! Settings of topics and of brokers, and what becomes of a batch by them.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest};
use tidemill::testing::WireClient;
use tidemill::wire::record_batch::{BatchOptions, Compression, RecordBatch};

use crate::fixture::TestServer;
use crate::fixture::wire::{
    self, READ_UNCOMMITTED, batch, batch_with, fetch, produce, text, topic_name, values,
};

const MESSAGE_TOO_LARGE: i16 = 10;
const UNSUPPORTED_VERSION: i16 = 35;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const CODECS: [(&str, Compression); 5] = [
    ("uncompressed", Compression::None),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];

#[test]
fn a_topics_codec_is_what_its_batches_are_stored_in() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "producer", 1, &[]);
    for (name, _) in CODECS {
        wire::create_topic(&mut client, name, 1, &[("compression.type", name)]);
    }
    for (name, stored) in CODECS {
        for (_, sent) in CODECS {
            let options = BatchOptions { compression: sent, ..BatchOptions::default() };
            for (topic, expected) in [(name, stored), ("producer", sent)] {
                let records = batch_with(options, &["same", "records"]);
                let produced = produce(&mut client, topic, 0, records);
                assert_eq!(produced.error_code, 0, "{sent:?} to {topic}");
                let data = fetch(&mut client, topic, 0, produced.base_offset, READ_UNCOMMITTED);
                let found: Vec<_> = values(&data).into_iter().map(|(_, value)| value).collect();
                assert_eq!(found, ["same", "records"]);
                let mut bytes = data.records.unwrap();
                let stored = RecordBatch::take_first(&mut bytes).unwrap().unwrap();
                assert_eq!(stored.header().compression, expected, "{sent:?} to {topic}");
            }
        }
    }
}

#[test]
fn a_batch_that_grows_beyond_the_limit_in_the_topics_codec_is_too_large() {
    let server = TestServer::start();
    let mut client = server.wire();
    let settings = [("compression.type", "uncompressed"), ("max.message.bytes", "2000")];
    wire::create_topic(&mut client, "t", 1, &settings);
    let options = BatchOptions { compression: Compression::Gzip, ..BatchOptions::default() };
    let mut send = |bytes: usize| {
        let records = batch_with(options, &["x".repeat(bytes).as_str()]);
        assert!(records.len() < 2000);
        produce(&mut client, "t", 0, records).error_code
    };
    assert_eq!(send(1000), 0);
    assert_eq!(send(10_000), MESSAGE_TOO_LARGE);
}

fn alter(client: &mut WireClient, (kind, name): (i8, &str), key: &str, value: Option<&str>) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text(key))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    client.call(1, &request).unwrap().responses[0].error_code
}

/// A setting as `value source read-only`, then `key=value source` of each synonym.
fn describe(client: &mut WireClient, (kind, name): (i8, &str), key: &str) -> Option<String> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(Some(vec![text(key)]));
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let response = client.call(4, &request).unwrap();
    assert_eq!(response.results[0].error_code, 0);
    let config: &DescribeConfigsResourceResult = response.results[0].configs.first()?;
    let value = config.value.as_ref().map_or("-", |value| value.as_str());
    let mut shown = format!("{value} {} {}", config.config_source, config.read_only);
    for synonym in &config.synonyms {
        let value = synonym.value.as_ref().map_or("-", |value| value.as_str());
        shown += &format!("; {}={value} {}", synonym.name.as_str(), synonym.source);
    }
    Some(shown)
}

#[test]
fn defaults_of_topics_change_while_the_broker_runs_and_stay_changed() {
    let mut server = TestServer::with(&[("message.max.bytes", "5000")]);
    let mut client = server.wire();
    let (all, this, topic) = ((BROKER, ""), (BROKER, "1"), (TOPIC, "t"));
    let key = "message.max.bytes";
    wire::create_topic(&mut client, "t", 1, &[]);
    let send = |client: &mut WireClient, bytes: usize| {
        produce(client, "t", 0, batch(&["x".repeat(bytes).as_str()])).error_code
    };
    assert_eq!((send(&mut client, 4000), send(&mut client, 6000)), (0, MESSAGE_TOO_LARGE));
    assert_eq!(describe(&mut client, all, key), None);
    assert_eq!(alter(&mut client, all, key, Some("7000")), 0);
    assert_eq!((send(&mut client, 6000), send(&mut client, 8000)), (0, MESSAGE_TOO_LARGE));
    assert_eq!(alter(&mut client, this, key, Some("3000")), 0);
    assert_eq!(send(&mut client, 4000), MESSAGE_TOO_LARGE);
    for _ in 0..2 {
        let layers = "message.max.bytes=3000 2; message.max.bytes=7000 3; message.max.bytes=5000 4";
        let of_broker = format!("3000 2 false; {layers}; message.max.bytes=1048588 5");
        assert_eq!(describe(&mut client, this, key), Some(of_broker));
        assert_eq!(
            describe(&mut client, topic, "max.message.bytes"),
            Some(format!("3000 2 false; {layers}"))
        );
        assert_eq!(describe(&mut client, all, key).unwrap(), "7000 3 false; message.max.bytes=7000 3");
        assert_eq!(send(&mut client, 4000), MESSAGE_TOO_LARGE);
        server.restart();
        client = server.wire();
    }
    assert_eq!(alter(&mut client, topic, "max.message.bytes", Some("9000")), 0);
    assert_eq!(send(&mut client, 8000), 0);
    assert_eq!(alter(&mut client, topic, "max.message.bytes", None), 0);
    assert_eq!(alter(&mut client, this, key, None), 0);
    assert_eq!((send(&mut client, 6000), send(&mut client, 8000)), (0, MESSAGE_TOO_LARGE));
}

#[test]
fn settings_that_cannot_be_are_refused_and_what_is_read_at_start_says_so() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let this = (BROKER, "1");
    assert_eq!(alter(&mut client, this, "node.id", Some("2")), INVALID_REQUEST);
    assert_eq!(alter(&mut client, this, "log.retention.ms", Some("soon")), INVALID_CONFIG);
    assert_eq!(alter(&mut client, this, "no.such.key", Some("1")), INVALID_CONFIG);
    assert_eq!(alter(&mut client, (BROKER, "2"), "log.retention.ms", Some("1")), INVALID_REQUEST);
    assert_eq!(alter(&mut client, (TOPIC, "t"), "preallocate", Some("true")), INVALID_CONFIG);
    assert_eq!(alter(&mut client, (TOPIC, "t"), "remote.storage.enable", Some("true")), INVALID_CONFIG);
    assert_eq!(describe(&mut client, this, "node.id").unwrap(), "1 5 true; node.id=1 5");
}

#[test]
fn special_timestamps_are_known_from_their_versions_on() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    produce(&mut client, "t", 0, batch(&["a", "b"]));
    let mut list = |version: i16, timestamps: &[i64]| {
        let partitions = timestamps.iter().map(|timestamp| {
            ListOffsetsPartition::default().with_timestamp(*timestamp).with_current_leader_epoch(-1)
        });
        let topic =
            ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(partitions.collect());
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let response = client.call(version, &request).unwrap();
        let partition = &response.topics[0].partitions[0];
        (partition.error_code, partition.offset)
    };
    for (timestamp, since, offset) in [(-1, 1, 2), (-2, 1, 0), (-3, 7, 1), (-4, 8, 0), (-5, 9, -1)] {
        for version in 1..=10 {
            let expected = if version < since { (UNSUPPORTED_VERSION, -1) } else { (0, offset) };
            let got = list(version, &[timestamp]);
            // The largest timestamp may be that of either record.
            let got = if timestamp == -3 && got == (0, 0) { (0, 1) } else { got };
            assert_eq!(got, expected, "timestamp {timestamp} version {version}");
        }
    }
    assert_eq!(list(10, &[-6]).0, UNSUPPORTED_VERSION);
    assert_eq!(list(10, &[-1, -2]).0, INVALID_REQUEST);
}
