//! A checked batch: its bytes, with the header parsed and the CRC verified.

use bytes::{Bytes, BytesMut};

use super::header::{self, TIMESTAMP_TYPE_BIT};
use super::{
    ATTRIBUTES_AT, BatchError, BatchHeader, CRC_AT, HEADER_BYTES, LEADER_EPOCH_AT, MAGIC, MAGIC_AT,
    MAX_TIMESTAMP_AT, Records, TimestampType,
};
use crate::clock::Timestamp;
use crate::ids::{LeaderEpoch, Offset};

/// One record batch v2 whose length, magic and CRC are right. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes exactly one batch that fills `bytes`.
    pub fn check(bytes: Bytes) -> Result<RecordBatch, BatchError> {
        if bytes.is_empty() {
            return Err(BatchError::NotOneBatch);
        }
        let batch_bytes = first_batch_bytes(&bytes)?;
        if batch_bytes < bytes.len() {
            return Err(BatchError::NotOneBatch);
        }
        RecordBatch::checked(bytes)
    }

    /// Splits one batch off the front of a run of batches. `None`, with `bytes` as they were, if
    /// they are empty or hold only the beginning of a batch, as the end of a fetch response may.
    pub fn take_first(bytes: &mut Bytes) -> Result<Option<RecordBatch>, BatchError> {
        let batch_bytes = match first_batch_bytes(bytes) {
            Ok(batch_bytes) => batch_bytes,
            Err(BatchError::Truncated { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let batch = RecordBatch::checked(bytes.slice(..batch_bytes))?;
        *bytes = bytes.slice(batch_bytes..);
        Ok(Some(batch))
    }

    /// `bytes` hold one whole batch by its length field: what is left to check is the content.
    fn checked(bytes: Bytes) -> Result<RecordBatch, BatchError> {
        let fixed = fixed_part(&bytes)?;
        let magic = fixed[MAGIC_AT] as i8;
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let stored =
            u32::from_be_bytes([fixed[CRC_AT], fixed[CRC_AT + 1], fixed[CRC_AT + 2], fixed[CRC_AT + 3]]);
        let computed = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
        if stored != computed {
            return Err(BatchError::Crc { stored, computed });
        }
        Ok(RecordBatch { header: BatchHeader::parse(&bytes)?, bytes })
    }

    /// A batch that this process has just built.
    pub(super) fn trusted(bytes: Bytes) -> RecordBatch {
        let header = BatchHeader::parse(&bytes).expect("the builder writes valid headers");
        assert_eq!(header.batch_bytes, bytes.len());
        RecordBatch { header, bytes }
    }

    /// The header as it was parsed.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The records region as it is: compressed, if the batch is.
    pub fn records_region(&self) -> Bytes {
        self.bytes.slice(HEADER_BYTES..)
    }

    /// Header bytes with base offset and leader epoch stamped (both lie outside the CRC); the rest
    /// of the batch follows verbatim.
    pub fn stamped_header(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; HEADER_BYTES] {
        let mut header = self.header_bytes();
        header[..8].copy_from_slice(&base_offset.value().to_be_bytes());
        header[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&leader_epoch.value().to_be_bytes());
        header
    }

    /// The same batch at another base offset and leader epoch, in one piece.
    pub fn stamped(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> RecordBatch {
        let stamped = self.stamped_header(base_offset, leader_epoch);
        self.with_header(stamped)
    }

    /// The same batch with the broker's time: timestamp type `LogAppendTime`, max timestamp `now`,
    /// and a new CRC.
    pub fn with_log_append_time(&self, now: Timestamp) -> RecordBatch {
        let mut header = self.header_bytes();
        let attributes = self.attributes() | TIMESTAMP_TYPE_BIT;
        header[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        header[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now.ms().to_be_bytes());
        self.with_header(self.rehashed(header))
    }

    /// The same batch with another max timestamp and a new CRC: for clients whose header disagrees
    /// with their records, which Kafka's `LogValidator` corrects too.
    pub fn with_max_timestamp(&self, max_timestamp: i64) -> RecordBatch {
        let mut header = self.header_bytes();
        header[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
        self.with_header(self.rehashed(header))
    }

    /// The records, decompressed once if they are compressed, to at most `decompressed_bytes_max`.
    pub fn records(&self, decompressed_bytes_max: usize) -> Result<Records, BatchError> {
        let region = self.records_region();
        // Compaction may leave a header without records, whatever codec it names.
        let empty = self.header.record_count == 0 && region.is_empty();
        let bytes = if empty {
            region
        } else {
            self.header.compression.decompress(&region, decompressed_bytes_max)?
        };
        Ok(Records::new(&self.header, bytes))
    }

    /// The timestamp that overrides the records' own, if the broker set the time.
    pub fn log_append_time(&self) -> Option<Timestamp> {
        match self.header.timestamp_type {
            TimestampType::CreateTime => None,
            TimestampType::LogAppendTime => Some(Timestamp::from_ms(self.header.max_timestamp)),
        }
    }

    pub(super) fn attributes(&self) -> i16 {
        let header = self.header_bytes();
        i16::from_be_bytes([header[ATTRIBUTES_AT], header[ATTRIBUTES_AT + 1]])
    }

    pub(super) fn header_bytes(&self) -> [u8; HEADER_BYTES] {
        *self.bytes.first_chunk().expect("a checked batch has a whole header")
    }

    fn rehashed(&self, mut header: [u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
        let crc = crc32c::crc32c(&header[ATTRIBUTES_AT..]);
        let crc = crc32c::crc32c_append(crc, &self.bytes[HEADER_BYTES..]);
        header[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        header
    }

    fn with_header(&self, header: [u8; HEADER_BYTES]) -> RecordBatch {
        let mut bytes = BytesMut::with_capacity(self.bytes.len());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&self.bytes[HEADER_BYTES..]);
        let header = BatchHeader::parse(&header).expect("only valid fields were put in");
        RecordBatch { header, bytes: bytes.freeze() }
    }
}

fn fixed_part(bytes: &[u8]) -> Result<&[u8; HEADER_BYTES], BatchError> {
    bytes.first_chunk().ok_or(BatchError::Truncated { needed: HEADER_BYTES, got: bytes.len() })
}

/// How many bytes the first batch takes, all of which are there.
fn first_batch_bytes(bytes: &[u8]) -> Result<usize, BatchError> {
    // The formats before v2 have their magic at the same place, but may be shorter than a header.
    if let Some(&magic @ (0 | 1)) = bytes.get(MAGIC_AT) {
        return Err(BatchError::Magic(magic as i8));
    }
    let needed = header::batch_bytes(fixed_part(bytes)?)?;
    if needed > bytes.len() {
        return Err(BatchError::Truncated { needed, got: bytes.len() });
    }
    Ok(needed)
}
