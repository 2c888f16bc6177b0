//! The typed world by hand, for answers that the SDK would never give.

use tidemill_guest::bindings::interception::{Acknowledgement, Attachment, Origin};
use tidemill_guest::bindings::interceptor_typed::{Guest, NewRecord, PassingRecord, Verdict};
use tidemill_guest::{config, runtime};

use crate::{TestInterceptor, judges};

struct Plugin;

impl Guest for Plugin {
    fn configure(attachment: Attachment) -> Result<(), String> {
        runtime::configure::<TestInterceptor>(attachment)
    }

    fn on_send(origin: Origin, batch: Vec<PassingRecord>) -> Result<Vec<Verdict>, String> {
        runtime::on_send_typed::<TestInterceptor>(origin, &batch).map(|honest| told("send", honest))
    }

    fn on_consume(origin: Origin, batch: Vec<PassingRecord>) -> Result<Vec<Verdict>, String> {
        runtime::on_consume_typed::<TestInterceptor>(origin, &batch).map(|honest| told("consume", honest))
    }

    fn on_acknowledgement(acknowledgements: Vec<Acknowledgement>) {
        runtime::on_acknowledgement::<TestInterceptor>(acknowledgements);
    }

    fn close() {
        runtime::close::<TestInterceptor>();
    }
}

/// What the broker is told instead of the honest verdicts.
fn told(path: &str, mut verdicts: Vec<Verdict>) -> Vec<Verdict> {
    if !judges(config("only").as_deref(), path) {
        return verdicts;
    }
    match config("behaviour").as_deref().unwrap_or_default() {
        "too-few" => drop(verdicts.pop()),
        "too-many" => verdicts.push(Verdict::Keep),
        "negative-time" => {
            let record = NewRecord { timestamp: Some(-5), key: None, value: None, headers: Vec::new() };
            if let Some(first) = verdicts.first_mut() {
                *first = Verdict::Replace(record);
            }
        }
        _ => {}
    }
    verdicts
}

#[cfg(target_family = "wasm")]
tidemill_guest::bindings::export_interceptor_typed!(
    Plugin with_types_in tidemill_guest::bindings::interceptor_typed_world
);
