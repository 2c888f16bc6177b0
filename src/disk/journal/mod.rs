//! The write-ahead journal of a data directory: a queue of changes, group-committed to numbered
//! files with one `fdatasync` a group, and replayed as physical redo.
//!
//! Knows paths and bytes, not what they mean. Sequence numbers are `JournalPosition`s: they grow
//! for the whole life of the data directory, without gaps.

mod entry;
mod note;
pub(in crate::disk) mod replay;
pub(in crate::disk) mod waiters;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::DiskError;
use super::raw::RawFiles;
use note::{Ended, Note};
use waiters::Waiters;
use writer::{PREWRITTEN, Start, Writer};

pub(in crate::disk) use writer::WriterOptions;

/// What a queued change takes beside its bytes.
const CHANGE_OVERHEAD_BYTES: usize = 128;

/// One change of a file that the journal must know of.
pub(in crate::disk) enum Change {
    /// The file is new.
    Create,
    /// Bytes at a position.
    Append {
        /// Where in the file.
        position: u64,
        /// The bytes, one part after the other.
        parts: Vec<Bytes>,
    },
    /// The file's length.
    Truncate {
        /// The new length.
        len: u64,
    },
}

impl Change {
    fn bytes(&self) -> usize {
        let bytes = match self {
            Change::Create | Change::Truncate { .. } => 0,
            Change::Append { parts, .. } => parts.iter().map(Bytes::len).sum(),
        };
        CHANGE_OVERHEAD_BYTES + bytes
    }
}

/// A change on its way to the journal.
struct Queued {
    sequence: u64,
    path: Arc<str>,
    change: Change,
}

#[derive(Default)]
struct Queue {
    entries: Vec<Queued>,
    bytes: usize,
    last_sequence: u64,
    stopped: bool,
}

/// What a round of the committer found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::disk) enum Round {
    /// Nothing was queued.
    Idle,
    /// A group is durable.
    Committed,
}

/// The journal of one data directory.
pub(in crate::disk) struct Journal {
    pub(in crate::disk) waiters: Waiters,
    queue: Mutex<Queue>,
    filled: Condvar,
    drained: Condvar,
    durable: AtomicU64,
    writer: Mutex<Writer>,
    /// Entries before this one are in their files for good.
    replay_from: AtomicU64,
    options: WriterOptions,
    /// Off once the disk had no room for it: it is only for speed.
    prewrites: AtomicBool,
}

