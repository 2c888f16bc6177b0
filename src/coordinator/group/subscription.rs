//! The consumer protocol's own bytes, `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`: the one thing
//! about members' own bytes that the coordinator looks at.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::{PartitionIndex, TopicName, TopicPartition};

use super::record::fields::{DecodeError, Fields};

/// The protocol type of consumers.
pub(super) const CONSUMER_PROTOCOL_TYPE: &str = "consumer";
/// The newest version that is known; newer ones begin like it.
const VERSION_MAX: i16 = 3;

/// What a consumer wants and has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subscription {
    pub(super) topics: BTreeSet<TopicName>,
    /// What it owns; nothing before version 1.
    pub(super) owned: BTreeSet<TopicPartition>,
    pub(super) rack_id: Option<String>,
}

impl Subscription {
    /// Reads a subscription; `None` if the bytes are none.
    pub(super) fn read(metadata: &[u8]) -> Option<Subscription> {
        let mut fields = Fields::classic(metadata);
        let version = fields.i16().ok().filter(|version| *version >= 0)?;
        read_subscription(version, &mut fields).ok()
    }
}

/// The subscribed topics; `None` if the bytes are no subscription. Every version begins alike, and
/// what follows the topics (user data, owned partitions, rack) is of no interest here.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<TopicName>> {
    let mut fields = Fields::classic(metadata);
    let version = fields.i16().ok()?;
    if version < 0 {
        return None;
    }
    topics(&mut fields).ok()
}

/// What a member was given (`ConsumerProtocolAssignment`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Assigned {
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// Whether its assignor has put something of its own beside them.
    pub(super) has_user_data: bool,
}

impl Assigned {
    /// Reads an assignment, nothing for no bytes; `None` if the bytes are none.
    pub(super) fn read(assignment: &[u8]) -> Option<Assigned> {
        if assignment.is_empty() {
            return Some(Assigned::default());
        }
        let mut fields = Fields::classic(assignment);
        fields.i16().ok().filter(|version| *version >= 0)?;
        let partitions = topic_partitions(&mut fields).ok()?;
        let user_data = fields.nullable_bytes().ok()?;
        Some(Assigned { partitions, has_user_data: user_data.is_some_and(|data| !data.is_empty()) })
    }
}

/// The bytes of an assignment, in the version that a member's subscription has.
pub(super) fn assignment_bytes(subscription: &[u8], partitions: &BTreeSet<TopicPartition>) -> Bytes {
    let version = Fields::classic(subscription).i16().unwrap_or(0).clamp(0, VERSION_MAX);
    let mut topics: BTreeMap<&TopicName, Vec<PartitionIndex>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let count = |count: usize| i32::try_from(count).expect("there are fewer partitions than that");
    let mut out = BytesMut::new();
    out.put_i16(version);
    out.put_i32(count(topics.len()));
    for (topic, partitions) in topics {
        let name = topic.as_str().as_bytes();
        out.put_i16(i16::try_from(name.len()).expect("topics' names are short"));
        out.put_slice(name);
        out.put_i32(count(partitions.len()));
        for partition in partitions {
            out.put_i32(partition.value());
        }
    }
    // No user data.
    out.put_i32(-1);
    out.freeze()
}

fn read_subscription(version: i16, fields: &mut Fields<'_>) -> Result<Subscription, DecodeError> {
    let topics = topics(fields)?;
    fields.nullable_bytes()?;
    let owned = if version >= 1 { topic_partitions(fields)? } else { BTreeSet::new() };
    if version >= 2 {
        let _generation = fields.i32()?;
    }
    let rack_id = if version >= 3 { fields.nullable_string()?.map(str::to_owned) } else { None };
    Ok(Subscription { topics, owned, rack_id })
}

fn topics(fields: &mut Fields<'_>) -> Result<BTreeSet<TopicName>, DecodeError> {
    let count = fields.count()?;
    (0..count).map(|_| fields.string().map(TopicName::new)).collect()
}

fn topic_partitions(fields: &mut Fields<'_>) -> Result<BTreeSet<TopicPartition>, DecodeError> {
    let mut all = BTreeSet::new();
    for _ in 0..fields.count()? {
        let topic = TopicName::new(fields.string()?);
        for _ in 0..fields.count()? {
            let partition =
                PartitionIndex::from_wire(fields.i32()?).ok_or(DecodeError("a negative partition"))?;
            all.insert(TopicPartition::new(topic.clone(), partition));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
