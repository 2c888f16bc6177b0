//! The `tidemill` binary: everything is in the library.

/// Records, keys and values are many small allocations from many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    tidemill::cli::run()
}
