//! What processors have done and are doing, the broker's own (movers) among them.
//!
//! Sums over a processor's tasks, but where only a partition's value means something: its lag and its state.

use crate::admin::AdminState;
use crate::processor::meters::{COMMIT_SECONDS_BOUNDS, DurationsView, ProcessorMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use serde::Serialize;
use std::fmt;

/// All processors, by name, at one moment.
#[derive(Debug)]
pub(super) struct Processors(Vec<(String, String, ProcessorMetrics)>);

/// The counts of tasks, each with its name in the status and what it is.
const COUNTS: [(&str, &str); 8] = [
    ("records_in", "Source records in committed transactions"),
    ("records_out", "Output records in committed transactions"),
    ("timers_fired", "Timers that fired in committed transactions"),
    ("commits", "Committed transactions"),
    ("aborts", "Aborted transactions"),
    ("dead_letters", "Records and timers that went to the dead-letter topic"),
    ("skipped", "Records and timers left out by policy"),
    ("restarts", "Returns of a task to its committed offset after a failure"),
];

impl Processors {
    pub(super) fn of(state: &AdminState) -> Processors {
        let all = state.registry.definitions().into_iter().filter_map(|definition| {
            let status = state.supervisor.status(&definition.name)?;
            let metrics = state.supervisor.metrics(&definition.name)?;
            Some((definition.name.clone(), word(&status.state), metrics))
        });
        Processors(all.collect())
    }

    fn each<'a, T>(
        &'a self,
        value: impl Fn(&'a ProcessorMetrics) -> T + 'a,
    ) -> impl Iterator<Item = (Labels<'a>, T)> + 'a {
        self.0.iter().map(move |(name, _, metrics)| (vec![("processor", name.clone())], value(metrics)))
    }

    fn encode_sums(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help) in COUNTS {
            let counts = self.each(|metrics| metrics.counts.get(name).copied().unwrap_or(0));
            family(encoder, (name, help, MetricType::Counter), counts, counter)?;
        }
        let help = "CPU time in calls of its modules";
        let seconds = self.each(|metrics| metrics.guest_cpu_seconds);
        family(encoder, ("guest_cpu_seconds", help, MetricType::Counter), seconds, |mut encoder, value| {
            encoder.encode_counter::<NoLabelSet, f64, u64>(&value, None)
        })?;
        let gauges: [(&str, &str, Size); 3] = [
            ("guest_memory_bytes", "Linear memory of its instances", |metrics| metrics.guest_memory_bytes),
            ("state_bytes", "What the entries of its state weigh, roughly", |metrics| metrics.state_bytes),
            ("timers_pending", "Timers that are set and have not fired", |metrics| metrics.timers_pending),
        ];
        for (name, help, value) in gauges {
            family(encoder, (name, help, MetricType::Gauge), self.each(value), |mut encoder, value| {
                encoder.encode_gauge(&value)
            })?;
        }
        let help = "How long commits took, from the first write to the answer of the transaction's end";
        let commits = self.each(|metrics| &metrics.commits);
        family(encoder, ("commit_seconds", help, MetricType::Histogram), commits, histogram)?;
        let own = self.0.iter().flat_map(|(name, _, metrics)| {
            let labels = |counter: &String| vec![("processor", name.clone()), ("counter", counter.clone())];
            metrics.own.iter().map(move |(counter, value)| (labels(counter), *value))
        });
        family(encoder, ("plugin_counter", "What its modules count", MetricType::Counter), own, counter)
    }

    fn encode_states(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let one = |encoder: MetricEncoder<'_>, (): ()| encode_one(encoder);
        let states = self
            .0
            .iter()
            .map(|(name, state, _)| (vec![("processor", name.clone()), ("state", state.clone())], ()));
        let help = "1 for the state that the processor is in: the gravest of its tasks'";
        family(encoder, ("state", help, MetricType::Gauge), states, one)?;
        let states = self.tasks().map(|(mut labels, task)| {
            labels.push(("state", word(&task.state)));
            (labels, ())
        });
        family(
            encoder,
            ("task_state", "1 for the state that the task is in", MetricType::Gauge),
            states,
            one,
        )?;
        let help = "Offsets between the committed one and the end of what is committed in the input";
        let lags = self.tasks().filter_map(|(labels, task)| Some((labels, task.lag_records?)));
        family(encoder, ("lag_records", help, MetricType::Gauge), lags, |mut encoder, lag| {
            encoder.encode_gauge(&lag)
        })?;
        let help = "Age of the oldest record taken and not committed, by its batch's first timestamp";
        let lags = self.tasks().map(|(labels, task)| (labels, task.lag_seconds));
        family(encoder, ("lag_seconds", help, MetricType::Gauge), lags, |mut encoder, lag| {
            encoder.encode_gauge(&lag)
        })
    }

    fn tasks(&self) -> impl Iterator<Item = (Labels<'_>, &crate::processor::meters::TaskMetrics)> {
        self.0.iter().flat_map(|(name, _, metrics)| {
            metrics.tasks.iter().map(move |task| {
                let (topic, partition) = (task.topic.clone(), task.partition.to_string());
                (vec![("processor", name.clone()), ("topic", topic), ("partition", partition)], task)
            })
        })
    }
}

impl Collector for Processors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_sums(&mut encoder)?;
        self.encode_states(&mut encoder)
    }
}

/// One of a processor's sizes.
type Size = fn(&ProcessorMetrics) -> u64;

type Labels<'a> = Vec<(&'a str, String)>;

fn family<'a, T>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, kind): (&str, &str, MetricType),
    samples: impl Iterator<Item = (Labels<'a>, T)>,
    encode: impl Fn(MetricEncoder<'_>, T) -> fmt::Result,
) -> fmt::Result {
    let name = format!("tidemill_processor_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, kind)?;
    for (labels, value) in samples {
        encode(family.encode_family(&labels)?, value)?;
    }
    Ok(())
}

fn counter(mut encoder: MetricEncoder<'_>, value: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn encode_one(mut encoder: MetricEncoder<'_>) -> fmt::Result {
    encoder.encode_gauge(&1_u64)
}

fn histogram(mut encoder: MetricEncoder<'_>, view: &DurationsView) -> fmt::Result {
    // The last bucket of OpenMetrics has no bound; the encoder writes this one as `+Inf`.
    let bounds = COMMIT_SECONDS_BOUNDS.into_iter().chain([f64::INFINITY]);
    let counts = view.buckets.iter().copied().chain(std::iter::repeat(0));
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    encoder.encode_histogram::<NoLabelSet>(view.sum_seconds, view.count, &buckets, None)
}

/// A state as the API writes it.
fn word(state: &impl Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
