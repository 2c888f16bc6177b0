//! A sorted index of fixed-size entries: in memory for the segment that is written to, searched in
//! its file for the others. The file is written when the log flushes or rolls; until then a crash
//! loses nothing, since recovery builds the index again from the segment.

use std::sync::OnceLock;

use super::LogError;
use crate::disk::{Disk, DiskFile, OpenMode};

/// One kind of entry. Encoded size is fixed.
pub(super) trait IndexEntry: Copy {
    /// The size on disk.
    const BYTES: usize;
    /// Appends the encoding.
    fn put(&self, out: &mut Vec<u8>);
    /// Decodes `BYTES` bytes; `None` if they are fewer or no entry.
    fn get(bytes: &[u8]) -> Option<Self>;
}

/// One index.
pub(super) struct Index<E> {
    disk: Disk,
    path: String,
    store: Store<E>,
    /// Of a closed index that was searched.
    searched: OnceLock<Searched<E>>,
}

/// What makes a search of a closed index one read: the open file, and the first entry of each page.
struct Searched<E> {
    file: DiskFile,
    page_starts: Vec<E>,
}

enum Store<E> {
    /// All entries; the first `written` of them are in the file, and nothing else is, unless
    /// `stale` says that the file holds something older that must go first.
    Memory { entries: Vec<E>, written: usize, stale: Stale },
    /// All entries are in the file.
    File { count: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Yes,
    No,
}

/// How many entries a search reads in one go.
const PAGE_ENTRIES: usize = 128;

impl<E: IndexEntry> Index<E> {
    /// An empty index whose file, if there is one, is worthless.
    pub(super) fn rebuilt(disk: &Disk, path: String) -> Index<E> {
        let store = Store::Memory { entries: Vec::new(), written: 0, stale: Stale::Yes };
        Index { disk: disk.clone(), path, store, searched: OnceLock::new() }
    }

    /// The index in a file of `len` bytes; `None` if no whole entries fill it.
    pub(super) fn in_file(disk: &Disk, path: String, len: u64) -> Option<Index<E>> {
        let count = usize::try_from(len).ok()?;
        if count % E::BYTES != 0 {
            return None;
        }
        let store = Store::File { count: count / E::BYTES };
        Some(Index { disk: disk.clone(), path, store, searched: OnceLock::new() })
    }

    /// Reads the file so that entries can be added; refuses one whose entries do not grow.
    pub(super) fn load(&mut self, grows: impl Fn(&E, &E) -> bool) -> Result<(), LogError> {
        let count = match &self.store {
            Store::Memory { .. } => return Ok(()),
            Store::File { count } => *count,
        };
        let entries = if count == 0 { Vec::new() } else { self.read(&self.open()?, 0, count)? };
        if !entries.is_sorted_by(grows) {
            let detail = "its entries are out of order".to_owned();
            return Err(LogError::Corrupt { path: self.path.clone(), detail });
        }
        self.store = Store::Memory { entries, written: count, stale: Stale::No };
        Ok(())
    }

    /// Drops the entries from memory, once they are written.
    pub(super) fn seal(&mut self) -> Result<(), LogError> {
        self.write_out()?;
        if let Store::Memory { entries, .. } = &self.store {
            self.store = Store::File { count: entries.len() };
        }
        Ok(())
    }

    /// Adds an entry; the index must be in memory.
    pub(super) fn push(&mut self, entry: E) {
        match &mut self.store {
            Store::Memory { entries, .. } => entries.push(entry),
            Store::File { .. } => unreachable!("only the active segment's indexes grow, and they are loaded"),
        }
    }

    pub(super) fn len(&self) -> usize {
        match &self.store {
            Store::Memory { entries, .. } => entries.len(),
            Store::File { count } => *count,
        }
    }

    /// The last entry.
    pub(super) fn last(&self) -> Result<Option<E>, LogError> {
        match &self.store {
            Store::Memory { entries, .. } => Ok(entries.last().copied()),
            Store::File { count: 0 } => Ok(None),
            Store::File { count } => Ok(self.read(&self.open()?, count - 1, 1)?.first().copied()),
        }
    }

    /// The last entry for which `holds`, which must hold for a prefix of the entries.
    pub(super) fn last_where(&self, holds: impl Fn(&E) -> bool) -> Result<Option<E>, LogError> {
        match &self.store {
            Store::Memory { entries, .. } => {
                let after = entries.partition_point(|entry| holds(entry));
                Ok(after.checked_sub(1).and_then(|index| entries.get(index)).copied())
            }
            Store::File { count: 0 } => Ok(None),
            Store::File { count } => {
                let searched = self.searched(*count)?;
                let from = searched.page_where(&holds);
                let page = self.read(&searched.file, from, PAGE_ENTRIES.min(count - from))?;
                let after = page.partition_point(|entry| holds(entry));
                Ok(after.checked_sub(1).and_then(|index| page.get(index)).copied())
            }
        }
    }

