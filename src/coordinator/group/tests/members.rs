//! Joining, syncing, heartbeats, leaving, crashing.

use super::*;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn three_members_join_within_the_initial_delay_and_form_one_generation() {
    let mut fixture = Fixture::with(GroupConfig::default());
    let a = fixture.join(dynamic("a"));
    fixture.pass(seconds(2));
    let b = fixture.join(dynamic("b"));
    let c = fixture.join(dynamic("c"));
    fixture.pass(seconds(2));
    assert_eq!(fixture.waiting.len(), 3, "members that came late extend the delay");
    fixture.pass(seconds(2));
    let leader = fixture.joined(a);
    assert_eq!(leader.generation, Some(generation(1)));
    assert_eq!(leader.leader, Some(member_id("a")));
    assert_eq!(leader.protocol.as_deref(), Some("range"));
    let ids: Vec<_> = leader.members.iter().map(|member| member.member_id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(fixture.joined(b).members, []);
    assert_eq!(fixture.joined(c).generation, Some(generation(1)));
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
}

#[test]
fn the_initial_delay_never_outlasts_the_rebalance_timeout() {
    let mut fixture = Fixture::with(GroupConfig::default());
    let first = fixture.join(JoinGroup { rebalance_timeout_ms: 7_000, ..dynamic("m0") });
    for n in 1..=6 {
        fixture.pass(seconds(1));
        fixture.join(JoinGroup { rebalance_timeout_ms: 7_000, ..dynamic(&format!("m{n}")) });
    }
    fixture.pass(seconds(1));
    assert_eq!(fixture.joined(first).members.len(), 7);
}

#[test]
fn a_member_without_an_id_is_given_one_and_comes_back_with_it() {
    let mut fixture = Fixture::new();
    let first = fixture.join(JoinGroup { first_join: FirstJoin::NeedsMemberId, ..dynamic("a") });
    let reply = fixture.joined(first);
    assert_eq!((reply.error, reply.member_id), (ErrorCode::MemberIdRequired, Some(member_id("a"))));
    let second = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(second).error, ErrorCode::None);
    assert_eq!(fixture.joined(second).member_id, Some(member_id("a")));
}

#[test]
fn an_id_that_was_given_out_and_not_used_expires_and_leaves_nothing() {
    let mut fixture = Fixture::new();
    fixture.join(JoinGroup { first_join: FirstJoin::NeedsMemberId, ..dynamic("a") });
    assert_eq!(fixture.state(), GroupState::Empty);
    fixture.pass(seconds(45));
    assert_eq!(fixture.state(), GroupState::Dead);
    let late = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(late).error, ErrorCode::UnknownMemberId);
}

#[test]
fn requests_that_do_not_fit_are_refused_and_change_nothing() {
    let mut fixture =
        Fixture::stable(GroupConfig { group_size_max: 2, ..GroupConfig::default() }, &["a", "b"]);
    let cases = [
        (JoinGroup { group: group(""), ..dynamic("x") }, ErrorCode::InvalidGroupId),
        (JoinGroup { session_timeout_ms: 5_999, ..dynamic("x") }, ErrorCode::InvalidSessionTimeout),
        (JoinGroup { session_timeout_ms: -1, ..dynamic("x") }, ErrorCode::InvalidSessionTimeout),
        (JoinGroup { session_timeout_ms: 1_800_001, ..dynamic("x") }, ErrorCode::InvalidSessionTimeout),
        (
            JoinGroup { protocol_type: "connect".to_owned(), ..rejoining("a") },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            JoinGroup { protocols: protocols(&["other"]), ..rejoining("a") },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (JoinGroup { client_id: "x".repeat(40_000), ..dynamic("x") }, ErrorCode::InvalidRequest),
        (dynamic("x"), ErrorCode::GroupMaxSizeReached),
        (JoinGroup { group: group("nowhere"), ..rejoining("a") }, ErrorCode::UnknownMemberId),
    ];
    for (join, expected) in cases {
        let request = fixture.join(join);
        assert_eq!(fixture.joined(request).error, expected);
    }
    assert_eq!((fixture.state(), fixture.generation()), (GroupState::Stable, 1));
}

#[test]
fn an_unknown_id_is_refused_in_a_living_group() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    let request = fixture.join(rejoining("stranger"));
    assert_eq!(fixture.joined(request).error, ErrorCode::UnknownMemberId);
}

