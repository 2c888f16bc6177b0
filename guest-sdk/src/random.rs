//! Randomness that repeats: a batch that is processed again gets the same numbers in the same order. It is no secret,
//! and there is none in `init`.

#[cfg(target_family = "wasm")]
use crate::bindings::flat_world::tidemill::plugin::random as host;
#[cfg(not(target_family = "wasm"))]
use crate::testing::random as host;

/// 64 random bits from the broker. In unit tests: see [`crate::testing::set_seed`].
pub fn next() -> u64 {
    host::next()
}

/// A generator (SplitMix64) that asks the broker once and then goes on by itself. Make one where it is used: one that is
/// kept from batch to batch does not repeat, as the instance may be another one when a batch is processed again.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that begins with a number from the broker.
    #[expect(clippy::new_without_default, reason = "two of them are never the same")]
    pub fn new() -> Random {
        Random(next())
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn seeded(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number below `end`, each as likely as any other; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Lemire's multiplication, which refuses the few numbers that would favour some answers.
        let refused = end.wrapping_neg().checked_rem(end).unwrap_or(0);
        loop {
            let product = u128::from(self.bits()) * u128::from(end);
            if product as u64 >= refused {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number from 0 (inclusive) to 1 (exclusive).
    pub fn unit(&mut self) -> f64 {
        const STEPS: f64 = (1u64 << 53) as f64;
        (self.bits() >> 11) as f64 / STEPS
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

#[cfg(test)]
mod tests;
