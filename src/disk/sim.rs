//! A disk in memory for tests: what was synced and what was not is kept apart, so that `crash` can
//! leave what a power cut could leave; errors and full disks come when asked for.
//!
//! Raw operations only: the journal above is the real one. Deterministic: the same calls and the
//! same seed give the same bytes.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use super::raw::Opened;
use super::{DirEntry, EntryKind, OpenMode};

const ROOT: u64 = 0;

/// What goes wrong at a chosen call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SimFault {
    /// The call does nothing and answers EIO.
    Io,
    /// A write leaves half of its bytes and answers EIO; any other call is as with `Io`.
    ShortWrite,
    /// The call does nothing and answers ENOSPC.
    Full,
}

/// An in-memory disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of a simulated disk.
pub(super) struct SimFile {
    disk: SimDisk,
    inode: u64,
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    next_change: u64,
    calls: u64,
    fault: Option<(u64, SimFault)>,
    bytes_max: Option<u64>,
}

#[derive(Clone)]
enum Inode {
    Directory(Directory),
    File(FileNode),
}

#[derive(Clone, Default)]
struct Directory {
    entries: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    /// The last unsynced change of a name. A rename gives both of its names the same number, since
    /// a power cut keeps or loses both.
    changes: BTreeMap<String, u64>,
}

#[derive(Clone, Default)]
struct FileNode {
    content: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write { position: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

impl Default for State {
    fn default() -> State {
        State {
            inodes: BTreeMap::from([(ROOT, Inode::Directory(Directory::default()))]),
            next_inode: ROOT + 1,
            next_change: 0,
            calls: 0,
            fault: None,
            bytes_max: None,
        }
    }
}

impl SimDisk {
    /// An empty disk without faults.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// How many changing calls (writes, syncs, creations, removals, renames) there were so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Lets the `nth` changing call from now on (0 is the next one) go wrong.
    pub fn fail_call(&self, nth: u64, fault: SimFault) {
        let mut state = self.state.lock();
        state.fault = Some((state.calls + nth, fault));
    }

    /// How many bytes all files may hold together; a write past it answers ENOSPC, half done.
    pub fn set_bytes_max(&self, bytes_max: Option<u64>) {
        self.state.lock().bytes_max = bytes_max;
    }

    /// How many bytes all files hold together.
    pub fn bytes_used(&self) -> u64 {
        self.state.lock().bytes_used()
    }

    /// Flips one bit of a file, synced copy and all: rot. Answers whether the byte exists.
    pub fn flip_bit(&self, path: &str, position: usize) -> bool {
        let mut state = self.state.lock();
        let Ok(inode) = state.resolve(path) else { return false };
        let Some(Inode::File(file)) = state.inodes.get_mut(&inode) else { return false };
        if let Some(byte) = file.durable.get_mut(position) {
            *byte ^= 1;
        }
        match file.content.get_mut(position) {
            Some(byte) => {
                *byte ^= 1;
                true
            }
            None => false,
        }
    }

    /// What a power cut at this moment could leave, chosen by the seed: every unsynced write is
    /// kept, lost or torn, every unsynced change of a name is kept or lost. This disk goes on as if
    /// nothing had happened.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let old = self.state.lock();
        let mut crash = Crash {
            old: &old,
            new: BTreeMap::new(),
            next_inode: ROOT + 1,
            coins: BTreeMap::new(),
            rng: Rng(seed),
        };
        let root = crash.directory(ROOT);
        let Crash { mut new, next_inode, .. } = crash;
        new.insert(ROOT, Inode::Directory(root));
        let state = State { inodes: new, next_inode, bytes_max: old.bytes_max, ..State::default() };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn open(&self, path: &str, mode: OpenMode) -> io::Result<(SimFile, Opened)> {
        let mut state = self.state.lock();
        let (inode, opened) = match (state.resolve(path), mode) {
            (Ok(inode), OpenMode::Read | OpenMode::ReadWrite | OpenMode::Create) => (inode, Opened::Existing),
            (Err(error), OpenMode::Create) if error.kind() == io::ErrorKind::NotFound => {
                state.begin()?;
                (state.link_new(path, Inode::File(FileNode::default()))?, Opened::New)
            }
            (Err(error), OpenMode::Read | OpenMode::ReadWrite | OpenMode::Create) => return Err(error),
        };
        state.file(inode)?;
        Ok((SimFile { disk: self.clone(), inode }, opened))
    }

    pub(super) fn create_dir(&self, path: &str) -> io::Result<Opened> {
        let mut state = self.state.lock();
        if let Ok(inode) = state.resolve(path) {
            return match state.inodes.get(&inode) {
                Some(Inode::Directory(_)) => Ok(Opened::Existing),
                Some(Inode::File(_)) | None => Err(Errno::EXIST.into()),
            };
        }
        state.begin()?;
        state.link_new(path, Inode::Directory(Directory::default()))?;
        Ok(Opened::New)
    }

    pub(super) fn remove_dir_all(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.resolve(path)?;
        state.directory(inode)?;
        state.begin()?;
        state.unlink_children(inode);
        state.unlink(path)
    }

    pub(super) fn remove_file(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.resolve(path)?;
        state.file(inode)?;
        state.begin()?;
        state.unlink(path)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.resolve(from)?;
        let (from_directory, from_name) = state.locate(from)?;
        let (to_directory, to_name) = state.locate(to)?;
        state.begin()?;
        let change = state.change();
        let directory = state.directory(from_directory)?;
        directory.entries.remove(&from_name);
        directory.changes.insert(from_name, change);
        let directory = state.directory(to_directory)?;
        directory.entries.insert(to_name.clone(), inode);
        directory.changes.insert(to_name, change);
        Ok(())
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<DirEntry>> {
        let mut state = self.state.lock();
        let inode = state.resolve(path)?;
        let entries = state.directory(inode)?.entries.clone();
        let entry = |(name, inode): (String, u64)| match state.inodes.get(&inode) {
            Some(Inode::File(file)) => {
                DirEntry { name, kind: EntryKind::File, len: file.content.len() as u64 }
            }
            Some(Inode::Directory(_)) | None => DirEntry { name, kind: EntryKind::Directory, len: 0 },
        };
        Ok(entries.into_iter().map(entry).collect())
    }

    pub(super) fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.state.lock().resolve(path).is_ok())
    }

    pub(super) fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.resolve(path)?;
        state.directory(inode)?;
        state.begin()?;
        let directory = state.directory(inode)?;
        directory.sync();
        Ok(())
    }

