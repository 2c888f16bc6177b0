//! Which files are open, which of them and which directories have unsynced changes, which are new, and
//! whether the journal still speaks of a path. Bookkeeping only; never touches the disk.

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
    /// The open files, and the unsynced ones, by path and key: what is asked is what there is under one path.
    files: BTreeMap<(Arc<str>, u64), Weak<FileInner>>,
    /// Kept alive until a checkpoint has synced them: a file that nobody has open any more must
    /// still be synced, and the journal may still speak of it.
    dirty: Vec<Arc<FileInner>>,
    dirty_directories: BTreeSet<String>,
    /// Files that are new, whose names are not durable, and of which the journal does not know, each
    /// with the number of its making. Told in front of the first append, so that files which are
    /// never appended to (indexes) never enter the journal; by path and not by handle, since whoever
    /// appends first must tell it.
    new_files: BTreeMap<String, u64>,
}

/// What a checkpoint has to sync.
pub(super) struct Dirty {
    pub(super) files: Vec<Arc<FileInner>>,
    pub(super) directories: BTreeSet<String>,
    new_files: BTreeMap<String, u64>,
}

impl Registry {
    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes an open file; answers the key to drop it by.
    pub(super) fn opened(&self, make: impl FnOnce(u64) -> Arc<FileInner>) -> Arc<FileInner> {
        let key = self.next_id();
        let file = make(key);
        self.inner.lock().files.insert((file.path(), key), Arc::downgrade(&file));
        file
    }

    pub(super) fn dropped(&self, path: Arc<str>, key: u64) {
        self.inner.lock().files.remove(&(path, key));
    }

    pub(super) fn file_is_new(&self, path: &str) {
        let number = self.next_id();
        let mut inner = self.inner.lock();
        inner.new_files.insert(path.to_owned(), number);
        inner.dirty_directories.insert(path::parent(path).to_owned());
    }

    /// Whether the file is new, and not even its name is durable.
    pub(super) fn is_new(&self, path: &str) -> bool {
        self.inner.lock().new_files.contains_key(path)
    }

    /// The same, for whoever tells the journal: says so once.
    pub(super) fn take_new(&self, path: &str) -> bool {
        self.inner.lock().new_files.remove(path).is_some()
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
    pub(super) fn take_dirty(&self) -> Dirty {
        let mut inner = self.inner.lock();
        let files = std::mem::take(&mut inner.dirty);
        for file in &files {
            file.mark_clean();
        }
        let directories = std::mem::take(&mut inner.dirty_directories);
        Dirty { files, directories, new_files: inner.new_files.clone() }
    }

    /// What was taken is synced, names and all; a file made since under the same name is not.
    pub(super) fn synced(&self, dirty: &Dirty) {
        self.inner.lock().new_files.retain(|path, number| dirty.new_files.get(path) != Some(number));
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
        let mut inner = self.inner.lock();
        inner.dirty_directories.retain(|directory| !path::is_under(directory, path));
        inner.new_files.retain(|file, _| !path::is_under(file, path));
    }

    /// What was at or under `from` is now at or under `to`.
    pub(super) fn renamed(&self, from: &str, to: &str) {
        for file in self.files_under(from) {
            let mut inner = self.inner.lock();
            inner.files.remove(&(file.path(), file.key()));
            file.renamed(from, to);
            inner.files.insert((file.path(), file.key()), Arc::downgrade(&file));
        }
        let moved = |path: String| path::moved(&path, from, to).unwrap_or(path);
        let mut inner = self.inner.lock();
        inner.dirty_directories =
            std::mem::take(&mut inner.dirty_directories).into_iter().map(moved).collect();
        let new_files = std::mem::take(&mut inner.new_files);
        inner.new_files = new_files.into_iter().map(|(path, number)| (moved(path), number)).collect();
    }

    /// The open or dirty files at or under `path`. Answers strong references, so that the last one
    /// is never dropped, and `dropped` called, while the lock is held.
    fn files_under(&self, path: &str) -> Vec<Arc<FileInner>> {
        let first = (Arc::from(path), 0);
        let under: Vec<Arc<FileInner>> = {
            let inner = self.inner.lock();
            // What is under a directory begins with its path, and so does what has a longer name beside it.
            let beginning = inner.files.range(first..).take_while(|((other, _), _)| other.starts_with(path));
            beginning.filter_map(|(_, file)| file.upgrade()).collect()
        };
        under.into_iter().filter(|file| !file.is_removed() && path::is_under(&file.path(), path)).collect()
    }
}
