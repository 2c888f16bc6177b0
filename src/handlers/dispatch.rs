//! From a frame to its handler, by API key and version.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use crate::broker::Broker;
use crate::handlers::context::{BadRequest, Connection, Context, Handled};
use crate::handlers::reply::{Outcome, Reply};
use crate::handlers::throttle::{Timed, Usage};
use crate::wire::request::{RequestError, RequestFrame};

/// Runs a request's ordered part.
pub async fn dispatch(broker: Arc<Broker>, connection: Arc<Connection>, frame: Bytes) -> Reply {
    let frame_bytes = frame.len();
    let request = match RequestFrame::parse(frame) {
        Ok(request) => request,
        Err(RequestError::UnsupportedVersion { api_key: ApiKey::ApiVersions, correlation_id, .. }) => {
            return super::api_versions::unsupported_version(correlation_id);
        }
        Err(error) => return Reply::Now(Outcome::Close(error.to_string())),
    };
    let context = Context::new(broker, connection, request, frame_bytes);
    let handled = match context.usage().cloned() {
        None => handle(context).await,
        Some(usage) => Timed::new(handle(context), Arc::clone(&usage)).await.map(|reply| timed(reply, usage)),
    };
    match handled {
        Ok(reply) => reply,
        Err(BadRequest(why)) => Reply::Now(Outcome::Close(why)),
    }
}

fn timed(reply: Reply, usage: Arc<Usage>) -> Reply {
    match reply {
        Reply::Now(outcome) => Reply::Now(outcome),
        Reply::Later(outcome) => Reply::later(Timed::new(outcome, usage)),
    }
}

async fn handle(context: Context) -> Handled {
    match context.request.api.key {
        ApiKey::Produce => super::produce::handle(context).await,
        ApiKey::Fetch => super::fetch::handle(context).await,
        ApiKey::ListOffsets => super::list_offsets::handle(&context),
        ApiKey::Metadata => super::metadata::handle(context).await,
        ApiKey::OffsetCommit => super::offset_commit::handle(context).await,
        ApiKey::OffsetFetch => super::offset_fetch::handle(context).await,
        ApiKey::FindCoordinator => super::find_coordinator::handle(context).await,
        ApiKey::JoinGroup => super::join_group::handle(context).await,
        ApiKey::Heartbeat => super::heartbeat::handle(context).await,
        ApiKey::LeaveGroup => super::leave_group::handle(context).await,
        ApiKey::SyncGroup => super::sync_group::handle(context).await,
        ApiKey::DescribeGroups => super::describe_groups::handle(context).await,
        ApiKey::ListGroups => super::list_groups::handle(context).await,
        ApiKey::ApiVersions => super::api_versions::handle(&context),
        ApiKey::CreateTopics => super::create_topics::handle(context).await,
        ApiKey::DeleteTopics => super::delete_topics::handle(context).await,
        ApiKey::DeleteRecords => super::delete_records::handle(context).await,
        ApiKey::InitProducerId => super::init_producer_id::handle(context).await,
        ApiKey::OffsetForLeaderEpoch => super::offset_for_leader_epoch::handle(&context),
        ApiKey::AddPartitionsToTxn => super::add_partitions_to_txn::handle(context).await,
        ApiKey::AddOffsetsToTxn => super::add_offsets_to_txn::handle(context).await,
        ApiKey::EndTxn => super::end_txn::handle(context).await,
        ApiKey::WriteTxnMarkers => super::write_txn_markers::handle(context).await,
        ApiKey::TxnOffsetCommit => super::txn_offset_commit::handle(context).await,
        ApiKey::DescribeConfigs => super::describe_configs::handle(&context),
        ApiKey::AlterConfigs => super::alter_configs::handle(context).await,
        ApiKey::AlterReplicaLogDirs => super::alter_replica_log_dirs::handle(&context),
        ApiKey::DescribeLogDirs => super::describe_log_dirs::handle(&context),
        ApiKey::CreatePartitions => super::create_partitions::handle(context).await,
        ApiKey::DeleteGroups => super::delete_groups::handle(context).await,
        ApiKey::ElectLeaders => super::elect_leaders::handle(&context),
        ApiKey::IncrementalAlterConfigs => super::incremental_alter_configs::handle(context).await,
        ApiKey::DescribeClientQuotas => super::describe_client_quotas::handle(&context),
        ApiKey::AlterClientQuotas => super::alter_client_quotas::handle(context).await,
        ApiKey::AlterPartitionReassignments => super::alter_partition_reassignments::handle(&context),
        ApiKey::ListPartitionReassignments => super::list_partition_reassignments::handle(&context),
        ApiKey::OffsetDelete => super::offset_delete::handle(context).await,
        ApiKey::UpdateFeatures => super::update_features::handle(&context),
        ApiKey::DescribeCluster => super::describe_cluster::handle(&context),
        ApiKey::DescribeProducers => super::describe_producers::handle(&context),
        ApiKey::DescribeTransactions => super::describe_transactions::handle(context).await,
        ApiKey::ListTransactions => super::list_transactions::handle(context).await,
        ApiKey::ConsumerGroupHeartbeat => super::consumer_group_heartbeat::handle(context).await,
        ApiKey::ConsumerGroupDescribe => super::consumer_group_describe::handle(context).await,
        ApiKey::ListConfigResources => super::list_config_resources::handle(&context),
        ApiKey::DescribeTopicPartitions => super::describe_topic_partitions::handle(&context),
        // The version table lets nothing else through.
        other => Err(BadRequest(format!("{other:?} is not served here"))),
    }
}
