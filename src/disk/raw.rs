//! The closed choice between the operating system's files and simulated ones: raw operations only.
//! Everything above (journal, checkpoints, offline rule) is written once, over this.

use std::fs::File;
use std::io::{self, IoSlice};

use super::os::OsFiles;
use super::sim::{SimDisk, SimFile};
use super::{DirEntry, DiskSpace, OpenMode};

/// Where the files are.
pub(super) enum RawFiles {
    Os(OsFiles),
    Sim(SimDisk),
}

/// One open file.
pub(super) enum RawFile {
    Os(File),
    Sim(SimFile),
}

/// Whether opening a file made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opened {
    Existing,
    New,
}

impl RawFiles {
    pub(super) fn open(&self, path: &str, mode: OpenMode) -> io::Result<(RawFile, Opened)> {
        match self {
            RawFiles::Os(os) => os.open(path, mode).map(|(file, opened)| (RawFile::Os(file), opened)),
            RawFiles::Sim(sim) => sim.open(path, mode).map(|(file, opened)| (RawFile::Sim(file), opened)),
        }
    }

    /// Makes one directory; its parent must exist. `Opened::Existing` if it was there.
    pub(super) fn create_dir(&self, path: &str) -> io::Result<Opened> {
        match self {
            RawFiles::Os(os) => os.create_dir(path),
            RawFiles::Sim(sim) => sim.create_dir(path),
        }
    }

    pub(super) fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        match self {
            RawFiles::Os(os) => os.remove_dir_all(path),
            RawFiles::Sim(sim) => sim.remove_dir_all(path),
        }
    }

    pub(super) fn remove_file(&self, path: &str) -> io::Result<()> {
        match self {
            RawFiles::Os(os) => os.remove_file(path),
            RawFiles::Sim(sim) => sim.remove_file(path),
        }
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match self {
            RawFiles::Os(os) => os.rename(from, to),
            RawFiles::Sim(sim) => sim.rename(from, to),
        }
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        match self {
            RawFiles::Os(os) => os.list(path),
            RawFiles::Sim(sim) => sim.list(path),
        }
    }

    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        match self {
            RawFiles::Os(os) => os.exists(path),
            RawFiles::Sim(sim) => sim.exists(path),
        }
    }

    pub(super) fn directory_index(&self, name: &str) -> usize {
        match self {
            RawFiles::Os(os) => os.directory_index(name),
            RawFiles::Sim(_) => 0,
        }
    }

    pub(super) fn space(&self, index: usize) -> Option<DiskSpace> {
        match self {
            RawFiles::Os(os) => os.space(index),
            // It has no bound unless a test sets one.
            RawFiles::Sim(_) => None,
        }
    }

    pub(super) fn sync_dir(&self, path: &str) -> io::Result<()> {
        match self {
            RawFiles::Os(os) => os.sync_dir(path),
            RawFiles::Sim(sim) => sim.sync_dir(path),
        }
    }

    /// Makes everything durable that anybody wrote or named so far.
    pub(super) fn sync_everything(&self) -> io::Result<()> {
        match self {
            RawFiles::Os(os) => os.sync_everything(),
            RawFiles::Sim(sim) => sim.sync_everything(),
        }
    }
}

impl RawFile {
    /// Writes all parts, one after the other, from `position` on.
    pub(super) fn write_parts(&self, position: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        match self {
            RawFile::Os(file) => super::os::write_parts(file, position, parts),
            RawFile::Sim(file) => file.write_parts(position, parts),
        }
    }

    pub(super) fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_parts(position, &mut [IoSlice::new(bytes)])
    }

    /// Reads until `buf` is full or the file ends.
    pub(super) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            RawFile::Os(file) => super::os::read_at(file, position, buf),
            RawFile::Sim(file) => file.read_at(position, buf),
        }
    }

    /// Reads up to so many bytes to the end of `out`; fewer only where the file ends.
    pub(super) fn read_onto(&self, position: u64, bytes: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            RawFile::Os(file) => super::os::read_onto(file, position, bytes, out),
            RawFile::Sim(file) => file.read_onto(position, bytes, out),
        }
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        match self {
            RawFile::Os(file) => file.metadata().map(|metadata| metadata.len()),
            RawFile::Sim(file) => file.len(),
        }
    }

    pub(super) fn truncate(&self, len: u64) -> io::Result<()> {
        match self {
            RawFile::Os(file) => file.set_len(len),
            RawFile::Sim(file) => file.truncate(len),
        }
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        match self {
            RawFile::Os(file) => file.sync_data(),
            RawFile::Sim(file) => file.sync_data(),
        }
    }

    pub(super) fn os_file(&self) -> Option<&File> {
        match self {
            RawFile::Os(file) => Some(file),
            RawFile::Sim(_) => None,
        }
    }
}
