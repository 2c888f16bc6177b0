//! Partitioners in plain types: what an instance is asked, and how its choices are checked.

use crate::ids::{PartitionIndex, TopicName};
use crate::plugin::{BadOutput, CounterSink, GiveWay, InputBatch, Limits, LogSink, ProcessFault};

/// One running partitioner: its own memory, nothing shared with any other instance.
pub trait PartitionerInstance: Send {
    /// Chooses among the `partitions` partitions of a topic, one for each record of the batch, in their order. The
    /// batch's own partition and offsets mean nothing. After a fault whose `instance_survives` says no, drop the
    /// instance. For blocking threads.
    fn partition(
        &mut self,
        topic: &TopicName,
        partitions: u32,
        batch: &InputBatch,
    ) -> Result<Vec<PartitionIndex>, ProcessFault>;

    /// The guest's last words.
    fn close(self: Box<Self>) -> Result<(), ProcessFault>;
}

/// Everything that a partitioner's instance is given.
#[derive(Clone, Debug)]
pub struct PartitionerOptions {
    /// What it may use.
    pub limits: Limits,
    /// Its configuration, as the guest's `config` import answers it.
    pub config: Vec<(String, String)>,
    /// Where its log lines go.
    pub log: LogSink,
    /// Where its counters go.
    pub counters: CounterSink,
    /// Whom a long call lets go first.
    pub give_way: GiveWay,
}

/// Checks a guest's choices: one for each record, each of them a partition that there is.
pub fn check_choices(
    choices: &[u32],
    partitions: u32,
    record_count: u32,
) -> Result<Vec<PartitionIndex>, BadOutput> {
    if u32::try_from(choices.len()).ok() != Some(record_count) {
        let given = choices.len();
        return Err(BadOutput(format!("it chooses {given} partitions for {record_count} records")));
    }
    let check = |(number, choice): (usize, &u32)| {
        let index = i32::try_from(*choice).ok().filter(|_| *choice < partitions);
        index.and_then(PartitionIndex::from_wire).ok_or_else(|| {
            BadOutput(format!(
                "it chooses partition {choice} for record {number}, and there are {partitions}"
            ))
        })
    };
    choices.iter().enumerate().map(check).collect()
}

#[cfg(test)]
mod tests;
