//! How much state there may be.

/// The longest key, and the longest id of a timer. With the names around it, it must fit into what the cache takes
/// as a key, which is 64 KiB.
pub const KEY_BYTES_MAX: usize = 32 << 10;
/// The longest value. With its key, a record's framing and a batch's header it must stay under Kafka's default
/// `max.message.bytes` of 1048588: 1 MiB less twice the longest key.
pub const VALUE_BYTES_MAX: usize = (1 << 20) - 2 * KEY_BYTES_MAX;
/// The longest name of a store.
pub const STORE_NAME_BYTES_MAX: usize = 64;

/// What an entry counts for beside its key and value: about what keeping it costs.
pub(super) const ENTRY_BYTES: usize = 32;

/// The bounds of one task's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateLimits {
    /// All entries and timers. Counted by keys and values with something for each entry, so it is about what lies in
    /// the changelog once that is compacted.
    pub state_bytes_max: u64,
    /// What one transaction may write. A task hands over well before: see `TaskState::open_bytes`.
    pub transaction_bytes_max: u64,
    /// Timers of both domains.
    pub timers_max: u64,
}

impl Default for StateLimits {
    fn default() -> StateLimits {
        StateLimits { state_bytes_max: 1 << 30, transaction_bytes_max: 32 << 20, timers_max: 1_000_000 }
    }
}
