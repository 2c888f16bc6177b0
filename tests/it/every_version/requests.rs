//! A request for each API that a healthy broker answers well, in whatever version is asked.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use tidemill::testing::WireClient;
use uuid::Uuid;

use crate::fixture::TestServer;
use crate::fixture::wire::{self, Producer, READ_UNCOMMITTED, batch, text, topic_name};

pub(super) const TOPIC: &str = "versions";

/// Asks one server, over one connection, for everything that it serves.
pub struct Asker {
    client: WireClient,
    topic_id: Uuid,
    names: u32,
    sent: BTreeSet<(i16, i16)>,
}

/// A member of a group of its own.
struct Member {
    group: GroupId,
    member_id: StrBytes,
    generation: i32,
}

/// A producer of a transaction of its own.
struct TransactionalProducer {
    id: TransactionalId,
    producer: Producer,
}

impl Asker {
    pub fn new(server: &TestServer) -> Asker {
        let mut client = server.wire();
        let topic_id = wire::create_topic(&mut client, TOPIC, 1, &[]);
        Asker { client, topic_id, names: 0, sent: BTreeSet::new() }
    }

    /// The pairs of API and version that were sent and answered since the last call.
    pub fn take_sent(&mut self) -> BTreeSet<(i16, i16)> {
        std::mem::take(&mut self.sent)
    }

    /// Sends the request of this API, in this version.
    pub fn ask(&mut self, api: ApiKey, version: i16) -> anyhow::Result<()> {
        match api {
            ApiKey::Produce => self.produce(version),
            ApiKey::Fetch => self.fetch(version),
            ApiKey::ListOffsets => self.list_offsets(version),
            ApiKey::Metadata => self.metadata(version),
            ApiKey::OffsetCommit => self.offset_commit(version),
            ApiKey::OffsetFetch => self.offset_fetch(version),
            ApiKey::FindCoordinator => self.find_coordinator(version),
            ApiKey::JoinGroup => self.join_group(version),
            ApiKey::Heartbeat => self.heartbeat(version),
            ApiKey::LeaveGroup => self.leave_group(version),
            ApiKey::SyncGroup => self.sync_group(version),
            ApiKey::DescribeGroups => self.describe_groups(version),
            ApiKey::ListGroups => self.list_groups(version),
            ApiKey::ApiVersions => self.api_versions(version),
            ApiKey::CreateTopics => self.create_topics(version),
            ApiKey::DeleteTopics => self.delete_topics(version),
            ApiKey::DeleteRecords => self.delete_records(version),
            ApiKey::InitProducerId => self.init_producer_id(version),
            ApiKey::OffsetForLeaderEpoch => self.offset_for_leader_epoch(version),
            ApiKey::AddPartitionsToTxn => self.add_partitions_to_txn(version),
            ApiKey::AddOffsetsToTxn => self.add_offsets_to_txn(version),
            ApiKey::EndTxn => self.end_txn(version),
            ApiKey::WriteTxnMarkers => self.write_txn_markers(version),
            ApiKey::TxnOffsetCommit => self.txn_offset_commit(version),
            ApiKey::DescribeConfigs => self.describe_configs(version),
            ApiKey::CreatePartitions => self.create_partitions(version),
            ApiKey::DeleteGroups => self.delete_groups(version),
            ApiKey::IncrementalAlterConfigs => self.incremental_alter_configs(version),
            ApiKey::OffsetDelete => self.offset_delete(version),
            ApiKey::DescribeCluster => self.describe_cluster(version),
            ApiKey::DescribeProducers => self.describe_producers(version),
            ApiKey::DescribeTransactions => self.describe_transactions(version),
            ApiKey::ListTransactions => self.list_transactions(version),
            ApiKey::ConsumerGroupHeartbeat => self.consumer_group_heartbeat(version),
            ApiKey::ConsumerGroupDescribe => self.consumer_group_describe(version),
            other => self.ask_as_administrator(other, version),
        }
    }

