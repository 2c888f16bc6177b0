//! Names at every limit, over the wire: of topics, groups, transactions, clients, members and headers. What Kafka
//! takes works to the end, across a restart and a deletion; what it does not take gets its code.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use tidemill::clock::Clock;
use tidemill::error_code::ErrorCode;
use tidemill::testing::{WireClient, encode_request};
use tidemill::wire::record_batch::{BatchBuilder, BatchOptions, NewRecord, RecordBatch};

use crate::fixture::TestServer;
use crate::fixture::wire::{
    Producer, READ_COMMITTED, READ_UNCOMMITTED, assert_still_serves, batch, batch_with, commit_offset,
    commit_request, committed_offset, create_topic, delete_topic, fetch, produce, produce_in_transaction,
    text, topic_id, topic_name, transactional, values,
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest name of a group, a transaction or a member: its length has 16 bits.
const LONGEST: usize = i16::MAX as usize;

/// Names that no rule forbids: Kafka asks of groups, transactions and members only that they are text.
fn odd_names() -> Vec<String> {
    let odd = [
        " ",
        "..",
        "../../etc/passwd",
        "a/b",
        "a\0b",
        "a\nb",
        "\u{202e}naïve 名前 🜂",
        "__consumer_offsets",
        "%s{}$(id)",
    ];
    odd.into_iter().map(str::to_owned).chain(["x".repeat(LONGEST), "é".repeat(LONGEST / 2)]).collect()
}

/// Creates a topic and answers the code.
fn creation(client: &mut WireClient, names: &[&str]) -> Vec<i16> {
    let topic = |name: &&str| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(1)
            .with_replication_factor(1)
    };
    let request =
        CreateTopicsRequest::default().with_topics(names.iter().map(topic).collect()).with_timeout_ms(30_000);
    client.call(7, &request).unwrap().topics.iter().map(|topic| topic.error_code).collect()
}

#[test]
fn a_topic_of_the_longest_name_lives_and_dies_as_any_other() {
    let mut server = TestServer::start();
    let name = "x".repeat(249);
    let mut client = server.wire();
    assert_eq!(creation(&mut client, &[&format!("{name}y")]), [ErrorCode::InvalidTopicException.code()]);
    create_topic(&mut client, &name, 11, &[]);
    assert_eq!(produce(&mut client, &name, 10, batch(&["a"])).error_code, 0);
    server.restart();
    let mut client = server.wire();
    assert_eq!(values(&fetch(&mut client, &name, 10, 0, READ_COMMITTED)).len(), 1);
    assert_eq!(commit_offset(&mut client, "g", &name, 1), 0);
    let old = topic_id(&mut client, &name);
    assert_eq!(delete_topic(&mut client, &name), 0);
    create_topic(&mut client, &name, 11, &[]);
    assert_ne!(topic_id(&mut client, &name), old);
    server.restart();
    let mut client = server.wire();
    assert_eq!(values(&fetch(&mut client, &name, 10, 0, READ_COMMITTED)).len(), 0);
    assert_eq!(committed_offset(&mut client, "g", &name), -1);
}

#[test]
fn names_that_differ_only_in_dots_and_underscores_collide() {
    let server = TestServer::start();
    let mut client = server.wire();
    let invalid = ErrorCode::InvalidTopicException.code();
    assert_eq!(creation(&mut client, &["a.b"]), [0]);
    assert_eq!(creation(&mut client, &["a_b"]), [invalid]);
    assert_eq!(creation(&mut client, &["a.b"]), [ErrorCode::TopicAlreadyExists.code()]);
    assert_eq!(creation(&mut client, &["c.d.e", "c_d.e", "c-d.e"]), [0, invalid, 0]);
    // A producer that asks for it does not create it either, and one that names a topic twice creates none.
    assert_eq!(metadata(&mut client, "a_b").0, invalid);
    let twice = ErrorCode::InvalidRequest.code();
    assert_eq!(creation(&mut client, &["f", "g", "f"]), [twice, 0, twice]);
    assert_eq!(delete_topic(&mut client, "a.b"), 0);
    assert_eq!(creation(&mut client, &["a_b"]), [0]);
}

