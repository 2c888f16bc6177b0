//! The generated bindings of both worlds. Only the world that a plugin's macro exports ends up in its module.
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

pub use flat_world::export_flat;
pub use typed_world::export_typed;
pub use wit_bindgen::rt;

pub mod flat {
    pub use super::flat_world::exports::tidemill::plugin::flat_processor::{Context, Fault, Guest};
    pub use super::flat_world::tidemill::plugin::types::FaultReason;
}

pub mod typed {
    pub use super::typed_world::exports::tidemill::plugin::typed_processor::{
        Context, Fault, Guest, Header, RecordIn, RecordOut, Source,
    };
    pub use super::typed_world::tidemill::plugin::types::FaultReason;
}
