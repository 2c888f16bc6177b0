//! The plain copy inside the broker: the same server and the same processor runner, in a child
//! process of this benchmark, with a host whose "module" is a function that copies.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tidemill::clock::Clock;
use tidemill::config::{FlagValue, ServerConfig, Sources};
use tidemill::ids::TopicName;
use tidemill::plugin::{
    InputBatch, InstanceOptions, ModuleDescription, ModuleDigest, OutputBatch, PluginError, PluginHost,
    ProcessFault, ProcessorInstance, Surroundings, TimerDomain, World,
};
use tidemill::processor::BrokerBackend;
use tidemill::processor::backend::Backend;
use tidemill::processor::context::Tuning;
use tidemill::processor::definition::{ProcessorDefinition, StartPosition, Work};
use tidemill::processor::log_topic::PluginLogs;
use tidemill::processor::registry::{ModuleEntry, Registry};
use tidemill::processor::supervisor::{Supervisor, SupervisorOptions};

/// The first argument of the child.
pub const CHILD: &str = "broker-with-native-copy";
/// Its group, too.
pub const PROCESSOR: &str = "copy";
const FLAT_OUTPUT_RECORD_HEADER_BYTES: usize = 24;

/// How the child is called.
pub struct ChildArguments {
    directory: PathBuf,
    from: String,
    to: String,
}

impl ChildArguments {
    /// The arguments, if this process is such a child.
    pub fn from_command_line() -> Option<ChildArguments> {
        let mut arguments = std::env::args().skip(1);
        if arguments.next()? != CHILD {
            return None;
        }
        Some(ChildArguments {
            directory: arguments.next()?.into(),
            from: arguments.next()?,
            to: arguments.next()?,
        })
    }
}

/// Serves until it is killed; deploys the copy when a line comes on standard input.
pub fn run(arguments: ChildArguments) -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let running = tidemill::server::start(config(&arguments)?).await?;
        let address = running.kafka_addresses.first().context("no listener")?;
        eprintln!("ready: Kafka on {address}; a native copy waits for a line");
        tokio::task::spawn_blocking(|| std::io::stdin().lock().lines().next()).await?;
        let registry = Arc::new(Registry::volatile());
        let supervisor = Supervisor::start(SupervisorOptions {
            backend: Arc::new(Backend::Broker(BrokerBackend::new(Arc::clone(&running.broker)))),
            host: Arc::new(CopyHost { to: arguments.to.clone() }),
            registry: Arc::clone(&registry),
            state: None,
            clock: Clock::System,
            tuning: Tuning::default(),
            logs: PluginLogs::default(),
        });
        deploy(&registry, &supervisor, &arguments).await?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(status) = supervisor.status(PROCESSOR) else { continue };
            if let Some(cause) = status.cause {
                eprintln!("ERROR: the native copy is {:?}: {cause}", status.state);
            }
        }
    })
}

