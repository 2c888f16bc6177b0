//! The operating system's files under the log directories, and the locks on them. Raw operations: no
//! journal, no offline rule; those are above.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};

use super::path::LOCK_FILE;
use super::raw::Opened;
use super::roots::Roots;
use super::{DirEntry, DiskError, DiskSpace, EntryKind, OpenMode};

/// The log directories.
pub(super) struct OsFiles {
    roots: Roots,
}

/// The exclusive locks on the log directories, held as long as this lives.
pub(super) struct DirectoryLock {
    _files: Vec<File>,
}

/// Makes a directory if it is missing, and locks it.
fn lock(root: &Path) -> Result<File, DiskError> {
    let shown = root.display().to_string();
    let failed = |operation| {
        let shown = shown.clone();
        move |error| DiskError::from_io(operation, &shown, error)
    };
    fs::create_dir_all(root).map_err(failed("create data directory"))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(root.join(LOCK_FILE))
        .map_err(failed("open the lock file of"))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            let mut pid = String::new();
            let by = match Read::by_ref(&mut file).take(20).read_to_string(&mut pid) {
                Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                Ok(_) | Err(_) => "another process".to_owned(),
            };
            return Err(DiskError::Locked { directory: shown, by });
        }
        Err(error) => return Err(failed("lock")(error.into())),
    }
    file.set_len(0).map_err(failed("write the lock file of"))?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(failed("write the lock file of"))?;
    Ok(file)
}

impl OsFiles {
    /// Makes the directories that are missing, and locks all.
    pub(super) fn open_locked(directories: &[PathBuf]) -> Result<(OsFiles, DirectoryLock), DiskError> {
        let locks = directories.iter().map(|root| lock(root)).collect::<Result<_, _>>()?;
        Ok((OsFiles { roots: Roots::open(directories.to_vec())? }, DirectoryLock { _files: locks }))
    }

    /// The number of the log directory in which a top-level directory lies.
    pub(super) fn directory_index(&self, name: &str) -> usize {
        self.roots.index_of(name)
    }

    /// The room on a log directory's file system.
    pub(super) fn space(&self, index: usize) -> Option<DiskSpace> {
        let stat = statvfs(self.roots.directories().get(index)?).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some(DiskSpace { total_bytes: bytes(stat.f_blocks), usable_bytes: bytes(stat.f_bavail) })
    }

    fn full(&self, path: &str) -> PathBuf {
        self.roots.full(path)
    }

    pub(super) fn open(&self, path: &str, mode: OpenMode) -> io::Result<(File, Opened)> {
        let full = self.full(path);
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true);
                let mut new = options.clone();
                match new.create_new(true).open(&full) {
                    Ok(file) => return Ok((file, Opened::New)),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
            }
        }
        options.open(&full).map(|file| (file, Opened::Existing))
    }

    pub(super) fn create_dir(&self, path: &str) -> io::Result<Opened> {
        match self.roots.create_dir(path) {
            Ok(()) => Ok(Opened::New),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.full(path).is_dir() => {
                Ok(Opened::Existing)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        self.roots.remove_dir_all(path)
    }

    pub(super) fn remove_file(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.full(path))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.roots.rename(from, to)
    }

    /// Of the top level: the first directory's files, and the directories of all.
    pub(super) fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let mut entries = list_one(&self.full(path))?;
        if path.is_empty() {
            for other in self.roots.directories().iter().skip(1) {
                entries
                    .extend(list_one(other)?.into_iter().filter(|entry| entry.kind == EntryKind::Directory));
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        self.full(path).try_exists()
    }

    pub(super) fn sync_dir(&self, path: &str) -> io::Result<()> {
        if path.is_empty() {
            return self.roots.directories().iter().try_for_each(|root| File::open(root)?.sync_all());
        }
        File::open(self.full(path))?.sync_all()
    }

    #[cfg(target_os = "linux")]
    pub(super) fn sync_everything(&self) -> io::Result<()> {
        self.roots.directories().iter().try_for_each(|root| Ok(rustix::fs::syncfs(File::open(root)?)?))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn sync_everything(&self) -> io::Result<()> {
        rustix::fs::sync();
        Ok(())
    }
}

fn list_one(directory: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A name that is not UTF-8 is nothing that we made.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let (kind, len) = if metadata.is_dir() {
            (EntryKind::Directory, 0)
        } else if metadata.is_file() {
            (EntryKind::File, metadata.len())
        } else {
            (EntryKind::Other, metadata.len())
        };
        entries.push(DirEntry { name, kind, len });
    }
    Ok(entries)
}

/// How many parts one system call takes; POSIX promises 16, Linux and macOS take 1024.
#[cfg(not(target_vendor = "apple"))]
const PARTS_PER_CALL_MAX: usize = 1024;

#[cfg(not(target_vendor = "apple"))]
pub(super) fn write_parts(file: &File, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    if let [part] = parts {
        return file.write_all_at(part, position);
    }
    let mut position = position;
    let mut rest = parts;
    // Empty parts in front would make a call of zero bytes look like a full disk.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let count = rest.len().min(PARTS_PER_CALL_MAX);
        let (now, _) = rest.split_at(count);
        match rustix::io::pwritev(file, now, position) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
            Ok(written) => {
                position += written as u64;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(error) if error == rustix::io::Errno::INTR => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(target_vendor = "apple")]
pub(super) fn write_parts(file: &File, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
    let mut position = position;
    for part in parts {
        file.write_all_at(part, position)?;
        position += part.len() as u64;
    }
    Ok(())
}

/// Reads up to so many bytes to the end of `out`, whose room need not be initialized.
pub(super) fn read_onto(file: &File, position: u64, bytes: usize, out: &mut Vec<u8>) -> io::Result<usize> {
    let start = out.len();
    let end = start + bytes;
    out.reserve_exact(bytes);
    while out.len() < end {
        let at = position + (out.len() - start) as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(out), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                out.truncate(start);
                return Err(error.into());
            }
        }
    }
    // There may have been more room than was asked for.
    out.truncate(end);
    Ok(out.len() - start)
}

pub(super) fn read_at(file: &File, position: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, position + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
