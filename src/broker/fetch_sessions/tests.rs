use proptest::prelude::*;

use super::*;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn key(topic: &str, partition: i32) -> FetchKey {
    FetchKey { topic: FetchTopic::Name(TopicName::new(topic)), partition }
}

fn from(fetch_offset: i64) -> FetchParameters {
    FetchParameters { fetch_offset, bytes_max: 1000, current_leader_epoch: -1 }
}

fn contents(partitions: &[(&str, i64)], forgotten: &[&str]) -> FetchContents {
    FetchContents {
        partitions: partitions.iter().map(|(topic, offset)| (key(topic, 0), from(*offset))).collect(),
        forgotten: forgotten.iter().map(|topic| key(topic, 0)).collect(),
        naming: Naming::Names,
    }
}

/// What an empty log with this end says.
fn quiet(end: i64) -> FetchNews {
    let end = Offset::from_wire(end);
    FetchNews {
        high_watermark: end,
        last_stable_offset: end,
        log_start_offset: Some(Offset::ZERO),
        ..FetchNews::default()
    }
}

fn failed() -> FetchNews {
    FetchNews { error: ErrorState::Failed, ..FetchNews::default() }
}

fn created(sessions: &mut FetchSessions, now: i64, topics: &[&str]) -> Option<i32> {
    let partitions = topics.iter().map(|topic| (key(topic, 0), from(0), quiet(0))).collect();
    sessions.create(at(now), now as u32 * 2 + 7, Naming::Names, partitions).map(SessionId::value)
}

fn go_on(
    sessions: &mut FetchSessions,
    (session_id, epoch): (i32, i32),
    contents: FetchContents,
) -> Result<Vec<(FetchKey, FetchParameters)>, ErrorCode> {
    sessions.begin(at(0), SessionRequest { session_id, epoch }, contents).map(|(_, wanted)| wanted)
}

#[test]
fn a_session_reads_all_its_partitions_though_a_request_names_only_what_changes() {
    let mut sessions = FetchSessions::new(10);
    let id = created(&mut sessions, 0, &["a", "b", "c"]).unwrap();
    assert_eq!(go_on(&mut sessions, (id, 1), contents(&[], &[])).unwrap().len(), 3);
    let wanted = go_on(&mut sessions, (id, 2), contents(&[("b", 9), ("d", 4)], &["a"])).unwrap();
    assert_eq!(wanted, [(key("b", 0), from(9)), (key("c", 0), from(0)), (key("d", 0), from(4))]);
}

