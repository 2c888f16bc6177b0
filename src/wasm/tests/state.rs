//! State, clock and randomness of processors, in both worlds, over stores in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::*;

const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Times and payloads by domain and id.
pub(super) type Timers = BTreeMap<(TimerDomain, Vec<u8>), (i64, Bytes)>;

/// The store `s` in memory, of which nothing expires. The key `panic` panics, `fail` fails.
#[derive(Clone, Default)]
pub(super) struct MemoryState {
    entries: Arc<Mutex<BTreeMap<Vec<u8>, Bytes>>>,
    expires: Arc<Mutex<Vec<i64>>>,
    pub(super) timers: Arc<Mutex<Timers>>,
    bytes_max: Option<usize>,
    /// The number that the store has in this call.
    number: u32,
    /// The store's name, if it is not `s`.
    pub(super) name: Option<&'static str>,
}

impl MemoryState {
    fn value(&self, key: &str) -> Option<Bytes> {
        self.entries.lock().get(key.as_bytes()).cloned()
    }

    fn check(&self, store: StoreId, key: &[u8]) -> Result<(), StateError> {
        assert_eq!(store, StoreId(self.number), "the store of another call");
        match key {
            b"panic" => panic!("the store has a bug"),
            b"fail" => Err(StateError::Failed("no disk".to_owned())),
            _ if key.is_empty() || key.len() > KEY_BYTES_MAX => {
                Err(StateError::KeySize { bytes: key.len(), bytes_max: KEY_BYTES_MAX })
            }
            _ => Ok(()),
        }
    }
}

impl StateAccess for MemoryState {
    fn open(&mut self, name: &str) -> Result<StoreId, StateError> {
        let is_known = name == self.name.unwrap_or("s");
        is_known.then_some(StoreId(self.number)).ok_or_else(|| StateError::UnknownStore(name.to_owned()))
    }

    fn get(&mut self, store: StoreId, key: &[u8]) -> Result<Option<Bytes>, StateError> {
        self.check(store, key)?;
        Ok(self.entries.lock().get(key).cloned())
    }

    fn put(
        &mut self,
        store: StoreId,
        key: &[u8],
        value: &[u8],
        expires: Option<i64>,
    ) -> Result<(), StateError> {
        self.check(store, key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(StateError::ValueSize { bytes: value.len(), bytes_max: VALUE_BYTES_MAX });
        }
        let mut entries = self.entries.lock();
        if let Some(bytes_max) = self.bytes_max.filter(|bytes_max| entries.len() * 1000 >= *bytes_max) {
            return Err(StateError::Full { what: "the state", bytes_max: bytes_max as u64 });
        }
        entries.insert(key.to_vec(), Bytes::copy_from_slice(value));
        self.expires.lock().extend(expires);
        Ok(())
    }

    fn delete(&mut self, store: StoreId, key: &[u8]) -> Result<(), StateError> {
        self.check(store, key)?;
        self.entries.lock().remove(key);
        Ok(())
    }

    fn scan(
        &mut self,
        store: StoreId,
        range: &KeyRange,
        direction: ScanDirection,
        limits: PageLimits,
    ) -> Result<Page, StateError> {
        self.check(store, b"k")?;
        let KeyRange { first, last } = range;
        if matches!((first, last), (Some(first), Some(last)) if first >= last) {
            return Ok(Page::default());
        }
        let bounds = (
            first.as_deref().map_or(Bound::Unbounded, Bound::Included),
            last.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        );
        let entries = self.entries.lock();
        let owned = |(key, value): (&Vec<u8>, &Bytes)| (Bytes::copy_from_slice(key), value.clone());
        let range = entries.range::<[u8], _>(bounds).map(owned);
        Ok(match direction {
            ScanDirection::Ascending => page(range, limits),
            ScanDirection::Descending => page(range.rev(), limits),
        })
    }

    fn set_timer(
        &mut self,
        domain: TimerDomain,
        id: &[u8],
        at: i64,
        payload: &[u8],
    ) -> Result<(), StateError> {
        if id == b"fail" {
            return Err(StateError::TimersFull { timers_max: 3 });
        }
        let payload = Bytes::copy_from_slice(payload);
        self.timers.lock().insert((domain, id.to_vec()), (at, payload));
        Ok(())
    }

