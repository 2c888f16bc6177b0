//! From the classic protocol to the new one and back, empty and live.

use super::consumer_groups::{beat, joining, parts};
use super::*;

/// A consumer's subscription of version 3 to "grain", and what it owns.
fn owning(partitions: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(3);
    out.put_slice(b"\0\0\0\x01\0\x05grain");
    out.put_i32(-1);
    out.put_i32(i32::from(!partitions.is_empty()));
    if !partitions.is_empty() {
        out.put_slice(b"\0\x05grain");
        out.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(1);
    out.put_i16(-1);
    out.freeze()
}

fn assignment(partitions: &[i32]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(3);
    out.put_i32(i32::from(!partitions.is_empty()));
    if !partitions.is_empty() {
        out.put_slice(b"\0\x05grain");
        out.put_i32(partitions.len() as i32);
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(-1);
    out.freeze()
}

fn cooperative(metadata: Bytes) -> Vec<JoinProtocol> {
    vec![JoinProtocol { name: "cooperative-sticky".to_owned(), metadata }]
}

#[test]
fn a_member_that_is_not_known_does_not_end_an_empty_consumer_group() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[("grain", 6)]);
    fixture.told(joining("c", &["grain"]));
    fixture.consumer(leaving("c")).unwrap();
    let request = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(request).error, ErrorCode::UnknownMemberId);
    assert_eq!(fixture.consumer_group().state, GroupState::Empty);
}

/// A member of the classic protocol that owns these partitions of "grain".
fn classic(id: &str, owned: &[i32]) -> JoinGroup {
    JoinGroup { protocols: cooperative(owning(owned)), ..rejoining(id) }
}

fn leaving(id: &str) -> ConsumerHeartbeat {
    ConsumerHeartbeat { intent: Intent::Leave, ..beat(id, 0) }
}

impl Fixture {
    /// A stable classic group of two members with three partitions each.
    fn classic_pair(config: GroupConfig) -> Fixture {
        let mut fixture = Fixture::with_topics(config, &[("grain", 6)]);
        let first = |id: &str| JoinGroup { protocols: cooperative(owning(&[])), ..dynamic(id) };
        let requests = [fixture.join(first("a")), fixture.join(first("b"))];
        fixture.pass(Duration::from_secs(10));
        assert_eq!(fixture.joined(requests[1]).generation, Some(generation(1)));
        let sync = SyncGroup {
            group: group(GROUP),
            member: member_of("a", 1),
            protocol_type: None,
            protocol: None,
            assignments: vec![
                (member_id("a"), assignment(&[0, 1, 2])),
                (member_id("b"), assignment(&[3, 4, 5])),
            ],
        };
        fixture.ask(|request| Event::SyncGroup { request, sync });
        fixture.sync(member_of("b", 1), &[]);
        assert_eq!(fixture.state(), GroupState::Stable);
        fixture
    }

    /// A classic member's way through a rebalance: its generation, and its partitions.
    fn rejoin(&mut self, id: &str, owned: &[i32]) -> (i32, Bytes) {
        let request = self.join(classic(id, owned));
        let reply = self.joined(request);
        assert_eq!((reply.error, &reply.leader), (ErrorCode::None, &None));
        assert_eq!(reply.protocol.as_deref(), Some("cooperative-sticky"));
        let number = reply.generation.unwrap().value();
        let request = self.sync(member_of(id, number), &[]);
        match &self.replies[&request] {
            Reply::SyncGroup(reply) => {
                assert_eq!(reply.error, ErrorCode::None);
                (number, reply.assignment.clone())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_empty_classic_group_goes_on_as_a_consumer_group_with_its_offsets() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    fixture.commit(member_of("a", 1), &[("grain", 0, 5)]);
    fixture.leave(&[(Some("a"), None), (Some("b"), None)]);
    assert_eq!(fixture.state(), GroupState::Empty);
    assert_eq!(fixture.told(joining("c", &["grain"])), (1, Some(parts("grain", &[0, 1, 2, 3, 4, 5]))));
    assert_eq!(fixture.offset("grain", 0), Some(5));
    assert!(fixture.shard.store.metadata(&group(GROUP)).is_none());
}

#[test]
fn ids_that_a_classic_group_has_given_out_do_not_keep_it_classic() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[("grain", 6)]);
    fixture.join(JoinGroup { first_join: FirstJoin::NeedsMemberId, ..dynamic("a") });
    fixture.told(joining("c", &["grain"]));
    assert_eq!(fixture.consumer_group().state, GroupState::Stable);
}

#[test]
fn an_empty_consumer_group_goes_on_as_a_classic_group() {
    let mut fixture = Fixture::with_topics(
        GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() },
        &[("grain", 6)],
    );
    fixture.told(joining("c", &["grain"]));
    fixture.commit(member_of("c", 1), &[("grain", 0, 5)]);
    fixture.consumer(leaving("c")).unwrap();
    let request = fixture.join(dynamic("a"));
    assert_eq!(fixture.joined(request).generation, Some(generation(1)));
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    assert_eq!(fixture.offset("grain", 0), Some(5));
}

