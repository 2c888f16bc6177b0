//! Compaction of one partition: what needs its lock, and nothing else under it. A pass reads and
//! writes without the lock, and takes it for moments: to begin, to make its files, to exchange segments.

use super::{Partition, PartitionError, State};
use crate::clock::Timestamp;
use crate::ids::Offset;
use crate::log::{Cleanable, CleaningError, CleaningRequest, LogError};

/// What a pass did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CleaningReport {
    /// Up to where the log is clean.
    pub cleaned_to: Offset,
    /// Distinct keys of what was dirty.
    pub keys: usize,
    /// Bytes of the segments that were replaced.
    pub bytes_before: u64,
    /// Bytes of what replaced them.
    pub bytes_after: u64,
}

/// How a pass is done.
#[derive(Clone, Copy)]
pub struct CleaningLimits<'a> {
    /// The most bytes that the keys may take.
    pub key_map_bytes_max: usize,
    /// The present moment.
    pub now: Timestamp,
    /// Asked now and then whether to end early.
    pub should_stop: &'a dyn Fn() -> bool,
}

impl Partition {
    /// Where the last pass ended, if there was one.
    pub fn cleaned_to(&self) -> Option<Offset> {
        self.state.lock().cleaned_to
    }

    /// Takes over where the last pass before this start ended.
    pub fn restore_cleaned_to(&self, offset: Offset) {
        self.state.lock().cleaned_to = Some(offset);
    }

    /// Up to where the log is durable in its own files: nothing above is compacted.
    pub fn recovery_point(&self) -> Offset {
        self.state.lock().log.recovery_point()
    }

    /// What can be compacted now, if the topic asks for it and it is worth a pass or due.
    pub fn cleaning_due(&self, now: Timestamp) -> Result<Option<Cleanable>, PartitionError> {
        let mut state = self.running()?;
        if !state.log.config().cleanup_policy.compacts() {
            return Ok(None);
        }
        state.advance(self.disk.durable_position());
        let cleanable = state.log.cleanable(state.cleaning_request(0, now)).map_err(offline)?;
        Ok(Some(cleanable).filter(|cleanable| cleanable.is_due(state.log.config())))
    }

    /// Does one pass; `None` if there was nothing to do.
    pub fn clean(&self, limits: CleaningLimits<'_>) -> Result<Option<CleaningReport>, CleaningError> {
        let begun = {
            let mut state = self.running().map_err(gone)?;
            state.advance(self.disk.durable_position());
            let request = state.cleaning_request(limits.key_map_bytes_max, limits.now);
            state.log.begin_cleaning(request)?
        };
        let Some(mut pass) = begun else { return Ok(None) };
        pass.build_key_map(limits.should_stop)?;
        let cleaned_to = pass.end_offset();
        let mut report = CleaningReport { cleaned_to, keys: pass.key_count(), ..CleaningReport::default() };
        for group in pass.groups() {
            let files = {
                // A stopped partition's directory may be another one's by now.
                let _running = self.running().map_err(gone)?;
                pass.make_files(&group)?
            };
            let Some(cleaned) = pass.copy(&group, files, limits.should_stop)? else { continue };
            let (before, after) = cleaned.bytes();
            let replaced = self.running().map_err(gone)?.log.replace_segments(cleaned)?;
            drop(replaced);
            report.bytes_before += before;
            report.bytes_after += after;
        }
        self.running().map_err(gone)?.cleaned_to = Some(cleaned_to);
        Ok(Some(report))
    }
}

impl State {
    fn cleaning_request(&self, key_map_bytes_max: usize, now: Timestamp) -> CleaningRequest {
        let (high_watermark, cleaned_to) = (self.high_watermark, self.cleaned_to);
        CleaningRequest { high_watermark, cleaned_to, key_map_bytes_max, now }
    }
}

fn offline(error: LogError) -> PartitionError {
    PartitionError::Offline(error.to_string())
}

/// Deleted, or offline: either way there is no log to work on.
fn gone(_: PartitionError) -> CleaningError {
    CleaningError::Overtaken
}
