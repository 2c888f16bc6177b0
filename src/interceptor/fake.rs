//! An interceptor written in Rust, for tests: what a record's value begins with says what becomes of it.
//!
//! `drop` drops, `replace TEXT` replaces the value, `reject TEXT` rejects, `trap` traps, `once` traps where
//! an instance is asked for the first time, `gives-up` is a fault that the instance survives, `waits` waits
//! until the test lets it go on. Everything else passes. Never shipped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::plugin::{
    Acknowledgement, Direction, InputBatch, InstanceOptions, InterceptorInstance, InterceptorOptions,
    ModuleDescription, ModuleDigest, Origin, PluginError, PluginHost, ProcessFault, ProcessorInstance,
    RejectionCode, Verdict, Verdicts, put_body,
};

/// What all instances of a test share.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) made: AtomicUsize,
    pub(crate) closed: AtomicUsize,
    pub(crate) acknowledged: Mutex<Vec<Acknowledgement>>,
    pub(crate) origins: Mutex<Vec<Origin>>,
    pub(crate) inside: AtomicUsize,
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
}

pub(crate) struct FakeInterceptor {
    options: InterceptorOptions,
    seen: Arc<Seen>,
    calls: usize,
}

/// Makes an instance; the config key `refuse` has it refuse its configuration.
pub(crate) fn instantiate(
    options: InterceptorOptions,
    seen: &Arc<Seen>,
) -> Result<Box<dyn InterceptorInstance>, PluginError> {
    seen.made.fetch_add(1, Ordering::SeqCst);
    match options.config.iter().find(|(key, _)| key == "refuse") {
        Some((_, why)) => Err(PluginError::InitRefused(why.clone())),
        None => Ok(Box::new(FakeInterceptor { options, seen: Arc::clone(seen), calls: 0 })),
    }
}

fn replaced(key: Option<&[u8]>, value: &str) -> Verdict {
    let mut body = Vec::new();
    put_body(&mut body, key, Some(value.as_bytes()), std::iter::empty());
    Verdict::Replace { timestamp: None, body: Bytes::from(body) }
}

impl InterceptorInstance for FakeInterceptor {
    fn judge<'a>(
        &'a mut self,
        _: Direction,
        origin: &'a Origin,
        batch: &'a InputBatch,
    ) -> BoxFuture<'a, Result<Verdicts, ProcessFault>> {
        Box::pin(async move {
            self.calls += 1;
            self.seen.origins.lock().push(origin.clone());
            let mut verdicts = Vec::new();
            for record in batch.records() {
                let record = record.unwrap();
                let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                let (word, rest) = value.split_once(' ').unwrap_or((&value, ""));
                let trap = |message: &str| ProcessFault::Trap { message: message.to_owned(), function: None };
                let verdict = match word {
                    "drop" => Verdict::Drop,
                    "replace" => replaced(record.key, rest),
                    "mark" => replaced(record.key, &format!("mark {rest}{}", self.options.attachment)),
                    "reject" => {
                        Verdict::Reject { code: RejectionCode::PolicyViolation, message: rest.to_owned() }
                    }
                    "trap" => return Err(trap("asked to trap")),
                    "once" if self.calls == 1 => return Err(trap("the first call of an instance")),
                    "gives-up" => return Err(ProcessFault::GaveUp("it cannot".to_owned())),
                    "waits" => {
                        let gate = self.seen.gate.lock().clone().unwrap();
                        self.seen.inside.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        self.seen.inside.fetch_sub(1, Ordering::SeqCst);
                        continue;
                    }
                    _ => continue,
                };
                verdicts.push((record.index, verdict));
            }
            Ok(Verdicts::of(verdicts))
        })
    }

    fn acknowledge<'a>(
        &'a mut self,
        acknowledgements: &'a [Acknowledgement],
    ) -> BoxFuture<'a, Result<(), ProcessFault>> {
        Box::pin(async move {
            self.options.counters.add("acknowledged", acknowledgements.len() as u64);
            self.seen.acknowledged.lock().extend_from_slice(acknowledgements);
            Ok(())
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), ProcessFault>> {
        self.seen.closed.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A host that knows nothing but interceptors, of any digest.
#[derive(Default)]
pub(crate) struct FakeInterceptorHost(pub(crate) Arc<Seen>);

impl PluginHost for FakeInterceptorHost {
    fn compile(&self, _: &[u8]) -> Result<ModuleDescription, PluginError> {
        Err(PluginError::Disabled)
    }

    fn load(&self, _: &ModuleDigest) -> Result<(), PluginError> {
        Ok(())
    }

    fn describe(&self, digest: &ModuleDigest) -> Result<ModuleDescription, PluginError> {
        Err(PluginError::NotFound(*digest))
    }

    fn list(&self) -> Result<Vec<ModuleDescription>, PluginError> {
        Ok(Vec::new())
    }

    fn remove(&self, digest: &ModuleDigest) -> Result<(), PluginError> {
        Err(PluginError::NotFound(*digest))
    }

    fn instantiate(
        &self,
        _: &ModuleDigest,
        _: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError> {
        Err(PluginError::Disabled)
    }

    fn instantiate_interceptor<'a>(
        &'a self,
        _: &'a ModuleDigest,
        options: InterceptorOptions,
    ) -> BoxFuture<'a, Result<Box<dyn InterceptorInstance>, PluginError>> {
        Box::pin(std::future::ready(instantiate(options, &self.0)))
    }
}