#[test]
fn the_protocol_that_most_members_prefer_is_chosen_among_those_all_support() {
    let mut fixture = Fixture::with(GroupConfig::default());
    let a = fixture.join(JoinGroup { protocols: protocols(&["x", "range", "sticky"]), ..dynamic("a") });
    fixture.join(JoinGroup { protocols: protocols(&["sticky", "range"]), ..dynamic("b") });
    fixture.join(JoinGroup { protocols: protocols(&["sticky", "range"]), ..dynamic("c") });
    fixture.pass(seconds(30));
    assert_eq!(fixture.joined(a).protocol.as_deref(), Some("sticky"));
}

#[test]
fn a_follower_that_syncs_before_the_leader_waits_for_the_stored_assignment() {
    let mut fixture = Fixture::with(GroupConfig::default());
    fixture.join(dynamic("a"));
    fixture.join(dynamic("b"));
    fixture.pass(seconds(10));
    let follower = fixture.sync(member_of("b", 1), &[]);
    assert!(fixture.waiting.contains(&follower));
    let leader = fixture.sync(member_of("a", 1), &[("a", "0-4"), ("b", "5-9"), ("stranger", "all")]);
    assert_eq!(fixture.synced(follower), (ErrorCode::None, "5-9".to_owned()));
    assert_eq!(fixture.synced(leader), (ErrorCode::None, "0-4".to_owned()));
    assert_eq!(fixture.state(), GroupState::Stable);
    let again = fixture.sync(member_of("b", 1), &[]);
    assert_eq!(fixture.synced(again), (ErrorCode::None, "5-9".to_owned()), "a lost answer is given again");
}

#[test]
fn a_stale_generation_is_refused_everywhere() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::None);
    assert_eq!(fixture.heartbeat(member_of("a", 0)), ErrorCode::IllegalGeneration);
    assert_eq!(fixture.heartbeat(member_of("stranger", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.commit(member_of("a", 2), &[("grain", 0, 1)]), ErrorCode::IllegalGeneration);
    assert_eq!(
        fixture.txn_commit(producer(1, 0), member_of("a", 0), &[("grain", 0, 1)]),
        ErrorCode::IllegalGeneration
    );
    let sync = fixture.sync(member_of("a", 0), &[]);
    assert_eq!(fixture.synced(sync).0, ErrorCode::IllegalGeneration);
}

#[test]
fn sync_refuses_another_protocol_than_the_chosen_one() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    let sync = SyncGroup {
        group: group(GROUP),
        member: member_of("a", 1),
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("sticky".to_owned()),
        assignments: Vec::new(),
    };
    let request = fixture.ask(|request| Event::SyncGroup { request, sync });
    assert_eq!(fixture.synced(request).0, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_leaving_member_makes_the_others_join_again() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b", "c"]);
    assert_eq!(
        fixture.leave(&[(Some("b"), None), (Some("stranger"), None)]),
        [ErrorCode::None, ErrorCode::UnknownMemberId]
    );
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.heartbeat(member_of("b", 1)), ErrorCode::UnknownMemberId);
    let a = fixture.join(rejoining("a"));
    let c = fixture.join(rejoining("c"));
    assert_eq!(fixture.joined(a).generation, Some(generation(2)));
    assert_eq!(fixture.joined(a).members.len(), 2);
    assert_eq!(fixture.joined(c).leader, Some(member_id("a")));
}

