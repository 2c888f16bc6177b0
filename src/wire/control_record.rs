//! Transaction markers: the control records that end a producer's transaction in a partition.

use crate::ids::{CoordinatorEpoch, ProducerIdent};

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EndTransaction {
    /// Its records become visible to read-committed consumers.
    Commit,
    /// Its records never do.
    Abort,
}

/// Which transaction protocol a request or a marker follows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TransactionVersion {
    /// Before KIP-890's second part: an epoch serves many transactions.
    V1,
    /// KIP-890: every end of a transaction bumps the epoch.
    V2,
}

/// One end-of-transaction marker, as a coordinator sends it and a partition's log holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTransactionMarker {
    /// Whose transaction, at the marker's epoch.
    pub producer: ProducerIdent,
    /// How it ends.
    pub result: EndTransaction,
    /// The epoch of the coordinator that decided it.
    pub coordinator_epoch: CoordinatorEpoch,
}
