//! Randomness that repeats: the numbers of the contract's `random`, and those behind WASI's.
//!
//! `wit/random.wit` promises the algorithm, so that a replay by another version of the broker gives the same bytes.
//! WASI's seed for hash maps is not here: it is a constant, so that no map's order depends on the batch that made it.

use wasmtime_wasi::p2::bindings::random::{insecure, random};

use super::fault::Refused;
use super::state::GuestState;

/// Bytes of randomness that a guest may ask WASI for at once.
const WASI_BYTES_MAX: u64 = 64 << 10;
/// What WASI's randomness begins with outside of calls of `process`.
const INSTANCE_SEED: u64 = 0x7469_6465_6d69_6c6c;
/// Sets WASI's randomness during a call apart from the contract's.
const WASI_STREAM: u64 = 0x7761_7369_7761_7369;

/// SplitMix64, as Steele, Lea and Flood have it (OOPSLA 2014) and Java's `SplittableRandom` uses it.
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> SplitMix64 {
        SplitMix64(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.next().to_le_bytes());
        words.take(length.div_ceil(8)).flatten().take(length).collect()
    }
}

/// What WASI's functions draw from.
pub(super) struct WasiRandomness {
    /// The instance's own, the same in every run.
    outside: SplitMix64,
    /// While a processor has a batch: begun anew for each, so that two batches do not get the same numbers.
    inside: Option<SplitMix64>,
}

impl WasiRandomness {
    pub(super) fn new() -> WasiRandomness {
        WasiRandomness { outside: SplitMix64::new(INSTANCE_SEED), inside: None }
    }

    pub(super) fn enter(&mut self, seed: u64) {
        let apart = SplitMix64::new(seed ^ WASI_STREAM).next();
        self.inside = Some(SplitMix64::new(apart));
    }

    pub(super) fn leave(&mut self) {
        self.inside = None;
    }

    fn bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > WASI_BYTES_MAX {
            return Err(
                Refused(format!("it asks for {length} random bytes at once, not {WASI_BYTES_MAX}")).into()
            );
        }
        Ok(self.stream().bytes(usize::try_from(length)?))
    }

    fn stream(&mut self) -> &mut SplitMix64 {
        self.inside.as_mut().unwrap_or(&mut self.outside)
    }
}

impl random::Host for GuestState {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.wasi_randomness.bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi_randomness.stream().next())
    }
}

impl insecure::Host for GuestState {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.wasi_randomness.bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.wasi_randomness.stream().next())
    }
}

#[cfg(test)]
mod tests;