impl Journal {
    /// A journal that goes on in a new file; everything before is in place.
    pub(in crate::disk) fn start(
        raw: &RawFiles,
        start: Start,
        options: WriterOptions,
    ) -> Result<Journal, DiskError> {
        let last_sequence = start.last_sequence;
        let writer = Writer::start(raw, start, options)?;
        Ok(Journal {
            waiters: Waiters::default(),
            queue: Mutex::new(Queue { last_sequence, ..Queue::default() }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            durable: AtomicU64::new(last_sequence),
            writer: Mutex::new(writer),
            replay_from: AtomicU64::new(last_sequence + 1),
            options,
            prewrites: AtomicBool::new(true),
        })
    }

    /// The last entry that is durable.
    pub(in crate::disk) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The first entry that a crash now would replay.
    pub(in crate::disk) fn replay_from(&self) -> u64 {
        self.replay_from.load(Ordering::Acquire)
    }

    /// The last entry that is queued or further.
    pub(in crate::disk) fn last_sequence(&self) -> u64 {
        self.queue.lock().last_sequence
    }

    /// Whether an appender must wait before it queues more.
    pub(in crate::disk) fn is_full(&self) -> bool {
        self.queue.lock().bytes >= self.options.queue_bytes_max
    }

    /// Queues changes of one file, in order; answers the last one's sequence.
    pub(in crate::disk) fn push(&self, path: &Arc<str>, changes: impl IntoIterator<Item = Change>) -> u64 {
        let mut queue = self.queue.lock();
        for change in changes {
            queue.last_sequence += 1;
            queue.bytes += change.bytes();
            let sequence = queue.last_sequence;
            queue.entries.push(Queued { sequence, path: Arc::clone(path), change });
        }
        self.filled.notify_one();
        queue.last_sequence
    }

    /// Waits until the queue has room again.
    pub(in crate::disk) fn wait_for_room(&self) {
        let mut queue = self.queue.lock();
        while queue.bytes >= self.options.queue_bytes_max && !queue.stopped {
            self.drained.wait(&mut queue);
        }
    }

    /// Waits for work; false once the journal is stopped and nothing is left.
    pub(in crate::disk) fn wait_for_work(&self) -> bool {
        let mut queue = self.queue.lock();
        while queue.entries.is_empty() && !queue.stopped {
            self.filled.wait(&mut queue);
        }
        !queue.entries.is_empty()
    }

    /// Ends the waits of committer and appenders.
    pub(in crate::disk) fn stop(&self) {
        self.queue.lock().stopped = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Writes everything that is queued and syncs once.
    pub(in crate::disk) fn commit(&self, raw: &RawFiles) -> Result<Round, DiskError> {
        let mut writer = self.writer.lock();
        let entries = {
            let mut queue = self.queue.lock();
            queue.bytes = 0;
            std::mem::take(&mut queue.entries)
        };
        let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(Round::Idle) };
        writer.write(raw, &entries)?;
        self.durable.store(last, Ordering::Release);
        drop(writer);
        self.drained.notify_all();
        Ok(Round::Committed)
    }

    /// How many bytes a crash now would replay at most.
    pub(in crate::disk) fn live_bytes(&self) -> u64 {
        self.writer.lock().live_bytes()
    }

    /// Everything up to `sequence` is in its file for good: it need not be replayed any more.
    pub(in crate::disk) fn checkpointed(&self, raw: &RawFiles, sequence: u64) -> Result<(), DiskError> {
        let replay_from = sequence + 1;
        if replay_from <= self.replay_from() {
            return Ok(());
        }
        self.note(raw, replay_from, Ended::Unclean)?;
        self.replay_from.store(replay_from, Ordering::Release);
        let surplus = self.writer.lock().retire_before(replay_from);
        surplus.into_iter().try_for_each(|path| writer::remove(raw, Some(path)))
    }

    /// Notes that the data directory is closed: nothing that it holds is in the page cache only.
    pub(in crate::disk) fn closed(&self, raw: &RawFiles) -> Result<(), DiskError> {
        self.note(raw, self.replay_from(), Ended::Clean)
    }

    fn note(&self, raw: &RawFiles, replay_from: u64, ended: Ended) -> Result<(), DiskError> {
        let (first_file, salt) = {
            let writer = self.writer.lock();
            (writer.first_file(replay_from), writer.salt())
        };
        Note { replay_from, first_file, salt, ended }.write(raw)
    }

    /// Whether `prewrite` has something to do.
    pub(in crate::disk) fn wants_spare(&self) -> bool {
        self.prewrites.load(Ordering::Relaxed) && self.writer.lock().wants_spare()
    }

    /// Writes a file in advance if there is none to recycle. Slow: for a background thread.
    pub(in crate::disk) fn prewrite(&self, raw: &RawFiles) -> Result<(), DiskError> {
        if !self.wants_spare() {
            return Ok(());
        }
        let written = writer::prewrite(raw, self.options.file_bytes);
        if let Err(error) = written.map_err(|error| DiskError::from_io("write in advance", PREWRITTEN, error))
        {
            if error.is_full() {
                self.prewrites.store(false, Ordering::Relaxed);
                writer::remove(raw, Some(PREWRITTEN.to_owned()))?;
            }
            return Err(error);
        }
        self.writer.lock().add_spare(PREWRITTEN);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
