//! Files, directories and durability: one locked data directory or several, one write-ahead journal for all of
//! their files, group-committed by its own thread, and a simulated disk with faults for tests.
//!
//! Knows no records, topics or offsets, and no async runtime: durability is a plain std future.
//! After a failed write or fsync the disk is offline for ever; nothing is retried and then trusted.

mod atomic;
mod checkpoint;
mod error;
mod facade;
mod file;
mod journal;
mod os;
mod path;
mod raw;
mod registry;
mod roots;
mod sim;

pub use error::DiskError;
pub use facade::Disk;
pub use file::DiskFile;
pub use journal::waiters::DurableFuture;
pub use sim::{SimDisk, SimFault};

/// A point in the journal's order: everything up to it becomes durable before anything after it is
/// reported durable. Grows for the whole life of a data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct JournalPosition(u64);

impl JournalPosition {
    /// Before the first entry: always durable.
    pub const ZERO: JournalPosition = JournalPosition(0);

    /// The number of the entry, counted since the data directory was made.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// When an append counts as done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushMode {
    /// Once the journal has it, after a group-committed `fdatasync`.
    Ack,
    /// Once the page cache has it: survives the end of the process, not of the machine.
    Os,
}

/// How a data directory is opened.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// When an append counts as done.
    pub flush: FlushMode,
    /// The journal never grows past this; a checkpoint starts at half of it, and appenders wait at
    /// the end of it.
    pub journal_bytes_max: u64,
    /// The size of one pre-written, recycled journal file.
    pub journal_file_bytes: u64,
    /// The size of the very first journal file of a new data directory: small, so that start-up
    /// does not wait for it.
    pub journal_first_file_bytes: u64,
    /// How many bytes may wait for the committer before an appender has to.
    pub journal_queue_bytes_max: usize,
}

impl Default for DiskOptions {
    fn default() -> DiskOptions {
        DiskOptions {
            flush: FlushMode::Ack,
            journal_bytes_max: 256 << 20,
            journal_file_bytes: 16 << 20,
            journal_first_file_bytes: 1 << 20,
            journal_queue_bytes_max: 32 << 20,
        }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    ReadWrite,
    /// For reading and writing; a missing file is made (its directory must exist), one that exists
    /// keeps its bytes.
    Create,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Something that this room never makes: a link, a socket.
    Other,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// The last component of the path.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Its length in bytes; 0 for a directory.
    pub len: u64,
}

/// The room on a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// All of it.
    pub total_bytes: u64,
    /// What this process may still write.
    pub usable_bytes: u64,
}

/// What opening a data directory found in its journal and wrote again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalReplay {
    /// Entries after the last checkpoint.
    pub entries: u64,
    /// Bytes written again.
    pub bytes: u64,
    /// Files touched.
    pub files: u64,
}

#[cfg(test)]
mod tests;
