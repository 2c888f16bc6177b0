//! The records of groups of the new protocol in Kafka's own key and value schemas (`ConsumerGroupMetadata`,
//! `ConsumerGroupPartitionMetadata`, `ConsumerGroupMemberMetadata`, `ConsumerGroupTargetAssignmentMetadata`,
//! `ConsumerGroupTargetAssignmentMember`, `ConsumerGroupCurrentMemberAssignment`, `ConsumerGroupRegularExpression`).
//!
//! Keys are classic structures, values flexible ones of version 0. Bytes come from disk: they are checked, never
//! trusted. Racks of partitions are written empty and not read: assignors do not look at them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};

use crate::clock::Timestamp;
use crate::coordinator::group::event::JoinProtocol;
use crate::coordinator::group::record::DecodeError;
use crate::coordinator::group::record::fields::{DecodeError as FieldError, Encoding, Fields};
use crate::coordinator::group::record::malformed;
use crate::ids::{
    GroupEpoch, GroupInstanceId, MemberEpoch, MemberId, PartitionIndex, TopicId, TopicIdPartition, TopicName,
};

use super::reconcile::{CurrentAssignment, MemberState};

/// One part of a group, as it is now; `None` is a tombstone.
#[derive(Clone, PartialEq, Debug)]
pub enum ConsumerRecord {
    /// The group's epoch.
    Epoch(Option<GroupEpoch>),
    /// The subscribed topics that there are, as the group last saw them.
    Topics(Option<BTreeMap<TopicName, SubscribedTopic>>),
    /// A member with its subscription.
    Member(MemberId, Option<ConsumerMember>),
    /// The epoch for which the target assignment was made.
    TargetEpoch(Option<GroupEpoch>),
    /// A member's target.
    Target(MemberId, Option<BTreeSet<TopicIdPartition>>),
    /// What a member has been told.
    Current(MemberId, Option<CurrentAssignment>),
    /// What a regular expression stands for.
    Regex(String, Option<ResolvedRegex>),
}

/// A topic as a group sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscribedTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
}

/// A member of a group of the new protocol (`ConsumerGroupMemberMetadataValue`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerMember {
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<GroupInstanceId>,
    /// Where it runs, if it says so.
    pub rack_id: Option<String>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// The topics that it names.
    pub topic_names: BTreeSet<TopicName>,
    /// The regular expression for further ones; `None` for "".
    pub topic_regex: Option<String>,
    /// How long it may take to give up partitions, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers.
    pub server_assignor: Option<String>,
    /// There if it speaks the classic protocol.
    pub classic: Option<ClassicMember>,
}

/// What a member that speaks the classic protocol has said beyond its topics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassicMember {
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// What it supports, preferred first.
    pub protocols: Vec<JoinProtocol>,
}

/// The topics that a regular expression stands for (`ConsumerGroupRegularExpressionValue`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResolvedRegex {
    /// The topics.
    pub topics: BTreeSet<TopicName>,
    /// When they were looked for.
    pub resolved_at: Timestamp,
}

const EPOCH_KEY: i16 = 3;
const TOPICS_KEY: i16 = 4;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const REGEX_KEY: i16 = 16;
const VALUE_VERSION: i16 = 0;
/// The member epoch of a static member that is away.
const AWAY: i32 = -2;
/// `ConsumerGroupMemberMetadataValue.ClassicMemberMetadata`.
const CLASSIC_TAG: u32 = 0;

impl ConsumerRecord {
    /// The version of its key, which is its kind.
    pub(in crate::coordinator::group) fn key_version(&self) -> i16 {
        match self {
            ConsumerRecord::Epoch(_) => EPOCH_KEY,
            ConsumerRecord::Topics(_) => TOPICS_KEY,
            ConsumerRecord::Member(..) => MEMBER_KEY,
            ConsumerRecord::TargetEpoch(_) => TARGET_EPOCH_KEY,
            ConsumerRecord::Target(..) => TARGET_KEY,
            ConsumerRecord::Current(..) => CURRENT_KEY,
            ConsumerRecord::Regex(..) => REGEX_KEY,
        }
    }

