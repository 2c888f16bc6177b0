//! One running interceptor: called as futures that give their thread back after each slice of time, so
//! that a slow guest does not hold up the other connections of that thread.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtime::{Engine, Store, UpdateDeadline};

use super::bindings::flat_interceptor::InterceptorFlat;
use super::bindings::flat_interceptor::tidemill::plugin::interception;
use super::bindings::typed_interceptor::InterceptorTyped;
use super::bindings::typed_interceptor::exports::tidemill::plugin::typed_interceptor as typed;
use super::bindings::typed_interceptor::tidemill::plugin::types::HeaderParam;
use super::engine::Ticker;
use super::host::{Loaded, LoadedWorld};
use super::instance::{
    Alive, Instance, SMALL_COPIES_BYTES_MAX, StartError, Started, TYPED_EXPANSION, begin_call, call_fault,
    check_input_size, check_output_size, input_headers, input_records, lend, started,
};
use super::state::{Given, GuestState};
use crate::plugin::{
    Acknowledgement, Direction, InputBatch, InputRecord, InterceptorInstance, InterceptorOptions, Limits,
    Origin, PluginError, PluginKind, ProcessFault, RejectionCode, Verdict, Verdicts, cut_message, put_body,
};

/// A guest that is alive between its calls.
type Interceptor = Instance<Guest>;

pub(super) enum Guest {
    Flat(InterceptorFlat),
    Typed(InterceptorTyped),
}

/// Makes an instance and runs its `configure`.
pub(super) fn start(
    engine: &Engine,
    ticker: Arc<Ticker>,
    loaded: Arc<Loaded>,
    options: InterceptorOptions,
) -> BoxFuture<'_, Result<Box<dyn InterceptorInstance>, PluginError>> {
    Box::pin(async move {
        let started = start_configured(engine, ticker, &loaded.pre, options).await?;
        Ok(Box::new(started) as Box<dyn InterceptorInstance>)
    })
}

async fn start_configured(
    engine: &Engine,
    ticker: Arc<Ticker>,
    pre: &LoadedWorld,
    options: InterceptorOptions,
) -> Result<Interceptor, PluginError> {
    let InterceptorOptions { attachment, limits, config, log, counters } = options;
    let given = Given { limits: &limits, config: &config, log: &log, counters: &counters };
    let mut store = Store::new(engine, GuestState::new(given));
    store.limiter(GuestState::limiter);
    store.epoch_deadline_callback(|mut store| match store.data_mut().time.end_slice() {
        Some(begin_next) => {
            let others_first = async move {
                tokio::task::yield_now().await;
                begin_next();
            };
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(others_first)))
        }
        None => Ok(UpdateDeadline::Interrupt),
    });
    begin_call(&mut store, limits.init_time_max);
    store.set_hostcall_fuel(SMALL_COPIES_BYTES_MAX);
    let running = ticker.call();
    let answer = configure(&mut store, pre, &attachment).await;
    drop(running);
    started(answer, store, ticker, limits, PluginKind::Interceptor)
}

async fn configure(store: &mut Store<GuestState>, pre: &LoadedWorld, name: &str) -> Started<Guest> {
    let attachment = interception::Attachment { name };
    match pre {
        LoadedWorld::FlatInterceptor(pre) => {
            let guest = pre.instantiate_async(&mut *store).await.map_err(StartError::Instantiate)?;
            let configured = guest.tidemill_plugin_flat_interceptor().call_configure(store, attachment).await;
            Ok((Guest::Flat(guest), configured.map_err(StartError::Init)?))
        }
        LoadedWorld::TypedInterceptor(pre) => {
            let guest = pre.instantiate_async(&mut *store).await.map_err(StartError::Instantiate)?;
            let configured =
                guest.tidemill_plugin_typed_interceptor().call_configure(store, attachment).await;
            Ok((Guest::Typed(guest), configured.map_err(StartError::Init)?))
        }
        LoadedWorld::Flat(_)
        | LoadedWorld::Typed(_)
        | LoadedWorld::FlatPartitioner(_)
        | LoadedWorld::TypedPartitioner(_) => Err(StartError::WrongKind),
    }
}

