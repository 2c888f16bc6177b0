//! Records of `__transaction_state` in Kafka's own schemas, TransactionLogKey and TransactionLogValue.
//!
//! Key version 0; values are written in version 1 (flexible) and read in versions 0 and 1. Two
//! tagged fields of our own, with numbers far above Kafka's, hold what Kafka forgets; its readers
//! skip tags that they do not know. Bytes from the disk are hostile: every length is checked
//! against what is there before anything is allocated.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use crate::clock::Timestamp;
use crate::ids::{
    PartitionIndex, ProducerEpoch, ProducerId, ProducerIdent, TopicName, TopicPartition, TransactionalId,
};
use crate::wire::control_record::TransactionVersion;

use super::metadata::{TransactionMetadata, TransactionNumber, TransactionState};

const KEY_VERSION: i16 = 0;
const VALUE_VERSION_FIRST: i16 = 0;
const VALUE_VERSION: i16 = 1;

const TAG_PREVIOUS_PRODUCER_ID: u32 = 0;
const TAG_NEXT_PRODUCER_ID: u32 = 1;
const TAG_CLIENT_TRANSACTION_VERSION: u32 = 2;
const TAG_LAST_PRODUCER_EPOCH: u32 = 10_000;
const TAG_TRANSACTION_NUMBER: u32 = 10_001;

/// The longest transactional id that a key can hold: its length is an `int16`.
pub const TRANSACTIONAL_ID_BYTES_MAX: usize = i16::MAX as usize;

/// One record of `__transaction_state`; without metadata it is a tombstone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnRecord {
    /// The key.
    pub transactional_id: TransactionalId,
    /// The value.
    pub metadata: Option<TransactionMetadata>,
}

/// Why a record's bytes make no sense.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a field.
    #[error("the record ends inside {0}")]
    Truncated(&'static str),
    /// A field holds what it cannot.
    #[error("{field} cannot be {value}")]
    BadValue {
        /// Which field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// A string is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// The value has a version that is newer than this broker.
    #[error("transaction log values of version {0} are not known")]
    UnknownValueVersion(i16),
}

impl TxnRecord {
    /// Key and value as the log holds them.
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let id = self.transactional_id.as_str().as_bytes();
        assert!(id.len() <= TRANSACTIONAL_ID_BYTES_MAX);
        let mut key = BytesMut::with_capacity(4 + id.len());
        key.put_i16(KEY_VERSION);
        key.put_u16(u16::try_from(id.len()).expect("the length has just been checked"));
        key.put_slice(id);
        (key.freeze(), self.metadata.as_ref().map(encode_value))
    }

    /// The record of these bytes; `None` if the key's version is newer than we know, to be skipped.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Option<TxnRecord>, DecodeError> {
        let mut reader = Reader(key);
        if reader.i16("key version")? != KEY_VERSION {
            return Ok(None);
        }
        let length = reader.i16("transactional id")?;
        let length = usize::try_from(length)
            .map_err(|_| DecodeError::BadValue { field: "transactional id length", value: length.into() })?;
        let transactional_id = TransactionalId::new(reader.text(length, "transactional id")?);
        let metadata = value.map(decode_value).transpose()?;
        Ok(Some(TxnRecord { transactional_id, metadata }))
    }

    /// About how many bytes the record takes in a batch; never less than it does.
    pub fn estimated_bytes(&self) -> usize {
        const FIXED: usize = 128;
        let partitions = self.metadata.iter().flat_map(|metadata| &metadata.partitions);
        let partitions: usize = partitions.map(estimated_partition_bytes).sum();
        FIXED + self.transactional_id.as_str().len() + partitions
    }
}

/// About how many bytes a partition adds to a record; never less than it does.
pub fn estimated_partition_bytes(partition: &TopicPartition) -> usize {
    16 + partition.topic.as_str().len()
}

fn encode_value(metadata: &TransactionMetadata) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_i16(VALUE_VERSION);
    out.put_i64(metadata.producer.id.value());
    out.put_i16(metadata.producer.epoch.value());
    out.put_i32(metadata.timeout_ms);
    out.put_i8(metadata.state.id());
    put_partitions(&mut out, metadata);
    out.put_i64(metadata.last_update.ms());
    out.put_i64(metadata.start.map_or(-1, Timestamp::ms));
    put_tagged_fields(&mut out, metadata);
    out.freeze()
}

