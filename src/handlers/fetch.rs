//! Fetch, versions 4 to 18: waits until there is enough to read, or time is up.
//!
//! Read-committed fetches see what lies below the last stable offset, with the aborted transactions
//! named. Version 13 and later name topics by id (KIP-516). Since version 7 a client may keep a session
//! (KIP-227): it names what changes and is told what is new; what is read is the same. Records go from
//! segment files to the socket without passing through here, unless interceptors are attached to the
//! topic. Left out: fetches by replicas, diverging epochs.

use std::time::Duration;

use kafka_protocol::messages::FetchRequest;

use crate::broker::{
    self, BrokerError, ErrorState, FetchContents, FetchContext, FetchKey, FetchNews, FetchParameters,
    FetchPartition, FetchTopic, HasRecords, Naming, Served, SessionRequest,
};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{isolation, leader_epoch, topic_id, topic_name, topic_partition, wire_ms};
use crate::handlers::reply::{Outcome, Piece, Reply, ResponseFrame};
use crate::ids::{Offset, PartitionIndex, TopicId, TopicName};
use crate::log;
use crate::partition::{Fetched, Isolation};
use crate::wire::fetch_response::{
    self, AbortedTransaction, FetchReply, FetchReplyPartition, FetchReplyTopic, Payload,
    encode_fetch_response,
};

/// The first version that names topics by id.
const TOPIC_ID_VERSION: i16 = 13;

/// Where a partition of the request went: refused at once, or to the broker.
enum Asked {
    Refused(ErrorCode),
    Sent,
}

/// What is read, and what became of each partition that is wanted, in order.
struct Plan {
    request: broker::FetchRequest,
    wanted: Vec<(FetchKey, FetchParameters, Asked)>,
}

/// A partition's part of an answer.
struct Answer {
    key: FetchKey,
    parameters: FetchParameters,
    reply: FetchReplyPartition<Vec<Piece>>,
}

/// Reads what there is.
pub async fn handle(context: Context) -> Handled {
    let request: FetchRequest = context.decode()?;
    let asked = SessionRequest { session_id: request.session_id, epoch: request.session_epoch };
    let contents = contents(&context, &request);
    // Here, in the order of the requests: the epochs of a session follow each other.
    match context.broker.begin_fetch(asked, contents) {
        Err(code) => Ok(Reply::Now(encode(&context, reply(code, 0, Vec::new())))),
        Ok((fetch, wanted)) => Ok(Reply::later(async move {
            let plan = plan(&context, &request, wanted);
            let results = context.broker.fetch_for(&context.client(), &plan.request).await;
            respond(&context, fetch, plan, results)
        })),
    }
}

fn contents(context: &Context, request: &FetchRequest) -> FetchContents {
    let naming = if context.version() < TOPIC_ID_VERSION { Naming::Names } else { Naming::Ids };
    let topic = |name: &kafka_protocol::messages::TopicName, id: &uuid::Uuid| match naming {
        Naming::Names => FetchTopic::Name(topic_name(name)),
        Naming::Ids => FetchTopic::Id(*id.as_bytes()),
    };
    let mut partitions = Vec::new();
    for wanted in &request.topics {
        let topic = topic(&wanted.topic, &wanted.topic_id);
        partitions.extend(wanted.partitions.iter().map(|partition| {
            let parameters = FetchParameters {
                fetch_offset: partition.fetch_offset,
                bytes_max: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
            };
            (FetchKey { topic: topic.clone(), partition: partition.partition }, parameters)
        }));
    }
    let mut forgotten = Vec::new();
    for unwanted in &request.forgotten_topics_data {
        let topic = topic(&unwanted.topic, &unwanted.topic_id);
        let keys = unwanted.partitions.iter();
        forgotten.extend(keys.map(|partition| FetchKey { topic: topic.clone(), partition: *partition }));
    }
    FetchContents { partitions, forgotten, naming }
}

fn plan(context: &Context, request: &FetchRequest, wanted: Vec<(FetchKey, FetchParameters)>) -> Plan {
    let isolation = isolation(request.isolation_level).ok_or(ErrorCode::InvalidRequest);
    let mut partitions = Vec::with_capacity(wanted.len());
    let mut resolved: Option<(FetchTopic, Resolved)> = None;
    let mut planned = Vec::with_capacity(wanted.len());
    for (key, parameters) in wanted {
        let known = resolved.take().filter(|(topic, _)| *topic == key.topic);
        let (topic, name) = known.unwrap_or_else(|| (key.topic.clone(), resolve(context, &key.topic)));
        let asked = match isolation.and_then(|_| partition_of(&name, &key, parameters)) {
            Ok(partition) => {
                partitions.push(partition);
                Asked::Sent
            }
            Err(code) => Asked::Refused(code),
        };
        resolved = Some((topic, name));
        planned.push((key, parameters, asked));
    }
    let is_refused = planned.iter().any(|(_, _, asked)| matches!(asked, Asked::Refused(_)));
    let wait_max = match is_refused {
        true => Duration::ZERO,
        false => Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
    };
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
    let bytes_max = bytes_max.min(context.broker.config().net.fetch_bytes_max);
    // More than its quota allows in a whole window a client would never get.
    let bytes_max = context.fetch_bytes_max().map_or(bytes_max, |quota| bytes_max.min(quota));
    let request = broker::FetchRequest {
        partitions,
        // Without a level nothing is read.
        isolation: isolation.unwrap_or(Isolation::ReadCommitted),
        bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
        bytes_max,
        wait_max,
    };
    Plan { request, wanted: planned }
}

