//! The APIs that this broker serves, with their versions: one table, from which everything else
//! that must know them is made.

use kafka_protocol::messages::ApiKey;

use super::request_shape::{self, Shape};

/// A range of versions, both ends in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest.
    pub min: i16,
    /// The newest.
    pub max: i16,
}

impl Versions {
    /// Whether `version` lies in the range.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// An API that the broker serves.
#[derive(Clone, Copy, Debug)]
pub struct Supported {
    /// Which.
    pub key: ApiKey,
    /// What ApiVersions says.
    pub advertised: Versions,
    /// What is really served.
    pub handled: Versions,
    pub(super) shape: &'static Shape,
}

/// The API of a wire number, if the broker serves it.
pub fn supported(api_key: i16) -> Option<Supported> {
    SUPPORTED.iter().copied().find(|api| api.key as i16 == api_key)
}

/// Calls a macro with the whole table: `Key RequestType SHAPE advertised_min handled_min..=max,` each.
///
/// Produce is advertised from version 0 though 0 to 2 are refused: librdkafka takes a broker without
/// version 0 for one that cannot read compressed batches, and Kafka 4 does the same for its sake
/// (KAFKA-18659, `ApiKeys.PRODUCE_API_VERSIONS_RESPONSE_MIN_VERSION`).
macro_rules! with_supported_apis {
    ($callback:ident) => {
        $callback! {
            Produce ProduceRequest PRODUCE_REQUEST 0 3..=13,
            Fetch FetchRequest FETCH_REQUEST 4 4..=18,
            ListOffsets ListOffsetsRequest LIST_OFFSETS_REQUEST 1 1..=10,
            Metadata MetadataRequest METADATA_REQUEST 0 0..=13,
            OffsetCommit OffsetCommitRequest OFFSET_COMMIT_REQUEST 2 2..=9,
            OffsetFetch OffsetFetchRequest OFFSET_FETCH_REQUEST 1 1..=9,
            FindCoordinator FindCoordinatorRequest FIND_COORDINATOR_REQUEST 0 0..=6,
            JoinGroup JoinGroupRequest JOIN_GROUP_REQUEST 0 0..=9,
            Heartbeat HeartbeatRequest HEARTBEAT_REQUEST 0 0..=4,
            LeaveGroup LeaveGroupRequest LEAVE_GROUP_REQUEST 0 0..=5,
            SyncGroup SyncGroupRequest SYNC_GROUP_REQUEST 0 0..=5,
            DescribeGroups DescribeGroupsRequest DESCRIBE_GROUPS_REQUEST 0 0..=6,
            ListGroups ListGroupsRequest LIST_GROUPS_REQUEST 0 0..=5,
            ApiVersions ApiVersionsRequest API_VERSIONS_REQUEST 0 0..=4,
            CreateTopics CreateTopicsRequest CREATE_TOPICS_REQUEST 2 2..=7,
            DeleteTopics DeleteTopicsRequest DELETE_TOPICS_REQUEST 1 1..=6,
            DeleteRecords DeleteRecordsRequest DELETE_RECORDS_REQUEST 0 0..=2,
            InitProducerId InitProducerIdRequest INIT_PRODUCER_ID_REQUEST 0 0..=5,
            OffsetForLeaderEpoch OffsetForLeaderEpochRequest OFFSET_FOR_LEADER_EPOCH_REQUEST 2 2..=4,
            AddPartitionsToTxn AddPartitionsToTxnRequest ADD_PARTITIONS_TO_TXN_REQUEST 0 0..=5,
            AddOffsetsToTxn AddOffsetsToTxnRequest ADD_OFFSETS_TO_TXN_REQUEST 0 0..=4,
            EndTxn EndTxnRequest END_TXN_REQUEST 0 0..=5,
            WriteTxnMarkers WriteTxnMarkersRequest WRITE_TXN_MARKERS_REQUEST 1 1..=1,
            TxnOffsetCommit TxnOffsetCommitRequest TXN_OFFSET_COMMIT_REQUEST 0 0..=5,
            DescribeConfigs DescribeConfigsRequest DESCRIBE_CONFIGS_REQUEST 1 1..=4,
            AlterConfigs AlterConfigsRequest ALTER_CONFIGS_REQUEST 0 0..=2,
            AlterReplicaLogDirs AlterReplicaLogDirsRequest ALTER_REPLICA_LOG_DIRS_REQUEST 1 1..=2,
            DescribeLogDirs DescribeLogDirsRequest DESCRIBE_LOG_DIRS_REQUEST 1 1..=4,
            CreatePartitions CreatePartitionsRequest CREATE_PARTITIONS_REQUEST 0 0..=3,
            DeleteGroups DeleteGroupsRequest DELETE_GROUPS_REQUEST 0 0..=2,
            ElectLeaders ElectLeadersRequest ELECT_LEADERS_REQUEST 0 0..=2,
            IncrementalAlterConfigs IncrementalAlterConfigsRequest INCREMENTAL_ALTER_CONFIGS_REQUEST 0 0..=1,
            AlterPartitionReassignments AlterPartitionReassignmentsRequest ALTER_PARTITION_REASSIGNMENTS_REQUEST 0 0..=1,
            ListPartitionReassignments ListPartitionReassignmentsRequest LIST_PARTITION_REASSIGNMENTS_REQUEST 0 0..=0,
            OffsetDelete OffsetDeleteRequest OFFSET_DELETE_REQUEST 0 0..=0,
            DescribeClientQuotas DescribeClientQuotasRequest DESCRIBE_CLIENT_QUOTAS_REQUEST 0 0..=1,
            AlterClientQuotas AlterClientQuotasRequest ALTER_CLIENT_QUOTAS_REQUEST 0 0..=1,
            UpdateFeatures UpdateFeaturesRequest UPDATE_FEATURES_REQUEST 0 0..=2,
            DescribeCluster DescribeClusterRequest DESCRIBE_CLUSTER_REQUEST 0 0..=2,
            DescribeProducers DescribeProducersRequest DESCRIBE_PRODUCERS_REQUEST 0 0..=0,
            DescribeTransactions DescribeTransactionsRequest DESCRIBE_TRANSACTIONS_REQUEST 0 0..=0,
            ListTransactions ListTransactionsRequest LIST_TRANSACTIONS_REQUEST 0 0..=1,
            ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest CONSUMER_GROUP_HEARTBEAT_REQUEST 0 0..=1,
            ConsumerGroupDescribe ConsumerGroupDescribeRequest CONSUMER_GROUP_DESCRIBE_REQUEST 0 0..=1,
            ListConfigResources ListConfigResourcesRequest LIST_CONFIG_RESOURCES_REQUEST 0 0..=1,
            DescribeTopicPartitions DescribeTopicPartitionsRequest DESCRIBE_TOPIC_PARTITIONS_REQUEST 0 0..=0,
        }
    };
}
pub(crate) use with_supported_apis;

macro_rules! supported_table {
    ($($key:ident $request:ident $shape:ident $advertised_min:literal $min:literal..=$max:literal,)*) => {
        /// Every API that the broker serves, in the order of their numbers.
        pub static SUPPORTED: &[Supported] = &[$(Supported {
            key: ApiKey::$key,
            advertised: Versions { min: $advertised_min, max: $max },
            handled: Versions { min: $min, max: $max },
            shape: &request_shape::$shape,
        },)*];
    };
}
with_supported_apis!(supported_table);

#[cfg(test)]
mod tests;
