//! ListGroups, versions 0 to 5: by state since version 4, by type since version 5.

use kafka_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::coordinator::group::{Event, GroupState, GroupType, ListedGroup, Reply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::text;

/// Lists the groups of all shards.
pub async fn handle(context: Context) -> Handled {
    let request: ListGroupsRequest = context.decode()?;
    let states: Option<Vec<GroupState>> = match request.states_filter.is_empty() {
        true => None,
        false => Some(request.states_filter.iter().filter_map(|name| GroupState::from_name(name)).collect()),
    };
    let types: Option<Vec<GroupType>> = match request.types_filter.is_empty() {
        true => None,
        false => Some(request.types_filter.iter().filter_map(|name| GroupType::from_name(name)).collect()),
    };
    let mut groups = Vec::new();
    let mut code = ErrorCode::None;
    for shard in context.broker.group_shards() {
        let (states, types) = (states.clone(), types.clone());
        let asked = shard.ask(move |request, _| Event::ListGroups { request, states, types }).await;
        let answer = match asked {
            Ok(answer) => answer.await.ok(),
            Err(_) => None,
        };
        match answer {
            Some(Reply::ListGroups(listed)) => groups.extend(listed),
            Some(_) | None => code = ErrorCode::CoordinatorNotAvailable,
        }
    }
    groups.sort_by(|a, b| a.group.cmp(&b.group));
    let groups = groups.into_iter().map(|group| describe(context.version(), &group)).collect();
    context.respond(&ListGroupsResponse::default().with_error_code(code.code()).with_groups(groups))
}

fn describe(version: i16, group: &ListedGroup) -> WireGroup {
    let mut listed = WireGroup::default()
        .with_group_id(kafka_protocol::messages::GroupId(text(group.group.as_str())))
        .with_protocol_type(text(group.protocol_type.clone()));
    if version >= 4 {
        listed = listed.with_group_state(text(group.state.name()));
    }
    if version >= 5 {
        listed = listed.with_group_type(text(group.group_type.name()));
    }
    listed
}
