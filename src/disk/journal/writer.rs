//! The journal's files: `journal/%020d.journal`, written one after the other, recycled once a
//! checkpoint has made all of their entries needless.
//!
//! A recycled file is renamed to its next number and overwritten from its start: its blocks are
//! there already, which makes a sync about twice as fast as growing a file.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::disk::path::JOURNAL_DIRECTORY;
use crate::disk::raw::{RawFile, RawFiles};
use crate::disk::{DiskError, OpenMode};

use super::{Queued, entry};

/// How many files wait to be recycled; more are deleted.
const SPARES_MAX: usize = 4;

/// The journal's sizes.
#[derive(Clone, Copy, Debug)]
pub(in crate::disk) struct WriterOptions {
    /// A file that has reached this size is followed by the next one.
    pub(in crate::disk) file_bytes: u64,
    /// How many bytes may wait to be written.
    pub(in crate::disk) queue_bytes_max: usize,
}

/// The file that is being written, and those before it that a crash would still need.
pub(super) struct Writer {
    options: WriterOptions,
    current: Current,
    /// Number, last sequence and bytes of each older file, oldest first.
    older: VecDeque<Older>,
    /// Numbers of files that can be recycled.
    spares: Vec<u64>,
}

struct Current {
    number: u64,
    file: RawFile,
    written: u64,
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

impl Writer {
    /// Starts the file `number`, whose first entry will be `first_sequence`.
    pub(super) fn start(
        raw: &RawFiles,
        first_sequence: u64,
        number: u64,
        options: WriterOptions,
    ) -> Result<Writer, DiskError> {
        let current = open(raw, number, first_sequence - 1)?;
        Ok(Writer { options, current, older: VecDeque::new(), spares: Vec::new() })
    }

    /// How many bytes a crash now would read.
    pub(super) fn live_bytes(&self) -> u64 {
        self.current.written + self.older.iter().map(|older| older.bytes).sum::<u64>()
    }

    /// Writes a group of entries and syncs it.
    pub(super) fn write(&mut self, raw: &RawFiles, entries: &[Queued]) -> Result<(), DiskError> {
        if self.current.written >= self.options.file_bytes {
            self.next_file(raw)?;
        }
        let number = self.current.number;
        let encoded: Vec<(Bytes, &[Bytes])> =
            entries.iter().map(|queued| entry::encode(queued, number)).collect();
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(encoded.len() * 3);
        for (head, parts) in &encoded {
            slices.push(IoSlice::new(head));
            slices.extend(parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        }
        let bytes: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let path = file_path(number);
        let failed = |operation| {
            let path = path.clone();
            move |error| DiskError::from_io(operation, &path, error)
        };
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

    /// Files whose entries all come before `replay_from` are needed no more.
    pub(super) fn retire_before(&mut self, raw: &RawFiles, replay_from: u64) -> Result<(), DiskError> {
        while let Some(oldest) = self.older.front() {
            if oldest.last_sequence >= replay_from {
                break;
            }
            let number = oldest.number;
            self.older.pop_front();
            if self.spares.len() < SPARES_MAX {
                self.spares.push(number);
                continue;
            }
            let path = file_path(number);
            raw.remove_file(&path).map_err(|error| DiskError::from_io("remove", &path, error))?;
        }
        Ok(())
    }

    fn next_file(&mut self, raw: &RawFiles) -> Result<(), DiskError> {
        let number = self.current.number + 1;
        if let Some(spare) = self.spares.pop() {
            let (from, to) = (file_path(spare), file_path(number));
            raw.rename(&from, &to).map_err(|error| DiskError::from_io("rename", &from, error))?;
        }
        let next = open(raw, number, self.current.last_sequence)?;
        let done = std::mem::replace(&mut self.current, next);
        let Current { number, written: bytes, last_sequence, .. } = done;
        self.older.push_back(Older { number, last_sequence, bytes });
        Ok(())
    }
}

/// Opens a journal file for writing from its start, and makes its name durable.
fn open(raw: &RawFiles, number: u64, last_sequence: u64) -> Result<Current, DiskError> {
    let path = file_path(number);
    let (file, _) = raw
        .open(&path, OpenMode::Create)
        .map_err(|error| DiskError::from_io("create the journal file", &path, error))?;
    raw.sync_dir(JOURNAL_DIRECTORY).map_err(|error| DiskError::from_io("fsync", JOURNAL_DIRECTORY, error))?;
    Ok(Current { number, file, written: 0, last_sequence })
}
