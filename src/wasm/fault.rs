//! What an engine's error means: which limit was crossed, or where the guest broke.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::plugin::{ProcessFault, StateError};

/// A host call that is refused, in words for whoever wrote the guest.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

/// What is known about a call that failed.
pub(super) struct FailedCall {
    pub(super) error: wasmtime::Error,
    pub(super) memory_refused: bool,
    /// The guest's last words at level error.
    pub(super) complaint: Option<String>,
    pub(super) time_max: std::time::Duration,
    pub(super) memory_bytes_max: usize,
    pub(super) output_bytes_max: usize,
}

impl FailedCall {
    pub(super) fn fault(self) -> ProcessFault {
        let out_of_memory = ProcessFault::OutOfMemory { bytes_max: self.memory_bytes_max as u64 };
        if let Some(exit) = self.error.downcast_ref::<I32Exit>() {
            return ProcessFault::Trap { message: format!("it exited with code {}", exit.0), function: None };
        }
        if let Some(error) = self.error.downcast_ref::<StateError>() {
            return ProcessFault::State(error.clone());
        }
        let backtrace = self.error.downcast_ref::<WasmBacktrace>();
        let function = backtrace.and_then(innermost_function);
        if let Some(Refused(message)) = self.error.downcast_ref::<Refused>() {
            return ProcessFault::Trap { message: message.clone(), function };
        }
        match self.error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => ProcessFault::Timeout { after: self.time_max },
            Some(Trap::StackOverflow) => ProcessFault::StackOverflow { function },
            Some(_) if self.memory_refused => out_of_memory,
            Some(Trap::UnreachableCodeReached) => {
                let message = self.complaint.unwrap_or_else(|| "it ran into `unreachable`".to_owned());
                ProcessFault::Trap { message, function }
            }
            Some(trap) => {
                ProcessFault::Trap { message: trap.to_string().replacen("wasm trap: ", "", 1), function }
            }
            None => {
                let text = format!("{:#}", self.error);
                // The engine's error type for this is private; a test holds on to its words.
                if text.contains("fuel allocated for hostcalls has been exhausted") {
                    let bytes_max = self.output_bytes_max as u64;
                    // With the guest on the stack it was no answer, but what it gave to a function of the broker's.
                    if backtrace.is_some() {
                        let message = format!("it hands more than {bytes_max} bytes to the broker at once");
                        return ProcessFault::BadOutput(message);
                    }
                    ProcessFault::OutputTooLarge { bytes_max }
                } else if self.memory_refused {
                    out_of_memory
                } else if backtrace.is_some() {
                    ProcessFault::Trap { message: text, function }
                } else {
                    ProcessFault::BadOutput(text)
                }
            }
        }
    }
}

/// The innermost function that says something: the machinery of panics and aborts does not.
fn innermost_function(backtrace: &WasmBacktrace) -> Option<String> {
    const MACHINERY: [&str; 10] = [
        "rust_panic",
        "rust_begin_unwind",
        "__rust_start_panic",
        "__rustc",
        "core::panicking",
        "std::panicking",
        "std::sys::",
        "alloc::alloc::",
        "alloc::raw_vec::",
        "core::option::",
    ];
    // The engine demangles names only where it prints them: `0: 0x12ab - module!function`.
    let printed = backtrace.to_string();
    let mut names = printed.lines().filter_map(|line| {
        let (_, place) = line.split_once(" - ")?;
        let function = place.split_once('!').map_or(place, |(_, function)| function);
        Some(without_hashes(function.trim()))
    });
    let mut first = None;
    let telling = names.find(|name| {
        first.get_or_insert_with(|| name.clone());
        !name.ends_with("abort") && !MACHINERY.iter().any(|part| name.contains(part))
    });
    telling.or(first)
}

/// Rust's names carry the hash of their crate: `std[d123b7a1a2ed1472]::process`, or an older `::h` at the end.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| text.len() >= 14 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut rest = name.rsplit_once("::h").filter(|(_, tail)| is_hash(tail)).map_or(name, |(name, _)| name);
    let mut out = String::new();
    while let Some((before, behind)) = rest.split_once('[') {
        out.push_str(before);
        match behind.split_once(']') {
            Some((inside, after)) if is_hash(inside) => rest = after,
            Some(_) | None => {
                out.push('[');
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
