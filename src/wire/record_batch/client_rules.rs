//! What a batch must satisfy to be appended for a client (Kafka's `LogValidator`).
//!
//! The hot path of Produce: one pass over the varints of an uncompressed batch, no allocation.

use super::records::Framed;
use super::{BatchError, Compression, RecordBatch, TimestampType};
use crate::wire::varint::ByteReader;

/// A record without a timestamp.
const NO_TIMESTAMP: i64 = -1;

/// Whether records must have keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KeyRule {
    /// Any record may go without.
    #[default]
    Optional,
    /// The topic is compacted: a record without a key could never be replaced.
    Required,
}

/// Whether zstd may be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZstdRule {
    /// Produce v7 and newer.
    #[default]
    Allowed,
    /// Older versions, whose clients' peers may not know it (KIP-110).
    Refused,
}

/// The rules of a topic and of the request's version.
#[derive(Clone, Debug)]
pub struct ClientRules {
    /// The largest batch as sent: `max.message.bytes`.
    pub batch_bytes_max: usize,
    /// The most that a batch may decompress to.
    pub decompressed_bytes_max: usize,
    /// Whether records must have keys.
    pub keys: KeyRule,
    /// Whether zstd may be used.
    pub zstd: ZstdRule,
    /// The earliest timestamp that a record may have (`message.timestamp.before.max.ms`).
    pub timestamp_earliest: i64,
    /// The latest timestamp that a record may have (`message.timestamp.after.max.ms`).
    pub timestamp_latest: i64,
}

impl Default for ClientRules {
    fn default() -> ClientRules {
        ClientRules {
            batch_bytes_max: 1_048_588,
            decompressed_bytes_max: 64 << 20,
            keys: KeyRule::Optional,
            zstd: ZstdRule::Allowed,
            timestamp_earliest: i64::MIN,
            timestamp_latest: i64::MAX,
        }
    }
}

/// What the pass over the records found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientCheck {
    /// The largest timestamp of the records. Where the header says another,
    /// `RecordBatch::with_max_timestamp` puts it right, as Kafka's `LogValidator` does.
    pub max_timestamp: i64,
}

impl RecordBatch {
    /// What a Produce request must satisfy, counting and checking each record's framing. Says why
    /// not.
    pub fn check_from_client(&self, rules: &ClientRules) -> Result<ClientCheck, BatchError> {
        self.check_header_from_client(rules)?;
        match self.header().compression {
            Compression::None => self.check_records(&self.bytes()[super::HEADER_BYTES..], rules),
            Compression::Gzip | Compression::Snappy | Compression::Lz4 | Compression::Zstd => {
                let records = self.records(rules.decompressed_bytes_max)?;
                self.check_records(records.bytes(), rules)
            }
        }
    }

    fn check_header_from_client(&self, rules: &ClientRules) -> Result<(), BatchError> {
        let header = self.header();
        if header.batch_bytes > rules.batch_bytes_max {
            return Err(BatchError::TooLarge { bytes: header.batch_bytes, max_bytes: rules.batch_bytes_max });
        }
        if header.compression == Compression::Zstd && rules.zstd == ZstdRule::Refused {
            return Err(BatchError::CompressionNotAllowed(Compression::Zstd));
        }
        if header.timestamp_type == TimestampType::LogAppendTime {
            return Err(BatchError::AppendTimeFromClient);
        }
        if header.base_offset.value() != 0 {
            return Err(BatchError::Header("a client's batch must have base offset 0"));
        }
        if header.is_control {
            return Err(BatchError::Header("clients may not send control batches"));
        }
        if header.has_delete_horizon {
            return Err(BatchError::Header("clients may not send a delete horizon"));
        }
        if header.record_count == 0 {
            return Err(BatchError::Header("a client's batch must have records"));
        }
        if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 {
            return Err(BatchError::Header("the record count disagrees with the last offset delta"));
        }
        match header.producer {
            Some(producer) if producer.base_sequence.is_none() => {
                Err(BatchError::Header("an idempotent producer's batch must have a base sequence"))
            }
            None if header.is_transactional => {
                Err(BatchError::Header("a transactional batch must have a producer id"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_records(&self, region: &[u8], rules: &ClientRules) -> Result<ClientCheck, BatchError> {
        let header = self.header();
        let mut reader = ByteReader::new(region);
        let mut max_timestamp = NO_TIMESTAMP;
        for index in 0..header.record_count {
            let record = Framed::read(&mut reader).map_err(|reason| BatchError::Record { index, reason })?;
            if record.offset_delta != index {
                return Err(BatchError::Record { index, reason: "the offset deltas are not contiguous" });
            }
            if record.key.is_none() && rules.keys == KeyRule::Required {
                return Err(BatchError::Record {
                    index,
                    reason: "a compacted topic's record must have a key",
                });
            }
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            let in_range = (rules.timestamp_earliest..=rules.timestamp_latest).contains(&timestamp);
            if !in_range && timestamp != NO_TIMESTAMP {
                return Err(BatchError::TimestampOutOfRange {
                    index,
                    timestamp,
                    earliest: rules.timestamp_earliest,
                    latest: rules.timestamp_latest,
                });
            }
            max_timestamp = max_timestamp.max(timestamp);
        }
        if !reader.is_empty() {
            return Err(BatchError::Header("there are more bytes than records"));
        }
        Ok(ClientCheck { max_timestamp })
    }
}

#[cfg(test)]
mod tests;
