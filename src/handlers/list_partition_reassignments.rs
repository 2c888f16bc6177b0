//! ListPartitionReassignments, version 0 (KIP-455): with one broker none is ever under way.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::handlers::context::{Context, Handled};

/// Names no partition, whichever were asked for: Kafka leaves out those that stay where they are.
pub fn handle(context: &Context) -> Handled {
    let _request: ListPartitionReassignmentsRequest = context.decode()?;
    context.respond(&ListPartitionReassignmentsResponse::default())
}
