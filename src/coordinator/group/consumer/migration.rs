//! From one kind of group to the other (KIP-848): an empty group changes with its next member; a live one of
//! consumers is taken over with its members and their assignments, and goes back once nobody in it speaks the new
//! protocol. `group.consumer.migration.policy` says which of the two live ways are open.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::coordinator::group::GroupShard;
use crate::coordinator::group::event::JoinGroup;
use crate::coordinator::group::live::{LiveGroup, Member, Phase};
use crate::coordinator::group::outbox::Outbox;
use crate::coordinator::group::record::{GroupMetadata, GroupRecord};
use crate::coordinator::group::subscription::{
    Assigned, CONSUMER_PROTOCOL_TYPE, Subscription, assignment_bytes,
};
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, MemberId};

use super::classic_members::{named_partitions, partitions_of};
use super::heartbeat::{ConsumerHeartbeat, Refusal};
use super::reconcile::{CurrentAssignment, MemberState};
use super::record::{ClassicMember, ConsumerMember, ConsumerRecord};
use super::{ConsumerGroup, MemberTimers};

/// The assignors that clients bring along.
const KNOWN_ASSIGNORS: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative-sticky"];

/// Which live groups may change their kind, by the names of `group.consumer.migration.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MigrationPolicy {
    /// Both ways.
    Bidirectional,
    /// Only to the new protocol.
    Upgrade,
    /// Only back to the classic one.
    Downgrade,
    /// Neither.
    Disabled,
}

impl MigrationPolicy {
    /// Every policy's name.
    pub const NAMES: [&str; 4] = ["bidirectional", "upgrade", "downgrade", "disabled"];

    /// The policy of a name.
    pub fn from_name(name: &str) -> Option<MigrationPolicy> {
        match name {
            "bidirectional" => Some(MigrationPolicy::Bidirectional),
            "upgrade" => Some(MigrationPolicy::Upgrade),
            "downgrade" => Some(MigrationPolicy::Downgrade),
            "disabled" => Some(MigrationPolicy::Disabled),
            _ => None,
        }
    }

    const fn allows_upgrade(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Upgrade)
    }

    const fn allows_downgrade(self) -> bool {
        matches!(self, MigrationPolicy::Bidirectional | MigrationPolicy::Downgrade)
    }
}

impl GroupShard {
    /// Turns a classic group into one of the new protocol for a member that joins; nothing to do for others.
    pub(super) fn make_consumer_group(
        &mut self,
        now: Timestamp,
        heartbeat: &ConsumerHeartbeat,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let group = &heartbeat.group;
        if self.live.get(group).is_some_and(|live| live.phase != Phase::Empty) {
            return self.upgrade(now, heartbeat, out);
        }
        // Member ids that were given out and not used are nobody's.
        if let Some(live) = self.live.remove(group) {
            self.unfile(group, live.filed_under);
        }
        if self.store.metadata(group).is_some() {
            out.bury_group(&mut self.store, group);
        }
        Ok(())
    }

    fn upgrade(
        &mut self,
        now: Timestamp,
        heartbeat: &ConsumerHeartbeat,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let group = &heartbeat.group;
        let records = self.upgraded_records(heartbeat).map_err(|(code, why)| {
            let message =
                format!("classic group {group} stays one, and takes no member of the new protocol: {why}");
            Refusal::new(code, message)
        })?;
        let found = self.in_group(now, group, out, |step| step.answer_everybody_parked());
        debug_assert!(found.is_ok(), "the group is there");
        if let Some(live) = self.live.remove(group) {
            self.unfile(group, live.filed_under);
        }
        out.bury_group(&mut self.store, group);
        for record in records {
            out.write(&mut self.store, GroupRecord::Consumer { group: group.clone(), record });
        }
        let state = self.store.consumer(group);
        let timers = state.map(|state| MemberTimers::restored(now, &self.config, state));
        self.consumers.insert(group.clone(), timers.unwrap_or_default());
        self.file_consumer_group(group);
        Ok(())
    }

    /// The live group as a group of the new protocol: every member where its last assignment has left it.
    fn upgraded_records(
        &self,
        heartbeat: &ConsumerHeartbeat,
    ) -> Result<Vec<ConsumerRecord>, (ErrorCode, &'static str)> {
        let refuse = |why| (ErrorCode::GroupIdNotFound, why);
        let group = &heartbeat.group;
        let Some(live) = self.live.get(group) else { return Ok(Vec::new()) };
        let config = &self.config.consumer;
        if !config.migration_policy.allows_upgrade() {
            return Err(refuse("group.consumer.migration.policy does not allow it"));
        }
        if live.protocol_type != CONSUMER_PROTOCOL_TYPE {
            return Err(refuse("its members are no consumers"));
        }
        let instance = heartbeat.group_instance_id.as_ref();
        let is_replacement = instance.is_some_and(|instance| live.static_members.contains_key(instance));
        if live.members.len() + usize::from(!is_replacement) > config.group_size_max {
            let why = "it has more members than group.consumer.max.size";
            return Err((ErrorCode::GroupMaxSizeReached, why));
        }
        let generation = self.store.generation(group).as_group_epoch();
        let stored = self.store.metadata(group);
        let mut records = Vec::new();
        let mut taken = BTreeSet::new();
        for (id, member) in &live.members {
            let malformed = refuse("a member's subscription or assignment cannot be read");
            let subscription = member.protocols.first().and_then(|first| Subscription::read(&first.metadata));
            let subscription = subscription.ok_or(malformed)?;
            // Between join and sync members have what they brought along.
            let assigned = match stored.filter(|stored| stored.is_assigned()) {
                Some(stored) => {
                    let assigned = Assigned::read(&stored.assignment(id)).ok_or(malformed)?;
                    if assigned.has_user_data && !has_known_assignor(stored) {
                        return Err(refuse("its assignor keeps data of its own beside the assignments"));
                    }
                    assigned.partitions
                }
                None => subscription.owned.clone(),
            };
            let member = upgraded_member(member, subscription);
            let mut assigned = partitions_of(&assigned, &self.topics);
            assigned.retain(|partition| taken.insert(*partition));
            let epoch = Some(generation.of_members());
            let current = CurrentAssignment {
                epoch,
                previous_epoch: epoch,
                state: MemberState::Stable,
                assigned: assigned.clone(),
                pending_revocation: BTreeSet::new(),
            };
            records.push(ConsumerRecord::Member(id.clone(), Some(member)));
            records.push(ConsumerRecord::Target(id.clone(), Some(assigned)));
            records.push(ConsumerRecord::Current(id.clone(), Some(current)));
        }
        records.push(ConsumerRecord::TargetEpoch(Some(generation)));
        records.push(ConsumerRecord::Epoch(Some(generation)));
        Ok(records)
    }

