//! Carries out the transaction coordinator's decisions: writes end markers to partitions and tells
//! the coordinator what became of them.
//!
//! Markers for a group's partition go through its shard, because pending offsets end with them. A
//! marker may be written twice; partitions take the second one as a retry.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::coordinator::coordinators::Coordinators;
use crate::coordinator::group;
use crate::coordinator::txn::{Effect, Event, MarkerTarget};
use crate::error_code::ErrorCode;
use crate::ids::{PartitionIndex, TopicPartition};
use crate::partition::PartitionError;
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};

const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Writes markers until the broker stops.
pub async fn run(coordinators: Coordinators, mut effects: mpsc::UnboundedReceiver<(PartitionIndex, Effect)>) {
    let mut under_way = FuturesUnordered::new();
    let mut shutdown = coordinators.settings().shutdown.clone();
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => return,
            effect = effects.recv() => match effect {
                Some((shard, effect)) => under_way.push(carry_out(&coordinators, shard, effect)),
                None => return,
            },
            Some(()) = under_way.next(), if !under_way.is_empty() => {}
        }
    }
}

async fn carry_out(coordinators: &Coordinators, shard: PartitionIndex, effect: Effect) {
    let Effect::WriteMarker { target, marker, version } = effect;
    let event = match write(coordinators, &target.partition, &marker, version).await {
        ErrorCode::None => Event::MarkerWritten(target),
        ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced => {
            Event::MarkerFenced(target)
        }
        ErrorCode::UnknownTopicOrPartition => Event::PartitionGone(target),
        code => retry_later(target, code).await,
    };
    if let Ok(shard) = coordinators.txn_shard(shard) {
        // A shard that has ended sends all its markers again once it has loaded.
        let _ = shard.tell(event).await;
    }
}

async fn retry_later(target: MarkerTarget, code: ErrorCode) -> Event {
    tracing::warn!(partition = %target.partition, %code, "a transaction marker cannot be written yet");
    tokio::time::sleep(RETRY_DELAY).await;
    Event::MarkerFailedRetry(target)
}

/// Writes one marker and waits until it is durable.
pub async fn write(
    coordinators: &Coordinators,
    topic_partition: &TopicPartition,
    marker: &EndTransactionMarker,
    version: TransactionVersion,
) -> ErrorCode {
    let settings = coordinators.settings();
    if topic_partition.topic == settings.offsets_topic {
        return write_to_group(coordinators, topic_partition, *marker, version).await;
    }
    // On one node the metadata is the authority: a partition that is not here has been deleted.
    let Some(partition) = settings.partitions.get(topic_partition) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    let position = match partition.append_marker(marker, version, settings.clock.now()) {
        Ok(committed) => committed.position,
        Err(error) => return code_of(&error),
    };
    match settings.disk.wait_durable(position).await {
        Ok(()) => {
            partition.advance_high_watermark();
            ErrorCode::None
        }
        Err(_) => ErrorCode::KafkaStorageError,
    }
}

async fn write_to_group(
    coordinators: &Coordinators,
    topic_partition: &TopicPartition,
    marker: EndTransactionMarker,
    version: TransactionVersion,
) -> ErrorCode {
    let Some(partition) = coordinators.settings().partitions.get(topic_partition) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    // The shard ends its pending offsets together with the append: a marker that the log refuses
    // must not get that far.
    if let Err(error) = partition.check_marker(&marker, version) {
        return code_of(&error);
    }
    let Ok(shard) = coordinators.group_shard(topic_partition.partition) else {
        return ErrorCode::CoordinatorNotAvailable;
    };
    let asked = shard.ask(move |request, _| group::Event::Marker { request, marker, version }).await;
    let Ok(answer) = asked else { return ErrorCode::CoordinatorNotAvailable };
    match answer.await {
        Ok(group::Reply::Marker(code)) => code,
        Ok(_) | Err(_) => ErrorCode::CoordinatorNotAvailable,
    }
}

fn code_of(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::Rejected { code, .. } => *code,
        PartitionError::Deleted => ErrorCode::UnknownTopicOrPartition,
        PartitionError::Offline(_) => ErrorCode::KafkaStorageError,
    }
}