    pub(super) fn sync_everything(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.begin()?;
        for inode in state.inodes.values_mut() {
            match inode {
                Inode::Directory(directory) => directory.sync(),
                Inode::File(file) => file.sync(),
            }
        }
        Ok(())
    }
}

impl SimFile {
    pub(super) fn write_parts(&self, position: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let position = usize::try_from(position).map_err(|_| io::Error::from(Errno::FBIG))?;
        let mut outcome = match state.begin_with_fault() {
            None => Ok(()),
            Some(SimFault::Io) => return Err(Errno::IO.into()),
            Some(SimFault::Full) => return Err(Errno::NOSPC.into()),
            Some(SimFault::ShortWrite) => {
                bytes.truncate(bytes.len() / 2);
                Err(io::Error::from(Errno::IO))
            }
        };
        let used = state.bytes_used();
        let bytes_max = state.bytes_max;
        let file = state.file(self.inode)?;
        let growth = (position + bytes.len()).saturating_sub(file.content.len()) as u64;
        if bytes_max.is_some_and(|max| growth > 0 && used + growth > max) {
            bytes.truncate(bytes.len() / 2);
            outcome = Err(Errno::NOSPC.into());
        }
        let pending = Pending::Write { position, bytes };
        pending.apply(&mut file.content, None);
        file.pending.push(pending);
        outcome
    }

    pub(super) fn read_at(&self, position: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        let content = &state.file(self.inode)?.content;
        let rest = usize::try_from(position).ok().and_then(|position| content.get(position..)).unwrap_or(&[]);
        let count = rest.len().min(buf.len());
        for (to, from) in buf.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(count)
    }

    pub(super) fn read_onto(&self, position: u64, bytes: usize, out: &mut Vec<u8>) -> io::Result<usize> {
        let start = out.len();
        out.resize(start + bytes, 0);
        let read = self.read_at(position, out.get_mut(start..).unwrap_or_default());
        out.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().file(self.inode)?.content.len() as u64)
    }

    pub(super) fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.begin()?;
        let len = usize::try_from(len).map_err(|_| io::Error::from(Errno::FBIG))?;
        let file = state.file(self.inode)?;
        let pending = Pending::Truncate { len };
        pending.apply(&mut file.content, None);
        file.pending.push(pending);
        Ok(())
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.begin()?;
        state.file(self.inode)?.sync();
        Ok(())
    }
}

impl Directory {
    fn sync(&mut self) {
        self.durable = self.entries.clone();
        self.changes.clear();
    }
}

impl FileNode {
    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            pending.apply(&mut self.durable, None);
        }
    }
}

impl Pending {
    /// Does the change; of a write only the first `torn` bytes, if that is given.
    fn apply(&self, content: &mut Vec<u8>, torn: Option<usize>) {
        match self {
            Pending::Truncate { len } => content.resize(*len, 0),
            Pending::Write { position, bytes } => {
                let kept = bytes.get(..torn.unwrap_or(bytes.len())).unwrap_or(bytes);
                let end = position + kept.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                if let Some(target) = content.get_mut(*position..end) {
                    target.copy_from_slice(kept);
                }
            }
        }
    }
}

impl State {
    /// Counts a changing call, and answers the fault that was ordered for it.
    fn begin_with_fault(&mut self) -> Option<SimFault> {
        let call = self.calls;
        self.calls += 1;
        self.fault.take_if(|(at, _)| *at == call).map(|(_, fault)| fault)
    }

