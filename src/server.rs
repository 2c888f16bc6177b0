//! Wiring: starts the rooms in order and stops them in the reverse order. No logic.

use crate::config::ServerConfig;

/// Runs the server until it is told to stop.
pub fn run(config: ServerConfig) -> anyhow::Result<()> {
    anyhow::bail!("this build has no server to run with the data in {}", config.data_dir.display())
}