#[test]
fn a_live_group_is_taken_over_and_nobody_has_what_another_one_holds() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    assert_eq!(fixture.told(joining("c", &["grain"])), (2, Some(BTreeSet::new())));
    let group = fixture.consumer_group();
    assert_eq!((group.state, group.members.len(), group.epoch.value()), (GroupState::Reconciling, 3, 2));
    assert_eq!(group.members.iter().filter(|member| member.protocol == MemberProtocol::Classic).count(), 2);
    // The classic members still work, commit, and are told to join again.
    assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, 5)]), ErrorCode::None);
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
    let (number, kept) = fixture.rejoin("a", &[0, 1, 2]);
    assert_eq!((number, kept), (1, assignment(&[1, 2])), "it is asked to give one up, at its old generation");
    assert_eq!(fixture.told(beat("c", 2)), (2, None), "it has not said that it has");
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.rejoin("a", &[1, 2]), (2, assignment(&[1, 2])));
    assert_eq!(fixture.heartbeat(member_of("a", 2)), ErrorCode::None);
    assert_eq!(fixture.told(beat("c", 2)), (2, Some(parts("grain", &[0]))));
    fixture.crash_and_reload();
    fixture.rejoin("b", &[3, 4, 5]);
    assert_eq!(fixture.rejoin("b", &[4, 5]), (2, assignment(&[4, 5])));
    assert_eq!(fixture.told(beat("c", 2)), (2, Some(parts("grain", &[0, 3]))));
    assert_eq!(fixture.consumer_group().state, GroupState::Stable);
    assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, 5)]), ErrorCode::IllegalGeneration);
}

#[test]
fn who_waits_in_a_group_that_is_taken_over_is_told_to_join_again() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    let parked = fixture.join(classic("a", &[0, 1, 2]));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_eq!(fixture.told(joining("c", &["grain"])), (2, Some(BTreeSet::new())));
    assert_eq!(fixture.joined(parked).error, ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.rejoin("a", &[0, 1, 2]).1, assignment(&[1, 2]));
}

#[test]
fn between_join_and_sync_members_have_what_they_brought_along() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    fixture.join(classic("a", &[0, 1, 2]));
    let requests = fixture.join(classic("b", &[3, 4, 5]));
    assert_eq!(fixture.joined(requests).generation, Some(generation(2)));
    let parked = fixture.sync(member_of("b", 2), &[]);
    assert_eq!(fixture.told(joining("c", &["grain"])), (3, Some(BTreeSet::new())), "all is with the others");
    assert_eq!(fixture.synced(parked).0, ErrorCode::RebalanceInProgress);
}

