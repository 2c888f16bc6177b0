use super::*;
use crate::testing::{self, TestRecord};
use crate::{Context, Error, Output, Processor, Record, clock, random};

fn keys(scan: Scan<'_>) -> Vec<String> {
    scan.map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

fn filled(name: &str, keys: &[&str]) -> Store {
    let store = Store::open(name);
    for key in keys {
        store.put(key, format!("value of {key}"));
    }
    store
}

#[test]
fn a_store_gives_what_was_put_into_it_and_no_other_store_does() {
    testing::in_call(|| {
        let (store, same, other) = (Store::open("a"), Store::open("a"), Store::open("b"));
        store.put("k", "v");
        assert_eq!((same.get("k"), other.get("k")), (Some(b"v".to_vec()), None));
        store.put(b"k", vec![1, 2]);
        assert_eq!(store.get_many(&["k", "x", "k"]), [Some(vec![1, 2]), None, Some(vec![1, 2])]);
        store.delete("k");
        assert_eq!(same.get("k"), None);
        assert_eq!((store.add("n", 5), store.add("n", -7), other.add("n", i64::MAX)), (5, -2, i64::MAX));
        assert_eq!(other.add("n", 1), i64::MIN);
        assert_eq!(store.get("n"), Some((-2i64).to_le_bytes().to_vec()));
    });
}

#[test]
fn scans_go_both_ways_within_their_range() {
    testing::in_call(|| {
        let store = filled("s", &["a", "b", "ba", "bb", "c"]);
        assert_eq!(keys(store.scan(..)), ["a", "b", "ba", "bb", "c"]);
        assert_eq!(keys(store.scan("b".."c")), ["b", "ba", "bb"]);
        assert_eq!(keys(store.scan("b"..="c")), ["b", "ba", "bb", "c"]);
        assert_eq!(keys(store.scan(.."b")), ["a"]);
        assert_eq!(keys(store.scan(..="b")), ["a", "b"]);
        assert_eq!(keys(store.scan("bb"..)), ["bb", "c"]);
        assert_eq!(keys(store.scan("c".."a")), [""; 0]);
        assert_eq!(keys(store.scan(KeyRange::prefix("b")).descending()), ["bb", "ba", "b"]);
        assert_eq!(keys(store.scan(..).descending().limit(2)), ["c", "bb"]);
        assert_eq!(keys(store.scan(..).limit(0)), [""; 0]);
        assert_eq!(store.scan("ba"..).next(), Some((b"ba".to_vec(), b"value of ba".to_vec())));
    });
}

#[test]
fn a_prefix_ends_before_the_next_key_that_does_not_begin_so() {
    let last = |prefix: &[u8]| KeyRange::prefix(prefix).last;
    assert_eq!(last(b"ab"), Some(b"ac".to_vec()));
    assert_eq!(last(&[1, 255, 255]), Some(vec![2]));
    assert_eq!((last(&[255]), last(b"")), (None, None));
}

#[test]
fn long_scans_and_large_values_come_page_by_page() {
    testing::in_call(|| {
        let store = Store::open("long");
        let expected: Vec<String> = (0..3000).map(|number| format!("{number:04}")).collect();
        for key in &expected {
            store.put(key, "");
        }
        assert_eq!(keys(store.scan(..)), expected);
        assert!(keys(store.scan(..).descending()).iter().eq(expected.iter().rev()));
        assert_eq!(keys(store.scan(..).limit(2000)), expected[..2000]);
        assert!(store.get_many(&expected).iter().all(Option::is_some));
        let large = Store::open("large");
        for key in ["a", "b", "c"] {
            large.put(key, vec![7; 700 << 10]);
        }
        assert_eq!(keys(large.scan(..)), ["a", "b", "c"]);
        assert_eq!(large.get_many(&["a", "b", "x", "c"]).iter().filter(|value| value.is_some()).count(), 3);
    });
}

/// Keeps what a record says for so many milliseconds of stream time, and tells what is left.
struct Keeper(Store);

impl Processor for Keeper {
    fn init(_: &Context) -> Result<Self, Error> {
        Ok(Keeper(Store::open("kept")))
    }

    fn process(&mut self, record: Record<'_>, out: &mut Output) -> Result<(), Error> {
        let left = keys(self.0.scan(..)).join(" ");
        let said = format!("{left} at {:?} {} {}", clock::stream_time(), clock::now(), random::next());
        out.send("left", (), said);
        let milliseconds: i64 = record.value_str()?.parse()?;
        self.0.put_until(record.key_str()?, "", record.timestamp + milliseconds);
        Ok(())
    }
}

#[test]
fn values_expire_by_stream_time_and_a_failed_batch_leaves_nothing() {
    let mut keeper = Keeper::init(&testing::context()).unwrap();
    let at = |timestamp, key, value| TestRecord { timestamp, ..TestRecord::new(key, value) };
    let mut said = |records: &[TestRecord]| {
        let outputs = testing::run(&mut keeper, records).map_err(|(index, _)| index)?;
        Ok::<_, usize>(outputs.last().unwrap().value_str().rsplit_once(' ').unwrap().0.to_owned())
    };
    testing::set_now(77);
    assert_eq!(said(&[at(100, "a", "50")]), Ok(" at None 77".to_owned()));
    assert_eq!(said(&[at(120, "b", "100"), at(90, "c", "1")]), Ok("a b at Some(100) 77".to_owned()));
    assert_eq!(said(&[at(130, "d", "99"), at(900, "e", "no number")]), Err(1));
    assert_eq!(said(&[at(150, "f", "1")]), Ok("a b at Some(120) 77".to_owned()));
    assert_eq!(said(&[at(10, "g", "1")]), Ok("b f at Some(150) 77".to_owned()));
    assert_eq!(said(&[at(10, "h", "1000")]), Ok("b f at Some(150) 77".to_owned()));
}

#[test]
fn a_batch_that_is_tried_again_gets_the_same_numbers_and_the_next_one_others() {
    let mut keeper = Keeper::init(&testing::context()).unwrap();
    let number = |text: &str| text.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
    let mut numbers = || {
        let outputs =
            testing::run(&mut keeper, &[TestRecord::new("k", "1"), TestRecord::new("k", "1")]).unwrap();
        [number(outputs[0].value_str()), number(outputs[1].value_str())]
    };
    testing::set_seed(1);
    let (first, second) = (numbers(), numbers());
    assert!(first[0] != first[1] && first[0] != second[0]);
    testing::set_seed(1);
    assert_eq!(numbers(), first);
}

#[test]
#[should_panic(expected = "`state` is there only while a batch is processed")]
fn there_is_no_state_outside_of_a_batch() {
    Store::open("s").get("k");
}

#[test]
#[should_panic(expected = "a state key is empty")]
fn no_key_is_empty() {
    testing::in_call(|| Store::open("s").put("", "v"));
}

#[cfg(feature = "map")]
mod maps {
    use serde::{Deserialize, Serialize};

    use crate::{Map, Store, testing};

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Old {
        count: u32,
    }

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct New {
        #[serde(default)]
        name: String,
        count: u32,
    }

    #[test]
    fn a_map_keeps_the_order_of_its_keys_and_gives_types_back() {
        testing::in_call(|| {
            let map = Map::<(String, i64), Old>::open("map");
            for (name, number) in [("b", -1i64), ("a", 7), ("a", -7), ("ab", 0)] {
                map.put(&(name, number), &Old { count: 1 }).unwrap();
            }
            let all: Vec<_> = map.scan().map(|entry| entry.unwrap().0).collect();
            let expected = [("a", -7), ("a", 7), ("ab", 0), ("b", -1)];
            assert!(all.iter().map(|(name, number)| (name.as_str(), *number)).eq(expected));
            assert_eq!(map.scan_prefix("a").count(), 2);
            assert_eq!(map.scan_between(&("a", 0i64), &("b", -1i64)).count(), 2);
            let last = map.scan().descending().limit(1).next().unwrap().unwrap();
            assert_eq!(last, (("b".to_owned(), -1), Old { count: 1 }));
            map.delete(&("b", -1i64));
            assert_eq!(map.get(&("b", -1i64)), Ok(None));
            map.put_until(&("b", -1i64), &Old { count: 2 }, 1).unwrap();
            assert_eq!(map.get(&("b", -1i64)), Ok(Some(Old { count: 2 })));
            map.put(&("", 0i64), &Old { count: 3 }).unwrap();
            assert_eq!(map.get(&(String::new(), 0i64)), Ok(Some(Old { count: 3 })));
        });
    }

    #[test]
    fn a_later_version_may_add_fields_and_other_types_are_told() {
        testing::in_call(|| {
            Map::<u8, Old>::open("map").put(&1u8, &Old { count: 9 }).unwrap();
            let new = Map::<u8, New>::open("map").get(&1u8);
            assert_eq!(new, Ok(Some(New { name: String::new(), count: 9 })));
            let wrong = Map::<u8, String>::open("map").get(&1u8).unwrap_err();
            assert!(wrong.message.contains("a value in the store `map` is of another type"), "{wrong}");
            let wrong = Map::<u16, Old>::open("map").scan().next().unwrap().unwrap_err();
            assert!(wrong.message.contains("a key in the store `map` is of another type"), "{wrong}");
            Store::open("map").put([2, 2], "x");
            assert!(Map::<u8, Old>::open("map").scan().nth(1).unwrap().is_err());
        });
    }
}
