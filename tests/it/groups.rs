//! Consumer groups through librdkafka: rebalances, offsets, static members, administration.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, GroupId, ListGroupsRequest};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidemill::error_code::ErrorCode;

use crate::fixture::TestServer;
use crate::fixture::librdkafka::{
    PATIENCE, TestConsumer, create, flush, producer, send_all, send_record, take, values, wait,
};
use crate::fixture::wire::{create_topic, text};

const SETTINGS: &[(&str, &str)] = &[
    ("group.id", "g"),
    ("auto.offset.reset", "earliest"),
    ("enable.auto.commit", "false"),
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "200"),
];

fn member(server: &TestServer, more: &[(&str, &str)]) -> TestConsumer {
    let settings: Vec<_> = SETTINGS.iter().chain(more).copied().collect();
    let consumer: TestConsumer = create(server, &settings);
    consumer.subscribe(&["t"]).unwrap();
    consumer
}

fn assigned(consumer: &TestConsumer) -> BTreeSet<i32> {
    consumer.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

/// Polls all members until each has its share of the six partitions and together they have all.
fn until_shared(members: &[&TestConsumer]) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        for member in members {
            if let Some(polled) = member.poll(Duration::from_millis(20)) {
                polled.unwrap();
            }
        }
        let shares: Vec<BTreeSet<i32>> = members.iter().map(|member| assigned(member)).collect();
        let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
        let is_fair = shares.iter().all(|share| share.len() == 6 / members.len());
        if is_fair && all.len() == 6 {
            return;
        }
        assert!(Instant::now() < give_up, "the members share {shares:?}");
    }
}

#[test]
fn three_members_share_the_partitions_and_take_over_from_one_that_leaves() {
    let server = TestServer::start();
    create_topic(&mut server.wire(), "t", 6, &[]);
    for strategy in ["range", "roundrobin", "cooperative-sticky"] {
        let group = format!("group-{strategy}");
        let more = [("group.id", group.as_str()), ("partition.assignment.strategy", strategy)];
        let first = member(&server, &more);
        until_shared(&[&first]);
        let second = member(&server, &more);
        let third = member(&server, &more);
        until_shared(&[&first, &second, &third]);
        drop(third);
        until_shared(&[&first, &second]);
    }
}

#[test]
fn a_group_reads_every_record_once_and_goes_on_where_it_was() {
    let mut server = TestServer::start();
    create_topic(&mut server.wire(), "t", 6, &[]);
    let send = |server: &TestServer, range: std::ops::Range<i32>| {
        let producer = producer(server, &[]);
        for n in range {
            let value = n.to_string();
            send_record(&producer, BaseRecord::<(), str>::to("t").partition(n % 6).payload(&value));
        }
        assert!(flush(&producer).iter().all(Result::is_ok));
    };
    send(&server, 0..60);
    let consumer = member(&server, &[]);
    let read = take(&consumer, 60);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    assert_eq!(numbers(&values(&read)), (0..60).collect());
    drop(consumer);
    server.restart();
    send(&server, 60..120);
    let consumer = member(&server, &[]);
    assert_eq!(numbers(&values(&take(&consumer, 60))), (60..120).collect());
}

fn numbers(values: &[String]) -> BTreeSet<i32> {
    values.iter().map(|value| value.parse().unwrap()).collect()
}

#[test]
fn a_static_member_that_comes_back_keeps_its_partitions_without_a_rebalance() {
    let server = TestServer::start();
    create_topic(&mut server.wire(), "t", 6, &[]);
    let other = member(&server, &[("group.instance.id", "other")]);
    let first = member(&server, &[("group.instance.id", "first")]);
    until_shared(&[&other, &first]);
    let (kept, others) = (assigned(&first), assigned(&other));
    let generation = generation(&server);
    // librdkafka's static members do not leave when they close.
    drop(first);
    let again = member(&server, &[("group.instance.id", "first")]);
    until_shared(&[&other, &again]);
    assert_eq!((assigned(&again), assigned(&other)), (kept, others));
    assert_eq!(self::generation(&server), generation);
}

/// What tells one generation from another from outside: the members and their assignments.
fn generation(server: &TestServer) -> Vec<(Option<String>, Vec<u8>)> {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]);
    let response = server.wire().call(5, &request).unwrap();
    assert_eq!(response.groups[0].group_state.as_str(), "Stable");
    let members = response.groups[0].members.iter();
    let mut members: Vec<_> = members
        .map(|member| {
            let instance = member.group_instance_id.as_ref().map(ToString::to_string);
            (instance, member.member_assignment.to_vec())
        })
        .collect();
    members.sort();
    members
}

