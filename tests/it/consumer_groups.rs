//! Groups of the new protocol (KIP-848) over the wire: codes, restarts, topics that grow, offsets; and their clients
//! through librdkafka.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    CreatePartitionsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use rdkafka::consumer::{CommitMode, Consumer};
use tidemill::error_code::ErrorCode;
use tidemill::testing::WireClient;

use crate::fixture::TestServer;
use crate::fixture::command::tidemill_json;
use crate::fixture::librdkafka::{PATIENCE, TestConsumer, create, producer, send_all, take, values};
use crate::fixture::wire::{commit_request, committed_offset, create_topic, text, topic_name};

const GROUP: &str = "mill";

fn group() -> GroupId {
    GroupId(text(GROUP))
}

fn beat(id: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(id))
        .with_member_epoch(epoch)
}

fn joining(id: &str) -> ConsumerGroupHeartbeatRequest {
    beat(id, 0)
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![topic_name("grain")]))
        .with_topic_partitions(Some(Vec::new()))
}

fn send(client: &mut WireClient, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
    client.call(1, request).unwrap()
}

fn refused(client: &mut WireClient, request: &ConsumerGroupHeartbeatRequest) -> ErrorCode {
    let response = send(client, request);
    assert!(response.error_message.is_some_and(|message| !message.is_empty()), "it says why");
    ErrorCode::from_code(response.error_code).unwrap()
}

/// How many partitions a heartbeat gives.
fn given(response: &ConsumerGroupHeartbeatResponse) -> usize {
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    let topics = response.assignment.iter().flat_map(|assignment| &assignment.topic_partitions);
    topics.map(|topic| topic.partitions.len()).sum()
}

#[test]
fn a_member_goes_on_after_a_restart_and_is_given_what_its_topic_has_grown_by() {
    let mut server = TestServer::start();
    create_topic(&mut server.wire(), "grain", 4, &[]);
    assert_eq!(given(&send(&mut server.wire(), &joining("a"))), 4);
    server.restart();
    let mut client = server.wire();
    let response = send(&mut client, &beat("a", 1));
    assert_eq!((response.error_code, response.member_epoch, given(&response)), (0, 1, 0));
    let grown = CreatePartitionsTopic::default().with_name(topic_name("grain")).with_count(6);
    client
        .call(1, &CreatePartitionsRequest::default().with_topics(vec![grown]).with_timeout_ms(9_000))
        .unwrap();
    let response = send(&mut client, &beat("a", 1));
    assert_eq!((response.member_epoch, given(&response)), (2, 6));
}

#[test]
fn a_request_that_is_none_is_refused_and_changes_nothing() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "grain", 1, &[]);
    let owned = TopicPartitions::default().with_partitions(vec![0]);
    let invalid = [
        joining("").with_member_id(text(" ")),
        joining("a").with_group_id(GroupId(text(""))),
        joining("a").with_instance_id(Some(text(""))),
        joining("a").with_rack_id(Some(text(" "))),
        joining("a").with_rebalance_timeout_ms(-1),
        joining("a").with_topic_partitions(None),
        joining("a").with_topic_partitions(Some(vec![owned])),
        joining("a").with_subscribed_topic_names(None),
        joining("a").with_member_epoch(-3),
        joining("a").with_member_epoch(-2),
    ];
    for request in &invalid {
        assert_eq!(refused(&mut client, request), ErrorCode::InvalidRequest, "{request:?}");
    }
    let assignor = joining("a").with_server_assignor(Some(text("mine")));
    assert_eq!(refused(&mut client, &assignor), ErrorCode::UnsupportedAssignor);
    let regex = joining("a").with_subscribed_topic_regex(Some(text("(")));
    assert_eq!(refused(&mut client, &regex), ErrorCode::InvalidRegularExpression);
    assert_eq!(refused(&mut client, &beat("a", 1)), ErrorCode::GroupIdNotFound);
    assert!(client.call(5, &ListGroupsRequest::default()).unwrap().groups.is_empty());
}

#[test]
fn offsets_are_committed_and_fetched_at_the_members_epoch() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "grain", 1, &[]);
    send(&mut client, &joining("a"));
    let mut commit = |version, epoch| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(7);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(topic_name("grain"))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(text("a"))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        let response = client.call(version, &request).unwrap();
        ErrorCode::from_code(response.topics[0].partitions[0].error_code).unwrap()
    };
    assert_eq!(commit(9, 1), ErrorCode::None);
    assert_eq!(commit(9, 5), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(8, 1), ErrorCode::UnsupportedVersion);
    let mut fetch = |epoch| {
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_member_id(Some(text("a")))
            .with_member_epoch(epoch)
            .with_topics(None);
        let response = client.call(9, &OffsetFetchRequest::default().with_groups(vec![asked])).unwrap();
        let group = &response.groups[0];
        let offsets = group.topics.iter().flat_map(|topic| &topic.partitions);
        (group.error_code, offsets.map(|partition| partition.committed_offset).collect::<Vec<_>>())
    };
    assert_eq!(fetch(1), (0, vec![7]));
    assert_eq!(fetch(5), (ErrorCode::StaleMemberEpoch.code(), vec![]));
}

