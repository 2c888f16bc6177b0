//! Deletion, expiry, listing.

use super::*;

const NOBODY: MemberOfGeneration = MemberOfGeneration::NOBODY;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn delete_group(fixture: &mut Fixture) -> ErrorCode {
    match fixture.answer(|request| Event::DeleteGroups { request, groups: vec![group(GROUP)] }) {
        Reply::DeleteGroups(results) => results[0].1,
        other => panic!("{other:?}"),
    }
}

fn delete_offset(fixture: &mut Fixture, topic: &str) -> ErrorCode {
    let partitions = vec![tp(topic, 0)];
    match fixture.answer(|request| Event::DeleteOffsets { request, group: group(GROUP), partitions }) {
        Reply::DeleteOffsets(DeleteOffsetsReply { error: ErrorCode::None, partitions }) => partitions[0].1,
        Reply::DeleteOffsets(reply) => reply.error,
        other => panic!("{other:?}"),
    }
}

fn list(
    fixture: &mut Fixture,
    states: Option<Vec<GroupState>>,
    types: Option<Vec<GroupType>>,
) -> Vec<String> {
    match fixture.answer(|request| Event::ListGroups { request, states, types }) {
        Reply::ListGroups(groups) => groups
            .into_iter()
            .map(|listed| format!("{} {} {}", listed.group, listed.protocol_type, listed.state.name()))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_empty_groups_are_deleted_and_nothing_of_them_stays() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    fixture.commit(member_of("a", 1), &[("grain", 0, 5)]);
    fixture.txn_commit(producer(1, 0), member_of("a", 1), &[("grain", 1, 5)]);
    assert_eq!(delete_group(&mut fixture), ErrorCode::NonEmptyGroup);
    fixture.leave(&[(Some("a"), None)]);
    assert_eq!(delete_group(&mut fixture), ErrorCode::None);
    assert_eq!(fixture.state(), GroupState::Dead);
    assert_eq!(delete_group(&mut fixture), ErrorCode::GroupIdNotFound);
    fixture.end(producer(1, 0), EndTransaction::Commit);
    assert_eq!(fixture.offset("grain", 1), None, "its pending offsets are gone too");
    fixture.crash_and_reload();
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn a_group_too_large_for_one_batch_is_deleted_by_repeating() {
    let mut fixture = Fixture::with(GroupConfig { batch_bytes_max: 70_000, ..GroupConfig::default() });
    for partition in 0..300 {
        fixture.commit(NOBODY, &[("grain", partition, 1)]);
    }
    let mut attempts = 1;
    while delete_group(&mut fixture) == ErrorCode::CoordinatorNotAvailable {
        attempts += 1;
        assert!(attempts < 100);
    }
    assert!(attempts > 1);
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn offsets_of_subscribed_topics_are_not_deleted() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    fixture.commit(member_of("a", 1), &[("grain", 0, 5), ("chaff", 0, 6)]);
    assert_eq!(delete_offset(&mut fixture, "grain"), ErrorCode::GroupSubscribedToTopic);
    assert_eq!(delete_offset(&mut fixture, "chaff"), ErrorCode::None);
    assert_eq!(delete_offset(&mut fixture, "unknown"), ErrorCode::None);
    assert_eq!((fixture.offset("grain", 0), fixture.offset("chaff", 0)), (Some(5), None));
    fixture.leave(&[(Some("a"), None)]);
    assert_eq!(delete_offset(&mut fixture, "grain"), ErrorCode::None);
    assert_eq!(fixture.offset("grain", 0), None);
}

#[test]
fn offsets_of_groups_that_are_no_consumers_are_deleted_only_when_empty() {
    let mut fixture = Fixture::new();
    assert_eq!(delete_offset(&mut fixture, "grain"), ErrorCode::GroupIdNotFound);
    fixture.join(JoinGroup { protocol_type: "connect".to_owned(), ..dynamic("a") });
    assert_eq!(delete_offset(&mut fixture, "grain"), ErrorCode::NonEmptyGroup);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along_in_every_group() {
    let mut fixture = Fixture::new();
    fixture.commit(NOBODY, &[("grain", 0, 5), ("flour", 0, 6)]);
    fixture.commit_in(OffsetCommit { group: group("other"), ..commit_of(NOBODY, &[("grain", 1, 5)]) });
    fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 2, 5)]);
    fixture.step(Event::TopicDeleted { topic: TopicName::new("grain") });
    fixture.end(producer(1, 0), EndTransaction::Commit);
    assert_eq!(fixture.offset("grain", 0), None);
    assert_eq!(fixture.offset("grain", 2), None);
    assert_eq!(fixture.offset("flour", 0), Some(6));
    assert_eq!(list(&mut fixture, None, None), ["mill  Empty"]);
}

#[test]
fn burying_a_large_topic_goes_on_at_later_ticks_and_spares_its_successor() {
    let mut fixture = Fixture::with(GroupConfig { batch_bytes_max: 70_000, ..GroupConfig::default() });
    for partition in 0..300 {
        fixture.commit(NOBODY, &[("grain", partition, 1)]);
    }
    fixture.step(Event::TopicDeleted { topic: TopicName::new("grain") });
    assert!(fixture.shard.next_deadline().is_some_and(|deadline| deadline <= fixture.now));
    fixture.commit(NOBODY, &[("grain", 299, 7)]);
    fixture.pass(Duration::from_secs(1));
    assert_eq!((fixture.offset("grain", 298), fixture.offset("grain", 299)), (None, Some(7)));
}

