//! ConsumerGroupHeartbeat, versions 0 and 1 (KIP-848): members of groups of the new protocol join, follow and leave.
//! Since version 1 members make their ids themselves and may subscribe by regular expression.

use std::collections::BTreeSet;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as OwnedPartitions;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::{ConsumerHeartbeat, Event, HeartbeatReply, Intent, Refusal, Reply, by_topic};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, member_id, text, topic_id, topic_name, wire_topic_id};
use crate::ids::{MemberEpoch, MemberId, PartitionIndex, TopicIdPartition};

/// The member epochs that say something else than where a member is.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;
const LEAVE_FOR_A_WHILE: i32 = -2;

/// Takes a heartbeat.
pub async fn handle(context: Context) -> Handled {
    let request: ConsumerGroupHeartbeatRequest = context.decode()?;
    let heartbeat = match heartbeat_of(&context, request) {
        Ok(heartbeat) => heartbeat,
        Err(refusal) => return context.respond(&describe(Err(refusal))),
    };
    let group = heartbeat.group.clone();
    let event = move |request| Event::ConsumerGroupHeartbeat { request, heartbeat };
    let pending = context.broker.ask_group(&group, event).await;
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        let unavailable =
            |code| Refusal { code, message: "the group's coordinator is not ready; ask again".to_owned() };
        describe(match reply {
            Ok(Reply::ConsumerGroupHeartbeat(result)) => result,
            Ok(_) => Err(unavailable(ErrorCode::CoordinatorNotAvailable)),
            Err(error) => Err(unavailable(error.code())),
        })
    })
}

/// The request in our own types, if it is one (Kafka's `throwIfConsumerGroupHeartbeatRequestIsInvalid`).
fn heartbeat_of(
    context: &Context,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<ConsumerHeartbeat, Refusal> {
    let intent = check(context.version(), &request)
        .map_err(|message| Refusal { code: ErrorCode::InvalidRequest, message: message.to_owned() })?;
    if let Some(name) = request.server_assignor.as_ref().filter(|name| !context.broker.allows_assignor(name))
    {
        let message = format!("there is no assignor {name:?} here (group.consumer.assignors)");
        return Err(Refusal { code: ErrorCode::UnsupportedAssignor, message });
    }
    let names = request.subscribed_topic_names;
    Ok(ConsumerHeartbeat {
        group: group_id(&request.group_id),
        member_id: member_id(&request.member_id),
        fresh_member_id: MemberId::new(uuid::Uuid::new_v4().to_string()),
        intent,
        group_instance_id: instance_id(request.instance_id.as_ref()),
        rack_id: request.rack_id.map(|rack| rack.to_string()),
        client_id: context.client_id().to_owned(),
        client_host: format!("/{}", context.connection.client_address.ip().to_canonical()),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout| *timeout != -1),
        topic_names: names.map(|names| names.iter().map(topic_name).collect()),
        topic_regex: request.subscribed_topic_regex.map(|regex| regex.to_string()),
        server_assignor: request.server_assignor.map(|name| name.to_string()),
        owned: request.topic_partitions.as_deref().map(owned),
    })
}

fn check(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<Intent, &'static str> {
    let is_blank = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let names_nothing = request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none();
    let needs_member_id = version >= 1 || request.member_epoch != JOIN;
    match request.member_epoch {
        _ if request.group_id.trim().is_empty() => Err("the group has no id"),
        _ if is_blank(&request.instance_id) => Err("group.instance.id is empty"),
        _ if is_blank(&request.rack_id) => Err("client.rack is empty"),
        _ if needs_member_id && request.member_id.trim().is_empty() => Err("the member has no id"),
        JOIN if request.rebalance_timeout_ms == -1 => {
            Err("whoever joins says how long it may take to give up partitions (max.poll.interval.ms)")
        }
        JOIN if request.topic_partitions.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            Err("whoever joins, for the first time or again, owns no partitions")
        }
        JOIN if names_nothing => {
            Err("whoever joins says what it subscribes to, by names or by a regular expression")
        }
        JOIN => Ok(Intent::Join),
        LEAVE => Ok(Intent::Leave),
        LEAVE_FOR_A_WHILE if request.instance_id.is_none() => {
            Err("only a static member can leave for a while: there is no group.instance.id")
        }
        LEAVE_FOR_A_WHILE => Ok(Intent::LeaveForAWhile),
        epoch => MemberEpoch::from_wire(epoch).map(Intent::Stay).ok_or("there is no such member epoch"),
    }
}

/// What the member says it owns; topics and partitions that cannot be are nobody's.
fn owned(topics: &[OwnedPartitions]) -> BTreeSet<TopicIdPartition> {
    let each = topics.iter().filter_map(|topic| Some((topic_id(topic.topic_id)?, &topic.partitions)));
    let partitions = each.flat_map(|(topic_id, partitions)| {
        let indexes = partitions.iter().filter_map(|index| PartitionIndex::from_wire(*index));
        indexes.map(move |partition| TopicIdPartition { topic_id, partition })
    });
    partitions.collect()
}

fn describe(result: Result<HeartbeatReply, Refusal>) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default();
    let reply = match result {
        Ok(reply) => reply,
        Err(Refusal { code, message }) => {
            return response.with_error_code(code.code()).with_error_message(Some(text(message)));
        }
    };
    let epoch = match reply.standing {
        Intent::Join => JOIN,
        Intent::Stay(epoch) => epoch.value(),
        Intent::Leave => LEAVE,
        Intent::LeaveForAWhile => LEAVE_FOR_A_WHILE,
    };
    let assignment = reply.assignment.map(|partitions| {
        let topics = by_topic(&partitions).into_iter().map(|(topic_id, partitions)| {
            TopicPartitions::default()
                .with_topic_id(wire_topic_id(topic_id))
                .with_partitions(partitions.into_iter().map(PartitionIndex::value).collect())
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    let interval_ms = i32::try_from(reply.heartbeat_interval.as_millis()).unwrap_or(i32::MAX);
    response
        .with_member_id(Some(text(reply.member_id.as_str())))
        .with_member_epoch(epoch)
        .with_heartbeat_interval_ms(interval_ms)
        .with_assignment(assignment)
}
