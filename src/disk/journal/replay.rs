//! Replay at open: physical redo of every entry from the last checkpoint on, in order, up to the
//! first that is torn, stale or missing.
//!
//! A `create` makes the file anew; an append to a file that is gone is skipped: whatever removed
//! the file made a checkpoint first if it had to.

use std::collections::BTreeMap;

use crate::disk::path::{JOURNAL_DIRECTORY, parent};
use crate::disk::raw::{RawFile, RawFiles};
use crate::disk::{DiskError, JournalReplay, OpenMode};

use super::entry::{self, Entry, ReadChange};
use super::writer::file_path;

/// Holds the first sequence to replay, with its CRC-32C.
const REPLAY_FROM: &str = "journal/replay-from";
const REPLAY_FROM_NEW: &str = "journal/replay-from.new";
/// The sequence of a data directory's first entry.
const FIRST_SEQUENCE: u64 = 1;
const SUFFIX: &str = ".journal";

/// What replay found.
#[derive(Debug, Default)]
pub(in crate::disk) struct Replayed {
    pub(in crate::disk) report: JournalReplay,
    /// The last sequence that was ever given, as far as the journal knows.
    pub(in crate::disk) last_sequence: u64,
    /// A file number that none has had.
    pub(in crate::disk) next_file: u64,
}

/// Writes again what may not have reached its files, syncs it, and empties the journal.
pub(in crate::disk) fn replay(raw: &RawFiles) -> Result<Replayed, DiskError> {
    let replay_from = read_replay_from(raw)?;
    let numbers = journal_files(raw)?;
    let mut redo = Redo { raw, files: BTreeMap::new(), report: JournalReplay::default() };
    // Entries follow each other without gaps. Before the first of interest there may be any, of
    // files that wait to be recycled.
    let mut expected = replay_from;
    for number in &numbers {
        for entry in read_file(raw, *number)? {
            if entry.sequence == expected {
                redo.entry(&entry)?;
                expected += 1;
            }
        }
    }
    let report = redo.finish()?;
    let last_sequence = expected - 1;
    write_replay_from(raw, last_sequence + 1)?;
    for number in &numbers {
        let path = file_path(*number);
        raw.remove_file(&path).map_err(|error| DiskError::from_io("remove", &path, error))?;
    }
    let next_file = numbers.last().map_or(1, |number| number + 1);
    Ok(Replayed { report, last_sequence, next_file })
}

/// Notes durably that entries before `replay_from` need not be replayed.
pub(super) fn write_replay_from(raw: &RawFiles, replay_from: u64) -> Result<(), DiskError> {
    let number = replay_from.to_be_bytes();
    let mut bytes = number.to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&number).to_be_bytes());
    write_atomically(raw, REPLAY_FROM_NEW, REPLAY_FROM, &bytes)
}

/// Writes beside, syncs, renames, syncs the directory.
pub(in crate::disk) fn write_atomically(
    raw: &RawFiles,
    beside: &str,
    path: &str,
    bytes: &[u8],
) -> Result<(), DiskError> {
    let failed = |operation| move |error| DiskError::from_io(operation, path, error);
    let (file, _) = raw.open(beside, OpenMode::Create).map_err(failed("create"))?;
    file.truncate(0).map_err(failed("write"))?;
    file.write_at(0, bytes).map_err(failed("write"))?;
    file.sync_data().map_err(failed("fsync"))?;
    raw.rename(beside, path).map_err(failed("rename"))?;
    raw.sync_dir(parent(path)).map_err(failed("fsync the directory of"))
}

