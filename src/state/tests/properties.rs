//! Whatever is done, in any order, with failures and restarts between: a task's state is what a plain map is to
//! which the same was done, and so are what it weighs, what is due, and what is seen from outside.

use super::*;
use proptest::prelude::*;

/// One thing that a task, a guest or fate does.
#[derive(Clone, Debug)]
enum Deed {
    BeginCall,
    Put {
        store: u32,
        key: u8,
        value: u8,
        expires: Option<i64>,
    },
    Delete {
        store: u32,
        key: u8,
    },
    Add {
        store: u32,
        key: u8,
        delta: i64,
    },
    PutTimer {
        domain: TimerDomain,
        id: u8,
        at: i64,
    },
    DeleteTimer {
        domain: TimerDomain,
        id: u8,
    },
    KeepCall,
    DropCall,
    Advance {
        to: i64,
    },
    Sweep {
        limit: usize,
    },
    HandOver,
    /// The oldest pending unit's transaction is committed, and it is put into the cache.
    Commit,
    /// It is committed, and fate strikes before it is put there.
    CommitAndRewind,
    Abort,
    Restart,
    LoseCache,
    Flush,
    Compact,
}

fn deed() -> impl Strategy<Value = Deed> {
    let store = 0..2u32;
    let key = 0..6u8;
    let time = 0..20i64;
    let domain = prop_oneof![Just(TimerDomain::Event), Just(TimerDomain::Processing)];
    prop_oneof![
        4 => Just(Deed::BeginCall),
        8 => (store.clone(), key.clone(), any::<u8>(), proptest::option::of(time.clone()))
            .prop_map(|(store, key, value, expires)| Deed::Put { store, key, value, expires }),
        4 => (store.clone(), key.clone()).prop_map(|(store, key)| Deed::Delete { store, key }),
        4 => (store, key.clone(), -3..4i64).prop_map(|(store, key, delta)| Deed::Add { store, key, delta }),
        4 => (domain.clone(), key.clone(), time.clone())
            .prop_map(|(domain, id, at)| Deed::PutTimer { domain, id, at }),
        2 => (domain, key).prop_map(|(domain, id)| Deed::DeleteTimer { domain, id }),
        5 => Just(Deed::KeepCall),
        2 => Just(Deed::DropCall),
        2 => time.prop_map(|to| Deed::Advance { to }),
        2 => (1..4usize).prop_map(|limit| Deed::Sweep { limit }),
        4 => Just(Deed::HandOver),
        4 => Just(Deed::Commit),
        1 => Just(Deed::CommitAndRewind),
        1 => Just(Deed::Abort),
        1 => Just(Deed::Restart),
        1 => Just(Deed::LoseCache),
        1 => Just(Deed::Flush),
        1 => Just(Deed::Compact),
    ]
}

/// What a plain map has: everything, also what has expired.
#[derive(Clone, PartialEq, Debug, Default)]
struct Model {
    entries: BTreeMap<(u32, u8), (Vec<u8>, Option<i64>)>,
    timers: BTreeMap<(TimerDomain, u8), i64>,
    stream_time: Option<i64>,
}

impl Model {
    fn is_seen(&self, expires: Option<i64>) -> bool {
        expires.is_none_or(|expires| self.stream_time.is_none_or(|now| now < expires))
    }

    fn seen(&self, store: u32) -> Vec<(Bytes, Bytes)> {
        let of_store =
            self.entries.iter().filter(|((of, _), (_, expires))| *of == store && self.is_seen(*expires));
        of_store.map(|((_, key), (value, _))| (Bytes::from(vec![*key]), Bytes::from(value.clone()))).collect()
    }

    fn due(&self, domain: TimerDomain, now: i64) -> Vec<(i64, u8)> {
        let due = self.timers.iter().filter(|((of, _), at)| *of == domain && **at <= now);
        let mut due: Vec<_> = due.map(|((_, id), at)| (*at, *id)).collect();
        due.sort_unstable();
        due
    }

    fn sweep(&mut self, limit: usize) -> usize {
        let Some(now) = self.stream_time else { return 0 };
        let expired = self.entries.iter().filter_map(|(key, (_, expires))| Some((expires.as_ref()?, key)));
        let mut expired: Vec<_> =
            expired.filter(|(expires, _)| **expires <= now).map(|(e, k)| (*e, *k)).collect();
        expired.sort_unstable();
        expired.truncate(limit);
        expired.iter().for_each(|(_, key)| drop(self.entries.remove(key)));
        expired.len()
    }

