//! Checkpoints: everything that the page cache holds is synced in its place, so that the journal
//! before that moment is needed no more.

use std::sync::Arc;

use super::DiskError;
use super::facade::Shared;

/// Syncs what was written until now. Appends go on meanwhile; theirs is the next checkpoint.
pub(super) fn run(shared: &Arc<Shared>) -> Result<(), DiskError> {
    let _one_at_a_time = shared.checkpointing.lock();
    shared.check("checkpoint", "")?;
    // An entry's file was written and marked before the entry was queued: whatever is queued by
    // now is in the files that are taken next.
    let sequence = shared.journal.last_sequence();
    let (files, directories) = shared.registry.take_dirty();
    for file in files.iter().filter(|file| !file.is_removed()) {
        file.raw().sync_data().map_err(|error| shared.sync_failed("fsync", &file.path(), error))?;
    }
    for directory in &directories {
        match shared.raw.sync_dir(directory) {
            Ok(()) => {}
            // Removed meanwhile, with all that it held.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(shared.sync_failed("fsync", directory, error)),
        }
    }
    shared.journal.checkpointed(&shared.raw, sequence)
}
