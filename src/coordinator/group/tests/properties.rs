//! Whatever happens, in any order, with crashes between: replay tells the same as the live steps
//! (checked after every step by the fixture), compaction changes nothing, every request is answered
//! exactly once, and a group's generation never goes back.

use proptest::prelude::*;

use super::*;

/// One thing that a random client, or fate, does.
#[derive(Clone, Debug)]
enum Deed {
    Join { actor: usize, names: usize },
    ForgetIdAndJoin { actor: usize },
    Sync { actor: usize },
    Heartbeat { actor: usize },
    Leave { actor: usize },
    Commit { actor: usize, partition: i32 },
    SimpleCommit { partition: i32 },
    TxnCommit { actor: Option<usize>, producer: usize, partition: i32 },
    End { producer: usize, result: EndTransaction },
    DeleteGroup,
    DeleteOffset { partition: i32 },
    TopicDeleted,
    Pass { seconds: u64 },
    Crash,
}

const ACTORS: usize = 4;
const PRODUCERS: usize = 2;

fn deed() -> impl Strategy<Value = Deed> {
    let actor = 0..ACTORS;
    let partition = 0..3i32;
    let result = prop_oneof![Just(EndTransaction::Commit), Just(EndTransaction::Abort)];
    prop_oneof![
        6 => (actor.clone(), 0..3usize).prop_map(|(actor, names)| Deed::Join { actor, names }),
        2 => actor.clone().prop_map(|actor| Deed::ForgetIdAndJoin { actor }),
        6 => actor.clone().prop_map(|actor| Deed::Sync { actor }),
        3 => actor.clone().prop_map(|actor| Deed::Heartbeat { actor }),
        1 => actor.clone().prop_map(|actor| Deed::Leave { actor }),
        3 => (actor.clone(), partition.clone()).prop_map(|(actor, partition)| Deed::Commit { actor, partition }),
        1 => partition.clone().prop_map(|partition| Deed::SimpleCommit { partition }),
        3 => (proptest::option::of(actor), 0..PRODUCERS, partition.clone())
            .prop_map(|(actor, producer, partition)| Deed::TxnCommit { actor, producer, partition }),
        2 => (0..PRODUCERS, result).prop_map(|(producer, result)| Deed::End { producer, result }),
        1 => Just(Deed::DeleteGroup),
        1 => partition.prop_map(|partition| Deed::DeleteOffset { partition }),
        1 => Just(Deed::TopicDeleted),
        4 => prop_oneof![Just(1u64), Just(3), Just(10), Just(50), Just(400_000)]
            .prop_map(|seconds| Deed::Pass { seconds }),
        1 => Just(Deed::Crash),
    ]
}

/// A client as it knows itself. The first two are static members.
#[derive(Clone, Default)]
struct Actor {
    member_id: Option<MemberId>,
    generation: Option<GenerationId>,
    leads: Vec<MemberId>,
    join: Option<RequestId>,
}

struct World {
    fixture: Fixture,
    actors: Vec<Actor>,
    producer_epochs: [i16; PRODUCERS],
    fresh: usize,
    offset: i64,
    generation: i32,
}

impl World {
    fn new() -> World {
        World {
            fixture: Fixture::with(GroupConfig { group_size_max: 3, ..GroupConfig::default() }),
            actors: vec![Actor::default(); ACTORS],
            producer_epochs: [0; PRODUCERS],
            fresh: 0,
            offset: 0,
            generation: 0,
        }
    }

    fn member(&self, actor: usize) -> MemberOfGeneration {
        MemberOfGeneration {
            member_id: self.actors[actor].member_id.clone(),
            group_instance_id: instance(actor),
            generation: self.actors[actor].generation,
        }
    }

    fn join(&mut self, actor: usize, names: usize) {
        self.fresh += 1;
        let names: &[&str] = [&["range", "sticky"][..], &["sticky", "range"], &["sticky"]][names];
        let request = self.fixture.join(JoinGroup {
            member_id: self.actors[actor].member_id.clone(),
            group_instance_id: instance(actor),
            protocols: protocols(names),
            first_join: FirstJoin::NeedsMemberId,
            ..dynamic(&format!("m{}", self.fresh))
        });
        self.actors[actor].join = Some(request);
    }

    fn txn_commit(&mut self, actor: Option<usize>, which: usize, partition: i32) {
        let member = actor.map_or(MemberOfGeneration::NOBODY, |actor| self.member(actor));
        let ident = producer(which as i64, self.producer_epochs[which]);
        self.fixture.txn_commit(ident, member, &[("grain", partition, self.offset)]);
    }

