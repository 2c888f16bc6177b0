//! ConsumerGroupHeartbeat: members of the new protocol join, follow, and leave.
//!
//! A request is checked as a whole before anything is written.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordinator::RequestId;
use crate::coordinator::group::GroupShard;
use crate::coordinator::group::outbox::Outbox;
use crate::coordinator::group::record::fits_record;
use crate::coordinator::group::reply::Reply;
use crate::error_code::ErrorCode;
use crate::ids::{GroupId, GroupInstanceId, MemberEpoch, MemberId, TopicIdPartition, TopicName};

use super::reconcile::{CurrentAssignment, MemberState};
use super::record::{ConsumerMember, ConsumerRecord};
use super::step::ConsumerStep;
use super::subscription::compile;

/// A ConsumerGroupHeartbeat request; what is `None` is as it was before.
#[derive(Clone, PartialEq, Debug)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// The member's id; `None` lets the coordinator choose (version 0).
    pub member_id: Option<MemberId>,
    /// An id that nobody has yet, used if the member needs one.
    pub fresh_member_id: MemberId,
    /// What the member does.
    pub intent: Intent,
    /// Its `group.instance.id`, if it is a static member.
    pub group_instance_id: Option<GroupInstanceId>,
    /// Where it runs.
    pub rack_id: Option<String>,
    /// From the request's header.
    pub client_id: String,
    /// From the connection, as Kafka writes it ("/127.0.0.1").
    pub client_host: String,
    /// How long it may take to give up partitions, in milliseconds.
    pub rebalance_timeout_ms: Option<i32>,
    /// The topics that it wants.
    pub topic_names: Option<BTreeSet<TopicName>>,
    /// The regular expression for further topics; "" for none.
    pub topic_regex: Option<String>,
    /// The assignor that it prefers.
    pub server_assignor: Option<String>,
    /// The partitions that it owns now.
    pub owned: Option<BTreeSet<TopicIdPartition>>,
}

/// What the member epoch of a heartbeat says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// 0: it joins, or joins again and owns nothing.
    Join,
    /// Above 0: it is where it was told to be.
    Stay(MemberEpoch),
    /// -1: it goes.
    Leave,
    /// -2: a static member goes and will be back.
    LeaveForAWhile,
}

/// The answer to a heartbeat that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatReply {
    /// The member's id.
    pub member_id: MemberId,
    /// Where it stands now; for one that leaves what it said.
    pub standing: Intent,
    /// When it should come again.
    pub heartbeat_interval: Duration,
    /// What it may work on, if that is news to it.
    pub assignment: Option<BTreeSet<TopicIdPartition>>,
}

/// Why a request was refused: a code, and a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// The sentence.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

impl GroupShard {
    pub(in crate::coordinator::group) fn consumer_heartbeat(
        &mut self,
        (now, request): (Timestamp, RequestId),
        heartbeat: ConsumerHeartbeat,
        out: &mut Outbox,
    ) {
        let group = heartbeat.group.clone();
        let result = match heartbeat.intent {
            Intent::Join => check_heartbeat(&heartbeat, self.config.batch_bytes_max)
                .and_then(|()| self.make_consumer_group(now, &heartbeat, out))
                .and_then(|()| self.in_consumer_group(now, &group, out, |step| step.heartbeat(&heartbeat))),
            Intent::Stay(_) => check_heartbeat(&heartbeat, self.config.batch_bytes_max)
                .and_then(|()| self.find_consumer_group(&group))
                .and_then(|()| self.in_consumer_group(now, &group, out, |step| step.heartbeat(&heartbeat))),
            Intent::Leave | Intent::LeaveForAWhile => self
                .find_consumer_group(&group)
                .and_then(|()| self.in_consumer_group(now, &group, out, |step| step.leave(&heartbeat))),
        };
        self.downgrade_if_due(now, &group, out);
        out.reply(request, Reply::ConsumerGroupHeartbeat(result));
    }

    fn find_consumer_group(&self, group: &GroupId) -> Result<(), Refusal> {
        match self.store.consumer(group) {
            Some(_) => Ok(()),
            None => {
                Err(Refusal::new(ErrorCode::GroupIdNotFound, format!("there is no consumer group {group}")))
            }
        }
    }

