//! Newtypes for the numbers and names that Kafka's protocol passes around.
//!
//! One type per meaning: the field is private and only operations that mean something exist. Wire
//! sentinels (-1, "") become `Option` at the edge, through the `from_wire` constructors. Knows
//! nothing but std.

use std::fmt;
use std::sync::Arc;

/// A position in a partition's log: the number of a record, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Offset(i64);

impl Offset {
    /// The first offset of any log.
    pub const ZERO: Offset = Offset(0);
    /// The largest offset there can be: an upper bound for "no bound".
    pub const MAX: Offset = Offset(i64::MAX);

    /// The offset of a wire value; `None` for the protocol's negative sentinels.
    pub const fn from_wire(value: i64) -> Option<Offset> {
        if value >= 0 { Some(Offset(value)) } else { None }
    }

    /// The number as the wire and the disk carry it.
    pub const fn value(self) -> i64 {
        self.0
    }

    /// The offset right after this one; saturates at the maximum.
    pub const fn next(self) -> Offset {
        Offset(self.0.saturating_add(1))
    }

    /// The offset right before this one, or `None` at the start of the log.
    pub const fn previous(self) -> Option<Offset> {
        if self.0 == 0 { None } else { Some(Offset(self.0 - 1)) }
    }

    /// This offset moved forward by a batch's `last_offset_delta` or a count of records.
    ///
    /// Negative deltas are the caller's bug: check deltas from outside before they come here.
    pub const fn plus(self, delta: i64) -> Offset {
        assert!(delta >= 0);
        Offset(self.0.saturating_add(delta))
    }

    /// How far this offset lies behind `base`; negative if it lies before it.
    pub const fn since(self, base: Offset) -> i64 {
        self.0 - base.0
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name($inner);

        impl $name {
            /// The first valid value.
            pub const ZERO: $name = $name(0);

            /// The value of a wire number; `None` for the protocol's negative sentinels.
            pub const fn from_wire(value: $inner) -> Option<$name> {
                if value >= 0 { Some($name(value)) } else { None }
            }

            /// The number as the wire and the disk carry it.
            pub const fn value(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A broker's `node.id`.
    BrokerId(i32)
);
number_id!(
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
);
number_id!(
    /// A partition leader's epoch: grows with every change of leadership.
    LeaderEpoch(i32)
);
number_id!(
    /// The epoch of a transaction coordinator: the leader epoch of its `__transaction_state` partition.
    CoordinatorEpoch(i32)
);
number_id!(
    /// A classic group's generation: grows by one with each completed join phase.
    GenerationId(i32)
);
number_id!(
    /// A consumer group's epoch (KIP-848): grows with every change of members, subscriptions or their topics.
    /// The assignment that was made for an epoch is known by it.
    GroupEpoch(i32)
);
number_id!(
    /// The epoch of the assignment that a member of a consumer group has been moved to (KIP-848).
    MemberEpoch(i32)
);
number_id!(
    /// The number that the broker gives a producer instance for idempotence and transactions.
    ProducerId(i64)
);
number_id!(
    /// A producer's epoch: a higher one fences the lower ones of the same producer id.
    ProducerEpoch(i16)
);
number_id!(
    /// A producer's record number in one partition; wraps to 0 after `i32::MAX`.
    Sequence(i32)
);

impl LeaderEpoch {
    /// The epoch after this one.
    pub const fn next(self) -> LeaderEpoch {
        LeaderEpoch(self.0 + 1)
    }
}

impl GenerationId {
    /// The generation after this one; wraps to 1 as Kafka does at the maximum.
    pub const fn next(self) -> GenerationId {
        if self.0 == i32::MAX { GenerationId(1) } else { GenerationId(self.0 + 1) }
    }
}

impl GroupEpoch {
    /// The epoch after this one; saturates.
    pub const fn next(self) -> GroupEpoch {
        GroupEpoch(self.0.saturating_add(1))
    }

    /// The epoch of members that are at this epoch's assignment.
    pub const fn of_members(self) -> MemberEpoch {
        MemberEpoch(self.0)
    }
}

impl MemberEpoch {
    /// The generation that this epoch is to members that speak the classic protocol.
    pub const fn as_generation(self) -> GenerationId {
        GenerationId(self.0)
    }
}

impl GenerationId {
    /// The epoch at which a classic group goes on as a consumer group.
    pub const fn as_group_epoch(self) -> GroupEpoch {
        GroupEpoch(self.0)
    }
}

impl ProducerId {
    /// The producer id after this one.
    pub const fn next(self) -> ProducerId {
        ProducerId(self.0 + 1)
    }
}

impl ProducerEpoch {
    /// The last value of the type, kept back so that the coordinator can always fence (Kafka's
    /// `TransactionMetadata.isEpochExhausted`).
    pub const MAX: ProducerEpoch = ProducerEpoch(i16::MAX);

    /// The epoch after this one, or `None` after the last.
    pub const fn next(self) -> Option<ProducerEpoch> {
        if self.0 == i16::MAX { None } else { Some(ProducerEpoch(self.0 + 1)) }
    }

    /// Whether no client may get a further epoch: 32766 is the last that a client uses, 32767 is
    /// the fence.
    pub const fn is_exhausted(self) -> bool {
        self.0 >= i16::MAX - 1
    }
}

impl Sequence {
    /// The sequence `count` records further on, wrapping to 0 after `i32::MAX`.
    pub const fn plus(self, count: i32) -> Sequence {
        assert!(count >= 0);
        if self.0 > i32::MAX - count {
            Sequence(count - (i32::MAX - self.0) - 1)
        } else {
            Sequence(self.0 + count)
        }
    }
}

/// A producer id with its epoch: the two always travel together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerIdent {
    /// The producer instance.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

impl fmt::Display for ProducerIdent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.id, self.epoch)
    }
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is; checking it is the caller's part.
            pub fn new(text: impl Into<Arc<str>>) -> $name {
                $name(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

string_id!(
    /// A topic's name.
    TopicName
);
string_id!(
    /// A consumer group's `group.id`.
    GroupId
);
string_id!(
    /// A group member's id, given by the broker.
    MemberId
);
string_id!(
    /// A static member's `group.instance.id` (KIP-345).
    GroupInstanceId
);
string_id!(
    /// A transactional producer's `transactional.id`.
    TransactionalId
);

/// A topic's unique id (KIP-516): a topic deleted and created again has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicId([u8; 16]);

impl TopicId {
    /// The id of these bytes; `None` for the all-zero id, which means "no id" on the wire.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<TopicId> {
        if bytes == [0; 16] { None } else { Some(TopicId(bytes)) }
    }

    /// The bytes as the wire carries them.
    pub const fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One partition of one topic, by the topic's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIdPartition {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition within it.
    pub partition: PartitionIndex,
}

/// One partition of one topic, by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: TopicName, partition: PartitionIndex) -> TopicPartition {
        TopicPartition { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// Java's `String.hashCode` over UTF-16 code units: places groups and transactional ids on
/// partitions as Kafka does (`Utils.abs(id.hashCode) % partitions`).
pub fn coordinator_partition(id: &str, partitions: i32) -> PartitionIndex {
    let hash = id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = if hash == i32::MIN { 0 } else { hash.abs() };
    PartitionIndex(positive % partitions.max(1))
}

#[cfg(test)]
mod tests;
