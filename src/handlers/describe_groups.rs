//! DescribeGroups, versions 0 to 6: a group that does not exist is `Dead`, and since version 6 an
//! error; so is one of the new protocol, which ConsumerGroupDescribe describes. Left out: authorised operations.

use kafka_protocol::messages::describe_groups_response::{DescribedGroup as WireGroup, DescribedGroupMember};
use kafka_protocol::messages::{self, DescribeGroupsRequest, DescribeGroupsResponse};

use crate::coordinator::group::{DescribedGroup, Event, GroupState, Reply};
use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{group_id, text, wire_instance_id};

/// Describes groups, each from its own shard.
pub async fn handle(context: Context) -> Handled {
    let request: DescribeGroupsRequest = context.decode()?;
    let mut groups = Vec::with_capacity(request.groups.len());
    for name in request.groups {
        let group = group_id(&name);
        let groups_asked = vec![group.clone()];
        let event = |request| Event::DescribeGroups { request, groups: groups_asked };
        let reply = match context.broker.ask_group(&group, event).await {
            Ok(pending) => pending.answer().await,
            Err(error) => Err(error),
        };
        match reply {
            Ok(Reply::DescribeGroups(described)) => {
                groups.extend(described.into_iter().map(|group| describe(context.version(), &name, group)));
            }
            Ok(_) => groups.push(refuse(&name, ErrorCode::CoordinatorNotAvailable)),
            Err(error) => groups.push(refuse(&name, error.code())),
        }
    }
    context.respond(&DescribeGroupsResponse::default().with_groups(groups))
}

fn refuse(name: &messages::GroupId, code: ErrorCode) -> WireGroup {
    WireGroup::default().with_group_id(name.clone()).with_error_code(code.code())
}

fn describe(version: i16, name: &messages::GroupId, group: DescribedGroup) -> WireGroup {
    let members = group.members.into_iter().map(|member| {
        let instance = wire_instance_id(member.group_instance_id.as_ref());
        DescribedGroupMember::default()
            .with_member_id(text(member.member_id.as_str()))
            .with_group_instance_id(instance.filter(|_| version >= 4))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    let described = WireGroup::default()
        .with_group_id(name.clone())
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol))
        .with_members(members.collect());
    match (version, group.state) {
        (6.., GroupState::Dead) => described
            .with_error_code(ErrorCode::GroupIdNotFound.code())
            .with_error_message(Some(text(format!("Group {} not found.", name.as_str())))),
        _ => described,
    }
}
