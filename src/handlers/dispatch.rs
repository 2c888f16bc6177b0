//! From a frame to its handler, by API key and version.

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use crate::broker::Broker;
use crate::handlers::context::{BadRequest, Connection, Context, Handled};
use crate::handlers::reply::{Outcome, Reply};
use crate::wire::request::{Request, RequestError, decode_request};

/// Runs a request's ordered part.
pub async fn dispatch(broker: Arc<Broker>, connection: Arc<Connection>, frame: Bytes) -> Reply {
    let request = match decode_request(frame) {
        Ok(request) => request,
        Err(RequestError::UnsupportedVersion { api: ApiKey::ApiVersions, correlation_id, .. }) => {
            return super::api_versions::unsupported_version(correlation_id);
        }
        Err(error) => return Reply::Now(Outcome::Close(error.to_string())),
    };
    let api = request.api;
    let (context, body) = context_of(broker, connection, request);
    let version = context.version;
    match handle(context, body).await {
        Ok(reply) => reply,
        Err(BadRequest(why)) => {
            Reply::Now(Outcome::Close(format!("a {api:?} request of version {version} cannot be read: {why}")))
        }
    }
}

fn context_of(broker: Arc<Broker>, connection: Arc<Connection>, request: Request) -> (Context, Bytes) {
    let context = Context {
        broker,
        connection,
        api: request.api,
        version: request.version,
        client_id: request.client_id.as_deref().unwrap_or_default().into(),
        correlation_id: request.correlation_id,
    };
    (context, request.body)
}

async fn handle(context: Context, body: Bytes) -> Handled {
    match context.api {
        ApiKey::Produce => super::produce::handle(context, body).await,
        ApiKey::Fetch => super::fetch::handle(context, body).await,
        ApiKey::ListOffsets => super::list_offsets::handle(&context, body),
        ApiKey::Metadata => super::metadata::handle(context, body).await,
        ApiKey::OffsetCommit => super::offset_commit::handle(context, body).await,
        ApiKey::OffsetFetch => super::offset_fetch::handle(context, body).await,
        ApiKey::FindCoordinator => super::find_coordinator::handle(context, body).await,
        ApiKey::JoinGroup => super::join_group::handle(context, body).await,
        ApiKey::Heartbeat => super::heartbeat::handle(context, body).await,
        ApiKey::LeaveGroup => super::leave_group::handle(context, body).await,
        ApiKey::SyncGroup => super::sync_group::handle(context, body).await,
        ApiKey::DescribeGroups => super::describe_groups::handle(context, body).await,
        ApiKey::ListGroups => super::list_groups::handle(context, body).await,
        ApiKey::ApiVersions => super::api_versions::handle(&context, body),
        ApiKey::CreateTopics => super::create_topics::handle(context, body).await,
        ApiKey::DeleteTopics => super::delete_topics::handle(context, body).await,
        ApiKey::DeleteRecords => super::delete_records::handle(&context, body),
        ApiKey::InitProducerId => super::init_producer_id::handle(context, body).await,
        ApiKey::OffsetForLeaderEpoch => super::offset_for_leader_epoch::handle(&context, body),
        ApiKey::AddPartitionsToTxn => super::add_partitions_to_txn::handle(context, body).await,
        ApiKey::AddOffsetsToTxn => super::add_offsets_to_txn::handle(context, body).await,
        ApiKey::EndTxn => super::end_txn::handle(context, body).await,
        ApiKey::WriteTxnMarkers => super::write_txn_markers::handle(context, body).await,
        ApiKey::TxnOffsetCommit => super::txn_offset_commit::handle(context, body).await,
        ApiKey::DescribeConfigs => super::describe_configs::handle(&context, body),
        ApiKey::CreatePartitions => super::create_partitions::handle(context, body).await,
        ApiKey::DeleteGroups => super::delete_groups::handle(context, body).await,
        ApiKey::IncrementalAlterConfigs => super::incremental_alter_configs::handle(context, body).await,
        ApiKey::OffsetDelete => super::offset_delete::handle(context, body).await,
        ApiKey::DescribeCluster => super::describe_cluster::handle(&context, body),
        ApiKey::DescribeProducers => super::describe_producers::handle(&context, body),
        ApiKey::DescribeTransactions => super::describe_transactions::handle(context, body).await,
        ApiKey::ListTransactions => super::list_transactions::handle(context, body).await,
        // The version table lets nothing else through.
        other => Err(BadRequest(format!("{other:?} is not served here"))),
    }
}
