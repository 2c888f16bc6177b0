//! Static members (KIP-345): restarts, replacement, fencing.

use super::*;

/// A stable group of two static members, "one" (leader, id a) and "two" (id b).
fn stable_static() -> Fixture {
    let mut fixture = Fixture::with(GroupConfig::default());
    let a = fixture.join(static_member("one", "a"));
    fixture.join(static_member("two", "b"));
    fixture.pass(Duration::from_secs(10));
    assert_eq!(fixture.joined(a).members.len(), 2);
    fixture.sync(instance_of("b", "two", 1), &[]);
    fixture.sync(instance_of("a", "one", 1), &[("a", "left"), ("b", "right")]);
    assert_eq!(fixture.state(), GroupState::Stable);
    fixture
}

#[test]
fn a_static_member_needs_no_second_request_for_its_id() {
    let mut fixture = Fixture::new();
    let join = JoinGroup { first_join: FirstJoin::NeedsMemberId, ..static_member("one", "a") };
    let request = fixture.join(join);
    assert_eq!(fixture.joined(request).error, ErrorCode::None);
}

#[test]
fn a_restarted_static_member_keeps_its_part_without_a_rebalance() {
    let mut fixture = stable_static();
    let back = fixture.join(static_member("two", "b2"));
    let reply = fixture.joined(back);
    assert_eq!((reply.error, reply.generation), (ErrorCode::None, Some(generation(1))));
    assert_eq!(reply.member_id, Some(member_id("b2")));
    assert_eq!(reply.leader, Some(member_id("a")));
    assert_eq!(fixture.state(), GroupState::Stable);
    let sync = fixture.sync(instance_of("b2", "two", 1), &[]);
    assert_eq!(fixture.synced(sync), (ErrorCode::None, "right".to_owned()));
    fixture.crash_and_reload();
    let sync = fixture.sync(instance_of("b2", "two", 1), &[]);
    assert_eq!(fixture.synced(sync), (ErrorCode::None, "right".to_owned()), "the new id is stored");
}

#[test]
fn the_fenced_former_self_is_refused_everywhere() {
    let mut fixture = stable_static();
    fixture.join(static_member("two", "b2"));
    let former = || instance_of("b", "two", 1);
    assert_eq!(fixture.heartbeat(former()), ErrorCode::FencedInstanceId);
    assert_eq!(fixture.commit(former(), &[("grain", 0, 1)]), ErrorCode::FencedInstanceId);
    assert_eq!(fixture.txn_commit(producer(1, 0), former(), &[("grain", 0, 1)]), ErrorCode::FencedInstanceId);
    let sync = fixture.sync(former(), &[]);
    assert_eq!(fixture.synced(sync).0, ErrorCode::FencedInstanceId);
    let join = fixture.join(JoinGroup { member_id: Some(member_id("b")), ..static_member("two", "b3") });
    assert_eq!(fixture.joined(join).error, ErrorCode::FencedInstanceId);
    assert_eq!(fixture.leave(&[(Some("b"), Some("two"))]), [ErrorCode::FencedInstanceId]);
    assert_eq!(fixture.heartbeat(member_of("b", 1)), ErrorCode::UnknownMemberId, "without its instance id");
}

#[test]
fn parked_requests_of_the_former_self_are_fenced() {
    let mut fixture = stable_static();
    let mut changed = static_member("two", "b2");
    changed.protocols[0].metadata = subscription(&["flour"], b"");
    let first = fixture.join(changed.clone());
    assert!(fixture.waiting.contains(&first));
    let second = fixture.join(JoinGroup { fresh_member_id: member_id("b3"), ..changed });
    assert_eq!(fixture.joined(first).error, ErrorCode::FencedInstanceId);
    fixture.join(JoinGroup { member_id: Some(member_id("a")), ..static_member("one", "unused") });
    assert_eq!(fixture.joined(second).generation, Some(generation(2)));
}

