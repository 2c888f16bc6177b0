//! Groups of the new protocol (KIP-848): joins, moves, leaves, lost answers, fences, static members, expressions,
//! offsets.

use super::*;
use crate::coordinator::group::reply::FetchedOffset;

/// The id of the topic of this name in the tests.
pub(super) fn topic_id(name: &str) -> TopicId {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    TopicId::from_bytes(bytes).unwrap()
}

pub(super) fn topics(all: &[(&str, i32)]) -> Arc<KnownTopics> {
    let each = all.iter().map(|(name, partitions)| {
        (TopicName::new(*name), SubscribedTopic { id: topic_id(name), partitions: *partitions })
    });
    Arc::new(KnownTopics::new(each))
}

pub(super) fn parts(topic: &str, indexes: &[i32]) -> BTreeSet<TopicIdPartition> {
    let partition = |index: &i32| PartitionIndex::from_wire(*index).unwrap();
    let topic_id = topic_id(topic);
    indexes.iter().map(|index| TopicIdPartition { topic_id, partition: partition(index) }).collect()
}

/// A heartbeat that says nothing new.
pub(super) fn beat(id: &str, epoch: i32) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        group: group(GROUP),
        member_id: Some(member_id(id)),
        fresh_member_id: member_id("fresh"),
        intent: Intent::Stay(MemberEpoch::from_wire(epoch).unwrap()),
        group_instance_id: None,
        rack_id: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        rebalance_timeout_ms: None,
        topic_names: None,
        topic_regex: None,
        server_assignor: None,
        owned: None,
    }
}

/// The first heartbeat of a member that wants these topics.
pub(super) fn joining(id: &str, wanted: &[&str]) -> ConsumerHeartbeat {
    ConsumerHeartbeat {
        intent: Intent::Join,
        rebalance_timeout_ms: Some(60_000),
        topic_names: Some(wanted.iter().map(|name| TopicName::new(*name)).collect()),
        owned: Some(BTreeSet::new()),
        ..beat(id, 0)
    }
}

fn owning(id: &str, epoch: i32, owned: BTreeSet<TopicIdPartition>) -> ConsumerHeartbeat {
    ConsumerHeartbeat { owned: Some(owned), ..beat(id, epoch) }
}

fn of_instance(instance: &str, heartbeat: ConsumerHeartbeat) -> ConsumerHeartbeat {
    ConsumerHeartbeat { group_instance_id: Some(GroupInstanceId::new(instance)), ..heartbeat }
}

fn leaving(id: &str, intent: Intent) -> ConsumerHeartbeat {
    ConsumerHeartbeat { intent, ..beat(id, 0) }
}

impl Fixture {
    /// A shard that knows these topics.
    pub(super) fn with_topics(config: GroupConfig, all: &[(&str, i32)]) -> Fixture {
        let mut fixture = Fixture::with(config);
        fixture.step(Event::TopicsChanged { topics: topics(all) });
        fixture
    }

