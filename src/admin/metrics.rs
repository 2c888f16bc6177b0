//! `/metrics`: counters in the OpenMetrics text format, for Prometheus.
//!
//! The counters live where things happen; here they are only read and written out.

mod processors;

use super::{AdminState, ApiError};
use crate::interceptor::Link;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(state): State<AdminState>) -> Result<Response, ApiError> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Interceptors(state.attachments.links())));
    registry.register_collector(Box::new(processors::Processors::of(&state)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "BUG", error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// What the attachments at work have done.
#[derive(Debug)]
struct Interceptors(Arc<Vec<Arc<Link>>>);

/// A counter's labels, in order, and its value.
type Sample<'a> = (Vec<(&'static str, &'a str)>, u64);

impl Collector for Interceptors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let views: Vec<_> =
            self.0.iter().map(|link| (link.attachment().name.as_str(), link.counters())).collect();
        let (mut records, mut batches, mut seconds, mut outcomes, mut own) = Default::default();
        for (name, view) in &views {
            for (path, direction) in [("produce", view.produce), ("fetch", view.fetch)] {
                let of_path = |last: Option<(&'static str, &'static str)>| {
                    let labels = [("interceptor", *name), ("path", path)];
                    labels.into_iter().chain(last).collect::<Vec<_>>()
                };
                for (verdict, count) in [
                    ("keep", direction.kept),
                    ("replace", direction.replaced),
                    ("drop", direction.dropped),
                    ("reject", direction.rejected),
                ] {
                    push(&mut records, of_path(Some(("verdict", verdict))), count);
                }
                push(&mut batches, of_path(None), direction.batches);
                push(&mut seconds, of_path(None), direction.microseconds);
            }
            for (outcome, count) in [
                ("fault", view.faults),
                ("passed_open", view.passed_open),
                ("acknowledged", view.acknowledged),
                ("acknowledgement_lost", view.acknowledgements_lost),
            ] {
                push(&mut outcomes, vec![("interceptor", *name), ("event", outcome)], count);
            }
            for (counter, count) in &view.own {
                push(&mut own, vec![("interceptor", *name), ("counter", counter.as_str())], *count);
            }
        }
        let whole = |count: u64| count;
        family(&mut encoder, ("records", "Records judged by interceptors"), &records, whole)?;
        family(&mut encoder, ("batches", "Batches judged by interceptors"), &batches, whole)?;
        let help = "Time that judging took, waits for the thread included";
        family(&mut encoder, ("judging_seconds", help), &seconds, |micros| micros as f64 / 1e6)?;
        family(&mut encoder, ("events", "Faults, and what became of acknowledgements"), &outcomes, whole)?;
        family(&mut encoder, ("plugin_counter", "What interceptors count by themselves"), &own, whole)
    }
}

fn push<'a>(samples: &mut Vec<Sample<'a>>, labels: Vec<(&'static str, &'a str)>, value: u64) {
    samples.push((labels, value));
}

fn family<N>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
    samples: &[Sample<'_>],
    unit: impl Fn(u64) -> N,
) -> Result<(), fmt::Error>
where
    ConstCounter<N>: EncodeMetric,
{
    let name = format!("tidemill_interceptor_{name}");
    let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        ConstCounter::new(unit(*value)).encode(family.encode_family(&labels.as_slice())?)?;
    }
    Ok(())
}
