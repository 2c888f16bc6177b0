//! Ranges of keys, and reading them page by page.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use std::vec;

use crate::bindings::flat_world::tidemill::plugin::state as wit;
use crate::state::{PAGE_ENTRIES_MAX, Store};

/// How many entries the first page of a scan has, if nobody says how many are wanted. Each further page has four times
/// as many, up to what the broker gives.
const FIRST_PAGE_ENTRIES: usize = 16;

/// Keys from `first` (inclusive) to `last` (exclusive), compared as bytes; none is no bound. Rust's ranges become one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it begins.
    pub first: Option<Vec<u8>>,
    /// Where it ends.
    pub last: Option<Vec<u8>>,
}

impl KeyRange {
    /// All keys that begin with these bytes.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> KeyRange {
        let first = prefix.as_ref().to_vec();
        // The next key that does not begin so has its last byte below 255 raised, and nothing behind it.
        let mut last = first.clone();
        while last.pop_if(|byte| *byte == u8::MAX).is_some() {}
        let last = last.pop().map(|byte| {
            last.push(byte + 1);
            last
        });
        KeyRange { first: Some(first), last }
    }
}

/// The key that comes directly behind this one.
fn behind(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

fn bytes(key: impl AsRef<[u8]>) -> Vec<u8> {
    key.as_ref().to_vec()
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> KeyRange {
        KeyRange::default()
    }
}

impl<K: AsRef<[u8]>> From<Range<K>> for KeyRange {
    fn from(range: Range<K>) -> KeyRange {
        KeyRange { first: Some(bytes(range.start)), last: Some(bytes(range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeFrom<K>> for KeyRange {
    fn from(range: RangeFrom<K>) -> KeyRange {
        KeyRange { first: Some(bytes(range.start)), last: None }
    }
}

impl<K: AsRef<[u8]>> From<RangeTo<K>> for KeyRange {
    fn from(range: RangeTo<K>) -> KeyRange {
        KeyRange { first: None, last: Some(bytes(range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeInclusive<K>> for KeyRange {
    fn from(range: RangeInclusive<K>) -> KeyRange {
        let (first, last) = range.into_inner();
        KeyRange { first: Some(bytes(first)), last: Some(behind(bytes(last))) }
    }
}

impl<K: AsRef<[u8]>> From<RangeToInclusive<K>> for KeyRange {
    fn from(range: RangeToInclusive<K>) -> KeyRange {
        KeyRange { first: None, last: Some(behind(bytes(range.end))) }
    }
}

/// The entries of a range, read page by page as they are asked for. Of what is written meanwhile, it shows what lies
/// behind the page that it is at.
pub struct Scan<'a> {
    store: &'a Store,
    /// What is left of the range; none if nothing is.
    rest: Option<wit::KeyRange>,
    direction: wit::Direction,
    /// How many entries are still wanted.
    wanted: usize,
    page_entries: usize,
    page: vec::IntoIter<wit::Entry>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(store: &'a Store, range: KeyRange) -> Scan<'a> {
        Scan {
            store,
            rest: Some(wit::KeyRange { first: range.first, last: range.last }),
            direction: wit::Direction::Ascending,
            wanted: usize::MAX,
            page_entries: FIRST_PAGE_ENTRIES,
            page: Vec::new().into_iter(),
        }
    }

    /// By falling keys instead. To be said before the first entry is taken.
    pub fn descending(mut self) -> Scan<'a> {
        self.direction = wit::Direction::Descending;
        self
    }

    /// Only the first entries: like `take`, and reads no more than those. To be said before the first entry is taken.
    pub fn limit(mut self, entries: usize) -> Scan<'a> {
        self.wanted = entries;
        self.page_entries = entries.clamp(1, PAGE_ENTRIES_MAX);
        self
    }

    fn turn_page(&mut self) -> Option<()> {
        let range = self.rest.take()?;
        let limit = self.wanted.min(self.page_entries) as u32;
        let page = self.store.handle().scan(&range, self.direction, limit);
        if let Some(end) = page.entries.last().filter(|_| page.more) {
            let key = end.key.clone();
            self.rest = Some(match self.direction {
                wit::Direction::Ascending => wit::KeyRange { first: Some(behind(key)), last: range.last },
                wit::Direction::Descending => wit::KeyRange { first: range.first, last: Some(key) },
            });
        }
        self.page_entries = (self.page_entries * 4).min(PAGE_ENTRIES_MAX);
        self.page = page.entries.into_iter();
        Some(())
    }
}

impl Iterator for Scan<'_> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.wanted == 0 {
            return None;
        }
        if self.page.len() == 0 {
            self.turn_page()?;
        }
        let wit::Entry { key, value } = self.page.next()?;
        self.wanted -= 1;
        Some((key, value))
    }
}