impl InterceptorInstance for Interceptor {
    fn judge<'a>(
        &'a mut self,
        direction: Direction,
        origin: &'a Origin,
        batch: &'a InputBatch,
    ) -> BoxFuture<'a, Result<Verdicts, ProcessFault>> {
        Box::pin(async move {
            // Taken out for the call: a future that is dropped in the middle leaves no half-run guest behind.
            let mut alive = self.alive.take().ok_or(ProcessFault::Dead)?;
            if let Err(too_large) = check_input_size(batch, &self.limits) {
                self.alive = Some(alive);
                return Err(too_large);
            }
            alive.make_ready(&self.limits);
            let running = self.ticker.call();
            let answer = match &alive.guest {
                Guest::Flat(guest) => {
                    batch.write_flat(&mut self.input);
                    let judged = (direction, origin, batch.record_count());
                    judge_flat(&mut alive.store, guest, judged, &self.input, &self.limits).await
                }
                Guest::Typed(guest) => {
                    judge_typed(&mut alive.store, guest, (direction, origin, batch), &self.limits).await
                }
            };
            drop(running);
            self.keep(alive, &answer);
            answer
        })
    }

    fn acknowledge<'a>(
        &'a mut self,
        acknowledgements: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), ProcessFault>> {
        Box::pin(async move {
            let mut alive = self.alive.take().ok_or(ProcessFault::Dead)?;
            alive.make_ready(&self.limits);
            let told: Vec<interception::Acknowledgement<'_>> = acknowledgements.iter().map(told).collect();
            let running = self.ticker.call();
            let answer = match &alive.guest {
                Guest::Flat(guest) => {
                    let guest = guest.tidemill_plugin_flat_interceptor();
                    guest.call_on_acknowledgement(&mut alive.store, &told).await
                }
                Guest::Typed(guest) => {
                    let guest = guest.tidemill_plugin_typed_interceptor();
                    guest.call_on_acknowledgement(&mut alive.store, &told).await
                }
            };
            drop(running);
            let answer = answer.map_err(|error| call_fault(&mut alive.store, error, &self.limits));
            self.keep(alive, &answer);
            answer
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), ProcessFault>> {
        Box::pin(async move {
            let mut alive = self.alive.take().ok_or(ProcessFault::Dead)?;
            alive.make_ready(&self.limits);
            let _running = self.ticker.call();
            let answer = match &alive.guest {
                Guest::Flat(guest) => {
                    guest.tidemill_plugin_flat_interceptor().call_close(&mut alive.store).await
                }
                Guest::Typed(guest) => {
                    guest.tidemill_plugin_typed_interceptor().call_close(&mut alive.store).await
                }
            };
            answer.map_err(|error| call_fault(&mut alive.store, error, &self.limits))
        })
    }
}

impl Interceptor {
    fn keep<T>(&mut self, alive: Alive<Guest>, answer: &Result<T, ProcessFault>) {
        if answer.as_ref().err().is_none_or(ProcessFault::instance_survives) {
            self.alive = Some(alive);
        }
    }
}

impl Alive<Guest> {
    fn make_ready(&mut self, limits: &Limits) {
        self.forget_earlier_calls();
        begin_call(&mut self.store, limits.batch_time_max);
        self.store.set_hostcall_fuel(SMALL_COPIES_BYTES_MAX);
    }
}

async fn judge_flat(
    store: &mut Store<GuestState>,
    guest: &InterceptorFlat,
    (direction, origin, record_count): (Direction, &Origin, u32),
    input: &[u8],
    limits: &Limits,
) -> Result<Verdicts, ProcessFault> {
    store.set_hostcall_fuel(limits.output_bytes_max.saturating_add(SMALL_COPIES_BYTES_MAX));
    let origin = origin_of(origin);
    let guest = guest.tidemill_plugin_flat_interceptor();
    let answer = match direction {
        Direction::Produce => guest.call_on_send(&mut *store, origin, input).await,
        Direction::Fetch => guest.call_on_consume(&mut *store, origin, input).await,
    };
    match answer {
        Ok(Ok(verdicts)) => {
            check_output_size(verdicts.len(), limits)?;
            Verdicts::check(&Bytes::from(verdicts), record_count)
                .map_err(|bad| ProcessFault::BadOutput(bad.0))
        }
        Ok(Err(message)) => Err(ProcessFault::GaveUp(message)),
        Err(error) => Err(call_fault(store, error, limits)),
    }
}

async fn judge_typed(
    store: &mut Store<GuestState>,
    guest: &InterceptorTyped,
    (direction, origin, batch): (Direction, &Origin, &InputBatch),
    limits: &Limits,
) -> Result<Verdicts, ProcessFault> {
    let records = input_records(batch)?;
    let headers = input_headers(&records);
    let input = lend(&records, &headers, |record, headers| passing(direction, record, headers));
    let fuel = limits.output_bytes_max.saturating_mul(TYPED_EXPANSION).saturating_add(SMALL_COPIES_BYTES_MAX);
    store.set_hostcall_fuel(fuel);
    let origin = origin_of(origin);
    let guest = guest.tidemill_plugin_typed_interceptor();
    let answer = match direction {
        Direction::Produce => guest.call_on_send(&mut *store, origin, &input).await,
        Direction::Fetch => guest.call_on_consume(&mut *store, origin, &input).await,
    };
    match answer {
        Ok(Ok(verdicts)) => typed_verdicts(verdicts, batch.record_count(), limits),
        Ok(Err(message)) => Err(ProcessFault::GaveUp(message)),
        Err(error) => Err(call_fault(store, error, limits)),
    }
}

fn passing<'a>(
    direction: Direction,
    record: &InputRecord<'a>,
    headers: &'a [HeaderParam<'a>],
) -> typed::PassingRecord<'a> {
    typed::PassingRecord {
        offset: match direction {
            Direction::Produce => None,
            Direction::Fetch => Some(record.offset.value().unsigned_abs()),
        },
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers,
    }
}

