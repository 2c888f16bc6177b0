//! Paths relative to the data directory: plain text with '/' between components. Checks them; never
//! touches the disk.

use super::DiskError;

/// The room's own directory for the journal.
pub(super) const JOURNAL_DIRECTORY: &str = "journal";
/// The room's own lock file.
pub(super) const LOCK_FILE: &str = ".lock";

/// As long as Linux takes them; the journal's format counts them in 16 bits.
const PATH_BYTES_MAX: usize = 4096;

/// Refuses paths that leave the data directory or touch the room's own files.
pub(super) fn check(path: &str) -> Result<(), DiskError> {
    let first = path.split('/').next().unwrap_or("");
    let components_good =
        path.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
    if !components_good || path.len() > PATH_BYTES_MAX || first == JOURNAL_DIRECTORY || first == LOCK_FILE {
        return Err(DiskError::BadPath { path: path.to_owned() });
    }
    Ok(())
}

/// Like `check`, but the data directory itself, "", is fine too.
pub(super) fn check_directory(path: &str) -> Result<(), DiskError> {
    if path.is_empty() { Ok(()) } else { check(path) }
}

/// The directory that holds `path`; "" is the data directory.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether `path` is `directory` or lies under it.
pub(super) fn is_under(path: &str, directory: &str) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => directory.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// `path`, which lies under `from`, as it is called after `from` was renamed to `to`.
pub(super) fn moved(path: &str, from: &str, to: &str) -> Option<String> {
    if !is_under(path, from) {
        return None;
    }
    path.strip_prefix(from).map(|rest| format!("{to}{rest}"))
}
