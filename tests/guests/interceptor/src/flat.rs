//! The flat world by hand, for answers that the SDK would never give.

use tidemill_guest::bindings::interception::{Acknowledgement, Attachment, Origin};
use tidemill_guest::bindings::interceptor_flat::Guest;
use tidemill_guest::{config, runtime};

use crate::{TestInterceptor, judges};

struct Plugin;

impl Guest for Plugin {
    fn configure(attachment: Attachment) -> Result<(), String> {
        runtime::configure::<TestInterceptor>(attachment)
    }

    fn on_send(origin: Origin, batch: Vec<u8>) -> Result<Vec<u8>, String> {
        runtime::on_send_flat::<TestInterceptor>(origin, &batch).map(|honest| told("send", honest))
    }

    fn on_consume(origin: Origin, batch: Vec<u8>) -> Result<Vec<u8>, String> {
        runtime::on_consume_flat::<TestInterceptor>(origin, &batch).map(|honest| told("consume", honest))
    }

    fn on_acknowledgement(acknowledgements: Vec<Acknowledgement>) {
        runtime::on_acknowledgement::<TestInterceptor>(acknowledgements);
    }

    fn close() {
        runtime::close::<TestInterceptor>();
    }
}

/// What the broker is told instead of the honest verdicts. The order of indexes shows only in batches of two or more.
fn told(path: &str, honest: Vec<u8>) -> Vec<u8> {
    if !judges(config("only").as_deref(), path) {
        return honest;
    }
    let count = u32::from_le_bytes([honest[4], honest[5], honest[6], honest[7]]);
    let lie = |verdicts: &[Vec<u8>]| answer(count, verdicts);
    match config("behaviour").as_deref().unwrap_or_default() {
        "garbage" => b"this is not the layout".to_vec(),
        "short-count" => patched(honest, 4, count.wrapping_sub(1)),
        "long-count" => patched(honest, 4, count + 1),
        "too-many" => lie(&(0..=count).map(dropped).collect::<Vec<_>>()),
        "index-beyond" => lie(&[dropped(count)]),
        "index-twice" => lie(&[dropped(0), dropped(0)]),
        "index-descending" => lie(&[dropped(1), dropped(0)]),
        "unknown-kind" => lie(&[verdict(0, 9, &[])]),
        "lie-length" => lie(&[replaced(-1, 0x7fff_ffff, NULLS)]),
        "bad-body" => lie(&[replaced(-1, 8, &[0xff; 8])]),
        "trailing" => [honest, vec![0]].concat(),
        "bad-code" => lie(&[rejected(9, b"who knows")]),
        "bad-utf8" => lie(&[rejected(0, &[b'o', 0xff, 0xfe])]),
        "negative-time" => lie(&[replaced(-5, NULLS.len() as u32, NULLS)]),
        _ => honest,
    }
}

/// A body: null key, null value, no headers.
const NULLS: &[u8] = &[1, 1, 0];

fn answer(record_count: u32, verdicts: &[Vec<u8>]) -> Vec<u8> {
    let count = verdicts.len() as u32;
    [&b"TMV1"[..], &record_count.to_le_bytes(), &count.to_le_bytes(), &verdicts.concat()].concat()
}

fn verdict(index: u32, kind: u8, rest: &[u8]) -> Vec<u8> {
    [&index.to_le_bytes()[..], &[kind], rest].concat()
}

fn dropped(index: u32) -> Vec<u8> {
    verdict(index, 1, &[])
}

fn replaced(timestamp: i64, length: u32, body: &[u8]) -> Vec<u8> {
    verdict(0, 2, &[&timestamp.to_le_bytes()[..], &length.to_le_bytes(), body].concat())
}

fn rejected(code: u8, message: &[u8]) -> Vec<u8> {
    verdict(0, 3, &[&[code][..], &(message.len() as u32).to_le_bytes(), message].concat())
}

fn patched(mut honest: Vec<u8>, at: usize, word: u32) -> Vec<u8> {
    honest[at..at + 4].copy_from_slice(&word.to_le_bytes());
    honest
}

#[cfg(target_family = "wasm")]
tidemill_guest::bindings::export_interceptor_flat!(
    Plugin with_types_in tidemill_guest::bindings::interceptor_flat_world
);
