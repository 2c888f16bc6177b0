//! Clients of every wrong kind: too old and too new, half open, deaf, silent, late, and those that speak of what is
//! not there any more. Each gets Kafka's code or its end, nothing is lost, and others are served.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, StrBytes};
use tidemill::error_code::ErrorCode;
use tidemill::testing::{WireClient, encode_request};
use tidemill::wire::api::SUPPORTED;
use uuid::Uuid;

use crate::fixture::TestServer;
use crate::fixture::wire::{
    READ_COMMITTED, READ_UNCOMMITTED, assert_still_serves, batch, commit_offset, commit_request,
    committed_offset, create_topic, delete_topic, fetch, fetch_request, produce, produce_request, text,
    topic_name, values,
};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an answer to `whole_topic` has of records, about.
const TOPIC_BYTES: usize = 8_000_000;

/// A request without a body, under a header of the first kind.
fn bare_frame(api_key: i16, version: i16) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(10);
    frame.put_i16(api_key);
    frame.put_i16(version);
    frame.put_i32(77);
    frame.put_i16(-1);
    frame
}

#[test]
fn versions_that_are_not_served_end_their_connections() {
    let server = TestServer::start();
    for api in SUPPORTED.iter().filter(|api| api.key != ApiKey::ApiVersions) {
        for version in [i16::MIN, -1, api.handled.min - 1, api.handled.max + 1, i16::MAX] {
            let mut client = server.wire();
            client.stream().write_all(&bare_frame(api.key as i16, version)).unwrap();
            assert!(client.is_closed_by_peer(), "{:?} version {version}", api.key);
        }
    }
    assert_still_serves(&server);
}

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("it"))
        .with_client_software_version(text("1.0"))
}

#[test]
fn a_client_of_another_time_is_told_which_versions_of_api_versions_there_are() {
    let server = TestServer::start();
    let mut client = server.wire();
    for version in [-1, 5, i16::MAX] {
        // As a client of the future sends it: a newer header, and a body with a field that is not known here.
        let mut frame = encode_request(77, 4, &api_versions()).unwrap();
        frame[6..8].copy_from_slice(&i16::to_be_bytes(version));
        frame.put_slice(b"new");
        let size = i32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&size.to_be_bytes());
        client.stream().write_all(&frame).unwrap();
        let mut answer = client.receive().unwrap();
        assert_eq!(answer.split_to(4).as_ref(), 77_i32.to_be_bytes());
        let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
        let own = response.api_keys.iter().find(|api| api.api_key == 18).unwrap();
        assert_eq!((own.min_version, own.max_version), (0, 4));
    }
    assert_eq!(client.call(4, &api_versions()).unwrap().error_code, 0);
}

#[test]
fn a_client_that_calls_its_software_by_no_name_is_refused() {
    let server = TestServer::start();
    let mut client = server.wire();
    for bad in ["", "-it", "it.", "i t", "it\n", "naïve", "<it>"] {
        for request in [
            api_versions().with_client_software_name(text(bad)),
            api_versions().with_client_software_version(text(bad)),
        ] {
            let response = client.call(3, &request).unwrap();
            assert_eq!(response.error_code, ErrorCode::InvalidRequest.code(), "{request:?}");
        }
    }
    assert_eq!(client.call(3, &api_versions()).unwrap().error_code, 0);
    // Older versions do not say.
    assert_eq!(client.call(2, &ApiVersionsRequest::default()).unwrap().error_code, 0);
}

