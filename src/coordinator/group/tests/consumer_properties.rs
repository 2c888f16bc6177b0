//! Whatever happens to a group of the new protocol, in any order, with lost answers, crashes of members and of the
//! coordinator: no partition is ever with two members of the group, replay tells the same as the live steps (checked
//! after every step by the fixture), compaction changes nothing, and once it is quiet every partition is worked on.

use proptest::prelude::*;

use super::consumer_groups::{beat, topics};
use super::properties::{compacted, visible};
use super::*;

/// One thing that a random client, or fate, does.
#[derive(Clone, Debug)]
enum Deed {
    /// A heartbeat, with what the client would send, or everything.
    Beat {
        client: usize,
        content: Content,
        answer: Answer,
    },
    /// The client gives up what it was told to give up.
    Revoke {
        client: usize,
    },
    /// The client goes; a static one for a while.
    Leave {
        client: usize,
    },
    /// The client's process ends, and another one takes its place.
    Die {
        client: usize,
    },
    /// The client wants other topics.
    Subscribe {
        client: usize,
        wanted: usize,
    },
    Topics {
        which: usize,
    },
    Pass {
        seconds: u64,
    },
    CrashCoordinator,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Content {
    News,
    Everything,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    Arrives,
    IsLost,
}

const CLIENTS: usize = 4;
const TOPICS: [&[(&str, i32)]; 4] = [
    &[("grain", 5), ("flour", 2)],
    &[("grain", 7), ("flour", 2), ("bread", 1)],
    &[("grain", 7)],
    &[("grain", 1), ("flour", 4)],
];
const WANTED: [&[&str]; 3] = [&["grain"], &["grain", "flour"], &["flour", "bread"]];

fn deed() -> impl Strategy<Value = Deed> {
    let client = 0..CLIENTS;
    let content = prop_oneof![3 => Just(Content::News), 1 => Just(Content::Everything)];
    let answer = prop_oneof![5 => Just(Answer::Arrives), 1 => Just(Answer::IsLost)];
    prop_oneof![
        20 => (client.clone(), content, answer)
            .prop_map(|(client, content, answer)| Deed::Beat { client, content, answer }),
        6 => client.clone().prop_map(|client| Deed::Revoke { client }),
        1 => client.clone().prop_map(|client| Deed::Leave { client }),
        1 => client.clone().prop_map(|client| Deed::Die { client }),
        1 => (client, 0..WANTED.len()).prop_map(|(client, wanted)| Deed::Subscribe { client, wanted }),
        1 => (0..TOPICS.len()).prop_map(|which| Deed::Topics { which }),
        2 => prop_oneof![Just(1u64), Just(20), Just(50)].prop_map(|seconds| Deed::Pass { seconds }),
        1 => Just(Deed::CrashCoordinator),
    ]
}

/// A client as it knows itself. It takes what it is given at once, and gives up what it must as late as it likes.
#[derive(Clone, Debug)]
struct Client {
    instance: Option<GroupInstanceId>,
    member_id: MemberId,
    /// 0 before it has joined.
    epoch: i32,
    wanted: usize,
    owned: BTreeSet<TopicIdPartition>,
    assigned: BTreeSet<TopicIdPartition>,
    /// What it last said that it owns, if that arrived.
    reported: Option<BTreeSet<TopicIdPartition>>,
}

struct World {
    fixture: Fixture,
    clients: Vec<Client>,
    fresh: usize,
}

impl World {
    fn new() -> World {
        let client = |number: usize| Client {
            instance: (number == 0).then(|| GroupInstanceId::new("static")),
            member_id: member_id(&format!("m{number}")),
            epoch: 0,
            wanted: number % 2,
            owned: BTreeSet::new(),
            assigned: BTreeSet::new(),
            reported: None,
        };
        World {
            fixture: Fixture::with_topics(GroupConfig::default(), TOPICS[0]),
            clients: (0..CLIENTS).map(client).collect(),
            fresh: CLIENTS,
        }
    }

    fn beat(&mut self, number: usize, content: Content, answer: Answer) {
        let client = self.clients[number].clone();
        let is_joining = client.epoch == 0;
        // A client that has missed an answer says everything again.
        let is_full = is_joining || content == Content::Everything || client.reported.is_none();
        let is_news = client.reported.as_ref() != Some(&client.owned);
        let names = WANTED[client.wanted].iter().map(|name| TopicName::new(*name)).collect();
        let result = self.fixture.consumer(ConsumerHeartbeat {
            intent: match is_joining {
                true => Intent::Join,
                false => Intent::Stay(MemberEpoch::from_wire(client.epoch).unwrap()),
            },
            group_instance_id: client.instance.clone(),
            rebalance_timeout_ms: is_full.then_some(30_000),
            topic_names: is_full.then_some(names),
            owned: (is_full || is_news).then(|| client.owned.clone()),
            ..beat(client.member_id.as_str(), client.epoch)
        });
        let client = &mut self.clients[number];
        if answer == Answer::IsLost {
            client.reported = None;
            return;
        }
        match result {
            Err(Refusal { code: ErrorCode::UnreleasedInstanceId, .. }) => {}
            Err(_) => client.begin_anew(),
            Ok(reply) => {
                let Intent::Stay(epoch) = reply.standing else { panic!("{reply:?}") };
                client.epoch = epoch.value();
                client.reported = Some(client.owned.clone());
                if let Some(assigned) = reply.assignment {
                    client.owned.extend(assigned.iter().copied());
                    client.assigned = assigned;
                }
            }
        }
    }

