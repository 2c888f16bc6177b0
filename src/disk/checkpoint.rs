//! Checkpoints: everything that the page cache holds is synced in its place, so that the journal
//! before that moment is needed no more.

use super::DiskError;
use super::facade::Shared;

/// Syncs what was written until now. Appends go on meanwhile; theirs is the next checkpoint.
pub(super) fn run(shared: &Shared) -> Result<(), DiskError> {
    let _one_at_a_time = shared.checkpointing.lock();
    sync_and_note(shared)
}

/// The same, if the journal still holds that many bytes once it is this caller's turn.
pub(super) fn run_if_over(shared: &Shared, bytes: u64) -> Result<(), DiskError> {
    let _one_at_a_time = shared.checkpointing.lock();
    if shared.journal.live_bytes() > bytes { sync_and_note(shared) } else { Ok(()) }
}

fn sync_and_note(shared: &Shared) -> Result<(), DiskError> {
    shared.check_online()?;
    // An entry's file was written and marked before the entry was queued: whatever is queued by
    // now is in the files that are taken next.
    let sequence = shared.journal.last_sequence();
    let dirty = shared.registry.take_dirty();
    for file in dirty.files.iter().filter(|file| !file.is_removed()) {
        file.raw().sync_data().map_err(|error| shared.sync_failed("fsync", &file.path(), error))?;
    }
    for directory in &dirty.directories {
        match shared.raw.sync_dir(directory) {
            Ok(()) => {}
            // Removed meanwhile, with all that it held.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(shared.sync_failed("fsync", directory, error)),
        }
    }
    shared.registry.synced(&dirty);
    let noted = shared.journal.checkpointed(&shared.raw, sequence);
    if let Err(error) = &noted {
        // On a full disk the earlier note still holds, and the next checkpoint writes another.
        if !error.is_full() {
            shared.go_offline(error);
        }
    }
    noted
}