#[test]
fn a_crashed_member_is_removed_when_its_session_ends() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    for _ in 0..5 {
        fixture.pass(seconds(10));
        fixture.heartbeat(member_of("a", 1));
    }
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
    let a = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(a).generation, Some(generation(2)));
    assert_eq!(fixture.joined(a).members.len(), 1);
}

#[test]
fn a_commit_keeps_a_session_alive() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    for offset in 0..10 {
        fixture.pass(seconds(30));
        assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, offset)]), ErrorCode::None);
    }
}

#[test]
fn a_member_that_does_not_rejoin_in_time_is_left_behind() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    let a = fixture.join(rejoining("a"));
    for _ in 0..3 {
        fixture.pass(seconds(20));
        fixture.heartbeat(member_of("b", 1));
    }
    assert_eq!(fixture.joined(a).generation, Some(generation(2)));
    assert_eq!(fixture.joined(a).members.len(), 1);
    assert_eq!(fixture.heartbeat(member_of("b", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn a_leader_that_crashes_while_assigning_is_replaced() {
    let mut fixture = Fixture::with(GroupConfig::default());
    fixture.join(dynamic("a"));
    fixture.join(dynamic("b"));
    fixture.pass(seconds(10));
    let parked = fixture.sync(member_of("b", 1), &[]);
    fixture.pass(seconds(45));
    assert_eq!(fixture.synced(parked).0, ErrorCode::RebalanceInProgress);
    let b = fixture.join(rejoining("b"));
    let reply = fixture.joined(b);
    assert_eq!((reply.generation, reply.leader), (Some(generation(2)), Some(member_id("b"))));
    let sync = fixture.sync(member_of("b", 2), &[("b", "all")]);
    assert_eq!(fixture.synced(sync), (ErrorCode::None, "all".to_owned()));
}

#[test]
fn members_that_never_sync_are_removed_after_the_rebalance_timeout() {
    let mut fixture = Fixture::with(GroupConfig::default());
    fixture.join(dynamic("a"));
    fixture.join(dynamic("b"));
    fixture.pass(seconds(6));
    fixture.sync(member_of("a", 1), &[("a", "x"), ("b", "y")]);
    for _ in 0..7 {
        fixture.pass(seconds(10));
        fixture.heartbeat(member_of("a", 1));
        fixture.heartbeat(member_of("b", 1));
    }
    assert_eq!(fixture.heartbeat(member_of("b", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_follower_rejoining_unchanged_keeps_the_generation_and_a_changed_one_does_not() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    let same = fixture.join(rejoining("b"));
    assert_eq!(fixture.joined(same).generation, Some(generation(1)));
    assert_eq!(fixture.state(), GroupState::Stable);
    let mut changed = rejoining("b");
    changed.protocols[0].metadata = subscription(&["grain", "flour"], b"");
    let b = fixture.join(changed);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let a = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(b).generation, Some(generation(2)));
    assert_eq!(fixture.joined(a).members.len(), 2);
}

#[test]
fn a_rejoining_leader_always_starts_a_rebalance() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    let a = fixture.join(rejoining("a"));
    assert!(fixture.waiting.contains(&a));
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_lost_join_answer_is_given_again_while_the_assignment_is_awaited() {
    let mut fixture = Fixture::new();
    let first = fixture.join(dynamic("a"));
    let again = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(again), fixture.joined(first));
}

#[test]
fn an_earlier_parked_request_of_the_same_member_is_answered() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    let first = fixture.join(rejoining("a"));
    let second = fixture.join(rejoining("a"));
    assert_eq!(fixture.joined(first).error, ErrorCode::RebalanceInProgress);
    fixture.join(rejoining("b"));
    assert_eq!(fixture.joined(second).error, ErrorCode::None);
    let parked = fixture.sync(member_of("b", 2), &[]);
    let again = fixture.sync(member_of("b", 2), &[]);
    assert_eq!(fixture.synced(parked).0, ErrorCode::RebalanceInProgress);
    fixture.sync(member_of("a", 2), &[("b", "part")]);
    assert_eq!(fixture.synced(again), (ErrorCode::None, "part".to_owned()));
}

#[test]
fn a_member_that_leaves_gets_its_parked_requests_answered() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    fixture.join(rejoining("a"));
    fixture.join(rejoining("b"));
    let sync = fixture.sync(member_of("b", 2), &[]);
    fixture.leave(&[(Some("b"), None)]);
    assert_eq!(fixture.synced(sync).0, ErrorCode::UnknownMemberId);
    fixture.join(dynamic("c"));
    let join = fixture.join(dynamic("d"));
    fixture.leave(&[(Some("d"), None)]);
    assert_eq!(fixture.joined(join).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_new_member_that_waits_too_long_for_others_is_given_up() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    let mut slow = dynamic("b");
    slow.rebalance_timeout_ms = 3_600_000;
    let b = fixture.join(slow);
    for _ in 0..40 {
        fixture.pass(seconds(10));
        fixture.heartbeat(member_of("a", 1));
    }
    assert_eq!(fixture.joined(b).error, ErrorCode::UnknownMemberId);
}

#[test]
fn the_last_member_leaves_an_empty_group_of_a_later_generation() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    assert_eq!(fixture.leave(&[(Some("a"), None)]), [ErrorCode::None]);
    assert_eq!((fixture.state(), fixture.generation()), (GroupState::Empty, 2));
    assert_eq!(fixture.describe().protocol_type, "consumer");
    let next = fixture.join(JoinGroup { protocol_type: "connect".to_owned(), ..dynamic("b") });
    fixture.pass(seconds(60));
    assert_eq!(fixture.joined(next).generation, Some(generation(3)));
    assert_eq!(fixture.joined(next).protocol_type.as_deref(), Some("connect"));
    assert_eq!(fixture.leave(&[(Some("a"), None)]), [ErrorCode::UnknownMemberId]);
}

#[test]
fn leaving_a_group_that_is_not_there_is_an_unknown_member() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.leave(&[(Some("a"), None)]), [ErrorCode::UnknownMemberId]);
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::UnknownMemberId);
}

