//! The `tidemill` binary: everything is in the library.

/// Batches, records and values come and go on many threads; the system's allocator spends a tenth of the time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tidemill::cli::run()
}
