//! What goes away: deleted groups and offsets, offsets of deleted topics, and what nobody has used
//! for `offsets.retention.minutes`.

use crate::clock::Timestamp;
use crate::coordinator::RequestId;
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, TopicName, TopicPartition};

use super::GroupShard;
use super::consumer::ConsumerGroup;
use super::event::KeptGroups;
use super::live::{LiveGroup, Phase};
use super::outbox::Outbox;
use super::record::GroupRecord;
use super::reply::{DeleteOffsetsReply, Reply};
use super::store::{StoredGroup, StoredOffset, WritePosition};
use super::subscription::CONSUMER_PROTOCOL_TYPE;

/// Tombstones of one step at most, beside the limit on its bytes.
const TOMBSTONES_MAX: usize = 4096;

/// A deleted topic whose offsets are not all buried yet. Offsets written after `until` belong to a
/// new topic of the same name.
#[derive(Clone, Debug)]
pub(super) struct DeletedTopic {
    topic: TopicName,
    until: WritePosition,
}

impl GroupShard {
    pub(super) fn delete_groups(&mut self, request: RequestId, groups: Vec<GroupId>, out: &mut Outbox) {
        let results = groups
            .into_iter()
            .map(|group| {
                let error = self.delete_group(&group, out).err().unwrap_or(ErrorCode::None);
                (group, error)
            })
            .collect();
        out.reply(request, Reply::DeleteGroups(results));
    }

    pub(super) fn delete_offsets(
        &mut self,
        request: RequestId,
        group: &GroupId,
        partitions: Vec<TopicPartition>,
        out: &mut Outbox,
    ) {
        let reply = match self.check_delete_offsets(group) {
            Err(error) => DeleteOffsetsReply { error, partitions: Vec::new() },
            Ok(()) => {
                let results = partitions.into_iter().map(|partition| {
                    let error = self.delete_offset(group, &partition, out);
                    (partition, error)
                });
                DeleteOffsetsReply { error: ErrorCode::None, partitions: results.collect() }
            }
        };
        out.reply(request, Reply::DeleteOffsets(reply));
    }

    pub(super) fn topic_deleted(&mut self, topic: TopicName, out: &mut Outbox) {
        let until = self.store.position();
        self.deleted_topics.push_back(DeletedTopic { topic, until });
        self.bury_deleted_topics(out);
    }

    /// Buries what is left of deleted topics, as much as fits this step.
    pub(super) fn bury_deleted_topics(&mut self, out: &mut Outbox) {
        while let Some(DeletedTopic { topic, until }) = self.deleted_topics.front() {
            let found = self.store.offsets_of_topic(topic, *until, TOMBSTONES_MAX);
            if found.is_empty() {
                self.deleted_topics.pop_front();
                continue;
            }
            for (group, partition) in &found {
                if !self.has_space(out) {
                    return;
                }
                out.bury_offset(&mut self.store, group, partition);
            }
        }
    }

    /// Buries what has outlived its retention, unless its group is kept; says whether all of it fitted this step.
    pub(super) fn expire_offsets(&mut self, now: Timestamp, kept: &KeptGroups, out: &mut Outbox) -> Swept {
        let groups = self.store.groups().map(|(group, _)| group);
        let groups: Vec<GroupId> = groups.filter(|group| kept.allows_expiry(group)).cloned().collect();
        for group in &groups {
            let expired = self.expired_offsets(now, group);
            for partition in &expired {
                if !self.has_space(out) {
                    return Swept::Partly;
                }
                out.bury_offset(&mut self.store, group, partition);
            }
            let is_left_over = !self.live.contains_key(group)
                && !self.has_consumer_members(group)
                && self.store.group(group).is_some_and(|stored| {
                    stored.offsets().is_empty() && !stored.has_pending() && stored.is_a_group()
                });
            if is_left_over {
                if !self.has_space(out) {
                    return Swept::Partly;
                }
                self.bury_whole_group(group, out);
            }
        }
        Swept::Wholly
    }

