//! `componentize IN OUT`: wraps a core module that wit-bindgen made into a component.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = std::env::args().skip(1);
    let (Some(input), Some(output)) = (paths.next(), paths.next()) else {
        return Err("usage: componentize CORE-MODULE COMPONENT".into());
    };
    let module = std::fs::read(&input)?;
    let component = wit_component::ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    std::fs::write(&output, component)?;
    Ok(())
}
