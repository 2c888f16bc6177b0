//! Heartbeat, versions 0 to 4.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::coordinator::group::{Event, MemberOfGeneration, Reply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, instance_id, member_id};
use crate::ids::GenerationId;

/// Keeps a member's session alive.
pub async fn handle(context: Context) -> Handled {
    let request: HeartbeatRequest = context.decode()?;
    let group = group_id(&request.group_id);
    let member = MemberOfGeneration {
        member_id: member_id(&request.member_id),
        group_instance_id: instance_id(request.group_instance_id.as_ref()),
        generation: GenerationId::from_wire(request.generation_id),
    };
    let of = group.clone();
    let asked = context.broker.ask_group(&of, |request| Event::Heartbeat { request, group, member });
    let pending = asked.await;
    context.respond_later(async move {
        let reply = match pending {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        let code = match reply {
            Ok(Reply::Heartbeat(code)) => code,
            Ok(_) => ErrorCode::CoordinatorNotAvailable,
            Err(error) => error.code(),
        };
        HeartbeatResponse::default().with_error_code(code.code())
    })
}
