//! One open file: appends that the journal knows of, plain writes that it does not, and reads.
//! The caller serialises the appends and truncations of one file.

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::facade::Shared;
use super::journal::Change;
use super::raw::{Opened, RawFile};
use super::{DiskError, FlushMode, JournalPosition, OpenMode, path};

/// The most that one append writes: far above a batch, and its length fits the journal's format.
const APPEND_BYTES_MAX: usize = 1 << 30;

/// An open file of a data directory; clones share it.
#[derive(Clone)]
pub struct DiskFile {
    inner: Arc<FileInner>,
}

/// What is known of an open file.
pub(super) struct FileInner {
    shared: Arc<Shared>,
    raw: RawFile,
    key: u64,
    path: Mutex<Arc<str>>,
    mode: OpenMode,
    dirty: AtomicBool,
    removed: AtomicBool,
    /// Whether the registry was asked if the journal has yet to be told that the file is new.
    asked: AtomicBool,
    last_entry: AtomicU64,
}

impl FileInner {
    pub(super) fn path(&self) -> Arc<str> {
        Arc::clone(&self.path.lock())
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }

    pub(super) fn raw(&self) -> &RawFile {
        &self.raw
    }

    pub(super) fn mark_clean(&self) {
        self.dirty.store(false, Ordering::SeqCst);
    }

    pub(super) fn mark_removed(&self) {
        self.removed.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    /// The journal's last entry for this file; 0 if there is none.
    pub(super) fn last_entry(&self) -> u64 {
        self.last_entry.load(Ordering::SeqCst)
    }

    pub(super) fn entry_queued(&self, sequence: u64) {
        self.last_entry.store(sequence, Ordering::SeqCst);
    }

    /// Whether the journal must be told that the file is new, in front of this handle's append.
    pub(super) fn take_news(&self) -> bool {
        !self.asked.swap(true, Ordering::SeqCst) && self.shared.registry.take_new(&self.path())
    }

    pub(super) fn renamed(&self, from: &str, to: &str) {
        let mut path = self.path.lock();
        if let Some(moved) = path::moved(&path, from, to) {
            *path = moved.into();
        }
    }

    fn mark_dirty(self: &Arc<Self>) {
        if !self.dirty.swap(true, Ordering::SeqCst) {
            self.shared.registry.file_is_dirty(Arc::clone(self));
        }
    }

    /// Whether this handle may change the file now.
    fn check_writable(&self, operation: &'static str) -> Result<(), DiskError> {
        let path = self.path();
        self.shared.check(operation, &path)?;
        if self.is_removed() {
            return Err(DiskError::Removed { operation, path: path.to_string() });
        }
        match self.mode {
            OpenMode::ReadWrite | OpenMode::Create => Ok(()),
            OpenMode::Read => {
                let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
                Err(DiskError::from_io(operation, &path, source))
            }
        }
    }
}

impl Drop for FileInner {
    fn drop(&mut self) {
        self.shared.registry.dropped(self.path(), self.key);
    }
}

impl DiskFile {
    pub(super) fn open(shared: &Arc<Shared>, path: &str, mode: OpenMode) -> Result<DiskFile, DiskError> {
        path::check(path)?;
        shared.check("open", path)?;
        let (raw, opened) =
            shared.raw.open(path, mode).map_err(|error| shared.change_failed("open", path, error))?;
        if opened == Opened::New {
            shared.registry.file_is_new(path);
        }
        let inner = shared.registry.opened(|key| {
            Arc::new(FileInner {
                shared: Arc::clone(shared),
                raw,
                key,
                path: Mutex::new(path.into()),
                mode,
                dirty: AtomicBool::new(false),
                removed: AtomicBool::new(false),
                asked: AtomicBool::new(false),
                last_entry: AtomicU64::new(0),
            })
        });
        Ok(DiskFile { inner })
    }

    /// The path the file has now.
    pub fn path(&self) -> Arc<str> {
        self.inner.path()
    }

    /// Writes the parts one after the other at `position`, through the page cache, and under
    /// `FlushMode::Ack` queues them for the journal. A full queue makes the caller wait.
    ///
    /// After an error the file may hold any part of the bytes: the caller forgets what it knew of
    /// the file and recovers it.
    pub fn append(&self, position: u64, parts: &[Bytes]) -> Result<JournalPosition, DiskError> {
        self.inner.check_writable("append")?;
        let bytes: usize = parts.iter().map(Bytes::len).sum();
        if bytes > APPEND_BYTES_MAX {
            let source = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
            return Err(DiskError::from_io("append", &self.inner.path(), source));
        }
        let mut slices: Vec<IoSlice<'_>> =
            parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        if slices.is_empty() {
            return Ok(JournalPosition::ZERO);
        }
        let written = self.inner.raw.write_parts(position, &mut slices);
        self.inner.mark_dirty();
        written.map_err(|error| self.inner.shared.write_failed("append", &self.inner.path(), error))?;
        self.journal(Change::Append { position, parts: parts.to_vec() })
    }