    fn cancel_timer(&mut self, domain: TimerDomain, id: &[u8]) -> Result<bool, StateError> {
        Ok(self.timers.lock().remove(&(domain, id.to_vec())).is_some())
    }

    fn end_timers(&mut self) {
        unreachable!("there is no chain here");
    }
}

fn page(entries: impl Iterator<Item = (Bytes, Bytes)>, limits: PageLimits) -> Page {
    let mut page = Page::default();
    let mut bytes = 0;
    for (key, value) in entries {
        bytes += key.len() + value.len();
        page.more = page.entries.len() == limits.entries_max
            || (bytes > limits.bytes_max && !page.entries.is_empty());
        if page.more {
            break;
        }
        page.entries.push((key, value));
    }
    page
}

pub(super) fn around(state: &MemoryState) -> Surroundings {
    Surroundings { state: Box::new(state.clone()), now: 1_700_000_000_123, stream_time: Some(41), seed: 7 }
}

/// What a guest answers to commands, one a record.
fn obeyed(
    instance: &mut dyn ProcessorInstance,
    commands: &[&str],
    surroundings: &mut Surroundings,
) -> Result<Vec<String>, ProcessFault> {
    let output = instance.process(&batch(commands), surroundings)?;
    let text = |record: OutputRecord<'_>| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    Ok(output.iter().map(text).collect())
}

/// What both worlds answer to commands, each with a state of its own.
#[track_caller]
fn answers(commands: &[&str]) -> Vec<String> {
    let fixture = Fixture::new();
    let [flat, typed] = BOTH.map(|name| {
        let mut instance = fixture.behaving(name, "state");
        obeyed(instance.as_mut(), commands, &mut around(&MemoryState::default())).unwrap()
    });
    assert_eq!(flat, typed);
    flat
}

/// The fault of a command in both worlds: of an instance that is dead then, while the state has what it has written.
#[track_caller]
fn fault(command: &str, state: impl Fn() -> MemoryState) -> ProcessFault {
    let fixture = Fixture::new();
    let [flat, typed] = BOTH.map(|name| {
        let mut options = fixture.options("state");
        options.limits.batch_time_max = Duration::from_millis(300);
        let mut instance = fixture.instance(name, options).unwrap();
        let (state, commands) = (state(), ["put before it", command]);
        let mut surroundings = around(&state);
        let fault = obeyed(instance.as_mut(), &commands, &mut surroundings).unwrap_err();
        assert!(!fault.instance_survives(), "{fault}");
        assert_eq!(obeyed(instance.as_mut(), &["get k"], &mut surroundings), Err(ProcessFault::Dead));
        assert_eq!(state.value("before"), Some(Bytes::from("it")));
        let store = surroundings.state.open("s").unwrap();
        let got = surroundings.state.get(store, b"before").unwrap();
        assert_eq!(got, Some(Bytes::from("it")), "the state is given back");
        fault
    });
    assert_eq!(flat.kind(), typed.kind());
    flat
}

#[test]
fn a_store_does_what_it_is_told_in_both_worlds() {
    let script = [
        ("get k", "-"),
        ("put k v", "done"),
        ("get k", "v"),
        ("put-until a 1 99", "done"),
        ("get-many a k x", "1 v -"),
        ("scan - -", "a=1 k=v"),
        ("scan-back - -", "k=v a=1"),
        ("scan b z", "k=v"),
        ("scan - k", "a=1"),
        ("scan k a", ""),
        ("delete k", "done"),
        ("get k", "-"),
        ("add n 5", "5"),
        ("add n -7", "-2"),
        ("handles-in-turn 1000", "done"),
        ("scan a b", "a=1"),
    ];
    let (commands, expected): (Vec<_>, Vec<_>) = script.into_iter().unzip();
    assert_eq!(answers(&commands), expected);
}