    fn delete_group(&mut self, group: &GroupId, out: &mut Outbox) -> Result<(), ErrorCode> {
        if !self.exists(group) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        if self.live.get(group).is_some_and(|live| live.phase != Phase::Empty)
            || self.has_consumer_members(group)
        {
            return Err(ErrorCode::NonEmptyGroup);
        }
        if let Some(live) = self.live.remove(group) {
            self.unfile(group, live.filed_under);
        }
        let Some(stored) = self.store.group(group) else { return Ok(()) };
        let has_metadata = stored.is_a_group();
        let partitions: Vec<TopicPartition> = stored.known_partitions().into_iter().cloned().collect();
        // What does not fit this step's batch is left for the admin client's next attempt: the
        // answer is retriable, and the group's metadata goes last.
        for partition in &partitions {
            if !self.has_space(out) {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
            out.bury_offset(&mut self.store, group, partition);
        }
        if has_metadata && !self.has_space(out) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if has_metadata {
            self.bury_whole_group(group, out);
        }
        Ok(())
    }

    /// Buries what says that there is a group, of either kind: an empty one has only a few such records.
    fn bury_whole_group(&mut self, group: &GroupId, out: &mut Outbox) {
        let consumer = self.store.consumer(group).map(ConsumerGroup::tombstones).unwrap_or_default();
        for record in consumer {
            out.write(&mut self.store, GroupRecord::Consumer { group: group.clone(), record });
        }
        if self.store.metadata(group).is_some() {
            out.bury_group(&mut self.store, group);
        }
    }

    fn check_delete_offsets(&self, group: &GroupId) -> Result<(), ErrorCode> {
        if !self.exists(group) {
            return Err(ErrorCode::GroupIdNotFound);
        }
        // Only a consumer's subscription tells which topics are in use.
        let is_opaque =
            |live: &LiveGroup| live.phase != Phase::Empty && live.protocol_type != CONSUMER_PROTOCOL_TYPE;
        if self.live.get(group).is_some_and(is_opaque) { Err(ErrorCode::NonEmptyGroup) } else { Ok(()) }
    }

    fn delete_offset(&mut self, group: &GroupId, partition: &TopicPartition, out: &mut Outbox) -> ErrorCode {
        let consumer = self.store.consumer(group);
        if self.live.get(group).is_some_and(|live| live.is_subscribed_to(&partition.topic))
            || consumer.is_some_and(|consumer| consumer.is_subscribed_to(&partition.topic))
        {
            return ErrorCode::GroupSubscribedToTopic;
        }
        let is_known = self
            .store
            .group(group)
            .is_some_and(|stored| stored.offsets().contains_key(partition) || stored.is_pending(partition));
        if is_known && !self.has_space(out) {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if is_known {
            out.bury_offset(&mut self.store, group, partition);
        }
        ErrorCode::None
    }

    fn expired_offsets(&self, now: Timestamp, group: &GroupId) -> Vec<TopicPartition> {
        let Some(stored) = self.store.group(group) else { return Vec::new() };
        let live = self.live.get(group).filter(|live| live.phase != Phase::Empty);
        let is_expired = |partition: &TopicPartition, offset: &StoredOffset| {
            // A pending offset must never lose what it would be rolled back to.
            !stored.is_pending(partition)
                && unused_since(live, stored, partition, offset)
                    .is_some_and(|since| since.plus(self.config.offsets_retention) <= now)
        };
        let expired = stored.offsets().iter().filter(|(partition, offset)| is_expired(partition, offset));
        expired.map(|(partition, _)| partition.clone()).collect()
    }

    fn has_space(&self, out: &Outbox) -> bool {
        let longest_tombstone = GroupRecord::Offset {
            group: GroupId::new(""),
            partition: TopicPartition::new(TopicName::new(""), crate::ids::PartitionIndex::ZERO),
            value: None,
        }
        .bytes_max()
            + 2 * i16::MAX as usize;
        out.records_bytes() + longest_tombstone <= self.config.batch_bytes_max || out.records_bytes() == 0
    }
}

/// Whether a sweep got through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Swept {
    Wholly,
    Partly,
}

/// Since when nobody has used an offset; `None` while somebody does (Kafka's
/// `OffsetExpirationCondition`). An offset committed into an empty group, as admin tools do, counts
/// from its commit if that is later.
fn unused_since(
    live: Option<&LiveGroup>,
    stored: &StoredGroup,
    partition: &TopicPartition,
    offset: &StoredOffset,
) -> Option<Timestamp> {
    if let Some(consumer) = stored.consumer() {
        // Kafka's `ConsumerGroup.offsetExpirationCondition`: whoever is in, only subscriptions count.
        return (!consumer.is_subscribed_to(&partition.topic)).then_some(offset.committed_at());
    }
    match live {
        Some(live) => {
            let is_unsubscribed = live.phase == Phase::Stable
                && live.protocol_type == CONSUMER_PROTOCOL_TYPE
                && !live.is_subscribed_to(&partition.topic);
            is_unsubscribed.then_some(offset.committed_at())
        }
        None => {
            let emptied = stored.metadata().and_then(|metadata| metadata.current_state_timestamp);
            Some(emptied.map_or(offset.committed_at(), |emptied| emptied.max(offset.committed_at())))
        }
    }
}
