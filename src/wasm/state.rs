//! What stands behind a guest's imports: its log and config, a WASI that grants nothing and gives the
//! same answers in every run, and the limiter of its memory. `surroundings` has what a processor is given besides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wasmtime::component::{HasData, HasSelf, Linker, Resource};
use wasmtime::{Engine, ResourceLimiter};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::random as wasi_random;
use wasmtime_wasi::p2::bindings::sync::io::poll;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::bindings::flat::tidemill::plugin::{clock, config, log, metrics, random, state, timers};
use super::engine::now;
use super::log::GuestLog;
use super::random::WasiRandomness;
use super::surroundings::Around;
use crate::plugin::{CounterSink, Limits, LogLevel, LogSink, LogSource};

/// Elements over all tables; Python needs about 20 thousand.
const TABLE_ELEMENTS_MAX: usize = 1 << 20;
/// Core instances, memories and tables of one component; Python needs about 64.
const PARTS_MAX: usize = 128;

/// The data of an instance's store.
pub(super) struct GuestState {
    config: BTreeMap<String, String>,
    pub(super) log: GuestLog,
    wasi: WasiCtx,
    pub(super) wall_clock: StandingClock,
    pub(super) wasi_randomness: WasiRandomness,
    pub(super) table: ResourceTable,
    pub(super) around: Around,
    memory: MemoryUse,
    counters: CounterSink,
    /// The time of a call that gives its thread back after each slice.
    pub(super) time: Slices,
}

/// How much longer a call may run. Only its own slices count, not its waits for the next one.
#[derive(Default)]
pub(super) struct Slices {
    left: Duration,
    resumed: Arc<Mutex<Option<Instant>>>,
}

impl Slices {
    /// A call begins that may run for so long.
    pub(super) fn begin(&mut self, time_max: Duration) {
        self.left = time_max;
        *self.resumed.lock() = Some(now());
    }

    /// A slice is over: its time is taken off, and the answer notes when the next one begins. `None` if there is no
    /// time left.
    pub(super) fn end_slice(&mut self) -> Option<impl FnOnce() + Send + 'static> {
        let ran = self.resumed.lock().map_or(Duration::ZERO, |resumed| resumed.elapsed());
        self.left = self.left.saturating_sub(ran);
        let resumed = Arc::clone(&self.resumed);
        (!self.left.is_zero()).then_some(move || *resumed.lock() = Some(now()))
    }
}

/// What a guest of any kind is given.
pub(super) struct Given<'a> {
    pub(super) limits: &'a Limits,
    pub(super) config: &'a [(String, String)],
    pub(super) log: &'a LogSink,
    pub(super) counters: &'a CounterSink,
}

struct MemoryUse {
    bytes: usize,
    bytes_max: usize,
    table_elements: usize,
    refused: bool,
}

impl GuestState {
    pub(super) fn new(given: Given<'_>) -> GuestState {
        let log = GuestLog::new(given.log.clone(), given.limits);
        let wall_clock = StandingClock::default();
        GuestState {
            config: given.config.iter().cloned().collect(),
            counters: given.counters.clone(),
            wasi: wasi(&log, &wall_clock),
            log,
            wall_clock,
            wasi_randomness: WasiRandomness::new(),
            table: ResourceTable::new(),
            around: Around::default(),
            memory: MemoryUse::new(given.limits),
            time: Slices::default(),
        }
    }

    /// Whether the guest was refused memory since this was last asked.
    pub(super) fn take_memory_refused(&mut self) -> bool {
        std::mem::take(&mut self.memory.refused)
    }

    /// Linear memory of all the guest's parts; it never shrinks.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory.bytes as u64
    }

    pub(super) fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.memory
    }
}

/// How guests are called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// On a thread of their own.
    Blocking,
    /// As futures, which give their thread back after each slice of time.
    Yielding,
}

/// The linker with everything that guests may import.
pub(super) fn linker(engine: &Engine, calls: Calls) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    match calls {
        Calls::Blocking => wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?,
        Calls::Yielding => wasmtime_wasi::p2::add_to_linker_async(&mut linker)?,
    }
    // WASI's own `poll` would wait out of the deadline's reach.
    linker.allow_shadowing(true);
    poll::add_to_linker::<GuestState, PollAtOnce>(&mut linker, PollTable::of)?;
    wasi_random::random::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    wasi_random::insecure::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    linker.allow_shadowing(false);
    metrics::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    log::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    config::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    if calls == Calls::Blocking {
        state::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
        clock::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
        random::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
        timers::add_to_linker::<GuestState, HasSelf<GuestState>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}

/// No environment, no arguments, no files, no network, no input; output goes to the log. Clocks and
/// randomness are the same in every run, so that a replay gives the same bytes.
fn wasi(log: &GuestLog, wall_clock: &StandingClock) -> WasiCtx {
    let mut builder = WasiCtx::builder();
    builder
        .stdout(log.stream(LogSource::Stdout))
        .stderr(log.stream(LogSource::Stderr))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .wall_clock(wall_clock.clone())
        .monotonic_clock(CountingClock::default())
        .insecure_random_seed(0x7469_6465_6d69_6c6c);
    builder.build()
}

/// What the contract's `clock.now` says while a batch is processed, else 1970; a record's time is its timestamp.
#[derive(Clone, Default)]
pub(super) struct StandingClock(Arc<AtomicU64>);

impl StandingClock {
    /// Milliseconds since 1970; WASI knows no time before.
    pub(super) fn set(&self, now_ms: i64) {
        self.0.store(u64::try_from(now_ms).unwrap_or(0), Ordering::Relaxed);
    }
}

impl HostWallClock for StandingClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A microsecond further at each look, so that loops that wait for time to pass come to an end.
#[derive(Default)]
struct CountingClock(AtomicU64);

impl HostMonotonicClock for CountingClock {
    fn resolution(&self) -> u64 {
        1000
    }

    fn now(&self) -> u64 {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// WASI's `poll` without waiting: sleeping takes no time, since time does not pass for guests.
struct PollAtOnce;

struct PollTable<'a>(&'a mut ResourceTable);

impl PollTable<'_> {
    fn of(state: &mut GuestState) -> PollTable<'_> {
        PollTable(&mut state.table)
    }
}

impl HasData for PollAtOnce {
    type Data<'a> = PollTable<'a>;
}

impl poll::Host for PollTable<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        Ok((0..).zip(pollables).map(|(index, _)| index).collect())
    }
}

impl poll::HostPollable for PollTable<'_> {
    fn ready(&mut self, _: Resource<DynPollable>) -> wasmtime::Result<bool> {
        Ok(true)
    }

    fn block(&mut self, _: Resource<DynPollable>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.0, pollable)
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl log::Host for GuestState {
    fn write(&mut self, level: log::Level, message: String) {
        let level = match level {
            log::Level::Trace => LogLevel::Trace,
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.write(level, &message);
    }
}

impl metrics::Host for GuestState {
    fn add(&mut self, counter: String, value: u64) {
        self.counters.add(&counter, value);
    }
}

impl config::Host for GuestState {
    fn get(&mut self, key: String) -> Option<String> {
        self.config.get(&key).cloned()
    }

    fn all(&mut self) -> Vec<(String, String)> {
        self.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl MemoryUse {
    fn new(limits: &Limits) -> MemoryUse {
        MemoryUse { bytes: 0, bytes_max: limits.memory_bytes_max, table_elements: 0, refused: false }
    }
}

impl ResourceLimiter for MemoryUse {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = true;
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements.saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}
