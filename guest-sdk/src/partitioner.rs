//! What a partitioner implements, the choice that Kafka's producers make, and the macros that make it a plugin.

use crate::{Error, Record};

/// Chooses the partitions that records go to, in the life cycle of Kafka's own partitioners.
///
/// A choice must follow from the record and the configuration alone: one topic has several instances, each with its own
/// memory, and the records of a key stay together only if all of them choose alike.
pub trait Partitioner: Sized + 'static {
    /// Runs once, before anything else. An error means: not with this configuration.
    fn configure() -> Result<Self, Error>;

    /// Chooses among the topic's partitions, 0 to `partitions` - 1. An error means that the record has no place, and
    /// discards the choices for its whole batch. What is not to be chosen otherwise: see [`default_partition`].
    fn partition(&mut self, topic: &str, partitions: u32, record: Record<'_>) -> Result<u32, Error>;

    /// The instance goes away. Called where that is possible: not after a panic, nor when the broker is killed.
    fn close(&mut self) {}
}

/// The partition that Kafka's producers choose for a key: its murmur2 hash, over all partitions. 0 if there are none.
pub fn partition_for_key(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff).checked_rem(partitions).unwrap_or(0)
}

/// The partition that Kafka's producers choose for a record: by its key. A record without one they put anywhere, as long
/// as the load is even; here its value is hashed instead, so that a batch that is sent again goes where it went.
pub fn default_partition(record: &Record<'_>, partitions: u32) -> u32 {
    partition_for_key(record.key.or(record.value).unwrap_or_default(), partitions)
}

/// Kafka's 32-bit murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;
    let mut hash = SEED ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// Makes the crate a plugin that partitions, in the fast flat world: `partitioner!(MyPartitioner)` for a type that
/// implements [`Partitioner`].
#[macro_export]
macro_rules! partitioner {
    ($partitioner:ty) => {
        #[doc(hidden)]
        pub struct __TidemillPlugin;
        impl $crate::bindings::partitioner_flat::Guest for __TidemillPlugin {
            $crate::__partitioner_life!($partitioner);
            fn partition(
                topic: ::std::string::String,
                partitions: u32,
                batch: ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<::std::vec::Vec<u32>, $crate::bindings::partitioner_flat::Fault> {
                $crate::runtime::partition_flat::<$partitioner>(&topic, partitions, &batch)
                    .map_err(::std::convert::Into::into)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_partitioner_flat!(
            __TidemillPlugin with_types_in $crate::bindings::partitioner_flat_world
        );
    };
}

/// Makes the crate a plugin that partitions, in the typed world: takes what [`partitioner!`] takes.
#[macro_export]
macro_rules! partitioner_typed {
    ($partitioner:ty) => {
        #[doc(hidden)]
        pub struct __TidemillPlugin;
        impl $crate::bindings::partitioner_typed::Guest for __TidemillPlugin {
            $crate::__partitioner_life!($partitioner);
            fn partition(
                topic: ::std::string::String,
                partitions: u32,
                batch: ::std::vec::Vec<$crate::bindings::partitioner_typed::RecordToPlace>,
            ) -> ::std::result::Result<::std::vec::Vec<u32>, $crate::bindings::partitioner_typed::Fault> {
                $crate::runtime::partition_typed::<$partitioner>(&topic, partitions, &batch)
                    .map_err(::std::convert::Into::into)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_partitioner_typed!(
            __TidemillPlugin with_types_in $crate::bindings::partitioner_typed_world
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __partitioner_life {
    ($partitioner:ty) => {
        fn configure() -> ::std::result::Result<(), ::std::string::String> {
            $crate::runtime::configure_partitioner::<$partitioner>()
        }
        fn close() {
            $crate::runtime::close_partitioner::<$partitioner>();
        }
    };
}

#[cfg(test)]
mod tests;
