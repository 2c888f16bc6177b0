//! Batches for a partitioner.

use crate::bindings::partitioner_typed;
use crate::input::{Headers, HeadersFrom};
use crate::runtime::Failed;
use crate::{Error, Partitioner, Record, input, runtime};

struct Running<P>(P);

/// Makes the instance's partitioner.
pub fn configure_partitioner<P: Partitioner>() -> Result<(), String> {
    runtime::prepare();
    let partitioner = P::configure().map_err(|error| error.message)?;
    runtime::start(Running(partitioner));
    Ok(())
}

/// One flat batch.
pub fn partition_flat<P: Partitioner>(
    topic: &str,
    partitions: u32,
    batch: &[u8],
) -> Result<Vec<u32>, Failed> {
    with_partitioner(|partitioner: &mut P| {
        let mut choices = Vec::new();
        let result = input::for_each_flat(batch, |index, record| {
            choices.push(place(partitioner, topic, partitions, (index, record))?);
            Ok(())
        });
        result.map_err(|message| Failed { index: 0, error: Error::fatal(message) })??;
        Ok(choices)
    })
}

/// One typed batch.
pub fn partition_typed<P: Partitioner>(
    topic: &str,
    partitions: u32,
    batch: &[partitioner_typed::RecordToPlace],
) -> Result<Vec<u32>, Failed> {
    with_partitioner(|partitioner: &mut P| {
        let records = (0..).zip(batch).map(|(index, record)| {
            let record = Record {
                topic,
                partition: 0,
                offset: 0,
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: Headers(HeadersFrom::Typed(&record.headers)),
                attempt: 0,
            };
            place(partitioner, topic, partitions, (index, record))
        });
        records.collect()
    })
}

/// The end of the instance's partitioner.
pub fn close_partitioner<P: Partitioner>() {
    if let Some(mut running) = runtime::stop::<Running<P>>() {
        running.0.close();
        runtime::tell_counts();
    }
}

/// Has one record placed. What a flat batch says besides its records means nothing here, so both worlds show the same.
pub(crate) fn place<P: Partitioner>(
    partitioner: &mut P,
    topic: &str,
    partitions: u32,
    (index, record): (u32, Record<'_>),
) -> Result<u32, Failed> {
    let record = Record { topic, partition: 0, offset: u64::from(index), attempt: 0, ..record };
    partitioner.partition(topic, partitions, record).map_err(|error| Failed { index, error })
}

fn with_partitioner<P: Partitioner, T>(call: impl FnOnce(&mut P) -> Result<T, Failed>) -> Result<T, Failed> {
    let called = runtime::with_running(|running: &mut Running<P>| call(&mut running.0));
    let early = || Failed { index: 0, error: Error::fatal("a batch came before configure") };
    called.unwrap_or_else(|| Err(early()))
}

#[cfg(test)]
mod tests;
