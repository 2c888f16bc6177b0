//! The 61 bytes before a batch's records, parsed. Reads only; stamping is `RecordBatch`'s part.

use super::{BatchError, Compression, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC};
use crate::clock::Timestamp;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, ProducerIdent, Sequence};
use crate::wire::varint::ByteReader;

pub(super) const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
pub(super) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(super) const CONTROL_BIT: i16 = 1 << 5;
pub(super) const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// Who sets the timestamps of a batch's records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TimestampType {
    /// The producer: each record has its own.
    #[default]
    CreateTime,
    /// The broker, at the append: all records have the batch's max timestamp.
    LogAppendTime,
}

/// The idempotent producer of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BatchProducer {
    /// The producer id and its epoch.
    pub ident: ProducerIdent,
    /// The sequence of the first record; markers and transactional offset commits carry none.
    pub base_sequence: Option<Sequence>,
}

/// A batch's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// The offset of the batch's first record (before compaction).
    pub base_offset: Offset,
    /// Bytes of the whole batch, base offset and length field included.
    pub batch_bytes: usize,
    /// The epoch of the leader that appended it; none before an append.
    pub leader_epoch: Option<LeaderEpoch>,
    /// CRC-32C of everything after the CRC field.
    pub crc: u32,
    /// The codec of the records.
    pub compression: Compression,
    /// Who sets the records' timestamps.
    pub timestamp_type: TimestampType,
    /// Whether the records belong to a transaction.
    pub is_transactional: bool,
    /// Whether the records are control records, which no client sees.
    pub is_control: bool,
    /// Whether the base timestamp holds the time after which compaction may drop tombstones
    /// (KIP-534).
    pub has_delete_horizon: bool,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are relative to.
    pub base_timestamp: i64,
    /// The largest timestamp in the batch; -1 if no record has one.
    pub max_timestamp: i64,
    /// The producer, if it is idempotent.
    pub producer: Option<BatchProducer>,
    /// How many records the batch says it has; compaction may leave 0.
    pub record_count: i32,
}

impl BatchHeader {
    /// Whether the batch is its producer's own, with sequences that count: data, also if nothing is left of
    /// it. Markers have no sequence.
    pub fn is_producers_own(&self) -> bool {
        let is_emptied = self.record_count == 0 && self.producer.is_some_and(|p| p.base_sequence.is_some());
        !self.is_control || is_emptied
    }

    /// Parses the first `HEADER_BYTES` of `bytes`. Does not look at what follows, so neither the
    /// CRC nor the presence of the whole batch is checked.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(BatchError::Truncated { needed: HEADER_BYTES, got: bytes.len() })?;
        let batch_bytes = batch_bytes(header)?;
        let fields = RawFields::read(header).expect("the array has room for every field");
        if fields.magic != MAGIC {
            return Err(BatchError::Magic(fields.magic));
        }
        fields.into_header(batch_bytes)
    }

    /// The moment from which compaction may drop the batch's tombstones, or its marker, if a pass has
    /// set one (KIP-534).
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.has_delete_horizon.then(|| Timestamp::from_ms(self.base_timestamp))
    }

    /// The offset of the batch's last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The sequence of the batch's last record, if the batch carries sequences.
    pub fn last_sequence(&self) -> Option<Sequence> {
        let base = self.producer?.base_sequence?;
        Some(base.plus(self.last_offset_delta))
    }
}

/// The whole batch's size by its length field.
pub(super) fn batch_bytes(header: &[u8; HEADER_BYTES]) -> Result<usize, BatchError> {
    let length = i32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let counted = usize::try_from(length).map_err(|_| BatchError::BadLength(length))?;
    if counted < HEADER_BYTES - LOG_OVERHEAD_BYTES {
        return Err(BatchError::BadLength(length));
    }
    Ok(counted + LOG_OVERHEAD_BYTES)
}

/// The fields as they stand, with the wire's sentinels still in.
struct RawFields {
    base_offset: i64,
    leader_epoch: i32,
    magic: i8,
    crc: u32,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    record_count: i32,
}

impl RawFields {
    fn read(header: &[u8; HEADER_BYTES]) -> Option<RawFields> {
        let mut reader = ByteReader::new(header);
        let base_offset = reader.i64()?;
        let _length = reader.i32()?;
        Some(RawFields {
            base_offset,
            leader_epoch: reader.i32()?,
            magic: reader.i8()?,
            crc: reader.u32()?,
            attributes: reader.i16()?,
            last_offset_delta: reader.i32()?,
            base_timestamp: reader.i64()?,
            max_timestamp: reader.i64()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            base_sequence: reader.i32()?,
            record_count: reader.i32()?,
        })
    }

    fn into_header(self, batch_bytes: usize) -> Result<BatchHeader, BatchError> {
        let base_offset =
            Offset::from_wire(self.base_offset).ok_or(BatchError::Header("the base offset is negative"))?;
        if self.last_offset_delta < 0 {
            return Err(BatchError::Header("the last offset delta is negative"));
        }
        if self.base_offset > i64::MAX - i64::from(self.last_offset_delta) - 1 {
            return Err(BatchError::Header("the last offset is beyond the largest offset"));
        }
        if self.record_count < 0 {
            return Err(BatchError::Header("the record count is negative"));
        }
        if i64::from(self.record_count) > i64::from(self.last_offset_delta) + 1 {
            return Err(BatchError::Header("there are more records than offsets"));
        }
        let append_time = self.attributes & TIMESTAMP_TYPE_BIT != 0;
        Ok(BatchHeader {
            base_offset,
            batch_bytes,
            leader_epoch: LeaderEpoch::from_wire(self.leader_epoch),
            crc: self.crc,
            compression: Compression::from_attributes(self.attributes)?,
            timestamp_type: if append_time {
                TimestampType::LogAppendTime
            } else {
                TimestampType::CreateTime
            },
            is_transactional: self.attributes & TRANSACTIONAL_BIT != 0,
            is_control: self.attributes & CONTROL_BIT != 0,
            has_delete_horizon: self.attributes & DELETE_HORIZON_BIT != 0,
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer: self.producer()?,
            record_count: self.record_count,
        })
    }

    fn producer(&self) -> Result<Option<BatchProducer>, BatchError> {
        let Some(id) = ProducerId::from_wire(self.producer_id) else {
            return Ok(None);
        };
        let epoch = ProducerEpoch::from_wire(self.producer_epoch)
            .ok_or(BatchError::Header("a producer id comes with a negative producer epoch"))?;
        let base_sequence = Sequence::from_wire(self.base_sequence);
        Ok(Some(BatchProducer { ident: ProducerIdent { id, epoch }, base_sequence }))
    }
}
