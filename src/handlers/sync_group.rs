//! SyncGroup, versions 0 to 5: followers wait until the leader has brought the assignment.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::coordinator::group::{Event, MemberOfGeneration, Reply, SyncGroup, SyncReply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, member_id, text};
use crate::ids::{GenerationId, MemberId};

/// Asks for a member's assignment.
pub async fn handle(context: Context) -> Handled {
    let request: SyncGroupRequest = context.decode()?;
    let version = context.version();
    if request.group_id.is_empty() {
        return context.respond(&describe(version, SyncReply::error(ErrorCode::InvalidGroupId)));
    }
    let group = group_id(&request.group_id);
    let assignments = request.assignments.into_iter();
    let sync = SyncGroup {
        group: group.clone(),
        member: MemberOfGeneration {
            member_id: member_id(&request.member_id),
            group_instance_id: instance_id(request.group_instance_id.as_ref()),
            generation: GenerationId::from_wire(request.generation_id),
        },
        protocol_type: request.protocol_type.map(|text| text.to_string()),
        protocol: request.protocol_name.map(|text| text.to_string()),
        assignments: assignments
            .map(|assignment| (MemberId::new(assignment.member_id.as_str()), assignment.assignment))
            .collect(),
    };
    let pending = context.broker.ask_group(&group, |request| Event::SyncGroup { request, sync }).await;
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        describe(
            version,
            match reply {
                Ok(Reply::SyncGroup(reply)) => reply,
                Ok(_) => SyncReply::error(ErrorCode::CoordinatorNotAvailable),
                Err(error) => SyncReply::error(error.code()),
            },
        )
    })
}

fn describe(version: i16, reply: SyncReply) -> SyncGroupResponse {
    let response =
        SyncGroupResponse::default().with_error_code(reply.error.code()).with_assignment(reply.assignment);
    match version {
        ..5 => response,
        5.. => response
            .with_protocol_type(reply.protocol_type.map(text))
            .with_protocol_name(reply.protocol.map(text)),
    }
}