/// Asks for a topic as a producer does that would have it created: the code, and how many partitions there are.
fn metadata(client: &mut WireClient, name: &str) -> (i16, usize) {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    let topic = client.call(12, &request).unwrap().topics[0].clone();
    (topic.error_code, topic.partitions.len())
}

#[test]
fn asking_for_the_brokers_own_topics_makes_them_as_they_must_be_or_not_at_all() {
    let mut server = TestServer::with(&[("num.partitions", "3")]);
    let mut client = server.wire();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    for name in ["__cluster_metadata", "__ingress.t", "__plugin_logs", "__"] {
        assert_eq!(metadata(&mut client, name), (unknown, 0), "{name}");
        assert_eq!(creation(&mut client, &[name]), [ErrorCode::InvalidTopicException.code()], "{name}");
    }
    for name in ["__consumer_offsets", "__transaction_state"] {
        assert_eq!(
            metadata(&mut client, name),
            (0, 5),
            "{name} has as many partitions as its own setting says"
        );
        assert_eq!(cleanup_policy(&mut client, name), "compact", "{name}");
    }
    create_topic(&mut client, "t", 1, &[]);
    assert_eq!(commit_offset(&mut client, "g", "t", 7), 0);
    server.restart();
    assert_eq!(committed_offset(&mut server.wire(), "g", "t"), 7);
}

fn cleanup_policy(client: &mut WireClient, topic: &str) -> String {
    let resource = describe_configs_request::DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configuration_keys(Some(vec![text("cleanup.policy")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = client.call(4, &request).unwrap();
    response.results[0].configs[0].value.as_ref().unwrap().to_string()
}

#[test]
fn groups_of_odd_and_longest_names_keep_their_offsets_and_are_deleted() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    for (offset, name) in (1..).zip(&odd_names()) {
        assert_eq!(commit_offset(&mut client, name, "t", offset), 0, "{name:.20?}");
    }
    server.restart();
    let mut client = server.wire();
    let listed = client.call(4, &ListGroupsRequest::default()).unwrap();
    for (offset, name) in (1..).zip(&odd_names()) {
        assert_eq!(committed_offset(&mut client, name, "t"), offset, "{name:.20?}");
        let group = GroupId(text(name));
        assert!(listed.groups.iter().any(|listed| listed.group_id == group), "{name:.20?}");
        let request = DescribeGroupsRequest::default().with_groups(vec![group.clone()]);
        let described = client.call(5, &request).unwrap().groups[0].clone();
        assert_eq!((described.error_code, described.group_state.as_str()), (0, "Empty"), "{name:.20?}");
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group]);
        assert_eq!(client.call(2, &request).unwrap().results[0].error_code, 0, "{name:.20?}");
        assert_eq!(committed_offset(&mut client, name, "t"), -1, "{name:.20?}");
    }
}

#[test]
fn a_name_that_kafka_cannot_read_ends_its_connection() {
    let server = TestServer::start();
    create_topic(&mut server.wire(), "t", 1, &[]);
    let long = "x".repeat(LONGEST + 1);
    let mut client = server.wire();
    client.send(8, &commit_request(&long, "t", 1)).unwrap();
    assert!(client.is_closed_by_peer());
    let mut client = server.wire();
    client.send(4, &init_request(&long)).unwrap();
    assert!(client.is_closed_by_peer());
    let mut client = server.wire();
    client.stream().write_all(&encode_as(b"not UTF-8: \xff", 0, &ApiVersionsRequest::default())).unwrap();
    assert!(client.is_closed_by_peer());
    assert_still_serves(&server);
}

fn init_request(id: &str) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(60_000)
}

fn end_request(id: &str, producer: Producer) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(TransactionalId(text(id)))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(true)
}