fn typed_verdicts(
    verdicts: Vec<typed::Verdict>,
    record_count: u32,
    limits: &Limits,
) -> Result<Verdicts, ProcessFault> {
    let given = verdicts.len();
    if u32::try_from(given).ok() != Some(record_count) {
        let message = format!("it gives {given} verdicts on {record_count} records");
        return Err(ProcessFault::BadOutput(message));
    }
    let mut checked = Vec::new();
    let mut bytes = 0;
    for (index, verdict) in (0..).zip(verdicts) {
        let verdict = match verdict {
            typed::Verdict::Keep => continue,
            typed::Verdict::Drop => Verdict::Drop,
            typed::Verdict::Replace(record) => {
                if let Some(timestamp) = record.timestamp.filter(|timestamp| *timestamp < 0) {
                    let message = format!("verdict {index}: its timestamp is {timestamp}");
                    return Err(ProcessFault::BadOutput(message));
                }
                let mut body = Vec::new();
                let headers = record.headers.iter();
                let headers = headers.map(|header| (header.key.as_str(), header.value.as_deref()));
                put_body(&mut body, record.key.as_deref(), record.value.as_deref(), headers);
                bytes += body.len();
                check_output_size(bytes, limits)?;
                Verdict::Replace { timestamp: record.timestamp, body: Bytes::from(body) }
            }
            typed::Verdict::Reject(rejection) => {
                Verdict::Reject { code: code_of(rejection.code), message: cut_message(&rejection.message) }
            }
        };
        checked.push((index, verdict));
    }
    Ok(Verdicts::of(checked))
}

fn code_of(code: interception::RejectionCode) -> RejectionCode {
    match code {
        interception::RejectionCode::InvalidRecord => RejectionCode::InvalidRecord,
        interception::RejectionCode::PolicyViolation => RejectionCode::PolicyViolation,
        interception::RejectionCode::TopicAuthorizationFailed => RejectionCode::TopicAuthorizationFailed,
    }
}

fn origin_of(origin: &Origin) -> interception::Origin<'_> {
    interception::Origin {
        principal: &origin.principal,
        client_id: &origin.client_id,
        topic: origin.topic.as_str(),
        partition: origin.partition.value().unsigned_abs(),
        transactional: origin.is_transactional,
    }
}

fn told(acknowledgement: &Acknowledgement) -> interception::Acknowledgement<'_> {
    interception::Acknowledgement {
        topic: acknowledgement.topic.as_str(),
        partition: acknowledgement.partition.value().unsigned_abs(),
        record_count: acknowledgement.record_count,
        outcome: match acknowledgement.outcome {
            Ok(offset) => Ok(offset.value().unsigned_abs()),
            Err(code) => Err(code),
        },
    }
}
