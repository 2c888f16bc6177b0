//! The group coordinator: consumer groups, classic ones and those of the new protocol (`consumer`, KIP-848), and
//! their committed offsets.
//!
//! A `GroupShard` is one `__consumer_offsets` partition with its groups, as a pure state machine:
//! no clocks, no tasks, no IO. Durable state changes only by `Store::apply`, which recovery uses
//! too; who waits, who is joining and session deadlines are soft and are made anew after a crash.

mod config;
mod consumer;
mod event;
mod join;
mod live;
mod membership;
mod offsets;
mod outbox;
mod rebalance;
mod record;
mod reply;
mod store;
mod subscription;
mod upkeep;
mod view;

pub use config::{ConsumerGroupConfig, GroupConfig};
pub use consumer::{
    Assignor, ClassicMember, ConsumerGroup, ConsumerHeartbeat, ConsumerMember, ConsumerRecord,
    CurrentAssignment, DescribedConsumerGroup, DescribedConsumerMember, DescribedTopic, HeartbeatReply,
    Intent, KnownTopics, MemberProtocol, MemberState, MigrationPolicy, Refusal, ResolvedRegex,
    SubscribedTopic, by_topic,
};
pub use event::{
    CommittedPartition, Event, FetchPartitions, FirstJoin, GroupType, JoinGroup, JoinProtocol, KeptGroups,
    LeavingMember, MemberOfGeneration, OffsetCommit, OffsetStability, SkipAssignmentSupport, SyncGroup,
    UnknownGroup,
};
pub use record::{DecodeError, GroupMetadata, GroupRecord, MemberMetadata, OffsetValue};
pub use reply::{
    DeleteOffsetsReply, DescribedGroup, DescribedMember, FetchedOffset, GroupState, JoinReply, JoinedMember,
    LeaderAssignment, LeaveReply, LeftMember, ListedGroup, Reply, SyncReply,
};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::coordinator::{Output, Replayed, RequestId};
use crate::error_code::ErrorCode;
use crate::ids::{CoordinatorEpoch, GroupId};

use consumer::MemberTimers;
use live::LiveGroup;
use outbox::Outbox;
use rebalance::GroupStep;
use store::Store;
use upkeep::{DeletedTopic, Swept};

/// A group shard asks nothing of the rest of the broker: this type has no values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {}

/// What one step gives.
pub type GroupOutput = Output<GroupRecord, Reply, Effect>;

/// One partition of `__consumer_offsets` with its groups.
#[derive(Debug)]
pub struct GroupShard {
    config: GroupConfig,
    store: Store,
    /// Groups with members or expected members.
    live: BTreeMap<GroupId, LiveGroup>,
    /// Groups of the new protocol with members.
    consumers: BTreeMap<GroupId, MemberTimers>,
    /// The topics that there are.
    topics: Arc<KnownTopics>,
    /// When each live group must be looked at, or earlier.
    deadlines: BTreeSet<(Timestamp, GroupId)>,
    deleted_topics: VecDeque<DeletedTopic>,
    next_sweep: Option<Timestamp>,
}

impl GroupShard {
    /// A shard over an empty log, in a cluster with these topics.
    pub fn new(config: GroupConfig, topics: Arc<KnownTopics>) -> GroupShard {
        GroupShard {
            config,
            store: Store::new(),
            live: BTreeMap::new(),
            consumers: BTreeMap::new(),
            topics,
            deadlines: BTreeSet::new(),
            deleted_topics: VecDeque::new(),
            next_sweep: None,
        }
    }

