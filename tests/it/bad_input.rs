//! What no well-made client sends to the Kafka port: each gets its answer or its end, and the broker
//! goes on serving others.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, GroupId, JoinGroupRequest,
    ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, ProduceRequest};
use kafka_protocol::protocol::{Decodable, Encodable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tidemill::clock::Clock;
use tidemill::testing::{WireClient, encode_request};
use tidemill::wire::record_batch::{BatchBuilder, BatchKind, BatchOptions, Compression, NewRecord};

use crate::fixture::TestServer;
use crate::fixture::wire::{
    READ_UNCOMMITTED, assert_still_serves, batch, batch_with, create_topic, fetch, fetch_request, produce,
    produce_request, text, topic_name,
};

/// The client sends bytes, and the broker closes the connection without an answer.
fn assert_closed_after(server: &TestServer, bytes: &[u8]) {
    let mut client = server.wire();
    // The broker may close before it has read everything.
    let _ = client.stream().write_all(bytes);
    assert!(client.is_closed_by_peer());
    assert_still_serves(server);
}

#[test]
fn garbage_ends_its_connection() {
    let server = TestServer::start();
    let garbage: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // A size within bounds, so that the rest is taken for a request.
    let mut framed = 4092_u32.to_be_bytes().to_vec();
    framed.extend_from_slice(&garbage[4..]);
    assert_closed_after(&server, &framed);
    assert_closed_after(&server, &[0xff; 4096]);
}

#[test]
fn an_http_request_ends_its_connection() {
    let server = TestServer::start();
    assert_closed_after(&server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_closed_after(&server, b"POST /topics HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

#[test]
fn a_tls_client_hello_ends_its_connection() {
    let server = TestServer::start();
    let mut hello = vec![0x16, 0x03, 0x01, 0x00, 0xc8, 0x01, 0x00, 0x00, 0xc4, 0x03, 0x03];
    hello.resize(205, 0x5a);
    assert_closed_after(&server, &hello);
}

#[test]
fn a_frame_of_two_gigabytes_is_refused_before_it_comes() {
    let server = TestServer::start();
    assert_closed_after(&server, &i32::MAX.to_be_bytes());
}

#[test]
fn a_negative_frame_length_ends_its_connection() {
    let server = TestServer::start();
    assert_closed_after(&server, &(-1_i32).to_be_bytes());
    assert_closed_after(&server, &i32::MIN.to_be_bytes());
}

#[test]
fn an_empty_frame_ends_its_connection() {
    let server = TestServer::start();
    assert_closed_after(&server, &0_i32.to_be_bytes());
}

#[test]
fn a_frame_that_is_cut_off_is_dropped_with_its_connection() {
    let server = TestServer::start();
    let mut client = server.wire();
    let frame = encode_request(1, 12, &MetadataRequest::default()).unwrap();
    client.stream().write_all(&frame[..frame.len() / 2]).unwrap();
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.is_closed_by_peer());
    assert_still_serves(&server);
}

#[test]
fn a_body_that_is_not_what_its_header_says_ends_its_connection() {
    let server = TestServer::start();
    let frame = encode_request(1, 9, &produce_request("t", 0, batch(&["x"]))).unwrap();
    for cut in 20..frame.len() {
        let mut short = BytesMut::new();
        short.put_i32(i32::try_from(cut - 4).unwrap());
        short.extend_from_slice(&frame[4..cut]);
        let mut client = server.wire();
        client.stream().write_all(&short).unwrap();
        assert!(client.is_closed_by_peer(), "{cut} bytes of the frame were taken for a request");
    }
    assert_still_serves(&server);
}

#[test]
fn an_array_that_claims_a_billion_elements_is_refused_without_room_for_them() {
    let server = TestServer::start();
    let mut client = server.wire();
    let mut body = BytesMut::new();
    // Metadata version 1: header version 1 and the count of topics.
    body.put_i16(3);
    body.put_i16(1);
    body.put_i32(7);
    body.put_i16(-1);
    body.put_i32(1_000_000_000);
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(body.len()).unwrap());
    frame.extend_from_slice(&body);
    client.stream().write_all(&frame).unwrap();
    assert!(client.is_closed_by_peer());
    assert_still_serves(&server);
}

#[test]
fn an_unknown_api_key_ends_its_connection() {
    let server = TestServer::start();
    let mut frame = BytesMut::new();
    frame.put_i32(10);
    frame.put_i16(9_999);
    frame.put_i16(0);
    frame.put_i32(1);
    frame.put_i16(-1);
    assert_closed_after(&server, &frame);
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_version_0_with_code_35() {
    let server = TestServer::start();
    let mut client = server.wire();
    let mut frame = BytesMut::new();
    frame.put_i32(10);
    frame.put_i16(18);
    frame.put_i16(99);
    frame.put_i32(77);
    frame.put_i16(-1);
    client.stream().write_all(&frame).unwrap();
    let mut answer = client.receive().unwrap();
    assert_eq!(answer.split_to(4).as_ref(), 77_i32.to_be_bytes());
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert!(answer.is_empty());
    let api_versions = response.api_keys.iter().find(|api| api.api_key == 18).unwrap();
    assert_eq!((api_versions.min_version, api_versions.max_version), (0, 4));
    // The connection goes on: this is how clients find the version to use.
    assert_eq!(client.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
}

#[test]
fn an_unsupported_version_of_another_api_ends_its_connection() {
    let server = TestServer::start();
    let mut frame = encode_request(1, 12, &MetadataRequest::default()).unwrap();
    frame[6..8].copy_from_slice(&99_i16.to_be_bytes());
    assert_closed_after(&server, &frame);
    let mut frame = encode_request(1, 3, &produce_request("t", 0, batch(&["x"]))).unwrap();
    frame[6..8].copy_from_slice(&0_i16.to_be_bytes());
    assert_closed_after(&server, &frame);
}

/// A server with a topic, and a connection to it.
fn with_topic() -> (TestServer, WireClient) {
    let server = TestServer::start();
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    (server, client)
}

/// The code that a batch gets; nothing must be appended, and the connection goes on.
fn assert_refused(records: Bytes, code: i16) {
    let (server, mut client) = with_topic();
    let answer = produce(&mut client, "t", 0, records);
    assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{:?}", answer.error_message);
    assert_eq!(fetch(&mut client, "t", 0, 0, READ_UNCOMMITTED).high_watermark, 0);
    assert_eq!(produce(&mut client, "t", 0, batch(&["good"])).base_offset, 0);
    assert_still_serves(&server);
}

/// Changes bytes of a batch and gives it the CRC that fits.
fn tampered(records: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut changed = records.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&changed[21..]);
    changed[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(changed)
}

#[test]
fn a_batch_with_a_wrong_crc_is_corrupt() {
    let mut records = batch(&["a", "b"]).to_vec();
    *records.last_mut().unwrap() ^= 1;
    assert_refused(Bytes::from(records), 2);
}

#[test]
fn a_batch_that_counts_wrong_is_invalid() {
    let records = batch(&["a", "b"]);
    assert_refused(tampered(&records, 57, &3_i32.to_be_bytes()), 87);
}

#[test]
fn a_batch_that_counts_and_numbers_wrong_is_invalid() {
    let records = batch(&["a", "b"]);
    let records = tampered(&records, 57, &3_i32.to_be_bytes());
    assert_refused(tampered(&records, 23, &2_i32.to_be_bytes()), 87);
}

#[test]
fn a_batch_that_claims_two_billion_records_is_invalid() {
    let records = batch(&["a", "b"]);
    let records = tampered(&records, 57, &i32::MAX.to_be_bytes());
    assert_refused(tampered(&records, 23, &(i32::MAX - 1).to_be_bytes()), 87);
}

#[test]
fn a_batch_without_records_is_invalid() {
    assert_refused(batch(&[]), 87);
}

#[test]
fn two_batches_for_one_partition_are_invalid() {
    let mut records = batch(&["a"]).to_vec();
    records.extend_from_slice(&batch(&["b"]));
    assert_refused(Bytes::from(records), 87);
}

#[test]
fn a_control_batch_from_a_client_is_invalid() {
    let options = BatchOptions { kind: BatchKind::Control, ..BatchOptions::default() };
    assert_refused(batch_with(options, &["x"]), 87);
}

#[test]
fn a_batch_of_an_older_format_is_refused() {
    let mut records = batch(&["a"]).to_vec();
    records[16] = 1;
    assert_refused(Bytes::from(records), 87);
}

/// A batch of one record with one header, whose key has one byte and whose value is null: its last four bytes
/// are the count, the key's length, the key and the value's length.
fn with_header() -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let timestamp = Clock::System.now().ms();
    builder.append(NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[(b"k", None)] });
    builder.build().bytes().clone()
}

#[test]
fn headers_that_are_none_make_their_batch_invalid() {
    let records = with_header();
    let end = records.len();
    assert_eq!(records[end - 4..], [2, 2, b'k', 1]);
    // In zigzag: odd numbers are negative. A key may not be null; and no count or length goes beyond the record.
    for (from_end, byte) in [(4, 1), (4, 0), (4, 4), (4, 126), (3, 1), (3, 0), (3, 126), (1, 2), (1, 126)] {
        assert_refused(tampered(&records, end - from_end, &[byte]), 87);
    }
}

#[test]
fn a_batch_larger_than_the_topic_allows_is_too_large() {
    assert_refused(batch(&[&"x".repeat(1_100_000)]), 10);
}

#[test]
fn a_batch_that_cannot_be_decompressed_is_refused() {
    // Plain records under the name of each codec; the CRC is right, so sending again would not help.
    for codec in 1..=4 {
        assert_refused(tampered(&batch(&["not compressed"]), 21, &(codec as i16).to_be_bytes()), 87);
    }
}

#[test]
fn a_zip_bomb_is_refused_without_unpacking_it() {
    let mut server = TestServer::child(&[]);
    let mut client = server.wire();
    create_topic(&mut client, "t", 1, &[]);
    let bomb = |codec| {
        let options = BatchOptions { compression: codec, ..BatchOptions::default() };
        batch_with(options, &[&"\0".repeat(600 << 20)])
    };
    // Gzip packs zeroes a thousand to one, so that this one passes the topic's limit of size.
    for codec in [Compression::Gzip, Compression::Zstd] {
        let records = bomb(codec);
        assert!(records.len() < 1_000_000, "{codec}: {} bytes", records.len());
        let answer = produce(&mut client, "t", 0, records);
        assert_ne!(answer.error_code, 0, "{codec}");
    }
    let peak = server.peak_memory_bytes();
    assert!(peak < 400 << 20, "{peak} bytes of memory were used");
    assert_still_serves(&server);
    server.restart();
}

#[test]
fn producing_to_an_internal_topic_is_refused() {
    let (server, mut client) = with_topic();
    let find = FindCoordinatorRequest::default().with_key(text("g"));
    assert_eq!(client.call(3, &find).unwrap().error_code, 0);
    for topic in ["__consumer_offsets", "__transaction_state"] {
        assert_eq!(produce(&mut client, topic, 0, batch(&["x"])).error_code, 17, "{topic}");
    }
    assert_still_serves(&server);
}

#[test]
fn unknown_topics_and_partitions_are_unknown() {
    let (server, mut client) = with_topic();
    for (topic, partition) in [("nowhere", 0), ("t", 1), ("t", -1), ("t", i32::MAX), ("", 0), ("../t", 0)] {
        let answer = produce(&mut client, topic, partition, batch(&["x"]));
        assert_eq!(answer.error_code, 3, "producing to {topic:?} {partition}");
        let answer = fetch(&mut client, topic, partition, 0, READ_UNCOMMITTED);
        assert_eq!(answer.error_code, 3, "fetching from {topic:?} {partition}");
    }
    assert_still_serves(&server);
}

#[test]
fn unknown_topic_ids_are_unknown() {
    let (server, mut client) = with_topic();
    let unknown = uuid::Uuid::from_u128(7);
    let mut request = produce_request("", 0, batch(&["x"]));
    request.topic_data[0].topic_id = unknown;
    let response = client.call::<ProduceRequest>(13, &request).unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 100);
    let mut request = fetch_request("", 0, 0, READ_UNCOMMITTED);
    request.topics[0].topic_id = unknown;
    let response = client.call::<FetchRequest>(13, &request).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 100);
    assert_still_serves(&server);
}

