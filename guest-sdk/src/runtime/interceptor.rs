//! Batches for an interceptor.

use crate::bindings::{interception, interceptor_typed};
use crate::input::{Headers, HeadersFrom};
use crate::verdict::Verdicts;
use crate::{Acknowledgement, Attachment, Error, Interceptor, Origin, Record, input, runtime};

struct Running<I> {
    interceptor: I,
    verdicts: Verdicts,
}

/// Makes the instance's interceptor.
pub fn configure<I: Interceptor>(attachment: interception::Attachment) -> Result<(), String> {
    runtime::prepare();
    let attachment = Attachment { name: attachment.name };
    let interceptor = I::configure(&attachment).map_err(|error| error.message)?;
    runtime::start(Running { interceptor, verdicts: Verdicts::default() });
    Ok(())
}

/// One flat batch on its way to the log.
pub fn on_send_flat<I: Interceptor>(origin: interception::Origin, batch: &[u8]) -> Result<Vec<u8>, String> {
    judge_flat::<I>(Path::Send, origin, batch)
}

/// One flat batch on its way to a client.
pub fn on_consume_flat<I: Interceptor>(
    origin: interception::Origin,
    batch: &[u8],
) -> Result<Vec<u8>, String> {
    judge_flat::<I>(Path::Consume, origin, batch)
}

/// One typed batch on its way to the log.
pub fn on_send_typed<I: Interceptor>(
    origin: interception::Origin,
    batch: &[interceptor_typed::PassingRecord],
) -> Result<Vec<interceptor_typed::Verdict>, String> {
    judge_typed::<I>(Path::Send, origin, batch)
}

/// One typed batch on its way to a client.
pub fn on_consume_typed<I: Interceptor>(
    origin: interception::Origin,
    batch: &[interceptor_typed::PassingRecord],
) -> Result<Vec<interceptor_typed::Verdict>, String> {
    judge_typed::<I>(Path::Consume, origin, batch)
}

/// What became of some batches.
pub fn on_acknowledgement<I: Interceptor>(acknowledgements: Vec<interception::Acknowledgement>) {
    runtime::with_running(|Running::<I> { interceptor, .. }| {
        for acknowledgement in acknowledgements {
            interceptor.on_acknowledgement(&acknowledgement.into());
        }
    });
}

/// The end of the instance's interceptor.
pub fn close<I: Interceptor>() {
    if let Some(mut running) = runtime::stop::<Running<I>>() {
        running.interceptor.close();
        runtime::tell_counts();
    }
}

/// Which way a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Send,
    Consume,
}

/// Has one record judged, into the verdicts. What comes out is the record's error.
pub(crate) fn judge<I: Interceptor>(
    interceptor: &mut I,
    path: Path,
    origin: &Origin,
    (index, record): (u32, Record<'_>),
    verdicts: &mut Verdicts,
) -> Result<(), Error> {
    let verdict = verdicts.of(index);
    match path {
        // It has no offset yet: both worlds count from 0.
        Path::Send => interceptor.on_send(origin, Record { offset: u64::from(index), ..record }, verdict),
        Path::Consume => interceptor.on_consume(origin, record, verdict),
    }
}

fn judge_flat<I: Interceptor>(
    path: Path,
    origin: interception::Origin,
    batch: &[u8],
) -> Result<Vec<u8>, String> {
    with_interceptor(|interceptor: &mut I, verdicts| {
        let origin = origin.into();
        input::for_each_flat(batch, |index, record| {
            judge(interceptor, path, &origin, (index, record), verdicts)
                .map_err(|error| of_record(index, &error))
        })??;
        Ok(verdicts.take_flat())
    })
}

fn judge_typed<I: Interceptor>(
    path: Path,
    origin: interception::Origin,
    batch: &[interceptor_typed::PassingRecord],
) -> Result<Vec<interceptor_typed::Verdict>, String> {
    with_interceptor(|interceptor: &mut I, verdicts| {
        let origin: Origin = origin.into();
        for (index, record) in (0..).zip(batch) {
            let record = Record {
                topic: &origin.topic,
                partition: origin.partition,
                offset: record.offset.unwrap_or_default(),
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: Headers(HeadersFrom::Typed(&record.headers)),
                attempt: 0,
            };
            judge(interceptor, path, &origin, (index, record), verdicts)
                .map_err(|error| of_record(index, &error))?;
        }
        Ok(verdicts.take_typed())
    })
}

fn with_interceptor<I: Interceptor, T>(
    call: impl FnOnce(&mut I, &mut Verdicts) -> Result<T, String>,
) -> Result<T, String> {
    let called = runtime::with_running(|Running { interceptor, verdicts }| {
        verdicts.clear();
        call(interceptor, verdicts)
    });
    called.unwrap_or_else(|| Err("a batch came before configure".to_owned()))
}

/// The contract has no index in an interceptor's fault, so the message names it.
fn of_record(index: u32, error: &Error) -> String {
    format!("record {index}: {error}")
}

impl From<interception::Origin> for Origin {
    fn from(origin: interception::Origin) -> Origin {
        let interception::Origin { principal, client_id, topic, partition, transactional } = origin;
        Origin { principal, client_id, topic, partition, transactional }
    }
}

impl From<interception::Acknowledgement> for Acknowledgement {
    fn from(acknowledgement: interception::Acknowledgement) -> Acknowledgement {
        let interception::Acknowledgement { topic, partition, record_count, outcome } = acknowledgement;
        Acknowledgement { topic, partition, record_count, outcome }
    }
}

#[cfg(test)]
mod tests;
