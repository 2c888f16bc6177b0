//! Coordinators as pure state machines, and the one async shell that runs them.
//!
//! `group` and `txn` take events, time and fresh ids in and give a write, replies and effects out;
//! they know no tasks, clocks, locks or files. Recovery is `replay` over the shard's log.

mod coordinators;
pub mod group;
pub mod markers;
pub mod runtime;
pub mod txn;

pub use coordinators::{CoordinatorSettings, Coordinators, KeptGroupNames};
pub use runtime::{ShardHandle, Unavailable};

use crate::ids::{Offset, ProducerIdent};
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};

/// Who waits for a reply: given by the runtime, unique within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// What one step of a shard gives: at most one atomic write, and what may leave once it is durable.
#[derive(Debug, PartialEq)]
pub struct Output<R, P, E> {
    /// Appended to the shard's own partition as one batch.
    pub write: Option<Write<R>>,
    /// Answers, possibly to requests of earlier steps.
    pub replies: Vec<(RequestId, P)>,
    /// Things to do elsewhere; safe to do twice.
    pub effects: Vec<E>,
}

impl<R, P, E> Default for Output<R, P, E> {
    fn default() -> Self {
        Output { write: None, replies: Vec::new(), effects: Vec::new() }
    }
}

/// One atomic append to a shard's partition.
#[derive(Debug, PartialEq)]
pub enum Write<R> {
    /// Ordinary records in one batch.
    Records(Vec<R>),
    /// Records that count only if the producer's transaction commits (a batch without sequence).
    Transactional {
        /// Whose transaction.
        producer: ProducerIdent,
        /// The records.
        records: Vec<R>,
    },
    /// The end of a transaction that wrote to this partition.
    Marker(EndTransactionMarker, TransactionVersion),
}

/// One thing that a shard's log holds, as recovery meets it.
#[derive(Debug, PartialEq)]
pub enum Replayed<R> {
    /// A record; `producer` is there if its batch was transactional.
    Record {
        /// Where it stands in the log.
        offset: Offset,
        /// Whose transaction it belongs to, if any.
        producer: Option<ProducerIdent>,
        /// The record.
        record: R,
    },
    /// A transaction's end marker.
    Marker(EndTransactionMarker),
}
