//! One step's view of one group of the new protocol, and what every change of such a group goes through: a new
//! epoch, a new target, the next part of a member's way there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::live::milliseconds;
use crate::coordinator::group::outbox::Outbox;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::store::Store;
use crate::ids::{GroupId, MemberId, TopicId, TopicIdPartition, TopicName};

use super::assignor::{Assignor, Candidate};
use super::reconcile::{CurrentAssignment, MemberState, Target, reconcile};
use super::record::{ConsumerMember, ConsumerRecord, ResolvedRegex, SubscribedTopic};
use super::subscription::resolve;
use super::topics::KnownTopics;
use super::{ConsumerGroup, MemberTimers};

static NO_GROUP: ConsumerGroup = ConsumerGroup {
    epoch: None,
    topics: BTreeMap::new(),
    members: BTreeMap::new(),
    target_epoch: None,
    targets: BTreeMap::new(),
    currents: BTreeMap::new(),
    regexes: BTreeMap::new(),
};

/// One step's view of one group.
pub(super) struct ConsumerStep<'a> {
    pub(super) now: Timestamp,
    pub(super) config: &'a GroupConfig,
    pub(super) store: &'a mut Store,
    pub(super) out: &'a mut Outbox,
    pub(super) group: &'a GroupId,
    pub(super) topics: &'a Arc<KnownTopics>,
    pub(super) timers: &'a mut MemberTimers,
}

/// Whether members or what they want have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subscriptions {
    Changed,
    Unchanged,
}

