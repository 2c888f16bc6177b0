//! `tidemill perf …`: throughput and latency as a client sees them.
//!
//! Flags are named as those of `kafka-producer-perf-test` and `kafka-consumer-perf-test`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::consume::Isolation;
use super::error::CliError;
use super::output::Report;
use super::produce::{Acks, Codec};
use super::{GlobalArgs, time};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum PerfCommand {
    /// Write records as fast as they are taken, or at a given rate
    Produce(PerfProduceArgs),
    /// Read records as fast as they come
    Consume(PerfConsumeArgs),
}

/// Arguments of `perf produce`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct PerfProduceArgs {
    /// The topic
    #[arg(long, short = 't')]
    topic: String,
    /// How many records
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// Bytes of each record's value
    #[arg(long, default_value_t = 100)]
    record_size: usize,
    /// Records per second; as fast as possible unless given
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    throughput: Option<u64>,
    /// Whose acknowledgement to wait for
    #[arg(long, value_enum, default_value = "all")]
    acks: Acks,
    /// The largest batch, in bytes
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// How long a batch waits for more records
    #[arg(long, default_value_t = 5)]
    linger_ms: u32,
    /// How batches are compressed
    #[arg(long, value_enum, default_value = "none")]
    compression: Codec,
    /// Write in transactions of this transactional id
    #[arg(long, value_name = "ID")]
    transactional_id: Option<String>,
    /// Records of one transaction
    #[arg(long, default_value_t = 10_000, requires = "transactional_id", value_parser = clap::value_parser!(u64).range(1..))]
    transaction_records: u64,
    /// How long a record may take to arrive
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = time::parse_duration)]
    timeout: Duration,
}

/// Arguments of `perf consume`.
#[derive(Args, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client reads them"))]
pub struct PerfConsumeArgs {
    /// The topic
    #[arg(long, short = 't')]
    topic: String,
    /// How many records
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// Whether records of open and aborted transactions count
    #[arg(long, value_enum, default_value = "read-committed")]
    isolation: Isolation,
    /// Stop after so long without a record
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = time::parse_duration)]
    timeout: Duration,
}

/// Records of `bytes` each in `elapsed`, per second.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client measures"))]
struct Rate {
    records_per_second: f64,
    megabytes_per_second: f64,
}

impl Rate {
    #[cfg_attr(not(feature = "client"), allow(dead_code, reason = "only the client measures"))]
    fn of(records: u64, bytes: u64, elapsed: Duration) -> Rate {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Rate {
            records_per_second: records as f64 / seconds,
            megabytes_per_second: bytes as f64 / seconds / 1_000_000.0,
        }
    }
}

#[cfg(not(feature = "client"))]
pub(super) fn run(_: &GlobalArgs, _: &PerfCommand) -> Result<Report, CliError> {
    Err(super::without_client())
}

#[cfg(feature = "client")]
pub(super) use with_client::run;

#[cfg(feature = "client")]
mod with_client {
    use std::io::IsTerminal;
    use std::time::Instant;

    use indicatif::{ProgressBar, ProgressStyle};
    use rdkafka::consumer::Consumer;
    use rdkafka::producer::{BaseRecord, Producer as _};
    use rdkafka::{Offset, TopicPartitionList};
    use serde_json::json;

    use super::super::error::ExitKind;
    use super::super::interrupt::Interrupt;
    use super::super::kafka::{
        Delivered, Deliveries, Producer, Quiet, QuietConsumer, base_config, create, translate,
    };
    use super::super::output::Block;
    use super::super::produce::{producer_config, send};
    use super::super::time::{now, pause};
    use super::super::topic::find_topic;
    use super::*;

    pub(in super::super) fn run(global: &GlobalArgs, command: &PerfCommand) -> Result<Report, CliError> {
        match command {
            PerfCommand::Produce(args) => produce(global, args),
            PerfCommand::Consume(args) => consume(global, args),
        }
    }

