//! `c-bindings WIT WORLD OUT`: writes what `wit-bindgen c WIT --world WORLD --out-dir OUT` does.

use std::error::Error;
use std::path::Path;

use wit_bindgen_core::{Files, wit_parser::Resolve};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(wit), Some(world), Some(out)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: c-bindings WIT-DIRECTORY WORLD OUT-DIRECTORY".into());
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(&wit)?;
    let world = resolve.select_world(&[package], Some(&world))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    std::fs::create_dir_all(&out)?;
    for (name, contents) in files.iter() {
        std::fs::write(Path::new(&out).join(name), contents)?;
    }
    Ok(())
}