#[test]
fn a_reload_keeps_generation_members_and_assignments() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    let before = fixture.describe();
    fixture.pass(seconds(40));
    fixture.crash_and_reload();
    assert_eq!(fixture.describe(), before);
    fixture.pass(seconds(40));
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::None, "sessions begin anew");
    let sync = fixture.sync(member_of("b", 1), &[]);
    assert_eq!(fixture.synced(sync), (ErrorCode::None, "b".to_owned()));
    fixture.pass(seconds(40));
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::None);
    fixture.pass(seconds(5));
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress, "b was silent");
}

#[test]
fn a_crash_between_join_and_sync_neither_loses_nor_repeats_the_generation() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    fixture.join(rejoining("a"));
    fixture.join(rejoining("b"));
    assert_eq!(fixture.generation(), 2);
    fixture.crash_and_reload();
    assert_eq!(fixture.state(), GroupState::CompletingRebalance);
    let follower = fixture.sync(member_of("b", 2), &[]);
    fixture.sync(member_of("a", 2), &[("b", "part")]);
    assert_eq!(fixture.synced(follower), (ErrorCode::None, "part".to_owned()));
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::IllegalGeneration);
}

#[test]
fn a_group_above_a_lowered_size_limit_shrinks_when_it_is_reloaded() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b", "c"]);
    fixture.config.group_size_max = 2;
    fixture.crash_and_reload();
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let a = fixture.join(rejoining("a"));
    let b = fixture.join(rejoining("b"));
    let c = fixture.join(rejoining("c"));
    assert_eq!(fixture.joined(c).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(fixture.joined(a).members.len(), 2);
    assert_eq!(fixture.joined(b).generation, Some(generation(2)));
}

