//! The fixture of the group shard's tests: events under a manual clock, a log that every write goes
//! to, and a crash at any moment. After each step the log is replayed and must tell the same.

mod consumer_groups;
mod consumer_properties;
mod members;
mod migration;
mod offsets;
mod properties;
mod static_members;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::coordinator::Write;
use crate::ids::{
    GenerationId, GroupInstanceId, MemberEpoch, MemberId, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    ProducerIdent, TopicId, TopicIdPartition, TopicName, TopicPartition,
};
use crate::wire::control_record::{EndTransaction, EndTransactionMarker, TransactionVersion};

const GROUP: &str = "mill";

fn group(name: &str) -> GroupId {
    GroupId::new(name)
}

fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic), PartitionIndex::from_wire(partition).unwrap())
}

fn member_id(id: &str) -> MemberId {
    MemberId::new(id)
}

fn generation(number: i32) -> GenerationId {
    GenerationId::from_wire(number).unwrap()
}

fn producer(id: i64, epoch: i16) -> ProducerIdent {
    ProducerIdent { id: ProducerId::from_wire(id).unwrap(), epoch: ProducerEpoch::from_wire(epoch).unwrap() }
}

/// A consumer's subscription, version 1: topics, user data, no owned partitions.
fn subscription(topics: &[&str], user_data: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(1);
    out.put_i32(topics.len() as i32);
    for topic in topics {
        out.put_i16(topic.len() as i16);
        out.put_slice(topic.as_bytes());
    }
    out.put_i32(user_data.len() as i32);
    out.put_slice(user_data);
    out.put_i32(0);
    out.freeze()
}

fn protocols(names: &[&str]) -> Vec<JoinProtocol> {
    let protocol =
        |name: &&str| JoinProtocol { name: (*name).to_owned(), metadata: subscription(&["grain"], b"") };
    names.iter().map(protocol).collect()
}

/// A member with its id and generation as it knows them.
fn member_of(id: &str, number: i32) -> MemberOfGeneration {
    MemberOfGeneration {
        member_id: Some(member_id(id)),
        group_instance_id: None,
        generation: Some(generation(number)),
    }
}

fn instance_of(id: &str, instance: &str, number: i32) -> MemberOfGeneration {
    MemberOfGeneration { group_instance_id: Some(GroupInstanceId::new(instance)), ..member_of(id, number) }
}

fn commit_of(member: MemberOfGeneration, partitions: &[(&str, i32, i64)]) -> OffsetCommit {
    let partitions = partitions.iter().map(|(topic, partition, offset)| CommittedPartition {
        partition: tp(topic, *partition),
        offset: Offset::from_wire(*offset).unwrap(),
        leader_epoch: None,
        metadata: String::new(),
    });
    OffsetCommit { group: group(GROUP), member, partitions: partitions.collect() }
}

