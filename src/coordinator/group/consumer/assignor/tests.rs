//! The fixtures of Kafka's assignors, and what holds for any group.

use proptest::prelude::*;

use super::*;

fn topic(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16]).unwrap()
}

fn partition(of: u8, index: i32) -> TopicIdPartition {
    TopicIdPartition { topic_id: topic(of), partition: PartitionIndex::from_wire(index).unwrap() }
}

fn candidate(id: &str, topics: &[u8]) -> Candidate {
    Candidate {
        member_id: MemberId::new(id),
        instance_id: None,
        topics: topics.iter().map(|number| topic(*number)).collect(),
        previous: BTreeSet::new(),
    }
}

fn topics(counts: &[(u8, i32)]) -> BTreeMap<TopicId, i32> {
    counts.iter().map(|(number, count)| (topic(*number), *count)).collect()
}

/// "M0: 1-0 1-1" for each member, topics by number.
fn shown(assignment: &Assignment) -> Vec<String> {
    let share = |share: &BTreeSet<TopicIdPartition>| {
        let each = share.iter().map(|p| format!("{}-{}", p.topic_id.bytes()[0], p.partition));
        each.collect::<Vec<_>>().join(" ")
    };
    assignment.iter().map(|(id, partitions)| format!("{id}: {}", share(partitions))).collect()
}

/// The members with the assignment as their last target.
fn after(members: &[Candidate], assignment: &Assignment) -> Vec<Candidate> {
    let with = |member: &Candidate| Candidate {
        previous: assignment.get(&member.member_id).cloned().unwrap_or_default(),
        ..member.clone()
    };
    members.iter().map(with).collect()
}

#[test]
fn range_gives_the_same_numbers_of_two_like_topics_to_one_member() {
    let members = [candidate("M0", &[1, 2]), candidate("M1", &[1, 2])];
    let assignment = Assignor::Range.assign(&members, &topics(&[(1, 3), (2, 3)]));
    assert_eq!(shown(&assignment), ["M0: 1-0 1-1 2-0 2-1", "M1: 1-2 2-2"]);
}

#[test]
fn range_leaves_members_without_a_part_where_there_are_more_members_than_partitions() {
    let members = [candidate("M0", &[1]), candidate("M1", &[1]), candidate("M2", &[1, 2])];
    let assignment = Assignor::Range.assign(&members, &topics(&[(1, 2), (2, 1)]));
    assert_eq!(shown(&assignment), ["M0: 1-0", "M1: 1-1", "M2: 2-0"]);
}

#[test]
fn static_members_keep_their_place_under_a_new_member_id() {
    let with_instance = |id: &str, instance: &str| Candidate {
        instance_id: Some(GroupInstanceId::new(instance)),
        ..candidate(id, &[1])
    };
    let before = Assignor::Range.assign(
        &[with_instance("x", "i1"), with_instance("y", "i2"), candidate("a", &[1])],
        &topics(&[(1, 3)]),
    );
    assert_eq!(shown(&before), ["a: 1-2", "x: 1-0", "y: 1-1"]);
    let again = Assignor::Range.assign(
        &[with_instance("z", "i1"), with_instance("y", "i2"), candidate("a", &[1])],
        &topics(&[(1, 3)]),
    );
    assert_eq!(shown(&again), ["a: 1-2", "y: 1-1", "z: 1-0"]);
}

#[test]
fn uniform_moves_nothing_that_survivors_had_when_a_member_goes() {
    let all = [1, 2, 3, 4];
    let counts = topics(&[(1, 2), (2, 2), (3, 2), (4, 2)]);
    let members = [candidate("C0", &all), candidate("C1", &all), candidate("C2", &all)];
    let before = Assignor::Uniform.assign(&members, &counts);
    let survivors: Vec<Candidate> =
        after(&members, &before).into_iter().filter(|member| member.member_id.as_str() != "C1").collect();
    let then = Assignor::Uniform.assign(&survivors, &counts);
    for member in &survivors {
        let share = &then[&member.member_id];
        assert!(member.previous.is_subset(share), "{} keeps what it had", member.member_id);
        assert_eq!(share.len(), 4);
    }
}

#[test]
fn uniform_gives_a_newcomer_its_share_and_moves_no_more_than_that() {
    let members = [candidate("A", &[1]), candidate("B", &[1])];
    let counts = topics(&[(1, 9)]);
    let before = Assignor::Uniform.assign(&members, &counts);
    let mut three = after(&members, &before);
    three.push(candidate("C", &[1]));
    let then = Assignor::Uniform.assign(&three, &counts);
    assert_eq!(then.values().map(BTreeSet::len).collect::<Vec<_>>(), [3, 3, 3]);
    let moved = three.iter().map(|member| (&member.previous - &then[&member.member_id]).len());
    assert_eq!(moved.sum::<usize>(), 3);
}

#[test]
fn uniform_gives_nobody_something_for_what_he_gave() {
    let had = |topic: u8| (0..4).map(|index| partition(topic, index)).collect();
    let members = [
        Candidate { previous: had(1), ..candidate("A", &[1, 2]) },
        Candidate { previous: had(2), ..candidate("B", &[1, 2]) },
        candidate("C", &[1, 2]),
    ];
    let then = Assignor::Uniform.assign(&members, &topics(&[(1, 4), (2, 4)]));
    assert_eq!(shown(&then), ["A: 1-1 1-2 1-3", "B: 2-1 2-2 2-3", "C: 1-0 2-0"]);
}

