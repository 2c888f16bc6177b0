//! The disk as the rest of the broker sees it: files and directories under one data directory, and
//! the one seam behind which durability stands.
//!
//! After a failed write or fsync the disk is offline for ever; nothing is retried and trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use parking_lot::{Condvar, Mutex};

use super::atomic::{self, Step};
use super::checkpoint;
use super::error::{is_broken, is_full};
use super::file::{DiskFile, FileInner};
use super::journal::waiters::{DurableCallback, DurableFuture, notify};
use super::journal::{Change, Journal, Round, WriterOptions, replay};
use super::os::{DirectoryLock, OsFiles};
use super::path::{self, JOURNAL_DIRECTORY};
use super::raw::{Opened, RawFiles};
use super::registry::Registry;
use super::{DirEntry, DiskError, DiskOptions, DiskSpace, JournalPosition, JournalReplay, OpenMode, SimDisk};

/// One data directory, or several as one; clones are the same.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
    /// Ends the threads with the last clone.
    threads: Arc<Threads>,
}

/// How queued entries become durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Committing {
    /// By a thread of its own.
    Thread,
    /// By whoever waits: a simulated disk has no threads.
    OnDemand,
}

/// What files and threads share.
pub(super) struct Shared {
    pub(super) raw: RawFiles,
    pub(super) options: DiskOptions,
    pub(super) registry: Registry,
    pub(super) journal: Journal,
    committing: Committing,
    offline: Mutex<Option<Arc<str>>>,
    is_offline: AtomicBool,
    is_closed: AtomicBool,
    /// One checkpoint at a time.
    pub(super) checkpointing: Mutex<()>,
    /// What the checkpointer is to look after, or that it is to end.
    chores: Mutex<Chores>,
    chores_signal: Condvar,
    lock: Mutex<Option<DirectoryLock>>,
}

/// What the checkpointing thread is woken for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Chores {
    None,
    Due,
    Stop,
}

struct Threads {
    shared: Arc<Shared>,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
        // Unsynced files refer to what holds them: without this the directory would stay locked.
        drop(self.shared.registry.take_dirty());
        self.shared.lock.lock().take();
    }
}

impl Threads {
    /// Ends the threads, once what is queued is committed.
    fn stop(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.shared.journal.stop();
        *self.shared.chores.lock() = Chores::Stop;
        self.shared.chores_signal.notify_all();
        let handles = std::mem::take(&mut *self.handles.lock());
        for handle in handles {
            // The last clone may be dropped by a callback, on the committer's own thread.
            if handle.thread().id() != thread::current().id() {
                // A thread that panicked has taken the disk offline already.
                let _ = handle.join();
            }
        }
        if let Err(error) = self.shared.check("wait", "") {
            self.shared.journal.waiters.wake_all(&error);
        }
    }
}

/// A thread that ends in a panic leaves nobody waiting for what it will never do.
struct OfflineOnPanic<'a>(&'a Shared);

impl Drop for OfflineOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let panicked = std::io::Error::other("a thread of the disk panicked");
            self.0.go_offline(&DiskError::from_io("commit", JOURNAL_DIRECTORY, panicked));
        }
    }
}

impl Disk {
    /// Locks the directory, replays its journal, and starts to commit.
    pub fn open(data_directory: &Path, options: DiskOptions) -> Result<(Disk, JournalReplay), DiskError> {
        Disk::open_several(&[data_directory.to_owned()], options)
    }

    /// The same over several directories: the first has the journal, and new directories go where the fewest
    /// are. A directory that was in use once must be named for ever.
    pub fn open_several(
        directories: &[PathBuf],
        options: DiskOptions,
    ) -> Result<(Disk, JournalReplay), DiskError> {
        let (files, lock) = OsFiles::open_locked(directories)?;
        let (disk, replay) = Disk::over(RawFiles::Os(files), Some(lock), options, Committing::Thread)?;
        disk.startthreads()?;
        Ok((disk, replay))
    }

    /// A simulated disk with default options.
    pub fn simulated(sim: SimDisk) -> Disk {
        Disk::open_simulated(sim, DiskOptions::default()).expect("a simulated disk without faults opens").0
    }