    fn bytes(&self) -> usize {
        let entry = |name: usize, key: usize, value: usize, time: bool| {
            2 + name + key + 2 + value + usize::from(time) * 8 + 32
        };
        let entries =
            self.entries.values().map(|(value, expires)| entry(1, 1, value.len(), expires.is_some()));
        let timers = self.timers.keys().map(|(domain, _)| match domain {
            TimerDomain::Event => entry("__timers-event".len(), 1, 1, true),
            TimerDomain::Processing => entry("__timers-processing".len(), 1, 1, true),
        });
        let clock = self.stream_time.map(|_| entry("__clock".len(), "stream-time".len(), 8, false));
        entries.chain(timers).chain(clock).sum()
    }
}

/// A task beside its model.
struct World {
    fixture: Fixture,
    database: Option<StateDatabase>,
    task: Option<TaskState>,
    access: Option<CallState>,
    /// Handed over, the oldest first; each with what the state is once it is committed.
    pending: Vec<(PendingUnit, Model)>,
    /// In the cache.
    applied: Model,
    /// In the changelog.
    committed: Model,
    open: Model,
    call: Option<Model>,
}

impl World {
    fn new() -> World {
        let fixture = Fixture::new();
        let database = fixture.database();
        let task = fixture.restored_in(&database);
        World {
            fixture,
            database: Some(database),
            task: Some(task),
            access: None,
            pending: Vec::new(),
            applied: Model::default(),
            committed: Model::default(),
            open: Model::default(),
            call: None,
        }
    }

    fn task(&mut self) -> &mut TaskState {
        self.task.as_mut().unwrap()
    }

    fn top(&mut self) -> &mut Model {
        self.call.as_mut().unwrap_or(&mut self.open)
    }

    fn end_call(&mut self) {
        if self.call.take().is_some() {
            self.task().drop_call();
        }
        self.access = None;
    }

    /// Everything that is not in the changelog is lost, and the rest is restored.
    fn begin_again(&mut self) {
        self.access = None;
        self.call = None;
        self.pending.clear();
        self.open = self.committed.clone();
        self.applied = self.committed.clone();
        let task = self.task.as_mut().unwrap();
        self.fixture.restore(task);
    }

    fn restart(&mut self) {
        self.access = None;
        self.pending.clear();
        self.task = None;
        self.database = None;
        let database = self.fixture.database();
        self.task = Some(self.fixture.open_in(&database));
        self.database = Some(database);
        self.begin_again();
    }

    fn act(&mut self, deed: &Deed) {
        match deed {
            Deed::BeginCall => {
                self.access = Some(self.task().begin_call());
                self.call = Some(self.open.clone());
            }
            Deed::KeepCall => {
                self.task().keep_call();
                self.access = None;
                self.open = self.call.take().unwrap_or_else(|| self.open.clone());
            }
            Deed::DropCall => self.end_call(),
            Deed::Put { .. } | Deed::Delete { .. } | Deed::Add { .. } => self.write(deed),
            Deed::PutTimer { domain, id, at } => {
                self.task().put_timer(*domain, &[*id], *at, &[*id]).unwrap();
                self.top().timers.insert((*domain, *id), *at);
            }
            Deed::DeleteTimer { domain, id } => {
                let was_there = self.task().delete_timer(*domain, &[*id]).unwrap();
                assert_eq!(self.top().timers.remove(&(*domain, *id)).is_some(), was_there);
            }
            Deed::Advance { to } => {
                self.end_call();
                self.task().advance_stream_time(*to).unwrap();
                self.open.stream_time = self.open.stream_time.max(Some(*to));
            }
            Deed::Sweep { limit } => {
                self.end_call();
                assert_eq!(self.task().sweep_expired(*limit).unwrap(), self.open.sweep(*limit));
            }
            Deed::HandOver => {
                self.end_call();
                if let Some(unit) = self.task().hand_over().unwrap() {
                    self.pending.push((unit, self.open.clone()));
                }
            }
            Deed::Commit => self.commit(),
            Deed::CommitAndRewind => {
                if !self.pending.is_empty() {
                    let (unit, after) = self.pending.remove(0);
                    self.fixture.log.append(&unit);
                    self.committed = after;
                }
                self.task().rewind().unwrap();
                self.begin_again();
            }
            Deed::Abort => {
                self.task().rewind().unwrap();
                self.begin_again();
            }
            Deed::Restart => self.restart(),
            Deed::LoseCache => {
                self.access = None;
                self.pending.clear();
                self.task = None;
                self.database = None;
                std::fs::remove_dir_all(self.fixture.directory.path().join("state")).unwrap();
                self.restart();
            }
            Deed::Flush => self.database.as_ref().unwrap().cache.flush(),
            Deed::Compact => self.fixture.log.compact(),
        }
    }

