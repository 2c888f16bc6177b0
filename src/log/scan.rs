//! Walking a segment's batches: by headers only, for reads and replay, or whole with their CRC, for
//! recovery. Bytes on the disk are hostile: a length is believed only within the file.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::LogError;
use crate::disk::{DiskError, DiskFile};
use crate::wire::record_batch::{BatchHeader, HEADER_BYTES, RecordBatch};

/// A batch's header and where it stands in its segment.
#[derive(Clone, Debug)]
pub(super) struct BatchAt {
    pub(super) header: BatchHeader,
    pub(super) position: u64,
}

impl BatchAt {
    pub(super) fn end(&self) -> u64 {
        self.position + self.header.batch_bytes as u64
    }
}

/// How much one read fetches: some headers of small batches, and little waste for large ones.
const WINDOW_BYTES: usize = 4096;

/// Walks over headers.
pub(super) struct HeaderScan<'a> {
    file: &'a DiskFile,
    path: &'a str,
    range: Range<u64>,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> HeaderScan<'a> {
    pub(super) fn new(file: &'a DiskFile, path: &'a str, range: Range<u64>) -> HeaderScan<'a> {
        HeaderScan { file, path, window_start: range.start, range, window: Vec::new() }
    }

    /// The next batch; none at the end of the range.
    pub(super) fn next(&mut self) -> Result<Option<BatchAt>, LogError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let position = self.range.start;
        let header = match BatchHeader::parse(self.header_bytes()?) {
            Ok(header) => header,
            Err(error) => return Err(self.corrupt(error.to_string())),
        };
        let batch = BatchAt { header, position };
        if batch.end() > self.range.end {
            return Err(self.corrupt("it reaches past the end of the file".to_owned()));
        }
        self.range.start = batch.end();
        Ok(Some(batch))
    }

    fn header_bytes(&mut self) -> Result<&[u8], LogError> {
        let from = self.range.start;
        let have = self.window_start..self.window_start + self.window.len() as u64;
        if !(have.start <= from && from + HEADER_BYTES as u64 <= have.end) {
            let wanted = usize::try_from(self.range.end - from).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.window.resize(wanted, 0);
            let got = self.file.read_at(from, &mut self.window)?;
            self.window.truncate(got);
            self.window_start = from;
        }
        let at = usize::try_from(from - self.window_start).unwrap_or(usize::MAX);
        Ok(self.window.get(at..).unwrap_or_default())
    }

    fn corrupt(&self, reason: String) -> LogError {
        let detail = format!("the batch at byte {}: {reason}", self.range.start);
        LogError::Corrupt { path: self.path.to_owned(), detail }
    }
}

/// How much recovery reads at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Walks over whole batches and checks each.
pub(super) struct BatchScan<'a> {
    file: &'a DiskFile,
    /// Where the next batch begins, and where the file ends.
    range: Range<u64>,
    buffer: BytesMut,
}

/// What stands at a place of a segment.
pub(super) enum Found {
    Batch { batch: RecordBatch, position: u64 },
    Bad { position: u64, reason: String },
    End,
}

impl<'a> BatchScan<'a> {
    pub(super) fn new(file: &'a DiskFile, range: Range<u64>) -> BatchScan<'a> {
        BatchScan { file, range, buffer: BytesMut::new() }
    }

    /// The next batch. After a bad one nothing sensible follows.
    pub(super) fn next(&mut self) -> Result<Found, DiskError> {
        if self.range.is_empty() {
            return Ok(Found::End);
        }
        let position = self.range.start;
        let bad = |reason: String| Ok(Found::Bad { position, reason });
        self.fill(HEADER_BYTES)?;
        let needed = match BatchHeader::parse(&self.buffer) {
            Ok(header) => header.batch_bytes,
            Err(error) => return bad(error.to_string()),
        };
        if needed as u64 > self.range.end - position {
            return bad("it reaches past the end of the file".to_owned());
        }
        self.fill(needed)?;
        if self.buffer.len() < needed {
            return bad("the file ends within it".to_owned());
        }
        match RecordBatch::check(Bytes::copy_from_slice(self.buffer.get(..needed).unwrap_or_default())) {
            Ok(batch) => {
                self.buffer.advance(needed);
                self.range.start += needed as u64;
                Ok(Found::Batch { batch, position })
            }
            Err(error) => bad(error.to_string()),
        }
    }

    /// Tries to have `needed` bytes in the buffer.
    fn fill(&mut self, needed: usize) -> Result<(), DiskError> {
        let have = self.buffer.len();
        if have >= needed {
            return Ok(());
        }
        let left = self.range.end - self.range.start - have as u64;
        let more = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES.max(needed - have));
        self.buffer.resize(have + more, 0);
        let from = self.range.start + have as u64;
        let got = self.file.read_at(from, self.buffer.get_mut(have..).unwrap_or_default())?;
        self.buffer.truncate(have + got);
        Ok(())
    }
}
