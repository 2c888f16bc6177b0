//! Our fetch responses against the codec crate's, byte for byte in every version.

use kafka_protocol::messages::fetch_response::{
    AbortedTransaction as OracleAborted, EpochEndOffset, FetchResponse, FetchableTopicResponse,
    LeaderIdAndEpoch, NodeEndpoint as OracleEndpoint, PartitionData,
};
use kafka_protocol::messages::{self};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::*;
use crate::wire::response::encode_response;

type Reply = FetchReply<Bytes>;

fn offset(value: i64) -> Option<Offset> {
    Offset::from_wire(value)
}

fn payload(bytes: &'static [u8]) -> Option<Payload<Bytes>> {
    Some(Payload { bytes: bytes.len(), handle: Bytes::from_static(bytes) })
}

fn partition(index: i32, records: Option<Payload<Bytes>>) -> FetchReplyPartition<Bytes> {
    FetchReplyPartition {
        partition: PartitionIndex::from_wire(index).unwrap(),
        error_code: ErrorCode::None,
        high_watermark: offset(100 + i64::from(index)),
        last_stable_offset: offset(90),
        log_start_offset: offset(5),
        aborted_transactions: None,
        preferred_read_replica: None,
        diverging_epoch: None,
        current_leader: None,
        records,
    }
}

fn full_reply() -> Reply {
    let aborted = AbortedTransaction {
        producer_id: ProducerId::from_wire(4_000).unwrap(),
        first_offset: Offset::from_wire(7).unwrap(),
    };
    let read_committed = FetchReplyPartition {
        aborted_transactions: Some(vec![aborted, aborted]),
        ..partition(1, payload(b"some records"))
    };
    let none_aborted =
        FetchReplyPartition { aborted_transactions: Some(vec![]), ..partition(2, payload(b"")) };
    let failed = FetchReplyPartition {
        error_code: ErrorCode::NotLeaderOrFollower,
        high_watermark: None,
        last_stable_offset: None,
        log_start_offset: None,
        current_leader: Some(CurrentLeader {
            leader_id: BrokerId::from_wire(2),
            leader_epoch: LeaderEpoch::from_wire(12).unwrap(),
        }),
        ..partition(3, None)
    };
    let diverging = FetchReplyPartition {
        preferred_read_replica: BrokerId::from_wire(3),
        diverging_epoch: Some(DivergingEpoch {
            epoch: LeaderEpoch::from_wire(4).unwrap(),
            end_offset: Offset::from_wire(44).unwrap(),
        }),
        current_leader: Some(CurrentLeader {
            leader_id: None,
            leader_epoch: LeaderEpoch::from_wire(5).unwrap(),
        }),
        ..partition(4, payload(&[7; 300]))
    };
    Reply {
        throttle_time_ms: 12,
        error_code: ErrorCode::FetchSessionIdNotFound,
        session_id: 9,
        topics: vec![
            FetchReplyTopic {
                name: TopicName::new("orders"),
                id: TopicId::from_bytes([3; 16]),
                partitions: vec![
                    partition(0, payload(b"abc")),
                    read_committed,
                    none_aborted,
                    failed,
                    diverging,
                ],
            },
            FetchReplyTopic { name: TopicName::new("empty"), id: None, partitions: vec![] },
        ],
        node_endpoints: vec![NodeEndpoint {
            node_id: BrokerId::from_wire(2).unwrap(),
            host: "broker-2".to_owned(),
            port: 9_092,
            rack: None,
        }],
    }
}

/// The same reply for the crate, less what `version` cannot say, which the crate refuses.
fn oracle(reply: &Reply, version: i16) -> FetchResponse {
    let responses = reply.topics.iter().map(|topic| {
        let oracle = FetchableTopicResponse::default()
            .with_partitions(topic.partitions.iter().map(|part| oracle_partition(part, version)).collect());
        if version >= 13 {
            oracle.with_topic_id(Uuid::from_bytes(topic.id.map_or([0; 16], TopicId::bytes)))
        } else {
            oracle.with_topic(messages::TopicName(StrBytes::from_string(topic.name.to_string())))
        }
    });
    let mut oracle = FetchResponse::default()
        .with_throttle_time_ms(reply.throttle_time_ms)
        .with_error_code(reply.error_code.code())
        .with_responses(responses.collect());
    if version >= 7 {
        oracle.session_id = reply.session_id;
    }
    let endpoints = reply.node_endpoints.iter().map(|endpoint| {
        OracleEndpoint::default()
            .with_node_id(messages::BrokerId(endpoint.node_id.value()))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
            .with_rack(endpoint.rack.clone().map(StrBytes::from_string))
    });
    oracle.node_endpoints = if version >= 16 { endpoints.collect() } else { vec![] };
    oracle
}