#[test]
fn transactions_of_odd_and_longest_names_commit() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(client.call(5, &init_request("")).unwrap().error_code, invalid);
    let nobody = Producer { id: 0, epoch: 0 };
    assert_eq!(client.call(5, &end_request("", nobody)).unwrap().error_code, invalid);
    let names = odd_names();
    for name in &names {
        let response = client.call(5, &init_request(name)).unwrap();
        assert_eq!(response.error_code, 0, "{name:.20?}");
        let producer = Producer { id: response.producer_id.0, epoch: response.producer_epoch };
        let records = batch_with(transactional(producer, 0), &["in a transaction"]);
        let written = produce_in_transaction(&mut client, name, "t", records);
        assert_eq!(written.error_code, 0, "{name:.20?}: {:?}", written.error_message);
        assert_eq!(client.call(5, &end_request(name, producer)).unwrap().error_code, 0, "{name:.20?}");
    }
    server.restart();
    let mut client = server.wire();
    let states = client.call(0, &ListTransactionsRequest::default()).unwrap().transaction_states;
    for name in &names {
        let id = TransactionalId(text(name));
        assert!(states.iter().any(|state| state.transactional_id == id), "{name:.20?}");
    }
    // A record and a marker each, of which the last ones may be on their way still.
    let end = i64::try_from(2 * names.len()).unwrap();
    let give_up = Instant::now() + PATIENCE;
    while fetch(&mut client, "t", 0, 0, READ_COMMITTED).last_stable_offset < end {
        assert!(Instant::now() < give_up, "some transaction is not decided");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(values(&fetch(&mut client, "t", 0, 0, READ_COMMITTED)).len(), names.len());
}

#[test]
fn a_producer_that_names_half_of_itself_is_refused_and_fences_nobody() {
    let server = TestServer::start();
    let mut client = server.wire();
    assert_eq!(client.call(4, &init_request("tx")).unwrap().producer_epoch, 0);
    for (id, epoch) in [(-1, 0), (0, -1), (-2, 0), (0, i16::MIN), (i64::MIN, i16::MIN)] {
        let request = init_request("tx").with_producer_id(ProducerId(id)).with_producer_epoch(epoch);
        let response = client.call(4, &request).unwrap();
        assert_eq!(response.error_code, ErrorCode::InvalidRequest.code(), "{id} {epoch}");
        assert_eq!((response.producer_id.0, response.producer_epoch), (-1, -1));
    }
    assert_eq!(client.call(4, &init_request("tx")).unwrap().producer_epoch, 1);
}

/// A request of a client of any name.
fn encode_as<R: Request>(client_id: &[u8], version: i16, request: &R) -> BytesMut {
    let frame = encode_request(1, version, request).unwrap();
    let own = usize::from(u16::from_be_bytes([frame[12], frame[13]]));
    let mut renamed = BytesMut::new();
    renamed.put_i32(i32::try_from(frame.len() - 4 - own + client_id.len()).unwrap());
    renamed.put_slice(&frame[4..12]);
    renamed.put_i16(i16::try_from(client_id.len()).unwrap());
    renamed.put_slice(client_id);
    renamed.put_slice(&frame[14 + own..]);
    renamed
}

fn join_request() -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
    JoinGroupRequest::default()
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins a group of its own as a client of that name.
fn join_as(server: &TestServer, client_id: &str, group: &str) -> JoinGroupResponse {
    let request = join_request().with_group_id(GroupId(text(group)));
    let mut client = server.wire();
    client.stream().write_all(&encode_as(client_id.as_bytes(), 3, &request)).unwrap();
    let mut answer = client.receive().unwrap().split_off(4);
    JoinGroupResponse::decode(&mut answer, 3).unwrap()
}

#[test]
fn clients_of_odd_names_join_groups_and_those_of_too_long_ones_are_told() {
    let server = TestServer::start();
    let mut client = server.wire();
    for (number, name) in odd_names().iter().chain([&String::new()]).enumerate() {
        let group = format!("group-{number}");
        let joined = join_as(&server, name, &group);
        // A member's id begins with its client's, and has to fit.
        if name.len() > LONGEST - 37 {
            assert_eq!(joined.error_code, ErrorCode::InvalidRequest.code(), "{name:.20?}");
            continue;
        }
        assert_eq!(joined.error_code, 0, "{name:.20?}");
        assert!(joined.member_id.starts_with(&format!("{name}-")), "{name:.20?}");
        let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(&group))]);
        let described = client.call(5, &request).unwrap().groups[0].clone();
        assert_eq!(described.members[0].client_id.as_str(), name, "{name:.20?}");
        assert_eq!(described.members[0].member_id, joined.member_id);
    }
    let fits = "x".repeat(LONGEST - 37);
    assert_eq!(join_as(&server, &fits, "longest").error_code, 0);
    assert_still_serves(&server);
}

