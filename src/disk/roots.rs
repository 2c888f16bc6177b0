//! Several log directories as one: which of them each top-level directory lies in. Files of the top level, the
//! journal among them, are in the first.
//!
//! The first directory's `log-directories` names the others by the ids that they carry: without one of them (a
//! disk that was not mounted) partitions would seem never to have been written, so nothing is opened.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use uuid::Uuid;

use super::DiskError;
use super::path::JOURNAL_DIRECTORY;

/// In the first directory: a line for each of the others, its id and where it was last.
pub(super) const LIST_FILE: &str = "log-directories";
/// In each of the others: its id.
pub(super) const ID_FILE: &str = ".log-directory-id";

/// The log directories, the first one first.
pub(super) struct Roots {
    directories: Vec<PathBuf>,
    placed: RwLock<Placed>,
}

#[derive(Default)]
struct Placed {
    /// Which directory a name lies in, by its number.
    by_name: BTreeMap<String, usize>,
    /// How many names each directory holds.
    counts: Vec<usize>,
}

impl Placed {
    fn put(&mut self, name: &str, index: usize) {
        if let Some(before) = self.by_name.insert(name.to_owned(), index) {
            self.counts[before] -= 1;
        }
        self.counts[index] += 1;
    }

    fn take(&mut self, name: &str) -> Option<usize> {
        let index = self.by_name.remove(name)?;
        self.counts[index] -= 1;
        Some(index)
    }
}

impl Roots {
    /// Looks at directories that exist and are locked, at least one.
    pub(super) fn open(directories: Vec<PathBuf>) -> Result<Roots, DiskError> {
        if let Some((first, others)) = directories.split_first() {
            check_complete(first, others)?;
        }
        let mut placed = Placed { counts: vec![0; directories.len()], ..Placed::default() };
        if directories.len() > 1 {
            for (index, directory) in directories.iter().enumerate() {
                for name in directories_in(directory)? {
                    if let Some(other) = placed.by_name.get(&name) {
                        let other = directories[*other].display();
                        let message = format!(
                            "{name} is in {other} and in {}: only one of them can be right; move the other away",
                            directory.display()
                        );
                        return Err(DiskError::LogDirectories { message });
                    }
                    placed.put(&name, index);
                }
            }
        }
        Ok(Roots { directories, placed: RwLock::new(placed) })
    }

    pub(super) fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// The number of the directory in which this top-level name lies.
    pub(super) fn index_of(&self, name: &str) -> usize {
        match self.directories.len() {
            1 => 0,
            _ => self.placed.read().by_name.get(name).copied().unwrap_or(0),
        }
    }

    /// Where a path is; "" is the first directory.
    pub(super) fn full(&self, path: &str) -> PathBuf {
        let root = &self.directories[self.index_of(top_of(path))];
        if path.is_empty() { root.clone() } else { root.join(path) }
    }

    /// Makes a directory. One of the top level goes where the fewest are, as in Kafka.
    pub(super) fn create_dir(&self, path: &str) -> io::Result<()> {
        if self.directories.len() == 1 || path.contains('/') || path == JOURNAL_DIRECTORY {
            return fs::create_dir(self.full(path));
        }
        let mut placed = self.placed.write();
        if placed.by_name.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fewest = (0..).zip(&placed.counts).min_by_key(|(_, count)| **count).map_or(0, |(index, _)| index);
        fs::create_dir(self.directories[fewest].join(path))?;
        placed.put(path, fewest);
        Ok(())
    }

    pub(super) fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        fs::remove_dir_all(self.full(path))?;
        if self.directories.len() > 1 {
            self.placed.write().take(path);
        }
        Ok(())
    }

    /// A renamed directory stays where it is.
    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.directories.len() == 1 || from.contains('/') {
            return fs::rename(self.full(from), self.full(to));
        }
        let mut placed = self.placed.write();
        let Some(index) = placed.by_name.get(from).copied() else {
            // A file of the top level.
            return fs::rename(self.directories[0].join(from), self.directories[0].join(to));
        };
        fs::rename(self.directories[index].join(from), self.directories[index].join(to))?;
        placed.take(from);
        placed.put(to, index);
        Ok(())
    }
}