fn config(arguments: &ChildArguments) -> anyhow::Result<ServerConfig> {
    let flag = |key: &str, value: &str| FlagValue {
        flag: key.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let directory = arguments.directory.to_str().context("a directory that is not UTF-8")?;
    let flags = vec![
        flag("log.dirs", directory),
        flag("listeners", "127.0.0.1:0"),
        flag("tidemill.admin.listen", "off"),
    ];
    let sources = Sources { file: None, environment: Vec::new(), flags };
    ServerConfig::load(&sources).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

async fn deploy(
    registry: &Registry,
    supervisor: &Supervisor,
    arguments: &ChildArguments,
) -> anyhow::Result<()> {
    let module = description();
    registry
        .put_module(ModuleEntry {
            digest: module.digest.to_string(),
            names: Default::default(),
            world: "processor-flat".to_owned(),
            imports: Vec::new(),
            module_bytes: 0,
            compiled_bytes: 0,
            compile_ms: 0,
        })
        .await?;
    let definition = ProcessorDefinition {
        name: PROCESSOR.to_owned(),
        module: module.digest.to_string(),
        inputs: vec![TopicName::new(arguments.from.as_str())],
        outputs: vec![TopicName::new(arguments.to.as_str())],
        start: StartPosition::Earliest,
        config: Default::default(),
        commit: Default::default(),
        limits: Default::default(),
        on_error: Default::default(),
        run: Default::default(),
        pause_cause: None,
        stores: Vec::new(),
        then: Vec::new(),
        timers: false,
        guarantee: Default::default(),
        partitioners: Default::default(),
        work: Work::default(),
    };
    supervisor.create_topics(&definition).await?;
    Ok(registry.put_processor(definition).await?)
}

fn description() -> ModuleDescription {
    ModuleDescription {
        digest: ModuleDigest::of(b"native copy"),
        world: World::ProcessorFlat,
        contract_version: tidemill::plugin::CONTRACT_VERSION.to_owned(),
        imports: Vec::new(),
        exports: Vec::new(),
        module_bytes: 0,
        compiled_bytes: 0,
        compile_ms: 0,
    }
}

/// Knows one module: the copy.
struct CopyHost {
    to: String,
}

impl PluginHost for CopyHost {
    fn compile(&self, _: &[u8]) -> Result<ModuleDescription, PluginError> {
        Ok(description())
    }

    fn load(&self, _: &ModuleDigest) -> Result<(), PluginError> {
        Ok(())
    }

    fn describe(&self, _: &ModuleDigest) -> Result<ModuleDescription, PluginError> {
        Ok(description())
    }

    fn list(&self) -> Result<Vec<ModuleDescription>, PluginError> {
        Ok(vec![description()])
    }

    fn remove(&self, _: &ModuleDigest) -> Result<(), PluginError> {
        Ok(())
    }

    fn instantiate(
        &self,
        _: &ModuleDigest,
        _: InstanceOptions,
    ) -> Result<Box<dyn ProcessorInstance>, PluginError> {
        Ok(Box::new(Copy { to: self.to.clone() }))
    }
}

struct Copy {
    to: String,
}

impl ProcessorInstance for Copy {
    /// Copies each record's body, from its key to its last header, as a good guest would.
    fn process(&mut self, batch: &InputBatch, _: &mut Surroundings) -> Result<OutputBatch, ProcessFault> {
        let count = batch.record_count();
        let bytes: usize = batch.chunks.iter().map(|chunk| chunk.records.len()).sum();
        let mut out = Vec::with_capacity(bytes + count as usize * FLAT_OUTPUT_RECORD_HEADER_BYTES + 64);
        out.extend_from_slice(b"TMO1");
        out.extend_from_slice(&1u32.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&u16::try_from(self.to.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(self.to.as_bytes());
        let mut index = 0u32;
        for chunk in &batch.chunks {
            let mut rest: &[u8] = &chunk.records;
            for _ in 0..chunk.record_count {
                let body = take_body(&mut rest)
                    .ok_or_else(|| ProcessFault::BadOutput("a source record that cannot be read".into()))?;
                out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(&0u32.to_le_bytes());
                out.extend_from_slice(&index.to_le_bytes());
                out.extend_from_slice(&(-1i32).to_le_bytes());
                out.extend_from_slice(&(-1i64).to_le_bytes());
                out.extend_from_slice(body);
                index += 1;
            }
        }
        OutputBatch::check(out.into(), count).map_err(|error| ProcessFault::BadOutput(error.to_string()))
    }

    fn on_timers(
        &mut self,
        _: TimerDomain,
        _: &InputBatch,
        _: &mut Surroundings,
    ) -> Result<OutputBatch, ProcessFault> {
        Err(ProcessFault::GaveUp("a copy sets no timers".to_owned()))
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// The next record's bytes from its key's length on.
fn take_body<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (record, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    let mut body = record.get(1..)?;
    take_varint(&mut body)?;
    take_varint(&mut body)?;
    Some(body)
}

fn take_varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
