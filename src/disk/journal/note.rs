//! The journal's note, `journal/replay-from`: from which entry and which file on a replay begins,
//! the directory's secret, and whether it was closed. Replaced atomically; knows nothing of entries.
//!
//! `first entry u64 | first file u64 | salt u64 | 1 if closed u8 | CRC-32C of these u32`, big-endian.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::disk::atomic;
use crate::disk::raw::RawFiles;
use crate::disk::{DiskError, OpenMode};

const PATH: &str = "journal/replay-from";
const PATH_BESIDE: &str = "journal/replay-from.new";
const BYTES: usize = 8 + 8 + 8 + 1 + 4;

/// How the last run over a data directory ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::disk) enum Ended {
    /// Everything it left is durable.
    Clean,
    /// It runs, or it was killed: what can be read may be in the page cache only.
    Unclean,
}

/// Where a replay begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::disk) struct Note {
    /// Entries before this one are in their files for good.
    pub(in crate::disk) replay_from: u64,
    /// Journal files before this one hold nothing else.
    pub(in crate::disk) first_file: u64,
    /// Goes into every file's tag, so that a client cannot write bytes that read as entries.
    pub(in crate::disk) salt: u64,
    pub(in crate::disk) ended: Ended,
}

impl Note {
    /// A new data directory's note.
    pub(super) fn first(raw: &RawFiles) -> Note {
        let salt = match raw {
            RawFiles::Os(_) => RandomState::new().build_hasher().finish(),
            // The same calls must leave the same bytes.
            RawFiles::Sim(_) => 0x7469_6465_6D69_6C6C,
        };
        Note { replay_from: 1, first_file: 1, salt, ended: Ended::Clean }
    }

    pub(super) fn read(raw: &RawFiles) -> Result<Option<Note>, DiskError> {
        let failed = |error| DiskError::from_io("read", PATH, error);
        if !raw.exists(PATH).map_err(failed)? {
            return Ok(None);
        }
        let (file, _) = raw.open(PATH, OpenMode::Read).map_err(failed)?;
        let mut bytes = [0; BYTES];
        let read = file.read_at(0, &mut bytes).map_err(failed)?;
        Note::decode(bytes.get(..read).unwrap_or(&[])).map(Some).ok_or_else(|| DiskError::Corrupt {
            path: PATH.to_owned(),
            detail: "its length or checksum is wrong; it says from where the journal is replayed".to_owned(),
        })
    }

    pub(super) fn write(&self, raw: &RawFiles) -> Result<(), DiskError> {
        atomic::write(raw, PATH_BESIDE, PATH, &self.encode())
            .map_err(|failure| DiskError::from_io(failure.step.operation(), PATH, failure.error))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        for number in [self.replay_from, self.first_file, self.salt] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.push(match self.ended {
            Ended::Clean => 1,
            Ended::Unclean => 0,
        });
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Note> {
        let (numbers, crc) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != BYTES || crc32c::crc32c(numbers) != u32::from_be_bytes(*crc) {
            return None;
        }
        let (replay_from, rest) = numbers.split_first_chunk()?;
        let (first_file, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let ended = if rest == [1] { Ended::Clean } else { Ended::Unclean };
        Some(Note {
            replay_from: u64::from_be_bytes(*replay_from).max(1),
            first_file: u64::from_be_bytes(*first_file),
            salt: u64::from_be_bytes(*salt),
            ended,
        })
    }
}
