//! ConsumerGroupDescribe, versions 0 and 1 (KIP-848): groups of the new protocol; classic ones are not found, as in
//! Kafka. Since version 1 with each member's protocol (KIP-1099). Left out: authorised operations.

use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{self, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};

use crate::coordinator::group::{
    DescribedConsumerGroup, DescribedConsumerMember, DescribedTopic, Event, MemberProtocol, Refusal, Reply,
};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, text, wire_instance_id, wire_topic, wire_topic_id};
use crate::ids::{MemberEpoch, PartitionIndex};

/// Describes groups, each from its own shard.
pub async fn handle(context: Context) -> Handled {
    let request: ConsumerGroupDescribeRequest = context.decode()?;
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for name in request.group_ids {
        let group = group_id(&name);
        let of = group.clone();
        let asked = context.broker.ask_group(&of, |request| Event::ConsumerGroupDescribe { request, group });
        let reply = match asked.await {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        let result = match reply {
            Ok(Reply::ConsumerGroupDescribe(result)) => result,
            Ok(_) => Err(unavailable(ErrorCode::CoordinatorNotAvailable)),
            Err(error) => Err(unavailable(error.code())),
        };
        groups.push(describe(context.version(), name, result));
    }
    context.respond(&ConsumerGroupDescribeResponse::default().with_groups(groups))
}

fn unavailable(code: ErrorCode) -> Refusal {
    Refusal { code, message: "the group's coordinator is not ready; ask again".to_owned() }
}

fn describe(
    version: i16,
    name: messages::GroupId,
    result: Result<DescribedConsumerGroup, Refusal>,
) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(name);
    match result {
        Ok(group) => described
            .with_group_state(text(group.state.name()))
            .with_group_epoch(group.epoch.value())
            .with_assignment_epoch(group.assignment_epoch.value())
            .with_assignor_name(text(group.assignor.name()))
            .with_members(group.members.into_iter().map(|member| describe_member(version, member)).collect()),
        Err(Refusal { code, message }) => {
            described.with_error_code(code.code()).with_error_message(Some(text(message)))
        }
    }
}

fn describe_member(version: i16, member: DescribedConsumerMember) -> Member {
    let described = Member::default()
        .with_member_id(text(member.member_id.as_str()))
        .with_instance_id(wire_instance_id(member.group_instance_id.as_ref()))
        .with_rack_id(member.rack_id.map(text))
        .with_member_epoch(member.epoch.map_or(-2, MemberEpoch::value))
        .with_client_id(text(member.client_id))
        .with_client_host(text(member.client_host))
        .with_subscribed_topic_names(member.topic_names.iter().map(wire_topic).collect())
        .with_subscribed_topic_regex(member.topic_regex.map(text))
        .with_assignment(describe_assignment(member.assignment))
        .with_target_assignment(describe_assignment(member.target));
    match version {
        0 => described,
        _ => described.with_member_type(match member.protocol {
            MemberProtocol::Classic => 0,
            MemberProtocol::Consumer => 1,
        }),
    }
}

fn describe_assignment(topics: Vec<DescribedTopic>) -> Assignment {
    let topics = topics.into_iter().map(|topic| {
        TopicPartitions::default()
            .with_topic_id(wire_topic_id(topic.id))
            .with_topic_name(wire_topic(&topic.name))
            .with_partitions(topic.partitions.into_iter().map(PartitionIndex::value).collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
