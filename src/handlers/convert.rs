//! From the wire's types to ours and back: sentinels end here.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::messages as wire;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::broker::BrokerError;
use crate::error_code::ErrorCode;
use crate::ids::{
    BrokerId, GroupId, GroupInstanceId, LeaderEpoch, MemberId, PartitionIndex, ProducerEpoch, ProducerId,
    ProducerIdent, TopicId, TopicName, TopicPartition, TransactionalId,
};
use crate::partition::Isolation;

/// Text for the wire.
pub fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// An error's message for the wire; none where there is no error.
pub fn message(code: ErrorCode, message: impl Into<String>) -> Option<StrBytes> {
    (code != ErrorCode::None).then(|| text(message))
}

/// What an answer says of one of the things that a request asks for: the code, and why it is no success.
pub fn verdict(done: Result<(), BrokerError>) -> (i16, Option<StrBytes>) {
    match done {
        Ok(()) => (ErrorCode::None.code(), None),
        Err(error) => (error.code().code(), message(error.code(), error.explanation())),
    }
}

/// Which of the things that a request names it names more than once: what is meant of them is not known. One look
/// at each, however many a client names.
pub fn repeated<T: Ord>(named: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for one in named {
        if seen.contains(&one) {
            repeated.insert(one);
        } else {
            seen.insert(one);
        }
    }
    repeated
}

/// A topic's name.
pub fn topic_name(name: &wire::TopicName) -> TopicName {
    TopicName::new(name.as_str())
}

/// A topic's name for the wire.
pub fn wire_topic(name: &TopicName) -> wire::TopicName {
    wire::TopicName(text(name.as_str()))
}

/// A topic's id; `None` for the zero id.
pub fn topic_id(id: Uuid) -> Option<TopicId> {
    TopicId::from_bytes(*id.as_bytes())
}

/// A topic's id for the wire.
pub fn wire_topic_id(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.bytes())
}

/// A partition; `None` for a negative number.
pub fn topic_partition(topic: &TopicName, partition: i32) -> Option<TopicPartition> {
    PartitionIndex::from_wire(partition).map(|partition| TopicPartition::new(topic.clone(), partition))
}

/// A producer; `None` unless both numbers are there.
pub fn producer(id: wire::ProducerId, epoch: i16) -> Option<ProducerIdent> {
    Some(ProducerIdent { id: ProducerId::from_wire(id.0)?, epoch: ProducerEpoch::from_wire(epoch)? })
}

/// A transactional id.
pub fn transactional_id(id: &wire::TransactionalId) -> TransactionalId {
    TransactionalId::new(id.as_str())
}

/// A group's id.
pub fn group_id(id: &wire::GroupId) -> GroupId {
    GroupId::new(id.as_str())
}

/// A member's id; `None` for "".
pub fn member_id(id: &StrBytes) -> Option<MemberId> {
    (!id.is_empty()).then(|| MemberId::new(id.as_str()))
}

/// A member's id for the wire; "" for none.
pub fn wire_member_id(id: Option<&MemberId>) -> StrBytes {
    text(id.map_or("", MemberId::as_str))
}

/// A static member's id.
pub fn instance_id(id: Option<&StrBytes>) -> Option<GroupInstanceId> {
    id.map(|id| GroupInstanceId::new(id.as_str()))
}

/// A static member's id for the wire.
pub fn wire_instance_id(id: Option<&GroupInstanceId>) -> Option<StrBytes> {
    id.map(|id| text(id.as_str()))
}

/// A leader epoch; `None` for -1.
pub fn leader_epoch(epoch: i32) -> Option<LeaderEpoch> {
    LeaderEpoch::from_wire(epoch)
}

/// A leader epoch for the wire; -1 for none.
pub fn wire_leader_epoch(epoch: Option<LeaderEpoch>) -> i32 {
    epoch.map_or(-1, LeaderEpoch::value)
}

/// A duration in milliseconds for the wire; the longest that it can say for a longer one.
pub fn wire_ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// A broker's id for the wire.
pub fn wire_broker(id: BrokerId) -> wire::BrokerId {
    wire::BrokerId(id.value())
}

/// `isolation_level` as Fetch and ListOffsets carry it; `None` for a level that there is not, whose reader
/// must not be shown more than it wants to see.
pub fn isolation(level: i8) -> Option<Isolation> {
    match level {
        0 => Some(Isolation::ReadUncommitted),
        1 => Some(Isolation::ReadCommitted),
        _ => None,
    }
}