    /// Runs `act` on a group of the new protocol, there or not yet, and files it anew.
    pub(super) fn in_consumer_group<T>(
        &mut self,
        now: Timestamp,
        group: &GroupId,
        out: &mut Outbox,
        act: impl FnOnce(&mut ConsumerStep<'_>) -> T,
    ) -> T {
        let GroupShard { config, store, consumers, topics, .. } = self;
        let timers = consumers.entry(group.clone()).or_default();
        let acted = act(&mut ConsumerStep { now, config, store, out, group, topics, timers });
        self.file_consumer_group(group);
        acted
    }
}

/// What a request without a look at any group already tells.
fn check_heartbeat(heartbeat: &ConsumerHeartbeat, bytes_max: usize) -> Result<(), Refusal> {
    let instance = heartbeat.group_instance_id.as_ref().map(GroupInstanceId::as_str);
    let member_id = heartbeat.member_id.as_ref().map(MemberId::as_str);
    let texts = [heartbeat.group.as_str(), heartbeat.fresh_member_id.as_str(), &heartbeat.client_id];
    let optional = [instance, member_id, heartbeat.rack_id.as_deref(), heartbeat.topic_regex.as_deref()];
    let names = heartbeat.topic_names.iter().flatten().map(TopicName::as_str);
    if !texts.into_iter().chain(optional.into_iter().flatten()).chain(names).all(fits_record) {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "an id, a name or an expression has more than 32767 bytes",
        ));
    }
    let names_bytes: usize = heartbeat.topic_names.iter().flatten().map(|name| name.as_str().len() + 5).sum();
    if names_bytes > bytes_max / 2 {
        let message = "so many topic names do not fit one record; subscribe by a regular expression";
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    match heartbeat.topic_regex.as_deref() {
        None | Some("") => Ok(()),
        Some(regex) => compile(regex).map(|_| ()).map_err(|error| {
            let message = format!("\"{regex}\" is no regular expression that this broker reads: {error}");
            Refusal::new(ErrorCode::InvalidRegularExpression, message)
        }),
    }
}

/// Who a heartbeat comes from.
struct Admitted {
    member_id: MemberId,
    /// The old id of a static member that has come back with a new one.
    replaces: Option<MemberId>,
}

