//! Replacing a whole small file so that a reader, or a power cut, finds the old bytes or the new.
//! Says which kind of step failed, since only the caller knows what follows from it.

use std::io;

use super::OpenMode;
use super::path::parent;
use super::raw::RawFiles;

/// What failed.
pub(super) struct Failure {
    pub(super) step: Step,
    pub(super) error: io::Error,
}

/// Which kind of operation it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Making or renaming a name.
    Change,
    /// Writing bytes.
    Write,
    /// Syncing them.
    Sync,
}

impl Step {
    /// What an error says was tried.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Step::Change => "replace",
            Step::Write => "write",
            Step::Sync => "fsync",
        }
    }
}

/// Writes beside, syncs, renames, syncs the directory.
pub(super) fn write(raw: &RawFiles, beside: &str, path: &str, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |step| move |error| Failure { step, error };
    let (file, _) = raw.open(beside, OpenMode::Create).map_err(failed(Step::Change))?;
    file.truncate(0).map_err(failed(Step::Write))?;
    file.write_at(0, bytes).map_err(failed(Step::Write))?;
    file.sync_data().map_err(failed(Step::Sync))?;
    raw.rename(beside, path).map_err(failed(Step::Change))?;
    raw.sync_dir(parent(path)).map_err(failed(Step::Sync))
}
