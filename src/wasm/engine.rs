//! The engine's settings, and the ticker that makes deadlines pass.
//!
//! The ticker moves the engine's epoch on only while calls run and for a moment after them: an idle broker has no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel};

/// How often the epoch moves on while calls run: the grain of deadlines, and the slice of time after which a call
/// lets others go first.
const TICK: Duration = Duration::from_millis(2);

/// So many ticks without a call, and the ticker sleeps until one comes. To wake it costs the caller more than these do.
const IDLE_TICKS_MAX: u32 = 8;

/// The present moment on the monotonic clock, for measuring only.
#[allow(
    clippy::disallowed_methods,
    reason = "measures compile times and log rates; decides nothing that is replayed"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The engine's settings. A change of these changes the compatibility hash, so stored machine code of
/// other settings is compiled again by itself.
pub(super) fn config() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.cranelift_opt_level(OptLevel::Speed);
    config.wasm_component_model(true);
    config.wasm_simd(true);
    // The same input gives the same bytes on every machine: shadow runs and replays compare them.
    config.relaxed_simd_deterministic(true);
    config.cranelift_nan_canonicalization(true);
    // Instances live for hours and are reused for every batch, so a pool's quick instantiation is worth
    // nothing, while its slots would fix the number and the size of instances when the broker starts.
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    // Host calls run on the guest's stack as well; this fits the 2 MiB of an ordinary thread twice over.
    config.max_wasm_stack(512 << 10);
    config
}

/// Moves an engine's epoch on while calls run.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    engine: Engine,
    running: AtomicUsize,
    /// Set by the ticker before it looks at `running` for the last time, and read by callers after they have
    /// raised it: so one of both sees the other.
    asleep: AtomicBool,
    stopping: Mutex<bool>,
    woken: Condvar,
}

/// A call under way; the epoch moves on as long as it lives.
pub(super) struct RunningCall(Arc<Shared>);

impl Ticker {
    pub(super) fn start(engine: Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            engine,
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
            stopping: Mutex::new(false),
            woken: Condvar::new(),
        });
        let ticking = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("wasm-ticker".to_owned()).spawn(move || ticking.tick())?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// Announces a call.
    pub(super) fn call(&self) -> RunningCall {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            let _awake = self.shared.stopping.lock();
            self.shared.woken.notify_one();
        }
        RunningCall(Arc::clone(&self.shared))
    }
}

impl Shared {
    fn tick(&self) {
        let mut stopping = self.stopping.lock();
        let mut idle_ticks = 0;
        while !*stopping {
            let may_sleep = idle_ticks >= IDLE_TICKS_MAX;
            self.asleep.store(may_sleep, Ordering::SeqCst);
            let is_idle = self.running.load(Ordering::SeqCst) == 0;
            if may_sleep && is_idle {
                self.woken.wait(&mut stopping);
                idle_ticks = 0;
            } else {
                idle_ticks = if is_idle { idle_ticks + 1 } else { 0 };
                self.woken.wait_for(&mut stopping, TICK);
                self.engine.increment_epoch();
            }
        }
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.shared.stopping.lock() = true;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panicked ticker has nothing left to stop.
            let _ = thread.join();
        }
    }
}