#[test]
fn a_classic_member_that_comes_to_a_consumer_group_is_served_there() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[("grain", 6)]);
    fixture.told(joining("c", &["grain"]));
    let first = || JoinGroup {
        first_join: FirstJoin::NeedsMemberId,
        protocols: cooperative(owning(&[])),
        ..dynamic("a")
    };
    let request = fixture.join(first());
    let reply = fixture.joined(request);
    assert_eq!((reply.error, reply.member_id), (ErrorCode::MemberIdRequired, Some(member_id("a"))));
    assert_eq!(fixture.rejoin("a", &[]), (2, assignment(&[])));
    assert_eq!(fixture.heartbeat(member_of("a", 2)), ErrorCode::None, "what it waits for is with the other");
    let kept = fixture.told(beat("c", 1)).1.unwrap();
    fixture.told(ConsumerHeartbeat { owned: Some(kept), ..beat("c", 1) });
    assert_eq!(fixture.heartbeat(member_of("a", 2)), ErrorCode::RebalanceInProgress, "now it is free");
    let (number, got) = fixture.rejoin("a", &[]);
    assert_eq!((number, got.len()), (2, assignment(&[3, 4, 5]).len()));
    assert_eq!(fixture.heartbeat(member_of("a", 2)), ErrorCode::None);
}

#[test]
fn what_classic_members_get_wrong_is_refused_with_the_classic_codes() {
    let mut fixture = Fixture::with_topics(GroupConfig::default(), &[("grain", 6)]);
    fixture.told(joining("c", &["grain"]));
    fixture.rejoin("a", &[]);
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::IllegalGeneration);
    assert_eq!(fixture.heartbeat(member_of("x", 2)), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.heartbeat(member_of("c", 2)), ErrorCode::UnknownMemberId, "it speaks the other one");
    let sync = fixture.sync(member_of("a", 7), &[]);
    assert_eq!(fixture.synced(sync).0, ErrorCode::IllegalGeneration);
    let refused = |fixture: &mut Fixture, join: JoinGroup| {
        let request = fixture.join(join);
        fixture.joined(request).error
    };
    let other_type = JoinGroup { protocol_type: "connect".to_owned(), ..classic("b", &[]) };
    assert_eq!(refused(&mut fixture, other_type), ErrorCode::InconsistentGroupProtocol);
    let other_protocol = JoinGroup {
        protocols: vec![JoinProtocol { name: "mine".to_owned(), metadata: owning(&[]) }],
        ..classic("b", &[])
    };
    assert_eq!(refused(&mut fixture, other_protocol), ErrorCode::InconsistentGroupProtocol);
    let nonsense = JoinGroup { protocols: cooperative(Bytes::from_static(b"\0")), ..classic("b", &[]) };
    assert_eq!(refused(&mut fixture, nonsense), ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_classic_member_that_does_not_come_again_in_time_is_out() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    fixture.told(joining("c", &["grain"]));
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
    for _ in 0..6 {
        fixture.pass(Duration::from_secs(10));
        fixture.told(beat("c", 2));
        fixture.heartbeat(member_of("a", 1));
        fixture.heartbeat(member_of("b", 1));
    }
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::UnknownMemberId, "60 s have passed");
}

#[test]
fn a_group_goes_back_when_its_last_member_of_the_new_protocol_leaves() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    fixture.told(joining("c", &["grain"]));
    fixture.rejoin("a", &[0, 1, 2]);
    fixture.consumer(leaving("c")).unwrap();
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    assert_eq!(fixture.generation(), 3, "generations go on where the epochs were");
    assert!(fixture.shard.store.consumer(&group(GROUP)).is_none());
    assert_eq!(fixture.heartbeat(member_of("a", 3)), ErrorCode::RebalanceInProgress);
    fixture.crash_and_reload();
    let requests = [fixture.join(classic("a", &[0, 1])), fixture.join(classic("b", &[3, 4, 5]))];
    fixture.pass(Duration::from_secs(61));
    assert_eq!(fixture.joined(requests[0]).generation, Some(generation(4)));
}

