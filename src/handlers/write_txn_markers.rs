//! WriteTxnMarkers, version 1: an administrator ends a transaction that hangs in a partition
//! (`kafka-transactions abort`, KIP-664).

use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{producer, topic_name, topic_partition};
use crate::ids::CoordinatorEpoch;
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};

/// Writes markers, each on its own.
pub async fn handle(context: Context) -> Handled {
    let request: WriteTxnMarkersRequest = context.decode()?;
    let mut results = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        results.push(write(&context, marker).await);
    }
    context.respond(&WriteTxnMarkersResponse::default().with_markers(results))
}

async fn write(context: &Context, marker: WritableTxnMarker) -> WritableTxnMarkerResult {
    let result = if marker.transaction_result { EndTransaction::Commit } else { EndTransaction::Abort };
    let end = producer(marker.producer_id, marker.producer_epoch).map(|producer| EndTransactionMarker {
        producer,
        result,
        // An administrator's marker carries -1; it must not fence the real coordinator.
        coordinator_epoch: CoordinatorEpoch::from_wire(marker.coordinator_epoch)
            .unwrap_or(CoordinatorEpoch::ZERO),
    });
    let mut topics = Vec::with_capacity(marker.topics.len());
    for topic in marker.topics {
        let name = topic_name(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for index in topic.partition_indexes {
            let code = match (end, topic_partition(&name, index)) {
                (None, _) => ErrorCode::InvalidProducerEpoch,
                (Some(_), None) => ErrorCode::UnknownTopicOrPartition,
                (Some(end), Some(partition)) => {
                    context.broker.write_marker(&partition, &end, TransactionVersion::V1).await
                }
            };
            partitions.push(
                WritableTxnMarkerPartitionResult::default()
                    .with_partition_index(index)
                    .with_error_code(code.code()),
            );
        }
        topics
            .push(WritableTxnMarkerTopicResult::default().with_name(topic.name).with_partitions(partitions));
    }
    WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics)
}
