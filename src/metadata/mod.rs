//! What the cluster is: topics, partitions, brokers, configs, modules, processors.
//!
//! A deterministic state machine (`image`) over records (`record`), decisions that change nothing
//! (`decide`), and the log that orders the records (`store`). On one node the log has one voter;
//! the code path is the one that a quorum will use. Knows no sockets, partitions' data or tasks.

pub mod decide;
pub mod image;
pub mod record;
pub mod store;

pub use decide::{CreateTopic, MetadataRefusal};
pub use image::{MetadataImage, PartitionImage, TopicImage};
pub use record::MetadataRecord;
pub use store::{MetadataError, MetadataStore};