#[test]
fn a_group_goes_back_when_its_last_member_of_the_new_protocol_is_silent() {
    let mut fixture = Fixture::classic_pair(GroupConfig::default());
    fixture.told(joining("c", &["grain"]));
    for id in ["a", "b"] {
        fixture.rejoin(id, &[]);
    }
    for _ in 0..3 {
        fixture.pass(Duration::from_secs(15));
        for id in ["a", "b"] {
            fixture.rejoin_or_heartbeat(id);
        }
    }
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

impl Fixture {
    /// What a well-behaved classic member of an unknown generation does: it asks again.
    fn rejoin_or_heartbeat(&mut self, id: &str) {
        if self.shard.store.consumer(&group(GROUP)).is_some() {
            self.rejoin(id, &[]);
        }
    }
}

#[test]
fn a_static_member_changes_its_protocol_in_its_place() {
    let mut fixture = Fixture::with_topics(
        GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() },
        &[("grain", 6)],
    );
    let request =
        fixture.join(JoinGroup { protocols: cooperative(owning(&[])), ..static_member("i", "old") });
    assert_eq!(fixture.joined(request).error, ErrorCode::None);
    let instance =
        |heartbeat| ConsumerHeartbeat { group_instance_id: Some(GroupInstanceId::new("i")), ..heartbeat };
    let told = fixture.told(instance(joining("new", &["grain"])));
    assert_eq!(told.1, Some(parts("grain", &[0, 1, 2, 3, 4, 5])));
    assert_eq!(fixture.consumer_group().members.len(), 1);
    // And back: nobody is left who speaks the new protocol.
    let request =
        fixture.join(JoinGroup { protocols: cooperative(owning(&[])), ..static_member("i", "older") });
    assert_eq!(fixture.joined(request).error, ErrorCode::None);
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
}

#[test]
fn the_policy_closes_either_way() {
    let with = |policy| {
        let consumer = ConsumerGroupConfig { migration_policy: policy, ..ConsumerGroupConfig::default() };
        Fixture::classic_pair(GroupConfig { consumer, ..GroupConfig::default() })
    };
    for policy in [MigrationPolicy::Disabled, MigrationPolicy::Downgrade] {
        let mut fixture = with(policy);
        assert_eq!(fixture.refused(joining("c", &["grain"])), ErrorCode::GroupIdNotFound);
        assert_eq!(fixture.state(), GroupState::Stable, "it is as it was");
    }
    let mut fixture = with(MigrationPolicy::Upgrade);
    fixture.told(joining("c", &["grain"]));
    fixture.consumer(leaving("c")).unwrap();
    assert_eq!(fixture.consumer_group().members.len(), 2, "it stays what it is");
    for policy in MigrationPolicy::NAMES {
        assert!(MigrationPolicy::from_name(policy).is_some());
    }
}

#[test]
fn a_live_group_of_something_else_than_consumers_is_not_taken_over() {
    let mut fixture = Fixture::with_topics(
        GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() },
        &[("grain", 6)],
    );
    fixture.join(JoinGroup { protocol_type: "connect".to_owned(), ..dynamic("a") });
    assert_eq!(fixture.refused(joining("c", &["grain"])), ErrorCode::GroupIdNotFound);
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
}

#[test]
fn what_a_custom_assignor_works_by_is_not_lost_unseen() {
    let group_of = |protocol: &'static str| {
        let mut fixture = Fixture::with_topics(
            GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() },
            &[("grain", 6)],
        );
        let protocols = vec![JoinProtocol { name: protocol.to_owned(), metadata: owning(&[]) }];
        fixture.join(JoinGroup { protocols, ..dynamic("a") });
        let plain = assignment(&[0]);
        let with_data = [&plain[..plain.len() - 4], b"\0\0\0\x01x"].concat();
        let sync = SyncGroup {
            group: group(GROUP),
            member: member_of("a", 1),
            protocol_type: None,
            protocol: None,
            assignments: vec![(member_id("a"), with_data.into())],
        };
        fixture.ask(|request| Event::SyncGroup { request, sync });
        fixture
    };
    assert_eq!(group_of("mine").refused(joining("c", &["grain"])), ErrorCode::GroupIdNotFound);
    group_of("cooperative-sticky").told(joining("c", &["grain"]));
}
