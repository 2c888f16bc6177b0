//! Randomness for libraries that insist on it (hash maps' keys, mostly) where there is no WASI to give it: built for
//! `wasm32-unknown-unknown` with `--cfg getrandom_backend="custom"`. As with the broker's WASI, it is no secret: the
//! same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

static STATE: AtomicU64 = AtomicU64::new(0x7469_6465_6d69_6c6c);

/// What `getrandom` calls by this name: fills `length` bytes from `to` on, by SplitMix64.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(to: *mut u8, length: usize) -> Result<(), getrandom::Error> {
    for at in 0..length {
        let mut bits = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // SAFETY: getrandom gives a buffer of that length.
        unsafe { to.add(at).write((bits ^ (bits >> 31)) as u8) };
    }
    Ok(())
}