    /// Turns a group of the new protocol that nobody is in into nothing, for a classic member that joins. One whose
    /// last member of the new protocol is the static member that this one replaces goes back first.
    pub(in crate::coordinator::group) fn make_classic_group(
        &mut self,
        now: Timestamp,
        join: &JoinGroup,
        out: &mut Outbox,
    ) {
        let group = &join.group;
        let Some(state) = self.store.consumer(group) else { return };
        let instance = join.group_instance_id.as_ref().filter(|_| join.member_id.is_none());
        let replaced = instance.and_then(|instance| state.static_member(instance)).cloned();
        if let Some(old) = replaced
            && self.may_downgrade(state, Some(&old))
        {
            self.in_consumer_group(now, group, out, |step| step.remove_members(&[old]));
            self.downgrade_if_due(now, group, out);
        }
        let Some(state) = self.store.consumer(group) else { return };
        // Only a first join makes a group.
        if state.members().is_empty() && join.member_id.is_none() {
            for record in state.tombstones() {
                out.write(&mut self.store, GroupRecord::Consumer { group: group.clone(), record });
            }
        }
    }

    /// Takes a group back to the classic protocol once nobody in it speaks the new one.
    pub(in crate::coordinator::group) fn downgrade_if_due(
        &mut self,
        now: Timestamp,
        group: &GroupId,
        out: &mut Outbox,
    ) {
        let Some(state) = self.store.consumer(group) else { return };
        if state.members().is_empty() || !self.may_downgrade(state, None) {
            return;
        }
        let mut live = LiveGroup::of_consumers(downgraded_members(now, state));
        let Some(protocol) = live.select_protocol() else { return };
        live.leader = live.members.keys().next().cloned();
        let assignments: BTreeMap<&MemberId, Bytes> = live
            .members
            .iter()
            .map(|(id, member)| {
                let partitions = named_partitions(&state.current(id).assigned, &self.topics);
                (id, assignment_bytes(&member.metadata_for(&protocol), &partitions))
            })
            .collect();
        let members =
            live.members_for_record(&protocol, |id| assignments.get(id).cloned().unwrap_or_default());
        let metadata = GroupMetadata {
            protocol_type: CONSUMER_PROTOCOL_TYPE.to_owned(),
            generation: state.epoch().of_members().as_generation(),
            protocol: Some(protocol),
            leader: live.leader.clone(),
            current_state_timestamp: Some(now),
            members,
        };
        for record in state.tombstones() {
            out.write(&mut self.store, GroupRecord::Consumer { group: group.clone(), record });
        }
        out.write_group(&mut self.store, group, metadata);
        self.file_consumer_group(group);
        self.live.insert(group.clone(), live);
        let found = self.in_group(now, group, out, |step| step.rebalance());
        debug_assert!(found.is_ok(), "the group is there");
    }

    /// Whether all members but this one speak the classic protocol, and the group may go back to it.
    fn may_downgrade(&self, state: &ConsumerGroup, but: Option<&MemberId>) -> bool {
        let mut others = state.members().iter().filter(|(id, _)| Some(*id) != but);
        others.all(|(_, member)| member.classic.is_some())
            && self.config.consumer.migration_policy.allows_downgrade()
            && state.members().len() <= self.config.group_size_max
    }
}

/// Whether the clients' own assignors are at work: what librdkafka's sticky ones put beside an assignment is no more
/// than who had what before. Another assignor's data could be what its members work by.
fn has_known_assignor(stored: &GroupMetadata) -> bool {
    stored.protocol.as_deref().is_some_and(|protocol| KNOWN_ASSIGNORS.contains(&protocol))
}

fn upgraded_member(member: &Member, subscription: Subscription) -> ConsumerMember {
    ConsumerMember {
        group_instance_id: member.group_instance_id.clone(),
        rack_id: subscription.rack_id,
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        topic_names: subscription.topics,
        topic_regex: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        server_assignor: None,
        classic: Some(ClassicMember {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
    }
}

fn downgraded_members(now: Timestamp, state: &ConsumerGroup) -> BTreeMap<MemberId, Member> {
    let members = state.members().iter().filter_map(|(id, member)| {
        let classic = member.classic.as_ref()?;
        let timeouts_ms = (classic.session_timeout_ms, member.rebalance_timeout_ms);
        let mut classic = Member::known(timeouts_ms, classic.protocols.clone());
        classic.group_instance_id.clone_from(&member.group_instance_id);
        classic.client_id.clone_from(&member.client_id);
        classic.client_host.clone_from(&member.client_host);
        classic.refresh_session(now);
        Some((id.clone(), classic))
    });
    members.collect()
}
