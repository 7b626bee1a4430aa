//! The `auric` program.

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

/// Frees and allocates batches across threads faster than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of the allocator's header.
const PURGE_DELAY: c_int = 15;
/// How long freed memory is kept before the system gets it back, in milliseconds. By default it is a
/// hundredth of that, and writers of Parquet files spend a fifth of their time in getting memory anew.
const KEPT_MS: c_long = 1000;

fn main() -> ExitCode {
    keep_freed_memory();
    auric_server::cli::run()
}

/// The variable `MIMALLOC_PURGE_DELAY` has precedence.
#[expect(unsafe_code, reason = "the allocator's option takes plain integers")]
fn keep_freed_memory() {
    unsafe extern "C" {
        fn mi_option_set_default(option: c_int, value: c_long);
    }
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT_MS) };
}