#[test]
fn offsets_are_committed_fetched_and_set_back() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["a", "b", "c"]);
    let consumer = member(&server, &[]);
    assert_eq!(values(&take(&consumer, 3)), ["a", "b", "c"]);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    drop(consumer);
    let offset = |offset| {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset("t", 0, offset).unwrap();
        offsets
    };
    // A group without members takes a commit from anybody: this is how its offsets are set back.
    let settings = [("group.id", "g"), ("enable.auto.commit", "false")];
    let reset: TestConsumer = create(&server, &settings);
    let committed = reset.committed_offsets(offset(Offset::Invalid), PATIENCE).unwrap();
    assert_eq!(committed.find_partition("t", 0).unwrap().offset(), Offset::Offset(3));
    reset.commit(&offset(Offset::Offset(1)), CommitMode::Sync).unwrap();
    drop(reset);
    let consumer = member(&server, &[]);
    assert_eq!(values(&take(&consumer, 2)), ["b", "c"]);
}

#[test]
fn a_commit_of_a_member_that_is_not_in_the_group_is_refused() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["a"]);
    let consumer = member(&server, &[]);
    take(&consumer, 1);
    // While the group has members, a commit from outside of its generation is not taken.
    let outside: TestConsumer = create(&server, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("t", 0, Offset::Offset(1)).unwrap();
    let refused = outside.commit(&offsets, CommitMode::Sync).unwrap_err();
    assert_eq!(refused.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownMemberId));
}

#[test]
fn an_offset_out_of_range_is_set_to_where_the_client_says() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["a", "b"]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("t", 0, Offset::Offset(1_000)).unwrap();
    let reset: TestConsumer = create(&server, &[("group.id", "g"), ("enable.auto.commit", "false")]);
    reset.commit(&offsets, CommitMode::Sync).unwrap();
    drop(reset);
    assert_eq!(values(&take(&member(&server, &[]), 2)), ["a", "b"]);
}

#[test]
fn groups_are_listed_described_and_deleted_once_empty() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["a"]);
    let consumer = member(&server, &[("client.id", "the-client")]);
    take(&consumer, 1);
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    let listed = consumer.fetch_group_list(Some("g"), PATIENCE).unwrap();
    let group = &listed.groups()[0];
    assert_eq!((group.state(), group.protocol_type(), group.members().len()), ("Stable", "consumer", 1));
    assert_eq!(group.members()[0].client_id(), "the-client");
    let delete = || {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![GroupId(text("g"))]);
        server.wire().call(2, &request).unwrap().results[0].error_code
    };
    assert_eq!(delete(), 68);
    drop(consumer);
    assert_eq!(delete(), 0);
    assert_eq!(delete(), 69);
    let listed = server.wire().call(4, &ListGroupsRequest::default()).unwrap();
    assert!(listed.groups.iter().all(|group| group.group_id.as_str() != "g"));
    // The offsets are gone with it.
    assert_eq!(values(&take(&member(&server, &[]), 1)), ["a"]);
}

#[test]
fn a_member_that_dies_is_missed_and_its_partitions_are_taken_over() {
    let server = TestServer::with(&[("group.min.session.timeout.ms", "500")]);
    create_topic(&mut server.wire(), "t", 6, &[]);
    let more = [("session.timeout.ms", "1000"), ("heartbeat.interval.ms", "100")];
    let survivor = member(&server, &more);
    // A member that joins by hand and is never heard of again. As any client it asks again while the group's
    // coordinator is on its way: the survivor may not have asked for it yet.
    let mut client = server.wire();
    let on_its_way =
        [ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorLoadInProgress].map(ErrorCode::code);
    let give_up = Instant::now() + PATIENCE;
    let joined = loop {
        let code = join_by_hand(&mut client);
        if !on_its_way.contains(&code) || Instant::now() > give_up {
            break code;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(joined, ErrorCode::None.code());
    until_shared(&[&survivor]);
}

fn join_by_hand(client: &mut tidemill::testing::WireClient) -> i16 {
    use kafka_protocol::messages::JoinGroupRequest;
    use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(bytes::Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0]));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_session_timeout_ms(500)
        .with_rebalance_timeout_ms(2_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    client.call(3, &request).unwrap().error_code
}

#[test]
fn the_offset_of_a_message_is_the_one_that_the_broker_gave() {
    let server = TestServer::start();
    send_all(&producer(&server, &[]), "t", &["a", "b"]);
    let read = take(&member(&server, &[]), 2);
    assert_eq!(read.iter().map(Message::offset).collect::<Vec<_>>(), [0, 1]);
    let described = wait(crate::fixture::librdkafka::admin(&server).describe_configs(
        &[rdkafka::admin::ResourceSpecifier::Broker(1)],
        &rdkafka::admin::AdminOptions::new(),
    ));
    assert!(described.unwrap()[0].is_ok());
}