#[test]
fn a_restarted_leader_is_told_to_skip_the_assignment_or_that_another_leads() {
    let mut fixture = stable_static();
    let back = fixture.join(static_member("one", "a2"));
    let reply = fixture.joined(back);
    assert_eq!(reply.assignment, LeaderAssignment::Skip);
    assert_eq!(reply.leader, Some(member_id("a2")));
    assert_eq!(reply.members.len(), 2);
    let old_client =
        JoinGroup { skip_assignment: SkipAssignmentSupport::Unknown, ..static_member("one", "a3") };
    let back = fixture.join(old_client);
    let reply = fixture.joined(back);
    assert_eq!(reply.assignment, LeaderAssignment::Run);
    assert_eq!(reply.leader, Some(member_id("a2")));
    assert_eq!((reply.member_id, reply.members), (Some(member_id("a3")), Vec::new()));
    assert_eq!(fixture.generation(), 1);
}

#[test]
fn user_data_that_a_restart_loses_does_not_rebalance_but_other_topics_do() {
    let mut fixture = stable_static();
    let mut same_topics = static_member("two", "b2");
    same_topics.protocols[0].metadata = subscription(&["grain"], b"forgotten");
    let back = fixture.join(same_topics);
    assert_eq!(fixture.joined(back).generation, Some(generation(1)));
    let mut other_topics = static_member("two", "b3");
    other_topics.protocols[0].metadata = subscription(&["grain", "flour"], b"");
    fixture.join(other_topics);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_static_member_that_returns_while_the_leader_assigns_starts_over() {
    let mut fixture = Fixture::with(GroupConfig::default());
    fixture.join(static_member("one", "a"));
    fixture.join(static_member("two", "b"));
    fixture.pass(Duration::from_secs(10));
    let parked = fixture.sync(instance_of("a", "one", 1), &[]);
    assert_eq!(fixture.synced(parked).0, ErrorCode::None, "the leader assigned nothing");
    let mut fixture = Fixture::with(GroupConfig::default());
    fixture.join(static_member("one", "a"));
    fixture.join(static_member("two", "b"));
    fixture.pass(Duration::from_secs(10));
    let parked = fixture.sync(instance_of("b", "two", 1), &[]);
    fixture.join(static_member("two", "b2"));
    assert_eq!(fixture.synced(parked).0, ErrorCode::FencedInstanceId);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_static_member_stays_in_the_group_through_a_rebalance_until_its_session_ends() {
    let mut fixture = stable_static();
    let a = fixture.join(JoinGroup {
        member_id: Some(member_id("a")),
        rebalance_timeout_ms: 20_000,
        ..static_member("one", "unused")
    });
    fixture.pass(Duration::from_secs(44));
    assert!(fixture.waiting.contains(&a));
    fixture.pass(Duration::from_secs(60));
    assert_eq!(fixture.joined(a).members.len(), 1, "its session was over");
    assert_eq!(fixture.joined(a).generation, Some(generation(2)));
}

#[test]
fn static_members_are_removed_by_instance_id_in_one_request() {
    let mut fixture = stable_static();
    let errors = fixture.leave(&[(None, Some("one")), (None, Some("three")), (None, Some("two"))]);
    assert_eq!(errors, [ErrorCode::None, ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!((fixture.state(), fixture.generation()), (GroupState::Empty, 2));
}

#[test]
fn a_rebalance_that_no_static_member_joins_waits_for_their_sessions() {
    let mut fixture = Fixture::with(GroupConfig::default());
    fixture.join(static_member("one", "a"));
    fixture.join(dynamic("b"));
    fixture.pass(Duration::from_secs(10));
    fixture.sync(instance_of("a", "one", 1), &[("a", "x")]);
    fixture.leave(&[(Some("b"), None)]);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    fixture.pass(Duration::from_secs(120));
    assert_eq!((fixture.state(), fixture.generation()), (GroupState::Empty, 2));
}

#[test]
fn a_full_group_still_takes_a_static_member_back() {
    let mut fixture = stable_static();
    fixture.config.group_size_max = 2;
    fixture.crash_and_reload();
    let back = fixture.join(static_member("two", "b2"));
    // A reloaded member has only the chosen protocol; the list it comes with counts as the same.
    assert_eq!(fixture.joined(back).generation, Some(generation(1)));
    fixture.join(JoinGroup { member_id: Some(member_id("a")), ..static_member("one", "unused") });
    let two = fixture.join(static_member("two", "b3"));
    assert_eq!(fixture.joined(two).generation, Some(generation(2)));
    let three = fixture.join(static_member("three", "c"));
    assert_eq!(fixture.joined(three).error, ErrorCode::GroupMaxSizeReached);
}
