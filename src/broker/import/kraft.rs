//! What a Kafka broker's metadata log (KRaft) says of topics: their own settings, and which producer ids
//! were given out. Reads the newest snapshot and the log behind it; nothing else of them is understood.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::ImportError;
use crate::ids::TopicId;
use crate::metadata::store::METADATA_DIRECTORY;
use crate::wire::record_batch::RecordBatch;
use crate::wire::varint::ByteReader;

/// Kafka's numbers of the records that matter here (`metadata/src/main/resources/common/metadata`).
const TOPIC_RECORD: u32 = 2;
const CONFIG_RECORD: u32 = 4;
const REMOVE_TOPIC_RECORD: u32 = 9;
const PRODUCER_IDS_RECORD: u32 = 15;
/// `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;
/// The frame that each record's value begins with (`MetadataRecordSerde`).
const FRAME_VERSION: u32 = 1;

const BATCH_DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// What is known of a Kafka broker's topics beside their files.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct KraftMetadata {
    names: BTreeMap<TopicId, String>,
    configs: BTreeMap<String, BTreeMap<String, String>>,
    /// The first producer id that Kafka has not given out.
    pub(super) next_producer_id: i64,
}

/// How a file ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// With a whole batch.
    Whole,
    /// Perhaps in the middle of one: what was decided there was never promised.
    MayBeTorn,
}

impl KraftMetadata {
    /// Reads the metadata log of a Kafka log directory; `None` if it holds none.
    pub(super) fn of_log_directory(directory: &Path) -> Result<Option<KraftMetadata>, ImportError> {
        let directory = directory.join(METADATA_DIRECTORY);
        if !directory.is_dir() {
            return Ok(None);
        }
        let mut metadata = KraftMetadata::default();
        let files = files_in_order(&directory)?;
        for (number, path) in (1..).zip(&files) {
            let bytes = fs::read(path).map_err(|error| ImportError::io("read", path, error))?;
            let end = if number == files.len() { End::MayBeTorn } else { End::Whole };
            metadata.apply_file(Bytes::from(bytes), end).map_err(|reason| ImportError::Damaged {
                path: path.display().to_string(),
                reason: format!("Kafka's metadata cannot be read: {reason}"),
            })?;
        }
        Ok(Some(metadata))
    }

    /// The settings that the topic's owner has made.
    pub(super) fn configs_of(&self, topic: &str) -> BTreeMap<String, String> {
        self.configs.get(topic).cloned().unwrap_or_default()
    }

    fn apply_file(&mut self, mut bytes: Bytes, end: End) -> Result<(), String> {
        loop {
            let batch = match (RecordBatch::take_first(&mut bytes), end) {
                (Ok(Some(batch)), _) => batch,
                (Ok(None) | Err(_), End::MayBeTorn) => return Ok(()),
                (Ok(None), End::Whole) if bytes.is_empty() => return Ok(()),
                (Ok(None), End::Whole) => return Err("it ends in the middle of a batch".to_owned()),
                (Err(error), End::Whole) => return Err(error.to_string()),
            };
            if batch.header().is_control {
                continue;
            }
            let records = batch.records(BATCH_DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())?;
            for record in records.iter() {
                let record = record.map_err(|error| error.to_string())?;
                if let Some(value) = record.value {
                    self.apply(value).ok_or_else(|| format!("record {} is malformed", record.offset))?;
                }
            }
        }
    }

    /// `None` for what is no record.
    fn apply(&mut self, value: &[u8]) -> Option<()> {
        let mut fields = ByteReader::new(value);
        if fields.unsigned_varint()? != FRAME_VERSION {
            return None;
        }
        let kind = fields.unsigned_varint()?;
        let _version = fields.unsigned_varint()?;
        match kind {
            TOPIC_RECORD => {
                let name = compact_string(&mut fields)??;
                if let Some(id) = TopicId::from_bytes(fields.array()?) {
                    self.names.insert(id, name);
                }
            }
            CONFIG_RECORD => {
                let resource = fields.i8()?;
                let name = compact_string(&mut fields)??;
                let key = compact_string(&mut fields)??;
                let setting = compact_string(&mut fields)?;
                if resource == TOPIC_RESOURCE {
                    let configs = self.configs.entry(name).or_default();
                    match setting {
                        Some(setting) => configs.insert(key, setting),
                        None => configs.remove(&key),
                    };
                }
            }
            REMOVE_TOPIC_RECORD => {
                if let Some(name) = TopicId::from_bytes(fields.array()?).and_then(|id| self.names.remove(&id))
                {
                    self.configs.remove(&name);
                }
            }
            PRODUCER_IDS_RECORD => {
                let _broker = fields.i32()?;
                let _broker_epoch = fields.i64()?;
                self.next_producer_id = self.next_producer_id.max(fields.i64()?);
            }
            _ => {}
        }
        Some(())
    }
}

/// The newest snapshot, and the segments of the log; a record that is in both says the same twice.
fn files_in_order(directory: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let mut snapshots = Vec::new();
    let mut segments = Vec::new();
    for name in super::source::names_in(directory)? {
        match name.rsplit_once('.') {
            Some((_, "checkpoint")) => snapshots.push(directory.join(name)),
            Some((_, "log")) => segments.push(directory.join(name)),
            Some(_) | None => {}
        }
    }
    // Names begin with offsets of twenty digits.
    snapshots.sort();
    segments.sort();
    Ok(snapshots.pop().into_iter().chain(segments).collect())
}

/// The outer `None` is no string, the inner one null.
fn compact_string(fields: &mut ByteReader<'_>) -> Option<Option<String>> {
    let Some(length) = fields.unsigned_varint()?.checked_sub(1) else { return Some(None) };
    let text = fields.take(usize::try_from(length).ok()?)?;
    String::from_utf8(text.to_vec()).ok().map(Some)
}

#[cfg(test)]
mod tests;
