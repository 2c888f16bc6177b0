//! The APIs of administrators' tools, as one broker alone answers them.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::*;
use tidemill::testing::WireClient;

use crate::fixture::TestServer;
use crate::fixture::wire::{self, batch, produce, text, topic_name};

const TOPIC_RESOURCE: i8 = 2;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const UNSUPPORTED_VERSION: i16 = 35;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const LOG_DIR_NOT_FOUND: i16 = 57;
const ELECTION_NOT_NEEDED: i16 = 84;
const NO_REASSIGNMENT_IN_PROGRESS: i16 = 85;
const INVALID_UPDATE_VERSION: i16 = 95;

#[test]
fn partitions_of_all_topics_come_in_pages() {
    let server = TestServer::with(&[("max.request.partition.size.limit", "3")]);
    let mut client = server.wire();
    for (name, partitions) in [("a", 2), ("b", 4), ("c", 1)] {
        wire::create_topic(&mut client, name, partitions, &[]);
    }
    let mut request = DescribeTopicPartitionsRequest::default();
    let mut seen = Vec::new();
    let mut pages = 0;
    loop {
        let response = client.call(0, &request).unwrap();
        for topic in &response.topics {
            let name = topic.name.as_ref().unwrap();
            seen.extend(
                topic.partitions.iter().map(|one| format!("{}-{}", name.as_str(), one.partition_index)),
            );
        }
        pages += 1;
        let Some(next) = response.next_cursor else { break };
        let next =
            Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
        request = request.with_cursor(Some(next));
    }
    assert_eq!(seen, ["a-0", "a-1", "b-0", "b-1", "b-2", "b-3", "c-0"]);
    assert_eq!(pages, 3);
}

#[test]
fn a_page_says_which_topics_are_not_there() {
    let server = TestServer::start();
    let mut client = server.wire();
    let named = |name: &str| TopicRequest::default().with_name(topic_name(name));
    let request =
        DescribeTopicPartitionsRequest::default().with_topics(vec![named("missing"), named("not/a/name")]);
    let response = client.call(0, &request).unwrap();
    let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION]);
    let before_the_first = Cursor::default().with_topic_name(topic_name("a")).with_partition_index(-1);
    let response = client.call(0, &request.with_cursor(Some(before_the_first))).unwrap();
    assert!(response.topics.iter().all(|topic| topic.error_code == INVALID_REQUEST));
}

#[test]
fn log_dirs_tell_the_bytes_of_every_partition() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "sized", 2, &[]);
    let records = batch(&["one", "two"]);
    let bytes = i64::try_from(records.len()).unwrap();
    produce(&mut client, "sized", 1, records);
    let response = client.call(4, &DescribeLogDirsRequest::default().with_topics(None)).unwrap();
    let [directory] = response.results.as_slice() else { panic!("{response:?}") };
    assert!(std::path::Path::new(directory.log_dir.as_str()).is_absolute());
    let sized = directory.topics.iter().find(|topic| topic.name.as_str() == "sized").unwrap();
    let sizes: Vec<_> =
        sized.partitions.iter().map(|one| (one.partition_index, one.partition_size)).collect();
    assert_eq!(sizes, [(0, 0), (1, bytes)]);
}

