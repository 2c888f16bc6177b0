//! Produce, versions 3 to 13: one batch for each partition, appended in the request's order.
//!
//! Since version 12 the broker adds a transaction's partitions by itself (KIP-890); version 13
//! names topics by id (KIP-516). acks=0 gets no answer, and the connection ends if something went
//! wrong, since there is no other way to say so. Versions 0 to 2 are advertised as Kafka does, for
//! the sake of old librdkafka, but not served.

use std::sync::Arc;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use crate::broker::{BrokerError, ClientBatch, Produced, TransactionalProduce};
use crate::coordinator::txn::ClientApi;
use crate::disk::JournalPosition;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{text, topic_id, topic_name, topic_partition, transactional_id};
use crate::handlers::reply::{Outcome, Reply};
use crate::ids::{Offset, TopicName};
use crate::interceptor::{Client, PendingAcknowledgement, RecordRefusal};
use crate::wire::control_record::TransactionVersion;
use crate::wire::record_batch::ZstdRule;

/// One partition's result, with what is to be done once it is durable.
struct Appended {
    index: i32,
    result: Result<Produced, BrokerError>,
}

struct AppendedTopic {
    topic: TopicProduceData,
    partitions: Vec<Appended>,
}

/// Appends the batches, and answers once they are durable.
pub async fn handle(context: Context) -> Handled {
    let mut request: ProduceRequest = context.decode()?;
    let transaction = request.transactional_id.as_ref().map(|id| TransactionalProduce {
        transactional_id: transactional_id(id),
        version: if context.version() >= 12 { TransactionVersion::V2 } else { TransactionVersion::V1 },
        api: if context.version() >= 11 {
            ClientApi::TransactionAbortable
        } else {
            ClientApi::ProducerFenced
        },
    });
    let acks = request.acks;
    let client = context.client();
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for mut topic in std::mem::take(&mut request.topic_data) {
        let data = std::mem::take(&mut topic.partition_data);
        let mut partitions = Vec::with_capacity(data.len());
        for partition in data {
            let index = partition.index;
            let result = match acks {
                -1..=1 => append(&context, &client, &topic, partition, transaction.clone()).await,
                _ => Err(BrokerError::refused(
                    ErrorCode::InvalidRequiredAcks,
                    format!("acks is {acks}; -1, 0 and 1 are allowed"),
                )),
            };
            partitions.push(Appended { index, result });
        }
        topics.push(AppendedTopic { topic, partitions });
    }
    match acks {
        0 => Ok(without_answer(context, topics)),
        _ => answer(context, topics),
    }
}

async fn append(
    context: &Context,
    client: &Client,
    topic: &TopicProduceData,
    data: PartitionProduceData,
    transaction: Option<TransactionalProduce>,
) -> Result<Produced, BrokerError> {
    let name = topic_of(context, topic)?;
    let topic_partition = topic_partition(&name, data.index).ok_or(BrokerError::UnknownPartition)?;
    let bytes = data.records.filter(|bytes| !bytes.is_empty()).ok_or_else(|| {
        BrokerError::refused(
            ErrorCode::InvalidRecord,
            "exactly one record batch must be sent for a partition",
        )
    })?;
    let zstd = if context.version() >= 7 { ZstdRule::Allowed } else { ZstdRule::Refused };
    context.broker.produce(ClientBatch { topic_partition, bytes, zstd, transaction }, client).await
}

fn topic_of(context: &Context, topic: &TopicProduceData) -> Result<TopicName, BrokerError> {
    if context.version() < 13 {
        return Ok(topic_name(&topic.name));
    }
    let image = context.broker.metadata();
    let found = topic_id(topic.topic_id).and_then(|id| image.topic_by_id(id));
    found
        .map(|topic| topic.name.clone())
        .ok_or_else(|| BrokerError::refused(ErrorCode::UnknownTopicId, "there is no topic of this id"))
}

