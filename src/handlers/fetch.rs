//! Fetch, versions 4 to 18: waits until there is enough to read, or time is up.
//!
//! Read-committed fetches see what lies below the last stable offset, with the aborted transactions
//! named. Version 13 and later name topics by id (KIP-516). Records go from segment files to the
//! socket without passing through here, unless interceptors are attached to the topic. Left out: fetch sessions (KIP-227: every fetch is a full
//! one, which the protocol allows), fetches by replicas, diverging epochs.

use std::time::Duration;

use kafka_protocol::messages::fetch_request::FetchTopic;
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use crate::broker::{self, BrokerError, FetchPartition, Served};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{isolation, leader_epoch, topic_id, topic_name, topic_partition};
use crate::handlers::reply::{Outcome, Piece, Reply, ResponseFrame};
use crate::ids::{Offset, PartitionIndex, TopicName};
use crate::log;
use crate::partition::{Fetched, Isolation};
use crate::wire::fetch_response::{
    self, AbortedTransaction, FetchReply, FetchReplyPartition, FetchReplyTopic, Payload,
    encode_fetch_response,
};

/// A request that continues a session names its epoch; 0 and -1 are full fetches.
const FULL_FETCH_EPOCHS: [i32; 2] = [0, -1];

/// Where a partition of the request went: refused at once, or to the broker.
enum Asked {
    Refused(ErrorCode),
    Sent,
}

/// The request as the broker understands it, and what became of each of its partitions, in order.
struct Plan {
    request: broker::FetchRequest,
    asked: Vec<Asked>,
}

/// Reads what there is.
pub async fn handle(context: Context) -> Handled {
    let request: FetchRequest = context.decode()?;
    if request.session_id != 0 && !FULL_FETCH_EPOCHS.contains(&request.session_epoch) {
        let response = FetchResponse::default().with_error_code(ErrorCode::FetchSessionIdNotFound.code());
        return context.respond(&response);
    }
    Ok(Reply::later(async move {
        let plan = plan(&context, &request);
        let results = context.broker.fetch_for(&context.client(), &plan.request).await;
        respond(&context, request, plan, results)
    }))
}

fn plan(context: &Context, request: &FetchRequest) -> Plan {
    let mut partitions = Vec::new();
    let mut asked = Vec::new();
    for topic in &request.topics {
        let name = topic_of(context, topic);
        for partition in &topic.partitions {
            let wanted = match (&name, Offset::from_wire(partition.fetch_offset)) {
                (Err(code), _) => Err(*code),
                (Ok(_), None) => Err(ErrorCode::OffsetOutOfRange),
                (Ok(name), Some(offset)) => topic_partition(name, partition.partition)
                    .map(|topic_partition| FetchPartition {
                        topic_partition,
                        offset,
                        bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
                        current_leader_epoch: leader_epoch(partition.current_leader_epoch),
                    })
                    .ok_or(ErrorCode::UnknownTopicOrPartition),
            };
            asked.push(match wanted {
                Ok(wanted) => {
                    partitions.push(wanted);
                    Asked::Sent
                }
                Err(code) => Asked::Refused(code),
            });
        }
    }
    let refused = asked.iter().any(|asked| matches!(asked, Asked::Refused(_)));
    let wait_max = match refused {
        true => Duration::ZERO,
        false => Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    };
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
    let request = broker::FetchRequest {
        partitions,
        isolation: isolation(request.isolation_level),
        bytes_min: usize::try_from(request.min_bytes).unwrap_or(0),
        bytes_max: bytes_max.min(context.broker.config().net.fetch_bytes_max),
        wait_max,
    };
    Plan { request, asked }
}

fn topic_of(context: &Context, topic: &FetchTopic) -> Result<TopicName, ErrorCode> {
    if context.version() < 13 {
        return Ok(topic_name(&topic.topic));
    }
    let image = context.broker.metadata();
    let found = topic_id(topic.topic_id).and_then(|id| image.topic_by_id(id));
    found.map(|topic| topic.name.clone()).ok_or(ErrorCode::UnknownTopicId)
}

fn respond(
    context: &Context,
    request: FetchRequest,
    plan: Plan,
    results: Vec<Result<Served, BrokerError>>,
) -> Outcome {
    let isolation = plan.request.isolation;
    let mut asked = plan.asked.into_iter();
    let mut results = results.into_iter();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let result = match asked.next() {
                Some(Asked::Refused(code)) => Err(BrokerError::refused(code, "")),
                Some(Asked::Sent) | None => results.next().unwrap_or(Err(BrokerError::UnknownPartition)),
            };
            // A negative number was refused above; it goes back as 0, which has the same error.
            let index = PartitionIndex::from_wire(partition.partition).unwrap_or(PartitionIndex::ZERO);
            partitions.push(describe(index, isolation, result));
        }
        topics.push(FetchReplyTopic {
            name: topic_name(&topic.topic),
            id: topic_id(topic.topic_id),
            partitions,
        });
    }
    let reply = FetchReply {
        throttle_time_ms: 0,
        error_code: ErrorCode::None,
        session_id: 0,
        topics,
        node_endpoints: Vec::new(),
    };
    encode(context, reply)
}

fn describe(
    partition: PartitionIndex,
    isolation: Isolation,
    result: Result<Served, BrokerError>,
) -> FetchReplyPartition<Vec<Piece>> {
    let mut reply = FetchReplyPartition {
        partition,
        error_code: ErrorCode::None,
        high_watermark: None,
        last_stable_offset: None,
        log_start_offset: None,
        aborted_transactions: None,
        preferred_read_replica: None,
        diverging_epoch: None,
        current_leader: None,
        records: Some(Payload { bytes: 0, handle: Vec::new() }),
    };
    match result {
        Ok(Served { fetched: Fetched { read, offsets, aborted }, changed }) => {
            reply.high_watermark = Some(offsets.high_watermark);
            reply.last_stable_offset = Some(offsets.last_stable_offset);
            reply.log_start_offset = Some(offsets.log_start_offset);
            reply.aborted_transactions = match isolation {
                Isolation::ReadUncommitted => None,
                Isolation::ReadCommitted => Some(aborted.iter().map(wire_aborted).collect()),
            };
            reply.records = Some(match changed {
                None => Payload {
                    bytes: read.bytes_len(),
                    handle: read.slices.into_iter().map(Piece::File).collect(),
                },
                Some(changed) => Payload { bytes: changed.len(), handle: vec![Piece::Bytes(changed)] },
            });
        }
        Err(error) => reply.error_code = error.code(),
    }
    reply
}

fn wire_aborted(aborted: &log::AbortedTransaction) -> AbortedTransaction {
    AbortedTransaction { producer_id: aborted.producer_id, first_offset: aborted.first_offset }
}

fn encode(context: &Context, reply: FetchReply<Vec<Piece>>) -> Outcome {
    match encode_fetch_response(context.request.correlation_id, context.version(), reply) {
        Ok(pieces) => {
            Outcome::Respond(ResponseFrame { pieces: pieces.into_iter().flat_map(piece).collect() })
        }
        Err(error) => Outcome::Close(error.to_string()),
    }
}

fn piece(piece: fetch_response::Piece<Vec<Piece>>) -> Vec<Piece> {
    match piece {
        fetch_response::Piece::Bytes(bytes) => vec![Piece::Bytes(bytes)],
        fetch_response::Piece::Payload(payload) => payload.handle,
    }
}