    pub(super) fn consumer(&mut self, heartbeat: ConsumerHeartbeat) -> Result<HeartbeatReply, Refusal> {
        match self.answer(|request| Event::ConsumerGroupHeartbeat { request, heartbeat }) {
            Reply::ConsumerGroupHeartbeat(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The epoch and the assignment that a heartbeat is answered with.
    pub(super) fn told(&mut self, heartbeat: ConsumerHeartbeat) -> (i32, Option<BTreeSet<TopicIdPartition>>) {
        let reply = self.consumer(heartbeat).unwrap();
        match reply.standing {
            Intent::Stay(epoch) => (epoch.value(), reply.assignment),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn refused(&mut self, heartbeat: ConsumerHeartbeat) -> ErrorCode {
        self.consumer(heartbeat).unwrap_err().code
    }

    pub(super) fn consumer_group(&mut self) -> DescribedConsumerGroup {
        match self.answer(|request| Event::ConsumerGroupDescribe { request, group: group(GROUP) }) {
            Reply::ConsumerGroupDescribe(described) => described.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn member_fetch(&mut self, member: MemberOfGeneration) -> Result<Vec<FetchedOffset>, ErrorCode> {
        let reply = self.answer(|request| Event::OffsetFetch {
            request,
            group: group(GROUP),
            member: Some(member),
            partitions: FetchPartitions::All,
            stability: OffsetStability::Any,
        });
        match reply {
            Reply::OffsetFetch(result) => result,
            other => panic!("{other:?}"),
        }
    }

    fn listed(&mut self, types: Option<Vec<GroupType>>) -> Vec<ListedGroup> {
        match self.answer(|request| Event::ListGroups { request, states: None, types }) {
            Reply::ListGroups(listed) => listed,
            other => panic!("{other:?}"),
        }
    }
}

fn grain() -> Fixture {
    Fixture::with_topics(GroupConfig::default(), &[("grain", 6)])
}

#[test]
fn a_first_member_gets_everything_at_once() {
    let mut fixture = grain();
    let reply = fixture.consumer(joining("a", &["grain"])).unwrap();
    assert_eq!(reply.standing, Intent::Stay(MemberEpoch::from_wire(1).unwrap()));
    assert_eq!(reply.assignment, Some(parts("grain", &[0, 1, 2, 3, 4, 5])));
    assert_eq!(reply.heartbeat_interval, Duration::from_secs(5));
    assert_eq!(fixture.told(beat("a", 1)), (1, None), "nothing is new");
    let group = fixture.consumer_group();
    assert_eq!(
        (group.state, group.epoch.value(), group.assignment_epoch.value()),
        (GroupState::Stable, 1, 1)
    );
    assert_eq!(group.members[0].assignment, group.members[0].target);
    assert_eq!(group.members[0].assignment[0].name, TopicName::new("grain"));
}

#[test]
fn a_member_without_an_id_gets_one() {
    let mut fixture = grain();
    let reply = fixture.consumer(ConsumerHeartbeat { member_id: None, ..joining("", &["grain"]) }).unwrap();
    assert_eq!(reply.member_id, member_id("fresh"));
}

#[test]
fn a_partition_goes_to_a_newcomer_only_once_its_owner_has_given_it_up() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    assert_eq!(fixture.told(joining("b", &["grain"])), (2, Some(BTreeSet::new())), "all is with the other");
    assert_eq!(fixture.consumer_group().state, GroupState::Reconciling);
    let kept = fixture.told(beat("a", 1));
    assert_eq!((kept.0, kept.1.as_ref().map(BTreeSet::len)), (1, Some(3)), "it is asked at its old epoch");
    let kept = kept.1.unwrap();
    assert_eq!(fixture.told(beat("b", 2)), (2, None));
    // It says that it has given up some of them only.
    let mut most = kept.clone();
    most.extend(parts("grain", &[0, 1, 2, 3, 4, 5]).difference(&kept).take(1));
    assert_eq!(fixture.told(owning("a", 1, most)), (1, None));
    assert_eq!(fixture.told(beat("b", 2)), (2, None));
    assert_eq!(fixture.told(owning("a", 1, kept.clone())), (2, None), "its epoch moves");
    let others = &parts("grain", &[0, 1, 2, 3, 4, 5]) - &kept;
    assert_eq!(fixture.told(beat("b", 2)), (2, Some(others)));
    assert_eq!(fixture.consumer_group().state, GroupState::Stable);
}

#[test]
fn what_a_leaver_had_goes_to_the_others() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    fixture.told(joining("b", &["grain"]));
    let kept = fixture.told(beat("a", 1)).1.unwrap();
    fixture.told(owning("a", 1, kept));
    fixture.told(beat("b", 2));
    assert_eq!(fixture.consumer(leaving("b", Intent::Leave)).unwrap().standing, Intent::Leave);
    assert_eq!(fixture.told(beat("a", 2)), (3, Some(parts("grain", &[0, 1, 2, 3, 4, 5]))));
    assert_eq!(fixture.refused(beat("b", 2)), ErrorCode::UnknownMemberId);
    fixture.consumer(leaving("a", Intent::Leave)).unwrap();
    assert_eq!(fixture.consumer_group().state, GroupState::Empty);
    assert_eq!(fixture.shard.next_deadline(), fixture.shard.next_sweep, "nobody is waited for");
}

#[test]
fn a_silent_member_is_out_after_its_session_and_one_that_gives_nothing_up_after_its_rebalance_timeout() {
    let mut fixture = grain();
    fixture.told(ConsumerHeartbeat { rebalance_timeout_ms: Some(20_000), ..joining("a", &["grain"]) });
    fixture.told(joining("b", &["grain"]));
    fixture.told(beat("a", 1));
    fixture.pass(Duration::from_secs(19));
    fixture.told(beat("a", 1));
    fixture.told(beat("b", 2));
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.refused(beat("a", 1)), ErrorCode::UnknownMemberId, "it did not revoke in time");
    assert_eq!(fixture.told(beat("b", 2)), (3, Some(parts("grain", &[0, 1, 2, 3, 4, 5]))));
    fixture.pass(Duration::from_secs(44));
    assert_eq!(fixture.consumer_group().members.len(), 1);
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.consumer_group().members.len(), 0);
}

#[test]
fn deadlines_are_set_anew_after_a_crash() {
    let mut fixture = grain();
    fixture.told(ConsumerHeartbeat { rebalance_timeout_ms: Some(20_000), ..joining("a", &["grain"]) });
    fixture.told(joining("b", &["grain"]));
    fixture.told(beat("a", 1));
    fixture.crash_and_reload();
    fixture.pass(Duration::from_secs(20));
    assert_eq!(fixture.refused(beat("a", 1)), ErrorCode::UnknownMemberId);
    fixture.pass(Duration::from_secs(25));
    assert_eq!(fixture.refused(beat("b", 2)), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_missed_an_answer_is_known_by_its_previous_epoch() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    fixture.told(joining("b", &["grain"]));
    let kept = fixture.told(beat("a", 1)).1.unwrap();
    fixture.told(owning("a", 1, kept.clone()));
    assert_eq!(fixture.refused(beat("a", 1)), ErrorCode::FencedMemberEpoch, "it does not say what it owns");
    let all = parts("grain", &[0, 1, 2, 3, 4, 5]);
    assert_eq!(fixture.refused(owning("a", 1, all)), ErrorCode::FencedMemberEpoch, "it owns too much");
    let again = ConsumerHeartbeat {
        rebalance_timeout_ms: Some(60_000),
        topic_names: Some([TopicName::new("grain")].into()),
        ..owning("a", 1, kept.clone())
    };
    assert_eq!(fixture.told(again), (2, Some(kept)), "a full request is told everything");
    assert_eq!(fixture.refused(beat("a", 9)), ErrorCode::FencedMemberEpoch);
}

#[test]
fn a_fenced_member_joins_again_under_its_id() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    let everything = Some(parts("grain", &[0, 1, 2, 3, 4, 5]));
    assert_eq!(fixture.told(joining("a", &["grain"])), (1, everything), "the group has not changed");
}

#[test]
fn what_is_not_there_is_said_to_be() {
    let mut fixture = grain();
    assert_eq!(fixture.refused(beat("a", 1)), ErrorCode::GroupIdNotFound);
    assert_eq!(fixture.refused(leaving("a", Intent::Leave)), ErrorCode::GroupIdNotFound);
    fixture.told(joining("a", &["grain"]));
    assert_eq!(fixture.refused(beat("x", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.refused(of_instance("i", beat("a", 1))), ErrorCode::UnknownMemberId);
    let long = "x".repeat(40_000);
    assert_eq!(fixture.refused(joining(&long, &["grain"])), ErrorCode::InvalidRequest);
    let many: Vec<String> = (0..200).map(|number| format!("{number}{}", "x".repeat(4_000))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(fixture.refused(joining("b", &many)), ErrorCode::InvalidRequest);
}

#[test]
fn a_full_group_refuses_newcomers_and_keeps_its_members() {
    let config = ConsumerGroupConfig { group_size_max: 1, ..ConsumerGroupConfig::default() };
    let config = GroupConfig { consumer: config, ..GroupConfig::default() };
    let mut fixture = Fixture::with_topics(config, &[("grain", 6)]);
    fixture.told(of_instance("i", joining("a", &["grain"])));
    assert_eq!(fixture.refused(joining("b", &["grain"])), ErrorCode::GroupMaxSizeReached);
    fixture.told(of_instance("i", joining("a", &["grain"])));
    fixture.consumer(of_instance("i", leaving("a", Intent::LeaveForAWhile))).unwrap();
    fixture.told(of_instance("i", joining("b", &["grain"])));
}

#[test]
fn a_static_member_that_comes_back_has_its_partitions_without_a_new_epoch() {
    let mut fixture = grain();
    fixture.told(of_instance("i", joining("a", &["grain"])));
    fixture.told(joining("b", &["grain"]));
    let kept = fixture.told(of_instance("i", beat("a", 1))).1.unwrap();
    fixture.told(of_instance("i", owning("a", 1, kept.clone())));
    let others = fixture.told(beat("b", 2)).1.unwrap();
    let join = || of_instance("i", joining("a2", &["grain"]));
    assert_eq!(fixture.refused(join()), ErrorCode::UnreleasedInstanceId, "its owner is there");
    let away = fixture.consumer(of_instance("i", leaving("a", Intent::LeaveForAWhile))).unwrap();
    assert_eq!(away.standing, Intent::LeaveForAWhile);
    assert_eq!(fixture.consumer_group().members.iter().filter(|member| member.epoch.is_none()).count(), 1);
    assert_eq!(fixture.told(beat("b", 2)), (2, None), "they wait for it");
    fixture.crash_and_reload();
    assert_eq!(fixture.told(join()), (2, Some(kept)));
    assert_eq!(fixture.told(owning("b", 2, others)), (2, None));
    assert_eq!(fixture.refused(of_instance("i", beat("a", 2))), ErrorCode::FencedInstanceId);
}

#[test]
fn a_static_member_that_stays_away_is_out_after_its_session() {
    let mut fixture = grain();
    fixture.told(of_instance("i", joining("a", &["grain"])));
    fixture.consumer(of_instance("i", leaving("a", Intent::LeaveForAWhile))).unwrap();
    fixture.pass(Duration::from_secs(45));
    assert_eq!(fixture.consumer_group().state, GroupState::Empty);
    assert_eq!(fixture.refused(of_instance("i", beat("a", 1))), ErrorCode::UnknownMemberId);
}

#[test]
fn a_static_member_may_join_again_under_the_id_that_it_has() {
    let mut fixture = grain();
    fixture.told(of_instance("i", joining("a", &["grain"])));
    assert_eq!(fixture.told(of_instance("i", joining("a", &["grain"]))).0, 1);
}

#[test]
fn topics_that_come_grow_and_go_are_noticed_with_the_next_heartbeat() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[]);
    assert_eq!(fixture.told(joining("a", &["grain", "flour"])), (1, Some(BTreeSet::new())));
    let change = |fixture: &mut Fixture, all: &[(&str, i32)]| {
        fixture.step(Event::TopicsChanged { topics: topics(all) });
    };
    change(&mut fixture, &[("grain", 1), ("other", 1)]);
    assert_eq!(fixture.told(beat("a", 1)), (2, Some(parts("grain", &[0]))));
    change(&mut fixture, &[("grain", 2), ("other", 1)]);
    assert_eq!(fixture.told(beat("a", 2)), (3, Some(parts("grain", &[0, 1]))));
    change(&mut fixture, &[("grain", 2), ("other", 9)]);
    assert_eq!(fixture.told(beat("a", 3)), (3, None), "that one is nobody's");
    change(&mut fixture, &[("flour", 1)]);
    assert_eq!(fixture.told(beat("a", 3)), (3, Some(BTreeSet::new())), "it gives up what is gone first");
    assert_eq!(fixture.told(owning("a", 3, BTreeSet::new())), (4, Some(parts("flour", &[0]))));
    fixture.crash_and_reload();
    change(&mut fixture, &[("flour", 2)]);
    assert_eq!(fixture.told(beat("a", 4)), (5, Some(parts("flour", &[0, 1]))));
}

#[test]
fn a_member_may_want_other_topics() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[("grain", 1), ("flour", 1)]);
    fixture.told(joining("a", &["grain"]));
    let other = ConsumerHeartbeat { topic_names: Some([TopicName::new("flour")].into()), ..beat("a", 1) };
    assert_eq!(fixture.told(other), (1, Some(BTreeSet::new())));
    assert_eq!(fixture.told(owning("a", 1, BTreeSet::new())), (2, Some(parts("flour", &[0]))));
}

fn by_regex(id: &str, regex: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { topic_regex: Some(regex.to_owned()), ..joining(id, &[]) }
}

#[test]
fn a_regular_expression_finds_topics_by_their_whole_names_and_follows_changes() {
    let all = [("grain", 1), ("grain2", 1), ("my-grain", 1), ("__grain", 1)];
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &all);
    let found = &parts("grain", &[0]) | &parts("grain2", &[0]);
    assert_eq!(fixture.told(by_regex("a", "grain.*|bread")), (1, Some(found.clone())));
    fixture.crash_and_reload();
    assert_eq!(fixture.told(beat("a", 1)), (1, None));
    fixture.step(Event::TopicsChanged { topics: topics(&[("grain", 1), ("grain2", 1), ("bread", 1)]) });
    assert_eq!(fixture.told(beat("a", 1)), (2, Some(&found | &parts("bread", &[0]))));
    let without = ConsumerHeartbeat { topic_regex: Some(String::new()), ..beat("a", 2) };
    assert_eq!(fixture.told(without).1, Some(BTreeSet::new()));
    let regexes = fixture.log.iter().filter(|entry| {
        matches!(
            entry,
            Replayed::Record {
                record: GroupRecord::Consumer { record: ConsumerRecord::Regex(_, None), .. },
                ..
            }
        )
    });
    assert_eq!(regexes.count(), 1, "nobody uses it any more");
}

#[test]
fn a_bad_regular_expression_is_refused_and_changes_nothing() {
    let mut fixture = grain();
    for bad in ["(", "a)|(b", "*", "[z-a]", "a{99999}{99999}"] {
        assert_eq!(fixture.refused(by_regex("a", bad)), ErrorCode::InvalidRegularExpression, "{bad}");
    }
    assert_eq!(fixture.log.len(), 0);
    assert_eq!(fixture.refused(beat("a", 1)), ErrorCode::GroupIdNotFound);
}

#[test]
fn most_members_choose_the_assignor() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[("grain", 3), ("flour", 3)]);
    let ranged = |id: &str| ConsumerHeartbeat {
        server_assignor: Some("range".to_owned()),
        ..joining(id, &["grain", "flour"])
    };
    fixture.told(joining("a", &["grain", "flour"]));
    assert_eq!(fixture.consumer_group().assignor, Assignor::Uniform);
    fixture.told(ranged("b"));
    assert_eq!(fixture.consumer_group().assignor, Assignor::Range);
    let group = fixture.consumer_group();
    let target =
        |at: usize| group.members[at].target.iter().map(|topic| topic.partitions.len()).sum::<usize>();
    assert_eq!((target(0), target(1)), (4, 2));
}