    fn produce(global: &GlobalArgs, args: &PerfProduceArgs) -> Result<Report, CliError> {
        let id = args.transactional_id.as_deref();
        let mut config = producer_config(global, args.acks, args.compression, id, args.timeout)?;
        config.set("linger.ms", args.linger_ms.to_string()).set("batch.size", args.batch_size.to_string());
        let messages_max = (args.batch_size as usize / args.record_size.max(1)).clamp(1, 1_000_000);
        config.set("batch.num.messages", messages_max.to_string());
        config.set("queue.buffering.max.messages", "1000000");
        let producer: Producer = create(&config, Deliveries::new())?;
        if id.is_some() {
            producer
                .init_transactions(global.request_timeout)
                .map_err(|error| translate(&error, "cannot begin a transaction"))?;
        }
        let interrupt = Interrupt::listen();
        let started = now();
        let transactions = write_records(&producer, args, started, &interrupt)?;
        producer.flush(args.timeout).map_err(|error| translate(&error, "not all records arrived in time"))?;
        let elapsed = started.elapsed();
        let delivered = producer.context().snapshot();
        let mut report = produce_report(args, &delivered, elapsed, transactions);
        report.failures.extend(delivered.first_error);
        if interrupt.requested() {
            report.failures.push(CliError::new(
                ExitKind::Interrupted,
                "INTERRUPTED",
                "stopped before the end",
            ));
        }
        Ok(report)
    }

    /// Sends the records, at the asked rate; gives the number of transactions it took.
    fn write_records(
        producer: &Producer,
        args: &PerfProduceArgs,
        started: Instant,
        interrupt: &Interrupt,
    ) -> Result<u64, CliError> {
        let bar = progress(args.num_records);
        let value = filler(args.record_size);
        let transactional = args.transactional_id.is_some();
        let mut transactions = 0;
        let mut open = false;
        for sent in 0..args.num_records {
            if transactional && sent % args.transaction_records == 0 {
                if open {
                    commit(producer, args.timeout)?;
                    transactions += 1;
                }
                producer
                    .begin_transaction()
                    .map_err(|error| translate(&error, "cannot begin a transaction"))?;
                open = true;
            }
            if let Some(rate) = args.throughput {
                let due = started + Duration::from_secs_f64(sent as f64 / rate as f64);
                let early = due.saturating_duration_since(now());
                if early > Duration::from_millis(1) {
                    pause(early);
                }
            }
            let mut record = BaseRecord::with_opaque_to(&args.topic, Box::new(now()));
            record.key = None::<&[u8]>;
            record.payload = Some(value.as_slice());
            send(producer, record)?;
            if sent % 1024 == 0 {
                bar.set_position(sent);
                if interrupt.requested() {
                    break;
                }
            }
        }
        bar.finish_and_clear();
        if open {
            commit(producer, args.timeout)?;
            transactions += 1;
        }
        Ok(transactions)
    }

    fn commit(producer: &Producer, timeout: Duration) -> Result<(), CliError> {
        producer.commit_transaction(timeout).map_err(|error| {
            let first = producer.context().first_error();
            first.unwrap_or_else(|| translate(&error, "cannot commit a transaction"))
        })
    }

