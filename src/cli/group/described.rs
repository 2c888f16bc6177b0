//! What a group is, of whichever protocol: the classic one, or the consumer protocol (KIP-848).

use bytes::{Buf, Bytes};
use kafka_protocol::messages::consumer_group_describe_response;
use kafka_protocol::messages::describe_groups_response::DescribedGroupMember;
use kafka_protocol::messages::{ApiKey, ConsumerGroupDescribeRequest, DescribeGroupsRequest};
use kafka_protocol::protocol::StrBytes;

use super::super::error::{CliError, check};
use super::super::protocol_client::{Cluster, Connection, CoordinatorKind};
use super::super::time::retrying;
use super::{group_id, not_found};
use crate::error_code::ErrorCode;

/// A group.
pub(super) struct Group {
    /// Its state, as the broker names it.
    pub(super) state: String,
    /// What distributes the partitions.
    pub(super) assignor: String,
    /// `consumer` for every consumer group; what Kafka Connect and others use differs.
    pub(super) protocol_type: String,
    pub(super) members: Vec<Member>,
}

/// One of its members.
pub(super) struct Member {
    pub(super) id: String,
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) host: String,
    /// Topics with partitions; none if that is not told in a way that this tool knows.
    pub(super) partitions: Vec<(String, i32)>,
}

/// Asks the group's coordinator.
pub(super) fn describe(cluster: &mut Cluster, name: &str) -> Result<Group, CliError> {
    let timeout = cluster.timeout();
    let connection = cluster.coordinator(CoordinatorKind::Group, name)?;
    if connection.serves(ApiKey::ConsumerGroupDescribe) {
        let found = retrying(timeout, || consumer_group(connection, name));
        match found {
            // It is of the other protocol, or of none.
            Err(error) if error.is(ErrorCode::GroupIdNotFound) => {}
            other => return other,
        }
    }
    retrying(timeout, || classic_group(connection, name))
}

fn consumer_group(connection: &mut Connection, name: &str) -> Result<Group, CliError> {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(name)]);
    let group = connection.call(&request)?.groups.into_iter().next().ok_or_else(|| not_found(name))?;
    let detail = group.error_message.as_ref().map(StrBytes::as_str);
    check(group.error_code, format!("cannot describe group {name}"), detail)?;
    let member = |member: consumer_group_describe_response::Member| {
        let topics = member.assignment.topic_partitions.into_iter();
        let partitions = topics.flat_map(|topic| {
            let name = topic.topic_name.to_string();
            topic.partitions.into_iter().map(move |partition| (name.clone(), partition))
        });
        Member {
            id: member.member_id.to_string(),
            instance_id: member.instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            partitions: partitions.collect(),
        }
    };
    Ok(Group {
        state: group.group_state.to_string(),
        assignor: group.assignor_name.to_string(),
        protocol_type: "consumer".to_owned(),
        members: group.members.into_iter().map(member).collect(),
    })
}

fn classic_group(connection: &mut Connection, name: &str) -> Result<Group, CliError> {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(name)]);
    let group = connection.call(&request)?.groups.into_iter().next().ok_or_else(|| not_found(name))?;
    let detail = group.error_message.as_ref().map(StrBytes::as_str);
    check(group.error_code, format!("cannot describe group {name}"), detail)?;
    let member = |member: DescribedGroupMember| {
        let mut assignment = member.member_assignment;
        Member {
            id: member.member_id.to_string(),
            instance_id: member.group_instance_id.map(|id| id.to_string()),
            client_id: member.client_id.to_string(),
            host: member.client_host.to_string(),
            // None if its bytes are not those of the "consumer" protocol.
            partitions: read_assignment(&mut assignment).unwrap_or_default(),
        }
    };
    Ok(Group {
        state: group.group_state.to_string(),
        assignor: group.protocol_data.to_string(),
        protocol_type: group.protocol_type.to_string(),
        members: group.members.into_iter().map(member).collect(),
    })
}

/// Kafka's `ConsumerProtocolAssignment`, of which every version begins the same. Read by hand: another
/// client wrote these bytes, and the codec reserves memory for whatever number of elements they claim.
pub(super) fn read_assignment(bytes: &mut Bytes) -> Option<Vec<(String, i32)>> {
    let mut partitions = Vec::new();
    let _version = bytes.try_get_i16().ok()?;
    for _ in 0..bytes.try_get_i32().ok()? {
        let name_bytes = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        if bytes.remaining() < name_bytes {
            return None;
        }
        let name = String::from_utf8(bytes.split_to(name_bytes).to_vec()).ok()?;
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.push((name.clone(), bytes.try_get_i32().ok()?));
        }
    }
    Some(partitions)
}