/// A topic's name, and its id if that is what it was named by.
type Resolved = Result<(TopicName, Option<TopicId>), ErrorCode>;

fn resolve(context: &Context, topic: &FetchTopic) -> Resolved {
    match topic {
        FetchTopic::Name(name) => Ok((name.clone(), None)),
        FetchTopic::Id(id) => {
            let image = context.broker.metadata();
            let found = TopicId::from_bytes(*id).and_then(|id| image.topic_by_id(id));
            let found = found.ok_or(ErrorCode::UnknownTopicId)?;
            Ok((found.name.clone(), Some(found.id)))
        }
    }
}

fn partition_of(
    topic: &Resolved,
    key: &FetchKey,
    parameters: FetchParameters,
) -> Result<FetchPartition, ErrorCode> {
    let (name, topic_id) = topic.as_ref().map_err(|code| *code)?;
    let offset = Offset::from_wire(parameters.fetch_offset).ok_or(ErrorCode::OffsetOutOfRange)?;
    let topic_partition = topic_partition(name, key.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(FetchPartition {
        topic_partition,
        topic_id: *topic_id,
        offset,
        bytes_max: usize::try_from(parameters.bytes_max).unwrap_or(0),
        current_leader_epoch: leader_epoch(parameters.current_leader_epoch),
    })
}

fn respond(
    context: &Context,
    fetch: FetchContext,
    plan: Plan,
    results: Vec<Result<Served, BrokerError>>,
) -> Outcome {
    let isolation = plan.request.isolation;
    let mut results = results.into_iter();
    let answers: Vec<Answer> = plan
        .wanted
        .into_iter()
        .map(|(key, parameters, asked)| {
            let result = match asked {
                Asked::Refused(code) => Err(BrokerError::refused(code, "")),
                Asked::Sent => results.next().unwrap_or(Err(BrokerError::UnknownPartition)),
            };
            // A negative number was refused above; it goes back as 0, which has the same error.
            let index = PartitionIndex::from_wire(key.partition).unwrap_or(PartitionIndex::ZERO);
            Answer { key, parameters, reply: describe(index, isolation, result) }
        })
        .collect();
    let bytes = answers.iter().map(|answer| records_bytes(&answer.reply)).sum();
    let may_send = context.charge_fetched(bytes);
    let reply = match (fetch, may_send) {
        (FetchContext::Sessionless, true) => reply(ErrorCode::None, 0, answers),
        (FetchContext::Sessionless | FetchContext::Beginning(_), false) => {
            reply(ErrorCode::None, 0, Vec::new())
        }
        (FetchContext::Beginning(naming), true) => {
            let told = |answer: &Answer| (answer.key.clone(), answer.parameters, news(&answer.reply));
            let id = context.broker.create_fetch_session(naming, answers.iter().map(told).collect());
            reply(ErrorCode::None, id.map_or(0, |id| id.value()), answers)
        }
        (FetchContext::Continuing(session, id, epoch), may_send) => {
            let mut session = session.lock();
            match (session.expects(epoch), may_send) {
                (false, _) => reply(ErrorCode::InvalidFetchSessionEpoch, id.value(), Vec::new()),
                (true, false) => reply(ErrorCode::None, id.value(), Vec::new()),
                (true, true) => {
                    let is_new = |answer: &Answer| session.tell(&answer.key, news(&answer.reply));
                    reply(ErrorCode::None, id.value(), answers.into_iter().filter(is_new).collect())
                }
            }
        }
    };
    encode(context, reply)
}

/// Partitions of one topic that follow each other share its name.
fn reply(error_code: ErrorCode, session_id: i32, answers: Vec<Answer>) -> FetchReply<Vec<Piece>> {
    let mut topics: Vec<FetchReplyTopic<Vec<Piece>>> = Vec::new();
    let mut last: Option<FetchTopic> = None;
    for Answer { key, reply, .. } in answers {
        if last.as_ref() != Some(&key.topic) {
            let (name, id) = match &key.topic {
                FetchTopic::Name(name) => (name.clone(), None),
                FetchTopic::Id(id) => (TopicName::new(""), topic_id(uuid::Uuid::from_bytes(*id))),
            };
            topics.push(FetchReplyTopic { name, id, partitions: Vec::new() });
            last = Some(key.topic);
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(reply);
        }
    }
    FetchReply { throttle_time_ms: 0, error_code, session_id, topics, node_endpoints: Vec::new() }
}

fn records_bytes(reply: &FetchReplyPartition<Vec<Piece>>) -> usize {
    reply.records.as_ref().map_or(0, |records| records.bytes)
}

fn news(reply: &FetchReplyPartition<Vec<Piece>>) -> FetchNews {
    FetchNews {
        high_watermark: reply.high_watermark,
        last_stable_offset: reply.last_stable_offset,
        log_start_offset: reply.log_start_offset,
        records: if records_bytes(reply) > 0 { HasRecords::Yes } else { HasRecords::No },
        error: if reply.error_code == ErrorCode::None { ErrorState::Fine } else { ErrorState::Failed },
    }
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
    let throttle = context.throttle();
    let reply = FetchReply { throttle_time_ms: wire_ms(throttle), ..reply };
    match encode_fetch_response(context.request.correlation_id, context.version(), reply) {
        Ok(pieces) => {
            let pieces = pieces.into_iter().flat_map(piece).collect();
            Outcome::Respond(ResponseFrame { pieces, throttle })
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