#[test]
fn what_a_call_writes_is_seen_by_the_next_and_expiry_reaches_the_store() {
    let fixture = Fixture::new();
    for name in BOTH {
        let mut instance = fixture.behaving(name, "state");
        let mut state = MemoryState::default();
        obeyed(instance.as_mut(), &["put k 1", "put-until e 2 -5"], &mut around(&state)).unwrap();
        // The guest keeps its handle; the store has another number now.
        state.number = 3;
        assert_eq!(obeyed(instance.as_mut(), &["get k"], &mut around(&state)).unwrap(), ["1"]);
        assert_eq!(*state.expires.lock(), [-5]);
    }
}

#[test]
fn long_ranges_and_large_values_come_in_pages() {
    assert_eq!(answers(&["fill 3000"]), ["3000 3000 3000"]);
    // Three values of 400 KB: two fit into a megabyte. One of a megabyte fits by itself.
    assert_eq!(answers(&["fill-large 3 400000"]), ["2+ 1+ 2 of 3"]);
    assert_eq!(answers(&["fill-large 3 1048576"]), ["1+ 1+ 1 of 3"]);
    assert_eq!(answers(&["fill-large 1 1048576"]), ["1 1 1 of 1"]);
}

#[test]
fn a_refusal_of_the_store_ends_the_call_and_the_instance() {
    let of = |command| match fault(command, MemoryState::default) {
        ProcessFault::State(error) => error,
        other => panic!("{command}: {other}"),
    };
    assert_eq!(of("other nowhere"), StateError::UnknownStore("nowhere".to_owned()));
    assert_eq!(of("get "), StateError::KeySize { bytes: 0, bytes_max: KEY_BYTES_MAX });
    let long = format!("put {} v", "k".repeat(65));
    assert_eq!(of(&long), StateError::KeySize { bytes: 65, bytes_max: KEY_BYTES_MAX });
    let too_large = StateError::ValueSize { bytes: 1_048_577, bytes_max: VALUE_BYTES_MAX };
    assert_eq!(of("put-value 1048577"), too_large);
    assert_eq!(of("add before 1"), StateError::NotACounter(2));
    assert_eq!(of("get-many k fail"), StateError::Failed("no disk".to_owned()));
    let text = fault("other nowhere", MemoryState::default);
    assert_eq!(text.kind(), "state");
    assert!(text.to_string().contains("there is no state store \"nowhere\""), "{text}");
}

#[test]
fn writing_without_end_stops_when_the_state_is_full_or_time_is_up() {
    let full = fault("forever", || MemoryState { bytes_max: Some(100_000), ..MemoryState::default() });
    assert_eq!(full.kind(), "state-full");
    assert!(full.to_string().contains("the state is full: 100000 bytes"), "{full}");
    let late = fault("forever", MemoryState::default);
    assert_eq!(late, ProcessFault::Timeout { after: Duration::from_millis(300) });
}

#[test]
fn more_than_a_call_may_copy_does_not_reach_the_store() {
    let mut flat = Fixture::new().behaving("test-guest-flat", "state");
    let mut surroundings = around(&MemoryState::default());
    let fault = obeyed(flat.as_mut(), &["put-value 3000000"], &mut surroundings).unwrap_err();
    let words = "it hands more than 1048576 bytes to the broker at once";
    assert_eq!(fault, ProcessFault::BadOutput(words.to_owned()));
}

#[test]
fn handles_that_are_gone_or_too_many_are_traps() {
    let gone = fault("after-drop", MemoryState::default);
    assert!(matches!(&gone, ProcessFault::Trap { message, .. } if message.contains("handle")), "{gone}");
    let many = fault("handles 257", MemoryState::default);
    assert!(
        matches!(&many, ProcessFault::Trap { message, .. } if message == "it holds 256 handles of stores; drop some"),
        "{many}"
    );
}

#[test]
fn nothing_is_there_in_init() {
    let fixture = Fixture::new();
    for name in BOTH {
        for interface in ["state", "clock", "random", "timers"] {
            let refused = fixture.instance(name, fixture.options(&format!("{interface}-in-init")));
            let refused = refused.map(|_| ()).unwrap_err().to_string();
            let words = format!("it calls `{interface}` outside of `process`");
            assert!(refused.contains(&words), "{refused}");
        }
    }
}

