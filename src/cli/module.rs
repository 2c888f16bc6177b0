//! `tidemill module …`: WebAssembly modules over the admin API.
//!
//! The server judges a module; here it is only read and sent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::GlobalArgs;
use super::error::{CliError, ExitKind};
use super::http::{AdminApi, Call, elements, fields, path_segment, shown};
use super::output::{Block, Report, confirm, human_bytes};

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum ModuleCommand {
    /// Upload a module; the same bytes twice are the same module
    #[command(visible_alias = "upload")]
    Push {
        /// The component, a .wasm file
        file: PathBuf,
        /// Its name; the file's unless given
        #[arg(long)]
        name: Option<String>,
    },
    /// List modules
    List,
    /// Show a module: world, imports, size
    Inspect {
        /// Its name, or the beginning of its digest
        module: String,
    },
    /// Delete a module that nothing uses
    Delete {
        /// Its name, or the beginning of its digest
        module: String,
        /// Do not ask
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

/// Compiling a large component can take the better part of a minute.
const COMPILE_PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn run(global: &GlobalArgs, command: &ModuleCommand) -> Result<Report, CliError> {
    let api = AdminApi::new(global);
    match command {
        ModuleCommand::Push { file, name } => {
            let pushed = push(global, file, name.as_deref())?;
            Ok(Report::new(fields(&pushed), pushed))
        }
        ModuleCommand::List => list(&api),
        ModuleCommand::Inspect { module } => {
            let answer = api.call(Call::Get, &path(module))?;
            Ok(Report::new(fields(&answer), answer))
        }
        ModuleCommand::Delete { module, yes } => {
            confirm(&format!("Delete module {module}?"), (*yes).into())?;
            api.call(Call::Delete, &path(module))?;
            Ok(Report::line(format!("deleted module {module}"), json!({"module": module, "deleted": true})))
        }
    }
}

fn path(module: &str) -> String {
    format!("/v1/modules/{}", path_segment(module))
}

/// Uploads a file and gives the server's description of it.
pub(super) fn push(global: &GlobalArgs, file: &Path, name: Option<&str>) -> Result<Value, CliError> {
    let bytes = read_component(file)?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
    };
    let api = AdminApi::with_timeout(&global.admin, global.request_timeout.max(COMPILE_PATIENCE));
    let bar = super::output::spinner(format!("compiling {name} ({})", human_bytes(bytes.len() as u64)));
    let answer = api.call(Call::Upload(&bytes), &format!("/v1/modules?name={}", path_segment(&name)));
    bar.finish_and_clear();
    answer
}

/// Every WebAssembly binary begins so; what does not is told apart here, before it is sent anywhere.
const MAGIC: &[u8] = b"\0asm";

fn read_component(file: &Path) -> Result<Vec<u8>, CliError> {
    let shown = file.display();
    let bytes = std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::new(
            ExitKind::NotFound,
            "FILE_NOT_FOUND",
            format!("there is no file {shown}"),
        )
        .with_hint(
            "build the component first, for instance with `cargo build --target wasm32-wasip2 --release`",
        ),
        _ => CliError::io(format!("cannot read {shown}"), &error),
    })?;
    if bytes.starts_with(MAGIC) {
        Ok(bytes)
    } else {
        Err(CliError::new(
            ExitKind::Invalid,
            "NOT_WEBASSEMBLY",
            format!("{shown} is not a WebAssembly binary"),
        ))
    }
}

fn list(api: &AdminApi) -> Result<Report, CliError> {
    let answer = api.call(Call::Get, "/v1/modules")?;
    let row = |module: &Value| {
        let digest = short_digest(&shown(module.get("digest")));
        let size =
            module.get("size_bytes").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), human_bytes);
        vec![shown(module.get("name")), digest, shown(module.get("world")), size]
    };
    let rows = elements(&answer, "modules").iter().map(row).collect();
    Ok(Report::new(Block::Table { headers: &["NAME", "DIGEST", "WORLD", "SIZE"], rows }, answer))
}
/// As much of a digest as tells modules apart.
pub(super) fn short_digest(digest: &str) -> String {
    digest.chars().take(12).collect()
}
