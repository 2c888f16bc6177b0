//! JoinGroup, versions 0 to 9: the answer comes when the join phase ends.

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::coordinator::group::{
    Event, FirstJoin, JoinGroup, JoinProtocol, JoinReply, LeaderAssignment, Reply, SkipAssignmentSupport,
};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, member_id, text, wire_instance_id, wire_member_id};
use crate::ids::{GenerationId, MemberId};

/// Joins a group.
pub async fn handle(context: Context) -> Handled {
    let request: JoinGroupRequest = context.decode()?;
    if request.group_id.is_empty() {
        let reply = JoinReply::error(ErrorCode::InvalidGroupId, member_id(&request.member_id));
        return context.respond(&describe(context.version(), reply));
    }
    let join = join_of(&context, request);
    let group = join.group.clone();
    let asked_by = join.member_id.clone();
    let pending = context.broker.ask_group(&group, |request| Event::JoinGroup { request, join }).await;
    let version = context.version();
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        let reply = match reply {
            Ok(Reply::JoinGroup(reply)) => reply,
            Ok(_) => JoinReply::error(ErrorCode::CoordinatorNotAvailable, asked_by),
            Err(error) => JoinReply::error(error.code(), asked_by),
        };
        describe(version, reply)
    })
}

fn join_of(context: &Context, request: JoinGroupRequest) -> JoinGroup {
    let fresh = uuid::Uuid::new_v4();
    let prefix = match &request.group_instance_id {
        Some(instance) => instance.to_string(),
        None => context.client_id().to_owned(),
    };
    let protocols = request.protocols.into_iter();
    JoinGroup {
        group: group_id(&request.group_id),
        member_id: member_id(&request.member_id),
        fresh_member_id: MemberId::new(format!("{prefix}-{fresh}")),
        group_instance_id: instance_id(request.group_instance_id.as_ref()),
        client_id: context.client_id().to_owned(),
        client_host: format!("/{}", context.connection.client_address.ip().to_canonical()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match context.version() {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols
            .map(|protocol| JoinProtocol { name: protocol.name.to_string(), metadata: protocol.metadata })
            .collect(),
        first_join: match context.version() {
            ..4 => FirstJoin::Joins,
            4.. => FirstJoin::NeedsMemberId,
        },
        skip_assignment: match context.version() {
            ..9 => SkipAssignmentSupport::Unknown,
            9.. => SkipAssignmentSupport::Understood,
        },
    }
}

fn describe(version: i16, reply: JoinReply) -> JoinGroupResponse {
    let members = reply.members.into_iter().map(|member| {
        let instance = wire_instance_id(member.group_instance_id.as_ref());
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member_id.as_str()))
            .with_group_instance_id(instance.filter(|_| version >= 5))
            .with_metadata(member.metadata)
    });
    let protocol = reply.protocol.map(text);
    let response = JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation.map_or(-1, GenerationId::value))
        // Before version 7 the protocol's name cannot be null.
        .with_protocol_name(if version < 7 { Some(protocol.unwrap_or_default()) } else { protocol })
        .with_leader(wire_member_id(reply.leader.as_ref()))
        .with_member_id(wire_member_id(reply.member_id.as_ref()))
        .with_members(members.collect());
    let response = match version {
        ..7 => response,
        7.. => response.with_protocol_type(reply.protocol_type.map(text)),
    };
    match version {
        ..9 => response,
        9.. => response.with_skip_assignment(reply.assignment == LeaderAssignment::Skip),
    }
}
