//! What a waiting fetch sleeps on: fired once, by whichever of its partitions moves first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// A one-shot wake-up shared between one waiting fetch and the partitions that it watches.
#[derive(Default)]
pub struct FetchSignal {
    fired: AtomicBool,
    waker: AtomicWaker,
}

impl FetchSignal {
    /// Wakes the fetch; further calls do nothing.
    pub fn fire(&self) {
        self.fired.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Resolves once the signal has been fired.
    pub fn fired(&self) -> impl Future<Output = ()> + '_ {
        std::future::poll_fn(|context| {
            self.waker.register(context.waker());
            match self.fired.load(Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    }
}
