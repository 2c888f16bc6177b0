//! The `tidemill` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    tidemill::cli::run()
}
