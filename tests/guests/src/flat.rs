//! The flat world by hand, for answers that the SDK would never give.

use tidemill_guest::bindings::flat::{Context, Domain, Fault, FaultReason, Guest};
use tidemill_guest::{config, runtime};

use crate::TestGuest;

struct Plugin;

impl Guest for Plugin {
    fn init(context: Context) -> Result<(), String> {
        runtime::init::<TestGuest>(context.into())
    }

    fn process(batch: Vec<u8>) -> Result<Vec<u8>, Fault> {
        let honest = || runtime::process_flat::<TestGuest>(&batch).map_err(Fault::from);
        match config("behaviour").as_deref() {
            Some("garbage") => Ok(b"this is not the layout".to_vec()),
            Some("cut") => honest().map(|mut out| {
                out.pop();
                out
            }),
            Some("lie-count") => honest().map(|out| patched(out, 8, u32::MAX)),
            // Behind the header and the topic `out`: the first record's length.
            Some("lie-length") => honest().map(|out| patched(out, 17, 0x7fff_ffff)),
            Some("lie-source") => honest().map(|out| patched(out, 25, 1_000_000)),
            Some("lie-index") => {
                Err(Fault { index: 1_000_000, reason: FaultReason::Reject, message: "who knows".to_owned() })
            }
            _ => honest(),
        }
    }

    fn on_timers(domain: Domain, batch: Vec<u8>) -> Result<Vec<u8>, Fault> {
        runtime::fire_flat::<TestGuest>(domain.into(), &batch).map_err(Fault::from)
    }
}

fn patched(mut out: Vec<u8>, at: usize, word: u32) -> Vec<u8> {
    out[at..at + 4].copy_from_slice(&word.to_le_bytes());
    out
}

#[cfg(target_family = "wasm")]
tidemill_guest::bindings::export_flat!(Plugin with_types_in tidemill_guest::bindings::flat_world);
