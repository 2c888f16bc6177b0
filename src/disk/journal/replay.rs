//! Replay at open: physical redo of every entry from the last checkpoint on, in order, up to the
//! first that is torn or stale. Where entries are missing in between, it refuses: that is no torn
//! tail.
//!
//! A `create` makes the file anew; an append to a file that is gone is skipped: whatever removed
//! the file made a checkpoint first if it had to.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::path::{self, JOURNAL_DIRECTORY, parent};
use crate::disk::raw::{RawFile, RawFiles};
use crate::disk::{DiskError, JournalReplay, OpenMode};

use super::entry::{self, Entry, ReadChange};
use super::note::{Ended, Note};
use super::writer::{PREWRITTEN, Start, file_path, remove, tag};

const SUFFIX: &str = ".journal";
/// How many files a replay has open at a time.
const OPEN_FILES_MAX: usize = 256;

/// Writes again what may not have reached its files, syncs it, and empties the journal. Files of
/// at least `file_bytes` are kept for recycling.
pub(in crate::disk) fn replay(raw: &RawFiles, file_bytes: u64) -> Result<(JournalReplay, Start), DiskError> {
    let note = Note::read(raw)?.unwrap_or_else(|| Note::first(raw));
    if note.ended == Ended::Unclean {
        // A killed process leaves names and bytes that only the page cache knows of; whoever reads
        // them now builds on them.
        raw.sync_everything().map_err(|error| DiskError::from_io("sync", "the data directory", error))?;
    }
    let files = journal_files(raw)?;
    let mut redo = Redo::new(raw);
    let mut expected = note.replay_from;
    for number in files.keys().copied().filter(|number| *number >= note.first_file) {
        for entry in read_file(raw, number, tag(note.salt, number))? {
            if entry.sequence > expected {
                // A file is begun only once the one before it is synced: this is rot, or a lost file.
                let detail = format!(
                    "it goes on with entry {}, but entry {expected} before it cannot be read",
                    entry.sequence
                );
                return Err(DiskError::Corrupt { path: file_path(number), detail });
            }
            // Entries before the note's are in their files for good.
            if entry.sequence == expected {
                redo.entry(&entry)?;
                expected += 1;
            }
        }
    }
    let report = redo.finish()?;
    let file = files.keys().next_back().map_or(note.first_file, |last| (last + 1).max(note.first_file));
    Note { replay_from: expected, first_file: file, salt: note.salt, ended: Ended::Unclean }.write(raw)?;
    let mut spares = Vec::new();
    for (path, len) in files.into_iter().map(|(number, len)| (file_path(number), len)).chain(prewritten(raw)?)
    {
        if len >= file_bytes {
            spares.push(path);
        } else {
            remove(raw, Some(path))?;
        }
    }
    Ok((report, Start { last_sequence: expected - 1, file, salt: note.salt, spares }))
}

/// The journal's files by number, with their lengths.
fn journal_files(raw: &RawFiles) -> Result<BTreeMap<u64, u64>, DiskError> {
    let entries =
        raw.list(JOURNAL_DIRECTORY).map_err(|error| DiskError::from_io("list", JOURNAL_DIRECTORY, error))?;
    let number = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok();
    Ok(entries.iter().filter_map(|entry| Some((number(&entry.name)?, entry.len))).collect())
}

/// What an earlier run wrote in advance, finished or not.
fn prewritten(raw: &RawFiles) -> Result<Option<(String, u64)>, DiskError> {
    let failed = |error| DiskError::from_io("open", PREWRITTEN, error);
    if !raw.exists(PREWRITTEN).map_err(failed)? {
        return Ok(None);
    }
    let (file, _) = raw.open(PREWRITTEN, OpenMode::Read).map_err(failed)?;
    Ok(Some((PREWRITTEN.to_owned(), file.len().map_err(failed)?)))
}

fn read_file(raw: &RawFiles, number: u64, tag: u64) -> Result<Vec<Entry>, DiskError> {
    let path = file_path(number);
    let failed = |error| DiskError::from_io("read", &path, error);
    let (file, _) = raw.open(&path, OpenMode::Read).map_err(failed)?;
    let length = usize::try_from(file.len().map_err(failed)?).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    let read = file.read_at(0, &mut bytes).map_err(failed)?;
    bytes.truncate(read);
    let mut rest = bytes.as_slice();
    let mut entries = Vec::new();
    while let Some((entry, whole)) = entry::decode(rest, tag) {
        path::check(&entry.path)?;
        entries.push(entry);
        rest = rest.get(whole..).unwrap_or(&[]);
    }
    Ok(entries)
}

/// The files that replay has touched.
struct Redo<'a> {
    raw: &'a RawFiles,
    /// `None` for those that are gone.
    open: BTreeMap<String, Option<RawFile>>,
    touched: BTreeSet<String>,
    report: JournalReplay,
}

impl<'a> Redo<'a> {
    fn new(raw: &'a RawFiles) -> Redo<'a> {
        Redo { raw, open: BTreeMap::new(), touched: BTreeSet::new(), report: JournalReplay::default() }
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), DiskError> {
        if self.open.len() >= OPEN_FILES_MAX {
            self.sync_files()?;
        }
        let path = &entry.path;
        let failed = |error| DiskError::from_io("replay", path, error);
        self.report.entries += 1;
        match &entry.change {
            ReadChange::Create => {
                self.make_directories(parent(path))?;
                let (file, _) = self.raw.open(path, OpenMode::Create).map_err(failed)?;
                file.truncate(0).map_err(failed)?;
                self.open.insert(path.clone(), Some(file));
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
        if !self.open.contains_key(path) {
            let failed = |error| DiskError::from_io("replay", path, error);
            let file = match self.raw.exists(path).map_err(failed)? {
                true => Some(self.raw.open(path, OpenMode::ReadWrite).map_err(failed)?.0),
                false => None,
            };
            self.open.insert(path.to_owned(), file);
        }
        Ok(self.open.get(path).and_then(Option::as_ref))
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

    fn sync_files(&mut self) -> Result<(), DiskError> {
        for (path, file) in std::mem::take(&mut self.open) {
            let Some(file) = file else { continue };
            file.sync_data().map_err(|error| DiskError::from_io("fsync", &path, error))?;
            self.touched.insert(path);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<JournalReplay, DiskError> {
        self.sync_files()?;
        let mut directories = BTreeSet::new();
        for path in &self.touched {
            let mut directory = parent(path);
            while directories.insert(directory) && !directory.is_empty() {
                directory = parent(directory);
            }
        }
        for directory in directories {
            self.raw
                .sync_dir(directory)
                .map_err(|error| DiskError::from_io("fsync the directory", directory, error))?;
        }
        self.report.files = self.touched.len() as u64;
        Ok(self.report)
    }
}
