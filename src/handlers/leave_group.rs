//! LeaveGroup, versions 0 to 5: one member, or since version 3 several, also by instance id.

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::coordinator::group::{Event, LeaveReply, LeavingMember, Reply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, member_id, wire_instance_id, wire_member_id};

/// Takes members out of a group.
pub async fn handle(context: Context) -> Handled {
    let request: LeaveGroupRequest = context.decode()?;
    let version = context.version();
    let group = group_id(&request.group_id);
    let members = match version {
        ..3 => vec![LeavingMember { member_id: member_id(&request.member_id), group_instance_id: None }],
        3.. => {
            let members = request.members.iter();
            let leaving = members.map(|member| LeavingMember {
                member_id: member_id(&member.member_id),
                group_instance_id: instance_id(member.group_instance_id.as_ref()),
            });
            leaving.collect()
        }
    };
    let of = group.clone();
    let asked = context.broker.ask_group(&of, |request| Event::LeaveGroup { request, group, members });
    let pending = asked.await;
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        match reply {
            Ok(Reply::LeaveGroup(reply)) => describe(version, reply),
            Ok(_) => LeaveGroupResponse::default().with_error_code(ErrorCode::CoordinatorNotAvailable.code()),
            Err(error) => LeaveGroupResponse::default().with_error_code(error.code().code()),
        }
    })
}

fn describe(version: i16, reply: LeaveReply) -> LeaveGroupResponse {
    if version < 3 {
        let mut codes = std::iter::once(reply.error).chain(reply.members.iter().map(|member| member.error));
        let code = codes.find(|code| *code != ErrorCode::None).unwrap_or(ErrorCode::None);
        return LeaveGroupResponse::default().with_error_code(code.code());
    }
    let members = reply.members.into_iter().map(|member| {
        MemberResponse::default()
            .with_member_id(wire_member_id(member.member_id.as_ref()))
            .with_group_instance_id(wire_instance_id(member.group_instance_id.as_ref()))
            .with_error_code(member.error.code())
    });
    LeaveGroupResponse::default().with_error_code(reply.error.code()).with_members(members.collect())
}
