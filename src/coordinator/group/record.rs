//! The records of `__consumer_offsets` in Kafka's own key and value schemas (`OffsetCommitKey`,
//! `OffsetCommitValue`, `GroupMetadataKey`, `GroupMetadataValue`; those of the new protocol are in
//! `consumer::record`).
//!
//! Writes version 3 values, reads versions 0 to 4. Bytes come from disk: they are checked, never
//! trusted.

use bytes::{BufMut, Bytes, BytesMut};

use crate::clock::Timestamp;
use crate::ids::{
    GenerationId, GroupId, GroupInstanceId, LeaderEpoch, MemberId, Offset, PartitionIndex, TopicName,
    TopicPartition,
};

use fields::{DecodeError as FieldError, Fields};

use super::consumer::record::ConsumerRecord;

pub(super) mod fields;

/// One record of a group shard; a `None` value is a tombstone.
#[derive(Clone, PartialEq, Debug)]
pub enum GroupRecord {
    /// A group's committed position in one partition.
    Offset {
        /// The group.
        group: GroupId,
        /// The partition.
        partition: TopicPartition,
        /// The position, or that there is none any more.
        value: Option<OffsetValue>,
    },
    /// A part of a group of the new protocol (KIP-848).
    Consumer {
        /// The group.
        group: GroupId,
        /// Which part, and what it is now.
        record: ConsumerRecord,
    },
    /// A classic group's generation with its members.
    Group {
        /// The group.
        group: GroupId,
        /// The generation, or that the group is gone.
        value: Option<GroupMetadata>,
    },
}

/// A committed position (`OffsetCommitValue`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: Offset,
    /// The epoch of the record before it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own note.
    pub metadata: String,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
}

/// A classic group's generation (`GroupMetadataValue`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMetadata {
    /// "consumer", "connect", ...
    pub protocol_type: String,
    /// The generation.
    pub generation: GenerationId,
    /// The chosen protocol; `None` for an empty group.
    pub protocol: Option<String>,
    /// The leader; `None` for an empty group.
    pub leader: Option<MemberId>,
    /// When the group entered its state; `None` in old records.
    pub current_state_timestamp: Option<Timestamp>,
    /// The generation's members, in order of their ids. Before the leader has assigned, every
    /// assignment is empty.
    pub members: Vec<MemberMetadata>,
}

/// One member of a stored generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if static.
    pub group_instance_id: Option<GroupInstanceId>,
    /// What it calls itself.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// How long a rebalance waits for it.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its subscription for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

/// Bytes that are no record of this topic.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end early, or hold an impossible length or text.
    #[error("malformed {what} in __consumer_offsets: {problem}")]
    Malformed {
        /// Which schema.
        what: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value version this broker does not know.
    #[error("version {version} of {what} is not supported")]
    Version {
        /// Which schema.
        what: &'static str,
        /// The version found.
        version: i16,
    },
}

const OFFSET_KEY_VERSION: i16 = 1;
const GROUP_KEY_VERSION: i16 = 2;
const VALUE_VERSION: i16 = 3;
const FIRST_FLEXIBLE_VALUE_VERSION: i16 = 4;
/// A record's framing in a batch, rounded up: lengths, deltas, attributes, header count.
const FRAMING_BYTES: usize = 24;

impl GroupRecord {
    /// The record's key and value; no value for a tombstone.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let mut key = BytesMut::new();
        match self {
            GroupRecord::Offset { group, partition, value } => {
                key.put_i16(OFFSET_KEY_VERSION);
                put_string(&mut key, group.as_str());
                put_string(&mut key, partition.topic.as_str());
                key.put_i32(partition.partition.value());
                (key.freeze(), value.as_ref().map(encode_offset))
            }
            GroupRecord::Group { group, value } => {
                key.put_i16(GROUP_KEY_VERSION);
                put_string(&mut key, group.as_str());
                (key.freeze(), value.as_ref().map(encode_group))
            }
            GroupRecord::Consumer { group, record } => {
                key.put_i16(record.key_version());
                put_string(&mut key, group.as_str());
                if let Some(rest) = record.key_text() {
                    put_string(&mut key, rest);
                }
                (key.freeze(), record.encode_value())
            }
        }
    }

    /// Reads a record; `None` for key versions of other kinds of groups (share, streams), which are skipped.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<GroupRecord>, DecodeError> {
        let mut fields = Fields::classic(key);
        let version = fields.i16().map_err(malformed("key"))?;
        match version {
            0 | OFFSET_KEY_VERSION => decode_offset_record(fields, value).map(Some),
            GROUP_KEY_VERSION => decode_group_record(fields, value).map(Some),
            3.. => {
                let group = GroupId::new(fields.string().map_err(malformed("a group's key"))?);
                let record = ConsumerRecord::decode(version, fields, value)?;
                Ok(record.map(|record| GroupRecord::Consumer { group, record }))
            }
            _ => Err(DecodeError::Version { what: "key", version }),
        }
    }

    /// An upper bound of what the record adds to a batch.
    pub fn bytes_max(&self) -> usize {
        match self {
            GroupRecord::Offset { group, partition, value } => {
                let value_bytes = value.as_ref().map_or(0, |value| 24 + value.metadata.len());
                FRAMING_BYTES + 10 + group.as_str().len() + partition.topic.as_str().len() + value_bytes
            }
            GroupRecord::Group { group, value } => {
                FRAMING_BYTES + 4 + group.as_str().len() + value.as_ref().map_or(0, GroupMetadata::bytes_max)
            }
            GroupRecord::Consumer { .. } => {
                let (key, value) = self.encode();
                FRAMING_BYTES + key.len() + value.map_or(0, |value| value.len())
            }
        }
    }
}

