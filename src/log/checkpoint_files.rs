//! Kafka's checkpoint files: text of a version, a count, and one line for each entry. Used for
//! `recovery-point-offset-checkpoint`, `log-start-offset-checkpoint`, `cleaner-offset-checkpoint` and
//! `replication-offset-checkpoint` of a data directory, and for a log's `leader-epoch-checkpoint`.
//! Replaced as a whole, never patched.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::LogError;
use crate::disk::Disk;
use crate::ids::{LeaderEpoch, Offset, PartitionIndex, TopicName, TopicPartition};

/// Up to where each log is durable in its own files.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// Where each log starts.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// Each partition's high watermark.
pub const REPLICATION_CHECKPOINT: &str = "replication-offset-checkpoint";
/// Up to where each log is compacted.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";

const VERSION: &str = "0";

/// Reads a checkpoint of offsets; a missing file has no entries.
pub fn read_offsets(disk: &Disk, path: &str) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
    let Some(text) = read_text(disk, path)? else { return Ok(BTreeMap::new()) };
    parse_offsets(path, &text)
}

/// The entries of a checkpoint of offsets; `path` is for messages.
pub fn parse_offsets(path: &str, text: &str) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
    let mut offsets = BTreeMap::new();
    for line in entries(path, text)? {
        let (partition, offset) = parse_offset(line).ok_or_else(|| bad_line(path, line))?;
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

/// Replaces a checkpoint of offsets, durably.
pub fn write_offsets(
    disk: &Disk,
    path: &str,
    offsets: &BTreeMap<TopicPartition, Offset>,
) -> Result<(), LogError> {
    let mut text = format!("{VERSION}\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    Ok(disk.write_atomically(path, text.as_bytes())?)
}

/// Reads a `leader-epoch-checkpoint`; `None` if there is no such file.
pub(super) fn read_epochs(disk: &Disk, path: &str) -> Result<Option<Vec<(LeaderEpoch, Offset)>>, LogError> {
    let Some(text) = read_text(disk, path)? else { return Ok(None) };
    let mut epochs = Vec::new();
    for line in entries(path, &text)? {
        epochs.push(parse_epoch(line).ok_or_else(|| bad_line(path, line))?);
    }
    Ok(Some(epochs))
}

/// Replaces a `leader-epoch-checkpoint`, durably.
pub(super) fn write_epochs(
    disk: &Disk,
    path: &str,
    epochs: &[(LeaderEpoch, Offset)],
) -> Result<(), LogError> {
    let mut text = format!("{VERSION}\n{}\n", epochs.len());
    for (epoch, start_offset) in epochs {
        let _ = writeln!(text, "{epoch} {start_offset}");
    }
    Ok(disk.write_atomically(path, text.as_bytes())?)
}

fn read_text(disk: &Disk, path: &str) -> Result<Option<String>, LogError> {
    let bytes = match disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(corrupt(path, "it is not text".to_owned())),
    }
}

/// The lines after version and count, which must be as many as the count says.
fn entries<'a>(path: &str, text: &'a str) -> Result<Vec<&'a str>, LogError> {
    let mut lines = text.lines();
    match lines.next() {
        Some(VERSION) => {}
        version => return Err(corrupt(path, format!("its version is {version:?}, not {VERSION:?}"))),
    }
    let count = lines.next().and_then(|line| line.trim().parse::<usize>().ok());
    let entries: Vec<&str> = lines.collect();
    match count {
        Some(count) if count == entries.len() => Ok(entries),
        Some(_) | None => Err(corrupt(path, format!("it holds {} entries, not {count:?}", entries.len()))),
    }
}

fn parse_offset(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut words = line.split_ascii_whitespace();
    let topic = TopicName::new(words.next()?);
    let partition = PartitionIndex::from_wire(words.next()?.parse().ok()?)?;
    let offset = Offset::from_wire(words.next()?.parse().ok()?)?;
    words.next().is_none().then(|| (TopicPartition::new(topic, partition), offset))
}

fn parse_epoch(line: &str) -> Option<(LeaderEpoch, Offset)> {
    let mut words = line.split_ascii_whitespace();
    let epoch = LeaderEpoch::from_wire(words.next()?.parse().ok()?)?;
    let offset = Offset::from_wire(words.next()?.parse().ok()?)?;
    words.next().is_none().then_some((epoch, offset))
}

fn bad_line(path: &str, line: &str) -> LogError {
    corrupt(path, format!("its line {line:?} is malformed"))
}

fn corrupt(path: &str, detail: String) -> LogError {
    LogError::Corrupt { path: path.to_owned(), detail }
}

#[cfg(test)]
mod tests;