#[test]
fn partitions_are_spread_over_log_dirs_and_stay_where_they_are() {
    let mut server = TestServer::child_over(3);
    let mut client = server.wire();
    wire::create_topic(&mut client, "spread", 6, &[]);
    for partition in 0..6 {
        produce(&mut client, "spread", partition, batch(&["one", "two"]));
    }
    let placed = |client: &mut WireClient| {
        let response = client.call(4, &DescribeLogDirsRequest::default().with_topics(None)).unwrap();
        let held = response.results.iter().map(|directory| {
            assert!(directory.total_bytes >= directory.usable_bytes && directory.usable_bytes > 0);
            let topic = directory.topics.iter().find(|topic| topic.name.as_str() == "spread").unwrap();
            let partitions = topic.partitions.iter().map(|one| (one.partition_index, one.partition_size));
            (directory.log_dir.to_string(), partitions.collect::<Vec<_>>())
        });
        held.collect::<Vec<_>>()
    };
    let before = placed(&mut client);
    assert_eq!(before.iter().map(|(_, partitions)| partitions.len()).collect::<Vec<_>>(), [2, 2, 2]);
    server.kill();
    let mut client = server.wire();
    assert_eq!(placed(&mut client), before);
    for partition in 0..6 {
        let read = wire::values(&wire::fetch(&mut client, "spread", partition, 0, 0));
        assert_eq!(read, [(0, "one".to_owned()), (1, "two".to_owned())]);
    }
    let moved = |client: &mut WireClient, path: &str| {
        let topic = AlterReplicaLogDirTopic::default().with_name(topic_name("spread"));
        let topic = topic.with_partitions(vec![before[0].1[0].0]);
        let directory = AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![topic]);
        let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![directory]);
        client.call(2, &request).unwrap().results[0].partitions[0].error_code
    };
    assert_eq!((moved(&mut client, &before[0].0), moved(&mut client, &before[1].0)), (0, INVALID_REQUEST));
}

#[test]
fn replicas_stay_in_the_one_directory() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "here", 1, &[]);
    let ours = client.call(1, &DescribeLogDirsRequest::default().with_topics(None)).unwrap();
    let ours = ours.results[0].log_dir.as_str().to_owned();
    let mut move_to = |path: &str| {
        let topic = AlterReplicaLogDirTopic::default().with_name(topic_name("here"));
        let topic = topic.with_partitions(vec![0, 7]);
        let directory = AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![topic]);
        let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![directory]);
        let response = client.call(2, &request).unwrap();
        response.results[0].partitions.iter().map(|one| one.error_code).collect::<Vec<_>>()
    };
    assert_eq!(move_to(&ours), [0, UNKNOWN_TOPIC_OR_PARTITION]);
    assert_eq!(move_to("/somewhere/else"), [LOG_DIR_NOT_FOUND, LOG_DIR_NOT_FOUND]);
}

/// The topic's own settings, as DescribeConfigs tells them.
fn own_settings(client: &mut WireClient, topic: &str) -> Vec<(String, String)> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(topic))
        .with_configuration_keys(None);
    let response = client.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource])).unwrap();
    let own = response.results[0].configs.iter().filter(|config| config.config_source == 1);
    own.map(|config| (config.name.to_string(), config.value.as_ref().unwrap().to_string())).collect()
}

fn alter_configs(client: &mut WireClient, configs: &[(&str, Option<&str>)], validate_only: bool) -> i16 {
    let configs = configs
        .iter()
        .map(|(name, value)| AlterableConfig::default().with_name(text(name)).with_value(value.map(text)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text("t"))
        .with_configs(configs.collect());
    let request =
        AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(validate_only);
    client.call(2, &request).unwrap().responses[0].error_code
}

#[test]
fn alter_configs_replaces_all_settings_of_a_topic() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[("retention.ms", "1000"), ("segment.ms", "2000")]);
    let before = own_settings(&mut client, "t");
    assert_eq!(alter_configs(&mut client, &[("retention.bytes", Some("5"))], true), 0);
    assert_eq!(alter_configs(&mut client, &[("retention.bytes", Some("many"))], false), INVALID_CONFIG);
    assert_eq!(alter_configs(&mut client, &[("no.such.key", Some("1"))], false), INVALID_CONFIG);
    assert_eq!(alter_configs(&mut client, &[("retention.ms", None)], false), INVALID_REQUEST);
    let twice = [("retention.ms", Some("1")), ("retention.ms", Some("2"))];
    assert_eq!(alter_configs(&mut client, &twice, false), INVALID_REQUEST);
    assert_eq!(own_settings(&mut client, "t"), before);
    assert_eq!(alter_configs(&mut client, &[("retention.bytes", Some("5"))], false), 0);
    assert_eq!(own_settings(&mut client, "t"), [("retention.bytes".to_owned(), "5".to_owned())]);
    assert_eq!(alter_configs(&mut client, &[], false), 0);
    assert_eq!(own_settings(&mut client, "t"), []);
}