    fn act(&mut self, deed: Deed) {
        self.offset += 1;
        match deed {
            Deed::Join { actor, names } => self.join(actor, names),
            Deed::ForgetIdAndJoin { actor } => {
                self.actors[actor] = Actor::default();
                self.join(actor, 0);
            }
            Deed::Sync { actor } => {
                let assignments = self.actors[actor].leads.clone();
                let assignments: Vec<(&str, &'static str)> =
                    assignments.iter().map(|id| (id.as_str(), "part")).collect();
                self.fixture.sync(self.member(actor), &assignments);
            }
            Deed::Heartbeat { actor } => {
                self.fixture.heartbeat(self.member(actor));
            }
            Deed::Leave { actor } => {
                let id = self.actors[actor].member_id.clone();
                let instance = instance(actor);
                self.fixture.leave(&[(
                    id.as_ref().map(MemberId::as_str),
                    instance.as_ref().map(GroupInstanceId::as_str),
                )]);
            }
            Deed::Commit { actor, partition } => {
                self.fixture.commit(self.member(actor), &[("grain", partition, self.offset)]);
            }
            Deed::SimpleCommit { partition } => {
                self.fixture.commit(MemberOfGeneration::NOBODY, &[("grain", partition, self.offset)]);
            }
            Deed::TxnCommit { actor, producer, partition } => self.txn_commit(actor, producer, partition),
            Deed::End { producer: which, result } => {
                let epoch = self.producer_epochs[which];
                assert_eq!(self.fixture.end(producer(which as i64, epoch), result), ErrorCode::None);
                self.producer_epochs[which] += 1;
            }
            Deed::DeleteGroup => {
                self.fixture.answer(|request| Event::DeleteGroups { request, groups: vec![group(GROUP)] });
            }
            Deed::DeleteOffset { partition } => {
                let partitions = vec![tp("grain", partition)];
                self.fixture.answer(|request| Event::DeleteOffsets {
                    request,
                    group: group(GROUP),
                    partitions,
                });
            }
            Deed::TopicDeleted => self.fixture.step(Event::TopicDeleted { topic: TopicName::new("grain") }),
            Deed::Pass { seconds } => self.fixture.pass(Duration::from_secs(seconds)),
            Deed::Crash => self.fixture.crash_and_reload(),
        }
        self.learn();
        self.check_generation();
    }

    /// Clients read the answers that have come.
    fn learn(&mut self) {
        for actor in &mut self.actors {
            let answered = actor.join.filter(|request| self.fixture.replies.contains_key(request));
            let Some(request) = answered else { continue };
            let reply = self.fixture.joined(request);
            actor.join = None;
            match reply.error {
                ErrorCode::None => {
                    actor.member_id = reply.member_id;
                    actor.generation = reply.generation;
                    actor.leads = reply.members.into_iter().map(|member| member.member_id).collect();
                }
                ErrorCode::MemberIdRequired => actor.member_id = reply.member_id,
                _ => *actor = Actor::default(),
            }
        }
    }

    fn check_generation(&mut self) {
        let stored = self.fixture.shard.store.metadata(&group(GROUP)).is_some();
        let now = self.fixture.generation();
        assert!(!stored || now >= self.generation, "the generation goes back to {now}");
        self.generation = now;
    }

    /// With nobody left to act, time alone answers everybody.
    fn drain(&mut self) {
        self.fixture.pass(Duration::from_secs(3_600));
        assert_eq!(self.fixture.waiting, BTreeSet::new(), "somebody waits for ever");
    }
}

fn instance(actor: usize) -> Option<GroupInstanceId> {
    (actor < 2).then(|| GroupInstanceId::new(format!("static-{actor}")))
}

/// The log as the cleaner leaves it: aborted records gone, of each key only the last.
pub(super) fn compacted(log: &[Replayed<GroupRecord>]) -> Vec<Replayed<GroupRecord>> {
    let mut open: BTreeMap<ProducerId, Vec<usize>> = BTreeMap::new();
    let mut aborted = BTreeSet::new();
    for (at, entry) in log.iter().enumerate() {
        match entry {
            Replayed::Record { producer: Some(producer), .. } => {
                open.entry(producer.id).or_default().push(at);
            }
            Replayed::Record { producer: None, .. } => {}
            Replayed::Marker(marker) => {
                let ended = open.remove(&marker.producer.id).unwrap_or_default();
                if marker.result == EndTransaction::Abort {
                    aborted.extend(ended);
                }
            }
        }
    }
    // Nothing from the first undecided record on is cleaned.
    let undecided = open.values().flatten().copied().min().unwrap_or(log.len());
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (at, entry) in log.iter().enumerate().take(undecided) {
        if let Replayed::Record { record, .. } = entry
            && !aborted.contains(&at)
        {
            last.insert(record.encode().0.to_vec(), at);
        }
    }
    let kept: BTreeSet<usize> = last.into_values().collect();
    let is_kept = |at: usize, entry: &Replayed<GroupRecord>| {
        at >= undecided || kept.contains(&at) || matches!(entry, Replayed::Marker(_))
    };
    log.iter()
        .enumerate()
        .filter(|(at, entry)| is_kept(*at, entry))
        .map(|(_, entry)| copy_of(entry))
        .collect()
}

/// What clients can see of the durable state.
pub(super) fn visible(shard: &GroupShard) -> Vec<String> {
    let groups = shard.store.groups().map(|(group, stored)| {
        let offsets: Vec<_> =
            stored.offsets().iter().map(|(partition, offset)| (partition, offset.value.clone())).collect();
        let pending: Vec<_> =
            stored.known_partitions().into_iter().filter(|partition| stored.is_pending(partition)).collect();
        format!("{group}: {:?} {:?} {offsets:?} {pending:?}", stored.metadata(), stored.consumer())
    });
    groups.collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x7469_6465),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_is_replayed_answered_and_moves_forward(deeds in proptest::collection::vec(deed(), 1..70)) {
        let mut world = World::new();
        for deed in deeds {
            world.act(deed);
        }
        let mut cleaned = GroupShard::new(world.fixture.config.clone(), Arc::default());
        for entry in compacted(&world.fixture.log) {
            cleaned.replay(entry);
        }
        prop_assert_eq!(visible(&cleaned), visible(&world.fixture.shard));
        world.drain();
    }
}
