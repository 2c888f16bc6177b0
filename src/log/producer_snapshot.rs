//! The bytes of a `.snapshot` file: Kafka's producer snapshot, version 1, followed by a section of
//! our own under the same CRC.
//!
//! Kafka's reader takes the counted entries and leaves what follows them alone, so the one file
//! serves both: Kafka sees the last batch of each producer; we find all five, and what else a
//! restart must not forget. A file without our section (written by Kafka) is read as well.

use std::collections::VecDeque;

use bytes::{Buf, BufMut};

use super::producer_state::{
    CACHED_BATCHES_MAX, CachedBatch, CurrentTransaction, Producer, ProducerStates, SequenceHistory,
};
use crate::clock::Timestamp;
use crate::ids::{CoordinatorEpoch, Offset, ProducerEpoch, ProducerId, Sequence};

const VERSION: i16 = 1;
const ENTRY_BYTES: usize = 46;
const CRC_FROM: usize = 6;
const SECTION_MAGIC: &[u8; 4] = b"TMPS";
const SECTION_VERSION: u16 = 1;
const NONE: i64 = -1;

/// The file's bytes.
pub(super) fn encode(states: &ProducerStates) -> Vec<u8> {
    let producers = states.producers();
    let mut out = Vec::with_capacity(16 + producers.len() * 3 * ENTRY_BYTES);
    out.put_i16(VERSION);
    out.put_u32(0);
    out.put_i32(i32::try_from(producers.len()).expect("fewer producers than fit in memory"));
    for (id, producer) in producers {
        put_entry(&mut out, *id, producer);
    }
    out.put_slice(SECTION_MAGIC);
    out.put_u16(SECTION_VERSION);
    for producer in producers.values() {
        put_extra(&mut out, producer);
    }
    out.put_u32(u32::try_from(states.unreplicated().len()).expect("fewer transactions than fit in memory"));
    for (first_offset, last_offset) in states.unreplicated() {
        out.put_i64(first_offset.value());
        out.put_i64(last_offset.value());
    }
    let crc = crc32c::crc32c(out.get(CRC_FROM..).unwrap_or_default());
    if let Some(mut field) = out.get_mut(2..CRC_FROM) {
        field.put_u32(crc);
    }
    out
}

fn put_entry(out: &mut Vec<u8>, id: ProducerId, producer: &Producer) {
    let last = producer.batches.back();
    out.put_i64(id.value());
    out.put_i16(producer.epoch.value());
    out.put_i32(last.map_or(-1, |batch| batch.last_sequence.value()));
    out.put_i64(last.map_or(NONE, |batch| batch.last_offset.value()));
    out.put_i32(last.map_or(0, |batch| batch.offset_delta));
    out.put_i64(producer.last_timestamp);
    out.put_i32(producer.coordinator_epoch.map_or(-1, CoordinatorEpoch::value));
    out.put_i64(producer.transaction.map_or(NONE, |transaction| transaction.first_offset.value()));
}

fn put_extra(out: &mut Vec<u8>, producer: &Producer) {
    out.put_u8(match producer.history {
        SequenceHistory::FromZero => 1,
        SequenceHistory::Partial => 0,
    });
    out.put_i64(producer.last_seen.ms());
    out.put_i64(producer.transaction.map_or(NONE, |transaction| transaction.start_time.ms()));
    out.put_u8(u8::try_from(producer.batches.len()).expect("at most five batches are cached"));
    for batch in &producer.batches {
        out.put_i32(batch.last_sequence.value());
        out.put_i64(batch.last_offset.value());
        out.put_i32(batch.offset_delta);
        out.put_i64(batch.timestamp);
    }
}

