//! TxnOffsetCommit, versions 0 to 5: offsets that count only if the transaction commits.
//!
//! Since version 5 the broker adds the group's partition to the transaction by itself (KIP-890);
//! before, AddOffsetsToTxn must have done so, and that is checked.

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use crate::broker::BrokerError;
use crate::coordinator::group::{MemberOfGeneration, OffsetCommit};
use crate::coordinator::txn::ClientApi;
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, member_id, producer, transactional_id};
use crate::handlers::offset_commit::{Committing, code_of, committing, sent};
use crate::ids::{GenerationId, TopicPartition};
use crate::wire::control_record::TransactionVersion;

/// Commits offsets as part of a transaction.
pub async fn handle(context: Context) -> Handled {
    let request: TxnOffsetCommitRequest = context.decode()?;
    let topics: Vec<Vec<Committing>> = request
        .topics
        .iter()
        .map(|topic| {
            let each = topic.partitions.iter().map(|partition| {
                let note = (partition.committed_leader_epoch, partition.committed_metadata.as_deref());
                committing(&context, &topic.name, partition.partition_index, partition.committed_offset, note)
            });
            each.collect()
        })
        .collect();
    let pending = commit(&context, &request, sent(&topics)).await;
    context.respond_later(async move {
        let answers = match pending {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        let answers = match answers {
            Ok(answers) => Ok(answers.into_iter().collect()),
            Err(error) => Err(error.code()),
        };
        let described = request.topics.iter().zip(&topics).map(|(topic, committing)| {
            let partitions = topic.partitions.iter().zip(committing).map(|(partition, committing)| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code_of(committing, &answers).code())
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        TxnOffsetCommitResponse::default().with_topics(described.collect())
    })
}

type Answers = Result<Vec<(TopicPartition, ErrorCode)>, BrokerError>;

async fn commit(
    context: &Context,
    request: &TxnOffsetCommitRequest,
    partitions: Vec<crate::coordinator::group::CommittedPartition>,
) -> Result<impl Future<Output = Answers> + Send + use<>, BrokerError> {
    let producer = producer(request.producer_id, request.producer_epoch).ok_or_else(|| {
        BrokerError::refused(ErrorCode::InvalidProducerIdMapping, "the request names no producer")
    })?;
    let commit = OffsetCommit {
        group: group_id(&request.group_id),
        member: MemberOfGeneration {
            member_id: member_id(&request.member_id),
            group_instance_id: instance_id(request.group_instance_id.as_ref()),
            generation: GenerationId::from_wire(request.generation_id),
        },
        partitions,
    };
    let version = match context.version() {
        ..5 => TransactionVersion::V1,
        5.. => TransactionVersion::V2,
    };
    let api = match context.version() {
        ..5 => ClientApi::ProducerFenced,
        5.. => ClientApi::TransactionAbortable,
    };
    let id = transactional_id(&request.transactional_id);
    context.broker.commit_offsets_in_transaction(id, producer, commit, version, api).await
}