#[test]
fn a_silent_member_is_put_out_and_the_other_gets_its_partitions() {
    let server = TestServer::with(&[("group.consumer.session.timeout.ms", "2000")]);
    let mut client = server.wire();
    create_topic(&mut client, "grain", 2, &[]);
    assert_eq!(given(&send(&mut client, &joining("silent"))), 2);
    let (mut epoch, mut has) = (0, 0);
    let give_up = Instant::now() + PATIENCE;
    while has < 2 {
        assert!(Instant::now() < give_up, "the silent member keeps its partitions");
        let request = if epoch == 0 { joining("other") } else { beat("other", epoch) };
        let response = send(&mut client, &request);
        match ErrorCode::from_code(response.error_code).unwrap() {
            ErrorCode::None if response.assignment.is_some() => has = given(&response),
            ErrorCode::None => {}
            // On a busy machine this one may be late itself, and joins again.
            ErrorCode::UnknownMemberId => has = 0,
            code => panic!("{code}"),
        }
        epoch = if response.error_code == 0 { response.member_epoch } else { 0 };
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(refused(&mut client, &beat("silent", 1)), ErrorCode::UnknownMemberId);
    let late = commit_request(GROUP, "grain", 7)
        .with_member_id(text("silent"))
        .with_generation_id_or_member_epoch(1);
    let code = client.call(9, &late).unwrap().topics[0].partitions[0].error_code;
    assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::UnknownMemberId));
    assert_eq!(committed_offset(&mut client, GROUP, "grain"), -1);
}

#[test]
fn a_group_is_shown_as_what_it_is() {
    let server = TestServer::with(&[("tidemill.admin.listen", "127.0.0.1:0")]);
    let mut client = server.wire();
    create_topic(&mut client, "grain", 1, &[]);
    send(&mut client, &joining("a"));
    let request = ListGroupsRequest::default().with_types_filter(vec![text("Consumer")]);
    let listed = client.call(5, &request).unwrap();
    assert_eq!((listed.groups.len(), listed.groups[0].group_type.as_str()), (1, "consumer"));
    let classic = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let dead = client.call(6, &classic).unwrap();
    assert_eq!((dead.groups[0].error_code, dead.groups[0].group_state.as_str()), (69, "Dead"));
    assert_eq!(client.call(5, &classic).unwrap().groups[0].error_code, 0);
    let missing = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text("none"))]);
    assert_eq!(client.call(1, &missing).unwrap().groups[0].error_code, 69);
    let shown = tidemill_json(&server, &["group", "describe", GROUP], "");
    assert_eq!(shown[0]["state"], "Stable");
    assert_eq!(shown[0]["protocol"], "uniform");
    assert_eq!(shown[0]["members"][0]["partitions"], 1);
}

fn assigned(consumer: &TestConsumer) -> BTreeSet<i32> {
    consumer.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

#[test]
fn librdkafkas_members_share_read_and_commit() {
    let server = TestServer::with(&[("group.consumer.heartbeat.interval.ms", "100")]);
    create_topic(&mut server.wire(), "grain", 6, &[]);
    let settings = [
        ("group.id", GROUP),
        ("group.protocol", "consumer"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let member = || -> TestConsumer {
        let consumer: TestConsumer = create(&server, &settings);
        consumer.subscribe(&["grain"]).unwrap();
        consumer
    };
    let until_shared = |members: &[&TestConsumer]| {
        let give_up = Instant::now() + PATIENCE;
        loop {
            for member in members {
                if let Some(polled) = member.poll(Duration::from_millis(20)) {
                    polled.unwrap();
                }
            }
            let shares: Vec<BTreeSet<i32>> = members.iter().map(|member| assigned(member)).collect();
            let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
            if all.len() == 6 && shares.iter().all(|share| share.len() == 6 / members.len()) {
                return;
            }
            assert!(Instant::now() < give_up, "the members share {shares:?}");
        }
    };
    let first = member();
    until_shared(&[&first]);
    let (second, third) = (member(), member());
    until_shared(&[&first, &second, &third]);
    drop(third);
    until_shared(&[&first, &second]);
    drop(second);
    until_shared(&[&first]);
    send_all(&producer(&server, &[]), "grain", &["a", "b", "c"]);
    let mut read = values(&take(&first, 3));
    read.sort();
    assert_eq!(read, ["a", "b", "c"]);
    first.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(first);
    let again = member();
    until_shared(&[&again]);
    send_all(&producer(&server, &[]), "grain", &["d"]);
    assert_eq!(values(&take(&again, 1)), ["d"]);
}