#[test]
fn a_member_commits_and_fetches_at_its_own_epoch_only() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    let commit = |fixture: &mut Fixture, member| fixture.commit(member, &[("grain", 0, 5)]);
    assert_eq!(commit(&mut fixture, member_of("a", 1)), ErrorCode::None);
    assert_eq!(commit(&mut fixture, member_of("a", 0)), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut fixture, member_of("a", 2)), ErrorCode::StaleMemberEpoch);
    assert_eq!(commit(&mut fixture, member_of("x", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&mut fixture, MemberOfGeneration::NOBODY), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.member_fetch(member_of("a", 1)).map(|offsets| offsets.len()), Ok(1));
    assert_eq!(fixture.member_fetch(member_of("a", 7)), Err(ErrorCode::StaleMemberEpoch));
    assert_eq!(fixture.member_fetch(member_of("x", 1)), Err(ErrorCode::UnknownMemberId));
    assert_eq!(fixture.offset("grain", 0), Some(5), "admin tools may look");
    fixture.consumer(leaving("a", Intent::Leave)).unwrap();
    assert_eq!(commit(&mut fixture, member_of("a", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(commit(&mut fixture, MemberOfGeneration::NOBODY), ErrorCode::None, "nobody is in it");
}

#[test]
fn an_old_offset_commit_of_a_member_is_an_unsupported_version() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    let commit = commit_of(member_of("a", 1), &[("grain", 0, 5)]);
    let unknown_group = UnknownGroup::IllegalGeneration;
    let reply = fixture.answer(|request| Event::OffsetCommit { request, commit, unknown_group });
    let Reply::OffsetCommit(results) = reply else { panic!("{reply:?}") };
    assert_eq!(results[0].1, ErrorCode::UnsupportedVersion);
}

#[test]
fn a_transactional_commit_is_held_against_the_members_epoch() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    let mut commit = |member| fixture.txn_commit(producer(1, 0), member, &[("grain", 0, 5)]);
    assert_eq!(commit(member_of("a", 1)), ErrorCode::None);
    assert_eq!(commit(MemberOfGeneration::NOBODY), ErrorCode::None);
    assert_eq!(commit(member_of("a", 2)), ErrorCode::IllegalGeneration);
    assert_eq!(commit(member_of("x", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn it_is_listed_as_what_it_is_and_unknown_to_describe_groups() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    let listed = fixture.listed(None);
    let group = (listed[0].protocol_type.as_str(), listed[0].state, listed[0].group_type);
    assert_eq!(group, ("consumer", GroupState::Stable, GroupType::Consumer));
    assert_eq!(fixture.listed(Some(vec![GroupType::Consumer])).len(), 1);
    assert_eq!(fixture.listed(Some(vec![GroupType::Classic])).len(), 0);
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn a_group_is_deleted_once_nobody_is_in_it() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    fixture.commit(member_of("a", 1), &[("grain", 0, 5)]);
    let delete = |fixture: &mut Fixture| match fixture
        .answer(|request| Event::DeleteGroups { request, groups: vec![group(GROUP)] })
    {
        Reply::DeleteGroups(deleted) => deleted[0].1,
        other => panic!("{other:?}"),
    };
    let delete_offset = |fixture: &mut Fixture, topic: &str| {
        let partitions = vec![tp(topic, 0)];
        match fixture.answer(|request| Event::DeleteOffsets { request, group: group(GROUP), partitions }) {
            Reply::DeleteOffsets(reply) => reply.partitions[0].1,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(delete(&mut fixture), ErrorCode::NonEmptyGroup);
    assert_eq!(delete_offset(&mut fixture, "grain"), ErrorCode::GroupSubscribedToTopic);
    assert_eq!(delete_offset(&mut fixture, "flour"), ErrorCode::None);
    fixture.consumer(leaving("a", Intent::Leave)).unwrap();
    assert_eq!(delete(&mut fixture), ErrorCode::None);
    assert_eq!(fixture.listed(None), []);
    assert_eq!(fixture.told(joining("a", &["grain"])).0, 1, "it begins anew");
}

#[test]
fn offsets_of_subscribed_topics_do_not_expire_and_an_empty_group_goes_with_its_last() {
    let mut fixture = grain();
    fixture.told(joining("a", &["grain"]));
    fixture.commit(member_of("a", 1), &[("grain", 0, 5), ("flour", 0, 7)]);
    for _ in 0..(8 * 24 * 60 * 2) {
        fixture.now = fixture.now.plus(Duration::from_secs(30));
        fixture.told(beat("a", 1));
    }
    fixture.step(Event::Tick { kept: fixture.kept.clone() });
    assert_eq!((fixture.offset("grain", 0), fixture.offset("flour", 0)), (Some(5), None));
    fixture.consumer(leaving("a", Intent::Leave)).unwrap();
    fixture.pass(Duration::from_secs(8 * 24 * 3_600));
    assert_eq!(fixture.offset("grain", 0), None);
    assert_eq!(fixture.listed(None), []);
}
