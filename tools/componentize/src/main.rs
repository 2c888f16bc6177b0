//! `componentize IN OUT`: wraps a core module that wit-bindgen has described into a component, and its WASI 0.1, if it has
//! any, into WASI 0.2: what `wasm-tools component new` does.

use std::error::Error;

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1);
    let (Some(input), Some(output)) = (paths.next(), paths.next()) else {
        return Err("usage: componentize CORE-MODULE COMPONENT".into());
    };
    let module = std::fs::read(&input)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()?;
    std::fs::write(&output, component)?;
    Ok(())
}