impl ConsumerStep<'_> {
    fn heartbeat(&mut self, heartbeat: &ConsumerHeartbeat) -> Result<HeartbeatReply, Refusal> {
        let Admitted { member_id, replaces } = self.admit(heartbeat)?;
        let told = self.state().current(replaces.as_ref().unwrap_or(&member_id)).assigned;
        if let Some(old) = &replaces {
            self.replace_member(old, &member_id);
        }
        let member = updated_member(self.state().member(&member_id), heartbeat);
        self.timers.refresh_session(self.now, self.config, &member_id, &member);
        let subscriptions = self.update_member(&member_id, member);
        self.refresh(subscriptions);
        self.assign();
        self.reconcile_member(&member_id, heartbeat.owned.as_ref());
        let current = self.state().current(&member_id);
        let is_full = heartbeat.intent == Intent::Join
            || (heartbeat.rebalance_timeout_ms.is_some()
                && heartbeat.topic_names.is_some()
                && heartbeat.owned.is_some());
        let is_news = is_full || current.assigned != told;
        Ok(HeartbeatReply {
            member_id,
            standing: Intent::Stay(current.epoch.unwrap_or(MemberEpoch::ZERO)),
            heartbeat_interval: self.config.consumer.heartbeat_interval,
            assignment: is_news.then_some(current.assigned),
        })
    }

    fn admit(&self, heartbeat: &ConsumerHeartbeat) -> Result<Admitted, Refusal> {
        let member_id = heartbeat.member_id.clone().unwrap_or_else(|| heartbeat.fresh_member_id.clone());
        let instance = heartbeat.group_instance_id.as_ref();
        match heartbeat.intent {
            Intent::Stay(epoch) => {
                self.known_member(&member_id, instance)?;
                self.check_epoch(&member_id, epoch, heartbeat.owned.as_ref())?;
                Ok(Admitted { member_id, replaces: None })
            }
            Intent::Join | Intent::Leave | Intent::LeaveForAWhile => self.admit_newcomer(member_id, instance),
        }
    }

    fn admit_newcomer(
        &self,
        member_id: MemberId,
        instance: Option<&GroupInstanceId>,
    ) -> Result<Admitted, Refusal> {
        let state = self.state();
        let replaces =
            instance.and_then(|instance| state.static_member(instance)).filter(|old| **old != member_id);
        if let Some((old, instance)) = replaces.zip(instance) {
            let is_classic = state.member(old).is_some_and(|member| member.classic.is_some());
            if !is_classic && state.current(old).epoch.is_some() {
                let message = format!(
                    "group.instance.id {instance} is in use by member {old}; {member_id} can have it once that one has left"
                );
                return Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message));
            }
        }
        let is_in = state.member(&member_id).is_some() || replaces.is_some();
        let size_max = self.config.consumer.group_size_max;
        if !is_in && state.members().len() >= size_max {
            let message = format!(
                "there are {size_max} members already, the most that a group may have (group.consumer.max.size)"
            );
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(Admitted { member_id, replaces: replaces.cloned() })
    }

    /// Whether a member of this id, and of this instance id if one is given, is in the group.
    pub(super) fn known_member(
        &self,
        member_id: &MemberId,
        instance: Option<&GroupInstanceId>,
    ) -> Result<&ConsumerMember, Refusal> {
        let unknown = || {
            let message = format!("group {} has no member {member_id}", self.group);
            Refusal::new(ErrorCode::UnknownMemberId, message)
        };
        if let Some(instance) = instance {
            let owner = self.state().static_member(instance).ok_or_else(unknown)?;
            if owner != member_id {
                let message = format!(
                    "group.instance.id {instance} belongs to member {owner} now, no longer to {member_id}"
                );
                return Err(Refusal::new(ErrorCode::FencedInstanceId, message));
            }
        }
        self.state().member(member_id).ok_or_else(unknown)
    }

    /// A member that missed the last answer comes with the epoch before it, and cannot own more than it was told of.
    fn check_epoch(
        &self,
        member_id: &MemberId,
        epoch: MemberEpoch,
        owned: Option<&BTreeSet<TopicIdPartition>>,
    ) -> Result<(), Refusal> {
        let current = self.state().current(member_id);
        let known = current.epoch;
        let has_missed_answer = known.is_some_and(|known| epoch < known)
            && current.previous_epoch == Some(epoch)
            && owned.is_some_and(|owned| owned.is_subset(&current.assigned));
        if known == Some(epoch) || has_missed_answer {
            return Ok(());
        }
        let known = known.map_or(-2, MemberEpoch::value);
        let message = format!(
            "member {member_id} comes with epoch {epoch}, and stands at {known} here: it has lost its partitions and has to \
             join again"
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
    }

    fn leave(&mut self, heartbeat: &ConsumerHeartbeat) -> Result<HeartbeatReply, Refusal> {
        let member_id = heartbeat.member_id.clone().unwrap_or_else(|| heartbeat.fresh_member_id.clone());
        self.known_member(&member_id, heartbeat.group_instance_id.as_ref())?;
        match heartbeat.intent {
            Intent::LeaveForAWhile => self.set_away(&member_id),
            Intent::Leave | Intent::Join | Intent::Stay(_) => {
                self.remove_members(std::slice::from_ref(&member_id));
            }
        }
        Ok(HeartbeatReply {
            member_id,
            standing: heartbeat.intent,
            heartbeat_interval: Duration::ZERO,
            assignment: None,
        })
    }

    /// A static member's partitions wait for it until its session ends.
    fn set_away(&mut self, member_id: &MemberId) {
        let current = self.state().current(member_id);
        let state = match current.state {
            MemberState::UnrevokedPartitions => MemberState::Stable,
            MemberState::Stable | MemberState::UnreleasedPartitions => current.state,
        };
        let previous_epoch = current.epoch;
        let away = CurrentAssignment {
            epoch: None,
            previous_epoch,
            state,
            pending_revocation: BTreeSet::new(),
            assigned: current.assigned,
        };
        self.timers.clear_task(member_id);
        self.write(ConsumerRecord::Current(member_id.clone(), Some(away)));
    }
}

/// The member as it was, with what the heartbeat says anew.
fn updated_member(before: Option<&ConsumerMember>, heartbeat: &ConsumerHeartbeat) -> ConsumerMember {
    let topic_regex = match heartbeat.topic_regex.as_deref() {
        None => before.and_then(|before| before.topic_regex.clone()),
        Some("") => None,
        Some(regex) => Some(regex.to_owned()),
    };
    let instance = before.and_then(|before| before.group_instance_id.clone());
    let rack = || before.and_then(|before| before.rack_id.clone());
    let assignor = || before.and_then(|before| before.server_assignor.clone());
    let names = heartbeat.topic_names.clone().or_else(|| before.map(|before| before.topic_names.clone()));
    ConsumerMember {
        group_instance_id: heartbeat.group_instance_id.clone().or(instance),
        rack_id: heartbeat.rack_id.clone().or_else(rack),
        client_id: heartbeat.client_id.clone(),
        client_host: heartbeat.client_host.clone(),
        topic_names: names.unwrap_or_default(),
        topic_regex,
        rebalance_timeout_ms: heartbeat
            .rebalance_timeout_ms
            .or(before.map(|before| before.rebalance_timeout_ms))
            .unwrap_or(-1),
        server_assignor: heartbeat.server_assignor.clone().or_else(assignor),
        classic: None,
    }
}
