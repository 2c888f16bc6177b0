//! The soft state of a group of the new protocol: until when each member may be silent, and by when it must have
//! done what it was asked. None of it survives a crash; `restored` makes it anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordinator::group::GroupShard;
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::live::milliseconds;
use crate::coordinator::group::outbox::Outbox;
use crate::ids::{GroupId, MemberId};

use super::ConsumerGroup;
use super::reconcile::MemberState;
use super::record::ConsumerMember;
use super::topics::KnownTopics;

/// The deadlines of one group's members.
#[derive(Debug, Default)]
pub struct MemberTimers {
    members: BTreeMap<MemberId, Timers>,
    /// The topics that the group's subscriptions were last held against.
    pub(super) topics_seen: Option<Arc<KnownTopics>>,
    /// Under which moment the shard has filed this group; never after the true next deadline.
    pub(in crate::coordinator::group) filed_under: Option<Timestamp>,
}

/// One member's deadlines.
#[derive(Clone, Copy, Debug)]
struct Timers {
    session: Timestamp,
    /// By when it must have given up partitions, or (a member of the classic protocol) joined again or asked for
    /// its assignment.
    task: Option<Timestamp>,
}

impl MemberTimers {
    /// Fresh deadlines for everybody.
    pub(in crate::coordinator::group) fn restored(
        now: Timestamp,
        config: &GroupConfig,
        group: &ConsumerGroup,
    ) -> MemberTimers {
        let mut timers = MemberTimers::default();
        for (id, member) in group.members() {
            timers.refresh_session(now, config, id, member);
            if group.current(id).state == MemberState::UnrevokedPartitions && member.classic.is_none() {
                timers.set_task(id, now.plus(milliseconds(member.rebalance_timeout_ms)));
            }
        }
        timers
    }

    /// The next moment at which time alone changes something.
    pub(in crate::coordinator::group) fn next_deadline(&self) -> Option<Timestamp> {
        let of = |timers: &Timers| timers.task.map_or(timers.session, |task| task.min(timers.session));
        self.members.values().map(of).min()
    }

    /// Whose time is up.
    pub(super) fn overdue(&self, now: Timestamp) -> Vec<MemberId> {
        let is_overdue =
            |timers: &Timers| timers.session <= now || timers.task.is_some_and(|task| task <= now);
        self.members.iter().filter(|(_, timers)| is_overdue(timers)).map(|(id, _)| id.clone()).collect()
    }

    /// Says that a member has just been heard of.
    pub(super) fn refresh_session(
        &mut self,
        now: Timestamp,
        config: &GroupConfig,
        id: &MemberId,
        member: &ConsumerMember,
    ) {
        let session = now.plus(session_timeout(config, member));
        self.members.entry(id.clone()).or_insert(Timers { session, task: None }).session = session;
    }

    pub(super) fn set_task(&mut self, id: &MemberId, deadline: Timestamp) {
        if let Some(timers) = self.members.get_mut(id) {
            timers.task = Some(deadline);
        }
    }

    pub(super) fn set_task_if_none(&mut self, id: &MemberId, deadline: Timestamp) {
        if let Some(timers) = self.members.get_mut(id) {
            timers.task.get_or_insert(deadline);
        }
    }

    pub(super) fn clear_task(&mut self, id: &MemberId) {
        if let Some(timers) = self.members.get_mut(id) {
            timers.task = None;
        }
    }

    pub(super) fn forget(&mut self, id: &MemberId) {
        self.members.remove(id);
    }
}

impl GroupShard {
    /// Begins to serve the groups that the log has members of.
    pub(in crate::coordinator::group) fn resume_consumer_groups(&mut self, now: Timestamp) {
        let restored: Vec<(GroupId, MemberTimers)> = self
            .store
            .groups()
            .filter_map(|(group, stored)| Some((group.clone(), stored.consumer()?)))
            .map(|(group, state)| (group, MemberTimers::restored(now, &self.config, state)))
            .collect();
        for (group, timers) in restored {
            self.consumers.insert(group.clone(), timers);
            self.file_consumer_group(&group);
        }
    }

    /// What time alone brings about in a group: whoever is overdue is out, and what they held is free.
    pub(in crate::coordinator::group) fn tick_consumer_group(
        &mut self,
        now: Timestamp,
        group: &GroupId,
        out: &mut Outbox,
    ) {
        let filed_under = self.consumers.get_mut(group).and_then(|timers| timers.filed_under.take());
        self.unfile(group, filed_under);
        self.in_consumer_group(now, group, out, |step| {
            let overdue = step.timers.overdue(step.now);
            if !overdue.is_empty() {
                step.remove_members(&overdue);
            }
        });
        self.downgrade_if_due(now, group, out);
    }

    /// Files a group under its next deadline, or forgets its deadlines if it has no members.
    pub(super) fn file_consumer_group(&mut self, group: &GroupId) {
        let has_members = self.has_consumer_members(group);
        let Some(timers) = self.consumers.get_mut(group) else { return };
        let (deadline, filed_under) = (timers.next_deadline(), timers.filed_under);
        if !has_members {
            self.consumers.remove(group);
            self.unfile(group, filed_under);
        } else if filed_under.is_none() || deadline < filed_under {
            timers.filed_under = deadline;
            self.unfile(group, filed_under);
            self.deadlines.extend(deadline.map(|deadline| (deadline, group.clone())));
        }
    }

    /// About how much the end of all members of a group would write.
    pub(in crate::coordinator::group) fn consumer_bytes_max(&self, group: &GroupId) -> usize {
        let members = self.store.consumer(group).map(|state| state.members().keys());
        members.into_iter().flatten().map(|id| 3 * (64 + group.as_str().len() + id.as_str().len())).sum()
    }
}

/// How long a member may be silent: members of the classic protocol say so themselves.
fn session_timeout(config: &GroupConfig, member: &ConsumerMember) -> Duration {
    match &member.classic {
        Some(classic) => milliseconds(classic.session_timeout_ms),
        None => config.consumer.session_timeout,
    }
}
