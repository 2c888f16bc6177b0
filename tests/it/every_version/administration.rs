//! Requests of the APIs that administrators' tools use, in whatever version is asked.

use anyhow::ensure;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::requests::{Asker, TOPIC, none};
use crate::fixture::wire::{text, topic_name};

const ELECTION_NOT_NEEDED: i16 = 84;

impl Asker {
    pub(super) fn ask_as_administrator(&mut self, api: ApiKey, version: i16) -> anyhow::Result<()> {
        match api {
            ApiKey::AlterConfigs => self.alter_configs(version),
            ApiKey::AlterReplicaLogDirs => self.alter_replica_log_dirs(version),
            ApiKey::DescribeLogDirs => self.describe_log_dirs(version).map(|_| ()),
            ApiKey::ElectLeaders => self.elect_leaders(version),
            ApiKey::AlterPartitionReassignments => self.alter_partition_reassignments(version),
            ApiKey::ListPartitionReassignments => self.list_partition_reassignments(version),
            ApiKey::DescribeClientQuotas => self.describe_client_quotas(version),
            ApiKey::AlterClientQuotas => self.alter_client_quotas(version),
            ApiKey::UpdateFeatures => self.update_features(version),
            ApiKey::ListConfigResources => self.list_config_resources(version),
            ApiKey::DescribeTopicPartitions => self.describe_topic_partitions(version),
            other => anyhow::bail!("no test asks for {other:?}"),
        }
    }

    fn alter_configs(&mut self, version: i16) -> anyhow::Result<()> {
        let set =
            AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("86400000")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(TOPIC))
            .with_configs(vec![set]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        none(self.call(version, &request)?.responses[0].error_code)
    }

    fn alter_replica_log_dirs(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = AlterReplicaLogDirTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![0]);
        let directory =
            AlterReplicaLogDir::default().with_path(self.describe_log_dirs(4)?).with_topics(vec![topic]);
        let request = AlterReplicaLogDirsRequest::default().with_dirs(vec![directory]);
        none(self.call(version, &request)?.results[0].partitions[0].error_code)
    }

    fn describe_log_dirs(&mut self, version: i16) -> anyhow::Result<StrBytes> {
        let topic = DescribableLogDirTopic::default().with_topic(topic_name(TOPIC)).with_partitions(vec![0]);
        let request = DescribeLogDirsRequest::default().with_topics(Some(vec![topic]));
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        let directory = &response.results[0];
        none(directory.error_code)?;
        ensure!(directory.topics.len() == 1 && directory.topics[0].partitions.len() == 1);
        ensure!(
            version < 4 || (0 < directory.usable_bytes && directory.usable_bytes <= directory.total_bytes)
        );
        Ok(directory.log_dir.clone())
    }

    fn elect_leaders(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = TopicPartitions::default().with_topic(topic_name(TOPIC)).with_partitions(vec![0]);
        let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic]));
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        let elected = response.replica_election_results[0].partition_result[0].error_code;
        ensure!(elected == ELECTION_NOT_NEEDED, "error code {elected}");
        Ok(())
    }

    fn alter_partition_reassignments(&mut self, version: i16) -> anyhow::Result<()> {
        let partition = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(1)]));
        let topic =
            ReassignableTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]);
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        none(response.responses[0].partitions[0].error_code)
    }

    fn list_partition_reassignments(&mut self, version: i16) -> anyhow::Result<()> {
        let request = ListPartitionReassignmentsRequest::default().with_topics(None);
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        ensure!(response.topics.is_empty());
        Ok(())
    }

    fn alter_client_quotas(&mut self, version: i16) -> anyhow::Result<()> {
        let entity = EntityData::default().with_entity_type(text("user")).with_entity_name(None);
        let set = OpData::default().with_key(text("producer_byte_rate")).with_value(1e12);
        let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![set]);
        let response = self.call(version, &AlterClientQuotasRequest::default().with_entries(vec![entry]))?;
        none(response.entries[0].error_code)
    }

    fn describe_client_quotas(&mut self, version: i16) -> anyhow::Result<()> {
        self.alter_client_quotas(1)?;
        let response = self.call(version, &DescribeClientQuotasRequest::default())?;
        none(response.error_code)?;
        let entries = response.entries.unwrap_or_default();
        ensure!(entries.len() == 1 && entries[0].values[0].value == 1e12, "{entries:?}");
        Ok(())
    }

    fn update_features(&mut self, version: i16) -> anyhow::Result<()> {
        let update =
            FeatureUpdateKey::default().with_feature(text("transaction.version")).with_max_version_level(2);
        let response =
            self.call(version, &UpdateFeaturesRequest::default().with_feature_updates(vec![update]))?;
        none(response.error_code)?;
        response.results.iter().try_for_each(|result| none(result.error_code))?;
        ensure!(response.results.len() == usize::from(version < 2));
        Ok(())
    }

    fn list_config_resources(&mut self, version: i16) -> anyhow::Result<()> {
        let response = self.call(version, &ListConfigResourcesRequest::default())?;
        none(response.error_code)?;
        let is_topic =
            response.config_resources.iter().any(|resource| resource.resource_name.as_str() == TOPIC);
        ensure!(is_topic == (version >= 1), "{:?}", response.config_resources);
        Ok(())
    }

    fn describe_topic_partitions(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = TopicRequest::default().with_name(topic_name(TOPIC));
        let request = DescribeTopicPartitionsRequest::default().with_topics(vec![topic]);
        let response = self.call(version, &request)?;
        none(response.topics[0].error_code)?;
        ensure!(response.next_cursor.is_none());
        let partition = &response.topics[0].partitions[0];
        none(partition.error_code)?;
        // Java's client reads lists there, and fails at a null.
        ensure!(partition.eligible_leader_replicas == Some(Vec::new()));
        ensure!(partition.last_known_elr == Some(Vec::new()));
        Ok(())
    }
}
