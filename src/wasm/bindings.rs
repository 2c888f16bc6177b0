//! The generated bindings of all worlds. `wit/` is the one definition; nothing else is in this file but names.
#![allow(missing_docs, clippy::all, reason = "generated code")]

pub(super) mod flat {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "processor-flat",
        imports: {
            "tidemill:plugin/state": trappable,
            "tidemill:plugin/clock": trappable,
            "tidemill:plugin/random": trappable,
            "tidemill:plugin/timers": trappable,
        },
        with: { "tidemill:plugin/state.store": super::super::surroundings::StoreHandle },
    });
}

pub(super) mod typed {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "processor-typed",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "tidemill:plugin/state": super::flat::tidemill::plugin::state,
            "tidemill:plugin/clock": super::flat::tidemill::plugin::clock,
            "tidemill:plugin/random": super::flat::tidemill::plugin::random,
            "tidemill:plugin/timers": super::flat::tidemill::plugin::timers,
            "tidemill:plugin/log": super::flat::tidemill::plugin::log,
            "tidemill:plugin/config": super::flat::tidemill::plugin::config,
            "tidemill:plugin/metrics": super::flat::tidemill::plugin::metrics,
        },
    });
}

pub(super) mod flat_interceptor {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "interceptor-flat",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "tidemill:plugin/log": super::flat::tidemill::plugin::log,
            "tidemill:plugin/config": super::flat::tidemill::plugin::config,
            "tidemill:plugin/metrics": super::flat::tidemill::plugin::metrics,
            "tidemill:plugin/interception": super::typed_interceptor::tidemill::plugin::interception,
        },
    });
}

pub(super) mod typed_interceptor {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "interceptor-typed",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "tidemill:plugin/log": super::flat::tidemill::plugin::log,
            "tidemill:plugin/config": super::flat::tidemill::plugin::config,
            "tidemill:plugin/metrics": super::flat::tidemill::plugin::metrics,
            // A record that no function uses gets no lifetime, and does not compile: so not from this world.
            "tidemill:plugin/types": super::typed::tidemill::plugin::types,
        },
    });
}

pub(super) mod flat_partitioner {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "partitioner-flat",
        with: {
            "tidemill:plugin/log": super::flat::tidemill::plugin::log,
            "tidemill:plugin/config": super::flat::tidemill::plugin::config,
            "tidemill:plugin/metrics": super::flat::tidemill::plugin::metrics,
            "tidemill:plugin/types": super::typed::tidemill::plugin::types,
        },
    });
}

pub(super) mod typed_partitioner {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "partitioner-typed",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "tidemill:plugin/log": super::flat::tidemill::plugin::log,
            "tidemill:plugin/config": super::flat::tidemill::plugin::config,
            "tidemill:plugin/metrics": super::flat::tidemill::plugin::metrics,
            "tidemill:plugin/types": super::types_only_taken,
        },
    });
}

/// The typed processor's types for a world that gives no header back: the bindings then have one name for it.
pub mod types_only_taken {
    pub use super::typed::tidemill::plugin::types::{HeaderParam as Header, *};
}