#[test]
fn uniform_respects_differing_subscriptions() {
    // Kafka's fixture of the sticky assignor: nested subscriptions to topics of one, two and three partitions.
    let members = [candidate("C0", &[1]), candidate("C1", &[1, 2]), candidate("C2", &[1, 2, 3])];
    let assignment = Assignor::Uniform.assign(&members, &topics(&[(1, 1), (2, 2), (3, 3)]));
    assert_eq!(shown(&assignment), ["C0: 1-0", "C1: 2-0 2-1", "C2: 3-0 3-1 3-2"]);
}

#[test]
fn members_that_want_nothing_that_there_is_get_nothing() {
    for assignor in Assignor::ALL {
        let assignment = assignor
            .assign(&[candidate("A", &[9]), candidate("B", &[]), candidate("C", &[1])], &topics(&[(1, 2)]));
        assert_eq!(shown(&assignment), ["A: ", "B: ", "C: 1-0 1-1"], "{}", assignor.name());
        assert_eq!(assignor.assign(&[], &topics(&[(1, 2)])), Assignment::new());
    }
}

fn group() -> impl Strategy<Value = (Vec<Candidate>, BTreeMap<TopicId, i32>)> {
    let counts = proptest::collection::btree_map(1u8..6, 0i32..8, 0..5);
    let wanted = proptest::collection::btree_set(1u8..7, 0..6);
    let had = proptest::collection::vec((1u8..7, 0i32..9), 0..12);
    let members = proptest::collection::vec((wanted, had, any::<bool>()), 0..7);
    (members, counts).prop_map(|(members, counts)| {
        let members = members.into_iter().enumerate().map(|(number, (wanted, had, is_static))| Candidate {
            member_id: MemberId::new(format!("m{number}")),
            instance_id: is_static.then(|| GroupInstanceId::new(format!("i{number}"))),
            topics: wanted.into_iter().map(topic).collect(),
            previous: had.into_iter().map(|(of, index)| partition(of, index)).collect(),
        });
        let counts = counts.into_iter().map(|(number, count)| (topic(number), count));
        (members.collect(), counts.collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_wanted_partition_has_one_owner_that_wants_it((members, counts) in group()) {
        for assignor in Assignor::ALL {
            let assignment = assignor.assign(&members, &counts);
            prop_assert_eq!(&assignment, &assignor.assign(&members, &counts), "the same again");
            let mut owners: BTreeMap<TopicIdPartition, usize> = BTreeMap::new();
            for member in &members {
                for partition in &assignment[&member.member_id] {
                    prop_assert!(member.topics.contains(&partition.topic_id));
                    *owners.entry(*partition).or_default() += 1;
                }
            }
            let wanted = counts.iter().filter(|(id, _)| members.iter().any(|member| member.topics.contains(*id)));
            let all: BTreeSet<_> = wanted.flat_map(|(id, count)| partitions(*id, *count)).collect();
            prop_assert!(owners.values().all(|count| *count == 1));
            prop_assert_eq!(owners.into_keys().collect::<BTreeSet<_>>(), all);
        }
    }

    #[test]
    fn uniform_is_even_and_stays_as_it_is((members, counts) in group()) {
        let assignment = Assignor::Uniform.assign(&members, &counts);
        let load = |member: &Candidate| assignment[&member.member_id].len();
        for (one, other) in members.iter().flat_map(|one| members.iter().map(move |other| (one, other))) {
            // No partition of the one could go to the other and make the two more even.
            let could_move = assignment[&one.member_id].iter().any(|p| other.topics.contains(&p.topic_id));
            prop_assert!(!could_move || load(one) <= load(other) + 1);
        }
        let again = Assignor::Uniform.assign(&after(&members, &assignment), &counts);
        prop_assert_eq!(again, assignment);
    }

    #[test]
    fn uniform_moves_the_fewest_that_evenness_asks_for((members, counts) in group()) {
        let topics: BTreeSet<TopicId> = counts.keys().copied().collect();
        let mut taken = BTreeSet::new();
        let members: Vec<Candidate> = members.into_iter().map(|member| {
            let mut previous = member.previous;
            previous.retain(|p| counts.get(&p.topic_id).is_some_and(|n| p.partition.value() < *n) && taken.insert(*p));
            Candidate { topics: topics.clone(), previous, ..member }
        }).collect();
        let assignment = Assignor::Uniform.assign(&members, &counts);
        let total: usize = assignment.values().map(BTreeSet::len).sum();
        let (least, extra) = (total / members.len().max(1), total % members.len().max(1));
        // Those that had the most may keep one more.
        let mut had: Vec<usize> = members.iter().map(|member| member.previous.len()).collect();
        had.sort_unstable_by(|a, b| b.cmp(a));
        let kept_at_best: usize =
            had.iter().enumerate().map(|(at, had)| (*had).min(least + usize::from(at < extra))).sum();
        let kept: usize =
            members.iter().map(|member| (&member.previous & &assignment[&member.member_id]).len()).sum();
        prop_assert_eq!(kept, kept_at_best);
    }
}