#[test]
fn half_open_connections_end_once_they_are_idle_and_one_that_waits_for_its_answer_does_not() {
    let server = TestServer::with(&[("connections.max.idle.ms", "1000")]);
    create_topic(&mut server.wire(), "t", 1, &[]);
    let mut waiting = server.wire();
    let long_poll = fetch_request("t", 0, 0, READ_UNCOMMITTED).with_max_wait_ms(4_000).with_min_bytes(1);
    waiting.send(12, &long_poll).unwrap();
    let frame = encode_request(1, 12, &MetadataRequest::default()).unwrap();
    let cuts = [0, 2, 4, 9, frame.len() / 2, frame.len() - 1];
    let mut half_open: Vec<WireClient> = cuts.iter().map(|_| server.wire()).collect();
    for (client, cut) in half_open.iter_mut().zip(cuts) {
        client.stream().write_all(&frame[..cut]).unwrap();
    }
    for (client, cut) in half_open.iter_mut().zip(cuts) {
        assert!(client.is_closed_by_peer(), "{cut} bytes of a request");
    }
    let answer = waiting.receive_answer::<FetchRequest>(12).unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    assert_still_serves(&server);
}

/// Fills topic `t` with eight megabytes.
fn fill_topic(client: &mut WireClient) {
    create_topic(client, "t", 1, &[]);
    for _ in 0..8 {
        assert_eq!(produce(client, "t", 0, batch(&[&"x".repeat(TOPIC_BYTES / 8)])).error_code, 0);
    }
}

fn whole_topic() -> FetchRequest {
    fetch_request("t", 0, 0, READ_UNCOMMITTED)
}

/// An answer without the correlation id.
fn receive_body(client: &mut WireClient) -> Bytes {
    client.receive().unwrap().split_off(4)
}

#[test]
fn clients_that_do_not_read_take_no_memory_and_get_everything_in_the_end() {
    const CLIENTS: usize = 4;
    const REQUESTS: usize = 24;
    let server = TestServer::child(&[]);
    let mut client = server.wire();
    fill_topic(&mut client);
    client.send(12, &whole_topic()).unwrap();
    let expected = receive_body(&mut client);
    assert!(expected.len() > TOPIC_BYTES);
    let before = server.peak_memory_bytes();
    let mut deaf: Vec<WireClient> = (0..CLIENTS).map(|_| server.wire()).collect();
    for client in &mut deaf {
        for _ in 0..REQUESTS {
            client.send(12, &whole_topic()).unwrap();
        }
    }
    assert_still_serves(&server);
    let grown = server.peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "{CLIENTS} times {REQUESTS} unread answers of 8 MB take {grown} bytes");
    for client in &mut deaf {
        for _ in 0..REQUESTS {
            assert!(receive_body(client) == expected, "an answer is not what another client got");
        }
    }
    let grown = server.peak_memory_bytes() - before;
    assert!(grown < 64 << 20, "reading them takes {grown} bytes");
}