#[test]
fn no_election_is_ever_needed() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let topic = TopicPartitions::default().with_topic(topic_name("t")).with_partitions(vec![0, 1]);
    for election_type in [0, 1] {
        let request = ElectLeadersRequest::default()
            .with_election_type(election_type)
            .with_topic_partitions(Some(vec![topic.clone()]));
        let response = client.call(2, &request).unwrap();
        let results = &response.replica_election_results[0].partition_result;
        let codes: Vec<_> = results.iter().map(|result| result.error_code).collect();
        assert_eq!(codes, [ELECTION_NOT_NEEDED, UNKNOWN_TOPIC_OR_PARTITION]);
    }
    let all = ElectLeadersRequest::default().with_topic_partitions(None);
    assert!(client.call(2, &all).unwrap().replica_election_results.is_empty());
    let unknown = client.call(2, &all.with_election_type(9)).unwrap();
    assert_eq!(unknown.error_code, INVALID_REQUEST);
}

#[test]
fn partitions_can_be_assigned_to_this_broker_alone() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let mut reassign = |index: i32, replicas: Option<&[i32]>| {
        let replicas = replicas.map(|ids| ids.iter().map(|id| BrokerId(*id)).collect());
        let partition = ReassignablePartition::default().with_partition_index(index).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        client.call(0, &request).unwrap().responses[0].partitions[0].error_code
    };
    assert_eq!(reassign(0, Some(&[1])), 0);
    for replicas in [&[][..], &[2], &[1, 2], &[1, 1], &[-1]] {
        assert_eq!(reassign(0, Some(replicas)), INVALID_REPLICA_ASSIGNMENT, "{replicas:?}");
    }
    assert_eq!(reassign(0, None), NO_REASSIGNMENT_IN_PROGRESS);
    assert_eq!(reassign(1, Some(&[1])), UNKNOWN_TOPIC_OR_PARTITION);
    let list = ListPartitionReassignmentsRequest::default().with_topics(None);
    assert!(client.call(0, &list).unwrap().topics.is_empty());
}

#[test]
fn features_stay_where_the_binary_has_them() {
    let server = TestServer::start();
    let mut client = server.wire();
    let mut update = |level: i16, upgrade_type: i8| {
        let key = FeatureUpdateKey::default()
            .with_feature(text("transaction.version"))
            .with_max_version_level(level)
            .with_upgrade_type(upgrade_type);
        let request = UpdateFeaturesRequest::default().with_feature_updates(vec![key]);
        client.call(2, &request).unwrap().error_code
    };
    assert_eq!(update(2, 1), 0);
    assert_eq!(update(1, 1), INVALID_UPDATE_VERSION);
    assert_eq!(update(1, 2), INVALID_UPDATE_VERSION);
    assert_eq!(update(3, 1), INVALID_UPDATE_VERSION);
    assert_eq!(update(2, 7), INVALID_REQUEST);
}

#[test]
fn config_resources_are_topics_and_the_broker() {
    let server = TestServer::start();
    let mut client = server.wire();
    wire::create_topic(&mut client, "t", 1, &[]);
    let mut list = |types: &[i8]| {
        let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
        let response = client.call(1, &request).unwrap();
        let found = response.config_resources.iter();
        let found = found.map(|one| (one.resource_type, one.resource_name.to_string())).collect::<Vec<_>>();
        (response.error_code, found)
    };
    let (topic, broker) = ((2, "t".to_owned()), (4, "1".to_owned()));
    assert_eq!(list(&[]), (0, vec![topic.clone(), broker.clone()]));
    assert_eq!(list(&[2]), (0, vec![topic]));
    assert_eq!(list(&[4, 8, 16, 32]), (0, vec![broker]));
    assert_eq!(list(&[3]), (UNSUPPORTED_VERSION, vec![]));
}
