//! What of a log may be compacted, whether it is worth it, and which segments become one (Kafka's
//! `LogCleanerManager.cleanableOffsets`, `LogToClean` and `Cleaner.groupSegmentsBySize`). Pure.

use std::ops::Range;

use crate::clock::Timestamp;
use crate::ids::Offset;
use crate::log::LogConfig;

/// A closed segment, as far as the decision looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentFacts {
    pub(super) base_offset: Offset,
    /// The next segment's base.
    pub(super) next_offset: Offset,
    pub(super) size: u64,
    /// The larger one of its indexes.
    pub(super) index_bytes: u64,
    /// Its largest timestamp.
    pub(super) newest: Timestamp,
    /// Its first batch's timestamp, where a record may not wait for ever.
    pub(super) oldest: Option<Timestamp>,
}

/// The offsets that bound a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) log_start_offset: Offset,
    pub(super) log_end_offset: Offset,
    /// Below it all transactions are decided.
    pub(super) last_stable_offset: Offset,
    /// Where the last pass ended, as recorded.
    pub(super) cleaned_to: Option<Offset>,
}

/// What of a log can be compacted now.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cleanable {
    /// Below it every key is there once, but for what passes keep on purpose.
    pub first_dirty_offset: Offset,
    /// Where the segments end that may be compacted.
    pub end_offset: Offset,
    /// Bytes of the segments below the first dirty offset.
    pub clean_bytes: u64,
    /// Bytes of those from there to the end.
    pub dirty_bytes: u64,
    /// Whether a record has waited for longer than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// The dirty share, 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        if all == 0 { 0.0 } else { self.dirty_bytes as f64 / all as f64 }
    }

    /// Whether a pass is worth it, or due.
    pub fn is_due(&self, config: &LogConfig) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.dirty_ratio() > config.min_cleanable_dirty_ratio)
    }
}

/// What can be compacted of a log with these closed segments.
pub(super) fn cleanable(
    closed: &[SegmentFacts],
    bounds: Bounds,
    config: &LogConfig,
    now: Timestamp,
) -> Cleanable {
    let valid = bounds.log_start_offset..=bounds.log_end_offset;
    // One that lies ahead of the log was recorded for another; everything is dirty then.
    let first_dirty_offset =
        bounds.cleaned_to.filter(|offset| valid.contains(offset)).unwrap_or(bounds.log_start_offset);
    let is_dirty = |segment: &&SegmentFacts| segment.next_offset > first_dirty_offset;
    let is_too_new = |segment: &SegmentFacts| {
        let age_ms = now.since(segment.newest).as_millis();
        config.min_compaction_lag_ms > 0 && age_ms < u128::from(config.min_compaction_lag_ms)
    };
    let decided = closed.iter().take_while(|segment| segment.next_offset <= bounds.last_stable_offset);
    let ready: Vec<&SegmentFacts> =
        decided.take_while(|segment| !is_dirty(segment) || !is_too_new(segment)).collect();
    let waited_too_long = |segment: &SegmentFacts| match (config.max_compaction_lag_ms, segment.oldest) {
        (Some(lag_ms), Some(oldest)) => now.since(oldest).as_millis() > u128::from(lag_ms),
        (Some(_), None) | (None, _) => false,
    };
    let bytes =
        |segments: &mut dyn Iterator<Item = &SegmentFacts>| segments.map(|segment| segment.size).sum();
    Cleanable {
        first_dirty_offset,
        end_offset: ready.last().map_or(first_dirty_offset, |last| last.next_offset.max(first_dirty_offset)),
        clean_bytes: bytes(&mut ready.iter().copied().filter(|segment| !is_dirty(segment))),
        dirty_bytes: bytes(&mut ready.iter().copied().filter(is_dirty)),
        is_overdue: closed.iter().filter(is_dirty).any(waited_too_long),
    }
}

/// Neighbours that together are no larger than one segment may be, in order; every segment is in one group.
pub(super) fn groups(segments: &[SegmentFacts], config: &LogConfig) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut size, mut index_bytes) = (0, 0);
    for (at, segment) in segments.iter().enumerate() {
        let base = groups.last().and_then(|group| segments.get(group.start)).map(|first| first.base_offset);
        // The last offset must be told relative to the base.
        let near = |base: Offset| segment.next_offset.since(base) <= i64::from(i32::MAX);
        let fits = base.is_some_and(near)
            && size + segment.size <= config.segment_bytes_limit()
            && index_bytes + segment.index_bytes <= config.segment_index_bytes_max;
        match groups.last_mut() {
            Some(group) if fits => {
                group.end = at + 1;
                (size, index_bytes) = (size + segment.size, index_bytes + segment.index_bytes);
            }
            Some(_) | None => {
                groups.push(at..at + 1);
                (size, index_bytes) = (segment.size, segment.index_bytes);
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests;
