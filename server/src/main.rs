//! The `auric` program.

use std::process::ExitCode;

/// Frees and allocates batches across threads faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    auric_server::cli::run()
}