    fn leave(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let intent = if client.instance.is_some() { Intent::LeaveForAWhile } else { Intent::Leave };
        let heartbeat = ConsumerHeartbeat {
            intent,
            group_instance_id: client.instance.clone(),
            ..beat(client.member_id.as_str(), 0)
        };
        client.begin_anew();
        self.rename(number);
        // Nobody there to leave is none of its business.
        let _ = self.fixture.consumer(heartbeat);
    }

    fn rename(&mut self, number: usize) {
        self.fresh += 1;
        self.clients[number].member_id = member_id(&format!("m{}", self.fresh));
    }

    fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Beat { client, content, answer } => self.beat(client, content, answer),
            Deed::Revoke { client } => self.clients[client].revoke(),
            Deed::Leave { client } => self.leave(client),
            Deed::Die { client } => {
                self.clients[client].begin_anew();
                self.rename(client);
            }
            Deed::Subscribe { client, wanted } => {
                self.clients[client].wanted = wanted;
                self.beat(client, Content::Everything, Answer::Arrives);
            }
            Deed::Topics { which } => {
                self.fixture.step(Event::TopicsChanged { topics: topics(TOPICS[which]) });
            }
            Deed::Pass { seconds } => self.fixture.pass(Duration::from_secs(seconds)),
            Deed::CrashCoordinator => self.fixture.crash_and_reload(),
        }
        self.check_owners();
    }

    /// No partition is with two members that are in the group; those that are out have been fenced.
    fn check_owners(&self) {
        let Some(state) = self.fixture.shard.store.consumer(&group(GROUP)) else { return };
        let mut owners: BTreeMap<TopicIdPartition, &MemberId> = BTreeMap::new();
        for client in self.clients.iter().filter(|client| state.member(&client.member_id).is_some()) {
            for partition in &client.owned {
                let other = owners.insert(*partition, &client.member_id);
                assert_eq!(other, None, "{partition:?} is with two, one of them {client:?}");
            }
        }
    }

    /// Everybody is well: in the end each partition has an owner that wants it, and shares are as targeted.
    fn settle(&mut self) {
        for _ in 0..12 {
            for number in 0..CLIENTS {
                self.clients[number].revoke();
                self.beat(number, Content::News, Answer::Arrives);
                self.check_owners();
            }
            self.fixture.pass(Duration::from_secs(10));
        }
        let described = self.fixture.consumer_group();
        assert_eq!(described.state, GroupState::Stable, "{described:?}");
        assert_eq!(described.members.len(), CLIENTS);
        let state = self.fixture.shard.store.consumer(&group(GROUP)).unwrap();
        for client in &self.clients {
            assert_eq!(client.owned, state.target(&client.member_id));
        }
        let owned: BTreeSet<_> = self.clients.iter().flat_map(|client| client.owned.clone()).collect();
        let wanted: BTreeSet<_> = self.clients.iter().flat_map(|client| WANTED[client.wanted]).collect();
        let there: usize = wanted
            .iter()
            .filter_map(|name| self.fixture.shard.topics.get(&TopicName::new(**name)))
            .map(|topic| topic.partitions as usize)
            .sum();
        assert_eq!(owned.len(), there, "every partition of subscribed topics is worked on");
    }
}

impl Client {
    fn begin_anew(&mut self) {
        self.epoch = 0;
        self.owned = BTreeSet::new();
        self.assigned = BTreeSet::new();
        self.reported = None;
    }

    fn revoke(&mut self) {
        self.owned.clone_from(&self.assigned);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x7469_6465),
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_partition_is_ever_with_two_members_and_all_are_worked_on_in_the_end(
        deeds in proptest::collection::vec(deed(), 1..90),
    ) {
        let mut world = World::new();
        for deed in deeds {
            world.act(deed);
        }
        let mut cleaned = GroupShard::new(world.fixture.config.clone(), Arc::default());
        for entry in compacted(&world.fixture.log) {
            cleaned.replay(entry);
        }
        prop_assert_eq!(visible(&cleaned), visible(&world.fixture.shard));
        world.settle();
    }
}