#[test]
fn an_unknown_session_a_wrong_epoch_and_a_change_of_naming_are_refused() {
    let mut sessions = FetchSessions::new(10);
    let id = created(&mut sessions, 0, &["a"]).unwrap();
    let mut code = |id, epoch, naming| {
        let contents = FetchContents { naming, ..FetchContents::default() };
        go_on(&mut sessions, (id, epoch), contents).err()
    };
    assert_eq!(code(id + 1, 1, Naming::Names), Some(ErrorCode::FetchSessionIdNotFound));
    assert_eq!(code(id, 2, Naming::Names), Some(ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(code(id, 1, Naming::Ids), Some(ErrorCode::FetchSessionTopicIdError));
    assert_eq!(code(id, 1, Naming::Names), None);
    assert_eq!(code(id, 1, Naming::Names), Some(ErrorCode::InvalidFetchSessionEpoch));
    assert_eq!(code(id, 2, Naming::Names), None);
}

#[test]
fn a_full_fetch_ends_the_session_that_it_names() {
    for epoch in [0, -1] {
        let mut sessions = FetchSessions::new(10);
        let session_id = created(&mut sessions, 0, &["a"]).unwrap();
        let request = SessionRequest { session_id, epoch };
        let (context, wanted) = sessions.begin(at(0), request, contents(&[("b", 1)], &[])).unwrap();
        assert_eq!(matches!(context, FetchContext::Beginning(_)), epoch == 0);
        assert_eq!(wanted, [(key("b", 0), from(1))]);
        assert_eq!(sessions.sessions.len(), 0);
    }
}

#[test]
fn a_session_that_forgets_everything_is_over() {
    let mut sessions = FetchSessions::new(10);
    let session_id = created(&mut sessions, 0, &["a"]).unwrap();
    let request = SessionRequest { session_id, epoch: 1 };
    let (context, wanted) = sessions.begin(at(0), request, contents(&[], &["a"])).unwrap();
    assert!(matches!(context, FetchContext::Sessionless) && wanted.is_empty());
    assert_eq!((sessions.sessions.len(), sessions.partitions), (0, 0));
}

#[test]
fn a_full_cache_gives_up_stale_sessions_and_then_smaller_ones() {
    let mut sessions = FetchSessions::new(2);
    let first = created(&mut sessions, 0, &["a", "b"]).unwrap();
    let second = created(&mut sessions, 1, &["a"]).unwrap();
    assert_eq!(created(&mut sessions, 100_000, &["a", "b", "c"]), None, "both are young");
    for (epoch, now) in [(1, 119_000), (2, 125_000)] {
        for session_id in [first, second] {
            let request = SessionRequest { session_id, epoch };
            sessions.begin(at(now), request, FetchContents::default()).unwrap();
        }
    }
    assert_eq!(created(&mut sessions, 125_000, &["c"]), None, "it is no larger");
    assert!(created(&mut sessions, 125_000, &["a", "b", "c"]).is_some());
    assert!(sessions.sessions.contains_key(&SessionId(first)));
    assert!(!sessions.sessions.contains_key(&SessionId(second)), "the smaller one went");
    assert!(created(&mut sessions, 300_000, &["c"]).is_some(), "nobody has used the others for long");
    assert_eq!(sessions.sessions.len(), 2);
    assert_eq!(FetchSessions::new(0).create(at(0), 1, Naming::Names, vec![]), None);
}

#[test]
fn a_partition_is_told_when_something_is_new() {
    let mut session = Session::new(Naming::Names, vec![(key("a", 0), from(0), quiet(5))]);
    let a = key("a", 0);
    assert!(!session.tell(&a, quiet(5)));
    assert!(session.tell(&a, quiet(6)));
    assert!(!session.tell(&a, quiet(6)));
    let undecided = FetchNews { last_stable_offset: Offset::from_wire(3), ..quiet(6) };
    assert!(session.tell(&a, undecided));
    assert!(!session.tell(&a, undecided));
    let records = FetchNews { records: HasRecords::Yes, ..quiet(6) };
    assert!(session.tell(&a, records) && session.tell(&a, records), "records always come");
    assert!(session.tell(&a, failed()) && session.tell(&a, failed()), "so do errors");
    assert!(session.tell(&a, quiet(6)), "and the end of an error");
    assert!(!session.tell(&a, quiet(6)));
}

#[test]
fn partitions_that_brought_records_stand_behind_the_others() {
    let partitions = ["a", "b", "c"].map(|topic| (key(topic, 0), from(0), quiet(0))).to_vec();
    let mut session = Session::new(Naming::Names, partitions);
    session.tell(&key("a", 0), FetchNews { records: HasRecords::Yes, ..quiet(1) });
    session.tell(&key("b", 0), quiet(1));
    let order: Vec<_> = session.wanted().into_iter().map(|(key, _)| key).collect();
    assert_eq!(order, [key("b", 0), key("c", 0), key("a", 0)]);
}

/// What may happen between two fetches of a client.
#[derive(Clone, Debug)]
enum Step {
    Append(usize, i64),
    Decide(usize),
    Break(usize),
    Mend(usize),
    Add(usize),
    Forget(usize),
    Seek(usize, i64),
}

const LOGS: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct FakeLog {
    end: i64,
    stable: i64,
    broken: bool,
}

impl FakeLog {
    /// What a full fetch from this offset says: read committed, so that only what is stable is read.
    fn read(&self, offset: i64) -> FetchNews {
        if self.broken {
            return failed();
        }
        FetchNews {
            high_watermark: Offset::from_wire(self.end),
            last_stable_offset: Offset::from_wire(self.stable),
            log_start_offset: Some(Offset::ZERO),
            records: if offset < self.stable { HasRecords::Yes } else { HasRecords::No },
            error: ErrorState::Fine,
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let log = 0..LOGS;
    let step = prop_oneof![
        (log.clone(), 1..5i64).prop_map(|(log, count)| Step::Append(log, count)),
        log.clone().prop_map(Step::Decide),
        log.clone().prop_map(Step::Break),
        log.clone().prop_map(Step::Mend),
        log.clone().prop_map(Step::Add),
        log.clone().prop_map(Step::Forget),
        (log, 0..20i64).prop_map(|(log, offset)| Step::Seek(log, offset)),
    ];
    proptest::collection::vec(step, 0..60)
}

fn name(log: usize) -> String {
    format!("log-{log}")
}

/// A client with a session, which keeps of each partition what it was last told.
struct Client {
    sessions: FetchSessions,
    session: i32,
    epoch: i32,
    positions: BTreeMap<usize, i64>,
    view: BTreeMap<usize, FetchNews>,
}

impl Client {
    fn fetch(&mut self, logs: &[FakeLog], named: &[usize], forgotten: &[usize]) {
        let partitions = named.iter().map(|log| (key(&name(*log), 0), from(self.positions[log]))).collect();
        let forgotten = forgotten.iter().map(|log| key(&name(*log), 0)).collect();
        let contents = FetchContents { partitions, forgotten, naming: Naming::Names };
        let request = SessionRequest { session_id: self.session, epoch: self.epoch };
        let begun = self.sessions.begin(at(0), request, contents).unwrap();
        let log_of = |key: &FetchKey| (0..LOGS).find(|log| *key == self::key(&name(*log), 0)).unwrap();
        match begun {
            (FetchContext::Continuing(session, _, expected), wanted) => {
                self.epoch += 1;
                let asked: BTreeMap<usize, i64> =
                    wanted.iter().map(|(key, asked)| (log_of(key), asked.fetch_offset)).collect();
                assert_eq!(asked, self.positions, "the session reads what the client means");
                let mut session = session.lock();
                assert!(session.expects(expected));
                for (key, asked) in wanted {
                    let news = logs[log_of(&key)].read(asked.fetch_offset);
                    if session.tell(&key, news) {
                        self.view.insert(log_of(&key), news);
                    }
                }
            }
            (FetchContext::Beginning(naming), wanted) => {
                let answered = wanted.into_iter().map(|(key, asked)| {
                    let news = logs[log_of(&key)].read(asked.fetch_offset);
                    self.view.insert(log_of(&key), news);
                    (key, asked, news)
                });
                let id = self.sessions.create(at(0), 1, naming, answered.collect());
                (self.session, self.epoch) = (id.map_or(0, SessionId::value), i32::from(id.is_some()));
            }
            (FetchContext::Sessionless, _) => (self.session, self.epoch) = (0, 0),
        }
    }
}

proptest! {
    /// After every fetch of a session the client knows what a full fetch would have told it.
    #[test]
    fn a_session_tells_what_full_fetches_tell(steps in steps()) {
        let mut logs = [FakeLog::default(); LOGS];
        let positions = BTreeMap::from([(0, 0), (1, 0)]);
        let mut client = Client {
            sessions: FetchSessions::new(1), session: 0, epoch: 0, positions, view: BTreeMap::new(),
        };
        client.fetch(&logs, &[0, 1], &[]);
        for step in steps {
            let (mut named, mut forgotten) = (Vec::new(), Vec::new());
            match step {
                Step::Append(log, count) => logs[log].end += count,
                Step::Decide(log) => logs[log].stable = logs[log].end,
                Step::Break(log) => logs[log].broken = true,
                Step::Mend(log) => logs[log].broken = false,
                Step::Add(log) | Step::Seek(log, _) => {
                    let offset = if let Step::Seek(_, offset) = step { offset } else { 0 };
                    client.positions.insert(log, offset);
                    named.push(log);
                }
                Step::Forget(log) => if client.positions.len() > 1 && client.positions.remove(&log).is_some() {
                    client.view.remove(&log);
                    forgotten.push(log);
                },
            }
            client.fetch(&logs, &named, &forgotten);
            for (log, offset) in &client.positions {
                let full = logs[*log].read(*offset);
                let known = client.view[log];
                // What is left out is what was told: an answer without records and without an error.
                let same = FetchNews { records: full.records, ..known } == full;
                prop_assert!(same, "log {log}: told {known:?}, a full fetch tells {full:?}");
                let due = full.records == HasRecords::Yes || full.error == ErrorState::Failed;
                prop_assert!(!due || known == full);
            }
        }
    }
}