impl GroupMetadata {
    /// Whether the leader's assignment is part of it: a generation is stored first when its join
    /// phase ends, with nothing assigned, so that no generation number is ever given out twice.
    pub fn is_assigned(&self) -> bool {
        self.members.iter().any(|member| !member.assignment.is_empty())
    }

    /// What the leader gave to a member; empty if it gave nothing.
    pub fn assignment(&self, member_id: &MemberId) -> Bytes {
        let found = self.members.binary_search_by(|member| member.member_id.cmp(member_id));
        found.ok().and_then(|at| self.members.get(at)).map(|m| m.assignment.clone()).unwrap_or_default()
    }

    fn bytes_max(&self) -> usize {
        let leader_bytes = self.leader.as_ref().map_or(0, |leader| leader.as_str().len());
        let protocol_bytes = self.protocol.as_ref().map_or(0, String::len);
        let members_bytes: usize = self.members.iter().map(MemberMetadata::bytes_max).sum();
        28 + self.protocol_type.len() + protocol_bytes + leader_bytes + members_bytes
    }
}

impl MemberMetadata {
    /// An upper bound of its encoded size.
    pub fn bytes_max(&self) -> usize {
        let instance_bytes = self.group_instance_id.as_ref().map_or(0, |id| id.as_str().len());
        24 + self.member_id.as_str().len()
            + instance_bytes
            + self.client_id.len()
            + self.client_host.len()
            + self.subscription.len()
            + self.assignment.len()
    }
}

/// Whether a text fits a record: strings of these schemas have 16-bit lengths.
pub fn fits_record(text: &str) -> bool {
    text.len() <= i16::MAX as usize
}

fn encode_offset(value: &OffsetValue) -> Bytes {
    let mut out = BytesMut::with_capacity(24 + value.metadata.len());
    out.put_i16(VALUE_VERSION);
    out.put_i64(value.offset.value());
    out.put_i32(value.leader_epoch.map_or(-1, LeaderEpoch::value));
    put_string(&mut out, &value.metadata);
    out.put_i64(value.commit_timestamp.ms());
    out.freeze()
}

fn encode_group(value: &GroupMetadata) -> Bytes {
    let mut out = BytesMut::with_capacity(value.bytes_max());
    out.put_i16(VALUE_VERSION);
    put_string(&mut out, &value.protocol_type);
    out.put_i32(value.generation.value());
    put_nullable_string(&mut out, value.protocol.as_deref());
    put_nullable_string(&mut out, value.leader.as_ref().map(MemberId::as_str));
    out.put_i64(value.current_state_timestamp.map_or(-1, Timestamp::ms));
    put_count(&mut out, value.members.len());
    for member in &value.members {
        put_string(&mut out, member.member_id.as_str());
        put_nullable_string(&mut out, member.group_instance_id.as_ref().map(GroupInstanceId::as_str));
        put_string(&mut out, &member.client_id);
        put_string(&mut out, &member.client_host);
        out.put_i32(member.rebalance_timeout_ms);
        out.put_i32(member.session_timeout_ms);
        put_bytes(&mut out, &member.subscription);
        put_bytes(&mut out, &member.assignment);
    }
    out.freeze()
}

fn put_string(out: &mut BytesMut, text: &str) {
    let length = i16::try_from(text.len()).expect("every event's texts are checked by fits_record");
    out.put_i16(length);
    out.put_slice(text.as_bytes());
}

fn put_nullable_string(out: &mut BytesMut, text: Option<&str>) {
    match text {
        None => out.put_i16(-1),
        Some(text) => put_string(out, text),
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("a record is smaller than batch_bytes_max"));
}

