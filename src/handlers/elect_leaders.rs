//! ElectLeaders, versions 0 to 2: every partition is led by its one replica, the preferred one, so
//! that no election is ever needed (Kafka's `ReplicationControlManager.electLeaders`).

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};

use crate::error_code::ErrorCode;
use crate::handlers::context::{Context, Handled};
use crate::handlers::convert::{message, topic_name, topic_partition};
use crate::ids::TopicName;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// Answers for each partition. Asked for all, only those are named that got another leader: none.
pub fn handle(context: &Context) -> Handled {
    let request: ElectLeadersRequest = context.decode()?;
    if ![PREFERRED, UNCLEAN].contains(&request.election_type) {
        let code = ErrorCode::InvalidRequest.code();
        return context.respond(&ElectLeadersResponse::default().with_error_code(code));
    }
    let topics = request.topic_partitions.into_iter().flatten().map(|topic| {
        let name = topic_name(&topic.topic);
        let partitions = topic.partitions.iter().map(|index| elect(context, &name, *index)).collect();
        ReplicaElectionResult::default().with_topic(topic.topic).with_partition_result(partitions)
    });
    let results = topics.collect();
    context.respond(&ElectLeadersResponse::default().with_replica_election_results(results))
}

fn elect(context: &Context, topic: &TopicName, index: i32) -> PartitionResult {
    let partition =
        topic_partition(topic, index).and_then(|partition| context.broker.partition(&partition).ok());
    let (code, why) = match partition {
        Some(_) => (ErrorCode::ElectionNotNeeded, "the preferred replica leads already".to_owned()),
        None => (ErrorCode::UnknownTopicOrPartition, format!("there is no partition {topic}-{index}")),
    };
    PartitionResult::default()
        .with_partition_id(index)
        .with_error_code(code.code())
        .with_error_message(message(code, why))
}