#[test]
fn names_that_no_directory_may_have_are_refused() {
    let (server, mut client) = with_topic();
    for name in ["", ".", "..", "a/b", "../../etc", "a b", "naïve", &"x".repeat(250)] {
        let topic = kafka_protocol::messages::create_topics_request::CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(1)
            .with_replication_factor(1);
        let request = kafka_protocol::messages::CreateTopicsRequest::default().with_topics(vec![topic]);
        assert_eq!(client.call(7, &request).unwrap().topics[0].error_code, 17, "{name:?}");
        let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
            .with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        assert_eq!(client.call(9, &request).unwrap().topics[0].error_code, 17, "{name:?}");
    }
    assert_still_serves(&server);
}

#[test]
fn acks_other_than_0_1_and_all_are_refused() {
    let (server, mut client) = with_topic();
    let request = produce_request("t", 0, batch(&["x"])).with_acks(5);
    let response = client.call(9, &request).unwrap();
    assert_eq!(response.responses[0].partition_responses[0].error_code, 21);
    assert_eq!(fetch(&mut client, "t", 0, 0, READ_UNCOMMITTED).high_watermark, 0);
    assert_still_serves(&server);
}

#[test]
fn a_failed_produce_with_acks_0_ends_its_connection() {
    let (server, mut client) = with_topic();
    let request = produce_request("nowhere", 0, batch(&["x"])).with_acks(0);
    client.send(9, &request).unwrap();
    assert!(client.is_closed_by_peer());
    assert_still_serves(&server);
}

