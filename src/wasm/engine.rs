//! The engine's settings, and the ticker that makes deadlines pass.
//!
//! The ticker moves the engine's epoch on only while some call runs: an idle broker has no timer.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel};

/// How often the epoch moves on while calls run: the grain of deadlines.
const TICK: Duration = Duration::from_millis(5);

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
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    stopping: bool,
}

/// A call under way; the epoch moves on as long as it lives.
pub(super) struct RunningCall(Arc<Shared>);

impl Ticker {
    pub(super) fn start(engine: Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared { engine, state: Mutex::default(), changed: Condvar::new() });
        let ticking = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("wasm-ticker".to_owned()).spawn(move || ticking.tick())?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// Announces a call.
    pub(super) fn call(&self) -> RunningCall {
        let mut state = self.shared.state.lock();
        state.running += 1;
        if state.running == 1 {
            self.shared.changed.notify_one();
        }
        RunningCall(Arc::clone(&self.shared))
    }

    /// The epochs to wait until `duration` has surely passed.
    pub(super) fn epochs(duration: Duration) -> u64 {
        let ticks = duration.as_micros().div_ceil(TICK.as_micros());
        // One more, because the present epoch is partly over.
        u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2) + 1
    }
}

impl Shared {
    fn tick(&self) {
        let mut state = self.state.lock();
        while !state.stopping {
            if state.running == 0 {
                self.changed.wait(&mut state);
            } else {
                self.changed.wait_for(&mut state, TICK);
                self.engine.increment_epoch();
            }
        }
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.state.lock().running -= 1;
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panicked ticker has nothing left to stop.
            let _ = thread.join();
        }
    }
}
