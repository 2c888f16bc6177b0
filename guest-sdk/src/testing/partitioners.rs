//! Partitioners in unit tests.

use super::{TestRecord, encode};
use crate::runtime::{Failed, place};
use crate::{Error, Partitioner, input};

/// Has a batch placed in a topic of so many partitions: one choice for each record. An error comes with the index of the
/// record that it is about. Panics at a choice of a partition that there is not, which ends an instance in the broker.
#[track_caller]
pub fn partition<P: Partitioner>(
    partitioner: &mut P,
    topic: &str,
    partitions: u32,
    records: &[TestRecord],
) -> Result<Vec<u32>, (usize, Error)> {
    let mut choices = Vec::new();
    let flat = encode(topic, 0, records);
    let result = input::for_each_flat(&flat, |index, record| {
        choices.push(place(partitioner, topic, partitions, (index, record))?);
        Ok(())
    });
    let placed: Result<(), Failed> = result.expect("the batch is well formed");
    placed.map_err(|failed| (failed.index as usize, failed.error))?;
    for (index, choice) in choices.iter().enumerate() {
        assert!(
            *choice < partitions,
            "record {index} goes to partition {choice}, and `{topic}` has {partitions}"
        );
    }
    Ok(choices)
}