pub(super) fn malformed(what: &'static str) -> impl Fn(FieldError) -> DecodeError {
    move |error| DecodeError::Malformed { what, problem: error.0 }
}

fn decode_offset_record(mut key: Fields<'_>, value: Option<&[u8]>) -> Result<GroupRecord, DecodeError> {
    let read_key = |key: &mut Fields<'_>| -> Result<(GroupId, TopicPartition), FieldError> {
        let group = GroupId::new(key.string()?);
        let topic = TopicName::new(key.string()?);
        let partition = PartitionIndex::from_wire(key.i32()?).ok_or(FieldError("a negative partition"))?;
        Ok((group, TopicPartition::new(topic, partition)))
    };
    let (group, partition) = read_key(&mut key).map_err(malformed("OffsetCommitKey"))?;
    let value = value.map(decode_offset_value).transpose()?;
    Ok(GroupRecord::Offset { group, partition, value })
}

fn decode_offset_value(bytes: &[u8]) -> Result<OffsetValue, DecodeError> {
    const WHAT: &str = "OffsetCommitValue";
    let mut fields = value_fields(bytes, WHAT)?;
    let version = fields.version();
    let mut read = || -> Result<OffsetValue, FieldError> {
        let offset = Offset::from_wire(fields.i64()?).ok_or(FieldError("a negative offset"))?;
        let leader_epoch = if version >= 3 { LeaderEpoch::from_wire(fields.i32()?) } else { None };
        let metadata = fields.string()?.to_owned();
        let commit_timestamp = Timestamp::from_ms(fields.i64()?);
        // Version 1 ends with an expiry time, which Kafka has given up; version 4 with the topic's
        // id as a tagged field. Neither is needed.
        Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp })
    };
    read().map_err(malformed(WHAT))
}

fn decode_group_record(mut key: Fields<'_>, value: Option<&[u8]>) -> Result<GroupRecord, DecodeError> {
    let group = GroupId::new(key.string().map_err(malformed("GroupMetadataKey"))?);
    let value = value.map(decode_group_value).transpose()?;
    Ok(GroupRecord::Group { group, value })
}

fn decode_group_value(bytes: &[u8]) -> Result<GroupMetadata, DecodeError> {
    const WHAT: &str = "GroupMetadataValue";
    let mut fields = value_fields(bytes, WHAT)?;
    read_group_value(&mut fields).map_err(malformed(WHAT))
}

fn read_group_value(fields: &mut Fields<'_>) -> Result<GroupMetadata, FieldError> {
    let protocol_type = fields.string()?.to_owned();
    let generation = GenerationId::from_wire(fields.i32()?).ok_or(FieldError("a negative generation"))?;
    let protocol = fields.nullable_string()?.map(str::to_owned);
    let leader = fields.nullable_string()?.map(MemberId::new);
    let current_state_ms = if fields.version() >= 2 { fields.i64()? } else { -1 };
    let current_state_timestamp = (current_state_ms >= 0).then(|| Timestamp::from_ms(current_state_ms));
    let member_count = fields.count()?;
    let mut members = Vec::new();
    for _ in 0..member_count {
        members.push(read_member(fields)?);
    }
    members.sort_by(|left: &MemberMetadata, right| left.member_id.cmp(&right.member_id));
    Ok(GroupMetadata { protocol_type, generation, protocol, leader, current_state_timestamp, members })
}

fn read_member(fields: &mut Fields<'_>) -> Result<MemberMetadata, FieldError> {
    let version = fields.version();
    let member_id = MemberId::new(fields.string()?);
    let group_instance_id =
        if version >= 3 { fields.nullable_string()?.map(GroupInstanceId::new) } else { None };
    let client_id = fields.string()?.to_owned();
    let client_host = fields.string()?.to_owned();
    let rebalance_timeout_ms = if version >= 1 { Some(fields.i32()?) } else { None };
    let session_timeout_ms = fields.i32()?;
    let subscription = Bytes::copy_from_slice(fields.bytes()?);
    let assignment = Bytes::copy_from_slice(fields.bytes()?);
    fields.skip_tagged_fields()?;
    Ok(MemberMetadata {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        // Version 0 had one timeout for both.
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn value_fields<'a>(bytes: &'a [u8], what: &'static str) -> Result<Fields<'a>, DecodeError> {
    let version = Fields::classic(bytes).i16().map_err(malformed(what))?;
    match version {
        0..=VALUE_VERSION => Fields::after_version(bytes, version, fields::Encoding::Classic),
        FIRST_FLEXIBLE_VALUE_VERSION => Fields::after_version(bytes, version, fields::Encoding::Flexible),
        _ => return Err(DecodeError::Version { what, version }),
    }
    .map_err(malformed(what))
}

#[cfg(test)]
mod tests;
