//! The generated bindings of both worlds. `wit/` is the one definition; nothing else is in this file.
#![allow(missing_docs, clippy::all, reason = "generated code")]

pub(super) mod flat {
    wasmtime::component::bindgen!({ path: "wit", world: "processor-flat" });
}

pub(super) mod typed {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "processor-typed",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "tidemill:plugin/log": super::flat::tidemill::plugin::log,
            "tidemill:plugin/config": super::flat::tidemill::plugin::config,
        },
    });
}