struct Fixture {
    config: GroupConfig,
    shard: GroupShard,
    now: Timestamp,
    log: Vec<Replayed<GroupRecord>>,
    asked: u64,
    waiting: BTreeSet<RequestId>,
    replies: BTreeMap<RequestId, Reply>,
    kept: KeptGroups,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() })
    }

    fn with(config: GroupConfig) -> Fixture {
        let now = Timestamp::from_ms(1_000_000);
        let mut shard = GroupShard::new(config.clone(), Arc::default());
        shard.resume(now, CoordinatorEpoch::ZERO);
        Fixture {
            config,
            shard,
            now,
            log: Vec::new(),
            asked: 0,
            waiting: BTreeSet::new(),
            replies: BTreeMap::new(),
            kept: KeptGroups::Known(Arc::default()),
        }
    }

    /// Sends a request and keeps who waits.
    fn ask(&mut self, event: impl FnOnce(RequestId) -> Event) -> RequestId {
        self.asked += 1;
        let request = RequestId(self.asked);
        self.waiting.insert(request);
        self.step(event(request));
        request
    }

    /// Sends a request that must be answered at once.
    fn answer(&mut self, event: impl FnOnce(RequestId) -> Event) -> Reply {
        let request = self.ask(event);
        self.replies.get(&request).expect("answered at once").clone()
    }

    fn step(&mut self, event: Event) {
        let output = self.shard.step(self.now, event);
        for (request, reply) in output.replies {
            assert!(self.waiting.remove(&request), "{request:?} is answered twice, or never asked");
            self.replies.insert(request, reply);
        }
        match output.write {
            None => {}
            Some(Write::Records(records)) => {
                assert!(!records.is_empty());
                self.append(None, records);
            }
            Some(Write::Transactional { producer, records }) => self.append(Some(producer), records),
            Some(Write::Marker(marker, _)) => self.log.push(Replayed::Marker(marker)),
        }
        assert_eq!(self.reloaded().store, self.shard.store, "replay tells the same as the live steps");
        for live in self.shard.live.values() {
            let (filed, due) = (self.shard.next_deadline(), live.next_deadline());
            assert!(due.is_none() || filed.is_some_and(|filed| Some(filed) <= due), "a deadline is missed");
        }
        for timers in self.shard.consumers.values() {
            let (filed, due) = (self.shard.next_deadline(), timers.next_deadline());
            assert!(due.is_none() || filed.is_some_and(|filed| Some(filed) <= due), "a deadline is missed");
        }
        let groups = self.shard.live.len() + self.shard.consumers.len();
        assert_eq!(groups, self.shard.deadlines.len(), "each live group is filed once");
    }

    fn append(&mut self, producer: Option<ProducerIdent>, records: Vec<GroupRecord>) {
        for record in records {
            let (key, value) = record.encode();
            assert!(key.len() + value.as_ref().map_or(0, Bytes::len) <= record.bytes_max());
            let offset = Offset::from_wire(self.log.len() as i64).unwrap();
            let record = GroupRecord::decode(&key, value.as_deref()).unwrap().unwrap();
            self.log.push(Replayed::Record { offset, producer, record });
        }
    }

    fn reloaded(&self) -> GroupShard {
        let mut shard = GroupShard::new(self.config.clone(), Arc::clone(&self.shard.topics));
        for entry in &self.log {
            shard.replay(copy_of(entry));
        }
        shard
    }

    /// Drops the shard with all who wait, and loads it from its log.
    fn crash_and_reload(&mut self) {
        self.shard = self.reloaded();
        self.shard.resume(self.now, CoordinatorEpoch::ZERO);
        self.waiting.clear();
    }

    /// Lets time pass, with a tick at every deadline on the way.
    fn pass(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while let Some(deadline) = self.shard.next_deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.step(Event::Tick { kept: self.kept.clone() });
        }
        self.now = end;
    }

    fn join(&mut self, join: JoinGroup) -> RequestId {
        self.ask(|request| Event::JoinGroup { request, join })
    }

    fn joined(&self, request: RequestId) -> JoinReply {
        match self.replies.get(&request) {
            Some(Reply::JoinGroup(reply)) => reply.clone(),
            other => panic!("no JoinGroup answer to {request:?}: {other:?}"),
        }
    }

    fn sync(&mut self, member: MemberOfGeneration, assignments: &[(&str, &'static str)]) -> RequestId {
        let assignments = assignments
            .iter()
            .map(|(id, assignment)| (member_id(id), Bytes::from_static(assignment.as_bytes())))
            .collect();
        let sync =
            SyncGroup { group: group(GROUP), member, protocol_type: None, protocol: None, assignments };
        self.ask(|request| Event::SyncGroup { request, sync })
    }

    fn synced(&self, request: RequestId) -> (ErrorCode, String) {
        match self.replies.get(&request) {
            Some(Reply::SyncGroup(reply)) => {
                (reply.error, String::from_utf8(reply.assignment.to_vec()).unwrap())
            }
            other => panic!("no SyncGroup answer to {request:?}: {other:?}"),
        }
    }

    fn heartbeat(&mut self, member: MemberOfGeneration) -> ErrorCode {
        match self.answer(|request| Event::Heartbeat { request, group: group(GROUP), member }) {
            Reply::Heartbeat(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, leaving: &[(Option<&str>, Option<&str>)]) -> Vec<ErrorCode> {
        let members = leaving
            .iter()
            .map(|(id, instance)| LeavingMember {
                member_id: id.map(member_id),
                group_instance_id: instance.map(GroupInstanceId::new),
            })
            .collect();
        match self.answer(|request| Event::LeaveGroup { request, group: group(GROUP), members }) {
            Reply::LeaveGroup(reply) if reply.error == ErrorCode::None => {
                reply.members.into_iter().map(|member| member.error).collect()
            }
            Reply::LeaveGroup(reply) => vec![reply.error],
            other => panic!("{other:?}"),
        }
    }

    fn commit(&mut self, member: MemberOfGeneration, partitions: &[(&str, i32, i64)]) -> ErrorCode {
        self.commit_in(commit_of(member, partitions))
    }

    fn commit_in(&mut self, commit: OffsetCommit) -> ErrorCode {
        let unknown_group = UnknownGroup::GroupIdNotFound;
        match self.answer(|request| Event::OffsetCommit { request, commit, unknown_group }) {
            Reply::OffsetCommit(results) => results.first().expect("one partition at least").1,
            other => panic!("{other:?}"),
        }
    }

    fn txn_commit(
        &mut self,
        producer: ProducerIdent,
        member: MemberOfGeneration,
        partitions: &[(&str, i32, i64)],
    ) -> ErrorCode {
        let commit = commit_of(member, partitions);
        match self.answer(|request| Event::TxnOffsetCommit { request, producer, commit }) {
            Reply::TxnOffsetCommit(results) => results.first().expect("one partition at least").1,
            other => panic!("{other:?}"),
        }
    }

    /// Ends a TV2 transaction that wrote at `producer`'s epoch.
    fn end(&mut self, producer: ProducerIdent, result: EndTransaction) -> ErrorCode {
        let bumped = ProducerIdent { id: producer.id, epoch: producer.epoch.next().unwrap() };
        let marker =
            EndTransactionMarker { producer: bumped, result, coordinator_epoch: CoordinatorEpoch::ZERO };
        let version = TransactionVersion::V2;
        match self.answer(|request| Event::Marker { request, marker, version }) {
            Reply::Marker(error) => error,
            other => panic!("{other:?}"),
        }
    }

    fn fetch(&mut self, topic: &str, partition: i32, stability: OffsetStability) -> (ErrorCode, Option<i64>) {
        let partitions = FetchPartitions::These(vec![tp(topic, partition)]);
        let reply = self.answer(|request| Event::OffsetFetch {
            request,
            group: group(GROUP),
            member: None,
            partitions,
            stability,
        });
        match reply {
            Reply::OffsetFetch(Ok(fetched)) => {
                let first = fetched.first().unwrap();
                (first.error, first.offset.map(Offset::value))
            }
            other => panic!("{other:?}"),
        }
    }

    fn offset(&mut self, topic: &str, partition: i32) -> Option<i64> {
        self.fetch(topic, partition, OffsetStability::Any).1
    }

    fn describe(&mut self) -> DescribedGroup {
        match self.answer(|request| Event::DescribeGroups { request, groups: vec![group(GROUP)] }) {
            Reply::DescribeGroups(groups) => groups.into_iter().next().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> GroupState {
        self.describe().state
    }

    fn generation(&self) -> i32 {
        self.shard.store.generation(&group(GROUP)).value()
    }

    /// A stable group of these members; the first leads. Each is assigned "for <id>".
    fn stable(config: GroupConfig, ids: &[&'static str]) -> Fixture {
        let mut fixture =
            Fixture::with(GroupConfig { initial_rebalance_delay: Duration::from_secs(3), ..config });
        let requests: Vec<RequestId> = ids.iter().map(|id| fixture.join(dynamic(id))).collect();
        fixture.pass(Duration::from_secs(30));
        let leader = fixture.joined(requests[0]).leader.unwrap();
        assert_eq!(leader.as_str(), ids[0]);
        for id in ids.iter().rev() {
            let all: Vec<(&str, &'static str)> = ids.iter().map(|id| (*id, *id)).collect();
            let assignments = if *id == ids[0] { all.as_slice() } else { &[] };
            fixture.sync(member_of(id, 1), assignments);
        }
        assert_eq!(fixture.state(), GroupState::Stable);
        fixture
    }
}

/// A dynamic member that joins for the first time, by the old rule, so that its id is `id`.
fn dynamic(id: &str) -> JoinGroup {
    JoinGroup {
        group: group(GROUP),
        member_id: None,
        fresh_member_id: member_id(id),
        group_instance_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: protocols(&["range", "sticky"]),
        first_join: FirstJoin::Joins,
        skip_assignment: SkipAssignmentSupport::Understood,
    }
}

fn rejoining(id: &str) -> JoinGroup {
    JoinGroup { member_id: Some(member_id(id)), ..dynamic("unused") }
}

fn static_member(instance: &str, fresh: &str) -> JoinGroup {
    JoinGroup { group_instance_id: Some(GroupInstanceId::new(instance)), ..dynamic(fresh) }
}

fn copy_of(entry: &Replayed<GroupRecord>) -> Replayed<GroupRecord> {
    match entry {
        Replayed::Record { offset, producer, record } => {
            Replayed::Record { offset: *offset, producer: *producer, record: record.clone() }
        }
        Replayed::Marker(marker) => Replayed::Marker(*marker),
    }
}
