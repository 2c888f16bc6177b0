//! Which leader epoch began at which offset (Kafka's `LeaderEpochFileCache`, KIP-101 and KIP-279).
//! Only the table; the log writes it to its `leader-epoch-checkpoint`.

use crate::ids::{LeaderEpoch, Offset};

/// Epochs with their first offsets; both grow strictly from entry to entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

/// Whether a call changed the table, so that the checkpoint must be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Changed {
    Yes,
    No,
}

impl LeaderEpochs {
    /// Takes entries from a file; ones that do not grow are dropped with all that they contradict.
    pub(super) fn from_entries(entries: Vec<(LeaderEpoch, Offset)>) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start_offset) in entries {
            let _ = epochs.assign(epoch, start_offset);
        }
        epochs
    }

    pub(super) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    pub(super) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Notes that `epoch` begins at `start_offset`, unless it is the latest already. Entries that
    /// contradict it (a later or equal epoch, or a later or equal start) go.
    pub(super) fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> Changed {
        if self.latest() == Some(epoch) {
            return Changed::No;
        }
        self.entries.retain(|(old, start)| *old < epoch && *start < start_offset);
        self.entries.push((epoch, start_offset));
        Changed::Yes
    }

    /// Forgets epochs that begin after the log's end. One that begins right there stays: its leader
    /// just has not written yet.
    pub(super) fn truncate_to_end(&mut self, log_end_offset: Offset) -> Changed {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start <= log_end_offset);
        if self.entries.len() == before { Changed::No } else { Changed::Yes }
    }

    /// Forgets epochs that end before the log's start; the one that the start lies in begins there.
    pub(super) fn truncate_to_start(&mut self, log_start_offset: Offset) -> Changed {
        let below = self.entries.partition_point(|(_, start)| *start <= log_start_offset);
        let Some(last_below) = below.checked_sub(1) else { return Changed::No };
        self.entries.drain(..last_below);
        match self.entries.first_mut() {
            Some((_, start)) if *start < log_start_offset => {
                *start = log_start_offset;
                Changed::Yes
            }
            Some(_) | None if last_below > 0 => Changed::Yes,
            Some(_) | None => Changed::No,
        }
    }

    /// Where the data of `epoch` ends, as OffsetsForLeaderEpoch answers it: the largest epoch that
    /// is not above `epoch`, and the start of the next one. `None` if the epoch is not known here.
    pub(super) fn end_offset_for(
        &self,
        epoch: LeaderEpoch,
        log_end_offset: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some((epoch, log_end_offset));
        }
        if epoch > latest {
            return None;
        }
        let higher = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (_, end) = self.entries.get(higher)?;
        let floor = higher.checked_sub(1).and_then(|floor| self.entries.get(floor));
        Some((floor.map_or(epoch, |(known, _)| *known), *end))
    }

    /// The epoch in which the record at `offset` was written.
    pub(super) fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).and_then(|index| self.entries.get(index)).map(|(epoch, _)| *epoch)
    }
}

#[cfg(test)]
mod tests;