    /// Bytes that compress about as far as text does: words from a small alphabet, always the same.
    fn filler(size: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let next = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            b"abcdefghijklmnopqrstuvwxyz      "[(state >> 32) as usize % 32]
        });
        next.take(size).collect()
    }

    fn progress(records: u64) -> ProgressBar {
        if !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {per_sec} {eta}");
        ProgressBar::new(records).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }

    fn produce_report(
        args: &PerfProduceArgs,
        delivered: &Delivered,
        elapsed: Duration,
        transactions: u64,
    ) -> Report {
        let bytes = delivered.records.saturating_mul(args.record_size as u64);
        let rate = Rate::of(delivered.records, bytes, elapsed);
        let latency = &delivered.latency_us;
        let ms = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1000.0;
        let max = latency.max() as f64 / 1000.0;
        let mut fields = rate_fields(delivered.records, rate, elapsed);
        fields.extend([
            ("LATENCY P50", format!("{:.2} ms", ms(0.5))),
            ("LATENCY P99", format!("{:.2} ms", ms(0.99))),
            ("LATENCY P99.9", format!("{:.2} ms", ms(0.999))),
            ("LATENCY MAX", format!("{max:.2} ms")),
        ]);
        if args.transactional_id.is_some() {
            fields.push(("TRANSACTIONS", transactions.to_string()));
        }
        let json = json!({
            "records": delivered.records, "failed": delivered.failed, "bytes": bytes,
            "elapsed_ms": elapsed.as_secs_f64() * 1000.0, "records_per_second": rate.records_per_second,
            "mb_per_second": rate.megabytes_per_second, "latency_p50_ms": ms(0.5), "latency_p99_ms": ms(0.99),
            "latency_p999_ms": ms(0.999), "latency_max_ms": max, "transactions": transactions,
            "record_size_bytes": args.record_size,
        });
        Report::new(Block::Fields(fields), json)
    }

    fn rate_fields(records: u64, rate: Rate, elapsed: Duration) -> Vec<(&'static str, String)> {
        vec![
            ("RECORDS", records.to_string()),
            ("ELAPSED", format!("{:.3} s", elapsed.as_secs_f64())),
            ("RECORDS/S", format!("{:.0}", rate.records_per_second)),
            ("MB/S", format!("{:.2}", rate.megabytes_per_second)),
        ]
    }

    fn consume(global: &GlobalArgs, args: &PerfConsumeArgs) -> Result<Report, CliError> {
        let topic = find_topic(&mut global.cluster()?, &args.topic)?;
        let mut config = base_config(global)?;
        let isolation = match args.isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        config
            .set("group.id", "tidemill-perf")
            .set("enable.auto.commit", "false")
            .set("isolation.level", isolation)
            .set("queued.min.messages", "1000000")
            .set("check.crcs", "false");
        let consumer: QuietConsumer = create(&config, Quiet)?;
        let mut list = TopicPartitionList::new();
        for partition in &topic.partitions {
            list.add_partition_offset(&args.topic, partition.partition_index, Offset::Beginning)
                .map_err(|error| translate(&error, "cannot begin at the first record"))?;
        }
        consumer.assign(&list).map_err(|error| translate(&error, "cannot read the partitions"))?;
        let interrupt = Interrupt::listen();
        let bar = progress(args.num_records);
        let started = now();
        let (mut records, mut bytes, mut first, mut last) = (0, 0, None, started);
        while records < args.num_records && !interrupt.requested() && last.elapsed() < args.timeout {
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Err(error)) => {
                    let error = translate(&error, "cannot read");
                    if !error.retriable {
                        return Err(error);
                    }
                }
                Some(Ok(message)) => {
                    records += 1;
                    bytes += (message.key_len() + message.payload_len()) as u64;
                    last = now();
                    first.get_or_insert(last);
                    if records % 1024 == 0 {
                        bar.set_position(records);
                    }
                }
            }
        }
        bar.finish_and_clear();
        let mut report = consume_report(records, bytes, Times { started, first, last });
        if interrupt.requested() {
            report.failures.push(CliError::new(
                ExitKind::Interrupted,
                "INTERRUPTED",
                "stopped before the end",
            ));
        }
        Ok(report)
    }

    struct Times {
        started: Instant,
        first: Option<Instant>,
        last: Instant,
    }

    fn consume_report(records: u64, bytes: u64, times: Times) -> Report {
        // The wait for the first record is the set-up's, not the broker's rate; both are shown.
        let first = times.first.unwrap_or(times.started);
        let elapsed = times.last.duration_since(first);
        let rate = Rate::of(records, bytes, elapsed);
        let until_first = first.duration_since(times.started);
        let mut fields = rate_fields(records, rate, elapsed);
        fields.push(("FIRST RECORD", format!("after {:.0} ms", until_first.as_secs_f64() * 1000.0)));
        let json = json!({
            "records": records, "bytes": bytes, "elapsed_ms": elapsed.as_secs_f64() * 1000.0,
            "records_per_second": rate.records_per_second, "mb_per_second": rate.megabytes_per_second,
            "first_record_after_ms": until_first.as_secs_f64() * 1000.0,
        });
        Report::new(Block::Fields(fields), json)
    }
}
