//! The room's one error type. Cloneable, since one failure answers every waiter; each text names
//! the operation and the path. Decides which operating-system errors mean "full" and "broken".

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

/// Why a disk operation failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system refused; the disk itself goes on.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: String,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The path does not exist.
    #[error("{operation} {path}: no such file or directory")]
    NotFound {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: String,
    },
    /// No space (or quota) is left. What was being written may be there in part.
    #[error("{operation} {path}: the disk is full; free some space or lower the retention, then start again")]
    Full {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: String,
    },
    /// Another process has the data directory open.
    #[error("data directory {directory} is in use by {by}; stop that one first, or name another directory")]
    Locked {
        /// The data directory.
        directory: String,
        /// Who holds it, as its lock file says.
        by: String,
    },
    /// An earlier write or fsync failed: nothing since then can be trusted to be on the disk.
    #[error("the disk is offline since: {cause}")]
    Offline {
        /// The failure that took it offline.
        cause: Arc<str>,
    },
    /// The disk was closed by its owner.
    #[error("{operation} {path}: the data directory is closed")]
    Closed {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: String,
    },
    /// Bytes on the disk are not what was written there.
    #[error("{path} is corrupt: {detail}")]
    Corrupt {
        /// On which path.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The file ends before the bytes that were asked for.
    #[error("read {path} at {position}: wanted {wanted} bytes, the file ends after {got}")]
    TooShort {
        /// On which path.
        path: String,
        /// Where the read began.
        position: u64,
        /// How many bytes were asked for.
        wanted: usize,
        /// How many there are.
        got: usize,
    },
    /// A path that does not stay inside the data directory, or that this room keeps for itself.
    #[error("{path:?} is not a path inside the data directory")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// The log directories do not belong together.
    #[error("{message}")]
    LogDirectories {
        /// What is wrong, and what to do.
        message: String,
    },
    /// The file was removed under this handle, so a write to it would go nowhere.
    #[error("{operation} {path}: the file was removed")]
    Removed {
        /// What was tried.
        operation: &'static str,
        /// The path it had.
        path: String,
    },
}

impl DiskError {
    /// Gives an operating-system error its operation and path.
    pub(super) fn from_io(operation: &'static str, path: &str, source: io::Error) -> DiskError {
        let path = path.to_owned();
        if is_full(&source) {
            return DiskError::Full { operation, path };
        }
        if source.kind() == io::ErrorKind::NotFound {
            return DiskError::NotFound { operation, path };
        }
        DiskError::Io { operation, path, source: Arc::new(source) }
    }

    /// Whether the path is just not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, DiskError::NotFound { .. })
    }

    /// Whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self, DiskError::Full { .. })
    }

    /// Whether the disk is offline for ever.
    pub fn is_offline(&self) -> bool {
        matches!(self, DiskError::Offline { .. })
    }
}

/// No space or no quota left.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOSPC | Errno::DQUOT))
}

/// The device or file system itself failed, whatever the call was.
pub(super) fn is_broken(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::IO | Errno::ROFS | Errno::NODEV | Errno::NXIO | Errno::STALE)
    )
}