fn put_partitions(out: &mut BytesMut, metadata: &TransactionMetadata) {
    if metadata.state == TransactionState::Empty {
        put_unsigned_varint(out, 0);
        return;
    }
    let mut topics: BTreeMap<&TopicName, Vec<PartitionIndex>> = BTreeMap::new();
    for partition in &metadata.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    put_length(out, topics.len());
    for (topic, partitions) in topics {
        put_length(out, topic.as_str().len());
        out.put_slice(topic.as_str().as_bytes());
        put_length(out, partitions.len());
        partitions.iter().for_each(|partition| out.put_i32(partition.value()));
        put_unsigned_varint(out, 0);
    }
}

fn put_tagged_fields(out: &mut BytesMut, metadata: &TransactionMetadata) {
    let client_version: i16 = match metadata.version {
        TransactionVersion::V1 => 1,
        TransactionVersion::V2 => 2,
    };
    let fields = [
        metadata.previous_producer_id.map(|id| (TAG_PREVIOUS_PRODUCER_ID, id.value().to_be_bytes().to_vec())),
        metadata.next_producer_id.map(|id| (TAG_NEXT_PRODUCER_ID, id.value().to_be_bytes().to_vec())),
        Some((TAG_CLIENT_TRANSACTION_VERSION, client_version.to_be_bytes().to_vec())),
        metadata
            .last_producer_epoch
            .map(|last| (TAG_LAST_PRODUCER_EPOCH, last.value().to_be_bytes().to_vec())),
        (metadata.transaction != TransactionNumber::ZERO)
            .then(|| (TAG_TRANSACTION_NUMBER, metadata.transaction.value().to_be_bytes().to_vec())),
    ];
    put_unsigned_varint(out, fields.iter().flatten().count() as u32);
    for (tag, bytes) in fields.iter().flatten() {
        put_unsigned_varint(out, *tag);
        put_unsigned_varint(out, bytes.len() as u32);
        out.put_slice(bytes);
    }
}

/// A compact length: one more than the length, because 0 stands for null.
fn put_length(out: &mut BytesMut, length: usize) {
    let length = u32::try_from(length).ok().and_then(|length| length.checked_add(1));
    put_unsigned_varint(out, length.expect("a record's parts are bounded long before 4 GiB"));
}

fn put_unsigned_varint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn decode_value(bytes: &[u8]) -> Result<TransactionMetadata, DecodeError> {
    let mut reader = Reader(bytes);
    let layout = match reader.i16("value version")? {
        VALUE_VERSION_FIRST => Layout::Classic,
        VALUE_VERSION => Layout::Flexible,
        other => return Err(DecodeError::UnknownValueVersion(other)),
    };
    let producer = ProducerIdent {
        id: producer_id(reader.i64("producer id")?)?,
        epoch: producer_epoch(reader.i16("producer epoch")?)?,
    };
    let timeout_ms = reader.i32("transaction timeout")?;
    let state = reader.i8("transaction status")?;
    let state = TransactionState::from_id(state)
        .ok_or(DecodeError::BadValue { field: "transaction status", value: state.into() })?;
    let partitions = reader.partitions(layout)?;
    let last_update = Timestamp::from_ms(reader.i64("last update")?);
    let start = reader.i64("transaction start")?;
    let tagged = match layout {
        Layout::Classic => Tagged::default(),
        Layout::Flexible => reader.tagged_fields()?,
    };
    Ok(TransactionMetadata {
        producer,
        previous_producer_id: tagged.previous_producer_id,
        next_producer_id: tagged.next_producer_id,
        last_producer_epoch: tagged.last_producer_epoch,
        timeout_ms,
        state,
        partitions,
        start: (start >= 0).then(|| Timestamp::from_ms(start)),
        last_update,
        version: if tagged.client_version >= 2 { TransactionVersion::V2 } else { TransactionVersion::V1 },
        transaction: tagged.transaction,
    })
}

fn producer_id(value: i64) -> Result<ProducerId, DecodeError> {
    ProducerId::from_wire(value).ok_or(DecodeError::BadValue { field: "producer id", value })
}

fn producer_epoch(value: i16) -> Result<ProducerEpoch, DecodeError> {
    ProducerEpoch::from_wire(value)
        .ok_or(DecodeError::BadValue { field: "producer epoch", value: value.into() })
}

#[derive(Clone, Copy)]
enum Layout {
    Classic,
    Flexible,
}

#[derive(Default)]
struct Tagged {
    previous_producer_id: Option<ProducerId>,
    next_producer_id: Option<ProducerId>,
    client_version: i16,
    last_producer_epoch: Option<ProducerEpoch>,
    transaction: TransactionNumber,
}

