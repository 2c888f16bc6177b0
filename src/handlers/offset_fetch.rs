//! OffsetFetch, versions 1 to 9: of one group, or since version 8 of several; all partitions since
//! version 2; `require_stable` since version 7 (KIP-447); who asks since version 9 (KIP-848).

use std::collections::HashMap;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{self, OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::{BrokerError, PendingReply};
use crate::coordinator::group::{
    Event, FetchPartitions, FetchedOffset, MemberOfGeneration, OffsetStability, Reply,
};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{
    group_id, member_id, text, topic_name, topic_partition, wire_leader_epoch, wire_topic,
};
use crate::ids::{GenerationId, Offset, TopicName};

type Topics = Option<Vec<(messages::TopicName, Vec<i32>)>>;
type Pending = Result<PendingReply<Reply>, BrokerError>;

/// Reads committed offsets.
pub async fn handle(context: Context) -> Handled {
    let request: OffsetFetchRequest = context.decode()?;
    let stability = match request.require_stable {
        true => OffsetStability::RequireStable,
        false => OffsetStability::Any,
    };
    if context.version() < 8 {
        let topics: Topics = request
            .topics
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let pending = ask(&context, &request.group_id, None, topics, stability).await;
        let version = context.version();
        return context.respond_later(async move { describe_one(version, answer(pending).await) });
    }
    let mut pending = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let topics: Topics = group
            .topics
            .clone()
            .map(|topics| topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect());
        let member = asking_member(&group);
        let asked = ask(&context, &group.group_id, member, topics, stability).await;
        pending.push((group.group_id, asked));
    }
    context.respond_later(async move {
        let mut groups = Vec::with_capacity(pending.len());
        for (group, pending) in pending {
            groups.push(describe_group(group, answer(pending).await));
        }
        OffsetFetchResponse::default().with_groups(groups)
    })
}

/// The member of a group of the new protocol that asks (version 9); admin tools and others say nothing.
fn asking_member(group: &OffsetFetchRequestGroup) -> Option<MemberOfGeneration> {
    let generation = GenerationId::from_wire(group.member_epoch);
    let says_nothing = group.member_id.is_none() && generation.is_none();
    (!says_nothing).then(|| MemberOfGeneration {
        member_id: group.member_id.as_ref().and_then(member_id),
        group_instance_id: None,
        generation,
    })
}

async fn ask(
    context: &Context,
    group: &messages::GroupId,
    member: Option<MemberOfGeneration>,
    topics: Topics,
    stability: OffsetStability,
) -> Pending {
    let group = group_id(group);
    let partitions = match topics {
        None => FetchPartitions::All,
        Some(topics) => {
            let all = topics.iter().flat_map(|(name, indexes)| {
                let name = topic_name(name);
                indexes.iter().filter_map(move |index| topic_partition(&name, *index))
            });
            FetchPartitions::These(all.collect())
        }
    };
    let of = group.clone();
    let event = move |request| Event::OffsetFetch { request, group, member, partitions, stability };
    context.broker.ask_group(&of, event).await
}

async fn answer(pending: Pending) -> Result<Vec<FetchedOffset>, ErrorCode> {
    let reply = match pending {
        Ok(pending) => pending.answer().await,
        Err(error) => Err(error),
    };
    match reply {
        Ok(Reply::OffsetFetch(fetched)) => fetched,
        Ok(_) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(error) => Err(error.code()),
    }
}

/// The offsets by topic, in the order in which topics first appear.
fn by_topic(offsets: Vec<FetchedOffset>) -> Vec<(TopicName, Vec<FetchedOffset>)> {
    let mut topics: Vec<(TopicName, Vec<FetchedOffset>)> = Vec::new();
    let mut places: HashMap<TopicName, usize> = HashMap::new();
    for offset in offsets {
        let topic = offset.partition.topic.clone();
        let place = *places.entry(topic.clone()).or_insert(topics.len());
        match topics.get_mut(place) {
            Some((_, offsets)) => offsets.push(offset),
            None => topics.push((topic, vec![offset])),
        }
    }
    topics
}

fn note(offset: &FetchedOffset) -> Option<StrBytes> {
    Some(text(offset.metadata.clone()))
}

fn value(offset: &FetchedOffset) -> i64 {
    offset.offset.map_or(-1, Offset::value)
}

fn describe_one(version: i16, answer: Result<Vec<FetchedOffset>, ErrorCode>) -> OffsetFetchResponse {
    let offsets = match answer {
        Ok(offsets) => offsets,
        Err(code) => {
            return OffsetFetchResponse::default().with_error_code(if version >= 2 {
                code.code()
            } else {
                0
            });
        }
    };
    let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| {
        let partitions = offsets.iter().map(|offset| {
            let partition = OffsetFetchResponsePartition::default()
                .with_partition_index(offset.partition.partition.value())
                .with_committed_offset(value(offset))
                .with_metadata(note(offset))
                .with_error_code(offset.error.code());
            match version {
                ..5 => partition,
                5.. => partition.with_committed_leader_epoch(wire_leader_epoch(offset.leader_epoch)),
            }
        });
        OffsetFetchResponseTopic::default()
            .with_name(wire_topic(&topic))
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn describe_group(
    group: messages::GroupId,
    answer: Result<Vec<FetchedOffset>, ErrorCode>,
) -> OffsetFetchResponseGroup {
    let response = OffsetFetchResponseGroup::default().with_group_id(group);
    let offsets = match answer {
        Ok(offsets) => offsets,
        Err(code) => return response.with_error_code(code.code()),
    };
    let topics = by_topic(offsets).into_iter().map(|(topic, offsets)| {
        let partitions = offsets.iter().map(|offset| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(offset.partition.partition.value())
                .with_committed_offset(value(offset))
                .with_committed_leader_epoch(wire_leader_epoch(offset.leader_epoch))
                .with_metadata(note(offset))
                .with_error_code(offset.error.code())
        });
        OffsetFetchResponseTopics::default()
            .with_name(wire_topic(&topic))
            .with_partitions(partitions.collect())
    });
    response.with_topics(topics.collect())
}
