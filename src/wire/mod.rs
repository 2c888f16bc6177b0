//! Kafka's bytes: frames, the API version table, record batches, control records. Bytes only: no
//! tokio, no files, no state.

pub mod api;
pub mod control_record;
pub mod fetch_response;
pub mod frame;
pub mod record_batch;
pub mod request;
mod request_shape;
pub mod response;
pub mod varint;