fn answer(context: Context, mut topics: Vec<AppendedTopic>) -> Handled {
    let broker = Arc::clone(&context.broker);
    let version = context.version();
    let charged = context.clone();
    context.respond_later(async move {
        let mut responses = Vec::with_capacity(topics.len());
        // All partitions share one journal: durable up to the last is durable for all.
        let durable = broker.durable(last_position(&topics)).await;
        let pending = pending(&mut topics);
        for AppendedTopic { topic, partitions } in topics {
            let describe = |appended| describe(version, appended, durable.as_ref().err());
            let described = partitions.into_iter().map(describe).collect();
            let response = TopicProduceResponse::default().with_partition_responses(described);
            responses.push(match version {
                ..13 => response.with_name(topic.name),
                13.. => response.with_topic_id(topic.topic_id),
            });
        }
        tell(pending, durable.as_ref().err()).await;
        charged.charge_produced();
        ProduceResponse::default().with_responses(responses)
    })
}

/// What interceptors are to be told of the batches that were appended, with their first offsets.
fn pending(topics: &mut [AppendedTopic]) -> Vec<(PendingAcknowledgement, Offset)> {
    let appended = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    let produced = appended.filter_map(|appended| appended.result.as_mut().ok());
    produced.filter_map(|produced| Some((produced.pending.take()?, produced.committed.base_offset))).collect()
}

async fn tell(pending: Vec<(PendingAcknowledgement, Offset)>, failed: Option<&BrokerError>) {
    for (pending, base_offset) in pending {
        pending.tell(failed.map_or(Ok(base_offset), |error| Err(error.code()))).await;
    }
}

fn last_position(topics: &[AppendedTopic]) -> JournalPosition {
    let appended = topics.iter().flat_map(|topic| &topic.partitions).filter_map(|p| p.result.as_ref().ok());
    appended.map(|produced| produced.committed.position).max().unwrap_or(JournalPosition::ZERO)
}

fn describe(version: i16, appended: Appended, failed: Option<&BrokerError>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(appended.index);
    let failed = match (&appended.result, failed) {
        (Ok(produced), None) => {
            produced.partition.advance_high_watermark();
            None
        }
        (Ok(_), Some(error)) => Some(error),
        (Err(error), _) => Some(error),
    };
    if let Some(error) = failed {
        let response = response.with_error_code(error.code().code()).with_base_offset(-1);
        return match version {
            ..8 => response,
            8.. => response
                .with_error_message(Some(text(error.explanation())))
                .with_record_errors(error.refused_records().iter().map(record_error).collect()),
        };
    }
    let Ok(Produced { committed, .. }) = appended.result else { return response };
    let response = response
        .with_base_offset(committed.base_offset.value())
        .with_log_append_time_ms(committed.log_append_time.map_or(-1, |time| time.ms()));
    match version {
        ..5 => response,
        5.. => response.with_log_start_offset(committed.log_start_offset.value()),
    }
}

/// KIP-467: which record is to blame, and for what.
fn record_error(refusal: &RecordRefusal) -> BatchIndexAndErrorMessage {
    BatchIndexAndErrorMessage::default()
        .with_batch_index(refusal.index)
        .with_batch_index_error_message(Some(text(refusal.message.clone())))
}

/// acks=0: records still become readable only once they are durable.
fn without_answer(context: Context, mut topics: Vec<AppendedTopic>) -> Reply {
    let position = last_position(&topics);
    let pending = pending(&mut topics);
    let mut appended = Vec::new();
    for result in topics.iter().flat_map(|topic| &topic.partitions).map(|p| &p.result) {
        match result {
            Ok(produced) => appended.push(Arc::clone(&produced.partition)),
            Err(error) => {
                return Reply::Now(Outcome::Close(format!("a produce request with acks=0 failed: {error}")));
            }
        }
    }
    let broker = Arc::clone(&context.broker);
    Reply::later(async move {
        let durable = broker.durable(position).await;
        if durable.is_ok() {
            appended.iter().for_each(|partition| partition.advance_high_watermark());
        }
        tell(pending, durable.as_ref().err()).await;
        context.charge_produced();
        Outcome::Silence(context.throttle())
    })
}
