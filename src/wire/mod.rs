//! Kafka's bytes: frames, the API version table, record batches, control records. Bytes only: no
//! tokio, no files, no state.

pub mod control_record;
pub mod record_batch;
pub mod varint;