    /// Takes in one event. The runtime appends the output's write before it lets the replies out,
    /// and appends the writes of successive steps in order.
    pub fn step(&mut self, now: Timestamp, event: Event) -> GroupOutput {
        let mut out = Outbox::default();
        match event {
            Event::JoinGroup { request, join } => self.join_group(now, request, join, &mut out),
            Event::SyncGroup { request, sync } => self.sync_group(now, request, sync, &mut out),
            Event::Heartbeat { request, group, member } => {
                self.heartbeat((now, request), &group, &member, &mut out);
            }
            Event::LeaveGroup { request, group, members } => {
                self.leave_group((now, request), &group, members, &mut out);
            }
            Event::OffsetCommit { request, commit, unknown_group } => {
                self.offset_commit((now, request), commit, unknown_group, &mut out);
            }
            Event::OffsetFetch { request, group, member, partitions, stability } => {
                let fetched = self
                    .check_fetcher(&group, member.as_ref())
                    .map(|()| self.offset_fetch(&group, partitions, stability));
                out.reply(request, Reply::OffsetFetch(fetched));
            }
            Event::TxnOffsetCommit { request, producer, commit } => {
                self.txn_offset_commit((now, request), commit, producer, &mut out);
            }
            Event::Marker { request, marker, version } => self.marker(request, marker, version, &mut out),
            Event::DeleteGroups { request, groups } => self.delete_groups(request, groups, &mut out),
            Event::DeleteOffsets { request, group, partitions } => {
                self.delete_offsets(request, &group, partitions, &mut out);
            }
            Event::DescribeGroups { request, groups } => {
                out.reply(request, Reply::DescribeGroups(self.describe_groups(groups)));
            }
            Event::ListGroups { request, states, types } => {
                let listed = self.list_groups(states.as_deref(), types.as_deref());
                out.reply(request, Reply::ListGroups(listed));
            }
            Event::ConsumerGroupHeartbeat { request, heartbeat } => {
                self.consumer_heartbeat((now, request), heartbeat, &mut out);
            }
            Event::ConsumerGroupDescribe { request, group } => {
                out.reply(request, Reply::ConsumerGroupDescribe(self.describe_consumer_group(&group)));
            }
            Event::TopicsChanged { topics } => self.topics = topics,
            Event::TopicDeleted { topic } => self.topic_deleted(topic, &mut out),
            Event::Tick { kept } => self.tick(now, &kept, &mut out),
        }
        out.finish()
    }

    /// Takes in one thing that the log holds, in the log's order.
    pub fn replay(&mut self, entry: Replayed<GroupRecord>) {
        match entry {
            Replayed::Record { offset: _, producer, record } => self.store.apply(&record, producer),
            Replayed::Marker(marker) => self.store.apply_marker(&marker),
        }
    }

    /// Begins to serve after the whole log is replayed: stored members get fresh sessions. The
    /// epoch plays no part, since nothing that a group shard does reaches beyond its partition.
    pub fn resume(&mut self, now: Timestamp, _epoch: CoordinatorEpoch) -> Vec<Effect> {
        self.next_sweep = Some(now.plus(self.config.offsets_retention_check_interval));
        let with_members = |metadata: &&GroupMetadata| !metadata.members.is_empty();
        let restored: Vec<(GroupId, LiveGroup)> = self
            .store
            .groups()
            .filter_map(|(group, stored)| Some((group, stored.metadata().filter(with_members)?)))
            .map(|(group, metadata)| {
                (group.clone(), LiveGroup::restored(now, metadata, self.config.group_size_max))
            })
            .collect();
        for (group, live) in restored {
            self.live.insert(group.clone(), live);
            self.file(&group);
        }
        self.resume_consumer_groups(now);
        Vec::new()
    }

