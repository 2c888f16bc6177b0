//! The generated bindings of all worlds. Only the world that a plugin's macro exports ends up in its module.
#![allow(missing_docs)]

pub mod flat_world {
    wit_bindgen::generate!({
        path: "wit",
        world: "processor-flat",
        pub_export_macro: true,
        export_macro_name: "export_flat",
        runtime_path: "::tidemill_guest::bindings::rt",
        default_bindings_module: "tidemill_guest::bindings::flat_world",
    });
}

pub mod typed_world {
    wit_bindgen::generate!({
        path: "wit",
        world: "processor-typed",
        pub_export_macro: true,
        export_macro_name: "export_typed",
        runtime_path: "::tidemill_guest::bindings::rt",
        default_bindings_module: "tidemill_guest::bindings::typed_world",
    });
}

pub mod interceptor_flat_world {
    wit_bindgen::generate!({
        path: "wit",
        world: "interceptor-flat",
        pub_export_macro: true,
        export_macro_name: "export_interceptor_flat",
        runtime_path: "::tidemill_guest::bindings::rt",
        default_bindings_module: "tidemill_guest::bindings::interceptor_flat_world",
    });
}

pub mod interceptor_typed_world {
    wit_bindgen::generate!({
        path: "wit",
        world: "interceptor-typed",
        pub_export_macro: true,
        export_macro_name: "export_interceptor_typed",
        runtime_path: "::tidemill_guest::bindings::rt",
        default_bindings_module: "tidemill_guest::bindings::interceptor_typed_world",
        with: {
            "tidemill:plugin/types@0.1.0": crate::bindings::typed_world::tidemill::plugin::types,
            "tidemill:plugin/interception@0.1.0":
                crate::bindings::interceptor_flat_world::tidemill::plugin::interception,
        },
    });
}

pub mod partitioner_flat_world {
    wit_bindgen::generate!({
        path: "wit",
        world: "partitioner-flat",
        pub_export_macro: true,
        export_macro_name: "export_partitioner_flat",
        runtime_path: "::tidemill_guest::bindings::rt",
        default_bindings_module: "tidemill_guest::bindings::partitioner_flat_world",
        with: { "tidemill:plugin/types@0.1.0": crate::bindings::typed_world::tidemill::plugin::types },
    });
}

pub mod partitioner_typed_world {
    wit_bindgen::generate!({
        path: "wit",
        world: "partitioner-typed",
        pub_export_macro: true,
        export_macro_name: "export_partitioner_typed",
        runtime_path: "::tidemill_guest::bindings::rt",
        default_bindings_module: "tidemill_guest::bindings::partitioner_typed_world",
        with: { "tidemill:plugin/types@0.1.0": crate::bindings::typed_world::tidemill::plugin::types },
    });
}

pub use flat_world::export_flat;
pub use interceptor_flat_world::export_interceptor_flat;
pub use interceptor_typed_world::export_interceptor_typed;
pub use partitioner_flat_world::export_partitioner_flat;
pub use partitioner_typed_world::export_partitioner_typed;
pub use typed_world::export_typed;
pub use wit_bindgen::rt;

pub mod flat {
    pub use super::flat_world::exports::tidemill::plugin::flat_processor::{Context, Fault, Guest};
    pub use super::flat_world::tidemill::plugin::timers::Domain;
    pub use super::flat_world::tidemill::plugin::types::FaultReason;
}

pub mod typed {
    pub use super::typed_world::exports::tidemill::plugin::typed_processor::{
        Context, Fault, Guest, Header, RecordIn, RecordOut, Source, Timer,
    };
    pub use super::typed_world::tidemill::plugin::timers::Domain;
    pub use super::typed_world::tidemill::plugin::types::FaultReason;
}

/// What both interceptors' worlds share.
pub mod interception {
    pub use super::interceptor_flat_world::tidemill::plugin::interception::{
        Acknowledgement, Attachment, Origin, Rejection, RejectionCode,
    };
}

pub mod interceptor_flat {
    pub use super::interceptor_flat_world::exports::tidemill::plugin::flat_interceptor::Guest;
}

pub mod interceptor_typed {
    pub use super::interceptor_typed_world::exports::tidemill::plugin::typed_interceptor::{
        Guest, NewRecord, PassingRecord, Verdict,
    };
}

pub mod partitioner_flat {
    pub use super::partitioner_flat_world::exports::tidemill::plugin::flat_partitioner::{Fault, Guest};
}

pub mod partitioner_typed {
    pub use super::partitioner_typed_world::exports::tidemill::plugin::typed_partitioner::{
        Fault, Guest, RecordToPlace,
    };
}