#[test]
fn clock_and_randomness_are_those_of_the_surroundings() {
    let fixture = Fixture::new();
    let commands = ["clock", "random", "clock", "random"];
    // SplitMix64 from 7 on: a promise of the contract.
    let numbers =
        ["[7191089600892374487, 309689372594955804]", "[16616101746815609346, 10753165928301472203]"];
    let expected = ["1700000000123 Some(41)", numbers[0], "1700000000123 Some(41)", numbers[1]];
    for name in BOTH {
        let mut instance = fixture.behaving(name, "state");
        let mut surroundings = around(&MemoryState::default());
        for _ in 0..2 {
            assert_eq!(obeyed(instance.as_mut(), &commands, &mut surroundings).unwrap(), expected);
        }
        let none = obeyed(instance.as_mut(), &commands, &mut Surroundings::none()).unwrap();
        assert_eq!(none[0], "0 None");
        assert_ne!(none[1], expected[1]);
    }
}

#[test]
fn wasis_clock_and_randomness_go_along() {
    let fixture = Fixture::new();
    for name in with_wasi() {
        let mut instance = fixture.behaving(name, "state");
        let mut call = |seed| {
            let mut surroundings = Surroundings { seed, ..around(&MemoryState::default()) };
            obeyed(instance.as_mut(), &["wasi"], &mut surroundings).unwrap().remove(0)
        };
        let (first, second, again) = (call(1), call(2), call(1));
        assert!(first.starts_with("1700000000123 ["), "{first}");
        assert_ne!(first, second);
        assert_eq!(first, again);
    }
}

#[test]
fn a_store_that_panics_takes_its_instance_along_and_nothing_else() {
    let fixture = Fixture::new();
    for name in BOTH {
        let mut other = fixture.behaving(name, "state");
        let mut instance = fixture.behaving(name, "state");
        let state = MemoryState::default();
        let mut surroundings = around(&state);
        let call = std::panic::AssertUnwindSafe(|| {
            obeyed(instance.as_mut(), &["put k v", "get panic"], &mut surroundings)
        });
        std::panic::catch_unwind(call).unwrap_err();
        assert_eq!(surroundings.state.open("s"), Ok(StoreId(0)), "the state is given back");
        assert_eq!(obeyed(instance.as_mut(), &["get k"], &mut surroundings), Err(ProcessFault::Dead));
        assert_eq!(obeyed(other.as_mut(), &["get k"], &mut around(&state)).unwrap(), ["v"]);
    }
}

#[test]
fn a_guest_that_refuses_a_record_lives_on() {
    let fixture = Fixture::new();
    for name in BOTH {
        let mut instance = fixture.behaving(name, "state");
        let mut surroundings = around(&MemoryState::default());
        let fault = obeyed(instance.as_mut(), &["put k v", "what?"], &mut surroundings).unwrap_err();
        assert!(matches!(fault, ProcessFault::Record { index: 1, .. }), "{fault}");
        // What it has written is for the caller to take back.
        assert_eq!(obeyed(instance.as_mut(), &["get k"], &mut surroundings).unwrap(), ["v"]);
    }
}

#[test]
fn the_examples_with_state_run() {
    let fixture = Fixture::new();
    let mut options = fixture.options("");
    options.config = owned(&[("store", "s")]);
    let mut counts = fixture.instance("word-count", options.clone()).unwrap();
    let mut surroundings = around(&MemoryState::default());
    let told = obeyed(counts.as_mut(), &["a rose is a rose", "is a rose"], &mut surroundings).unwrap();
    assert_eq!(told, ["2", "1", "2", "3", "2", "3"]);
    let mut once = fixture.instance("deduplicate", options).unwrap();
    let state = MemoryState::default();
    assert_eq!(obeyed(once.as_mut(), &["x", "y"], &mut around(&state)).unwrap(), ["x", "y"]);
    // The same keys again, one of them new.
    assert_eq!(obeyed(once.as_mut(), &["x", "y", "z"], &mut around(&state)).unwrap(), ["z"]);
    assert_eq!(*state.expires.lock(), [1_700_000_600_000, 1_700_000_600_010, 1_700_000_600_020]);
}