    fn commit(&mut self) {
        if !self.pending.is_empty() {
            let (unit, after) = self.pending.remove(0);
            let next = self.fixture.log.append(&unit);
            unit.committed(next, self.fixture.now).unwrap();
            self.applied = after.clone();
            self.committed = after;
        }
    }

    fn write(&mut self, deed: &Deed) {
        let (Some(access), Some(model)) = (&mut self.access, &mut self.call) else { return };
        match deed {
            Deed::Put { store, key, value, expires } => {
                access.put(StoreId(*store), &[*key], &[*value], *expires).unwrap();
                model.entries.insert((*store, *key), (vec![*value], *expires));
            }
            Deed::Delete { store, key } => {
                access.delete(StoreId(*store), &[*key]).unwrap();
                model.entries.remove(&(*store, *key));
            }
            Deed::Add { store, key, delta } => {
                let before =
                    model.entries.get(&(*store, *key)).filter(|(_, expires)| model.is_seen(*expires));
                let before = before.map_or(Ok(0), |(value, _)| {
                    <[u8; 8]>::try_from(&value[..]).map(i64::from_le_bytes).map_err(|_| value.len())
                });
                let after = before.map(|before| before + delta).map_err(StateError::NotACounter);
                assert_eq!(access.add(StoreId(*store), &[*key], *delta), after);
                if let Ok(after) = after {
                    model.entries.insert((*store, *key), (after.to_le_bytes().to_vec(), None));
                }
            }
            other => panic!("{other:?} is no write"),
        }
    }

    /// The state is what the model is.
    fn check(&mut self) {
        let model = self.top().clone();
        let task = self.task.as_mut().unwrap();
        assert_eq!(task.stream_time(), model.stream_time);
        assert_eq!(task.bytes(), u64::try_from(model.bytes()).unwrap());
        assert_eq!(task.timers(), u64::try_from(model.timers.len()).unwrap());
        for domain in TimerDomain::ALL {
            let due = |now, limit| -> Vec<(i64, u8)> {
                let due = task.due_timers(domain, now, up_to(limit)).unwrap();
                due.iter().map(|timer| (timer.at, timer.id[0])).collect()
            };
            assert_eq!(due(10, 99), model.due(domain, 10));
            assert_eq!(due(99, 2)[..], model.due(domain, 99)[..model.due(domain, 99).len().min(2)]);
        }
        if let Some(access) = &mut self.access {
            for store in 0..2 {
                check_store(access, store, model.seen(store));
            }
        }
        let reader = self.database.as_ref().unwrap().reader(&task_key("p", 0)).unwrap().unwrap();
        for (store, name) in (0..).zip(STORES) {
            let range = KeyRange::default();
            let page = reader.scan(name, &range, ScanDirection::Ascending, up_to(99)).unwrap();
            assert_eq!(page.entries, self.applied.seen(store));
        }
        assert_eq!(reader.stream_time(), self.applied.stream_time);
    }
}

fn check_store(access: &mut CallState, store: u32, expected: Vec<(Bytes, Bytes)>) {
    let id = StoreId(store);
    let range = KeyRange::default();
    assert_eq!(access.scan(id, &range, ScanDirection::Ascending, up_to(99)).unwrap().entries, expected);
    let mut reversed = expected.clone();
    reversed.reverse();
    assert_eq!(access.scan(id, &range, ScanDirection::Descending, up_to(99)).unwrap().entries, reversed);
    let range = KeyRange { first: Some(Bytes::from_static(&[1])), last: Some(Bytes::from_static(&[4])) };
    let within: Vec<_> =
        expected.iter().filter(|(key, _)| *key >= [1][..] && *key < [4][..]).cloned().collect();
    for limit in [1, 2, 99] {
        let found = access.scan(id, &range, ScanDirection::Ascending, up_to(limit)).unwrap().entries;
        assert_eq!(found, within[..within.len().min(limit)]);
    }
    for key in 0..6u8 {
        let value = expected.iter().find(|(of, _)| *of == [key][..]).map(|(_, value)| value.clone());
        assert_eq!(access.get(id, &[key]).unwrap(), value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_state_is_what_a_plain_map_is(deeds in proptest::collection::vec(deed(), 1..120)) {
        let mut world = World::new();
        for deed in &deeds {
            world.act(deed);
            world.check();
        }
    }
}