    /// When the runtime must send `Event::Tick` at the latest. It may be in the past: there is then
    /// more to do than one step could.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let groups = self.deadlines.first().map(|(deadline, _)| *deadline);
        let topics = (!self.deleted_topics.is_empty()).then_some(Timestamp::ZERO);
        [groups, topics, self.next_sweep].into_iter().flatten().min()
    }

    fn exists(&self, group: &GroupId) -> bool {
        self.live.contains_key(group) || self.store.group(group).is_some()
    }

    fn join_group(&mut self, now: Timestamp, request: RequestId, join: JoinGroup, out: &mut Outbox) {
        let bounds_ms =
            (self.config.session_timeout_min.as_millis(), self.config.session_timeout_max.as_millis());
        let checked = join::check_join_request(&join, bounds_ms);
        if checked.is_ok() {
            self.make_classic_group(now, &join, out);
            if self.has_consumer_members(&join.group) {
                return self.classic_join((now, request), join, out);
            }
        }
        let checked = checked.and_then(|()| {
            // Only a first join makes a group.
            let is_known = join.member_id.is_none() || self.live.contains_key(&join.group);
            if is_known { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
        });
        if let Err(error) = checked {
            return out.reply(request, Reply::JoinGroup(JoinReply::error(error, join.member_id)));
        }
        let group = join.group.clone();
        self.live.entry(group.clone()).or_default();
        let entered = self.in_group(now, &group, out, |step| step.join(request, join));
        assert!(entered.is_ok());
    }

    fn sync_group(&mut self, now: Timestamp, request: RequestId, sync: SyncGroup, out: &mut Outbox) {
        if self.has_consumer_members(&sync.group) {
            return self.classic_sync((now, request), &sync, out);
        }
        let group = sync.group.clone();
        let found = self.in_group(now, &group, out, |step| step.sync(request, sync));
        if let Err(error) = found {
            out.reply(request, Reply::SyncGroup(SyncReply::error(error)));
        }
    }

    fn heartbeat(
        &mut self,
        (now, request): (Timestamp, RequestId),
        group: &GroupId,
        member: &MemberOfGeneration,
        out: &mut Outbox,
    ) {
        if self.has_consumer_members(group) {
            return self.classic_heartbeat((now, request), group, member, out);
        }
        let found = self.in_group(now, group, out, |step| step.heartbeat(request, member));
        if let Err(error) = found {
            out.reply(request, Reply::Heartbeat(error));
        }
    }

    fn leave_group(
        &mut self,
        (now, request): (Timestamp, RequestId),
        group: &GroupId,
        members: Vec<LeavingMember>,
        out: &mut Outbox,
    ) {
        if self.has_consumer_members(group) {
            return self.classic_leave((now, request), group, members, out);
        }
        let found = self.in_group(now, group, out, |step| step.leave(request, members));
        if let Err(error) = found {
            out.reply(request, Reply::LeaveGroup(LeaveReply { error, members: Vec::new() }));
        }
    }

    /// Runs `act` on a live group and files it anew; tells why if there is none.
    fn in_group(
        &mut self,
        now: Timestamp,
        group: &GroupId,
        out: &mut Outbox,
        act: impl FnOnce(&mut GroupStep<'_>),
    ) -> Result<(), ErrorCode> {
        if group.as_str().is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let GroupShard { config, store, live, .. } = self;
        let live = live.get_mut(group).ok_or(ErrorCode::UnknownMemberId)?;
        act(&mut GroupStep { now, config, store, out, group, live });
        self.file(group);
        Ok(())
    }

    fn tick(&mut self, now: Timestamp, kept: &KeptGroups, out: &mut Outbox) {
        let due: Vec<GroupId> = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, group)| group.clone())
            .collect();
        for group in &due {
            let group_bytes = match self.live.get(group) {
                Some(live) => live.metadata_bytes_max(),
                None => self.consumer_bytes_max(group),
            };
            if out.records_bytes() > 0 && out.records_bytes() + group_bytes > self.config.batch_bytes_max / 2
            {
                return;
            }
            if self.consumers.contains_key(group) {
                self.tick_consumer_group(now, group, out);
                continue;
            }
            let filed_under = self.live.get_mut(group).and_then(|live| live.filed_under.take());
            self.unfile(group, filed_under);
            let ticked = self.in_group(now, group, out, |step| step.tick());
            assert!(ticked.is_ok());
        }
        self.bury_deleted_topics(out);
        let is_sweep_due = *self.next_sweep.get_or_insert(now) <= now;
        if is_sweep_due && self.deleted_topics.is_empty() {
            let wait = match self.expire_offsets(now, kept, out) {
                Swept::Wholly => self.config.offsets_retention_check_interval,
                Swept::Partly => std::time::Duration::ZERO,
            };
            self.next_sweep = Some(now.plus(wait));
        }
    }

    /// Files a group under its next deadline, or forgets it if it is idle. A deadline that has
    /// moved on is left where it was: the tick there finds nothing to do and files it anew.
    fn file(&mut self, group: &GroupId) {
        let Some(live) = self.live.get_mut(group) else { return };
        let (deadline, filed_under) = (live.next_deadline(), live.filed_under);
        if live.is_idle() {
            self.live.remove(group);
            self.unfile(group, filed_under);
        } else if filed_under.is_none() || deadline < filed_under {
            live.filed_under = deadline;
            self.unfile(group, filed_under);
            self.deadlines.extend(deadline.map(|deadline| (deadline, group.clone())));
        }
    }

    fn unfile(&mut self, group: &GroupId, filed_under: Option<Timestamp>) {
        if let Some(deadline) = filed_under {
            self.deadlines.remove(&(deadline, group.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
