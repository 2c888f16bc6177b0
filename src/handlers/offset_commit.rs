//! OffsetCommit, versions 2 to 9. Retention times of old versions are ignored, as Kafka does since
//! KIP-211. Partitions of unknown topics are refused one by one.

use std::collections::HashMap;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use crate::coordinator::group::{
    CommittedPartition, Event, MemberOfGeneration, OffsetCommit, Reply, UnknownGroup,
};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, leader_epoch, member_id, topic_name, topic_partition};
use crate::ids::{GenerationId, Offset, TopicPartition};

/// One partition of the request: refused at once, or sent to the group.
pub enum Committing {
    /// It cannot be committed.
    Refused(ErrorCode),
    /// It goes to the group's shard.
    Sent(CommittedPartition),
}

/// What the group answered: for each partition, or for all.
pub type Answers = Result<HashMap<TopicPartition, ErrorCode>, ErrorCode>;

/// The partition as the group's shard understands it, or why it does not get there.
pub fn committing(
    context: &Context,
    topic: &kafka_protocol::messages::TopicName,
    partition: i32,
    offset: i64,
    note: (i32, Option<&str>),
) -> Committing {
    let known = topic_partition(&topic_name(topic), partition)
        .filter(|topic_partition| context.broker.partition(topic_partition).is_ok());
    let (epoch, metadata) = note;
    match (known, Offset::from_wire(offset)) {
        (None, _) => Committing::Refused(ErrorCode::UnknownTopicOrPartition),
        // -1 is what a consumer has that has read nothing: there is nothing to remember.
        (Some(_), None) => Committing::Refused(ErrorCode::OffsetOutOfRange),
        (Some(partition), Some(offset)) => Committing::Sent(CommittedPartition {
            partition,
            offset,
            leader_epoch: leader_epoch(epoch),
            metadata: metadata.unwrap_or_default().to_owned(),
        }),
    }
}

/// The code of one partition: its own refusal, or what the group answered for it.
pub fn code_of(committing: &Committing, answers: &Answers) -> ErrorCode {
    match (committing, answers) {
        (Committing::Refused(code), _) | (Committing::Sent(_), Err(code)) => *code,
        (Committing::Sent(sent), Ok(answers)) => {
            answers.get(&sent.partition).copied().unwrap_or(ErrorCode::UnknownServerError)
        }
    }
}

/// The partitions that go to the group.
pub fn sent(topics: &[Vec<Committing>]) -> Vec<CommittedPartition> {
    let all = topics.iter().flatten();
    all.filter_map(|committing| match committing {
        Committing::Sent(partition) => Some(partition.clone()),
        Committing::Refused(_) => None,
    })
    .collect()
}

/// Commits offsets outside of a transaction.
pub async fn handle(context: Context) -> Handled {
    let request: OffsetCommitRequest = context.decode()?;
    let topics: Vec<Vec<Committing>> =
        request.topics.iter().map(|topic| committing_topic(&context, topic)).collect();
    let group = group_id(&request.group_id);
    let commit = OffsetCommit {
        group: group.clone(),
        member: MemberOfGeneration {
            member_id: member_id(&request.member_id),
            group_instance_id: instance_id(request.group_instance_id.as_ref()),
            generation: GenerationId::from_wire(request.generation_id_or_member_epoch),
        },
        partitions: sent(&topics),
    };
    let unknown_group = match context.version() {
        ..9 => UnknownGroup::IllegalGeneration,
        9.. => UnknownGroup::GroupIdNotFound,
    };
    let event = move |request| Event::OffsetCommit { request, commit, unknown_group };
    let pending = context.broker.ask_group(&group, event).await;
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        let answers = match reply {
            Ok(Reply::OffsetCommit(answers)) => Ok(answers.into_iter().collect()),
            Ok(_) => Err(ErrorCode::CoordinatorNotAvailable),
            Err(error) => Err(error.code()),
        };
        describe(&request.topics, &topics, &answers)
    })
}

fn committing_topic(context: &Context, topic: &OffsetCommitRequestTopic) -> Vec<Committing> {
    let partitions = topic.partitions.iter();
    let each = partitions.map(|partition| {
        let note = (partition.committed_leader_epoch, partition.committed_metadata.as_deref());
        committing(context, &topic.name, partition.partition_index, partition.committed_offset, note)
    });
    each.collect()
}

fn describe(
    topics: &[OffsetCommitRequestTopic],
    committing: &[Vec<Committing>],
    answers: &Answers,
) -> OffsetCommitResponse {
    let described = topics.iter().zip(committing).map(|(topic, committing)| {
        let partitions = topic.partitions.iter().zip(committing).map(|(partition, committing)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code_of(committing, answers).code())
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(described.collect())
}