/// A connection, where there may be none until the server has given up another.
fn connected(server: &TestServer) -> WireClient {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let mut client = server.wire();
        if client.call(0, &ApiVersionsRequest::default()).is_ok() {
            return client;
        }
        assert!(Instant::now() < give_up, "no connection is let in");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_client_that_takes_nothing_of_its_answers_loses_its_connection() {
    let server = TestServer::with(&[("connections.max.idle.ms", "1000"), ("max.connections", "1")]);
    fill_topic(&mut connected(&server));
    let mut deaf = connected(&server);
    for _ in 0..8 {
        deaf.send(12, &whole_topic()).unwrap();
    }
    assert_eq!(connected(&server).call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    let read = std::iter::from_fn(|| deaf.receive().ok()).count();
    assert!(read < 8, "it has got what was left, though the server had given it up");
}

#[test]
fn a_client_that_reads_slowly_but_steadily_keeps_its_connection() {
    let server = TestServer::with(&[("connections.max.idle.ms", "2000")]);
    let mut client = server.wire();
    fill_topic(&mut client);
    for _ in 0..24 {
        client.send(12, &whole_topic()).unwrap();
    }
    // All in all longer than the connection may be idle.
    for _ in 0..24 {
        std::thread::sleep(Duration::from_millis(100));
        assert!(client.receive().unwrap().len() > TOPIC_BYTES);
    }
}

/// A member of classic group `g`, which the wire client plays.
struct Member {
    client: WireClient,
    id: StrBytes,
    generation: i32,
}

fn join_request(id: &StrBytes, session_timeout_ms: i32) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(&[0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 0]));
    JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_member_id(id.clone())
        .with_session_timeout_ms(session_timeout_ms)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

impl Member {
    /// Asks to join; the answer comes when all have.
    fn joining(server: &TestServer, session_timeout_ms: i32) -> Member {
        let mut client = server.wire();
        client.send(3, &join_request(&StrBytes::default(), session_timeout_ms)).unwrap();
        Member { client, id: StrBytes::default(), generation: -1 }
    }

    fn has_joined(&mut self) -> JoinGroupResponse {
        let joined = self.client.receive_answer::<JoinGroupRequest>(3).unwrap();
        assert_eq!(joined.error_code, 0);
        self.id = joined.member_id.clone();
        self.generation = joined.generation_id;
        joined
    }

    fn join_again(&mut self) -> JoinGroupResponse {
        self.client.send(3, &join_request(&self.id, 60_000)).unwrap();
        self.has_joined()
    }

    /// As the leader, which gives nobody anything.
    fn sync(&mut self, generation: i32) -> i16 {
        let nothing = SyncGroupRequestAssignment::default().with_member_id(self.id.clone());
        let request = SyncGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(generation)
            .with_member_id(self.id.clone())
            .with_assignments(vec![nothing]);
        self.client.call(3, &request).unwrap().error_code
    }

    fn heartbeat(&mut self, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_generation_id(generation)
            .with_member_id(self.id.clone());
        self.client.call(3, &request).unwrap().error_code
    }

    fn commit(&mut self, generation: i32, offset: i64) -> i16 {
        let request = commit_request("g", "t", offset)
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(self.id.clone());
        self.client.call(8, &request).unwrap().topics[0].partitions[0].error_code
    }

    /// Sends heartbeats until the group asks for its members again.
    fn until_rebalance(&mut self) {
        let give_up = Instant::now() + PATIENCE;
        while self.heartbeat(self.generation) != ErrorCode::RebalanceInProgress.code() {
            assert!(Instant::now() < give_up, "no rebalance begins");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Two members of one generation, the second of which has a session of that length.
fn two_members(server: &TestServer, session_timeout_ms: i32) -> (Member, Member) {
    create_topic(&mut server.wire(), "t", 2, &[]);
    let mut first = Member::joining(server, 60_000);
    first.has_joined();
    assert_eq!(first.sync(first.generation), 0);
    let mut second = Member::joining(server, session_timeout_ms);
    first.until_rebalance();
    assert_eq!(first.join_again().members.len(), 2);
    second.has_joined();
    assert_eq!((first.generation, second.generation), (2, 2));
    (first, second)
}

#[test]
fn what_a_member_says_of_an_older_or_newer_generation_is_refused_and_commits_nothing() {
    let server = TestServer::start();
    let (mut first, mut second) = two_members(&server, 60_000);
    let illegal = ErrorCode::IllegalGeneration.code();
    for generation in [0, 1, 3, i32::MAX] {
        assert_eq!(first.commit(generation, 7), illegal, "generation {generation}");
        assert_eq!(first.heartbeat(generation), illegal, "generation {generation}");
        assert_eq!(first.sync(generation), illegal, "generation {generation}");
    }
    assert_eq!(committed_offset(&mut server.wire(), "g", "t"), -1);
    assert_eq!((first.sync(2), second.sync(2)), (0, 0));
    assert_eq!(second.commit(1, 7), illegal);
    assert_eq!(commit_offset(&mut server.wire(), "g", "t", 7), ErrorCode::UnknownMemberId.code());
    assert_eq!(committed_offset(&mut server.wire(), "g", "t"), -1);
    assert_eq!((first.heartbeat(2), second.commit(2, 9)), (0, 0));
    assert_eq!(committed_offset(&mut server.wire(), "g", "t"), 9);
}

#[test]
fn a_member_that_never_sends_a_heartbeat_is_put_out_and_hears_so_when_it_comes_back() {
    let server = TestServer::with(&[("group.min.session.timeout.ms", "100")]);
    let (mut first, mut silent) = two_members(&server, 2_000);
    assert_eq!((first.sync(2), silent.sync(2)), (0, 0));
    first.until_rebalance();
    let joined = first.join_again();
    assert_eq!((joined.generation_id, joined.members.len()), (3, 1), "the other one has everything");
    let unknown = ErrorCode::UnknownMemberId.code();
    assert_eq!((silent.heartbeat(2), silent.sync(2), silent.commit(2, 7)), (unknown, unknown, unknown));
    let again = join_request(&silent.id, 2_000);
    assert_eq!(silent.client.call(3, &again).unwrap().error_code, unknown);
    assert_eq!(committed_offset(&mut server.wire(), "g", "t"), -1);
    assert_eq!(first.sync(3), 0);
    assert_eq!(first.commit(3, 9), 0);
}

fn delete_records(client: &mut WireClient, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(9_000);
    let partition = client.call(2, &request).unwrap().topics[0].partitions[0].clone();
    (partition.error_code, partition.low_watermark)
}

#[test]
fn offsets_that_are_not_there_are_refused_wherever_they_are_named() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    produce(&mut client, "t", 0, batch(&["a", "b", "c"]));
    let out_of_range = ErrorCode::OffsetOutOfRange.code();
    for offset in [4, i64::MAX, -2, i64::MIN] {
        assert_eq!(delete_records(&mut client, offset), (out_of_range, -1), "{offset}");
    }
    assert_eq!(values(&fetch(&mut client, "t", 0, 0, READ_COMMITTED)).len(), 3, "nothing is lost");
    assert_eq!(delete_records(&mut client, 2), (0, 2));
    let code = |client: &mut WireClient, offset| fetch(client, "t", 0, offset, READ_COMMITTED).error_code;
    assert_eq!((code(&mut client, 1), code(&mut client, 4)), (out_of_range, out_of_range));
    assert_eq!((code(&mut client, 2), code(&mut client, 3)), (0, 0));
    let mut ahead = fetch_request("t", 0, 2, READ_COMMITTED);
    ahead.topics[0].partitions[0].current_leader_epoch = i32::MAX;
    let response = client.call(12, &ahead).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, ErrorCode::UnknownLeaderEpoch.code());
}

#[test]
fn a_reader_of_an_unknown_isolation_level_is_refused_and_shown_nothing() {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    produce(&mut client, "t", 0, batch(&["a"]));
    let invalid = ErrorCode::InvalidRequest.code();
    for level in [-1, 2, i8::MAX] {
        let fetched = fetch(&mut client, "t", 0, 0, level);
        assert_eq!((fetched.error_code, values(&fetched).len()), (invalid, 0), "{level}");
        let latest = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![latest]);
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(level)
            .with_topics(vec![topic]);
        assert_eq!(client.call(6, &request).unwrap().topics[0].partitions[0].error_code, invalid, "{level}");
    }
}

fn described(client: &mut WireClient, version: i16, topic: MetadataRequestTopic) -> MetadataResponseTopic {
    let request = MetadataRequest::default().with_topics(Some(vec![topic]));
    client.call(version, &request).unwrap().topics[0].clone()
}

fn by_id(id: Uuid) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(None).with_topic_id(id)
}