/// Takes fields off the front of a record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated(field))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Truncated(field))?;
        self.0 = rest;
        Ok(*head)
    }

    fn i8(&mut self, field: &'static str) -> Result<i8, DecodeError> {
        self.array(field).map(i8::from_be_bytes)
    }

    fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.array(field).map(i16::from_be_bytes)
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.array(field).map(i32::from_be_bytes)
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.array(field).map(i64::from_be_bytes)
    }

    fn unsigned_varint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let mut value: u64 = 0;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| DecodeError::BadValue { field, value: value as i64 });
            }
        }
        Err(DecodeError::BadValue { field, value: value as i64 })
    }

    fn text(&mut self, length: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.take(length, field)?).map_err(|_| DecodeError::NotUtf8(field))
    }

    /// The length of an array or, with `bytes`, of a string; `None` is null.
    fn length(&mut self, layout: Layout, kind: Kind) -> Result<Option<usize>, DecodeError> {
        let field = kind.field();
        let length = match (layout, kind) {
            (Layout::Flexible, _) => i64::from(self.unsigned_varint(field)?) - 1,
            (Layout::Classic, Kind::Topic) => i64::from(self.i16(field)?),
            (Layout::Classic, Kind::Topics | Kind::Partitions) => i64::from(self.i32(field)?),
        };
        if length == -1 {
            return Ok(None);
        }
        usize::try_from(length).map(Some).map_err(|_| DecodeError::BadValue { field, value: length })
    }

    fn partitions(&mut self, layout: Layout) -> Result<BTreeSet<TopicPartition>, DecodeError> {
        let mut partitions = BTreeSet::new();
        // Nothing is allocated ahead of the bytes: a length that lies runs into the end.
        for _ in 0..self.length(layout, Kind::Topics)?.unwrap_or(0) {
            let length = self.length(layout, Kind::Topic)?;
            let length = length.ok_or(DecodeError::BadValue { field: "topic length", value: -1 })?;
            let topic = TopicName::new(self.text(length, "topic")?);
            for _ in 0..self.length(layout, Kind::Partitions)?.unwrap_or(0) {
                let value = self.i32("partition")?;
                let index = PartitionIndex::from_wire(value)
                    .ok_or(DecodeError::BadValue { field: "partition", value: value.into() })?;
                partitions.insert(TopicPartition::new(topic.clone(), index));
            }
            match layout {
                Layout::Classic => {}
                Layout::Flexible => self.skip_tagged_fields()?,
            }
        }
        Ok(partitions)
    }

    fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.unsigned_varint("tagged fields")? {
            self.tagged_field()?;
        }
        Ok(())
    }

    fn tagged_field(&mut self) -> Result<(u32, &'a [u8]), DecodeError> {
        let tag = self.unsigned_varint("tag")?;
        let length = self.unsigned_varint("tagged field length")?;
        let length = usize::try_from(length).map_err(|_| DecodeError::Truncated("tagged field"))?;
        Ok((tag, self.take(length, "tagged field")?))
    }

    fn tagged_fields(&mut self) -> Result<Tagged, DecodeError> {
        let mut tagged = Tagged::default();
        for _ in 0..self.unsigned_varint("tagged fields")? {
            let (tag, bytes) = self.tagged_field()?;
            let mut field = Reader(bytes);
            match tag {
                // Kafka may write its default, -1 for "none", out in full.
                TAG_PREVIOUS_PRODUCER_ID => {
                    tagged.previous_producer_id = ProducerId::from_wire(field.i64("previous producer id")?);
                }
                TAG_NEXT_PRODUCER_ID => {
                    tagged.next_producer_id = ProducerId::from_wire(field.i64("next producer id")?);
                }
                TAG_CLIENT_TRANSACTION_VERSION => {
                    tagged.client_version = field.i16("client transaction version")?;
                }
                TAG_LAST_PRODUCER_EPOCH => {
                    tagged.last_producer_epoch = ProducerEpoch::from_wire(field.i16("last producer epoch")?);
                }
                TAG_TRANSACTION_NUMBER => {
                    let value = field.i64("transaction number")?;
                    tagged.transaction = TransactionNumber::from_wire(value)
                        .ok_or(DecodeError::BadValue { field: "transaction number", value })?;
                }
                // A field of a newer writer: its schema lets older readers pass over it.
                _ => {}
            }
        }
        Ok(tagged)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Topics,
    Topic,
    Partitions,
}

impl Kind {
    const fn field(self) -> &'static str {
        match self {
            Kind::Topics => "transaction partitions",
            Kind::Topic => "topic length",
            Kind::Partitions => "partition ids",
        }
    }
}

#[cfg(test)]
mod tests;
