//! Reads through layers: the newest change of a key counts, and a deletion hides what lies beneath. Pure: what the
//! cache holds comes in as an iterator.

use super::codec::Schedule;
use super::layer::{Change, Layer};
use crate::plugin::ScanDirection;
use bytes::Bytes;
use std::cmp::Ordering;
use std::iter::Peekable;
use std::ops::Bound;

/// Keys from the first (inclusive) to the last (exclusive).
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub first: &'a [u8],
    pub last: &'a [u8],
}

impl Span<'_> {
    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        self.first >= self.last
    }
}

/// Layers, the newest first.
pub(super) struct View<'a> {
    layers: Vec<&'a Layer>,
}

impl<'a> View<'a> {
    /// A view of these layers, the newest first.
    pub fn new(layers: impl IntoIterator<Item = &'a Layer>) -> View<'a> {
        View { layers: layers.into_iter().collect() }
    }

    /// The newest change of a key; `None` if no layer changes it.
    pub fn newest(&self, key: &[u8]) -> Option<&'a Change> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }

    /// The entries of a span in this order. `base` has those of the cache in the same order.
    pub fn scan<E, B>(&self, span: Span<'_>, direction: ScanDirection, base: B) -> Merge<'a, E, B>
    where
        B: Iterator<Item = Result<(Bytes, Bytes), E>>,
    {
        let range = (Bound::Included(span.first), Bound::Excluded(span.last));
        let sources = if span.is_empty() { &[] } else { &self.layers[..] };
        let sources = sources.iter().map(|layer| {
            let changes = layer.changes().range::<[u8], _>(range);
            let changes: Changes<'a> = match direction {
                ScanDirection::Ascending => Box::new(changes),
                ScanDirection::Descending => Box::new(changes.rev()),
            };
            changes.peekable()
        });
        Merge { sources: sources.collect(), base: base.peekable(), direction }
    }

    /// The first `limit` keys of a schedule that are due up to `until`, by time and key. `base` has those of the
    /// cache in that order.
    pub fn due<E>(
        &self,
        (schedule, until): (Schedule, i64),
        limit: usize,
        base: impl Iterator<Item = Result<(i64, Bytes), E>>,
    ) -> Result<Vec<(i64, Bytes)>, E> {
        let mut found: Vec<(i64, Bytes)> = Vec::new();
        for (above, layer) in self.layers.iter().enumerate() {
            let is_hidden = |key: &Bytes| self.layers[..above].iter().any(|newer| newer.get(key).is_some());
            let of_layer = layer.due(schedule, until).filter(|(_, key)| !is_hidden(key)).take(limit);
            found.extend(of_layer.map(|(time, key)| (time, key.clone())));
        }
        let mut taken = 0;
        for row in base {
            if taken == limit {
                break;
            }
            let (time, key) = row?;
            if time > until {
                break;
            }
            if self.newest(&key).is_none() {
                found.push((time, key));
                taken += 1;
            }
        }
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }
}

type Changes<'a> = Box<dyn Iterator<Item = (&'a Bytes, &'a Change)> + 'a>;

/// What `View::scan` finds.
pub(super) struct Merge<'a, E, B: Iterator<Item = Result<(Bytes, Bytes), E>>> {
    /// The newest first.
    sources: Vec<Peekable<Changes<'a>>>,
    base: Peekable<B>,
    direction: ScanDirection,
}

impl<E, B: Iterator<Item = Result<(Bytes, Bytes), E>>> Merge<'_, E, B> {
    /// The key that comes next in any source.
    fn next_key(&mut self) -> Option<Bytes> {
        let mut next = match self.base.peek() {
            Some(Ok((key, _))) => Some(key.clone()),
            Some(Err(_)) | None => None,
        };
        let before = match self.direction {
            ScanDirection::Ascending => Ordering::Less,
            ScanDirection::Descending => Ordering::Greater,
        };
        for source in &mut self.sources {
            let Some((key, _)) = source.peek() else { continue };
            if next.as_ref().is_none_or(|next| (*key).cmp(next) == before) {
                next = Some((*key).clone());
            }
        }
        next
    }
}

impl<E, B: Iterator<Item = Result<(Bytes, Bytes), E>>> Iterator for Merge<'_, E, B> {
    type Item = Result<(Bytes, Bytes), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Err(error)) = self.base.next_if(Result::is_err) {
                return Some(Err(error));
            }
            let key = self.next_key()?;
            let mut newest: Option<&Change> = None;
            for source in &mut self.sources {
                if let Some((_, change)) = source.next_if(|(of, _)| **of == key) {
                    newest = newest.or(Some(change));
                }
            }
            let is_here = |row: &Result<(Bytes, Bytes), E>| matches!(row, Ok((of, _)) if *of == key);
            let in_base = self.base.next_if(is_here);
            match (newest, in_base) {
                (Some(Change { now: Some(value), .. }), _) => return Some(Ok((key, value.clone()))),
                (Some(Change { now: None, .. }), _) | (None, None) => {}
                (None, Some(row)) => return Some(row),
            }
        }
    }
}

#[cfg(test)]
mod tests;
