//! Clients' quotas over the wire: kept, told in answers, and enforced by silence (KIP-219).

use std::time::{Duration, Instant};

use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::*;
use tidemill::testing::WireClient;

use crate::fixture::TestServer;
use crate::fixture::wire::{self, READ_UNCOMMITTED, batch, produce, text, topic_name};

const INVALID_REQUEST: i16 = 42;
const THROTTLING_QUOTA_EXCEEDED: i16 = 89;
/// What the wire client calls itself.
const CLIENT_ID: &str = "wire-client";

fn alter(client: &mut WireClient, entity: &[(&str, Option<&str>)], key: &str, value: Option<f64>) -> i16 {
    let entity = entity.iter().map(|(kind, name)| {
        EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
    });
    let op = OpData::default().with_key(text(key));
    let op = match value {
        Some(value) => op.with_value(value),
        None => op.with_remove(true),
    };
    let entry = EntryData::default().with_entity(entity.collect()).with_ops(vec![op]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    client.call(1, &request).unwrap().entries[0].error_code
}

/// All quotas, each as `type=name,… key=value`.
fn describe(client: &mut WireClient, request: &DescribeClientQuotasRequest) -> Vec<String> {
    let response = client.call(1, request).unwrap();
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let mut lines = Vec::new();
    for entry in response.entries.unwrap() {
        let entity = entry.entity.iter().map(|part| {
            let name = part.entity_name.as_ref().map_or("<default>", |name| name.as_str());
            format!("{}={name}", part.entity_type.as_str())
        });
        let entity = entity.collect::<Vec<_>>().join(",");
        lines.extend(
            entry.values.iter().map(|value| format!("{entity} {}={}", value.key.as_str(), value.value)),
        );
    }
    lines
}

#[test]
fn quotas_are_kept_over_a_restart() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    let ann = [("user", Some("ann")), ("client-id", None)];
    assert_eq!(alter(&mut client, &ann, "request_percentage", Some(12.5)), 0);
    assert_eq!(alter(&mut client, &[("client-id", Some("app"))], "consumer_byte_rate", Some(1e6)), 0);
    assert_eq!(alter(&mut client, &[("user", None)], "producer_byte_rate", Some(5.0)), 0);
    assert_eq!(alter(&mut client, &[("user", None)], "producer_byte_rate", None), 0);
    server.restart();
    let mut client = server.wire();
    let all = describe(&mut client, &DescribeClientQuotasRequest::default());
    let kept =
        ["client-id=app consumer_byte_rate=1000000", "user=ann,client-id=<default> request_percentage=12.5"];
    assert_eq!(all, kept);
    let of_ann = ComponentData::default().with_entity_type(text("user")).with_match(Some(text("ann")));
    let request = DescribeClientQuotasRequest::default().with_components(vec![of_ann]);
    assert_eq!(describe(&mut client, &request), kept[1..]);
    assert!(describe(&mut client, &request.with_strict(true)).is_empty());
}

#[test]
fn quotas_that_make_no_sense_are_refused() {
    let server = TestServer::start();
    let mut client = server.wire();
    let user = [("user", Some("ann"))];
    for (entity, key, value) in [
        (&user[..], "no_such_rate", Some(1.0)),
        (&user, "producer_byte_rate", Some(0.0)),
        (&user, "producer_byte_rate", Some(1.5)),
        (&[], "producer_byte_rate", Some(1.0)),
        (&[("ip", Some("127.0.0.1"))], "connection_creation_rate", Some(1.0)),
    ] {
        assert_eq!(alter(&mut client, entity, key, value), INVALID_REQUEST, "{entity:?} {key}");
    }
    let twice = ComponentData::default().with_entity_type(text("user")).with_match_type(2);
    let request = DescribeClientQuotasRequest::default().with_components(vec![twice.clone(), twice]);
    assert_eq!(client.call(1, &request).unwrap().error_code, INVALID_REQUEST);
    assert!(describe(&mut client, &DescribeClientQuotasRequest::default()).is_empty());
}