#[test]
fn offsets_of_a_simple_consumer_expire_by_their_commit_time() {
    let mut fixture = Fixture::new();
    fixture.commit(NOBODY, &[("grain", 0, 5)]);
    fixture.pass(4 * DAY);
    fixture.commit(NOBODY, &[("grain", 1, 5)]);
    fixture.pass(4 * DAY);
    assert_eq!((fixture.offset("grain", 0), fixture.offset("grain", 1)), (None, Some(5)));
    fixture.pass(4 * DAY);
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn a_group_of_the_broker_s_own_keeps_its_offsets_for_ever() {
    let mut fixture = Fixture::new();
    let own = OffsetCommit { group: group("__dlq.p.dlq"), ..commit_of(NOBODY, &[("p.dlq", 0, 5)]) };
    fixture.commit_in(own);
    fixture.commit(NOBODY, &[("grain", 0, 5)]);
    fixture.pass(30 * DAY);
    assert_eq!(fixture.offset("grain", 0), None);
    assert_eq!(list(&mut fixture, None, None), ["__dlq.p.dlq  Empty"]);
}

#[test]
fn a_kept_group_s_offsets_expire_only_once_it_is_kept_no_more() {
    let mut fixture = Fixture::new();
    fixture.commit_in(OffsetCommit { group: group("count"), ..commit_of(NOBODY, &[("grain", 0, 5)]) });
    fixture.commit(NOBODY, &[("grain", 0, 5)]);
    fixture.kept = KeptGroups::Known(Arc::new([group("count")].into()));
    fixture.pass(30 * DAY);
    assert_eq!(list(&mut fixture, None, None), ["count  Empty"]);
    fixture.crash_and_reload();
    fixture.pass(30 * DAY);
    assert_eq!(list(&mut fixture, None, None), ["count  Empty"]);
    fixture.kept = KeptGroups::Known(Arc::default());
    fixture.pass(DAY);
    assert_eq!(list(&mut fixture, None, None), [""; 0]);
}

#[test]
fn nothing_expires_before_it_is_known_what_is_kept() {
    let mut fixture = Fixture::new();
    fixture.commit(NOBODY, &[("grain", 0, 5)]);
    fixture.kept = KeptGroups::Unknown;
    fixture.pass(30 * DAY);
    assert_eq!(fixture.offset("grain", 0), Some(5));
    fixture.kept = KeptGroups::Known(Arc::default());
    fixture.pass(DAY);
    assert_eq!(fixture.offset("grain", 0), None);
}

#[test]
fn an_empty_group_expires_counting_from_when_it_became_empty() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    fixture.commit(member_of("a", 1), &[("grain", 0, 5)]);
    for _ in 0..30_000 {
        fixture.pass(Duration::from_secs(30));
        fixture.heartbeat(member_of("a", 1));
    }
    assert_eq!(fixture.offset("grain", 0), Some(5), "a subscribed member keeps it for ever");
    fixture.leave(&[(Some("a"), None)]);
    fixture.pass(6 * DAY);
    assert_eq!(fixture.offset("grain", 0), Some(5));
    fixture.pass(2 * DAY);
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn offsets_that_a_stable_group_no_longer_subscribes_to_expire() {
    let config = GroupConfig { offsets_retention: Duration::from_secs(3_600), ..GroupConfig::default() };
    let mut fixture = Fixture::stable(config, &["a"]);
    fixture.commit(member_of("a", 1), &[("grain", 0, 5), ("chaff", 0, 6)]);
    for _ in 0..150 {
        fixture.pass(Duration::from_secs(30));
        fixture.heartbeat(member_of("a", 1));
    }
    assert_eq!((fixture.offset("grain", 0), fixture.offset("chaff", 0)), (Some(5), None));
    assert_eq!(fixture.state(), GroupState::Stable);
}

#[test]
fn expiry_spares_offsets_and_groups_with_a_pending_transaction() {
    let mut fixture = Fixture::new();
    fixture.commit(NOBODY, &[("grain", 0, 5)]);
    fixture.txn_commit(producer(1, 0), NOBODY, &[("grain", 0, 9)]);
    fixture.pass(30 * DAY);
    assert_eq!(fixture.offset("grain", 0), Some(5));
    fixture.end(producer(1, 0), EndTransaction::Abort);
    assert_eq!(fixture.offset("grain", 0), Some(5));
    fixture.pass(DAY);
    assert_eq!(fixture.state(), GroupState::Dead);
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a"]);
    fixture.commit_in(OffsetCommit { group: group("simple"), ..commit_of(NOBODY, &[("grain", 1, 5)]) });
    assert_eq!(list(&mut fixture, None, None), ["mill consumer Stable", "simple  Empty"]);
    assert_eq!(list(&mut fixture, Some(vec![GroupState::Empty]), None), ["simple  Empty"]);
    assert_eq!(list(&mut fixture, None, Some(vec![GroupType::Classic])).len(), 2);
    assert_eq!(list(&mut fixture, None, Some(Vec::new())).len(), 0);
    assert_eq!(GroupState::from_name("preparingrebalance"), Some(GroupState::PreparingRebalance));
    assert_eq!(GroupState::from_name("assigning"), Some(GroupState::Assigning));
    assert_eq!(GroupState::from_name("NotReady"), None);
}

#[test]
fn a_described_group_shows_what_members_have_only_when_it_is_stable() {
    let mut fixture = Fixture::stable(GroupConfig::default(), &["a", "b"]);
    let described = fixture.describe();
    assert_eq!((described.protocol_type.as_str(), described.protocol.as_str()), ("consumer", "range"));
    assert_eq!(described.members[1].assignment, Bytes::from_static(b"b"));
    assert_eq!(described.members[1].client_host, "/127.0.0.1");
    fixture.join(rejoining("a"));
    let described = fixture.describe();
    assert_eq!((described.state, described.protocol.as_str()), (GroupState::PreparingRebalance, ""));
    assert_eq!(described.members[1].assignment, Bytes::new());
}
