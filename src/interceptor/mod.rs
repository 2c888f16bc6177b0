//! Interceptors: users' modules that judge records on their way between clients and topics.
//!
//! An `Attachment` says which module judges whose records of which topics. A `Link` runs it: a pool of
//! instances, a policy for faults, counters, a queue of acknowledgements. A `Chain` is the links that one
//! batch passes, in order; what comes out is a batch that the log takes as it would take one that was
//! compacted. Knows no partitions and no sockets; nothing here runs under a partition's lock.

mod attachment;
mod chain;
mod counters;
mod link;
mod links;
mod pool;

pub use attachment::{
    ATTACHMENT_NAME_BYTES_MAX, Attachment, AttachmentError, FaultPolicy, InterceptorLimits,
};
pub use chain::{BatchRules, Chain, PendingAcknowledgement, RecordRefusal, Refusal};
pub use counters::{CountersView, DirectionView};
pub use link::{Link, LinkFault};
pub use links::{Client, Interceptors};

#[cfg(test)]
pub(crate) mod fake;