/// Reads a file back; the text says why one is no good. `now` is when producers of a file without
/// our section count as last seen.
pub(super) fn decode(bytes: &[u8], now: Timestamp) -> Result<ProducerStates, &'static str> {
    let mut input = bytes;
    if input.remaining() < CRC_FROM + 4 {
        return Err("it is too short");
    }
    if input.get_i16() != VERSION {
        return Err("its version is unknown");
    }
    let stored = input.get_u32();
    if stored != crc32c::crc32c(input) {
        return Err("its checksum is wrong");
    }
    let count = usize::try_from(input.get_i32()).map_err(|_| "its count is negative")?;
    if input.remaining() / ENTRY_BYTES < count {
        return Err("it ends before its entries do");
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(get_entry(&mut input, now)?);
    }
    let mut states = ProducerStates::default();
    if input.is_empty() {
        entries.into_iter().for_each(|(id, producer)| states.restore(id, producer));
        return Ok(states);
    }
    get_section(&mut input, &mut states, entries).ok_or("its second section is malformed")?;
    Ok(states)
}

/// The caller has checked that the bytes are there.
fn get_entry(input: &mut &[u8], now: Timestamp) -> Result<(ProducerId, Producer), &'static str> {
    let id = ProducerId::from_wire(input.get_i64()).ok_or("it has a negative producer id")?;
    let epoch = ProducerEpoch::from_wire(input.get_i16()).ok_or("it has a negative producer epoch")?;
    let last_sequence = input.get_i32();
    let last_offset = input.get_i64();
    let offset_delta = input.get_i32();
    let last_timestamp = input.get_i64();
    let coordinator_epoch = CoordinatorEpoch::from_wire(input.get_i32());
    let first_offset = Offset::from_wire(input.get_i64());
    let last_batch = cached(last_sequence, last_offset, offset_delta, last_timestamp);
    let start_time = Timestamp::from_ms(last_timestamp);
    let producer = Producer {
        epoch,
        coordinator_epoch,
        last_timestamp,
        last_seen: now,
        transaction: first_offset.map(|first_offset| CurrentTransaction { first_offset, start_time }),
        batches: last_batch.into_iter().collect(),
        history: SequenceHistory::Partial,
    };
    Ok((id, producer))
}

fn cached(last_sequence: i32, last_offset: i64, offset_delta: i32, timestamp: i64) -> Option<CachedBatch> {
    let last_sequence = Sequence::from_wire(last_sequence)?;
    let last_offset = Offset::from_wire(last_offset)?;
    (offset_delta >= 0).then_some(CachedBatch { last_sequence, last_offset, offset_delta, timestamp })
}

fn get_section(
    input: &mut &[u8],
    states: &mut ProducerStates,
    entries: Vec<(ProducerId, Producer)>,
) -> Option<()> {
    let mut magic = [0; 4];
    input.try_copy_to_slice(&mut magic).ok()?;
    if &magic != SECTION_MAGIC || input.try_get_u16().ok()? != SECTION_VERSION {
        return None;
    }
    for (id, mut producer) in entries {
        get_extra(input, &mut producer)?;
        states.restore(id, producer);
    }
    for _ in 0..input.try_get_u32().ok()? {
        let first_offset = Offset::from_wire(input.try_get_i64().ok()?)?;
        let last_offset = Offset::from_wire(input.try_get_i64().ok()?)?;
        states.restore_unreplicated(first_offset, last_offset);
    }
    input.is_empty().then_some(())
}

fn get_extra(input: &mut &[u8], producer: &mut Producer) -> Option<()> {
    producer.history = match input.try_get_u8().ok()? {
        0 => SequenceHistory::Partial,
        1 => SequenceHistory::FromZero,
        _ => return None,
    };
    producer.last_seen = Timestamp::from_ms(input.try_get_i64().ok()?);
    let start_time = Timestamp::from_ms(input.try_get_i64().ok()?);
    if let Some(transaction) = &mut producer.transaction {
        transaction.start_time = start_time;
    }
    let count = usize::from(input.try_get_u8().ok()?);
    if count > CACHED_BATCHES_MAX {
        return None;
    }
    let mut batches = VecDeque::with_capacity(count);
    for _ in 0..count {
        let last_sequence = input.try_get_i32().ok()?;
        let last_offset = input.try_get_i64().ok()?;
        let offset_delta = input.try_get_i32().ok()?;
        let timestamp = input.try_get_i64().ok()?;
        batches.push_back(cached(last_sequence, last_offset, offset_delta, timestamp)?);
    }
    producer.batches = batches;
    Some(())
}
