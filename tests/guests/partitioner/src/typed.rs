//! The typed world by hand, for answers that the SDK would never give.

use tidemill_guest::bindings::partitioner_typed::{Fault, Guest, RecordToPlace};
use tidemill_guest::runtime;

use crate::{TestPartitioner, told};

struct Plugin;

impl Guest for Plugin {
    fn configure() -> Result<(), String> {
        runtime::configure_partitioner::<TestPartitioner>()
    }

    fn partition(topic: String, partitions: u32, batch: Vec<RecordToPlace>) -> Result<Vec<u32>, Fault> {
        told(runtime::partition_typed::<TestPartitioner>(&topic, partitions, &batch).map_err(Fault::from))
    }

    fn close() {
        runtime::close_partitioner::<TestPartitioner>();
    }
}

#[cfg(target_family = "wasm")]
tidemill_guest::bindings::export_partitioner_typed!(
    Plugin with_types_in tidemill_guest::bindings::partitioner_typed_world
);