#[test]
fn an_assignment_that_no_batch_can_hold_is_refused_and_the_group_starts_over() {
    let config = GroupConfig { batch_bytes_max: 4_000, ..GroupConfig::default() };
    let mut fixture = Fixture::stable(config, &["a", "b"]);
    fixture.join(rejoining("a"));
    fixture.join(rejoining("b"));
    let follower = fixture.sync(member_of("b", 2), &[]);
    let huge: &'static str = Box::leak("x".repeat(5_000).into_boxed_str());
    let leader = fixture.sync(member_of("a", 2), &[("a", huge)]);
    assert_eq!(fixture.synced(leader).0, ErrorCode::UnknownServerError);
    assert_eq!(fixture.synced(follower).0, ErrorCode::UnknownServerError);
    assert_eq!(fixture.state(), GroupState::PreparingRebalance);
    let mut wide = rejoining("a");
    wide.protocols[0].metadata = Bytes::from(vec![0; 5_000]);
    let wide = fixture.join(wide);
    assert_eq!(fixture.joined(wide).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_member_refused_for_the_size_of_its_subscription_leaves_to_a_rebalance() {
    let config = GroupConfig { batch_bytes_max: 4_000, ..GroupConfig::default() };
    let mut fixture = Fixture::stable(config, &["a", "b"]);
    let mut wide = rejoining("b");
    wide.protocols[0].metadata = Bytes::from(vec![0; 5_000]);
    let wide = fixture.join(wide);
    assert_eq!(fixture.joined(wide).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_cooperative_rebalance_is_two_rounds_and_nobody_stops_in_between() {
    let config = GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() };
    let mut fixture = Fixture::with(config);
    // What a member owns is part of its subscription, so giving something up is a new one (KIP-429).
    let cooperative = |join: JoinGroup, owned: &'static [u8]| JoinGroup {
        protocols: vec![JoinProtocol {
            name: "cooperative-sticky".to_owned(),
            metadata: subscription(&["grain"], owned),
        }],
        ..join
    };
    let first = fixture.join(cooperative(dynamic("a"), b""));
    assert_eq!(fixture.joined(first).generation, Some(generation(1)));
    fixture.sync(member_of("a", 1), &[("a", "0 1")]);
    let second = fixture.join(cooperative(dynamic("b"), b""));
    assert_eq!(fixture.heartbeat(member_of("a", 1)), ErrorCode::RebalanceInProgress);
    assert_eq!(fixture.commit(member_of("a", 1), &[("grain", 0, 5)]), ErrorCode::None, "it goes on working");
    let leader = fixture.join(cooperative(rejoining("a"), b"0 1"));
    assert_eq!(fixture.joined(leader).members[0].metadata, subscription(&["grain"], b"0 1"));
    assert_eq!(fixture.joined(second).generation, Some(generation(2)));
    let given = fixture.sync(member_of("b", 2), &[]);
    fixture.sync(member_of("a", 2), &[("a", "0"), ("b", "")]);
    assert_eq!(
        fixture.synced(given),
        (ErrorCode::None, String::new()),
        "what the other gives up comes later"
    );
    let leader = fixture.join(cooperative(rejoining("a"), b"0"));
    assert_eq!(fixture.heartbeat(member_of("b", 2)), ErrorCode::RebalanceInProgress);
    let second = fixture.join(cooperative(rejoining("b"), b""));
    assert_eq!(fixture.joined(leader).generation, Some(generation(3)));
    assert_eq!(fixture.joined(second).generation, Some(generation(3)));
    let given = fixture.sync(member_of("b", 3), &[]);
    fixture.sync(member_of("a", 3), &[("a", "0"), ("b", "1")]);
    assert_eq!(fixture.synced(given), (ErrorCode::None, "1".to_owned()));
}
