//! The server-side assignors of KIP-848: who should have which partition, given who wants what.
//!
//! Pure and deterministic: the same group always gets the same assignment. Both tell a whole target; how members
//! get there without two of them ever having one partition is `reconcile`'s part.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupInstanceId, MemberId, PartitionIndex, TopicId, TopicIdPartition};

/// A server-side assignor, by the name that members and `group.consumer.assignors` use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Assignor {
    /// As even as subscriptions allow, then as few moves as possible (Kafka's `UniformAssignor`).
    Uniform,
    /// Each topic in contiguous ranges, in the same order of members: partitions of the same number of topics
    /// that are partitioned and subscribed alike go to the same member (Kafka's `RangeAssignor`).
    Range,
}

impl Assignor {
    /// Every assignor, the default first.
    pub const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

    /// The name on the wire and in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    /// The assignor of a name.
    pub fn from_name(name: &str) -> Option<Assignor> {
        Assignor::ALL.into_iter().find(|assignor| assignor.name() == name)
    }

    /// The target of every member, also of those that get nothing.
    pub(super) fn assign(self, members: &[Candidate], topics: &BTreeMap<TopicId, i32>) -> Assignment {
        let mut ordered: Vec<&Candidate> = members.iter().collect();
        ordered.sort_by(|one, other| one.order().cmp(&other.order()));
        let shares = match self {
            Assignor::Uniform => Uniform::new(&ordered, topics).assign(),
            Assignor::Range => range(&ordered, topics),
        };
        ordered.iter().map(|member| member.member_id.clone()).zip(shares).collect()
    }
}

/// Who gets what.
pub(super) type Assignment = BTreeMap<MemberId, BTreeSet<TopicIdPartition>>;

/// A member as an assignor sees it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Candidate {
    pub(super) member_id: MemberId,
    pub(super) instance_id: Option<GroupInstanceId>,
    /// The topics that it wants.
    pub(super) topics: BTreeSet<TopicId>,
    /// Its last target: what it should keep if that costs no balance.
    pub(super) previous: BTreeSet<TopicIdPartition>,
}

impl Candidate {
    /// Static members come first, by instance id, so that their shares survive a new member id.
    fn order(&self) -> (bool, Option<&GroupInstanceId>, &MemberId) {
        (self.instance_id.is_none(), self.instance_id.as_ref(), &self.member_id)
    }
}

fn partitions(topic_id: TopicId, count: i32) -> impl Iterator<Item = TopicIdPartition> {
    let indexes = (0..count).filter_map(PartitionIndex::from_wire);
    indexes.map(move |partition| TopicIdPartition { topic_id, partition })
}

/// For each topic that there is, which of the ordered members want it; no topic without any.
fn subscribers(ordered: &[&Candidate], topics: &BTreeMap<TopicId, i32>) -> BTreeMap<TopicId, Vec<usize>> {
    let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
    for (at, member) in ordered.iter().enumerate() {
        for topic_id in member.topics.iter().filter(|topic_id| topics.contains_key(*topic_id)) {
            subscribers.entry(*topic_id).or_default().push(at);
        }
    }
    subscribers
}

fn range(ordered: &[&Candidate], topics: &BTreeMap<TopicId, i32>) -> Vec<BTreeSet<TopicIdPartition>> {
    let mut shares = vec![BTreeSet::new(); ordered.len()];
    for (topic_id, members) in subscribers(ordered, topics) {
        let count = topics.get(&topic_id).copied().unwrap_or(0);
        let total = usize::try_from(count).unwrap_or(0);
        let (each, extra) = (total / members.len(), total % members.len());
        let mut left = partitions(topic_id, count);
        for (place, at) in members.into_iter().enumerate() {
            let quota = each + usize::from(place < extra);
            shares[at].extend(left.by_ref().take(quota));
        }
    }
    shares
}

/// Members keep what they had; what nobody has goes to the least loaded; then single partitions move from a
/// member to one that has at least two less, until there is no such pair. With equal subscriptions that leaves a
/// spread of at most one after the fewest moves; with others no single move makes it more even.
struct Uniform {
    subscribers: BTreeMap<TopicId, Vec<usize>>,
    unassigned: Vec<TopicIdPartition>,
    shares: Vec<BTreeSet<TopicIdPartition>>,
}

impl Uniform {
    fn new(ordered: &[&Candidate], topics: &BTreeMap<TopicId, i32>) -> Uniform {
        let mut owned = BTreeSet::new();
        let mut shares = vec![BTreeSet::new(); ordered.len()];
        for (member, share) in ordered.iter().zip(&mut shares) {
            for partition in &member.previous {
                let exists =
                    topics.get(&partition.topic_id).is_some_and(|n| partition.partition.value() < *n);
                let is_wanted = exists && member.topics.contains(&partition.topic_id);
                if is_wanted && owned.insert(*partition) {
                    share.insert(*partition);
                }
            }
        }
        let subscribers = subscribers(ordered, topics);
        let all = subscribers
            .keys()
            .flat_map(|topic_id| partitions(*topic_id, topics.get(topic_id).copied().unwrap_or(0)));
        let unassigned = all.filter(|partition| !owned.contains(partition)).collect();
        Uniform { subscribers, unassigned, shares }
    }

    fn assign(mut self) -> Vec<BTreeSet<TopicIdPartition>> {
        for partition in std::mem::take(&mut self.unassigned) {
            if let Some(at) = self.least_loaded(partition.topic_id) {
                self.shares[at].insert(partition);
            }
        }
        // Each move makes the sum of the loads' squares smaller, so this ends.
        while self.move_some() {}
        self.shares
    }

    fn load(&self, at: usize) -> usize {
        self.shares[at].len()
    }

    /// The first of those with the least partitions.
    fn least_loaded(&self, topic_id: TopicId) -> Option<usize> {
        self.subscribers.get(&topic_id)?.iter().copied().min_by_key(|at| (self.load(*at), *at))
    }

    /// The most loaded give first, one each, then those that have one less, and so on: who has given is then never
    /// among the least loaded, and nobody is given something for what he gave.
    fn move_some(&mut self) -> bool {
        let mut has_moved = false;
        let most = self.shares.iter().map(BTreeSet::len).max().unwrap_or(0);
        for load in (2..=most).rev() {
            for from in 0..self.shares.len() {
                if self.load(from) == load {
                    has_moved |= self.give_one(from);
                }
            }
        }
        has_moved
    }

    /// Moves a member's first partition that another one should rather have.
    fn give_one(&mut self, from: usize) -> bool {
        let load = self.load(from);
        let target = |partition: &TopicIdPartition| {
            let to = self.least_loaded(partition.topic_id)?;
            (load >= self.load(to) + 2).then_some((*partition, to))
        };
        let Some((partition, to)) = self.shares[from].iter().find_map(target) else { return false };
        self.shares[from].remove(&partition);
        self.shares[to].insert(partition)
    }
}

#[cfg(test)]
mod tests;
