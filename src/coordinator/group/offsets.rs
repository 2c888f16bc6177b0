//! Committed offsets: plain and transactional commits, reads, and what the end of a transaction
//! does to them.

use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, ProducerIdent, TopicPartition};
use crate::wire::control_record::{EndTransactionMarker, TransactionVersion};

use super::GroupShard;
use super::consumer::ConsumerGroup;
use super::event::{
    CommittedPartition, FetchPartitions, MemberOfGeneration, OffsetCommit, OffsetStability, UnknownGroup,
};
use super::live::{LiveGroup, Phase};
use super::outbox::Outbox;
use super::record::{GroupRecord, OffsetValue, fits_record};
use super::reply::{FetchedOffset, Reply};
use super::store::StoredGroup;
use crate::clock::Timestamp;

/// Whose commit it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CommitKind {
    Plain(UnknownGroup),
    Transactional(ProducerIdent),
}

impl GroupShard {
    pub(super) fn offset_commit(
        &mut self,
        (now, request): (Timestamp, RequestId),
        commit: OffsetCommit,
        unknown_group: UnknownGroup,
        out: &mut Outbox,
    ) {
        let results = self.commit(now, commit, CommitKind::Plain(unknown_group), out);
        out.reply(request, Reply::OffsetCommit(results));
    }

    pub(super) fn txn_offset_commit(
        &mut self,
        (now, request): (Timestamp, RequestId),
        commit: OffsetCommit,
        producer: ProducerIdent,
        out: &mut Outbox,
    ) {
        let results = self.commit(now, commit, CommitKind::Transactional(producer), out);
        out.reply(request, Reply::TxnOffsetCommit(results));
    }

    pub(super) fn marker(
        &mut self,
        request: RequestId,
        marker: EndTransactionMarker,
        version: TransactionVersion,
        out: &mut Outbox,
    ) {
        if self.store.admits_marker(&marker, version) {
            out.write_marker(&mut self.store, marker, version);
            out.reply(request, Reply::Marker(ErrorCode::None));
        } else {
            out.reply(request, Reply::Marker(ErrorCode::InvalidProducerEpoch));
        }
    }

    pub(super) fn offset_fetch(
        &self,
        group: &GroupId,
        partitions: FetchPartitions,
        stability: OffsetStability,
    ) -> Vec<FetchedOffset> {
        let stored = self.store.group(group);
        let partitions = match (partitions, stored) {
            (FetchPartitions::These(partitions), _) => partitions,
            (FetchPartitions::All, None) => Vec::new(),
            (FetchPartitions::All, Some(stored)) => match stability {
                OffsetStability::Any => stored.offsets().keys().cloned().collect(),
                OffsetStability::RequireStable => stored.known_partitions().into_iter().cloned().collect(),
            },
        };
        partitions.into_iter().map(|partition| fetch_one(stored, partition, stability)).collect()
    }

    /// Whether this member may read the group's offsets: one of the new protocol must be where it says it is.
    pub(super) fn check_fetcher(
        &self,
        group: &GroupId,
        member: Option<&MemberOfGeneration>,
    ) -> Result<(), ErrorCode> {
        match (self.store.consumer(group), member) {
            (Some(group), Some(member)) => check_consumer_member(group, member),
            (Some(_), None) | (None, _) => Ok(()),
        }
    }

    fn commit(
        &mut self,
        now: Timestamp,
        commit: OffsetCommit,
        kind: CommitKind,
        out: &mut Outbox,
    ) -> Vec<(TopicPartition, ErrorCode)> {
        let checked = self.check_commit(&commit, kind);
        if let Err(error) = checked {
            return commit.partitions.into_iter().map(|one| (one.partition, error)).collect();
        }
        let producer = match kind {
            CommitKind::Plain(_) => None,
            CommitKind::Transactional(producer) => Some(producer),
        };
        let mut results = Vec::with_capacity(commit.partitions.len());
        for one in commit.partitions {
            let error = check_partition(&one, self.config.offset_metadata_bytes_max);
            results.push((one.partition.clone(), error));
            if error == ErrorCode::None {
                let at = (commit.group.clone(), one.partition);
                let value = OffsetValue {
                    offset: one.offset,
                    leader_epoch: one.leader_epoch,
                    metadata: one.metadata,
                    commit_timestamp: now,
                };
                out.write_offset(&mut self.store, producer, at, value);
            }
        }
        let member_id = commit.member.member_id.as_ref();
        let member =
            self.live.get_mut(&commit.group).zip(member_id).and_then(|(l, id)| l.members.get_mut(id));
        if let Some(member) = member {
            member.refresh_session(now);
        }
        results
    }

