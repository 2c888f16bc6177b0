//! Taking batches in again: the same calls as the live path, over what stands in the log.

use super::super::LogError;
use super::super::index_file::Index;
use super::super::leader_epochs::{Changed, LeaderEpochs};
use super::super::producer_state::ProducerStates;
use super::super::segment::Segment;
use super::super::transaction_index::AbortedEntry;
use crate::clock::Timestamp;
use crate::ids::Offset;
use crate::wire::control_record::EndTransactionMarker;
use crate::wire::record_batch::BatchHeader;

/// What is built again from batches.
pub(super) struct Replay {
    pub(super) producers: ProducerStates,
    /// The producers' state holds all that lies below.
    pub(super) from: Offset,
    pub(super) epochs: LeaderEpochs,
    pub(super) epochs_changed: Changed,
    pub(super) now: Timestamp,
}

impl Replay {
    /// Takes one batch in. `aborted` is the transaction index to fill, if that is built again.
    pub(super) fn batch(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTransactionMarker>,
        aborted: Option<&mut Index<AbortedEntry>>,
    ) {
        self.epoch(header);
        if header.base_offset < self.from {
            return;
        }
        match marker {
            Some(marker) => {
                let entry = self.producers.aborted_by(&marker, header.base_offset);
                if let (Some(entry), Some(aborted)) = (entry, aborted) {
                    aborted.push(entry);
                }
                self.producers.apply_marker(&marker, header.base_offset, header.max_timestamp, self.now);
            }
            None if !header.is_producers_own() => {}
            None => self.producers.apply_data(header, self.now),
        }
    }

    /// Takes a segment's batches in by their headers, from `from` on; markers are read whole.
    pub(super) fn headers(&mut self, segment: &Segment) -> Result<(), LogError> {
        let from = self.from.max(segment.base_offset);
        let mut scan = segment.headers(segment.position_before(from)?)?;
        while let Some(batch) = scan.next()? {
            if batch.header.base_offset < self.from {
                continue;
            }
            let marker = if batch.header.is_control {
                let whole = segment.read_batch(&batch)?;
                EndTransactionMarker::from_batch(&whole).map_err(|error| LogError::Corrupt {
                    path: segment.path().to_owned(),
                    detail: format!("the marker at offset {}: {error}", batch.header.base_offset),
                })?
            } else {
                None
            };
            self.batch(&batch.header, marker, None);
        }
        Ok(())
    }

    /// Takes only the leader epochs of a segment in.
    pub(super) fn epochs_of(&mut self, segment: &Segment) -> Result<(), LogError> {
        let mut scan = segment.headers(0)?;
        while let Some(batch) = scan.next()? {
            self.epoch(&batch.header);
        }
        Ok(())
    }

    fn epoch(&mut self, header: &BatchHeader) {
        let Some(epoch) = header.leader_epoch else { return };
        if self.epochs.latest().is_some_and(|latest| epoch <= latest) {
            return;
        }
        match self.epochs.assign(epoch, header.base_offset) {
            Changed::Yes => self.epochs_changed = Changed::Yes,
            Changed::No => {}
        }
    }
}