#[test]
fn a_producer_over_its_rate_is_told_to_wait_and_not_heard_meanwhile() {
    let server = TestServer::start();
    let (mut slow, mut other) = (server.wire(), server.wire());
    wire::create_topic(&mut other, "t", 1, &[]);
    assert_eq!(alter(&mut other, &[("client-id", Some(CLIENT_ID))], "producer_byte_rate", Some(1000.0)), 0);
    let records = batch(&["x".repeat(10_800).as_str()]);
    let response = slow.call(9, &wire::produce_request("t", 0, records)).unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "it is written nevertheless");
    let wait = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap());
    assert!((Duration::from_millis(500)..Duration::from_secs(3)).contains(&wait), "{wait:?}");
    let told = Instant::now();
    slow.send(0, &ApiVersionsRequest::default()).unwrap();
    // Another connection of the same client, which has not been told to wait, is served.
    let before = Instant::now();
    other.call(12, &MetadataRequest::default().with_topics(Some(Vec::new()))).unwrap();
    assert!(before.elapsed() < wait, "one client's wait holds up another");
    slow.receive_answer::<ApiVersionsRequest>(0).unwrap();
    assert!(told.elapsed() + Duration::from_millis(50) >= wait, "{:?} of {wait:?}", told.elapsed());
}

#[test]
fn a_fetch_over_the_rate_is_empty_until_the_rate_is_below_the_limit() {
    let server = TestServer::with(&[("quota.window.num", "2")]);
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    produce(&mut client, "t", 0, batch(&["x".repeat(700).as_str()]));
    assert_eq!(alter(&mut client, &[("user", None)], "consumer_byte_rate", Some(1000.0)), 0);
    let fetch = wire::fetch_request("t", 0, 0, READ_UNCOMMITTED);
    let first = client.call(12, &fetch).unwrap();
    assert_eq!((first.throttle_time_ms, first.responses.len()), (0, 1));
    let mut waited = 0;
    let mut response = client.call(12, &fetch).unwrap();
    assert!(response.responses.is_empty(), "{response:?}");
    while response.responses.is_empty() {
        assert!(response.throttle_time_ms > 0 && waited < 10);
        let wait = Duration::from_millis(u64::try_from(response.throttle_time_ms).unwrap());
        let told = Instant::now();
        response = client.call(12, &fetch).unwrap();
        assert!(told.elapsed() + Duration::from_millis(50) >= wait, "{:?} of {wait:?}", told.elapsed());
        waited += 1;
    }
}

#[test]
fn partitions_beyond_the_mutation_rate_are_refused_to_who_knows_the_error() {
    let server = TestServer::with(&[("controller.quota.window.num", "2")]);
    let mut client = server.wire();
    assert_eq!(alter(&mut client, &[("user", Some("ANONYMOUS"))], "controller_mutation_rate", Some(1.0)), 0);
    let mut create = |version: i16, name: &str| {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(4)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        let response = client.call(version, &request).unwrap();
        (response.topics[0].error_code, response.throttle_time_ms)
    };
    // Four partitions where two were free: the next waits for the two that it is overdrawn by.
    assert_eq!(create(7, "first"), (0, 0));
    let (code, wait_ms) = create(7, "second");
    assert_eq!(code, THROTTLING_QUOTA_EXCEEDED);
    assert!((1..=2000).contains(&wait_ms), "{wait_ms}");
    let (code, wait_ms) = create(5, "second");
    assert_eq!(code, 0);
    assert!(wait_ms > 2000, "{wait_ms}");
}

#[test]
fn time_on_threads_is_waited_for_at_most_a_second() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 100, &[]);
    assert_eq!(alter(&mut client, &[("user", Some("ANONYMOUS"))], "request_percentage", Some(0.000_1)), 0);
    let request = MetadataRequest::default().with_topics(None);
    let waits = (0..1000).map(|_| client.call(12, &request).unwrap().throttle_time_ms);
    let wait = waits.into_iter().find(|wait_ms| *wait_ms > 0).unwrap();
    assert!((1..=1000).contains(&wait), "{wait}");
    assert_eq!(alter(&mut client, &[("user", Some("ANONYMOUS"))], "request_percentage", None), 0);
    assert_eq!(client.call(12, &request).unwrap().throttle_time_ms, 0);
}
