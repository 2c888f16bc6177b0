//! The journal's files: `journal/%020d.journal`, written one after the other, recycled once a
//! checkpoint has made all of their entries needless, and kept for that over a restart.
//!
//! A recycled file is renamed to its next number and overwritten from its start: its blocks are
//! there already, which makes a sync about twice as fast as growing a file. Where there is none to
//! recycle, one is pre-written in the background.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::disk::path::JOURNAL_DIRECTORY;
use crate::disk::raw::{RawFile, RawFiles};
use crate::disk::{DiskError, OpenMode};

use super::{Queued, entry};

/// A file on its way to be a spare one.
pub(super) const PREWRITTEN: &str = "journal/prewritten";
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The journal's sizes.
#[derive(Clone, Copy, Debug)]
pub(in crate::disk) struct WriterOptions {
    /// A file that has reached this size is followed by the next one.
    pub(in crate::disk) file_bytes: u64,
    /// How much of a new directory's first file is written in advance, before anything else.
    pub(in crate::disk) first_file_bytes: u64,
    /// How many files may wait to be recycled; more are deleted.
    pub(in crate::disk) spares_max: usize,
    /// How many bytes may wait to be written.
    pub(in crate::disk) queue_bytes_max: usize,
}

/// From where a journal goes on.
pub(in crate::disk) struct Start {
    /// The last entry that was ever given.
    pub(in crate::disk) last_sequence: u64,
    /// A file number that none has had.
    pub(in crate::disk) file: u64,
    /// The directory's secret.
    pub(in crate::disk) salt: u64,
    /// Paths of files that hold nothing that is needed.
    pub(in crate::disk) spares: Vec<String>,
}

/// The file that is being written, and those before it that a crash would still need.
pub(super) struct Writer {
    options: WriterOptions,
    salt: u64,
    current: Current,
    /// Oldest first.
    older: VecDeque<Older>,
    /// Paths of files that can be recycled.
    spares: Vec<String>,
}

struct Current {
    number: u64,
    file: RawFile,
    written: u64,
    /// When the next file follows.
    capacity: u64,
    last_sequence: u64,
}

struct Older {
    number: u64,
    last_sequence: u64,
    bytes: u64,
}

/// The path of a journal file.
pub(super) fn file_path(number: u64) -> String {
    format!("{JOURNAL_DIRECTORY}/{number:020}.journal")
}

/// What marks the entries of one life of one file. Numbers are never given twice in a directory.
pub(super) fn tag(salt: u64, number: u64) -> u64 {
    salt.wrapping_add(number)
}

impl Writer {
    /// Starts a file after everything that is in place already.
    pub(super) fn start(raw: &RawFiles, start: Start, options: WriterOptions) -> Result<Writer, DiskError> {
        let Start { last_sequence, file: number, salt, mut spares } = start;
        while spares.len() > options.spares_max {
            remove(raw, spares.pop())?;
        }
        let recycled = spares.pop();
        let is_new = recycled.is_none();
        let mut current = open(raw, number, recycled, last_sequence, options.file_bytes)?;
        if is_new && options.first_file_bytes > 0 {
            let path = file_path(number);
            current.capacity = options.first_file_bytes.min(options.file_bytes);
            write_zeros(&current.file, current.capacity)
                .map_err(|error| DiskError::from_io("write the journal", &path, error))?;
        }
        Ok(Writer { options, salt, current, older: VecDeque::new(), spares })
    }

    /// How many bytes a crash now would read.
    pub(super) fn live_bytes(&self) -> u64 {
        self.current.written + self.older.iter().map(|older| older.bytes).sum::<u64>()
    }

    /// Whether the next file would have to be made on the spot.
    pub(super) fn wants_spare(&self) -> bool {
        self.spares.is_empty() && self.options.spares_max > 0
    }

    pub(super) fn add_spare(&mut self, path: &str) {
        self.spares.push(path.to_owned());
    }

    /// The first file with an entry from `replay_from` on.
    pub(super) fn first_file(&self, replay_from: u64) -> u64 {
        let needed = self.older.iter().find(|older| older.last_sequence >= replay_from);
        needed.map_or(self.current.number, |older| older.number)
    }