    fn check_commit(&self, commit: &OffsetCommit, kind: CommitKind) -> Result<(), ErrorCode> {
        if !fits_record(commit.group.as_str()) {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.check_committer(commit, kind)?;
        if let CommitKind::Transactional(producer) = kind {
            if commit.group.as_str().is_empty() {
                return Err(ErrorCode::InvalidGroupId);
            }
            if self.store.is_fenced(producer) {
                return Err(ErrorCode::InvalidProducerEpoch);
            }
        }
        let bytes: usize = commit.partitions.iter().map(|one| record_bytes(&commit.group, one)).sum();
        if bytes > self.config.batch_bytes_max { Err(ErrorCode::InvalidCommitOffsetSize) } else { Ok(()) }
    }

    /// Whether this member may commit in this group now (KIP-447's checks included).
    fn check_committer(&self, commit: &OffsetCommit, kind: CommitKind) -> Result<(), ErrorCode> {
        if let Some(group) = self.store.consumer(&commit.group) {
            return check_consumer_committer(group, &commit.member, kind);
        }
        let MemberOfGeneration { member_id, group_instance_id, generation } = &commit.member;
        if !self.exists(&commit.group) {
            return match (generation, kind) {
                (None, _) => Ok(()),
                (Some(_), CommitKind::Plain(UnknownGroup::GroupIdNotFound)) => {
                    Err(ErrorCode::GroupIdNotFound)
                }
                (Some(_), CommitKind::Plain(UnknownGroup::IllegalGeneration))
                | (Some(_), CommitKind::Transactional(_)) => Err(ErrorCode::IllegalGeneration),
            };
        }
        let live = self.live.get(&commit.group).filter(|live| live.phase != Phase::Empty);
        let names_a_member = generation.is_some() || member_id.is_some() || group_instance_id.is_some();
        let Some(live) = live else {
            // The group is empty: simple consumers and admin tools may commit, former members not.
            return if generation.is_none() { Ok(()) } else { Err(ErrorCode::UnknownMemberId) };
        };
        if names_a_member {
            live.check_member(member_id.as_ref(), group_instance_id.as_ref())?;
            if *generation != Some(self.store.generation(&commit.group)) {
                return Err(ErrorCode::IllegalGeneration);
            }
        }
        check_phase(live, kind, names_a_member)
    }
}

/// Whether this member may commit in a group of the new protocol (Kafka's `ConsumerGroup.validateOffsetCommit`).
fn check_consumer_committer(
    group: &ConsumerGroup,
    member: &MemberOfGeneration,
    kind: CommitKind,
) -> Result<(), ErrorCode> {
    // The group is empty: admin tools may commit.
    if member.generation.is_none() && group.members().is_empty() {
        return Ok(());
    }
    match kind {
        // Old transactional clients do not say who they are.
        CommitKind::Transactional(_) if *member == MemberOfGeneration::NOBODY => Ok(()),
        CommitKind::Transactional(_) => match check_consumer_member(group, member) {
            // What transactional producers know of groups is the classic protocol's.
            Err(ErrorCode::StaleMemberEpoch) => Err(ErrorCode::IllegalGeneration),
            checked => checked,
        },
        CommitKind::Plain(since) => {
            let found = member.member_id.as_ref().and_then(|id| group.member(id));
            let is_classic = found.is_some_and(|found| found.classic.is_some());
            match (since, is_classic) {
                // Before version 9 the number is a generation, which such a member has not.
                (UnknownGroup::IllegalGeneration, false) if found.is_some() => {
                    Err(ErrorCode::UnsupportedVersion)
                }
                (UnknownGroup::IllegalGeneration | UnknownGroup::GroupIdNotFound, _) => {
                    check_consumer_member(group, member)
                }
            }
        }
    }
}

/// Whether a member of a group of the new protocol is in it, and at the epoch that it says.
fn check_consumer_member(group: &ConsumerGroup, member: &MemberOfGeneration) -> Result<(), ErrorCode> {
    let id = member.member_id.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
    let found = group.member(id).ok_or(ErrorCode::UnknownMemberId)?;
    let epoch = group.current(id).epoch.map(|epoch| epoch.as_generation());
    match (&found.classic, epoch == member.generation && epoch.is_some()) {
        (_, true) => Ok(()),
        (Some(_), false) => Err(ErrorCode::IllegalGeneration),
        (None, false) => Err(ErrorCode::StaleMemberEpoch),
    }
}

fn check_phase(live: &LiveGroup, kind: CommitKind, names_a_member: bool) -> Result<(), ErrorCode> {
    match kind {
        // Old transactional clients do not say who they are; and their commit may come late.
        CommitKind::Transactional(_) => Ok(()),
        CommitKind::Plain(_) if !names_a_member => Err(ErrorCode::UnknownMemberId),
        CommitKind::Plain(_) if live.phase == Phase::CompletingRebalance => {
            Err(ErrorCode::RebalanceInProgress)
        }
        CommitKind::Plain(_) => Ok(()),
    }
}

fn check_partition(one: &CommittedPartition, metadata_bytes_max: usize) -> ErrorCode {
    if one.metadata.len() > metadata_bytes_max || !fits_record(&one.metadata) {
        ErrorCode::OffsetMetadataTooLarge
    } else if !fits_record(one.partition.topic.as_str()) {
        ErrorCode::InvalidTopicException
    } else {
        ErrorCode::None
    }
}

fn record_bytes(group: &GroupId, one: &CommittedPartition) -> usize {
    let without_value =
        GroupRecord::Offset { group: group.clone(), partition: one.partition.clone(), value: None };
    without_value.bytes_max() + 24 + one.metadata.len()
}

fn fetch_one(
    stored: Option<&StoredGroup>,
    partition: TopicPartition,
    stability: OffsetStability,
) -> FetchedOffset {
    let nothing = |partition, error| FetchedOffset {
        partition,
        error,
        offset: None,
        leader_epoch: None,
        metadata: String::new(),
    };
    let Some(stored) = stored else { return nothing(partition, ErrorCode::None) };
    if stability == OffsetStability::RequireStable && stored.is_pending(&partition) {
        return nothing(partition, ErrorCode::UnstableOffsetCommit);
    }
    match stored.offsets().get(&partition) {
        None => nothing(partition, ErrorCode::None),
        Some(committed) => FetchedOffset {
            partition,
            error: ErrorCode::None,
            offset: Some(committed.value.offset),
            leader_epoch: committed.value.leader_epoch,
            metadata: committed.value.metadata.clone(),
        },
    }
}