fn fetch_by_id(client: &mut WireClient, id: Uuid, offset: i64) -> PartitionData {
    let mut request = fetch_request("", 0, offset, READ_UNCOMMITTED);
    request.topics[0].topic_id = id;
    client.call(16, &request).unwrap().responses[0].partitions[0].clone()
}

fn produce_by_id(client: &mut WireClient, id: Uuid, value: &str) -> (i16, i64) {
    let mut request = produce_request("", 0, batch(&[value]));
    request.topic_data[0].topic_id = id;
    let answer = client.call(13, &request).unwrap().responses[0].partition_responses[0].clone();
    (answer.error_code, answer.base_offset)
}

#[test]
fn topic_ids_that_nothing_has_are_unknown_wherever_they_are_named() {
    let server = TestServer::start();
    let mut client = server.wire();
    let unknown = ErrorCode::UnknownTopicId.code();
    for version in [12, 13] {
        let topic = described(&mut client, version, by_id(Uuid::from_u128(7)));
        assert_eq!((topic.error_code, topic.name), (unknown, None), "version {version}");
    }
    // Both versions have the fields, but may not use them yet.
    for version in [10, 11] {
        let topic = by_id(Uuid::from_u128(7)).with_name(Some(topic_name("t")));
        let topic = described(&mut client, version, topic);
        assert_eq!(topic.error_code, ErrorCode::InvalidRequest.code(), "version {version}");
    }
    for id in [Uuid::nil(), Uuid::from_u128(7), Uuid::max()] {
        assert_eq!(fetch_by_id(&mut client, id, 0).error_code, unknown, "{id}");
        assert_eq!(produce_by_id(&mut client, id, "x"), (unknown, -1), "{id}");
    }
    let doomed = DeleteTopicState::default().with_name(None).with_topic_id(Uuid::from_u128(7));
    let request = DeleteTopicsRequest::default().with_topics(vec![doomed]).with_timeout_ms(9_000);
    assert_eq!(client.call(6, &request).unwrap().responses[0].error_code, unknown);
    assert_eq!(
        described(&mut client, 12, named("t")).error_code,
        0,
        "a topic may still be asked for by name"
    );
}

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(topic_name(name)))
}

