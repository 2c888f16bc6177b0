//! Who waits for which journal position. Woken in order and outside of the lock; knows nothing of
//! how entries become durable.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::disk::facade::Shared;
use crate::disk::{DiskError, JournalPosition};

/// Called once with the outcome.
pub(in crate::disk) type DurableCallback = Box<dyn FnOnce(Result<(), DiskError>) + Send>;

/// Everybody who waits, by position and then by arrival.
#[derive(Default)]
pub(in crate::disk) struct Waiters {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last_ticket: u64,
    waiting: BTreeMap<(JournalPosition, u64), Waiter>,
}

enum Waiter {
    Task(Waker),
    Callback(DurableCallback),
}

impl Waiters {
    /// Wakes everybody up to and including `position`, which must be published already.
    pub(in crate::disk) fn wake_up_to(&self, position: JournalPosition) {
        let woken = {
            let mut inner = self.inner.lock();
            if inner.waiting.first_key_value().is_none_or(|((first, _), _)| *first > position) {
                return;
            }
            let after = (JournalPosition(position.0.saturating_add(1)), 0);
            let rest = inner.waiting.split_off(&after);
            std::mem::replace(&mut inner.waiting, rest)
        };
        for waiter in woken.into_values() {
            waiter.settle(|| Ok(()));
        }
    }

    /// Wakes everybody: the disk failed or was closed, and says so by now.
    pub(in crate::disk) fn wake_all(&self, error: &DiskError) {
        let woken = std::mem::take(&mut self.inner.lock().waiting);
        for waiter in woken.into_values() {
            waiter.settle(|| Err(error.clone()));
        }
    }
}

impl Waiter {
    fn settle(self, outcome: impl FnOnce() -> Result<(), DiskError>) {
        match self {
            Waiter::Task(waker) => waker.wake(),
            Waiter::Callback(callback) => callback(outcome()),
        }
    }
}

/// Resolves once everything up to a journal position is durable, or the disk has failed.
#[must_use = "a future does nothing unless it is awaited"]
pub struct DurableFuture {
    shared: Arc<Shared>,
    position: JournalPosition,
    ticket: Option<u64>,
}

impl DurableFuture {
    pub(in crate::disk) fn new(shared: Arc<Shared>, position: JournalPosition) -> DurableFuture {
        DurableFuture { shared, position, ticket: None }
    }
}

impl Future for DurableFuture {
    type Output = Result<(), DiskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.shared.settled_or_commit(self.position) {
            return Poll::Ready(outcome);
        }
        let shared = Arc::clone(&self.shared);
        let mut inner = shared.journal.waiters.inner.lock();
        // Publishing happens before the publisher takes this lock, so whoever looks under it either
        // sees the outcome or will be found by the publisher.
        if let Some(outcome) = shared.settled(self.position) {
            return Poll::Ready(outcome);
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            inner.last_ticket += 1;
            inner.last_ticket
        });
        inner.waiting.insert((self.position, ticket), Waiter::Task(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for DurableFuture {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let gone = self.shared.journal.waiters.inner.lock().waiting.remove(&(self.position, ticket));
            drop(gone);
        }
    }
}

/// Calls `callback` once `position` is durable: at once if it is, else from the thread that makes
/// it so.
pub(in crate::disk) fn notify(shared: &Shared, position: JournalPosition, callback: DurableCallback) {
    let outcome = {
        let mut inner = shared.journal.waiters.inner.lock();
        match shared.settled(position) {
            Some(outcome) => outcome,
            None => {
                inner.last_ticket += 1;
                let key = (position, inner.last_ticket);
                inner.waiting.insert(key, Waiter::Callback(callback));
                return;
            }
        }
    };
    callback(outcome);
}