#[test]
fn offsets_outside_of_the_log_are_out_of_range() {
    let (server, mut client) = with_topic();
    produce(&mut client, "t", 0, batch(&["a", "b"]));
    for offset in [-1, i64::MIN, 3, i64::MAX] {
        assert_eq!(fetch(&mut client, "t", 0, offset, READ_UNCOMMITTED).error_code, 1, "{offset}");
    }
    assert_still_serves(&server);
}

#[test]
fn negative_sizes_and_waits_of_a_fetch_are_taken_for_none() {
    let (server, mut client) = with_topic();
    produce(&mut client, "t", 0, batch(&["a"]));
    let mut request =
        fetch_request("t", 0, 0, READ_UNCOMMITTED).with_max_bytes(-1).with_min_bytes(-1).with_max_wait_ms(-1);
    request.topics[0].partitions[0].partition_max_bytes = -1;
    let response = client.call(12, &request).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 0);
    assert_still_serves(&server);
}

#[test]
fn times_that_mean_nothing_are_refused() {
    let (server, mut client) = with_topic();
    for timestamp in [-100, i64::MIN] {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        assert_ne!(client.call(6, &request).unwrap().topics[0].partitions[0].error_code, 0);
    }
    assert_still_serves(&server);
}

#[test]
fn a_group_without_a_name_cannot_be_joined() {
    let (server, mut client) = with_topic();
    let join = JoinGroupRequest::default()
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_protocol_type(text("consumer"));
    assert_eq!(client.call(5, &join).unwrap().error_code, 24);
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(GroupId(text("")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    // Kafka takes commits of the empty group, for the sake of its oldest clients.
    assert_eq!(client.call(8, &commit).unwrap().topics[0].partitions[0].error_code, 0);
    assert_still_serves(&server);
}

#[test]
fn session_timeouts_out_of_bounds_are_invalid() {
    let (server, mut client) = with_topic();
    for session_timeout_ms in [i32::MIN, -1, 0, i32::MAX] {
        let join = JoinGroupRequest::default()
            .with_group_id(GroupId(text("g")))
            .with_session_timeout_ms(session_timeout_ms)
            .with_rebalance_timeout_ms(10_000)
            .with_protocol_type(text("consumer"));
        assert_eq!(client.call(5, &join).unwrap().error_code, 26, "{session_timeout_ms}");
    }
    assert_still_serves(&server);
}

#[test]
fn ten_thousand_idle_connections_disturb_nobody() {
    const IDLE: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let server = TestServer::child(&[]);
    let before = server.peak_memory_bytes();
    let mut idle: Vec<WireClient> = (0..IDLE).map(|_| server.wire()).collect();
    assert_still_serves(&server);
    for client in idle.iter_mut().step_by(100) {
        assert_eq!(client.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    }
    let each = (server.peak_memory_bytes() - before) / IDLE;
    assert!(each < 32 << 10, "an idle connection takes {each} bytes");
}

#[test]
fn connections_beyond_the_bound_are_closed_and_the_others_go_on() {
    let server = TestServer::with(&[("max.connections", "2")]);
    let (mut first, mut second) = (server.wire(), server.wire());
    assert_eq!(first.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    assert_eq!(second.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
    assert!(server.wire().is_closed_by_peer());
    assert_eq!(first.call(0, &ApiVersionsRequest::default()).unwrap().error_code, 0);
}

#[test]
fn a_client_that_sends_byte_by_byte_is_served_and_holds_up_nobody() {
    let (server, mut client) = with_topic();
    let frame = encode_request(1, 9, &produce_request("t", 0, batch(&["slowly"]))).unwrap();
    for (sent, byte) in frame.iter().enumerate() {
        if sent == frame.len() / 2 {
            assert_still_serves(&server);
        }
        client.stream().write_all(&[*byte]).unwrap();
    }
    let mut answer = client.receive().unwrap();
    assert_eq!(answer.split_to(4).as_ref(), 1_i32.to_be_bytes());
    assert_eq!(fetch(&mut server.wire(), "t", 0, 0, READ_UNCOMMITTED).high_watermark, 1);
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody() {
    let (server, mut client) = with_topic();
    for _ in 0..8 {
        produce(&mut client, "t", 0, batch(&[&"x".repeat(1_000_000)]));
    }
    let mut deaf = server.wire();
    // Eight megabytes each: far more than the sockets' buffers hold.
    for _ in 0..8 {
        deaf.send(12, &fetch_request("t", 0, 0, READ_UNCOMMITTED)).unwrap();
    }
    assert_still_serves(&server);
    for _ in 0..8 {
        assert!(deaf.receive().unwrap().len() > 8_000_000);
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    let (server, _client) = with_topic();
    let mut client = server.wire();
    let mut all = BytesMut::new();
    for n in 0..200 {
        all.extend_from_slice(&match n % 3 {
            0 => encode_request(n, 9, &produce_request("t", 0, batch(&["x"]))).unwrap(),
            1 => encode_request(n, 12, &fetch_request("t", 0, 0, READ_UNCOMMITTED)).unwrap(),
            _ => encode_request(n, 0, &ApiVersionsRequest::default()).unwrap(),
        });
    }
    client.stream().write_all(&all).unwrap();
    for n in 0..200_i32 {
        assert_eq!(client.receive().unwrap()[..4], n.to_be_bytes());
    }
}

#[test]
fn what_follows_a_request_in_its_frame_is_ignored() {
    let server = TestServer::start();
    let mut client = server.wire();
    let mut frame = encode_request(1, 0, &ApiVersionsRequest::default()).unwrap();
    frame.put_slice(b"more");
    let size = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&size.to_be_bytes());
    client.stream().write_all(&frame).unwrap();
    assert!(client.receive().unwrap().len() > 100);
}

/// The codec must not be asked to write what a version lacks; this is how tests would notice.
#[test]
fn the_wire_client_does_not_send_fields_that_a_version_lacks() {
    let request = FindCoordinatorRequest::default().with_key_type(1).with_key(text("x"));
    assert!(request.encode(&mut BytesMut::new(), 0).is_err());
}