    /// A simulated disk, whose journal is replayed too.
    pub fn open_simulated(sim: SimDisk, options: DiskOptions) -> Result<(Disk, JournalReplay), DiskError> {
        Disk::over(RawFiles::Sim(sim), None, options, Committing::OnDemand)
    }

    fn over(
        raw: RawFiles,
        lock: Option<DirectoryLock>,
        options: DiskOptions,
        committing: Committing,
    ) -> Result<(Disk, JournalReplay), DiskError> {
        raw.create_dir(JOURNAL_DIRECTORY)
            .and_then(|_| raw.sync_dir(""))
            .map_err(|error| DiskError::from_io("create", JOURNAL_DIRECTORY, error))?;
        // A checkpoint must be able to bring the journal below half of its bound: what it cannot free
        // is the current file, and the group that overran it.
        let quarter = (options.journal_bytes_max / 4).max(1);
        let file_bytes = options.journal_file_bytes.clamp(1, quarter);
        let (report, start) = replay::replay(&raw, file_bytes)?;
        let writer = WriterOptions {
            file_bytes,
            first_file_bytes: match committing {
                Committing::Thread => options.journal_first_file_bytes,
                Committing::OnDemand => 0,
            },
            spares_max: usize::try_from(options.journal_bytes_max / file_bytes).unwrap_or(usize::MAX),
            queue_bytes_max: options
                .journal_queue_bytes_max
                .min(usize::try_from(quarter).unwrap_or(usize::MAX)),
        };
        let journal = Journal::start(&raw, start, writer)?;
        let shared = Arc::new(Shared {
            raw,
            options,
            registry: Registry::default(),
            journal,
            committing,
            offline: Mutex::new(None),
            is_offline: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            checkpointing: Mutex::new(()),
            chores: Mutex::new(Chores::Due),
            chores_signal: Condvar::new(),
            lock: Mutex::new(lock),
        });
        let threads = Threads { shared: Arc::clone(&shared), handles: Mutex::new(Vec::new()) };
        Ok((Disk { shared, threads: Arc::new(threads) }, report))
    }