impl ConsumerStep<'_> {
    /// The group as it stands; an empty one if there is none yet.
    pub(super) fn state(&self) -> &ConsumerGroup {
        self.store.consumer(self.group).unwrap_or(&NO_GROUP)
    }

    pub(super) fn write(&mut self, record: ConsumerRecord) {
        self.out.write(self.store, GroupRecord::Consumer { group: self.group.clone(), record });
    }

    /// Writes what a member says of itself, if that is new; tells whether it wants other topics than before.
    pub(super) fn update_member(&mut self, id: &MemberId, member: ConsumerMember) -> Subscriptions {
        let before = self.state().member(id);
        let wanted = before.map(|before| (&before.topic_names, &before.topic_regex));
        let wants_the_same = match wanted {
            Some(wanted) => wanted == (&member.topic_names, &member.topic_regex),
            None => member.topic_names.is_empty() && member.topic_regex.is_none(),
        };
        if before != Some(&member) {
            self.write(ConsumerRecord::Member(id.clone(), Some(member)));
        }
        if wants_the_same { Subscriptions::Unchanged } else { Subscriptions::Changed }
    }

    /// Gives a static member's place to a new member id.
    pub(super) fn replace_member(&mut self, old: &MemberId, fresh: &MemberId) {
        let state = self.state();
        let (member, target, current) = (state.member(old).cloned(), state.target(old), state.current(old));
        self.bury_member(old);
        // It has given up everything with its old id; at epoch 0 it is told what is still its own.
        let current = CurrentAssignment {
            state: MemberState::Stable,
            pending_revocation: BTreeSet::new(),
            assigned: current.assigned,
            ..CurrentAssignment::of_newcomer()
        };
        self.write(ConsumerRecord::Member(fresh.clone(), member));
        self.write(ConsumerRecord::Target(fresh.clone(), Some(target)));
        self.write(ConsumerRecord::Current(fresh.clone(), Some(current)));
    }

    /// Takes members out. What they held is free, and their timers are gone.
    pub(super) fn remove_members(&mut self, ids: &[MemberId]) {
        for id in ids {
            self.bury_member(id);
        }
        self.refresh(Subscriptions::Changed);
    }

    fn bury_member(&mut self, id: &MemberId) {
        self.write(ConsumerRecord::Current(id.clone(), None));
        self.write(ConsumerRecord::Target(id.clone(), None));
        self.write(ConsumerRecord::Member(id.clone(), None));
        self.timers.forget(id);
    }

    /// Looks at the subscriptions and at the topics that there are, and begins a new epoch if either is new.
    pub(super) fn refresh(&mut self, subscriptions: Subscriptions) {
        let has_seen = self.timers.topics_seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, self.topics));
        let is_new = subscriptions == Subscriptions::Changed || self.state().epoch.is_none();
        if has_seen && !is_new {
            return;
        }
        self.timers.topics_seen = Some(Arc::clone(self.topics));
        let finds_other_topics = self.resolve_regexes();
        let topics = self.subscribed_topics();
        let are_topics_new = topics != self.state().topics;
        if are_topics_new {
            self.write(ConsumerRecord::Topics(Some(topics)));
        }
        if is_new || finds_other_topics || are_topics_new {
            let epoch = self.state().epoch().next();
            self.write(ConsumerRecord::Epoch(Some(epoch)));
        }
    }

    /// Resolves the expressions in use; whether one now finds other topics.
    fn resolve_regexes(&mut self) -> bool {
        let state = self.state();
        let used: BTreeSet<String> =
            state.members().values().filter_map(|member| member.topic_regex.clone()).collect();
        let unused: Vec<String> =
            state.regexes.keys().filter(|regex| !used.contains(*regex)).cloned().collect();
        for regex in unused {
            self.write(ConsumerRecord::Regex(regex, None));
        }
        let mut finds_other_topics = false;
        for regex in used {
            let topics = resolve(&regex, self.topics);
            if self.state().regexes.get(&regex).is_none_or(|resolved| resolved.topics != topics) {
                let resolved = ResolvedRegex { topics, resolved_at: self.now };
                self.write(ConsumerRecord::Regex(regex, Some(resolved)));
                finds_other_topics = true;
            }
        }
        finds_other_topics
    }

    fn subscribed_topics(&self) -> BTreeMap<TopicName, SubscribedTopic> {
        let state = self.state();
        let named = state.members().values().flat_map(|member| &member.topic_names);
        let found = state.regexes.values().flat_map(|resolved| &resolved.topics);
        let there = named.chain(found).filter_map(|name| Some((name.clone(), self.topics.get(name)?)));
        there.collect()
    }

    /// Makes the target of the present epoch, if there is none.
    pub(super) fn assign(&mut self) {
        let state = self.state();
        let epoch = state.epoch();
        if epoch <= state.target_epoch() {
            return;
        }
        let members = state.members().iter().map(|(id, member)| Candidate {
            member_id: id.clone(),
            instance_id: member.group_instance_id.clone(),
            topics: state.wanted_topics(member),
            previous: state.target(id),
        });
        let members: Vec<Candidate> = members.collect();
        let topics: BTreeMap<TopicId, i32> =
            state.topics.values().map(|topic| (topic.id, topic.partitions)).collect();
        let assignment = preferred_assignor(state, &self.config.consumer.assignors).assign(&members, &topics);
        for (id, target) in assignment {
            if self.state().targets.get(&id) != Some(&target) {
                self.write(ConsumerRecord::Target(id, Some(target)));
            }
        }
        self.write(ConsumerRecord::TargetEpoch(Some(epoch)));
    }

    /// Moves a member on towards its target, as far as what it says it owns allows.
    pub(super) fn reconcile_member(&mut self, id: &MemberId, owned: Option<&BTreeSet<TopicIdPartition>>) {
        let state = self.state();
        let (current, partitions) = (state.current(id), state.target(id));
        let target = Target { epoch: state.target_epoch(), partitions: &partitions };
        let next = reconcile(&current, &target, owned, |partition| state.is_held_by_others(id, partition));
        if next == current {
            return;
        }
        let member = state.member(id);
        let follows_heartbeats = member.is_some_and(|member| member.classic.is_none());
        let timeout = milliseconds(member.map_or(0, |member| member.rebalance_timeout_ms));
        match next.state {
            // Members of the classic protocol have their deadlines by joining and syncing.
            _ if !follows_heartbeats => {}
            MemberState::UnrevokedPartitions => self.timers.set_task(id, self.now.plus(timeout)),
            MemberState::Stable | MemberState::UnreleasedPartitions => self.timers.clear_task(id),
        }
        self.write(ConsumerRecord::Current(id.clone(), Some(next)));
    }
}

/// The assignor that most members want, of those that are allowed; without a wish the first.
pub(super) fn preferred_assignor(group: &ConsumerGroup, allowed: &[Assignor]) -> Assignor {
    let votes = |assignor: &Assignor| {
        let wishes = group.members().values().filter_map(|member| member.server_assignor.as_deref());
        wishes.filter(|wish| *wish == assignor.name()).count()
    };
    // Of equals `max_by_key` takes the last.
    allowed.iter().rev().copied().max_by_key(votes).unwrap_or(Assignor::Uniform)
}
