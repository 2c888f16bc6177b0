//! A partition as a replica: leadership, high watermark, last stable offset, in-sync replicas,
//! waiting fetches.
//!
//! A partition is a short lock around its log, not a task. Nothing here waits: what must wait for
//! durability is given a journal position and waits above. Knows no requests, coordinators or
//! sockets.

mod fetch_signal;
mod registry;
mod replica;

pub use fetch_signal::FetchSignal;
pub(crate) use registry::kafka_uuid;
pub use registry::{
    OpenPartition, PARTITION_METADATA, PartitionRegistry, RegistryError, StartReport, partition_metadata,
};
pub use replica::{
    CleaningLimits, CleaningReport, CommittedAppend, FetchSpec, Fetched, Isolation, Partition,
    PartitionError, PartitionOffsets, VerificationGuard, Verified,
};