    fn startthreads(&self) -> Result<(), DiskError> {
        let start = |name: &str, work: fn(&Arc<Shared>)| {
            let shared = Arc::clone(&self.shared);
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&shared))
                .map_err(|error| DiskError::from_io("start the thread", name, error))
        };
        for (name, work) in [
            ("journal-committer", Shared::commit_until_stopped as fn(&Arc<Shared>)),
            ("checkpointer", Shared::checkpoint_until_stopped),
        ] {
            self.threads.handles.lock().push(start(name, work)?);
        }
        Ok(())
    }

    /// Makes a directory and those above it.
    pub fn create_dir_all(&self, path: &str) -> Result<(), DiskError> {
        path::check(path)?;
        self.shared.check("create", path)?;
        let mut at = 0;
        while let Some(next) = path.get(at..).and_then(|rest| rest.find('/')) {
            self.create_dir(path.get(..at + next).unwrap_or(path))?;
            at += next + 1;
        }
        self.create_dir(path)
    }

    fn create_dir(&self, path: &str) -> Result<(), DiskError> {
        let made =
            self.shared.raw.create_dir(path).map_err(|e| self.shared.change_failed("create", path, e))?;
        if made == Opened::New {
            self.shared.registry.directory_is_dirty(path::parent(path));
        }
        Ok(())
    }

    /// Removes a directory with all that it holds, durably: a directory that is made again under
    /// this name never finds anything of the old one.
    pub fn remove_dir_all(&self, path: &str) -> Result<(), DiskError> {
        path::check(path)?;
        self.forget_entries("remove", path)?;
        self.shared.raw.remove_dir_all(path).map_err(|e| self.shared.change_failed("remove", path, e))?;
        self.shared.registry.removed(path);
        self.sync_directory(path::parent(path))
    }

    /// Removes a file. Durable with the next `sync_dir` or checkpoint.
    pub fn remove_file(&self, path: &str) -> Result<(), DiskError> {
        path::check(path)?;
        self.forget_entries("remove", path)?;
        self.shared.raw.remove_file(path).map_err(|e| self.shared.change_failed("remove", path, e))?;
        self.shared.registry.removed(path);
        self.shared.registry.directory_is_dirty(path::parent(path));
        Ok(())
    }

    /// Gives a file or directory another name, durably; a file of the new name is replaced.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DiskError> {
        self.change_name(from, to)?;
        if from == to {
            return Ok(());
        }
        // The new name first, so that a power cut between the two leaves at least one of them.
        self.sync_directory(path::parent(to))?;
        if path::parent(from) != path::parent(to) {
            self.sync_directory(path::parent(from))?;
        }
        Ok(())
    }

    /// Gives files of one directory other names in it, durably and with one sync, which also makes
    /// durable what was removed there before. A power cut in between may keep any of the changes and
    /// lose others.
    pub fn rename_all(&self, directory: &str, names: &[(String, String)]) -> Result<(), DiskError> {
        for (from, to) in names {
            self.change_name(from, to)?;
        }
        self.sync_dir(directory)
    }

    fn change_name(&self, from: &str, to: &str) -> Result<(), DiskError> {
        path::check(from)?;
        path::check(to)?;
        self.forget_entries("rename", from)?;
        self.forget_entries("rename", to)?;
        self.shared.raw.rename(from, to).map_err(|e| self.shared.change_failed("rename", from, e))?;
        if from != to {
            self.shared.registry.removed(to);
            self.shared.registry.renamed(from, to);
        }
        Ok(())
    }

    /// No entry for what is at this path now may ever be replayed into what comes to stand there.
    fn forget_entries(&self, operation: &'static str, path: &str) -> Result<(), DiskError> {
        self.shared.check(operation, path)?;
        let replay_from = self.shared.journal.replay_from();
        match self.shared.registry.is_journaled_under(path, replay_from) {
            true => self.checkpoint(),
            false => Ok(()),
        }
    }

    /// What a directory holds, by name; "" is the data directory.
    pub fn list(&self, path: &str) -> Result<Vec<DirEntry>, DiskError> {
        path::check_directory(path)?;
        self.shared.check("list", path)?;
        let entries = self.shared.raw.list(path).map_err(|error| DiskError::from_io("list", path, error))?;
        Ok(entries.into_iter().filter(|entry| !path.is_empty() || path::check(&entry.name).is_ok()).collect())
    }

    /// Whether there is something of this name.
    pub fn exists(&self, path: &str) -> Result<bool, DiskError> {
        path::check(path)?;
        self.shared.check("stat", path)?;
        self.shared.raw.exists(path).map_err(|error| DiskError::from_io("stat", path, error))
    }

    /// The number of the log directory, in the order in which they were opened, that a directory of the top level
    /// lies in.
    pub fn directory_index(&self, name: &str) -> usize {
        self.shared.raw.directory_index(name)
    }

    /// The room on the file system of a log directory, by its number; `None` if it does not say.
    pub fn space(&self, index: usize) -> Option<DiskSpace> {
        self.shared.raw.space(index)
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, path: &str) -> Result<(), DiskError> {
        path::check_directory(path)?;
        self.shared.check("fsync", path)?;
        self.sync_directory(path)
    }

    fn sync_directory(&self, path: &str) -> Result<(), DiskError> {
        self.shared.registry.take_dirty_directory(path);
        self.shared.raw.sync_dir(path).map_err(|error| self.shared.sync_failed("fsync", path, error))
    }

    /// Syncs the directories above `path` whose names are not durable yet.
    fn sync_directories_above(&self, path: &str) -> Result<(), DiskError> {
        let mut directory = path;
        while !directory.is_empty() {
            directory = path::parent(directory);
            if self.shared.registry.take_dirty_directory(directory) {
                self.shared
                    .raw
                    .sync_dir(directory)
                    .map_err(|e| self.shared.sync_failed("fsync", directory, e))?;
            }
        }
        Ok(())
    }

    /// Opens a file.
    pub fn open_file(&self, path: &str, mode: OpenMode) -> Result<DiskFile, DiskError> {
        DiskFile::open(&self.shared, path, mode)
    }

    /// A whole file's bytes.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, DiskError> {
        let file = self.open_file(path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Replaces a whole file durably: whoever reads it finds the old bytes or the new.
    pub fn write_atomically(&self, path: &str, bytes: &[u8]) -> Result<(), DiskError> {
        path::check(path)?;
        self.forget_entries("write", path)?;
        let beside = format!("{path}.tmp");
        atomic::write(&self.shared.raw, &beside, path, bytes).map_err(|failure| {
            let failed = match failure.step {
                Step::Change => Shared::change_failed,
                Step::Write => Shared::write_failed,
                Step::Sync => Shared::sync_failed,
            };
            failed(&self.shared, failure.step.operation(), path, failure.error)
        })?;
        // Handles of the replaced file would write where nobody reads.
        self.shared.registry.removed(path);
        self.sync_directories_above(path)
    }

    /// Everything up to here is durable.
    pub fn durable_position(&self) -> JournalPosition {
        JournalPosition(self.shared.journal.durable())
    }

    /// Resolves once everything up to `position` is durable, or the disk has failed.
    pub fn wait_durable(&self, position: JournalPosition) -> DurableFuture {
        DurableFuture::new(Arc::clone(&self.shared), position)
    }

    /// Waits on this thread; for start-up, shutdown and tests.
    pub fn wait_durable_blocking(&self, position: JournalPosition) -> Result<(), DiskError> {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = std::pin::pin!(self.wait_durable(position));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Calls back once `position` is durable, or the disk has failed.
    pub fn notify_durable(&self, position: JournalPosition, callback: DurableCallback) {
        if self.shared.committing == Committing::OnDemand {
            let _ = self.shared.commit();
        }
        notify(&self.shared, position, callback);
    }

    /// Syncs everything that was written since the last checkpoint, and lets the journal go.
    pub fn checkpoint(&self) -> Result<(), DiskError> {
        self.shared.check("checkpoint", "")?;
        checkpoint::run(&self.shared)
    }

    /// Whether the disk still works.
    pub fn health(&self) -> Result<(), DiskError> {
        self.shared.check("use", "")
    }

    /// Makes everything durable in its place, stops the threads, and unlocks the directory.
    pub fn close(&self) -> Result<(), DiskError> {
        self.shared.check("close", "")?;
        self.shared.commit()?;
        // The threads end first, so that nothing is written after the last checkpoint.
        self.threads.stop();
        let checkpointed = checkpoint::run(&self.shared);
        let closed = checkpointed.and_then(|()| self.shared.journal.closed(&self.shared.raw));
        self.shared.lock.lock().take();
        closed
    }
}

impl Shared {
    /// Whether anything may still be done.
    pub(super) fn check(&self, operation: &'static str, path: &str) -> Result<(), DiskError> {
        self.check_online()?;
        if self.is_closed.load(Ordering::Acquire) {
            return Err(DiskError::Closed { operation, path: path.to_owned() });
        }
        Ok(())
    }

    /// Whether the disk still works; a closed one has yet to commit what is queued.
    pub(super) fn check_online(&self) -> Result<(), DiskError> {
        if self.is_offline.load(Ordering::Acquire) {
            let cause = self.offline.lock().clone().unwrap_or_else(|| "an unknown failure".into());
            return Err(DiskError::Offline { cause });
        }
        Ok(())
    }

    /// A change of names failed: only a broken device takes the disk offline.
    pub(super) fn change_failed(
        &self,
        operation: &'static str,
        path: &str,
        error: std::io::Error,
    ) -> DiskError {
        let is_broken = is_broken(&error);
        let error = DiskError::from_io(operation, path, error);
        if is_broken {
            self.go_offline(&error);
        }
        error
    }

    /// A write failed: a full disk leaves the rest usable, anything else does not.
    pub(super) fn write_failed(
        &self,
        operation: &'static str,
        path: &str,
        error: std::io::Error,
    ) -> DiskError {
        let is_full = is_full(&error);
        let error = DiskError::from_io(operation, path, error);
        if !is_full {
            self.go_offline(&error);
        }
        error
    }

    /// An fsync failed: what the page cache held may be lost, and a second try would say it is not.
    pub(super) fn sync_failed(
        &self,
        operation: &'static str,
        path: &str,
        error: std::io::Error,
    ) -> DiskError {
        let error = DiskError::from_io(operation, path, error);
        self.go_offline(&error);
        error
    }

    /// For ever, with the first failure as its cause; wakes everybody who waits.
    pub(super) fn go_offline(&self, cause: &DiskError) {
        {
            let mut offline = self.offline.lock();
            if offline.is_none() {
                tracing::error!(%cause, "the disk is offline");
                *offline = Some(cause.to_string().into());
            }
        }
        self.is_offline.store(true, Ordering::Release);
        self.journal.stop();
        if let Err(error) = self.check("wait", "") {
            self.journal.waiters.wake_all(&error);
        }
    }

    /// Queues a change, after the news that the file is new where that is due.
    pub(super) fn enqueue(
        &self,
        file: &Arc<FileInner>,
        change: Change,
    ) -> Result<JournalPosition, DiskError> {
        if self.journal.is_full() {
            match self.committing {
                Committing::Thread => self.journal.wait_for_room(),
                Committing::OnDemand => self.commit()?,
            }
            self.check("append", &file.path())?;
        }
        let create = file.take_news().then_some(Change::Create);
        let sequence = self.journal.push(&file.path(), create.into_iter().chain([change]));
        file.entry_queued(sequence);
        Ok(JournalPosition(sequence))
    }

    /// What a wait for `position` comes to, if that is known.
    pub(super) fn settled(&self, position: JournalPosition) -> Option<Result<(), DiskError>> {
        if let Err(error) = self.check_online() {
            return Some(Err(error));
        }
        if position.0 <= self.journal.durable() {
            return Some(Ok(()));
        }
        self.check("wait", "").err().map(Err)
    }

    /// The same, after committing where no thread does it.
    pub(super) fn settled_or_commit(&self, position: JournalPosition) -> Option<Result<(), DiskError>> {
        let settled = self.settled(position);
        if settled.is_some() || self.committing == Committing::Thread {
            return settled;
        }
        if let Err(error) = self.commit() {
            return Some(Err(error));
        }
        self.settled(position)
    }

    /// Makes what is queued durable and wakes who waits for it.
    fn commit(&self) -> Result<(), DiskError> {
        self.check_online()?;
        match self.journal.commit(&self.raw) {
            Ok(Round::Idle) => Ok(()),
            Ok(Round::Committed) => {
                self.journal.waiters.wake_up_to(JournalPosition(self.journal.durable()));
                self.after_commit()
            }
            Err(error) => {
                self.go_offline(&error);
                Err(error)
            }
        }
    }

    /// Sees to it that the journal does not grow for ever.
    fn after_commit(&self) -> Result<(), DiskError> {
        let is_due = self.journal.live_bytes() > self.checkpoint_bytes();
        match self.committing {
            Committing::Thread if is_due || self.journal.wants_spare() => {
                let mut chores = self.chores.lock();
                if *chores == Chores::None {
                    *chores = Chores::Due;
                    self.chores_signal.notify_all();
                }
                Ok(())
            }
            Committing::OnDemand if is_due => checkpoint::run_if_over(self, self.checkpoint_bytes()),
            Committing::Thread | Committing::OnDemand => Ok(()),
        }
    }

    /// How full the journal may be before a checkpoint begins.
    fn checkpoint_bytes(&self) -> u64 {
        self.options.journal_bytes_max / 2
    }

    fn commit_until_stopped(self: &Arc<Self>) {
        let _guard = OfflineOnPanic(self);
        while self.journal.wait_for_work() {
            if self.journal.live_bytes() >= self.options.journal_bytes_max {
                // The journal is full and its checkpoint is late: appenders wait for it here.
                if let Err(error) = checkpoint::run_if_over(self, self.checkpoint_bytes()) {
                    self.go_offline(&error);
                    return;
                }
            }
            if self.commit().is_err() {
                return;
            }
        }
    }

    fn checkpoint_until_stopped(self: &Arc<Self>) {
        let _guard = OfflineOnPanic(self);
        loop {
            {
                let mut chores = self.chores.lock();
                while *chores == Chores::None {
                    self.chores_signal.wait(&mut chores);
                }
                if *chores == Chores::Stop {
                    return;
                }
                *chores = Chores::None;
            }
            let done = checkpoint::run_if_over(self, self.checkpoint_bytes())
                .and_then(|()| self.journal.prewrite(&self.raw));
            match done {
                Ok(()) => {}
                Err(error) if error.is_full() => tracing::warn!(%error, "the journal cannot be recycled yet"),
                Err(error) => {
                    self.go_offline(&error);
                    return;
                }
            }
        }
    }
}