    /// What its key has beyond the group.
    pub(in crate::coordinator::group) fn key_text(&self) -> Option<&str> {
        match self {
            ConsumerRecord::Epoch(_) | ConsumerRecord::Topics(_) | ConsumerRecord::TargetEpoch(_) => None,
            ConsumerRecord::Member(id, _)
            | ConsumerRecord::Target(id, _)
            | ConsumerRecord::Current(id, _) => Some(id.as_str()),
            ConsumerRecord::Regex(regex, _) => Some(regex),
        }
    }

    pub(in crate::coordinator::group) fn encode_value(&self) -> Option<Bytes> {
        match self {
            ConsumerRecord::Epoch(epoch) | ConsumerRecord::TargetEpoch(epoch) => epoch.map(|epoch| {
                let mut value = Value::new();
                value.i32(epoch.value());
                value.finish()
            }),
            ConsumerRecord::Topics(topics) => topics.as_ref().map(encode_topics),
            ConsumerRecord::Member(_, member) => member.as_ref().map(encode_member),
            ConsumerRecord::Target(_, target) => target.as_ref().map(|target| {
                let mut value = Value::new();
                value.partitions(target);
                value.finish()
            }),
            ConsumerRecord::Current(_, current) => current.as_ref().map(encode_current),
            ConsumerRecord::Regex(_, resolved) => resolved.as_ref().map(|resolved| {
                let mut value = Value::new();
                value.topic_names(&resolved.topics);
                // Kafka's version of the metadata: it orders nothing here.
                value.i64(0);
                value.i64(resolved.resolved_at.ms());
                value.finish()
            }),
        }
    }

    /// Reads what follows the group in the key, and the value; `None` for kinds of other groups.
    pub(in crate::coordinator::group) fn decode(
        key_version: i16,
        mut key: Fields<'_>,
        value: Option<&[u8]>,
    ) -> Result<Option<ConsumerRecord>, DecodeError> {
        let mut member_id = || key.string().map(MemberId::new).map_err(malformed("a member's key"));
        let record = match key_version {
            EPOCH_KEY => ConsumerRecord::Epoch(decode("ConsumerGroupMetadataValue", value, epoch)?),
            TOPICS_KEY => {
                ConsumerRecord::Topics(decode("ConsumerGroupPartitionMetadataValue", value, topics)?)
            }
            MEMBER_KEY => ConsumerRecord::Member(
                member_id()?,
                decode("ConsumerGroupMemberMetadataValue", value, member)?,
            ),
            TARGET_EPOCH_KEY => ConsumerRecord::TargetEpoch(decode(
                "ConsumerGroupTargetAssignmentMetadataValue",
                value,
                epoch,
            )?),
            TARGET_KEY => ConsumerRecord::Target(
                member_id()?,
                decode("ConsumerGroupTargetAssignmentMemberValue", value, partitions)?,
            ),
            CURRENT_KEY => ConsumerRecord::Current(
                member_id()?,
                decode("ConsumerGroupCurrentMemberAssignmentValue", value, current)?,
            ),
            REGEX_KEY => {
                let regex = key.string().map_err(malformed("ConsumerGroupRegularExpressionKey"))?.to_owned();
                ConsumerRecord::Regex(regex, decode("ConsumerGroupRegularExpressionValue", value, resolved)?)
            }
            _ => return Ok(None),
        };
        Ok(Some(record))
    }
}

/// A flexible structure in the making: the value's version first.
struct Value(Vec<u8>);

impl Value {
    fn new() -> Value {
        Value(VALUE_VERSION.to_be_bytes().to_vec())
    }

    /// Ends the structure: no tagged fields.
    fn finish(mut self) -> Bytes {
        self.no_tagged_fields();
        Bytes::from(self.0)
    }

    fn no_tagged_fields(&mut self) {
        self.unsigned(0);
    }

    fn unsigned(&mut self, mut number: usize) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn i32(&mut self, number: i32) {
        self.0.put_i32(number);
    }

    fn i64(&mut self, number: i64) {
        self.0.put_i64(number);
    }

