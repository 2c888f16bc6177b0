//! DeleteGroups, versions 0 to 2: groups without members, with their offsets.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::coordinator::group::{Event, Reply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::group_id;

/// Deletes groups, each in its own shard.
pub async fn handle(context: Context) -> Handled {
    let request: DeleteGroupsRequest = context.decode()?;
    let mut results = Vec::with_capacity(request.groups_names.len());
    for name in request.groups_names {
        let group = group_id(&name);
        let groups = vec![group.clone()];
        let reply =
            match context.broker.ask_group(&group, |request| Event::DeleteGroups { request, groups }).await {
                Ok(pending) => pending.answer().await,
                Err(error) => Err(error),
            };
        let code = match reply {
            Ok(Reply::DeleteGroups(deleted)) => deleted.first().map_or(ErrorCode::None, |(_, code)| *code),
            Ok(_) => ErrorCode::CoordinatorNotAvailable,
            Err(error) => error.code(),
        };
        results.push(DeletableGroupResult::default().with_group_id(name).with_error_code(code.code()));
    }
    context.respond(&DeleteGroupsResponse::default().with_results(results))
}