#[test]
fn a_topic_that_is_deleted_and_made_again_is_another_one_to_who_knew_it() {
    let mut server = TestServer::start();
    let mut client = server.wire();
    let old = create_topic(&mut client, "t", 1, &[]);
    assert_eq!(produce_by_id(&mut client, old, "old"), (0, 0));
    assert_eq!(commit_offset(&mut client, "g", "t", 1), 0);
    let mut waiting = server.wire();
    let mut long_poll = fetch_request("", 0, 1, READ_UNCOMMITTED).with_max_wait_ms(60_000).with_min_bytes(1);
    long_poll.topics[0].topic_id = old;
    waiting.send(16, &long_poll).unwrap();
    assert_eq!(delete_topic(&mut client, "t"), 0);
    // It may be woken by the deletion, or be so late that it finds the topic gone.
    let woken = waiting.receive_answer::<FetchRequest>(16).unwrap().responses[0].partitions[0].error_code;
    let gone = [ErrorCode::UnknownTopicOrPartition, ErrorCode::UnknownTopicId].map(ErrorCode::code);
    assert!(gone.contains(&woken), "{woken}");
    let new = create_topic(&mut client, "t", 1, &[]);
    assert_ne!(old, new);
    for round in 0..2 {
        let mut client = server.wire();
        let unknown = ErrorCode::UnknownTopicId.code();
        assert_eq!(fetch_by_id(&mut client, old, 0).error_code, unknown);
        assert_eq!(produce_by_id(&mut client, old, "late").0, unknown);
        assert_eq!(described(&mut client, 12, by_id(old)).error_code, unknown);
        assert_eq!(described(&mut client, 12, by_id(new)).name, Some(topic_name("t")));
        assert_eq!(committed_offset(&mut client, "g", "t"), -1, "what was committed for the old one is gone");
        assert_eq!(produce_by_id(&mut client, new, "new"), (0, round));
        let read = values(&fetch_by_id(&mut client, new, 0));
        assert!(read.iter().all(|(_, value)| value == "new"), "{read:?}");
        assert_eq!(i64::try_from(read.len()).unwrap(), round + 1);
        server.restart();
    }
}