    fn string(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.unsigned(0),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn count(&mut self, count: usize) {
        self.unsigned(count + 1);
    }

    fn topic_names(&mut self, names: &BTreeSet<TopicName>) {
        self.count(names.len());
        for name in names {
            self.string(name.as_str());
        }
    }

    /// Partitions by topic, each a structure of its own.
    fn partitions(&mut self, partitions: &BTreeSet<TopicIdPartition>) {
        let topics = by_topic(partitions);
        self.count(topics.len());
        for (topic_id, partitions) in topics {
            self.0.extend_from_slice(&topic_id.bytes());
            self.count(partitions.len());
            for partition in partitions {
                self.i32(partition.value());
            }
            self.no_tagged_fields();
        }
    }
}

/// Partitions by topic, as the wire and the records have them.
pub fn by_topic(partitions: &BTreeSet<TopicIdPartition>) -> BTreeMap<TopicId, Vec<PartitionIndex>> {
    let mut topics: BTreeMap<TopicId, Vec<PartitionIndex>> = BTreeMap::new();
    for TopicIdPartition { topic_id, partition } in partitions {
        topics.entry(*topic_id).or_default().push(*partition);
    }
    topics
}

fn encode_topics(topics: &BTreeMap<TopicName, SubscribedTopic>) -> Bytes {
    let mut value = Value::new();
    value.count(topics.len());
    for (name, topic) in topics {
        value.0.extend_from_slice(&topic.id.bytes());
        value.string(name.as_str());
        value.i32(topic.partitions);
        // No racks.
        value.count(0);
        value.no_tagged_fields();
    }
    value.finish()
}

fn encode_member(member: &ConsumerMember) -> Bytes {
    let mut value = Value::new();
    value.nullable_string(member.group_instance_id.as_ref().map(GroupInstanceId::as_str));
    value.nullable_string(member.rack_id.as_deref());
    value.string(&member.client_id);
    value.string(&member.client_host);
    value.topic_names(&member.topic_names);
    value.nullable_string(member.topic_regex.as_deref());
    value.i32(member.rebalance_timeout_ms);
    value.nullable_string(member.server_assignor.as_deref());
    let Some(classic) = &member.classic else { return value.finish() };
    // A nullable structure in a tagged field begins with 1 for "it is there".
    let mut inner = Value(vec![1]);
    inner.i32(classic.session_timeout_ms);
    inner.count(classic.protocols.len());
    for protocol in &classic.protocols {
        inner.string(&protocol.name);
        inner.bytes(&protocol.metadata);
        inner.no_tagged_fields();
    }
    inner.no_tagged_fields();
    value.unsigned(1);
    value.unsigned(CLASSIC_TAG as usize);
    value.unsigned(inner.0.len());
    value.0.extend_from_slice(&inner.0);
    Bytes::from(value.0)
}

fn encode_current(current: &CurrentAssignment) -> Bytes {
    let wire = |epoch: Option<MemberEpoch>| epoch.map_or(AWAY, MemberEpoch::value);
    let mut value = Value::new();
    value.i32(wire(current.epoch));
    value.i32(wire(current.previous_epoch));
    value.0.put_i8(current.state.code());
    value.partitions(&current.assigned);
    value.partitions(&current.pending_revocation);
    value.finish()
}

fn decode<T>(
    what: &'static str,
    value: Option<&[u8]>,
    read: impl Fn(&mut Fields<'_>) -> Result<T, FieldError>,
) -> Result<Option<T>, DecodeError> {
    let Some(bytes) = value else { return Ok(None) };
    let version = Fields::classic(bytes).i16().map_err(malformed(what))?;
    if version != VALUE_VERSION {
        return Err(DecodeError::Version { what, version });
    }
    let mut fields = Fields::after_version(bytes, version, Encoding::Flexible).map_err(malformed(what))?;
    read(&mut fields).map(Some).map_err(malformed(what))
}

fn epoch(fields: &mut Fields<'_>) -> Result<GroupEpoch, FieldError> {
    let epoch = GroupEpoch::from_wire(fields.i32()?).ok_or(FieldError("a negative epoch"))?;
    // Kafka 4.1 and later tag on a hash of the topics and times, which only save work there.
    fields.skip_tagged_fields()?;
    Ok(epoch)
}

fn topics(fields: &mut Fields<'_>) -> Result<BTreeMap<TopicName, SubscribedTopic>, FieldError> {
    let mut topics = BTreeMap::new();
    for _ in 0..fields.count()? {
        let id = topic_id(fields)?;
        let name = TopicName::new(fields.string()?);
        let partitions = fields.i32()?;
        for _ in 0..fields.count()? {
            fields.i32()?;
            for _ in 0..fields.count()? {
                fields.string()?;
            }
            fields.skip_tagged_fields()?;
        }
        fields.skip_tagged_fields()?;
        topics.insert(name, SubscribedTopic { id, partitions });
    }
    fields.skip_tagged_fields()?;
    Ok(topics)
}

fn topic_id(fields: &mut Fields<'_>) -> Result<TopicId, FieldError> {
    TopicId::from_bytes(fields.uuid()?).ok_or(FieldError("a topic without an id"))
}

fn topic_names(fields: &mut Fields<'_>) -> Result<BTreeSet<TopicName>, FieldError> {
    (0..fields.count()?).map(|_| fields.string().map(TopicName::new)).collect()
}

fn member(fields: &mut Fields<'_>) -> Result<ConsumerMember, FieldError> {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut member = ConsumerMember {
        group_instance_id: fields.nullable_string()?.map(GroupInstanceId::new),
        rack_id: owned(fields.nullable_string()?),
        client_id: fields.string()?.to_owned(),
        client_host: fields.string()?.to_owned(),
        topic_names: topic_names(fields)?,
        topic_regex: owned(fields.nullable_string()?.filter(|regex| !regex.is_empty())),
        rebalance_timeout_ms: fields.i32()?,
        server_assignor: owned(fields.nullable_string()?),
        classic: None,
    };
    // A nullable structure in a tagged field begins with 0 for null. Kafka 4.3 writes that for members of the
    // new protocol.
    if let Some(mut classic) = fields.tagged_field(CLASSIC_TAG)?
        && classic.i8()? > 0
    {
        member.classic = Some(classic_member(&mut classic)?);
    }
    Ok(member)
}

fn classic_member(fields: &mut Fields<'_>) -> Result<ClassicMember, FieldError> {
    let session_timeout_ms = fields.i32()?;
    let mut protocols = Vec::new();
    for _ in 0..fields.count()? {
        let name = fields.string()?.to_owned();
        let metadata = Bytes::copy_from_slice(fields.bytes()?);
        fields.skip_tagged_fields()?;
        protocols.push(JoinProtocol { name, metadata });
    }
    Ok(ClassicMember { session_timeout_ms, protocols })
}

/// Partitions by topic. Kafka's newer versions tag on the epoch at which each was assigned.
fn topic_partitions(fields: &mut Fields<'_>) -> Result<BTreeSet<TopicIdPartition>, FieldError> {
    let mut all = BTreeSet::new();
    for _ in 0..fields.count()? {
        let topic_id = topic_id(fields)?;
        for _ in 0..fields.count()? {
            let partition =
                PartitionIndex::from_wire(fields.i32()?).ok_or(FieldError("a negative partition"))?;
            all.insert(TopicIdPartition { topic_id, partition });
        }
        fields.skip_tagged_fields()?;
    }
    Ok(all)
}

fn partitions(fields: &mut Fields<'_>) -> Result<BTreeSet<TopicIdPartition>, FieldError> {
    let partitions = topic_partitions(fields)?;
    fields.skip_tagged_fields()?;
    Ok(partitions)
}

fn current(fields: &mut Fields<'_>) -> Result<CurrentAssignment, FieldError> {
    let epoch = MemberEpoch::from_wire(fields.i32()?);
    let previous_epoch = MemberEpoch::from_wire(fields.i32()?);
    let state = MemberState::from_code(fields.i8()?).ok_or(FieldError("an unknown state of a member"))?;
    let assigned = topic_partitions(fields)?;
    let pending_revocation = partitions(fields)?;
    Ok(CurrentAssignment { epoch, previous_epoch, state, assigned, pending_revocation })
}

fn resolved(fields: &mut Fields<'_>) -> Result<ResolvedRegex, FieldError> {
    let topics = topic_names(fields)?;
    let _version = fields.i64()?;
    let resolved_at = Timestamp::from_ms(fields.i64()?);
    fields.skip_tagged_fields()?;
    Ok(ResolvedRegex { topics, resolved_at })
}

#[cfg(test)]
mod tests;
