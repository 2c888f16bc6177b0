//! Which files are open, which of them and which directories have unsynced changes, and whether the
//! journal still speaks of a path. Bookkeeping only; never touches the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::file::FileInner;
use super::path;

/// The open files and the unsynced ones of one data directory.
#[derive(Default)]
pub(super) struct Registry {
    inner: Mutex<Inner>,
    last_id: AtomicU64,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<u64, Weak<FileInner>>,
    /// Kept alive until a checkpoint has synced them: a file that nobody has open any more must
    /// still be synced, and the journal may still speak of it.
    dirty: Vec<Arc<FileInner>>,
    dirty_directories: BTreeSet<String>,
}

impl Registry {
    /// A number for a file under a name; never given twice in one run.
    pub(super) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn opened(&self, key: u64, file: &Arc<FileInner>) {
        self.inner.lock().files.insert(key, Arc::downgrade(file));
    }

    pub(super) fn dropped(&self, key: u64) {
        self.inner.lock().files.remove(&key);
    }

    pub(super) fn file_is_dirty(&self, file: Arc<FileInner>) {
        self.inner.lock().dirty.push(file);
    }

    pub(super) fn directory_is_dirty(&self, directory: &str) {
        self.inner.lock().dirty_directories.insert(directory.to_owned());
    }

    /// Takes a directory off the list; call before syncing it, so that later changes list it again.
    pub(super) fn take_dirty_directory(&self, directory: &str) -> bool {
        self.inner.lock().dirty_directories.remove(directory)
    }

    /// Takes everything off the lists, marked clean before it is synced for the same reason.
    pub(super) fn take_dirty(&self) -> (Vec<Arc<FileInner>>, BTreeSet<String>) {
        let mut inner = self.inner.lock();
        let files = std::mem::take(&mut inner.dirty);
        for file in &files {
            file.mark_clean();
        }
        (files, std::mem::take(&mut inner.dirty_directories))
    }

    /// Whether the journal holds an entry, not yet made needless by a checkpoint, for a file at or
    /// under `path`.
    pub(super) fn is_journaled_under(&self, path: &str, replay_from: u64) -> bool {
        self.files_under(path).iter().any(|file| file.last_entry() >= replay_from)
    }

    /// The files and directories at or under `path` are gone.
    pub(super) fn removed(&self, path: &str) {
        for file in self.files_under(path) {
            file.mark_removed();
        }
        self.inner.lock().dirty_directories.retain(|directory| !path::is_under(directory, path));
    }

    /// What was at or under `from` is now at or under `to`.
    pub(super) fn renamed(&self, from: &str, to: &str) {
        for file in self.files_under(from) {
            file.renamed(from, to, self.next_id());
        }
        let mut inner = self.inner.lock();
        let moved = inner
            .dirty_directories
            .iter()
            .map(|directory| path::moved(directory, from, to).unwrap_or_else(|| directory.clone()))
            .collect();
        inner.dirty_directories = moved;
    }

    /// The open or dirty files at or under `path`. Answers strong references, so that the last one
    /// is never dropped, and `dropped` called, while the lock is held.
    fn files_under(&self, path: &str) -> Vec<Arc<FileInner>> {
        let all: Vec<Arc<FileInner>> = self.inner.lock().files.values().filter_map(Weak::upgrade).collect();
        all.into_iter().filter(|file| !file.is_removed() && path::is_under(&file.path(), path)).collect()
    }
}
