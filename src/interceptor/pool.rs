//! The instances of one attachment: made when they are needed, reused, given up after a fault.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::LinkFault;
use crate::plugin::{InterceptorInstance, InterceptorOptions, ModuleDigest, PluginHost, ProcessFault};

/// Instances at once, for each core: some wait for their next slice of time while others run.
const INSTANCES_PER_CORE: usize = 2;
/// How long nobody tries again to make an instance after that has failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

pub(super) struct Pool {
    host: Arc<dyn PluginHost>,
    digest: ModuleDigest,
    options: InterceptorOptions,
    idle: Mutex<Vec<Box<dyn InterceptorInstance>>>,
    permits: Semaphore,
    failed: Mutex<Option<(Instant, LinkFault)>>,
}

/// An instance for one call. Dropped instead of given back, it ends the instance.
pub(super) struct Lease<'a> {
    pub(super) instance: Box<dyn InterceptorInstance>,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(host: Arc<dyn PluginHost>, digest: ModuleDigest, options: InterceptorOptions) -> Pool {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Pool {
            host,
            digest,
            options,
            idle: Mutex::default(),
            permits: Semaphore::new(cores * INSTANCES_PER_CORE),
            failed: Mutex::default(),
        }
    }

    /// Waits for an instance that nobody else uses, making one if there is room.
    pub(super) async fn take(&self) -> Result<Lease<'_>, LinkFault> {
        let permit = self.permits.acquire().await.map_err(|_| LinkFault::closed())?;
        let idle = self.idle.lock().pop();
        let instance = match idle {
            Some(instance) => instance,
            None => self.make().await?,
        };
        Ok(Lease { instance, _permit: permit })
    }

    /// The instance may be used again, if the call left it alive.
    pub(super) fn give_back<T>(&self, lease: Lease<'_>, answer: &Result<T, ProcessFault>) {
        if answer.as_ref().err().is_none_or(ProcessFault::instance_survives) {
            self.idle.lock().push(lease.instance);
        }
    }

    async fn make(&self) -> Result<Box<dyn InterceptorInstance>, LinkFault> {
        if let Some((at, fault)) = &*self.failed.lock()
            && at.elapsed() < PAUSE_AFTER_FAILURE
        {
            return Err(fault.clone());
        }
        let made = self.host.instantiate_interceptor(&self.digest, self.options.clone()).await;
        let mut failed = self.failed.lock();
        match made {
            Ok(instance) => {
                *failed = None;
                Ok(instance)
            }
            Err(error) => {
                let fault = LinkFault::of_plugin(&error);
                *failed = Some((super::link::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// Lets every idle instance say its last words.
    pub(super) async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle.lock());
        for instance in idle {
            if let Err(fault) = instance.close().await {
                let attachment = &self.options.attachment;
                tracing::warn!(%attachment, %fault, "an interceptor failed while it was closed");
            }
        }
    }
}