    pub(super) fn salt(&self) -> u64 {
        self.salt
    }

    /// Writes a group of entries and syncs it.
    pub(super) fn write(&mut self, raw: &RawFiles, entries: &[Queued]) -> Result<(), DiskError> {
        if self.current.written >= self.current.capacity {
            self.next_file(raw)?;
        }
        let number = self.current.number;
        let tag = tag(self.salt, number);
        let encoded: Vec<(Bytes, &[Bytes])> =
            entries.iter().map(|queued| entry::encode(queued, tag)).collect();
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(encoded.len() * 3);
        for (head, parts) in &encoded {
            slices.push(IoSlice::new(head));
            slices.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        }
        let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let failed = |operation| move |error| DiskError::from_io(operation, &file_path(number), error);
        self.current
            .file
            .write_parts(self.current.written, &mut slices)
            .map_err(failed("write the journal"))?;
        self.current.file.sync_data().map_err(failed("fsync the journal"))?;
        self.current.written += bytes;
        if let Some(last) = entries.last() {
            self.current.last_sequence = last.sequence;
        }
        Ok(())
    }

    /// Files whose entries all come before `replay_from` are needed no more. Answers those that are
    /// too many to keep: deleting is slow, and not for whoever holds the writer.
    pub(super) fn retire_before(&mut self, replay_from: u64) -> Vec<String> {
        let mut surplus = Vec::new();
        while self.older.front().is_some_and(|oldest| oldest.last_sequence < replay_from) {
            let Some(oldest) = self.older.pop_front() else { break };
            let path = file_path(oldest.number);
            if self.spares.len() < self.options.spares_max {
                self.spares.push(path);
            } else {
                surplus.push(path);
            }
        }
        surplus
    }

    fn next_file(&mut self, raw: &RawFiles) -> Result<(), DiskError> {
        let Current { number, last_sequence, .. } = self.current;
        let next = open(raw, number + 1, self.spares.pop(), last_sequence, self.options.file_bytes)?;
        let done = std::mem::replace(&mut self.current, next);
        self.older.push_back(Older { number, last_sequence, bytes: done.written });
        Ok(())
    }
}

/// Opens a journal file for writing from its start, and makes its name durable.
fn open(
    raw: &RawFiles,
    number: u64,
    recycled: Option<String>,
    last_sequence: u64,
    capacity: u64,
) -> Result<Current, DiskError> {
    let path = file_path(number);
    if let Some(spare) = recycled {
        raw.rename(&spare, &path).map_err(|error| DiskError::from_io("recycle", &spare, error))?;
    }
    let (file, _) = raw
        .open(&path, OpenMode::Create)
        .map_err(|error| DiskError::from_io("create the journal file", &path, error))?;
    raw.sync_dir(JOURNAL_DIRECTORY).map_err(|error| DiskError::from_io("fsync", JOURNAL_DIRECTORY, error))?;
    Ok(Current { number, file, written: 0, capacity, last_sequence })
}

/// Makes a whole file of zeros, synced, for the writer to recycle.
pub(super) fn prewrite(raw: &RawFiles, bytes: u64) -> io::Result<()> {
    let (file, _) = raw.open(PREWRITTEN, OpenMode::Create)?;
    write_zeros(&file, bytes)
}

fn write_zeros(file: &RawFile, bytes: u64) -> io::Result<()> {
    let mut position = 0;
    while position < bytes {
        let rest = usize::try_from(bytes - position).unwrap_or(usize::MAX);
        let zeros = ZEROS.get(..rest).unwrap_or(&ZEROS);
        file.write_at(position, zeros)?;
        position += zeros.len() as u64;
    }
    file.sync_data()
}

/// Deletes a journal file that is one too many.
pub(super) fn remove(raw: &RawFiles, path: Option<String>) -> Result<(), DiskError> {
    let Some(path) = path else { return Ok(()) };
    raw.remove_file(&path).map_err(|error| DiskError::from_io("remove", &path, error))
}
