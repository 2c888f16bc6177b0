//! One running partitioner: called on blocking threads, like a processor, and within the same limits.

use std::sync::Arc;

use wasmtime::{Engine, Store};

use super::bindings::flat_partitioner::PartitionerFlat;
use super::bindings::typed::tidemill::plugin::types::Fault;
use super::bindings::typed_partitioner::PartitionerTyped;
use super::bindings::typed_partitioner::exports::tidemill::plugin::typed_partitioner as typed;
use super::engine::Ticker;
use super::host::LoadedWorld;
use super::instance::{
    Alive, Instance, SMALL_COPIES_BYTES_MAX, StartError, Started, begin_call, call_fault, check_output_size,
    guest_fault, input_headers, input_records, lend, start_blocking,
};
use super::state::{Given, GuestState};
use crate::ids::{PartitionIndex, TopicName};
use crate::plugin::{
    InputBatch, Limits, PartitionerInstance, PartitionerOptions, PluginError, PluginKind, ProcessFault,
    check_choices,
};

/// A guest that is alive between its calls.
type Partitioner = Instance<Guest>;

pub(super) enum Guest {
    Flat(PartitionerFlat),
    Typed(PartitionerTyped),
}

/// Makes an instance and runs its `configure`.
pub(super) fn start(
    engine: &Engine,
    ticker: Arc<Ticker>,
    pre: &LoadedWorld,
    options: &PartitionerOptions,
) -> Result<Partitioner, PluginError> {
    let PartitionerOptions { limits, config, log, counters, give_way } = options;
    let given = Given { limits, config, log, counters };
    let kind = (PluginKind::Partitioner, give_way.clone());
    start_blocking(engine, ticker, given, kind, |store| configure(store, pre))
}

fn configure(store: &mut Store<GuestState>, pre: &LoadedWorld) -> Started<Guest> {
    match pre {
        LoadedWorld::FlatPartitioner(pre) => {
            let guest = pre.instantiate(&mut *store).map_err(StartError::Instantiate)?;
            let configured = guest.tidemill_plugin_flat_partitioner().call_configure(store);
            Ok((Guest::Flat(guest), configured.map_err(StartError::Init)?))
        }
        LoadedWorld::TypedPartitioner(pre) => {
            let guest = pre.instantiate(&mut *store).map_err(StartError::Instantiate)?;
            let configured = guest.tidemill_plugin_typed_partitioner().call_configure(store);
            Ok((Guest::Typed(guest), configured.map_err(StartError::Init)?))
        }
        LoadedWorld::Flat(_)
        | LoadedWorld::Typed(_)
        | LoadedWorld::FlatInterceptor(_)
        | LoadedWorld::TypedInterceptor(_) => Err(StartError::WrongKind),
    }
}

impl PartitionerInstance for Partitioner {
    fn partition(
        &mut self,
        topic: &TopicName,
        partitions: u32,
        batch: &InputBatch,
    ) -> Result<Vec<PartitionIndex>, ProcessFault> {
        self.call(batch, |Alive { store, guest }, input, limits| {
            store.set_hostcall_fuel(limits.output_bytes_max.saturating_add(SMALL_COPIES_BYTES_MAX));
            let answer = match guest {
                Guest::Flat(guest) => {
                    batch.write_flat(input);
                    let guest = guest.tidemill_plugin_flat_partitioner();
                    guest.call_partition(&mut *store, topic.as_str(), partitions, input)
                }
                Guest::Typed(guest) => call_typed(store, guest, (topic, partitions), batch)?,
            };
            match answer {
                Ok(answer) => chosen(answer, partitions, batch, limits),
                Err(error) => Err(call_fault(store, error, limits)),
            }
        })
    }

    fn close(mut self: Box<Self>) -> Result<(), ProcessFault> {
        let mut alive = self.alive.take().ok_or(ProcessFault::Dead)?;
        alive.forget_earlier_calls();
        let Alive { store, guest } = &mut alive;
        begin_call(store, self.limits.batch_time_max);
        store.set_hostcall_fuel(SMALL_COPIES_BYTES_MAX);
        let running = self.ticker.call();
        let answer = match guest {
            Guest::Flat(guest) => guest.tidemill_plugin_flat_partitioner().call_close(&mut *store),
            Guest::Typed(guest) => guest.tidemill_plugin_typed_partitioner().call_close(&mut *store),
        };
        drop(running);
        answer.map_err(|error| call_fault(store, error, &self.limits))
    }
}

/// A guest's own answer.
type Answer = Result<Vec<u32>, Fault>;

/// The outer error is about a batch that cannot be read, the inner one about the call.
fn call_typed(
    store: &mut Store<GuestState>,
    guest: &PartitionerTyped,
    (topic, partitions): (&TopicName, u32),
    batch: &InputBatch,
) -> Result<wasmtime::Result<Answer>, ProcessFault> {
    let records = input_records(batch)?;
    let headers = input_headers(&records);
    let input = lend(&records, &headers, |record, headers| typed::RecordToPlace {
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers,
    });
    let guest = guest.tidemill_plugin_typed_partitioner();
    Ok(guest.call_partition(&mut *store, topic.as_str(), partitions, &input))
}

fn chosen(
    answer: Answer,
    partitions: u32,
    batch: &InputBatch,
    limits: &Limits,
) -> Result<Vec<PartitionIndex>, ProcessFault> {
    let choices = answer.map_err(|fault| guest_fault(fault, batch))?;
    check_output_size(choices.len().saturating_mul(size_of::<u32>()), limits)?;
    check_choices(&choices, partitions, batch.record_count()).map_err(|bad| ProcessFault::BadOutput(bad.0))
}