fn read_replay_from(raw: &RawFiles) -> Result<u64, DiskError> {
    let failed = |error| DiskError::from_io("read", REPLAY_FROM, error);
    if !raw.exists(REPLAY_FROM).map_err(failed)? {
        return Ok(FIRST_SEQUENCE);
    }
    let (file, _) = raw.open(REPLAY_FROM, OpenMode::Read).map_err(failed)?;
    let mut bytes = [0; 12];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    let (number, crc) = bytes.split_at(8);
    if read != bytes.len() || crc32c::crc32c(number).to_be_bytes() != *crc {
        let detail = "its checksum is wrong; it says from where the journal is replayed".to_owned();
        return Err(DiskError::Corrupt { path: REPLAY_FROM.to_owned(), detail });
    }
    Ok(number.first_chunk().map_or(FIRST_SEQUENCE, |number| u64::from_be_bytes(*number).max(FIRST_SEQUENCE)))
}

fn journal_files(raw: &RawFiles) -> Result<Vec<u64>, DiskError> {
    let entries =
        raw.list(JOURNAL_DIRECTORY).map_err(|error| DiskError::from_io("list", JOURNAL_DIRECTORY, error))?;
    let number = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok();
    let mut numbers: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn read_file(raw: &RawFiles, number: u64) -> Result<Vec<Entry>, DiskError> {
    let path = file_path(number);
    let failed = |error| DiskError::from_io("read", &path, error);
    let (file, _) = raw.open(&path, OpenMode::Read).map_err(failed)?;
    let length = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    bytes.truncate(read);
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while let Some((entry, whole)) = entry::decode(rest, number) {
        entries.push(entry);
        rest = rest.get(whole..).unwrap_or(&[]);
    }
    Ok(entries)
}

/// The files that replay has touched; `None` for those that are gone.
struct Redo<'a> {
    raw: &'a RawFiles,
    files: BTreeMap<String, Option<RawFile>>,
    report: JournalReplay,
}

impl Redo<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<(), DiskError> {
        let path = &entry.path;
        let failed = |error| DiskError::from_io("replay", path, error);
        self.report.entries += 1;
        match &entry.change {
            ReadChange::Create => {
                self.make_directories(parent(path))?;
                let (file, _) = self.raw.open(path, OpenMode::Create).map_err(failed)?;
                file.truncate(0).map_err(failed)?;
                self.files.insert(path.clone(), Some(file));
            }
            ReadChange::Append { position, bytes } => {
                if let Some(file) = self.file(path)? {
                    file.write_at(*position, bytes).map_err(failed)?;
                    self.report.bytes += bytes.len() as u64;
                }
            }
            ReadChange::Truncate { len } => {
                if let Some(file) = self.file(path)? {
                    file.truncate(*len).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str) -> Result<Option<&RawFile>, DiskError> {
        if !self.files.contains_key(path) {
            let failed = |error| DiskError::from_io("replay", path, error);
            let file = match self.raw.exists(path).map_err(failed)? {
                true => Some(self.raw.open(path, OpenMode::ReadWrite).map_err(failed)?.0),
                false => None,
            };
            self.files.insert(path.to_owned(), file);
        }
        Ok(self.files.get(path).and_then(Option::as_ref))
    }

    fn make_directories(&self, directory: &str) -> Result<(), DiskError> {
        if directory.is_empty() {
            return Ok(());
        }
        self.make_directories(parent(directory))?;
        self.raw
            .create_dir(directory)
            .map(|_| ())
            .map_err(|error| DiskError::from_io("replay", directory, error))
    }

    fn finish(mut self) -> Result<JournalReplay, DiskError> {
        let mut directories = std::collections::BTreeSet::new();
        for (path, file) in &self.files {
            let Some(file) = file else { continue };
            file.sync_data().map_err(|error| DiskError::from_io("fsync", path, error))?;
            self.report.files += 1;
            let mut directory = parent(path);
            while directories.insert(directory.to_owned()) && !directory.is_empty() {
                directory = parent(directory);
            }
        }
        for directory in &directories {
            self.raw
                .sync_dir(directory)
                .map_err(|error| DiskError::from_io("fsync the directory", directory, error))?;
        }
        Ok(self.report)
    }
}