fn oracle_partition(part: &FetchReplyPartition<Bytes>, version: i16) -> PartitionData {
    let value = |offset: Option<Offset>| offset.map_or(-1, Offset::value);
    let mut oracle = PartitionData::default()
        .with_partition_index(part.partition.value())
        .with_error_code(part.error_code.code())
        .with_high_watermark(value(part.high_watermark))
        .with_last_stable_offset(value(part.last_stable_offset))
        .with_log_start_offset(value(part.log_start_offset))
        .with_records(part.records.as_ref().map(|records| records.handle.clone()));
    oracle.aborted_transactions = part.aborted_transactions.as_ref().map(|aborted| {
        let one = |aborted: &AbortedTransaction| {
            OracleAborted::default()
                .with_producer_id(messages::ProducerId(aborted.producer_id.value()))
                .with_first_offset(aborted.first_offset.value())
        };
        aborted.iter().map(one).collect()
    });
    if version >= 11 {
        oracle.preferred_read_replica =
            messages::BrokerId(part.preferred_read_replica.map_or(-1, BrokerId::value));
    }
    if version >= 12 {
        if let Some(diverging) = part.diverging_epoch {
            oracle.diverging_epoch = EpochEndOffset::default()
                .with_epoch(diverging.epoch.value())
                .with_end_offset(diverging.end_offset.value());
        }
        if let Some(leader) = part.current_leader {
            oracle.current_leader = LeaderIdAndEpoch::default()
                .with_leader_id(messages::BrokerId(leader.leader_id.map_or(-1, BrokerId::value)))
                .with_leader_epoch(leader.leader_epoch.value());
        }
    }
    oracle
}

fn flatten(pieces: Vec<Piece<Bytes>>) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(&bytes),
            Piece::Payload(payload) => {
                assert_eq!(payload.bytes, payload.handle.len());
                out.extend_from_slice(&payload.handle);
            }
        }
    }
    out
}

fn assert_same_as_the_crate(reply: &Reply) {
    for version in 4..=18 {
        let ours = flatten(encode_fetch_response(77, version, reply.clone()).unwrap());
        let theirs = encode_response(77, version, &oracle(reply, version)).unwrap();
        assert_eq!(ours, theirs, "version {version}");
    }
}

#[test]
fn every_version_is_the_same_as_the_crates() {
    assert_same_as_the_crate(&full_reply());
}

#[test]
fn replies_without_topics_or_partitions_are_too() {
    let mut reply = full_reply();
    reply.node_endpoints.clear();
    reply.topics.truncate(1);
    reply.topics[0].partitions.clear();
    assert_same_as_the_crate(&reply);
    reply.topics.clear();
    assert_same_as_the_crate(&reply);
}

#[test]
fn long_names_and_many_partitions_are_too() {
    let mut reply = full_reply();
    reply.topics[0].name = TopicName::new("t".repeat(249));
    reply.topics[0].partitions = (0..200).map(|index| partition(index, payload(&[1; 130]))).collect();
    assert_same_as_the_crate(&reply);
}

#[test]
fn records_are_passed_on_and_not_copied() {
    let reply = full_reply();
    let handed_in = reply.topics[0].partitions[0].records.clone().unwrap();
    let pieces = encode_fetch_response(1, 12, reply).unwrap();
    let payloads: Vec<_> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Payload(payload) => Some(payload),
            Piece::Bytes(_) => None,
        })
        .collect();
    assert_eq!(payloads.len(), 3, "empty and null records are no pieces");
    assert_eq!(payloads[0].handle.as_ptr(), handed_in.handle.as_ptr());
    assert!(matches!(pieces.last(), Some(Piece::Bytes(_))));
}

#[test]
fn a_frame_larger_than_its_size_field_is_an_error() {
    let mut reply = full_reply();
    for partition in &mut reply.topics[0].partitions {
        partition.records = Some(Payload { bytes: 1 << 30, handle: Bytes::new() });
    }
    assert!(matches!(encode_fetch_response(1, 12, reply), Err(ResponseError::TooLarge(_))));
}