    /// Visits the entries from the first one for which `before` does not hold, until `visit` is
    /// done.
    pub(super) fn visit_after(
        &self,
        before: impl Fn(&E) -> bool,
        mut visit: impl FnMut(&E) -> Visit,
    ) -> Result<Visit, LogError> {
        match &self.store {
            Store::Memory { entries, .. } => {
                let from = entries.partition_point(|entry| before(entry));
                Ok(visit_all(entries.get(from..).unwrap_or_default(), &before, &mut visit))
            }
            Store::File { count: 0 } => Ok(Visit::More),
            Store::File { count } => {
                let searched = self.searched(*count)?;
                let mut from = searched.page_where(&before);
                while from < *count {
                    let page = self.read(&searched.file, from, PAGE_ENTRIES.min(count - from))?;
                    from += page.len();
                    if visit_all(&page, &before, &mut visit) == Visit::Done {
                        return Ok(Visit::Done);
                    }
                }
                Ok(Visit::More)
            }
        }
    }

    /// Writes what the file lacks.
    pub(super) fn write_out(&mut self) -> Result<(), LogError> {
        let Store::Memory { entries, written, stale } = &mut self.store else { return Ok(()) };
        if *stale == Stale::No && *written == entries.len() {
            return Ok(());
        }
        let file = self.disk.open_file(&self.path, OpenMode::Create)?;
        if *stale == Stale::Yes {
            file.truncate(0)?;
        }
        let new = entries.get(*written..).unwrap_or_default();
        let mut bytes = Vec::with_capacity(new.len() * E::BYTES);
        new.iter().for_each(|entry| entry.put(&mut bytes));
        if !bytes.is_empty() {
            file.write_at((*written * E::BYTES) as u64, &bytes)?;
        }
        *written = entries.len();
        *stale = Stale::No;
        Ok(())
    }

    /// Writes all entries of an index that is in memory to an empty file beside, durably: it takes the
    /// index's name later, and then `saved` is to be called.
    pub(super) fn save_beside(&self, file: &DiskFile) -> Result<(), LogError> {
        let Store::Memory { entries, .. } = &self.store else {
            unreachable!("only an index that was just built is saved beside")
        };
        let mut bytes = Vec::with_capacity(entries.len() * E::BYTES);
        entries.iter().for_each(|entry| entry.put(&mut bytes));
        if !bytes.is_empty() {
            file.write_at(0, &bytes)?;
        }
        Ok(file.sync()?)
    }

    /// The file that was written beside has the index's name now.
    pub(super) fn saved(&mut self) {
        if let Store::Memory { entries, .. } = &self.store {
            self.store = Store::File { count: entries.len() };
        }
    }

    /// Makes the file durable, if there is one.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        match self.disk.open_file(&self.path, OpenMode::ReadWrite) {
            Ok(file) => Ok(file.sync()?),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self) -> Result<DiskFile, LogError> {
        Ok(self.disk.open_file(&self.path, OpenMode::Read)?)
    }

    fn searched(&self, count: usize) -> Result<&Searched<E>, LogError> {
        if let Some(searched) = self.searched.get() {
            return Ok(searched);
        }
        let file = self.open()?;
        let entries = self.read(&file, 0, count)?;
        let page_starts = entries.into_iter().step_by(PAGE_ENTRIES).collect();
        Ok(self.searched.get_or_init(|| Searched { file, page_starts }))
    }

    fn read(&self, file: &DiskFile, from: usize, count: usize) -> Result<Vec<E>, LogError> {
        let mut bytes = vec![0; count * E::BYTES];
        file.read_exact_at((from * E::BYTES) as u64, &mut bytes)?;
        let entries: Option<Vec<E>> = bytes.chunks_exact(E::BYTES).map(E::get).collect();
        entries.ok_or_else(|| LogError::Corrupt {
            path: self.path.clone(),
            detail: "it holds an impossible entry".to_owned(),
        })
    }
}

impl<E> Searched<E> {
    /// The number of the first entry of the page in which `holds` ends to hold.
    fn page_where(&self, holds: &impl Fn(&E) -> bool) -> usize {
        let after = self.page_starts.partition_point(|entry| holds(entry));
        after.saturating_sub(1) * PAGE_ENTRIES
    }
}

/// Whether a visit goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Visit {
    More,
    Done,
}

fn visit_all<E>(entries: &[E], before: &impl Fn(&E) -> bool, visit: &mut impl FnMut(&E) -> Visit) -> Visit {
    for entry in entries {
        // A page may begin before the boundary.
        if !before(entry) && visit(entry) == Visit::Done {
            return Visit::Done;
        }
    }
    Visit::More
}