#[test]
fn members_of_odd_and_longest_names_are_unknown_or_known_as_any_other() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    for (number, name) in odd_names().iter().enumerate() {
        let group = GroupId(text(&format!("group-{number}")));
        let stranger = join_request().with_group_id(group.clone()).with_member_id(text(name));
        let unknown = ErrorCode::UnknownMemberId.code();
        assert_eq!(client.call(7, &stranger).unwrap().error_code, unknown, "{name:.20?}");
        let heartbeat = HeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_generation_id(0)
            .with_member_id(text(name));
        assert_eq!(client.call(4, &heartbeat).unwrap().error_code, unknown, "{name:.20?}");
        // In the new protocol a member gives itself its id.
        let joining = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group)
            .with_member_id(text(name))
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(vec![topic_name("t")]))
            .with_topic_partitions(Some(Vec::new()));
        let joined = client.call(1, &joining).unwrap();
        let blank = name.trim().is_empty();
        assert_eq!(
            joined.error_code,
            if blank { ErrorCode::InvalidRequest.code() } else { 0 },
            "{name:.20?}"
        );
    }
    server.restart();
    let mut client = server.wire();
    for (number, name) in odd_names().iter().enumerate().filter(|(_, name)| !name.trim().is_empty()) {
        let described = described(&mut client, &format!("group-{number}"));
        assert_eq!(described.members[0].member_id, text(name), "{name:.20?}");
    }
}

fn described(client: &mut WireClient, group: &str) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![GroupId(text(group))]);
    let described = client.call(1, &request).unwrap().groups[0].clone();
    assert_eq!(described.error_code, 0, "{:?}", described.error_message);
    described
}

#[test]
fn a_static_member_of_an_odd_name_is_fenced_by_its_successor() {
    let server = TestServer::start();
    let mut client = server.wire();
    for (number, name) in odd_names().iter().filter(|name| name.len() < LONGEST - 37).enumerate() {
        let group = GroupId(text(&format!("group-{number}")));
        let join = |id: StrBytes| {
            join_request()
                .with_group_id(group.clone())
                .with_group_instance_id(Some(text(name)))
                .with_member_id(id)
        };
        let first = client.call(7, &join(StrBytes::default())).unwrap();
        assert_eq!(first.error_code, 0, "{name:.20?}");
        let second = client.call(7, &join(StrBytes::default())).unwrap();
        assert_eq!(second.error_code, 0, "{name:.20?}");
        let fenced = client.call(7, &join(first.member_id)).unwrap();
        assert_eq!(fenced.error_code, ErrorCode::FencedInstanceId.code(), "{name:.20?}");
    }
}

#[test]
fn header_keys_of_any_bytes_and_keys_of_any_length_come_back_as_they_were() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    let long = vec![b'k'; 200_000];
    let headers: &[(&[u8], Option<&[u8]>)] = &[
        (b"", Some(b"under no key")),
        (b"", None),
        (b"twice", Some(b"1")),
        (b"twice", Some(b"")),
        (b"not UTF-8: \xff\x00", None),
        ("naïve 名前".as_bytes(), Some(b"\xff")),
        (&long, Some(&long)),
    ];
    let timestamp = Clock::System.now().ms();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(NewRecord { timestamp, key: Some(&long), value: Some(b"v"), headers });
    builder.append(NewRecord { timestamp, key: Some(b""), value: None, headers: &[] });
    let records = builder.build().bytes().clone();
    assert_eq!(produce(&mut client, "t", 0, records).error_code, 0);
    server.restart();
    let fetched = fetch(&mut server.wire(), "t", 0, 0, READ_UNCOMMITTED);
    let batch = RecordBatch::take_first(&mut fetched.records.unwrap()).unwrap().unwrap();
    let read = batch.records(1 << 20).unwrap();
    let records: Vec<_> = read.iter().map(Result::unwrap).collect();
    assert_eq!(records[0].headers().collect::<Vec<_>>(), headers);
    assert_eq!((records[0].key, records[1].key, records[1].value), (Some(&long[..]), Some(&b""[..]), None));
}