    /// Writes at `position`, unknown to the journal: for indexes and other files that can be built
    /// again. A file is either appended to or written in this way, never both.
    pub fn write_at(&self, position: u64, bytes: &[u8]) -> Result<(), DiskError> {
        self.inner.check_writable("write")?;
        let written = self.inner.raw.write_at(position, bytes);
        self.inner.mark_dirty();
        written.map_err(|error| self.inner.shared.write_failed("write", &self.inner.path(), error))
    }

    /// Reads until `buf` is full or the file ends; answers how many bytes it read.
    pub fn read_at(&self, position: u64, buf: &mut [u8]) -> Result<usize, DiskError> {
        let path = self.inner.path();
        self.inner.shared.check("read", &path)?;
        self.inner.raw.read_at(position, buf).map_err(|error| DiskError::from_io("read", &path, error))
    }

    /// Fills `buf`, or answers `DiskError::TooShort`.
    pub fn read_exact_at(&self, position: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let got = self.read_at(position, buf)?;
        if got < buf.len() {
            let path = self.inner.path().to_string();
            return Err(DiskError::TooShort { path, position, wanted: buf.len(), got });
        }
        Ok(())
    }

    /// Reads exactly so many bytes to the end of `out`, without filling their room with zeros first; or answers
    /// `DiskError::TooShort`.
    pub fn read_onto(&self, position: u64, bytes: usize, out: &mut Vec<u8>) -> Result<(), DiskError> {
        let path = self.inner.path();
        self.inner.shared.check("read", &path)?;
        let read = self.inner.raw.read_onto(position, bytes, out);
        let got = read.map_err(|error| DiskError::from_io("read", &path, error))?;
        if got < bytes {
            return Err(DiskError::TooShort { path: path.to_string(), position, wanted: bytes, got });
        }
        Ok(())
    }

    /// The file's length in bytes.
    pub fn len(&self) -> Result<u64, DiskError> {
        let path = self.inner.path();
        self.inner.shared.check("stat", &path)?;
        self.inner.raw.len().map_err(|error| DiskError::from_io("stat", &path, error))
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> Result<bool, DiskError> {
        self.len().map(|len| len == 0)
    }

    /// Cuts the file (or extends it with zeros) to `len` bytes; durable once the answered position is.
    /// What the journal does not know of, an index, is synced at once instead.
    pub fn truncate(&self, len: u64) -> Result<JournalPosition, DiskError> {
        self.inner.check_writable("truncate")?;
        let (shared, path) = (&self.inner.shared, self.inner.path());
        let truncated = self.inner.raw.truncate(len);
        self.inner.mark_dirty();
        truncated.map_err(|error| shared.write_failed("truncate", &path, error))?;
        match shared.options.flush {
            FlushMode::Os => return Ok(JournalPosition::ZERO),
            FlushMode::Ack => {}
        }
        let is_journaled = self.inner.last_entry() > 0
            || shared.registry.is_journaled_under(&path, shared.journal.replay_from());
        if is_journaled {
            return self.journal(Change::Truncate { len });
        }
        // Nothing of a file whose name is not durable yet can come back.
        if !shared.registry.is_new(&path) {
            self.sync()?;
        }
        Ok(JournalPosition::ZERO)
    }

    /// Makes the file's bytes durable by themselves, without the journal.
    pub fn sync(&self) -> Result<(), DiskError> {
        let path = self.inner.path();
        self.inner.shared.check("fsync", &path)?;
        self.inner.raw.sync_data().map_err(|error| self.inner.shared.sync_failed("fsync", &path, error))
    }

    /// The operating system's file, for `sendfile`; a simulated disk has none.
    pub fn os_file(&self) -> Option<&std::fs::File> {
        self.inner.raw.os_file()
    }

    fn journal(&self, change: Change) -> Result<JournalPosition, DiskError> {
        match self.inner.shared.options.flush {
            FlushMode::Os => Ok(JournalPosition::ZERO),
            FlushMode::Ack => self.inner.shared.enqueue(&self.inner, change),
        }
    }
}

impl fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskFile").field(&self.inner.path()).finish()
    }
}