    fn begin(&mut self) -> io::Result<()> {
        match self.begin_with_fault() {
            None => Ok(()),
            Some(SimFault::Io | SimFault::ShortWrite) => Err(Errno::IO.into()),
            Some(SimFault::Full) => Err(Errno::NOSPC.into()),
        }
    }

    fn change(&mut self) -> u64 {
        self.next_change += 1;
        self.next_change
    }

    fn bytes_used(&self) -> u64 {
        let mut used = 0;
        let mut directories = vec![ROOT];
        while let Some(directory) = directories.pop() {
            let Some(Inode::Directory(directory)) = self.inodes.get(&directory) else { continue };
            for inode in directory.entries.values() {
                match self.inodes.get(inode) {
                    Some(Inode::File(file)) => used += file.content.len() as u64,
                    Some(Inode::Directory(_)) => directories.push(*inode),
                    None => {}
                }
            }
        }
        used
    }

    fn file(&mut self, inode: u64) -> io::Result<&mut FileNode> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => Ok(file),
            Some(Inode::Directory(_)) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    fn directory(&mut self, inode: u64) -> io::Result<&mut Directory> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Directory(directory)) => Ok(directory),
            Some(Inode::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    fn resolve(&self, path: &str) -> io::Result<u64> {
        let mut inode = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Some(Inode::Directory(directory)) = self.inodes.get(&inode) else {
                return Err(Errno::NOTDIR.into());
            };
            inode = *directory.entries.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(inode)
    }

    /// The directory that holds `path`, and its name in there.
    fn locate(&self, path: &str) -> io::Result<(u64, String)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.resolve(parent)?, name.to_owned()))
    }

    fn link_new(&mut self, path: &str, inode: Inode) -> io::Result<u64> {
        let (parent, name) = self.locate(path)?;
        let number = self.next_inode;
        let change = self.change();
        let directory = self.directory(parent)?;
        directory.entries.insert(name.clone(), number);
        directory.changes.insert(name, change);
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        Ok(number)
    }

    fn unlink(&mut self, path: &str) -> io::Result<()> {
        let (parent, name) = self.locate(path)?;
        let change = self.change();
        let directory = self.directory(parent)?;
        directory.entries.remove(&name);
        directory.changes.insert(name, change);
        Ok(())
    }

    /// Each name under a directory goes by itself: a power cut can leave some of them.
    fn unlink_children(&mut self, inode: u64) {
        let Ok(directory) = self.directory(inode) else { return };
        let entries = std::mem::take(&mut directory.entries);
        for (name, child) in entries {
            let change = self.change();
            if let Ok(directory) = self.directory(inode) {
                directory.changes.insert(name, change);
            }
            self.unlink_children(child);
        }
    }
}

/// Builds what is left after a power cut.
struct Crash<'a> {
    old: &'a State,
    new: BTreeMap<u64, Inode>,
    next_inode: u64,
    coins: BTreeMap<u64, bool>,
    rng: Rng,
}

impl Crash<'_> {
    fn directory(&mut self, inode: u64) -> Directory {
        let Some(Inode::Directory(old)) = self.old.inodes.get(&inode) else { return Directory::default() };
        let mut names: Vec<&String> = old.entries.keys().chain(old.durable.keys()).collect();
        names.sort();
        names.dedup();
        let mut kept = BTreeMap::new();
        for name in names {
            let (now, synced) = (old.entries.get(name), old.durable.get(name));
            let chosen = match old.changes.get(name) {
                Some(change) if now != synced => {
                    if self.coin(*change) {
                        now
                    } else {
                        synced
                    }
                }
                Some(_) | None => now,
            };
            if let Some(child) = chosen {
                kept.insert(name.clone(), self.node(*child));
            }
        }
        Directory { durable: kept.clone(), entries: kept, changes: BTreeMap::new() }
    }

    fn node(&mut self, inode: u64) -> u64 {
        let node = match self.old.inodes.get(&inode) {
            Some(Inode::File(file)) => Inode::File(self.file(file)),
            Some(Inode::Directory(_)) | None => Inode::Directory(self.directory(inode)),
        };
        let number = self.next_inode;
        self.next_inode += 1;
        self.new.insert(number, node);
        number
    }

    fn file(&mut self, old: &FileNode) -> FileNode {
        let mut content = old.durable.clone();
        for pending in &old.pending {
            match (self.rng.below(4), pending) {
                (0, Pending::Write { .. } | Pending::Truncate { .. }) => {}
                (1, Pending::Write { bytes, .. }) => {
                    let torn = self.rng.below(bytes.len() as u64 + 1);
                    pending.apply(&mut content, usize::try_from(torn).ok());
                }
                (_, Pending::Write { .. } | Pending::Truncate { .. }) => pending.apply(&mut content, None),
            }
        }
        FileNode { durable: content.clone(), content, pending: Vec::new() }
    }

    fn coin(&mut self, change: u64) -> bool {
        let rng = &mut self.rng;
        *self.coins.entry(change).or_insert_with(|| rng.below(2) == 1)
    }
}

/// SplitMix64: small, seeded, good enough to choose faults.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound.max(1)
    }
}