    pub(super) fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        let response = self.client.call(version, request)?;
        self.sent.insert((R::KEY, version));
        Ok(response)
    }

    /// A name that nothing had before.
    fn fresh(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}", self.names)
    }

    fn produce(&mut self, version: i16) -> anyhow::Result<()> {
        let mut request = wire::produce_request(TOPIC, 0, batch(&["a", "b"]));
        if version >= 13 {
            request.topic_data[0].name = TopicName::default();
            request.topic_data[0].topic_id = self.topic_id;
        }
        let response = self.call(version, &request)?;
        let partition = &response.responses[0].partition_responses[0];
        none(partition.error_code)?;
        ensure!(partition.base_offset >= 0);
        Ok(())
    }

    fn fetch(&mut self, version: i16) -> anyhow::Result<()> {
        let mut request = wire::fetch_request(TOPIC, 0, 0, READ_UNCOMMITTED);
        if version >= 13 {
            request.topics[0].topic = TopicName::default();
            request.topics[0].topic_id = self.topic_id;
        }
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        none(response.responses[0].partitions[0].error_code)?;
        ensure!(!wire::values(&response.responses[0].partitions[0]).is_empty(), "no record came");
        Ok(())
    }

    fn list_offsets(&mut self, version: i16) -> anyhow::Result<()> {
        let latest = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![latest]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        let response = self.call(version, &request)?;
        let partition = &response.topics[0].partitions[0];
        none(partition.error_code)?;
        ensure!(partition.offset > 0);
        Ok(())
    }

    fn metadata(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(TOPIC)));
        let response = self.call(version, &MetadataRequest::default().with_topics(Some(vec![topic])))?;
        none(response.topics[0].error_code)?;
        ensure!(response.brokers.len() == 1 && response.topics[0].partitions.len() == 1);
        let all = match version {
            0 => MetadataRequest::default().with_topics(Some(Vec::new())),
            1.. => MetadataRequest::default().with_topics(None),
            ..0 => anyhow::bail!("no such version"),
        };
        let response = self.call(version, &all)?;
        ensure!(response.topics.iter().any(|topic| topic.name == Some(topic_name(TOPIC))));
        Ok(())
    }

    fn offset_commit(&mut self, version: i16) -> anyhow::Result<()> {
        let group = GroupId(text(&self.fresh("group")));
        let request = offset_commit_request(group);
        let response = self.call(version, &request)?;
        none(response.topics[0].partitions[0].error_code)
    }

    fn offset_fetch(&mut self, version: i16) -> anyhow::Result<()> {
        let group = GroupId(text(&self.fresh("group")));
        self.call(8, &offset_commit_request(group.clone()))?;
        if version < 8 {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(topic_name(TOPIC))
                .with_partition_indexes(vec![0]);
            let request = OffsetFetchRequest::default().with_group_id(group).with_topics(Some(vec![topic]));
            let response = self.call(version, &request)?;
            none(response.topics[0].partitions[0].error_code)?;
            ensure!(response.topics[0].partitions[0].committed_offset == 7);
            return Ok(());
        }
        let topic =
            OffsetFetchRequestTopics::default().with_name(topic_name(TOPIC)).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
        let response = self.call(version, &request)?;
        none(response.groups[0].error_code)?;
        none(response.groups[0].topics[0].partitions[0].error_code)?;
        ensure!(response.groups[0].topics[0].partitions[0].committed_offset == 7);
        Ok(())
    }

    fn find_coordinator(&mut self, version: i16) -> anyhow::Result<()> {
        if version < 4 {
            let request = FindCoordinatorRequest::default().with_key(text("g"));
            let response = self.call(version, &request)?;
            ensure!(response.port > 0);
            return none(response.error_code);
        }
        let request = FindCoordinatorRequest::default()
            .with_key_type(1)
            .with_coordinator_keys(vec![text("a"), text("b")]);
        let response = self.call(version, &request)?;
        ensure!(response.coordinators.len() == 2 && response.coordinators[0].port > 0);
        none(response.coordinators[0].error_code)
    }

    fn join_request(group: &GroupId, member_id: StrBytes) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0, 0, 0, 0]));
        JoinGroupRequest::default()
            .with_group_id(group.clone())
            .with_session_timeout_ms(30_000)
            .with_member_id(member_id)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    /// Joins a group of its own and gets its assignment.
    fn member(&mut self) -> anyhow::Result<Member> {
        let group = GroupId(text(&self.fresh("group")));
        let request = Asker::join_request(&group, StrBytes::default()).with_rebalance_timeout_ms(30_000);
        let joined = self.call(3, &request)?;
        none(joined.error_code)?;
        let member = Member { group, member_id: joined.member_id, generation: joined.generation_id };
        none(self.call(3, &sync_request(&member))?.error_code)?;
        Ok(member)
    }

    fn join_group(&mut self, version: i16) -> anyhow::Result<()> {
        let group = GroupId(text(&self.fresh("group")));
        let request = |member_id| match version {
            0 => Asker::join_request(&group, member_id),
            _ => Asker::join_request(&group, member_id).with_rebalance_timeout_ms(30_000),
        };
        let mut response = self.call(version, &request(StrBytes::default()))?;
        if version >= 4 {
            ensure!(response.error_code == 79, "MEMBER_ID_REQUIRED, not {}", response.error_code);
            let member_id = response.member_id;
            response = self.call(version, &request(member_id))?;
        }
        none(response.error_code)?;
        ensure!(response.generation_id == 1 && response.leader == response.member_id);
        ensure!(response.members.len() == 1);
        Ok(())
    }

    fn sync_group(&mut self, version: i16) -> anyhow::Result<()> {
        let member = self.member()?;
        let request = match version {
            ..5 => sync_request(&member),
            5.. => sync_request(&member)
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range"))),
        };
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        ensure!(response.assignment == Bytes::from_static(b"all"));
        Ok(())
    }

    fn heartbeat(&mut self, version: i16) -> anyhow::Result<()> {
        let member = self.member()?;
        let request = HeartbeatRequest::default()
            .with_group_id(member.group)
            .with_generation_id(member.generation)
            .with_member_id(member.member_id);
        none(self.call(version, &request)?.error_code)
    }

    fn leave_group(&mut self, version: i16) -> anyhow::Result<()> {
        let member = self.member()?;
        let request = LeaveGroupRequest::default().with_group_id(member.group);
        let request = match version {
            ..3 => request.with_member_id(member.member_id),
            3.. => request.with_members(vec![MemberIdentity::default().with_member_id(member.member_id)]),
        };
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        response.members.first().map_or(Ok(()), |member| none(member.error_code))
    }

    fn describe_groups(&mut self, version: i16) -> anyhow::Result<()> {
        let member = self.member()?;
        let response =
            self.call(version, &DescribeGroupsRequest::default().with_groups(vec![member.group]))?;
        none(response.groups[0].error_code)?;
        ensure!(response.groups[0].group_state.as_str() == "Stable");
        ensure!(response.groups[0].members[0].member_id == member.member_id);
        Ok(())
    }

    fn list_groups(&mut self, version: i16) -> anyhow::Result<()> {
        let member = self.member()?;
        let request = match version {
            ..4 => ListGroupsRequest::default(),
            4 => ListGroupsRequest::default().with_states_filter(vec![text("Stable")]),
            5.. => ListGroupsRequest::default().with_types_filter(vec![text("classic")]),
        };
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        ensure!(response.groups.iter().any(|group| group.group_id == member.group));
        Ok(())
    }

    /// Joins a group of the new protocol of its own: the group, and the member's id.
    fn consumer_member(&mut self, version: i16) -> anyhow::Result<(GroupId, StrBytes)> {
        let group = GroupId(text(&self.fresh("group")));
        let member_id = if version >= 1 { text("the-member") } else { StrBytes::default() };
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group.clone())
            .with_member_id(member_id)
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(vec![topic_name(TOPIC)]))
            .with_topic_partitions(Some(Vec::new()));
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        ensure!(response.member_epoch == 1 && response.heartbeat_interval_ms > 0);
        let assignment = response.assignment.context("a newcomer is told its assignment")?;
        ensure!(assignment.topic_partitions[0].topic_id == self.topic_id);
        ensure!(assignment.topic_partitions[0].partitions == [0]);
        Ok((group, response.member_id.context("a member has an id")?))
    }

    fn consumer_group_heartbeat(&mut self, version: i16) -> anyhow::Result<()> {
        let (group, member_id) = self.consumer_member(version)?;
        let request = |epoch| {
            ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group.clone())
                .with_member_id(member_id.clone())
                .with_member_epoch(epoch)
        };
        let response = self.call(version, &request(1))?;
        none(response.error_code)?;
        ensure!(response.member_epoch == 1 && response.assignment.is_none());
        let fenced = self.call(version, &request(2))?;
        ensure!(fenced.error_code == 110, "FENCED_MEMBER_EPOCH, not {}", fenced.error_code);
        let response = self.call(version, &request(-1))?;
        none(response.error_code)?;
        ensure!(response.member_epoch == -1);
        Ok(())
    }

    fn consumer_group_describe(&mut self, version: i16) -> anyhow::Result<()> {
        let (group, member_id) = self.consumer_member(version)?;
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group]);
        let response = self.call(version, &request)?;
        none(response.groups[0].error_code)?;
        ensure!(response.groups[0].group_state.as_str() == "Stable");
        ensure!(response.groups[0].assignor_name.as_str() == "uniform");
        let member = &response.groups[0].members[0];
        ensure!(member.member_id == member_id && member.member_epoch == 1);
        ensure!(member.assignment.topic_partitions[0].topic_name == topic_name(TOPIC));
        ensure!(member.member_type == if version >= 1 { 1 } else { -1 });
        Ok(())
    }

    fn api_versions(&mut self, version: i16) -> anyhow::Result<()> {
        let request = match version {
            ..3 => ApiVersionsRequest::default(),
            3.. => ApiVersionsRequest::default()
                .with_client_software_name(text("it"))
                .with_client_software_version(text("1")),
        };
        none(self.call(version, &request)?.error_code)
    }

    fn create_topics(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = CreatableTopic::default()
            .with_name(topic_name(&self.fresh("topic")))
            .with_num_partitions(2)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        none(self.call(version, &request)?.topics[0].error_code)
    }

    fn delete_topics(&mut self, version: i16) -> anyhow::Result<()> {
        let name = self.fresh("topic");
        wire::create_topic(&mut self.client, &name, 1, &[]);
        let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
        let request = match version {
            ..6 => request.with_topic_names(vec![topic_name(&name)]),
            6.. => request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(&name)))]),
        };
        none(self.call(version, &request)?.responses[0].error_code)
    }

    fn delete_records(&mut self, version: i16) -> anyhow::Result<()> {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(0);
        let topic =
            DeleteRecordsTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        none(self.call(version, &request)?.topics[0].partitions[0].error_code)
    }

    fn init_producer_id(&mut self, version: i16) -> anyhow::Result<()> {
        let id = TransactionalId(text(&self.fresh("transactional")));
        for id in [None, Some(id)] {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(id)
                .with_transaction_timeout_ms(60_000);
            let response = self.call(version, &request)?;
            none(response.error_code)?;
            ensure!(response.producer_id.0 >= 0 && response.producer_epoch == 0);
        }
        Ok(())
    }

    fn offset_for_leader_epoch(&mut self, version: i16) -> anyhow::Result<()> {
        let partition = OffsetForLeaderPartition::default().with_partition(0).with_leader_epoch(0);
        let topic =
            OffsetForLeaderTopic::default().with_topic(topic_name(TOPIC)).with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        let request = match version {
            ..3 => request,
            3.. => request.with_replica_id(BrokerId(-1)),
        };
        let response = self.call(version, &request)?;
        none(response.topics[0].partitions[0].error_code)?;
        ensure!(response.topics[0].partitions[0].end_offset > 0);
        Ok(())
    }

    fn transactional_producer(&mut self) -> anyhow::Result<TransactionalProducer> {
        let id = TransactionalId(text(&self.fresh("transactional")));
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id.clone()))
            .with_transaction_timeout_ms(60_000);
        let response = self.call(4, &request)?;
        none(response.error_code)?;
        let producer = Producer { id: response.producer_id.0, epoch: response.producer_epoch };
        Ok(TransactionalProducer { id, producer })
    }

    fn add_partitions_to_txn(&mut self, version: i16) -> anyhow::Result<()> {
        let TransactionalProducer { id, producer } = self.transactional_producer()?;
        let topic = AddPartitionsToTxnTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![0]);
        if version < 4 {
            let request = AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id.clone())
                .with_v3_and_below_producer_id(ProducerId(producer.id))
                .with_v3_and_below_producer_epoch(producer.epoch)
                .with_v3_and_below_topics(vec![topic]);
            let response = self.call(version, &request)?;
            none(response.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code)?;
        } else {
            let transaction = AddPartitionsToTxnTransaction::default()
                .with_transactional_id(id.clone())
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_topics(vec![topic]);
            let request = AddPartitionsToTxnRequest::default().with_transactions(vec![transaction]);
            let response = self.call(version, &request)?;
            none(response.error_code)?;
            let topic = &response.results_by_transaction[0].topic_results[0];
            none(topic.results_by_partition[0].partition_error_code)?;
        }
        // An open transaction would hold up who reads the topic after this.
        none(self.call(4, &end_request(&TransactionalProducer { id, producer }))?.error_code)
    }

    fn add_offsets_to_txn(&mut self, version: i16) -> anyhow::Result<()> {
        let transaction = self.transactional_producer()?;
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transaction.id)
            .with_producer_id(ProducerId(transaction.producer.id))
            .with_producer_epoch(transaction.producer.epoch)
            .with_group_id(GroupId(text("group-of-transactions")));
        none(self.call(version, &request)?.error_code)
    }

    fn end_txn(&mut self, version: i16) -> anyhow::Result<()> {
        let transaction = self.transactional_producer()?;
        let records = wire::batch_with(wire::transactional(transaction.producer, 0), &["in a transaction"]);
        let written = wire::produce_in_transaction(&mut self.client, transaction.id.as_str(), TOPIC, records);
        none(written.error_code).context("producing")?;
        let response = self.call(version, &end_request(&transaction))?;
        none(response.error_code)?;
        if version >= 5 {
            ensure!(response.producer_epoch == transaction.producer.epoch + 1);
        }
        Ok(())
    }

    fn write_txn_markers(&mut self, version: i16) -> anyhow::Result<()> {
        let TransactionalProducer { producer, .. } = self.transactional_producer()?;
        let topic =
            WritableTxnMarkerTopic::default().with_name(topic_name(TOPIC)).with_partition_indexes(vec![0]);
        let marker = WritableTxnMarker::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_coordinator_epoch(0)
            .with_topics(vec![topic]);
        let request = WriteTxnMarkersRequest::default().with_markers(vec![marker]);
        none(self.call(version, &request)?.markers[0].topics[0].partitions[0].error_code)
    }

    fn txn_offset_commit(&mut self, version: i16) -> anyhow::Result<()> {
        let transaction = self.transactional_producer()?;
        let group = GroupId(text(&self.fresh("group")));
        if version < 5 {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(transaction.id.clone())
                .with_producer_id(ProducerId(transaction.producer.id))
                .with_producer_epoch(transaction.producer.epoch)
                .with_group_id(group.clone());
            none(self.call(3, &request)?.error_code).context("adding the offsets")?;
        }
        let partition =
            TxnOffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(7);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transaction.id.clone())
            .with_group_id(group)
            .with_producer_id(ProducerId(transaction.producer.id))
            .with_producer_epoch(transaction.producer.epoch)
            .with_topics(vec![topic]);
        none(self.call(version, &request)?.topics[0].partitions[0].error_code)
    }

    fn describe_configs(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(TOPIC))
            .with_configuration_keys(None);
        let broker = DescribeConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(text("1"))
            .with_configuration_keys(None);
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![topic, broker])
            .with_include_synonyms(true)
            .with_include_documentation(version >= 3);
        let response = self.call(version, &request)?;
        for result in &response.results {
            none(result.error_code)?;
            ensure!(result.configs.len() > 5);
        }
        Ok(())
    }

    fn create_partitions(&mut self, version: i16) -> anyhow::Result<()> {
        let name = self.fresh("topic");
        wire::create_topic(&mut self.client, &name, 1, &[]);
        let topic = CreatePartitionsTopic::default().with_name(topic_name(&name)).with_count(3);
        let topic = topic.with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        none(self.call(version, &request)?.results[0].error_code)
    }

    fn delete_groups(&mut self, version: i16) -> anyhow::Result<()> {
        let group = GroupId(text(&self.fresh("group")));
        self.call(8, &offset_commit_request(group.clone()))?;
        let response = self.call(version, &DeleteGroupsRequest::default().with_groups_names(vec![group]))?;
        none(response.results[0].error_code)
    }

    fn incremental_alter_configs(&mut self, version: i16) -> anyhow::Result<()> {
        let set = AlterableConfig::default()
            .with_name(text("retention.ms"))
            .with_config_operation(0)
            .with_value(Some(text("86400000")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(TOPIC))
            .with_configs(vec![set]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        none(self.call(version, &request)?.responses[0].error_code)
    }

    fn offset_delete(&mut self, version: i16) -> anyhow::Result<()> {
        let group = GroupId(text(&self.fresh("group")));
        self.call(8, &offset_commit_request(group.clone()))?;
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(topic_name(TOPIC))
            .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(0)]);
        let request = OffsetDeleteRequest::default().with_group_id(group).with_topics(vec![topic]);
        let response = self.call(version, &request)?;
        none(response.error_code)?;
        none(response.topics[0].partitions[0].error_code)
    }

    fn describe_cluster(&mut self, version: i16) -> anyhow::Result<()> {
        let response = self.call(version, &DescribeClusterRequest::default())?;
        none(response.error_code)?;
        ensure!(response.brokers.len() == 1 && !response.cluster_id.is_empty());
        Ok(())
    }

    fn describe_producers(&mut self, version: i16) -> anyhow::Result<()> {
        let topic = TopicRequest::default().with_name(topic_name(TOPIC)).with_partition_indexes(vec![0]);
        let response = self.call(version, &DescribeProducersRequest::default().with_topics(vec![topic]))?;
        none(response.topics[0].partitions[0].error_code)
    }

    fn describe_transactions(&mut self, version: i16) -> anyhow::Result<()> {
        let TransactionalProducer { id, producer } = self.transactional_producer()?;
        let request = DescribeTransactionsRequest::default().with_transactional_ids(vec![id]);
        let response = self.call(version, &request)?;
        let state = &response.transaction_states[0];
        none(state.error_code)?;
        ensure!(state.producer_id.0 == producer.id && state.transaction_state.as_str() == "Empty");
        Ok(())
    }

    fn list_transactions(&mut self, version: i16) -> anyhow::Result<()> {
        let TransactionalProducer { id, .. } = self.transactional_producer()?;
        let response = self.call(version, &ListTransactionsRequest::default())?;
        none(response.error_code)?;
        ensure!(response.transaction_states.iter().any(|state| state.transactional_id == id));
        Ok(())
    }
}

pub(super) fn none(error_code: i16) -> anyhow::Result<()> {
    ensure!(error_code == 0, "error code {error_code}");
    Ok(())
}

/// A commit from outside of any generation.
fn offset_commit_request(group: GroupId) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(7);
    let topic =
        OffsetCommitRequestTopic::default().with_name(topic_name(TOPIC)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group)
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn sync_request(member: &Member) -> SyncGroupRequest {
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(member.member_id.clone())
        .with_assignment(Bytes::from_static(b"all"));
    SyncGroupRequest::default()
        .with_group_id(member.group.clone())
        .with_generation_id(member.generation)
        .with_member_id(member.member_id.clone())
        .with_assignments(vec![assignment])
}

fn end_request(transaction: &TransactionalProducer) -> EndTxnRequest {
    EndTxnRequest::default()
        .with_transactional_id(transaction.id.clone())
        .with_producer_id(ProducerId(transaction.producer.id))
        .with_producer_epoch(transaction.producer.epoch)
        .with_committed(true)
}