/// Timers that are due, as the task hands them over.
fn due(timers: &[(&str, i64, &str)]) -> InputBatch {
    let mut records = Vec::new();
    for (index, (id, at, payload)) in (0i64..).zip(timers) {
        let mut body = vec![0];
        put_varint(&mut body, *at);
        put_varint(&mut body, index);
        put_field(&mut body, Some(id.as_bytes()));
        put_field(&mut body, Some(payload.as_bytes()));
        put_varint(&mut body, 0);
        put_varint(&mut records, i64::try_from(body.len()).unwrap());
        records.extend_from_slice(&body);
    }
    let chunk = InputChunk {
        base_offset: Offset::ZERO,
        base_timestamp: 0,
        append_time: None,
        record_count: u32::try_from(timers.len()).unwrap(),
        records: records.into(),
    };
    InputBatch { attempt: 2, ..batch_of(vec![chunk]) }
}

#[test]
fn timers_are_set_cancelled_and_fired_in_both_worlds() {
    let fixture = Fixture::new();
    for name in BOTH {
        let state = MemoryState::default();
        let mut surroundings = around(&state);
        let mut instance = fixture.behaving(name, "state");
        let commands = [
            "timer event a 10 x",
            "timer event a 20 y",
            "timer processing a -7 z",
            "timer event b 5 w",
            "cancel event b",
            "cancel event b",
        ];
        let told = obeyed(instance.as_mut(), &commands, &mut surroundings).unwrap();
        assert_eq!(told, ["done", "done", "done", "done", "true", "false"]);
        let expected = [
            ((TimerDomain::Event, b"a".to_vec()), (20, Bytes::from_static(b"y"))),
            ((TimerDomain::Processing, b"a".to_vec()), (0, Bytes::from_static(b"z"))),
        ];
        assert_eq!(*state.timers.lock(), BTreeMap::from(expected));
        let batch = due(&[("a", 20, "y"), ("c", 21, "again")]);
        let fired = instance.on_timers(TimerDomain::Event, &batch, &mut surroundings).unwrap();
        let fired: Vec<_> = fired
            .iter()
            .map(|record| (String::from_utf8_lossy(record.value.unwrap()).into_owned(), record.source_index))
            .collect();
        let now = "1700000000123 Some(41)";
        let expected = [format!("EventTime 20 a y 2 {now}"), format!("EventTime 21 c again 2 {now}")];
        assert_eq!(fired, expected.into_iter().zip(0..).collect::<Vec<_>>(), "{name}");
        let again = state.timers.lock().get(&(TimerDomain::Event, b"c".to_vec())).cloned();
        assert_eq!(again, Some((22, Bytes::from_static(b"last"))));
    }
}

#[test]
fn a_timer_that_fails_is_named_and_one_that_traps_ends_the_instance() {
    let fixture = Fixture::new();
    for name in BOTH {
        let mut instance = fixture.behaving(name, "state");
        let mut fire = |payload: &str| {
            let batch = due(&[("a", 1, "x"), ("b", 2, payload)]);
            instance
                .on_timers(TimerDomain::Processing, &batch, &mut around(&MemoryState::default()))
                .unwrap_err()
        };
        let rejected = fire("bad");
        assert!(
            matches!(&rejected, ProcessFault::Record { index: 1, message, .. } if message == "bad timer")
        );
        let trapped = fire("panic");
        assert!(trapped.to_string().contains("the timer is not to my taste"), "{trapped}");
        assert_eq!(fire("x"), ProcessFault::Dead);
        let mut other = fixture.behaving(name, "state");
        let full = obeyed(other.as_mut(), &["timer event fail 1 x"], &mut around(&MemoryState::default()));
        assert_eq!(full, Err(ProcessFault::State(StateError::TimersFull { timers_max: 3 })));
        // A processor that knows no timers says so.
        let mut words = fixture.instance("word-count", fixture.options("")).unwrap();
        let unasked = words.on_timers(TimerDomain::Event, &due(&[("t", 1, "x")]), &mut Surroundings::none());
        let unasked = unasked.unwrap_err().to_string();
        assert!(unasked.contains("no `on_timer` is there for the timer `t`"), "{unasked}");
    }
}