/// The first component of a path.
fn top_of(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// The directories that a log directory holds, without the journal.
fn directories_in(directory: &Path) -> Result<Vec<String>, DiskError> {
    let failed = |error| DiskError::from_io("list", &directory.display().to_string(), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A name that is not UTF-8 is nothing that we made.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.path().is_dir() && name != JOURNAL_DIRECTORY && name != "lost+found" {
            names.push(name);
        }
    }
    Ok(names)
}

/// Refuses to open without a directory that was in use before, or with one that belongs elsewhere; notes new ones.
fn check_complete(first: &Path, others: &[PathBuf]) -> Result<(), DiskError> {
    if first.join(ID_FILE).exists() {
        let message = format!(
            "{} was not the first of the log directories, which has the journal: name that one first in log.dirs",
            first.display()
        );
        return Err(DiskError::LogDirectories { message });
    }
    let known = read_list(first)?;
    let mut present = BTreeMap::new();
    for directory in others {
        present.insert(id_of(directory, &known)?, directory.display().to_string());
    }
    if let Some((_, path)) = known.iter().find(|(id, _)| !present.contains_key(*id)) {
        let message = format!(
            "the log directory that was {path} is missing from log.dirs, or its disk is not mounted; what it holds would be \
             lost. If it is gone for good, take its line out of {}",
            first.join(LIST_FILE).display()
        );
        return Err(DiskError::LogDirectories { message });
    }
    if present == known {
        return Ok(());
    }
    let text: String = present.iter().map(|(id, path)| format!("{id} {path}\n")).collect();
    write_synced(first, LIST_FILE, &text)
}

/// What `log-directories` says: ids with paths.
fn read_list(first: &Path) -> Result<BTreeMap<Uuid, String>, DiskError> {
    let path = first.join(LIST_FILE);
    let shown = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(DiskError::from_io("read", &shown, error)),
    };
    let entry = |line: &str| {
        let (id, path) = line.split_once(' ')?;
        Some((id.parse().ok()?, path.to_owned()))
    };
    text.lines().map(entry).collect::<Option<_>>().ok_or_else(|| DiskError::Corrupt {
        path: shown,
        detail: "a line is not an id and a path".to_owned(),
    })
}

/// The id that a directory carries; an empty one is given one.
fn id_of(directory: &Path, known: &BTreeMap<Uuid, String>) -> Result<Uuid, DiskError> {
    let shown = directory.display().to_string();
    let is_empty = directories_in(directory)?.is_empty();
    let id = match fs::read_to_string(directory.join(ID_FILE)) {
        Ok(text) => {
            let bad = |_| DiskError::Corrupt {
                path: directory.join(ID_FILE).display().to_string(),
                detail: "it is no id".to_owned(),
            };
            Some(text.trim().parse::<Uuid>().map_err(bad)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(DiskError::from_io("read", &shown, error)),
    };
    match id {
        Some(id) if known.contains_key(&id) || is_empty => Ok(id),
        None if is_empty => {
            let id = Uuid::new_v4();
            write_synced(directory, ID_FILE, &format!("{id}\n"))?;
            Ok(id)
        }
        Some(_) | None => {
            let message = format!(
                "{shown} holds directories and is none of this broker's log directories: name an empty one, or, if it is \
                 to be the first, name it first in log.dirs"
            );
            Err(DiskError::LogDirectories { message })
        }
    }
}

/// Replaces a small file durably; no other process is here.
fn write_synced(directory: &Path, name: &str, text: &str) -> Result<(), DiskError> {
    let path = directory.join(name);
    let beside = directory.join(format!("{name}.tmp"));
    let write = || {
        fs::write(&beside, text)?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &path)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| DiskError::from_io("write", &path.display().to_string(), error))
}

#[cfg(test)]
mod tests;
